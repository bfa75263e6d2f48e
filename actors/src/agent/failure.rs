//! The failure of a job: the facts for its fallback, and the artifact when it fails for good.
//!
//! The fallback is called once when a job would be given up. It runs in the task of the attempt that failed
//! last, and is an engine like any other: its outputs are published, and the job is done. When it fails as
//! well, the job is given up. Agents subscribe to the failure artifact like to any other; the dead letter
//! holds the same facts for queries.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// A job failed for good. Published by the runtime, in the run of the job, caused by the job's inputs.
///
/// A job that took a `Failure` as input and fails publishes no further one, so that a broken failure handler
/// ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Failure")]
pub struct Failure {
    /// The agent whose job it was.
    pub agent: String,
    /// The job.
    pub job: String,
    /// Attempts made.
    pub attempts: u32,
    /// Why the last attempt failed: the error and what caused it, root cause last.
    pub error: Vec<String>,
    /// The inputs, in input order.
    pub inputs: Vec<String>,
}

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
