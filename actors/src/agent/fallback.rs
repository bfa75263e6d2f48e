//! The fallback: a call that runs once when a job would be given up, and may still end it well.
//!
//! It runs in the task of the attempt that failed last, and is an engine like any other: what it returns is
//! published, and the job is done. When it fails as well, the job is given up after all.

use std::fmt;

use crate::fault::Fault;

/// Why a job would be given up, for its fallback.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GaveUp {
    /// Failed attempts.
    pub attempts: u32,
    /// Why the last one failed, root cause last.
    pub error: Vec<String>,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gave up after {} attempts: {}", self.attempts, self.error.join(": "))
    }
}

/// The fallback of a job failed as well. Cause: why the job failed.
#[derive(Debug, thiserror::Error)]
#[error("the fallback failed as well: {text}")]
pub(super) struct FallbackFailed {
    pub(super) text: String,
    #[source]
    pub(super) cause: Fault,
}
