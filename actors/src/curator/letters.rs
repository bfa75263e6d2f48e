//! Decisions about dead letters, made into steps of the next commit.
//!
//! What may be decided is the store's to judge: a letter is decided once.

use std::sync::Arc;

use tokio::sync::oneshot;
use volery_blackboard::job::Resumed;
use volery_blackboard::store::{Redrive, StoreError, Write};
use volery_blackboard::{Artifact, JobId, Offset};

use super::actor::Curator;
use super::step::Then;
use crate::feed::Event;

/// Where the caller who decides waits.
pub(crate) type DecisionAnswer = oneshot::Sender<Result<Option<JobId>, StoreError>>;

/// A decision about a dead letter.
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

impl Curator {
    pub(super) fn prepare_letter(&mut self, decision: LetterDecision) {
        match decision {
            LetterDecision::Redrive { mut redrive, inputs, answer } => {
                redrive.at = self.now;
                let letter = redrive.letter;
                let edits = redrive.edits.iter().map(|(old, edit)| (*old, Arc::clone(&edit.artifact)));
                let then = Then::Redriven { letter, inputs, edits: edits.collect(), answer };
                self.write(Write::Redrive(redrive), then);
            }
            LetterDecision::Discard { letter, reason, answer } => {
                let write = Write::Discard { letter, at: self.now, reason: reason.clone() };
                self.write(write, Then::LetterDiscarded { letter, reason, answer });
            }
        }
    }

    /// Tells of the artifacts that take the place of inputs: they stand where the inputs stood.
    pub(super) fn tell_edits(
        &self,
        inputs: &[Offset],
        edits: Vec<(Offset, Arc<Artifact>)>,
        resumed: &Resumed,
    ) {
        for (old, artifact) in edits {
            let new = inputs.iter().position(|input| *input == old).and_then(|at| resumed.inputs.get(at));
            if let Some(new) = new {
                let artifact = Artifact::at_offset(artifact, new.offset);
                self.parts.feed.tell(|| Event::Published { artifact, claims: new.claims.len() });
            }
        }
    }
}
