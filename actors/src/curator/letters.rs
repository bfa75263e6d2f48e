//! Decisions about dead letters, made into steps of the next commit.
//!
//! The store judges a decision: a letter is decided once.

use std::sync::Arc;

use volery_blackboard::job::Resumed;
use volery_blackboard::store::Write;
use volery_blackboard::{Artifact, Offset};

use super::actor::Curator;
use super::step::Then;
use crate::feed::Event;
use crate::ingress::LetterDecision;

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
    pub(super) fn feed_edits(
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
