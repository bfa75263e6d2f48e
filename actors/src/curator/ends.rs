//! Ends of attempts, made into steps of the next commit; and panics of engines, which may end in a
//! quarantine.

use volery_blackboard::input::Input;
use volery_blackboard::job::{Start, Verdict};
use volery_blackboard::store::{Death, Few, Finish, JobEnd, Write};
use volery_blackboard::{AgentIndex, AgentName};

use super::actor::Curator;
use super::step::{Action, ArtifactClaims, Finished, Then};
use crate::feed::Event;
use crate::ingress::PanicVerdict;
use crate::ingress::{AttemptEnd, Ended, EngineState};
use crate::observer::ObservedAttempt;

impl Curator {
    pub(super) fn prepare_end(&mut self, Ended { start, end, engine, observed }: Ended) {
        if engine != EngineState::Sound {
            // Before the end, so that a quarantine is there before the slot is free. Counted in its turn: a
            // resume that stands before it in the same commit lifts the quarantine before, not the one that
            // follows.
            self.plan(Action::CountPanic(start.agent, observed.scope()));
            let cause = cause_of(engine);
            let restarts = self.parts.observer.engine_restarted(start.agent, cause);
            observed.restarted(restarts, cause, self.now);
        }
        if !self.board.is_current(start.job, start.attempt) {
            tracing::debug!(
                target: "volery::curator", run = %start.run, job = %start.job, attempt = start.attempt,
                "end of an attempt that is not current was dropped"
            );
            return;
        }
        log_end(self.parts.feed.name(start.agent), &start, &end, &observed);
        let (job, failures) = (start.job, start.failures);
        let attempts = match &end {
            AttemptEnd::Dead { attempts, .. } => *attempts,
            _ => failures + 1,
        };
        let then = |verdict, claims, error| {
            Then::Finished(Finished { start, verdict, claims, error, attempts, observed })
        };
        match end {
            AttemptEnd::Done(outputs) => {
                let then = then(Verdict::Done, ArtifactClaims::of(&outputs), Vec::new());
                self.write(Write::Finish(Finish { job, end: JobEnd::Done, outputs }), then);
            }
            AttemptEnd::Retry { until, error } => {
                let then = then(Verdict::Retry(until), Few::new(), error.clone());
                self.write(Write::Retry { job, failures: failures + 1, until, at: self.now, error }, then);
            }
            AttemptEnd::Dead { at, attempts, error, failure } => {
                let then = then(Verdict::Dead, ArtifactClaims::of(&failure), error.clone());
                let end = JobEnd::Dead(Box::new(Death { attempts, error, at }));
                self.write(Write::Finish(Finish { job, end, outputs: failure }), then);
            }
            AttemptEnd::Cancelled => {
                let finish = Finish { job, end: JobEnd::Cancelled, outputs: Few::new() };
                self.write(Write::Finish(finish), then(Verdict::Cancelled, Few::new(), Vec::new()));
            }
            // Recorded, so that it is no interruption.
            AttemptEnd::Released => {
                self.write(Write::Release(job), then(Verdict::Released, Few::new(), Vec::new()));
            }
        }
    }

    /// Counts a panic of an engine, and acts on the verdict.
    pub(super) fn count_panic(&mut self, agent: AgentIndex) {
        let counted = self.parts.ingress.decisions().panics.count(agent, self.now);
        let name = self.parts.feed.name(agent);
        let (restarts, quarantine) = match counted {
            PanicVerdict::Tolerated(restarts) => (restarts, None),
            PanicVerdict::Quarantined(quarantine) | PanicVerdict::Escalated(quarantine) => {
                (quarantine.restarts, Some(quarantine))
            }
        };
        tracing::warn!(target: "volery::agent", agent = %name, restarts, "an engine panicked or could not be made");
        self.handle(Input::Restarted(agent));
        self.parts.feed.tell(|| Event::Restarted { agent: name.clone(), restarts });
        if let Some(quarantine) = quarantine {
            let past =
                if matches!(counted, PanicVerdict::Escalated(_)) { "escalated" } else { "quarantined" };
            self.parts.observer.quarantined(agent, past);
            tracing::error!(
                target: "volery::agent", agent = %name, restarts, escalates = matches!(counted, PanicVerdict::Escalated(_)),
                "engines panicked too often; the agent is given no jobs"
            );
            if matches!(counted, PanicVerdict::Quarantined(_)) {
                self.note_quarantine(agent, Some(quarantine));
            }
            self.handle(Input::Quarantine { agent, quarantine });
            self.parts.feed.tell(|| Event::Quarantined { agent: name.clone(), quarantine });
        }
        if matches!(counted, PanicVerdict::Escalated(_)) {
            self.parts.ingress.escalate(name);
        }
    }
}

/// The word for why an engine is made anew.
const fn cause_of(engine: EngineState) -> &'static str {
    match engine {
        EngineState::NotMade => "not_made",
        EngineState::Suspect | EngineState::Sound => "panic",
    }
}

/// Writes a line about an attempt that failed, where it ran.
fn log_end(agent: AgentName, start: &Start, end: &AttemptEnd, observed: &ObservedAttempt) {
    let (run, job, attempt) = (start.run, start.job, start.attempt);
    match end {
        AttemptEnd::Retry { error, .. } => observed.scope().call(|| {
            let error = error.join(": ");
            tracing::debug!(target: "volery::agent", %agent, %run, %job, attempt, error, "an attempt failed");
        }),
        AttemptEnd::Dead { error, .. } => observed.scope().call(|| {
            let error = error.join(": ");
            tracing::warn!(target: "volery::agent", %agent, %run, %job, attempt, error, "a job failed for good");
        }),
        AttemptEnd::Done(_) | AttemptEnd::Cancelled | AttemptEnd::Released => {}
    }
}
