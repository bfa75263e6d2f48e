//! What follows a command: the curator's note of what to do once the command's write is done, or refused.
//!
//! Data only; the curator's actor acts on it. Pure: no I/O, no clock.

use std::sync::Arc;

use tokio::sync::oneshot;
use volery_blackboard::claim::{Claim, Settled};
use volery_blackboard::input::Input;
use volery_blackboard::job::{Start, Verdict};
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Few, Finish, Group, JobEnd, Note, Publish, StoreError, Stored};
use volery_blackboard::{AgentIndex, JobId, RunId};

use super::ingress::Question;
use super::letters::LetterDecided;
use super::paging::Lookup;
use crate::seen::{AttemptSeen, PublishSeen, SeenNote};
use volery_observability::trace::Scope;

/// What follows once a command, or its write, is done.
pub(super) enum After {
    Published {
        claims: Few<Claims>,
        answer: PublishAnswer,
        seen: PublishSeen,
    },
    Started(Arc<Start>),
    /// The start of a job that is to be given up at once.
    Buried(Arc<Start>, Burial),
    Ended {
        start: Arc<Start>,
        verdict: Verdict,
        claims: Few<Claims>,
        error: Vec<String>,
        /// Attempts that failed by now, as a dead letter counts them.
        attempts: u32,
        seen: AttemptSeen,
    },
    /// A decision about a dead letter.
    Letter(LetterDecided),
    /// The end, with nothing but the error, of a job whose other ends the store refused.
    GivenUp {
        start: Arc<Start>,
        error: Vec<String>,
    },
    /// An outcome of its own; kept, to be written again should the store refuse it.
    Unsettled(Unsettled),
    Input(Input),
    /// An engine of this agent panicked or could not be made.
    EngineLost(AgentIndex, Scope),
    /// Told in its turn: the start that it is about may stand before it in the same commit.
    Cancel {
        agent: AgentIndex,
        job: JobId,
    },
    /// Answered in its turn, so that whoever asks sees what they did before.
    Ask(Question),
    /// A note about what is seen.
    SeenNoted(SeenNote),
    /// The end of what a cancelled run has in the log only.
    SpilledCancelled(RunId),
    /// Read once all of the commit has been told.
    Look(Lookup),
}

/// An outcome that no attempt's end writes.
#[derive(Clone, Debug)]
pub(super) enum Unsettled {
    /// Of one artifact for one subscription.
    Claim(Settled),
    /// Of a job that did not run when its run was cancelled.
    Job(JobId),
    /// None, but to be kept in the same way: what was decided from outside.
    Note(Note),
}

impl Unsettled {
    pub(super) fn group(&self) -> Group {
        match self {
            Self::Claim(settled) => Group::Settle(settled.clone()),
            Self::Note(note) => Group::Note(note.clone()),
            Self::Job(job) => {
                Group::Finish(Finish { job: *job, end: JobEnd::Cancelled, outputs: Few::new() })
            }
        }
    }
}

/// Where a publisher waits.
pub(super) type PublishAnswer = oneshot::Sender<Result<Few<Stored>, StoreError>>;

/// What is kept of an artifact while the store has it: the workflow's name and the claims.
pub(super) type Claims = (Arc<str>, Arc<[Claim]>);

impl After {
    /// Tells whether it stands for a group of the commit.
    pub(super) fn has_group(&self) -> bool {
        match self {
            Self::Published { .. }
            | Self::Started(_)
            | Self::Buried(..)
            | Self::Unsettled(_)
            | Self::SpilledCancelled(_)
            | Self::Letter(_)
            | Self::GivenUp { .. }
            | Self::SeenNoted(_)
            | Self::Ended { .. } => true,
            Self::Input(_) | Self::EngineLost(..) | Self::Cancel { .. } | Self::Ask(_) | Self::Look(_) => {
                false
            }
        }
    }
}

/// Keeps what the board needs of artifacts that are about to be written.
pub(super) fn claims_of(artifacts: &[Publish]) -> Few<Claims> {
    artifacts.iter().map(|publish| (Arc::clone(&publish.workflow), Arc::clone(&publish.claims))).collect()
}

/// Answers. Whoever asked may have gone; an answer that nobody takes is no error.
pub(super) fn give<T>(to: oneshot::Sender<T>, answer: T) {
    drop(to.send(answer).err());
}

/// Adds somebody to those who wait, and forgets those who have gone.
pub(super) fn join<T>(waiting: &mut Vec<oneshot::Sender<T>>, answer: oneshot::Sender<T>) {
    waiting.retain(|waiter| !waiter.is_closed());
    waiting.push(answer);
}
