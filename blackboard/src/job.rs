//! Jobs, as the board, the store and agents tell each other: the start of an attempt, its verdict, what is
//! resumed.
//!
//! The board's own state of a job is not here; see `board::job`. Pure: no I/O, no clock.

use std::sync::Arc;

use crate::claim::LogEntry;
use crate::few::Few;
use crate::id::{AgentIndex, JobId, JobIndex, Key, Offset, RunId, SubscriptionIndex};
use crate::outcome::CloseReason;
use crate::time::Timestamp;

/// A job to be started: the unit of execution, retry and acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The job, the same for every attempt.
    pub job: JobId,
    /// The agent that runs it.
    pub agent: AgentIndex,
    /// The subscription that collected it.
    pub subscription: SubscriptionIndex,
    /// Its inputs in the order in which the engine gets them.
    pub members: Few<Member>,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// Attempts that failed before; one that was handed back did not.
    pub failures: u32,
    /// The run of its outputs: its inputs' run, or a new one when they come from several.
    pub run: RunId,
    /// Whether `run` is a new one.
    pub opens_run: bool,
    /// When its last input was published; the time part of derived ids.
    pub at: Timestamp,
    /// Why its batch closed, if it is one.
    pub closed: Option<CloseReason>,
    /// Whether its inputs may take part in further jobs (every pair).
    pub shared: bool,
    /// Whether this attempt runs with nothing else in flight, because attempts of the job were interrupted
    /// before.
    pub alone: bool,
    /// Where the board that started it has it. It means nothing to another board, and nothing to a store.
    pub index: JobIndex,
    /// Facts for an observer; `None` unless the board is observed.
    pub observed: Option<Box<Observed>>,
}

impl Start {
    /// Names the attempt to the board that started it.
    #[must_use]
    pub fn id(&self) -> AttemptId {
        AttemptId { job: self.job, index: self.index, attempt: self.attempt }
    }
}

/// The name of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// Where the board has it.
    pub index: JobIndex,
    /// The attempt, as numbered in [`Start`].
    pub attempt: u32,
}

/// One input of a job: its place in the log, the side of the subscription it fills, and the group it belongs
/// to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The artifact's place in the log.
    pub offset: Offset,
    /// The side of the subscription, counted from 0.
    pub side: u16,
    /// The group within the job, counted from 0; always 0 without a batch.
    pub group: u32,
}

/// The verdict on an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The job is done; its inputs are consumed.
    Done,
    /// The attempt failed; another one may start at this time.
    Retry(Timestamp),
    /// The job failed for good; its inputs are dead.
    Dead,
    /// The attempt was cancelled together with its run.
    Cancelled,
    /// The attempt was handed back unfinished and counts for nothing.
    Released,
}

/// How a finished pair ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairVerdict {
    /// Its outputs are on the board.
    Done,
    /// It failed for good.
    Dead,
}

/// An unfinished job read back from the store.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// The started job.
    pub start: Start,
    /// The inputs' claims and runs, in the order of `start.members`.
    pub inputs: Vec<LogEntry>,
    /// Failed attempts so far; `start` may tell of an earlier moment.
    pub failures: u32,
    /// When the next attempt may start, for a job that was backing off.
    pub until: Option<Timestamp>,
    /// Attempts that were cut short by the end of the process. They did not fail.
    pub interruptions: u32,
    /// Those of them that ran alone.
    pub deaths_alone: u32,
}

/// Facts for an observer that are known when a job starts and are no part of it. A store need not keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Since when the job has waited for this attempt: its inputs are complete, or its last attempt or
    /// back-off is over.
    pub since: Timestamp,
    /// When the board took in the first of its inputs.
    pub first: Timestamp,
    /// The parts of its wait from then on, in order of time. Empty when it was started at once.
    pub waits: Few<Wait>,
    /// The key that its inputs share in a join, or their batch's.
    pub key: Option<Key>,
    /// The workflow's name, unless the job opens a run.
    pub workflow: Option<Arc<str>>,
}

/// One part of a job's wait for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The reason.
    pub what: WaitsFor,
    /// Until when. It began when the part before was over.
    pub until: Timestamp,
}

/// The reason why a complete job waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// Others with its key, which go first.
    Partition,
    /// A slot of its agent.
    Concurrency,
    /// Its agent is paused.
    Paused,
    /// Its agent is quarantined.
    Quarantine,
    /// The store refuses writes, or the board is held.
    Store,
    /// A job that has to run alone.
    Alone,
}

impl WaitsFor {
    /// Returns its name in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Concurrency => "concurrency",
            Self::Paused => "paused",
            Self::Quarantine => "quarantine",
            Self::Store => "store",
            Self::Alone => "alone",
        }
    }
}
