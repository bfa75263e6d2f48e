//! Decisions about dead letters, as the curator writes them and tells the board.
//!
//! What may be decided is the store's to judge: a letter is decided once.

use std::sync::Arc;

use tokio::sync::oneshot;
use volery_blackboard::input::Input;
use volery_blackboard::job::Resumed;
use volery_blackboard::store::{Group, GroupResult, Redrive, StoreError};
use volery_blackboard::{AgentIndex, Artifact, JobId, Offset, Tally};

use super::actor::Curator;
use super::after::{After, give};
use crate::feed::Event;

/// Where whoever decides waits.
pub(crate) type DecisionAnswer = oneshot::Sender<Result<Option<JobId>, StoreError>>;

/// What is to become of a dead letter.
#[derive(Debug)]
pub(crate) enum LetterDecision {
    /// Its job runs again.
    Redrive {
        /// What is written; its time is set by the curator.
        redrive: Redrive,
        /// The inputs of the letter, in input order.
        inputs: Vec<Offset>,
        answer: DecisionAnswer,
    },
    /// It is given up.
    Discard { letter: u64, reason: String, answer: DecisionAnswer },
}

/// A decision whose write is under way.
pub(super) enum LetterDecided {
    Redriven {
        letter: u64,
        inputs: Vec<Offset>,
        /// The artifacts that take the place of inputs.
        edits: Vec<(Offset, Arc<Artifact>)>,
        answer: DecisionAnswer,
    },
    Discarded {
        letter: u64,
        reason: String,
        answer: DecisionAnswer,
    },
}

impl LetterDecided {
    /// Tells whoever decided that the store refused.
    pub(super) fn refuse(self, error: &StoreError) {
        let (Self::Redriven { answer, .. } | Self::Discarded { answer, .. }) = self;
        give(answer, Err(error.clone()));
    }
}

impl Curator {
    pub(super) fn prepare_letter(&mut self, decision: LetterDecision) {
        match decision {
            LetterDecision::Redrive { mut redrive, inputs, answer } => {
                redrive.at = self.now;
                let letter = redrive.letter;
                let edits = redrive.edits.iter().map(|(old, edit)| (*old, Arc::clone(&edit.artifact)));
                let decided = LetterDecided::Redriven { letter, inputs, edits: edits.collect(), answer };
                self.write(Group::Redrive(redrive), After::Letter(decided));
            }
            LetterDecision::Discard { letter, reason, answer } => {
                let group = Group::Discard { letter, at: self.now, reason: reason.clone() };
                self.write(group, After::Letter(LetterDecided::Discarded { letter, reason, answer }));
            }
        }
    }

    /// Tells those who wait for room in the windows of agents. Each adds one job at most before it waits again.
    pub(super) fn tell_room(&self) {
        let mut watch = self.parts.ingress.watch();
        if watch.windows.is_empty() {
            return;
        }
        watch.windows.retain(|(_, answer)| !answer.is_closed());
        let waiting = std::mem::take(&mut watch.windows);
        let (room, full) = waiting.into_iter().partition(|(agent, _)| self.board.has_room(*agent));
        watch.windows = full;
        drop(watch);
        let room: Vec<(AgentIndex, oneshot::Sender<Tally>)> = room;
        room.into_iter().for_each(|(_, answer)| give(answer, Tally::default()));
    }

    pub(super) fn apply_letter(&mut self, decided: LetterDecided, result: Option<GroupResult>) {
        match (decided, result) {
            (
                LetterDecided::Redriven { letter, inputs, edits, answer },
                Some(GroupResult::Redriven(resumed)),
            ) => {
                let job = resumed.start.job;
                self.tell_edits(&inputs, edits, &resumed);
                self.parts.feed.tell(|| Event::Redriven { letter, job });
                self.handle(Input::Redriven { resumed: *resumed, dead: inputs });
                give(answer, Ok(Some(job)));
            }
            (LetterDecided::Discarded { letter, reason, answer }, Some(GroupResult::Done(_))) => {
                self.parts.feed.tell(|| Event::LetterDiscarded { letter, reason });
                give(answer, Ok(None));
            }
            (decided, Some(GroupResult::Refused(error))) => decided.refuse(&error),
            (decided, _) => {
                let cause = "it did not answer for a decision about a dead letter".to_owned();
                decided.refuse(&StoreError::Conflict { store: self.parts.store.name(), cause });
            }
        }
    }

    /// Tells of the artifacts that take the place of inputs: they stand where the inputs stood.
    fn tell_edits(&self, inputs: &[Offset], edits: Vec<(Offset, Arc<Artifact>)>, resumed: &Resumed) {
        for (old, artifact) in edits {
            let new = inputs.iter().position(|input| *input == old).and_then(|at| resumed.inputs.get(at));
            if let Some(new) = new {
                let artifact = Artifact::at_offset(artifact, new.offset);
                self.parts.feed.tell(|| Event::Published { artifact, claims: new.claims.len() });
            }
        }
    }
}
