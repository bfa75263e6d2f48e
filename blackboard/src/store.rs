//! The store contract: the durable log behind the board.
//!
//! The curator is the only caller of [`Store::commit`]. A store keeps artifacts, the claims that subscriptions have on
//! them, jobs and their attempts, and how everything ended; it decides nothing. Every store passes
//! the suite in `store::conformance` (feature `testing`). Pure contract; implementations may do I/O.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::artifact::Artifact;
use crate::claim::{Backlog, Claimed};
use crate::filter::{Filter, Page};
use crate::id::{AgentName, ArtifactId, Offset, RunId, SubscriptionIndex};
use crate::kind::Kinds;
use crate::marks::Marks;
use crate::outcome::Tally;
use crate::time::Timestamp;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod damage;
mod dead_letter;
mod error;
#[cfg(any(test, feature = "testing"))]
mod failing;
mod lineage;
mod memory;
mod note;
pub mod retention;
mod unfinished;
mod write;

pub use damage::Damage;
pub use dead_letter::{
    Attempt, DeadConditions, DeadFilter, DeadLetter, DeadParts, DeadState, Inspected, Redrive,
};
pub use error::StoreError;
#[cfg(any(test, feature = "testing"))]
pub use failing::FailingStore;
pub use lineage::{Fate, Lineage, Summary, SummaryBy};
pub use memory::Memory;
pub use note::{Filing, Note, Subject};
pub use retention::{Bounds, Retained, Retention};
pub use unfinished::{Cursor, Unfinished};
pub use write::{Batch, Finish, Group, GroupResult, JobEnd, Publish, Stored};

/// A list that is nearly always of length one, and then needs no memory of its own.
pub type Few<T> = smallvec::SmallVec<[T; 1]>;

/// A reply that a store gives when it has it.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A durable log.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Names the store in logs and errors: `memory`, or the file.
    fn name(&self) -> String;

    /// Names the system behind it, in traces and metrics: a word that is the same for all stores of its sort.
    fn system(&self) -> &'static str {
        "other"
    }

    /// Learns the kinds and subscriptions that places in writes refer to. Called before anything else.
    ///
    /// Begins a life of the store: an attempt whose start is recorded and that neither ended nor was handed back was
    /// cut short by the end of the life before, and is counted as an interruption of its job.
    fn open(&self, catalogue: Catalogue) -> Answer<'_, ()>;

    /// Writes a batch. Every group is atomic; the batch may be one transaction, and then shares one fate.
    ///
    /// Called by one task at a time, and not again before the last answer is there. Does not block the thread.
    fn commit(&self, batch: Batch) -> Commit;

    /// Reads artifacts by their place in the log, in the order asked for.
    fn read(&self, offsets: &[Offset]) -> Read;

    /// Tells whether payloads are written down, as JSON. Then the runtime turns them into text before it hands them over,
    /// in the task of whoever publishes.
    fn writes_payloads(&self) -> bool {
        false
    }

    /// Tells whether what it accepted is there in the next life of the process.
    fn outlives_process(&self) -> bool {
        false
    }

    /// Finds artifacts, one page at a time.
    fn find<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Page>;

    /// Counts what a filter accepts; its cursor and limit have no meaning here.
    fn summary<'a>(&'a self, filter: &'a Filter, by: SummaryBy) -> Answer<'a, Vec<Summary>>;

    /// Tells what led to an artifact and what became of it; `None` when it is not there.
    fn lineage(&self, artifact: ArtifactId) -> Answer<'_, Option<Lineage>>;

    /// Returns every note, in no order that matters.
    fn notes(&self) -> Answer<'_, Vec<Note>>;

    /// Tells which records were found damaged by [`Store::open`] and set aside, so that the others could be read. Jobs among
    /// them have ended: their inputs come from [`Store::claims`] as damaged ones.
    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }

    /// Returns how far the log has come for every subscription that it keeps marks for.
    fn marks(&self) -> Answer<'_, Vec<(SubscriptionIndex, Marks)>>;

    /// Reads artifacts with claims of these subscriptions that have no outcome and that no unfinished job covers, in log
    /// order behind a place; at most `limit` artifacts.
    ///
    /// A claim that cannot be read as what was written keeps nobody from reading the others: it comes as one that is refused
    /// with [`Discard::Damaged`](crate::Discard::Damaged), with what can still be known of its artifact.
    fn claims<'a>(
        &'a self,
        subscriptions: &'a [SubscriptionIndex],
        after: Option<Offset>,
        limit: usize,
    ) -> Answer<'a, Vec<Claimed>>;

    /// Counts the claims that [`Store::claims`] would read, for every subscription that has some.
    fn backlog(&self) -> Answer<'_, Vec<Backlog>>;

    /// Reads the next slice of what has no outcome yet: jobs in the order of their first starts, then finished pairs,
    /// then claims in log order.
    fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)>;

    /// Counts the outcomes of one run.
    fn tally(&self, run: RunId) -> Answer<'_, Tally>;

    /// Names the workflow of a run; `None` when nothing that was published in it is there.
    fn workflow(&self, run: RunId) -> Answer<'_, Option<Arc<str>>>;

    /// Lists dead letters, oldest first.
    fn dead_letters<'a>(&'a self, filter: &'a DeadFilter) -> Answer<'a, Vec<DeadLetter>>;

    /// Returns all that is known of a dead letter; `None` when there is none with this number.
    fn dead_letter(&self, number: u64) -> Answer<'_, Option<Inspected>>;

    /// Removes what is finished and beyond the bounds of a policy: at most `limit` artifacts, the oldest first.
    ///
    /// Called at any time, also while a commit is under way. Never removes an artifact with a claim that has no outcome,
    /// nor an input of an unfinished job or of a pair that is remembered. Removed artifacts are not found any more, and
    /// their idempotency keys are free again. Dead letters stay, also without their inputs, unless the policy bounds them:
    /// then those that were discarded, or driven again and whose job has no unfinished record, go with their attempts, at
    /// most `limit` of them. Open ones never go, and no number is given twice. A call that is dropped has
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
    /// The subscriptions that a store keeps [`Marks`] for.
    pub marked: BTreeSet<SubscriptionIndex>,
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
