//! Commands for the curator. Data only.

use std::fmt;

use tokio::sync::oneshot;
use volery_blackboard::RunId;
use volery_blackboard::board::Board;
use volery_blackboard::input::Input;
use volery_blackboard::store::{Few, NewArtifact, Redrive, StoreError, Stored};
use volery_blackboard::{JobId, Offset, Tally};

use super::end::Ended;
use super::waiters::Until;
use crate::observer::{ObservedPublish, SpanNote};

/// One command. The head of `ingress.rs` says what each is answered with.
#[derive(Debug)]
pub(crate) enum Command {
    /// Commit these artifacts, all or nothing.
    Publish { artifacts: Few<NewArtifact>, answer: PublishAnswer, observed: ObservedPublish },
    /// An attempt ended.
    Ended(Ended),
    /// Decide about a dead letter.
    Letter(LetterDecision),
    /// Tell the board something.
    Input(Input),
    /// Write that a run of an earlier process went on, so many times by now.
    RunResumed(RunId, u32),
    /// Write a note of a span.
    SpanNote(SpanNote),
    /// Show something of the board.
    Ask(Question),
    /// Answer when it has come so far.
    Wait { until: Until, answer: oneshot::Sender<Tally> },
}

/// A look at the board, which sends its answer.
pub(crate) struct Question(Box<dyn FnOnce(&Board) + Send>);

impl Question {
    pub(super) fn new<T: Send + 'static>(
        look: impl FnOnce(&Board) -> T + Send + 'static,
        answer: oneshot::Sender<T>,
    ) -> Self {
        Self(Box::new(move |board| reply(answer, look(board))))
    }

    pub(crate) fn answer(self, board: &Board) {
        (self.0)(board);
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

/// A decision about a dead letter.
#[derive(Debug)]
pub(crate) enum LetterDecision {
    /// Its job runs again.
    Redrive {
        /// The write; the curator sets its time.
        redrive: Redrive,
        /// The inputs of the letter, in input order.
        inputs: Vec<Offset>,
        answer: DecisionAnswer,
    },
    /// It is given up.
    Discard { letter: u64, reason: String, answer: DecisionAnswer },
}

/// Where a publisher waits.
pub(crate) type PublishAnswer = oneshot::Sender<Result<Few<Stored>, StoreError>>;

/// Where the caller waits who decides about a dead letter.
pub(crate) type DecisionAnswer = oneshot::Sender<Result<Option<JobId>, StoreError>>;

/// Sends an answer. The caller may have gone; an answer without a reader is no error.
pub(crate) fn reply<T>(to: oneshot::Sender<T>, answer: T) {
    drop(to.send(answer).err());
}
