//! Dead letters: jobs that failed for good.
//!
//! Pure: no I/O, no clock.

use serde::{Deserialize, Serialize};

use crate::id::{AgentName, JobId, Offset, RunId};
use crate::time::Timestamp;

/// A job that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number in the list, counted from 1.
    pub number: u64,
    /// The job.
    pub job: JobId,
    /// The agent.
    pub agent: AgentName,
    /// The run of its outputs.
    pub run: RunId,
    /// Its inputs, in input order.
    pub inputs: Vec<Offset>,
    /// Attempts made.
    pub attempts: u32,
    /// Why the last one failed, root cause last.
    pub error: Vec<String>,
    /// When it was given up.
    pub at: Timestamp,
}
