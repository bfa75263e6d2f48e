//! The answers of a supervisor to its callers: states, reports and errors.
//!
//! Pure: no I/O, no clock. Only data; `rules.rs` and `shell.rs` fill it in.

use std::time::Duration;

use super::exit::Exit;
use super::spec::ChildId;

/// Describes one child at the moment of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// The child's id among its siblings.
    pub id: ChildId,
    /// Its present state.
    pub state: ChildState,
    /// How many lives were begun, failed starts included.
    pub life: u64,
    /// How many of them were restarts.
    pub restarts: u32,
    /// How the last life that ended did so.
    pub last_exit: Option<Exit>,
    /// How long its present life has been taking messages; none when there is none.
    pub alive_for: Option<Duration>,
}

/// The present state of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// A life takes messages.
    Alive,
    /// Its first life is to start, or starting.
    Starting,
    /// Between two lives: waiting for its back-off or its siblings, or starting.
    Restarting,
    /// Its life was asked to stop and has not ended yet.
    Stopping,
    /// It ended and gets no further life of its own.
    Ended,
}

/// Says how one child stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildStop {
    /// The child's id among its siblings.
    pub id: ChildId,
    /// How its last life ended; [`Exit::Stopped`] if it was stopped before its first had started.
    pub exit: Exit,
    /// From the request to stop until the life had fully ended; zero if it had ended before.
    pub duration: Duration,
    /// Its time to stop ran out and it was killed.
    pub overran: bool,
}

/// Tells how a supervisor's children stopped: one row each, in the order of stopping.
///
/// Children that were never started have no row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StopReport {
    /// One row per child, the last started first.
    pub children: Vec<ChildStop>,
    /// From the decision to stop until the last child had ended.
    pub duration: Duration,
}

/// Says why a supervisor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SupervisorExit {
    /// It was asked to stop.
    Stopped,
    /// Significant children ended; this one was the last.
    AutoShutdown {
        /// The child whose end was decisive.
        child: ChildId,
    },
    /// A restart intensity was passed.
    GaveUp {
        /// The child whose failure was one too many.
        child: ChildId,
        /// How that child's last life ended.
        exit: Exit,
    },
    /// A child could not be started for the first time; those started before it were stopped again.
    StartFailed {
        /// The child.
        child: ChildId,
        /// The text of the fault.
        exit: Exit,
    },
    /// It was killed, and its children with it.
    Killed,
    /// Its task vanished, as it does when the async runtime shuts down.
    Aborted,
}

/// Says why a tree or a child could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two children of a supervisor share an id; nothing was started or changed.
    #[error("supervisor {supervisor} already has a child {child}; stop it first or choose another id")]
    DuplicateChild {
        /// Which supervisor.
        supervisor: ChildId,
        /// The id in question.
        child: ChildId,
    },
    /// A spec contradicts itself; nothing was started.
    #[error("spec of {child} under supervisor {supervisor} is invalid: {problem}")]
    InvalidChild {
        /// Which supervisor.
        supervisor: ChildId,
        /// Which child.
        child: ChildId,
        /// The fault of the spec, in words.
        problem: &'static str,
    },
    /// The spec of a supervisor contradicts itself; nothing was started.
    #[error("spec of supervisor {supervisor} is invalid: {problem}")]
    InvalidSupervisor {
        /// Which supervisor.
        supervisor: ChildId,
        /// The fault of the spec, in words.
        problem: &'static str,
    },
    /// The supervisor has as many dynamic children as it may have.
    #[error("supervisor {supervisor} already has its {max} dynamic children; stop one first")]
    TooManyChildren {
        /// Which supervisor.
        supervisor: ChildId,
        /// Its bound.
        max: usize,
    },
    /// The child did not start. At the start of a tree, the children before it were stopped again.
    #[error("child {child} of supervisor {supervisor} did not start: {exit}")]
    ChildFailed {
        /// Which supervisor.
        supervisor: ChildId,
        /// Which child.
        child: ChildId,
        /// The text of the fault.
        exit: Exit,
    },
    /// The supervisor is ending or has ended, or the child was stopped before it had started.
    #[error("supervisor {supervisor} is ending or the child was stopped before it had started")]
    Ending {
        /// Which supervisor.
        supervisor: ChildId,
    },
}

/// Says why a child could not be stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopChildError {
    /// The supervisor has no such child.
    #[error("supervisor {supervisor} has no child {child}")]
    UnknownChild {
        /// Which supervisor.
        supervisor: ChildId,
        /// The id in question.
        child: ChildId,
    },
    /// The supervisor has ended, and with it all its children.
    #[error("supervisor {supervisor} has ended")]
    Ended {
        /// Which supervisor.
        supervisor: ChildId,
    },
}

/// The end of a child supervisor, as its parent sees it.
impl From<&SupervisorExit> for Exit {
    fn from(exit: &SupervisorExit) -> Self {
        match exit {
            SupervisorExit::Stopped => Self::Stopped,
            SupervisorExit::AutoShutdown { .. } => Self::Finished,
            SupervisorExit::GaveUp { child, exit } => Self::GaveUp(format!("{child}: {exit}")),
            SupervisorExit::StartFailed { child, exit } => Self::StartFailed(format!("{child}: {exit}")),
            SupervisorExit::Killed => Self::Killed,
            SupervisorExit::Aborted => Self::Aborted,
        }
    }
}
