//! The store contract: the durable log behind the board.
//!
//! The curator is the only caller of [`Store::commit`]. A store keeps artifacts, the claims that subscriptions have on
//! them, jobs and their attempts, and how everything ended; it decides nothing. Every store passes
//! the suite in `store::conformance` (feature `testing`). Pure contract; implementations may do I/O.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::artifact::Artifact;
use crate::filter::{Filter, Page};
use crate::id::{AgentName, Offset, RunId};
use crate::kind::Kinds;
use crate::outcome::Tally;
use crate::time::Timestamp;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod dead_letter;
mod error;
#[cfg(any(test, feature = "testing"))]
mod failing;
mod memory;
pub mod retention;
mod unfinished;
mod write;

pub use dead_letter::DeadLetter;
pub use error::StoreError;
#[cfg(any(test, feature = "testing"))]
pub use failing::FailingStore;
pub use memory::Memory;
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
