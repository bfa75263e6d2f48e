//! Refusals: what the curator does about writes that the store refused, and about ends that it refuses by themselves.
//!
//! A store that is down refuses whole commits: jobs are handed back and run again once it works (`actor.rs`). A refusal of
//! one group concerns nobody else. That of a start defers its job: the board tries it again after a growing back-off. That of
//! an end would come again at every attempt, so it ends its job, by what the store accepts: a dead letter with its
//! `Failure`, else a dead letter alone. When not even that is accepted, the job runs again after a growing back-off.

use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::Timestamp;
use volery_blackboard::input::Input;
use volery_blackboard::job::{Start, Verdict};
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Few, Finish, Group, JobEnd, StoreError};

use super::actor::{Curator, TRY_AGAIN_AFTER};
use super::after::After;
use crate::seen::{AttemptSeen, End};
use crate::supervision::SendRefusal;

/// The first back-off of a job that the store lets neither end nor fail; each one is twice the one before. A tenth would
/// fill the log; ten times as much would be felt by whoever mends the store.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);

/// How often it is doubled: up to a good four minutes. Longer, and a store that was mended would seem not to be.
const DOUBLINGS_MAX: u32 = 8;

impl Curator {
    /// The commit is done, and the store refused this group of it.
    pub(super) fn apply_refused_alone(&mut self, after: After, error: &StoreError) {
        match after {
            After::Ended {
                start, verdict: Verdict::Done | Verdict::Retry(_), error: failed, seen, ..
            } => {
                // Before the job goes on: its span waits for whoever takes it up.
                drop(seen);
                let error = self.say_refused(&start, error, failed);
                let attempts = start.failures + 1;
                self.dispatch(start, Some(Burial::EndRefused { attempts, error }));
            }
            After::Ended { start, verdict: Verdict::Dead, error: failed, attempts, seen, .. } => {
                drop(seen);
                let error = self.say_refused(&start, error, failed);
                self.give_up(start, error, attempts);
            }
            After::GivenUp { start, .. } => {
                let error = self.say_refused(&start, error, Vec::new());
                let until = back_off(self.now, start.failures);
                // In memory only: there is nothing that the store would note.
                let verdict = Verdict::Retry(until);
                self.parts.feed.tell_attempt(&start, verdict, error);
                self.handle(Input::Finished { job: start.job, attempt: start.attempt, verdict });
            }
            After::Started(start) | After::Buried(start, _) => {
                let agent = self.parts.feed.name(start.agent);
                tracing::error!(
                    target: "volery::curator", job = %start.job, agent = %agent, %error,
                    "the store refused the start of a job, and nothing else of the commit; it is tried again"
                );
                self.handle(Input::StartDeferred(start.job));
            }
            other => self.apply_refused(other, error),
        }
    }

    /// An agent's actor takes no jobs, because it is between two lives: the job goes back, and its agent is tried again
    /// after a while. Others go on.
    pub(super) fn take_back(&mut self, start: Arc<Start>, reason: SendRefusal) {
        let agent = self.parts.feed.name(start.agent);
        tracing::warn!(target: "volery::curator", job = %start.job, agent = %agent, %reason, "an agent cannot be given a job");
        self.handle(Input::AgentUnavailable { agent: start.agent, until: self.now.after(TRY_AGAIN_AFTER) });
        // Recorded, so that it is no interruption.
        let after = After::Ended {
            verdict: Verdict::Released,
            claims: Few::new(),
            error: Vec::new(),
            attempts: start.failures,
            seen: AttemptSeen::default(),
            start: Arc::clone(&start),
        };
        self.write(Group::Release(start.job), after);
    }

    /// Nothing was written for this, alone or with its whole commit.
    pub(super) fn apply_refused(&mut self, after: After, error: &StoreError) {
        match after {
            After::Published { answer, seen, .. } => {
                seen.failed("store");
                self.answers.push((answer, Err(error.clone())));
            }
            After::Letter(decided) => decided.refuse(error),
            After::Started(start) | After::Buried(start, _) => {
                // Nothing is started before the store works again, so the slot does not go to a later job.
                self.handle(Input::StartRefused(start.job));
            }
            After::Ended { start, seen, .. } => {
                drop(seen);
                self.release_refused(&start, error);
            }
            After::GivenUp { start, .. } => self.release_refused(&start, error),
            After::Unsettled(outcome) => {
                // The board has decided; the record follows as soon as the store works.
                tracing::warn!(target: "volery::curator", ?outcome, %error, "an outcome could not be recorded yet");
                self.unsettled.push(outcome);
            }
            // It takes note of that as it is dropped.
            After::SeenNoted(seen) => drop(seen),
            After::SpilledCancelled(run) => {
                tracing::warn!(target: "volery::curator", %run, %error, "claims in the log were not cancelled yet");
                self.handle(Input::CancelRefused(run));
            }
            After::Input(_) | After::EngineLost(..) | After::Cancel { .. } | After::Look(_) => {
                self.apply_done(after, Few::new());
            }
            After::Ask(question) => self.answer(question),
        }
    }

    /// The end of a job without anything but its error is committed.
    pub(super) fn apply_given_up(&mut self, start: &Start, error: Vec<String>) {
        let verdict = Verdict::Dead;
        let end = End { verdict, error: &error, stored: &[], committed: self.committed };
        AttemptSeen::default().ended(&self.parts.seen, start, &end);
        self.parts.feed.tell_attempt(start, verdict, error);
        self.handle(Input::Finished { job: start.job, attempt: start.attempt, verdict });
    }

    /// The job runs again once the store works.
    fn release_refused(&mut self, start: &Start, error: &StoreError) {
        let (agent, run, job) = (self.parts.feed.name(start.agent), start.run, start.job);
        tracing::warn!(target: "volery::curator", %agent, %run, %job, attempt = start.attempt, %error, "end of an attempt was refused");
        let verdict = Verdict::Released;
        self.handle(Input::Finished { job: start.job, attempt: start.attempt, verdict });
    }

    fn give_up(&mut self, start: Arc<Start>, error: Vec<String>, attempts: u32) {
        let end = JobEnd::Dead { attempts, error: error.clone(), at: self.now };
        let finish = Finish { job: start.job, end, outputs: Few::new() };
        self.write(Group::Finish(finish), After::GivenUp { start, error });
    }

    /// Logs a refusal, and returns the causes as a dead letter tells them, the newest first.
    fn say_refused(&self, start: &Start, error: &StoreError, failed: Vec<String>) -> Vec<String> {
        let agent = self.parts.feed.name(start.agent);
        tracing::error!(
            target: "volery::curator", run = %start.run, job = %start.job, agent = %agent, attempt = start.attempt, %error,
            "the store refused the end of an attempt, and nothing else of the commit"
        );
        let refused = format!("the store refused the end of the attempt: {error}");
        let others: Vec<String> = failed.into_iter().filter(|cause| *cause != refused).collect();
        std::iter::once(refused).chain(others).collect()
    }
}

/// When a job that has failed so often, and that the store lets not end, may run again.
fn back_off(now: Timestamp, failures: u32) -> Timestamp {
    now.after(BACK_OFF_FIRST.saturating_mul(1 << failures.min(DOUBLINGS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_of_a_refused_end_doubles_up_to_a_limit() {
        let now = Timestamp::default();
        let seconds = [0, 1, 2, 8, 9, u32::MAX].map(|failures| back_off(now, failures).since(now).as_secs());
        assert_eq!(seconds, [1, 2, 4, 256, 256, 256]);
    }
}
