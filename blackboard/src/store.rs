//! The store contract: the durable log behind the board.
//!
//! The curator is the only caller of [`Store::commit`]. A store keeps artifacts, the claims that subscriptions have on
//! them, jobs and their attempts, and how everything ended; it decides nothing. Every store passes
//! the suite in `store::conformance` (feature `testing`). Pure contract; implementations may do I/O.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::effect::{PairVerdict, Published, Resumed, Settled, Start};
use crate::filter::{Filter, Page};
use crate::id::{AgentName, ArtifactId, JobId, Offset, RunId, SubscriptionIndex};
use crate::kind::Kinds;
use crate::matching::Match;
use crate::outcome::Tally;
use crate::time::Timestamp;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
mod failing;
mod memory;
pub mod retention;

#[cfg(any(test, feature = "testing"))]
pub use failing::FailingStore;
pub use memory::Memory;
pub use retention::{Bounds, Retained, Retention};

/// A list that is nearly always of length one, and then needs no memory of its own.
pub type Few<T> = smallvec::SmallVec<[T; 1]>;

/// A reply that a store gives when it has it.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A durable log.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Names the store in logs and errors: `memory`, or the file.
    fn name(&self) -> String;

    /// Learns the kinds and subscriptions that places in writes refer to. Called once, before anything else.
    fn open(&self, catalogue: Catalogue) -> Answer<'_, ()>;

    /// Writes a batch. Every group is atomic; the batch may be one transaction, and then shares one fate.
    ///
    /// Called by one task at a time, and not again before the last answer is there. Does not block the thread.
    fn commit(&self, batch: Batch) -> Commit;

    /// Reads artifacts by their place in the log, in the order asked for.
    fn read(&self, offsets: &[Offset]) -> Read;

    /// Finds artifacts, one page at a time.
    fn find<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Page>;

    /// Reads the next slice of what has no outcome yet, jobs first, then claims in log order.
    fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)>;

    /// Counts the outcomes of one run.
    fn tally(&self, run: RunId) -> Answer<'_, Tally>;

    /// Lists dead letters, oldest first, starting after a place in the list.
    fn dead_letters(&self, after: u64, limit: usize) -> Answer<'_, Vec<DeadLetter>>;

    /// Removes what is finished and beyond the bounds of a policy: at most `limit` artifacts, the oldest first.
    ///
    /// Called at any time, also while a commit is under way. Never removes an artifact with a claim that has no outcome,
    /// nor an input of an unfinished job or of a pair that is remembered. Removed artifacts are not found any more, and
    /// their idempotency keys are free again. Dead letters stay, also without their inputs. A call that is dropped has
    /// removed each artifact wholly or not at all. By default nothing is removed.
    #[expect(unused_variables, reason = "a store that removes nothing needs no policy")]
    fn retain<'a>(&'a self, policy: &'a Retention, now: Timestamp, limit: usize) -> Answer<'a, Retained> {
        Box::pin(std::future::ready(Ok(Retained::default())))
    }

    /// Closes the store after everything committed is as durable as it will be. Further calls fail.
    fn close(&self) -> Answer<'_, ()>;
}

/// What the numbers in reads and writes stand for.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Every kind that an agent takes or gives.
    pub kinds: Kinds,
    /// Every agent's name, in the order of [`AgentIndex`](crate::AgentIndex).
    pub agents: Vec<AgentName>,
    /// Every subscription's stable name, in the order of [`SubscriptionIndex`].
    pub subscriptions: Vec<String>,
}

