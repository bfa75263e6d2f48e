//! The end of an attempt, as its owner tells the curator. Data only.

use std::sync::Arc;

use volery_blackboard::Timestamp;
use volery_blackboard::job::Start;
use volery_blackboard::store::{Few, NewArtifact};

use crate::observer::ObservedAttempt;

/// An attempt that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) start: Arc<Start>,
    /// When it began; none for a job that no slot had taken.
    pub(crate) began: Option<Timestamp>,
    pub(crate) end: AttemptEnd,
    pub(crate) engine: EngineState,
    pub(crate) observed: ObservedAttempt,
}

impl Ended {
    /// The end of a job that no engine was called for.
    pub(crate) fn without_attempt(start: Arc<Start>, end: AttemptEnd) -> Self {
        Self { start, began: None, end, engine: EngineState::Sound, observed: ObservedAttempt::default() }
    }
}

/// How an attempt ended, with everything that is to be committed about it.
#[derive(Debug)]
pub(crate) enum AttemptEnd {
    /// The job is done.
    Done(Few<NewArtifact>),
    /// Another attempt may start at this time.
    Retry { until: Timestamp, error: Vec<String> },
    /// The job is given up after so many attempts.
    Dead { at: Timestamp, attempts: u32, error: Vec<String>, failure: Few<NewArtifact> },
    /// Its run was cancelled.
    Cancelled,
    /// It did not end by itself; it counts for nothing.
    Released,
}

/// Whether the engine may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineState {
    Sound,
    /// It panicked and may be half-updated.
    Suspect,
    /// There is none: its factory failed or panicked.
    NotMade,
}
