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

pub use crate::few::Few;
pub use damage::Damage;
pub use dead_letter::{
    DeadConditions, DeadFilter, DeadLetter, DeadParts, DeadState, FailedAttempt, Inspected, Redrive,
};
pub use error::StoreError;
#[cfg(any(test, feature = "testing"))]
pub use failing::FailingStore;
pub use lineage::{Fate, Lineage, Summary, SummaryBy};
pub use memory::Memory;
pub use note::{Filing, Note, Subject};
pub use retention::{Bounds, Retained, Retention};
pub use unfinished::{Cursor, Unfinished};
pub use write::{Finish, JobEnd, NewArtifact, Stored, Write, Written};

/// A reply that a store gives when it has it.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Artifacts that were read together.
pub type Artifacts = Arc<[Arc<Artifact>]>;

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

    /// Commits writes, and answers each in their order. Every write is atomic; all of them may be one transaction, which is
    /// committed or refused as a whole.
    ///
    /// Called by one task at a time, and not again before the last response is there. Does not block the thread.
    fn commit(&self, writes: Vec<Write>) -> Response<Vec<Written>>;

    /// Reads artifacts by their place in the log, in the order asked for.
    fn read(&self, offsets: &[Offset]) -> Response<Artifacts>;

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

/// A response of a store: there already, or to be awaited.
pub enum Response<T> {
    /// The store had it at hand.
    Ready(Result<T, StoreError>),
    /// The store is at it.
    Pending(Answer<'static, T>),
}

impl<T> Response<T> {
    /// Waits for the response.
    ///
    /// # Errors
    /// The store's.
    pub async fn wait(self) -> Result<T, StoreError> {
        match self {
            Self::Ready(result) => result,
            Self::Pending(answer) => answer.await,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Response<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
