//! Notes: decisions, and facts about runs and spans, that are in no artifact.
//!
//! A store keeps the last note on every topic; the curator writes notes beside the decisions and reads them
//! back first. Agents are named, not numbered, because numbers change with the program. Pure: no I/O, no
//! clock.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AgentName, RunId};
use crate::outcome::Quarantine;
use crate::time::Timestamp;

/// A small piece of durable state. A later note on the same topic replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// An agent was paused, or resumed.
    AgentPaused {
        /// The agent.
        agent: AgentName,
        /// Whether it is paused.
        paused: bool,
    },
    /// An agent was put into quarantine, or let out of it.
    AgentQuarantined {
        /// The agent.
        agent: AgentName,
        /// Why and until when; `None` when it was let out.
        state: Option<Quarantine>,
    },
    /// A run was cancelled: what is published in it later is cancelled as well.
    RunCancelled(RunId),
    /// No more input comes for a run.
    RunFinishing(RunId),
    /// A run has to be over at this time.
    RunDeadline {
        /// The run.
        run: RunId,
        /// The time; `None` lifts the deadline.
        at: Option<Timestamp>,
    },
    /// A run is over: every note on it is forgotten.
    RunSettled(RunId),
    /// A run went on in another process so many times.
    RunResumed {
        /// The run.
        run: RunId,
        /// How often.
        times: u32,
    },
    /// A span of a trace has been open for long, or was exported. Stores keep it under its first name.
    #[serde(rename = "shown")]
    Span {
        /// The ids of its trace and of itself.
        place: Arc<str>,
        /// The record with which the next process ends it should this one die; `None` once it is exported.
        open: Option<String>,
    },
    /// Written by earlier versions only; nothing follows from it.
    StoppedInOrder {
        /// Whether a process stopped in order.
        stopped: bool,
    },
}

/// The subject of notes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An agent.
    Agent(AgentName),
    /// A run.
    Run(RunId),
    /// A span of a trace, by its ids.
    Span(Arc<str>),
    /// The runtime itself.
    Runtime,
}

impl Note {
    /// Returns what it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::AgentPaused { agent, .. } | Self::AgentQuarantined { agent, .. } => {
                Subject::Agent(agent.clone())
            }
            Self::RunCancelled(run)
            | Self::RunFinishing(run)
            | Self::RunDeadline { run, .. }
            | Self::RunResumed { run, .. }
            | Self::RunSettled(run) => Subject::Run(*run),
            Self::Span { place, .. } => Subject::Span(Arc::clone(place)),
            Self::StoppedInOrder { .. } => Subject::Runtime,
        }
    }

    /// Returns which of its subject's notes it is; subject and topic together name the note it replaces.
    #[must_use]
    pub const fn topic(&self) -> &'static str {
        match self {
            Self::AgentPaused { .. } => "paused",
            Self::AgentQuarantined { .. } => "quarantined",
            Self::RunCancelled(_) => "cancelled",
            Self::RunFinishing(_) => "finishing",
            Self::RunDeadline { .. } => "deadline",
            Self::RunResumed { .. } => "resumed",
            Self::RunSettled(_) => "settled",
            Self::Span { .. } => "open",
            Self::StoppedInOrder { .. } => "stopped",
        }
    }

    /// Returns what a store does with it.
    #[must_use]
    pub const fn filing(&self) -> Filing {
        match self {
            Self::AgentPaused { paused: false, .. }
            | Self::AgentQuarantined { state: None, .. }
            | Self::RunDeadline { at: None, .. }
            | Self::Span { open: None, .. }
            | Self::StoppedInOrder { stopped: false } => Filing::Remove,
            Self::RunSettled(_) => Filing::RemoveAll,
            Self::AgentPaused { .. }
            | Self::AgentQuarantined { .. }
            | Self::RunCancelled(_)
            | Self::RunFinishing(_)
            | Self::RunDeadline { .. }
            | Self::RunResumed { .. }
            | Self::Span { .. }
            | Self::StoppedInOrder { .. } => Filing::Keep,
        }
    }
}

/// A change of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filing {
    /// Keep it, in place of what its subject had on its topic.
    Keep,
    /// Remove what its subject had on its topic.
    Remove,
    /// Remove every note on its subject.
    RemoveAll,
}
