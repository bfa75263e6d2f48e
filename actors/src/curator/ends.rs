//! Ends of attempts, made into steps of the next commit; and panics of engines, which may end in a
//! quarantine.

use std::sync::Arc;
use std::time::Duration;

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

/// How many commits long an attempt is that counts as short beside them. An agent with longer attempts is
/// given no more jobs than it has slots: waiting for a commit costs it a twentieth of its time at most. A
/// tenth would let agents wait with attempts that are as long as a commit; ten times as many would give jobs
/// to agents long before their turn.
const SHORT_COMMITS: u32 = 20;

impl Curator {
    pub(super) fn prepare_end(&mut self, Ended { start, began, end, engine, observed }: Ended) {
        if engine != EngineState::Sound {
            // Before the end, so that a quarantine is there before the slot is free. Counted in its turn: a
            // resume that stands before it in the same commit lifts the quarantine before, not the one that
            // follows.
            self.plan(Action::CountPanic(start.agent, observed.scope()));
            let cause = cause_of(engine);
            let restarts = self.parts.observer.engine_restarted(start.agent, cause);
            observed.restarted(restarts, cause, self.now);
        }
        if !self.board.is_current(start.id()) {
            tracing::debug!(
                target: "volery::curator", run = %start.run, job = %start.job, attempt = start.attempt,
                "end of an attempt that is not current was dropped"
            );
            return;
        }
        log_end(self.parts.feed.name(start.agent), &start, &end, &observed);
        let (job, failures) = (start.job, start.failures);
        let is_short = began.is_some_and(|began| self.is_short(self.now.since(began)));
        let told = (!self.board.is_start_recorded(start.id())).then(|| Arc::clone(&start));
        let attempts = match &end {
            AttemptEnd::Dead { attempts, .. } => *attempts,
            _ => failures + 1,
        };
        let then =
            |verdict, claims, error| Finished { start, verdict, claims, error, attempts, observed, is_short };
        match end {
            AttemptEnd::Done(outputs) => {
                let then = then(Verdict::Done, ArtifactClaims::of(&outputs), Vec::new());
                let finish = Finish { job, start: told, end: JobEnd::Done, outputs };
                self.write(Write::Finish(finish), Then::Finished(then));
            }
            AttemptEnd::Retry { until, error } => {
                let then = then(Verdict::Retry(until), Few::new(), error.clone());
                let (failures, at) = (failures + 1, self.now);
                let retry = Write::Retry { job, start: told, failures, until, at, error };
                self.write(retry, Then::Finished(then));
            }
            AttemptEnd::Dead { at, attempts, error, failure } => {
                let then = then(Verdict::Dead, ArtifactClaims::of(&failure), error.clone());
                let end = JobEnd::Dead(Box::new(Death { attempts, error, at }));
                let finish = Finish { job, start: told, end, outputs: failure };
                self.write(Write::Finish(finish), Then::Finished(then));
            }
            AttemptEnd::Cancelled => {
                let finish = Finish { job, start: told, end: JobEnd::Cancelled, outputs: Few::new() };
                let then = then(Verdict::Cancelled, Few::new(), Vec::new());
                self.write(Write::Finish(finish), Then::Finished(then));
            }
            AttemptEnd::Released => {
                let then = then(Verdict::Released, Few::new(), Vec::new());
                self.release(then);
            }
        }
    }

    /// Hands a job back. Recorded if its start is, so that it is no interruption.
    pub(super) fn release(&mut self, finished: Finished) {
        let start = &finished.start;
        if self.board.is_start_noted(start.id()) {
            self.write(Write::Release(start.job), Then::Finished(finished));
        } else {
            self.plan(Action::Release(Box::new(finished)));
        }
    }

    /// Tells whether an attempt was short beside the last commit.
    fn is_short(&self, took: Duration) -> bool {
        took <= self.committed.done.since(self.committed.begun).saturating_mul(SHORT_COMMITS)
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
        // Its slots have taken nothing since the panic.
        self.plan(Action::GoOn(agent));
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
