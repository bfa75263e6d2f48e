//! What the curator makes of ends: of attempts, of engines that panicked, of quarantines, and of the time of runs.
//!
//! It writes nothing by itself; it adds to the next commit, and notes in the watch list what must outlive this life.

use std::sync::Arc;

use volery_blackboard::input::Input;
use volery_blackboard::job::{Start, Verdict};
use volery_blackboard::store::{Few, Finish, Group, JobEnd};
use volery_blackboard::{AgentIndex, AgentName, RunId};

use super::actor::Curator;
use super::after::{After, claims_of};
use super::restarts::Counted;
use crate::agent::{AttemptEnd, Ended, EngineState};
use crate::feed::Event;
use crate::seen::AttemptSeen;

impl Curator {
    pub(super) fn prepare_end(&mut self, Ended { start, end, engine, seen }: Ended) {
        if engine != EngineState::Sound {
            // Before the end, so that a quarantine is there before the slot is free. Counted in its turn: a resume that
            // stands before it in the same commit lifts the quarantine before, not the one that follows.
            self.after.push(After::EngineLost(start.agent, seen.scope()));
            let cause = cause_of(engine);
            let restarts = self.parts.seen.engine_restarted(start.agent, cause);
            seen.restarted(restarts, cause, self.now);
        }
        if !self.board.is_current(start.job, start.attempt) {
            tracing::debug!(
                target: "volery::curator", run = %start.run, job = %start.job, attempt = start.attempt,
                "end of an attempt that is not current was dropped"
            );
            return;
        }
        log_end(self.parts.feed.name(start.agent), &start, &end, &seen);
        let (job, failures, none) = (start.job, start.failures, Vec::new());
        let failed = match &end {
            AttemptEnd::Dead { attempts, .. } => *attempts,
            _ => failures + 1,
        };
        let ended =
            |verdict, claims, error| After::Ended { start, verdict, claims, error, attempts: failed, seen };
        match end {
            AttemptEnd::Done(outputs) => {
                let after = ended(Verdict::Done, claims_of(&outputs), none);
                self.write(Group::Finish(Finish { job, end: JobEnd::Done, outputs }), after);
            }
            AttemptEnd::Retry { until, error } => {
                let after = ended(Verdict::Retry(until), Few::new(), error.clone());
                self.write(Group::Retry { job, failures: failures + 1, until, at: self.now, error }, after);
            }
            AttemptEnd::Dead { at, attempts, error, failure } => {
                let after = ended(Verdict::Dead, claims_of(&failure), error.clone());
                let end = JobEnd::Dead { attempts, error, at };
                self.write(Group::Finish(Finish { job, end, outputs: failure }), after);
            }
            AttemptEnd::Cancelled => {
                let after = ended(Verdict::Cancelled, Few::new(), none);
                self.write(Group::Finish(Finish { job, end: JobEnd::Cancelled, outputs: Few::new() }), after);
            }
            // Recorded, so that it is no interruption.
            AttemptEnd::Released => {
                self.write(Group::Release(job), ended(Verdict::Released, Few::new(), none));
            }
        }
    }

    /// Counts an engine that is made anew, and acts on what that leads to.
    pub(super) fn count_restart(&mut self, agent: AgentIndex) {
        let counted = self.parts.ingress.watch().restarts.count(agent, self.now);
        let name = self.parts.feed.name(agent);
        let (restarts, quarantine) = match counted {
            Counted::Held(restarts) => (restarts, None),
            Counted::Quarantined(quarantine) | Counted::Escalated(quarantine) => {
                (quarantine.restarts, Some(quarantine))
            }
        };
        tracing::warn!(target: "volery::agent", agent = %name, restarts, "an engine panicked or could not be made");
        self.handle(Input::Restarted(agent));
        self.parts.feed.tell(|| Event::Restarted { agent: name.clone(), restarts });
        if let Some(quarantine) = quarantine {
            let past = if matches!(counted, Counted::Escalated(_)) { "escalated" } else { "quarantined" };
            self.parts.seen.quarantined(agent, past);
            tracing::error!(
                target: "volery::agent", agent = %name, restarts, escalates = matches!(counted, Counted::Escalated(_)),
                "engines panicked too often; the agent is given no jobs"
            );
            if matches!(counted, Counted::Quarantined(_)) {
                self.note_quarantine(agent, Some(quarantine));
            }
            self.handle(Input::Quarantine { agent, quarantine });
            self.parts.feed.tell(|| Event::Quarantined { agent: name.clone(), quarantine });
        }
        if matches!(counted, Counted::Escalated(_)) {
            self.parts.ingress.escalate(name);
        }
    }

    /// A quarantine is over.
    pub(super) fn note_resumed(&mut self, agent: AgentIndex) {
        self.parts.ingress.watch().restarts.lift(agent);
        self.note_quarantine(agent, None);
        let name = self.parts.feed.name(agent);
        tracing::warn!(target: "volery::agent", agent = %name, "the agent is given jobs again");
        self.parts.feed.tell(|| Event::Resumed { agent: name });
    }

    /// A run is being cancelled, because its time is over.
    pub(super) fn note_timed_out(&self, run: RunId, workflow: Arc<str>) {
        if let Some(pin) = self.parts.ingress.watch().pins.get_mut(&run) {
            pin.timed_out = true;
        }
        self.parts.seen.cancel_requested(run, "deadline", self.now);
        self.parts.seen.scope_of(run).call(|| {
            tracing::warn!(target: "volery::curator", %run, workflow = &*workflow, "a run is cancelled at its deadline");
        });
        self.parts.feed.tell(|| Event::RunTimedOut { run, workflow });
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
fn log_end(agent: AgentName, start: &Start, end: &AttemptEnd, seen: &AttemptSeen) {
    let (run, job, attempt) = (start.run, start.job, start.attempt);
    match end {
        AttemptEnd::Retry { error, .. } => seen.scope().call(|| {
            let error = error.join(": ");
            tracing::debug!(target: "volery::agent", %agent, %run, %job, attempt, error, "an attempt failed");
        }),
        AttemptEnd::Dead { error, .. } => seen.scope().call(|| {
            let error = error.join(": ");
            tracing::warn!(target: "volery::agent", %agent, %run, %job, attempt, error, "a job failed for good");
        }),
        AttemptEnd::Done(_) | AttemptEnd::Cancelled | AttemptEnd::Released => {}
    }
}
