//! Findings: an attempt, an agent or the async runtime that makes no progress. Data only.

use std::fmt;
use std::time::Duration;

use volery_blackboard::{AgentName, JobId, Timestamp};

/// Something that makes no progress.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// An attempt's future has not returned from a poll: its engine blocks a worker thread of the async
    /// runtime.
    WorkerBlocked {
        /// Its agent.
        agent: AgentName,
        /// Its job.
        job: JobId,
        /// The attempt, counted from 1.
        attempt: u32,
        /// About when the poll began.
        since: Timestamp,
    },
    /// No worker thread of the async runtime has taken up a task that was ready: all of them are blocked or
    /// busy.
    RuntimeStalled {
        /// About when the task became ready.
        since: Timestamp,
    },
    /// An attempt takes longer than its agent expects.
    AttemptOverdue {
        /// Its agent.
        agent: AgentName,
        /// Its job.
        job: JobId,
        /// The attempt, counted from 1.
        attempt: u32,
        /// When it began.
        since: Timestamp,
        /// How long it was expected to take at most.
        expected: Duration,
    },
    /// A job has been waiting for its agent for too long.
    AgentAging {
        /// The agent.
        agent: AgentName,
        /// Since when the job waits that waits longest.
        since: Timestamp,
    },
}

/// The kinds of findings. Each has one source, which knows all that there are of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FindingKind {
    WorkerBlocked,
    RuntimeStalled,
    AttemptOverdue,
    AgentAging,
}

/// The key by which two findings are the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FindingKey {
    pub(crate) kind: FindingKind,
    agent: Option<AgentName>,
    attempt: Option<(JobId, u32)>,
}

impl FindingKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::WorkerBlocked => "worker_blocked",
            Self::RuntimeStalled => "runtime_stalled",
            Self::AttemptOverdue => "attempt_overdue",
            Self::AgentAging => "agent_aging",
        }
    }
}

impl Finding {
    pub(crate) fn kind(&self) -> FindingKind {
        match self {
            Self::WorkerBlocked { .. } => FindingKind::WorkerBlocked,
            Self::RuntimeStalled { .. } => FindingKind::RuntimeStalled,
            Self::AttemptOverdue { .. } => FindingKind::AttemptOverdue,
            Self::AgentAging { .. } => FindingKind::AgentAging,
        }
    }

    /// Returns the agent that it is about, if it is about one.
    #[must_use]
    pub fn agent(&self) -> Option<&AgentName> {
        match self {
            Self::WorkerBlocked { agent, .. }
            | Self::AttemptOverdue { agent, .. }
            | Self::AgentAging { agent, .. } => Some(agent),
            Self::RuntimeStalled { .. } => None,
        }
    }

    /// Returns since when it is so.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        match self {
            Self::WorkerBlocked { since, .. }
            | Self::RuntimeStalled { since }
            | Self::AttemptOverdue { since, .. }
            | Self::AgentAging { since, .. } => *since,
        }
    }

    /// Returns the finding's name in snake case, for grouping and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind().as_str()
    }

    /// Returns what two findings have in common when they are the same one.
    pub(crate) fn key(&self) -> FindingKey {
        let attempt = match self {
            Self::WorkerBlocked { job, attempt, .. } | Self::AttemptOverdue { job, attempt, .. } => {
                Some((*job, *attempt))
            }
            Self::RuntimeStalled { .. } | Self::AgentAging { .. } => None,
        };
        FindingKey { kind: self.kind(), agent: self.agent().cloned(), attempt }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerBlocked { agent, job, attempt, .. } => {
                write!(f, "agent `{agent}` blocks a worker thread: attempt {attempt} of job {job}")
            }
            Self::RuntimeStalled { .. } => f.write_str("no worker thread takes up a task that is ready"),
            Self::AttemptOverdue { agent, job, attempt, expected, .. } => {
                write!(f, "attempt {attempt} of job {job} of agent `{agent}` takes longer than {expected:?}")
            }
            Self::AgentAging { agent, since } => {
                write!(f, "a job has been waiting for agent `{agent}` since {since}")
            }
        }
    }
}
