//! The shutdown report: what every phase had to end, and what became of it. Pure: no I/O, no clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::phase::Phase;

/// How a runtime stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The runtime's name.
    pub runtime: String,
    /// Why it stopped.
    pub cause: StopCause,
    /// One row per phase, in the order of stopping.
    pub phases: Vec<PhaseReport>,
    /// From the request to the end.
    pub duration: Duration,
}

/// Why a runtime stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopCause {
    /// `shutdown` was called.
    Requested,
    /// A signal came, or `interrupt` was called.
    Interrupted,
    /// The last handle was dropped.
    HandlesDropped,
    /// A part of the runtime failed more often than its supervisor allows; the text says which and how.
    GaveUp(String),
}

/// How one phase stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// How it went.
    pub status: PhaseStatus,
    /// What was there when it began to stop: artifacts without an outcome for the board, jobs running or waiting for a
    /// slot for the agents, actors for upkeep.
    pub initial: u64,
    /// Jobs that ended meanwhile; more than `initial` when they caused others. For upkeep: actors that ended.
    pub completed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// How many are left.
    pub remaining: u64,
    /// Who is left, or was cancelled: names with counts.
    pub names: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}

/// How a phase's stop went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PhaseStatus {
    /// In good order.
    Completed,
    /// Its time ran out, and what was left was cut off.
    TimedOut,
    /// A second request cut it short.
    Aborted,
    /// There was nothing to do, for this reason.
    Skipped(String),
    /// It failed, for this reason.
    Failed(String),
}

impl ShutdownReport {
    /// Tells whether every phase ended in good order.
    #[must_use]
    pub fn is_graceful(&self) -> bool {
        self.phases
            .iter()
            .all(|phase| matches!(phase.status, PhaseStatus::Completed | PhaseStatus::Skipped(_)))
    }

    /// Returns one phase's row.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Option<&PhaseReport> {
        self.phases.iter().find(|row| row.phase == phase)
    }
}

impl PhaseReport {
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            phase,
            status: PhaseStatus::Completed,
            initial: 0,
            completed: 0,
            cancelled: 0,
            remaining: 0,
            names: Vec::new(),
            duration: Duration::ZERO,
        }
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manner = if self.is_graceful() { "in good order" } else { "not in good order" };
        write!(f, "runtime {} stopped {manner} in {:.1?}, {}", self.runtime, self.duration, self.cause)?;
        for phase in &self.phases {
            write!(f, "\n  {phase}")?;
        }
        Ok(())
    }
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("as requested"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::HandlesDropped => f.write_str("because its last handle was dropped"),
            Self::GaveUp(why) => write!(f, "because it gave up: {why}"),
        }
    }
}

impl fmt::Display for PhaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9} {}", self.phase.name(), self.status)?;
        if self.initial > 0 {
            write!(f, ", {} at first, {} completed", self.initial, self.completed)?;
        }
        for (count, word) in [(self.cancelled, "cancelled"), (self.remaining, "left")] {
            if count > 0 {
                write!(f, ", {count} {word}")?;
            }
        }
        if !self.names.is_empty() {
            write!(f, " ({})", self.names.join(", "))?;
        }
        write!(f, " in {:.1?}", self.duration)
    }
}

impl fmt::Display for PhaseStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Aborted => f.write_str("aborted"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}