/// The answer to [`Store::commit`]: there already, or to be awaited.
pub enum Commit {
    /// The store did it on the spot.
    Done(Result<Vec<GroupResult>, StoreError>),
    /// The store is at it.
    Pending(Answer<'static, Vec<GroupResult>>),
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(result) => f.debug_tuple("Done").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// The answer to [`Store::read`]: there already, or to be awaited.
pub enum Read {
    /// The store had it at hand.
    Done(Result<Arc<[Arc<Artifact>]>, StoreError>),
    /// The store fetches it.
    Pending(Answer<'static, Arc<[Arc<Artifact>]>>),
}

impl Read {
    /// Waits for the answer.
    ///
    /// # Errors
    /// The store's.
    pub async fn wait(self) -> Result<Arc<[Arc<Artifact>]>, StoreError> {
        match self {
            Self::Done(result) => result,
            Self::Pending(answer) => answer.await,
        }
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(result) => f.debug_tuple("Done").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// Writes for one commit, in groups that are atomic each.
#[derive(Debug, Default)]
pub struct Batch {
    /// The groups, one per caller.
    pub groups: Vec<Group>,
}

/// What one caller wants written, all or nothing.
#[derive(Debug)]
pub enum Group {
    /// New artifacts.
    Publish(Few<Publish>),
    /// A job's start.
    Start(Arc<Start>),
    /// A job's end: its inputs' outcome and its outputs.
    Finish(Finish),
    /// A failed attempt, another one is to follow.
    Retry {
        /// The job.
        job: JobId,
        /// Failed attempts so far.
        failures: u32,
        /// When the next may start.
        until: Timestamp,
        /// Why it failed, root cause last.
        error: Vec<String>,
    },
    /// An outcome outside of any job.
    Settle(Settled),
}

/// A new artifact with the claims on it.
#[derive(Debug)]
pub struct Publish {
    /// The artifact; the store gives it its place.
    pub artifact: Arc<Artifact>,
    /// The workflow's name, for the run's record.
    pub workflow: Arc<str>,
    /// The claims on it, sorted by subscription.
    pub matches: Arc<[Match]>,
}

/// A job's end.
#[derive(Debug)]
pub struct Finish {
    /// The job.
    pub job: JobId,
    /// How it ended.
    pub end: JobEnd,
    /// What it published: its outputs, or its failure.
    pub outputs: Few<Publish>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Its inputs are consumed.
    Done,
    /// It failed for good.
    Dead {
        /// Attempts made.
        attempts: u32,
        /// Why the last one failed, root cause last.
        error: Vec<String>,
        /// When.
        at: Timestamp,
    },
    /// Its run was cancelled.
    Cancelled,
}

/// What became of one group.
#[derive(Debug)]
pub enum GroupResult {
    /// Committed; for groups that publish, the artifacts with their places, in order.
    Done(Few<Stored>),
    /// This group alone was refused; nothing of it was written.
    Refused(StoreError),
}

/// What became of one published artifact.
#[derive(Clone, Debug)]
pub enum Stored {
    /// It is new.
    New(Arc<Artifact>),
    /// The tenant's idempotency key, or the id, is taken: this is the first artifact. Nothing was written.
    Repeat {
        /// The first artifact.
        id: ArtifactId,
        /// Its place in the log.
        offset: Offset,
        /// Its run.
        run: RunId,
    },
}

/// A place in the list of unfinished work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Jobs up to this number have been read.
    pub jobs: u64,
    /// Claims up to this place have been read; `None` while jobs are being read.
    pub claims: Option<Offset>,
}

/// Something that has no outcome yet.
#[derive(Clone, Debug)]
pub enum Unfinished {
    /// A job that was started.
    Job(Resumed),
    /// A pair that is finished while its inputs may still take part in others.
    Pair {
        /// The join.
        subscription: SubscriptionIndex,
        /// The pair's job.
        job: JobId,
        /// How it ended.
        verdict: PairVerdict,
    },
    /// An artifact with claims that no unfinished job covers.
    Claims(Published),
}

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

/// A reason why a store did not do as told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot write or read at the moment.
    #[error("store `{store}` is unavailable: {cause}")]
    Unavailable {
        /// The store.
        store: String,
        /// What it said.
        cause: String,
    },
    /// What was asked for is not there, or no more.
    #[error(
        "store `{store}` has no artifact at offset {offset}; it was never written or retention removed it"
    )]
    Missing {
        /// The store.
        store: String,
        /// The place asked for.
        offset: Offset,
    },
    /// A write that contradicts what is stored.
    #[error("store `{store}` refused a write: {cause}")]
    Conflict {
        /// The store.
        store: String,
        /// The contradiction.
        cause: String,
    },
    /// The store was closed.
    #[error("store `{store}` is closed")]
    Closed {
        /// The store.
        store: String,
    },
}
