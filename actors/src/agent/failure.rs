//! The failure artifact, which is published when a job fails for good.
//!
//! Agents subscribe to it like to anything else; the dead letter holds the same facts for queries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
