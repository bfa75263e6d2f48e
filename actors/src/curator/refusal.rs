//! Refusals: the consequences of a write that the store refused, by itself or with its whole commit.
//!
//! A store that is down refuses whole commits: jobs are handed back and run again once it works
//! (`commit.rs`). A refusal of one write concerns no other. That of a start defers its job: the board
//! tries it again after a growing back-off. That of an end would come again at every attempt, so it ends its
//! job, by what the store accepts: a dead letter with its `Failure`, else a dead letter alone. When not even
//! that is accepted, the job runs again after a growing back-off.

use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::Timestamp;
use volery_blackboard::input::Input;
use volery_blackboard::job::{Start, Verdict};
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Death, Few, Finish, JobEnd, StoreError, Write};

use super::actor::Curator;
use super::step::{Finished, Then};
use crate::ingress::reply;
use crate::observer::ObservedAttempt;

/// The first back-off of a job that the store lets neither end nor fail; each one is twice the one before. A
/// tenth would fill the log; ten times as much would delay the start after the store has been mended.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);

/// How often it is doubled: up to a good four minutes. Longer, and a store that was mended would seem not to
/// be.
const DOUBLINGS_MAX: u32 = 8;

impl Curator {
    /// The commit is done, and the store refused this write of it.
    pub(super) fn refuse_one(&mut self, then: Then, error: &StoreError) {
        match then {
            Then::Finished(finished) => self.refuse_end(finished, error),
            Then::GivenUp(Finished { start, .. }) => {
                let error = self.log_refusal(&start, error, Vec::new());
                let until = back_off(self.now, start.failures);
                // In memory only: there is nothing that the store would note.
                let verdict = Verdict::Retry(until);
                self.parts.feed.tell_attempt(&start, verdict, error);
                self.handle(Input::Finished { attempt: start.id(), verdict, is_short: false });
            }
            Then::Started(start, _) => {
                let agent = self.parts.feed.name(start.agent);
                tracing::error!(
                    target: "volery::curator", job = %start.job, agent = %agent, %error,
                    "the store refused the start of a job, and nothing else of the commit; it is tried again"
                );
                self.handle(Input::StartDeferred(start.id()));
            }
            other => self.refuse_with_all(other, error),
        }
    }

    /// Nothing was written for this, alone or with its whole commit.
    pub(super) fn refuse_with_all(&mut self, then: Then, error: &StoreError) {
        match then {
            Then::Published { answer, observed, .. } => {
                observed.failed("store");
                self.answers.push((answer, Err(error.clone())));
            }
            Then::Redriven { answer, .. } | Then::LetterDiscarded { answer, .. } => {
                reply(answer, Err(error.clone()));
            }
            // Nothing is started before the store works again, so the slot does not go to a later job.
            Then::Started(start, _) => self.handle(Input::StartRefused(start.id())),
            Then::Finished(finished) | Then::GivenUp(finished) => self.release_refused(finished, error),
            Then::Recorded(record) => {
                // The board has decided; the record follows as soon as the store works.
                tracing::warn!(target: "volery::curator", ?record, %error, "an outcome could not be recorded yet");
                self.unwritten.push(record);
            }
            // The loop sends it again.
            Then::SpanNoted(_) => {}
            Then::StartNoted(attempt) => {
                self.handle(Input::NoteRefused(attempt));
                self.record_again();
            }
            Then::SpilledCancelled(run) => {
                tracing::warn!(target: "volery::curator", %run, %error, "claims in the log were not cancelled yet");
                self.handle(Input::CancelRefused(run));
            }
        }
    }

    /// The store refused this end of a job: the job ends by another one.
    fn refuse_end(&mut self, finished: Finished, error: &StoreError) {
        match finished.verdict {
            Verdict::Done | Verdict::Retry(_) => {
                let Finished { start, error: failed, observed, .. } = finished;
                // Before the job goes on: its span waits for the next attempt.
                drop(observed);
                let error = self.log_refusal(&start, error, failed);
                let attempts = start.failures + 1;
                self.dispatch(start, Some(Burial::EndRefused { attempts, error }));
            }
            Verdict::Dead => {
                let Finished { start, error: failed, attempts, observed, .. } = finished;
                drop(observed);
                let error = self.log_refusal(&start, error, failed);
                self.give_up(start, error, attempts);
            }
            Verdict::Cancelled | Verdict::Released => self.release_refused(finished, error),
        }
    }

    /// The job runs again once the store works.
    fn release_refused(&mut self, finished: Finished, error: &StoreError) {
        let Finished { start, observed, .. } = finished;
        drop(observed);
        let (agent, run, job) = (self.parts.feed.name(start.agent), start.run, start.job);
        tracing::warn!(target: "volery::curator", %agent, %run, %job, attempt = start.attempt, %error, "end of an attempt was refused");
        let verdict = Verdict::Released;
        self.handle(Input::Finished { attempt: start.id(), verdict, is_short: false });
    }

    fn give_up(&mut self, start: Arc<Start>, error: Vec<String>, attempts: u32) {
        let end = JobEnd::Dead(Box::new(Death { attempts, error: error.clone(), at: self.now }));
        let told = (!self.board.is_start_recorded(start.id())).then(|| Arc::clone(&start));
        let finish = Finish { job: start.job, start: told, end, outputs: Few::new() };
        let verdict = Verdict::Dead;
        let (claims, observed) = (Few::new(), ObservedAttempt::default());
        let finished = Finished { start, verdict, claims, error, attempts, observed, is_short: false };
        self.write(Write::Finish(finish), Then::GivenUp(finished));
    }

    /// Logs a refusal, and returns the causes as a dead letter tells them, the newest first.
    fn log_refusal(&self, start: &Start, error: &StoreError, failed: Vec<String>) -> Vec<String> {
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
