//! The commit: has the store write the steps, and goes through them with its answers.
//!
//! A store that refuses a whole commit is down: nothing is started until it works again. Then the records
//! that it refused are written first. `refusal.rs` has the refusal of one write.

use volery_blackboard::input::Input;
use volery_blackboard::store::{Response, StoreError, Written};

use super::actor::Curator;
use super::step::{Action, Step, Then, take_writes};
use crate::observer::Committed;

impl Curator {
    /// Writes all steps, and acts on each with the store's answer to it.
    pub(super) async fn commit(&mut self) {
        self.parts.ingress.count_backlog(self.board.queued(), self.board.collected());
        let mut steps = std::mem::take(&mut self.steps);
        let writes = take_writes(&mut steps);
        let changes = writes.len() as u64;
        self.committed = Committed { begun: self.parts.clock.now(), changes, ..self.committed };
        let results = if changes == 0 {
            Ok(Vec::new())
        } else {
            match self.parts.store.commit(writes) {
                Response::Ready(results) => results,
                Response::Pending(results) => {
                    self.answer_publishers();
                    self.parts.ingress.status().committing = Some(self.now);
                    let results = results.await;
                    self.parts.ingress.status().committing = None;
                    results
                }
            }
        };
        self.committed.done = self.parts.clock.now();
        // The board acts on the commit after it.
        self.now = self.now.max(self.committed.done);
        if changes > 0 {
            self.parts.observer.store_answered(self.committed, results.as_ref().err());
        }
        // While the steps are gone through, some of them may be starts.
        self.starts_wait = true;
        match results {
            Ok(results) => {
                self.board.written();
                // Only a write tells whether the store works; with nothing to write, a tick is the time to
                // try again.
                if self.store_down && (changes > 0 || steps.iter().any(is_tick)) {
                    self.resume_starts();
                }
                self.apply(steps, results);
            }
            Err(error) => self.refuse(steps, &error),
        }
        self.starts_wait = self.steps.iter().any(is_start);
        self.read_log().await;
    }

    /// Acts on every step: the answers come in the order of the writes.
    fn apply(&mut self, steps: Vec<Step>, results: Vec<Written>) {
        let listens = self.parts.observer.is_on() || self.parts.feed.has_readers();
        self.board.tell_settled(listens);
        let mut results = results.into_iter();
        for step in steps {
            match step {
                Step::Act(action) => self.act(action),
                Step::Write { then, .. } => match results.next() {
                    Some(Written::Refused(error)) => self.refuse_one(then, &error),
                    Some(result) => self.follow(then, result),
                    None => self.refuse_one(then, &self.unanswered()),
                },
            }
        }
        self.board.conclude(&mut self.effects);
    }

    /// The store refused a whole commit: starts nothing until it works, and acts on every step.
    fn refuse(&mut self, steps: Vec<Step>, error: &StoreError) {
        self.pause_starts(error);
        for step in steps {
            match step {
                Step::Act(action) => self.act(action),
                Step::Write { then, .. } => self.refuse_with_all(then, error),
            }
        }
        self.board.conclude(&mut self.effects);
    }

    /// Answers what the board asked about the log. Not while something that it decided is still to be
    /// written.
    pub(super) async fn read_log(&mut self) {
        let unwritten = |step: &Step| matches!(step, Step::Write { .. });
        while !self.store_down
            && !self.steps.iter().any(unwritten)
            && let Some(answer) = self.log_reads.next_answer(&self.parts, &self.board).await
        {
            self.handle(answer);
        }
    }

    /// The answer to a write is missing, or is that to a write of another kind.
    pub(super) fn unanswered(&self) -> StoreError {
        let cause = "it did not answer for the writes that it was given".to_owned();
        StoreError::Conflict { store: self.parts.store.name(), cause }
    }

    /// Starts nothing more until a commit succeeds; the sweeps see to it that one is tried.
    fn pause_starts(&mut self, error: &StoreError) {
        if !self.store_down {
            self.store_down = true;
            tracing::error!(target: "volery::curator", %error, "nothing is started until this is over");
            self.parts.ingress.status().store_trouble = Some((self.now, error.to_string()));
            self.handle(Input::StoreDown);
        }
    }

    fn resume_starts(&mut self) {
        self.store_down = false;
        tracing::info!(target: "volery::curator", "the store works again");
        self.parts.ingress.status().store_trouble = None;
        self.handle(Input::StoreUp);
        for record in std::mem::take(&mut self.unwritten) {
            self.write_record(record);
        }
    }
}

fn is_start(step: &Step) -> bool {
    matches!(step, Step::Write { then: Then::Started(..), .. } | Step::Act(Action::Start(_)))
}

fn is_tick(step: &Step) -> bool {
    matches!(step, Step::Act(Action::Input(Input::Tick)))
}
