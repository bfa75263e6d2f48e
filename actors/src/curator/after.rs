//! What follows a command: the curator's note of what to do once the command's write is done, or refused.
//!
//! Data only; the curator's actor acts on it. Pure: no I/O, no clock.

use std::sync::Arc;

use tokio::sync::oneshot;
use volery_blackboard::effect::{Input, Start, Verdict};
use volery_blackboard::matching::Match;
use volery_blackboard::store::{Few, Publish, StoreError, Stored};

use super::ingress::Question;

/// What follows once a command, or its write, is done.
pub(super) enum After {
    Published {
        claims: Few<Claims>,
        answer: PublishAnswer,
    },
    Started(Arc<Start>),
    Ended {
        start: Arc<Start>,
        verdict: Verdict,
        claims: Few<Claims>,
        error: Vec<String>,
    },
    Settled,
    Input(Input),
    /// Answered in its turn, so that whoever asks sees what they did before.
    Ask(Question),
}

/// Where a publisher waits.
pub(super) type PublishAnswer = oneshot::Sender<Result<Few<Stored>, StoreError>>;

/// What is kept of an artifact while the store has it: the workflow's name and the claims.
pub(super) type Claims = (Arc<str>, Arc<[Match]>);

impl After {
    /// Tells whether it stands for a group of the commit.
    pub(super) fn has_group(&self) -> bool {
        match self {
            Self::Published { .. } | Self::Started(_) | Self::Settled => true,
            Self::Ended { verdict, .. } => *verdict != Verdict::Released,
            Self::Input(_) | Self::Ask(_) => false,
        }
    }

    /// Attempts of its job that failed before.
    pub(super) fn failures(&self) -> u32 {
        match self {
            Self::Ended { start, .. } => start.failures,
            Self::Published { .. } | Self::Started(_) | Self::Settled | Self::Input(_) | Self::Ask(_) => 0,
        }
    }
}

/// Keeps what the board needs of artifacts that are about to be written.
pub(super) fn claims_of(artifacts: &[Publish]) -> Few<Claims> {
    artifacts.iter().map(|publish| (Arc::clone(&publish.workflow), Arc::clone(&publish.matches))).collect()
}
