//! Application: the sequel of a committed write, and the actions that need no write.
//!
//! The one place where the results of a commit are reported: to traces, to the feed and to the board, in this
//! order.

use std::sync::Arc;

use volery_blackboard::Tally;
use volery_blackboard::claim::LogEntry;
use volery_blackboard::input::Input;
use volery_blackboard::store::{Few, Stored, Written};

use super::actor::Curator;
use super::step::{Action, ArtifactClaims, Finished, Then};
use crate::feed::Event;
use crate::ingress::reply;
use crate::observer::End;

impl Curator {
    /// The write is committed.
    pub(super) fn follow(&mut self, then: Then, result: Written) {
        match (then, result) {
            (Then::Published { claims, answer, observed }, Written::Done(stored)) => {
                observed.committed(&stored, self.committed);
                self.apply_published(claims, &stored);
                // A publisher that stopped waiting has published all the same.
                self.answers.push((answer, Ok(stored)));
            }
            (Then::Started(start, burial), Written::Done(_)) => self.dispatch(start, burial),
            (Then::Finished(finished) | Then::GivenUp(finished), Written::Done(stored)) => {
                self.apply_finished(finished, &stored);
            }
            (Then::Redriven { letter, inputs, edits, answer }, Written::Redriven(resumed)) => {
                let job = resumed.start.job;
                self.feed_edits(&inputs, edits, &resumed);
                self.parts.feed.tell(|| Event::Redriven { letter, job });
                self.handle(Input::Redriven { resumed, dead: inputs });
                reply(answer, Ok(Some(job)));
            }
            (Then::LetterDiscarded { letter, reason, answer }, Written::Done(_)) => {
                self.parts.feed.tell(|| Event::LetterDiscarded { letter, reason });
                reply(answer, Ok(None));
            }
            (Then::Recorded(_) | Then::StartNoted(_), Written::Done(_)) => {}
            (Then::SpanNoted(note), Written::Done(_)) => self.parts.observer.note_committed(&note),
            (Then::SpilledCancelled(run), Written::Cancelled(cancelled)) => {
                if self.board.tally(run).is_none() && cancelled.iter().any(|(_, count)| *count > 0) {
                    self.log_reads.push_ended(run);
                }
                self.parts.observer.cancelled_in_log(&cancelled);
                self.handle_decided(Input::SpilledCancelled { run, cancelled });
            }
            (then, _) => self.refuse_one(then, &self.unanswered()),
        }
    }

    /// Does what needs no record, in its turn.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Input(input) => {
                if matches!(input, Input::Tick) {
                    self.armed = None;
                }
                self.parts.observer.input(&input, self.now);
                self.handle_decided(input);
                // It may have lifted a quarantine, and the panics that come after it in this commit count
                // anew.
                self.perform_effects();
            }
            Action::CountPanic(agent, scope) => scope.call(|| self.count_panic(agent)),
            Action::Start(start) => self.dispatch(start, None),
            Action::GoOn(agent) => self.parts.agents[agent.at()].slots.go_on(),
            Action::Release(finished) => self.apply_finished(*finished, &[]),
            Action::Cancel { agent, job } => self.cancel(agent, job),
            Action::Ask(question) => {
                self.board.conclude(&mut self.effects);
                question.answer(&self.board);
            }
            Action::Read(request) => self.log_reads.push(request),
            Action::Check(run) => self.quiescent.push((run, Tally::default())),
        }
    }

    /// An attempt's end is committed.
    fn apply_finished(&mut self, finished: Finished, stored: &[Stored]) {
        let Finished { start, verdict, claims, error, observed, is_short, attempts: _ } = finished;
        let end = End { verdict, error: &error, stored, committed: self.committed };
        observed.ended(&self.parts.observer, &start, &end);
        self.apply_published(claims, stored);
        self.parts.feed.tell_attempt(&start, verdict, error);
        self.take(Input::Finished { attempt: start.id(), verdict, is_short });
    }

    /// Artifacts are committed.
    fn apply_published(&mut self, claims: Few<ArtifactClaims>, stored: &[Stored]) {
        for (ArtifactClaims { workflow, claims }, stored) in claims.into_iter().zip(stored) {
            let Stored::New(artifact) = stored else { continue };
            self.parts
                .feed
                .tell(|| Event::Published { artifact: Arc::clone(artifact), claims: claims.len() });
            self.take(Input::Published(LogEntry {
                offset: artifact.offset(),
                run: artifact.run(),
                workflow,
                at: artifact.published_at(),
                claims,
            }));
        }
    }
}
