//! The shutdown report: the counts of every phase, and its status. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use volery_blackboard::Timestamp;

use super::phase::Phase;
use crate::agent::Attempt;

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
    /// Attempts that were cut off: cancelled, and not ended when their time was up. The longest running
    /// first.
    pub cut_off: Vec<CutOff>,
    /// The service's callbacks, in the order of their calls.
    pub callbacks: Vec<CallbackReport>,
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
    /// The engines of an agent panicked more often than its intensity allows, and it escalates
    /// ([`PastIntensity::Escalate`](crate::PastIntensity)).
    Escalated {
        /// Which agent.
        agent: String,
    },
}

/// An attempt that was cancelled and had not ended when its time was up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CutOff {
    /// Its agent.
    pub agent: String,
    /// Its job.
    pub job: String,
    /// Which attempt of the job, counted from 1.
    pub attempt: u32,
    /// How long it had run by then.
    pub ran: Duration,
    /// It was in a protected section.
    pub protected: bool,
    /// It could not even be dropped, because its code blocks its thread: it runs until the process ends.
    pub still_running: bool,
}

/// How one of the service's callbacks went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallbackReport {
    /// The name it was registered under.
    pub name: String,
    /// Its moment: [`Phase::Notice`] or [`Phase::Flush`].
    pub phase: Phase,
    /// Its result. A callback that panicked or gave an error has failed.
    pub status: PhaseStatus,
    /// How long it took.
    pub duration: Duration,
}

/// How one phase stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// How it went.
    pub status: PhaseStatus,
    /// The count when it began to stop: artifacts without an outcome for the board, jobs running or waiting
    /// for a slot for the agents, actors for upkeep, callbacks for notice and flush.
    pub initial: u64,
    /// Jobs that ended meanwhile; more than `initial` when they caused others. For upkeep: actors that ended;
    /// for notice and flush: callbacks that did.
    pub completed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// How many are left.
    pub remaining: u64,
    /// The parts that are left, or were cancelled: names with counts. For notice and flush: callbacks that
    /// did not end well.
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
        for callback in self.callbacks.iter().filter(|callback| callback.status != PhaseStatus::Completed) {
            write!(f, "\n  {callback}")?;
        }
        for cut in &self.cut_off {
            write!(f, "\n  {cut}")?;
        }
        Ok(())
    }
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("as requested"),
            Self::Interrupted => f.write_str("because it was interrupted"),
            Self::HandlesDropped => f.write_str("because its last handle was dropped"),
            Self::GaveUp(why) => write!(f, "because it gave up: {why}"),
            Self::Escalated { agent } => {
                write!(f, "because agent {agent} escalated: its engines panicked too often")
            }
        }
    }
}

impl CutOff {
    pub(crate) fn of(attempt: &Attempt, now: Timestamp) -> Self {
        Self {
            agent: attempt.agent().to_string(),
            job: attempt.start.job.to_string(),
            attempt: attempt.start.attempt,
            ran: now.since(attempt.began),
            protected: attempt.is_protected(),
            still_running: false,
        }
    }

    pub(crate) fn still_running(self) -> Self {
        Self { still_running: true, ..self }
    }

    /// The agents with counts, as rows of phases name them.
    pub(crate) fn counted(cut_off: &[Self]) -> Vec<String> {
        let mut counts = BTreeMap::<&str, usize>::new();
        cut_off.iter().for_each(|cut| *counts.entry(&cut.agent).or_default() += 1);
        counts.into_iter().map(|(agent, count)| format!("{agent} × {count}")).collect()
    }
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent, job, attempt, ran, .. } = self;
        write!(f, "cut off: agent {agent}, job {job}, attempt {attempt}, after {ran:.1?}")?;
        if self.protected {
            f.write_str(", in a protected section")?;
        }
        if self.still_running {
            f.write_str(", still running")?;
        }
        Ok(())
    }
}

impl fmt::Display for CallbackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "callback {} ({}) {} in {:.1?}", self.name, self.phase, self.status, self.duration)
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
