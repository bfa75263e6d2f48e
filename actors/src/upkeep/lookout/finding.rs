//! Findings: what does not come on, from the moment it is found until it is over.
//!
//! Each is said once when it begins and once when it is over: in the log, in the feed, and as a number. It finds nothing
//! itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use volery_blackboard::{AgentName, JobId, Timestamp};
use volery_observability::Metrics;

use crate::feed::{Event, Feed};

/// Something that does not come on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// An attempt's future has not returned from a poll: its engine blocks a worker thread of the async runtime.
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
    /// No worker thread of the async runtime has taken up a task that was ready: all of them are blocked or busy.
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
pub(super) enum FindingKind {
    WorkerBlocked,
    RuntimeStalled,
    AttemptOverdue,
    AgentAging,
}

impl FindingKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::WorkerBlocked => "worker_blocked",
            Self::RuntimeStalled => "runtime_stalled",
            Self::AttemptOverdue => "attempt_overdue",
            Self::AgentAging => "agent_aging",
        }
    }
}

impl Finding {
    fn kind(&self) -> FindingKind {
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

    /// What makes two findings the same one.
    fn key(&self) -> Key {
        let job = match self {
            Self::WorkerBlocked { job, attempt, .. } | Self::AttemptOverdue { job, attempt, .. } => {
                Some((*job, *attempt))
            }
            Self::RuntimeStalled { .. } | Self::AgentAging { .. } => None,
        };
        (self.kind(), self.agent().cloned().unwrap_or_default(), job)
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

type Key = (FindingKind, AgentName, Option<(JobId, u32)>);

/// What is found at present. Belongs to the runtime; lookouts come and go.
#[derive(Debug)]
pub(crate) struct Findings {
    current: Mutex<BTreeMap<Key, Finding>>,
    feed: Feed,
    metrics: Metrics,
}

impl Findings {
    pub(crate) fn new(feed: Feed, metrics: Metrics) -> Self {
        Self { current: Mutex::default(), feed, metrics }
    }

    pub(crate) fn all(&self) -> Vec<Finding> {
        self.lock().values().cloned().collect()
    }

    /// Takes what there is of one kind now; says what is new and what is over. Saying the same again changes nothing.
    pub(super) fn replace(&self, kind: FindingKind, found: Vec<Finding>) {
        let found: BTreeMap<Key, Finding> =
            found.into_iter().map(|finding| (finding.key(), finding)).collect();
        let (mut begun, mut over) = (Vec::new(), Vec::new());
        {
            let mut current = self.lock();
            current.retain(|key, finding| {
                let stays = key.0 != kind || found.contains_key(key);
                if !stays {
                    over.push(finding.clone());
                }
                stays
            });
            for (key, finding) in found {
                if current.insert(key, finding.clone()).is_none() {
                    begun.push(finding);
                }
            }
        }
        // Subscribers and meters are code of the service: not under the lock.
        over.into_iter().for_each(|finding| self.tell_over(finding));
        begun.into_iter().for_each(|finding| self.tell_begun(finding));
    }

    /// The runtime has stopped, and nobody looks any more: its meter shows no finding of it.
    pub(crate) fn close(&self) {
        for finding in std::mem::take(&mut *self.lock()).into_values() {
            self.count(&finding, -1);
        }
    }

    fn tell_begun(&self, finding: Finding) {
        tracing::warn!(target: "volery::lookout", %finding, "found");
        self.count(&finding, 1);
        self.feed.tell(|| Event::Found(finding));
    }

    fn tell_over(&self, finding: Finding) {
        tracing::info!(target: "volery::lookout", %finding, "over");
        self.count(&finding, -1);
        self.feed.tell(|| Event::Over(finding));
    }

    fn count(&self, finding: &Finding, change: i64) {
        let agent = finding.agent().map(AgentName::as_str).unwrap_or_default();
        self.metrics.finding(finding.kind().as_str(), agent, change);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Finding>> {
        // Plain data; nothing under the lock can panic.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
