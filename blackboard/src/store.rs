//! The store contract: the log behind the board, its history, and its dead letters.
//!
//! Three traits, by who needs what: [`Log`] is what a runtime needs to run, [`History`] answers questions
//! about what happened and removes what is too old, [`Letters`] lists jobs that failed for good. A store
//! decides nothing. The suite in `store::conformance` (feature `testing`) has a part for each. Pure contract;
//! implementations may do I/O.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::artifact::Artifact;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod damage;
mod error;
#[cfg(any(test, feature = "testing"))]
mod failing;
mod history;
mod letters;
mod log;
mod memory;
mod note;
pub mod retention;
mod unfinished;
mod write;

pub use crate::few::Few;
pub use damage::Damage;
pub use error::StoreError;
#[cfg(any(test, feature = "testing"))]
pub use failing::FailingStore;
pub use history::{ClaimRecord, History, Lineage, Summary, SummaryBy};
pub use letters::{DeadFilter, DeadLetter, DeadState, FailedAttempt, Inspected, Letters, Redrive};
pub use log::{Catalogue, Log};
pub use memory::Memory;
pub use note::{Filing, Note, Subject};
pub use retention::{Bounds, Retained, Retention};
pub use unfinished::{Cursor, Unfinished};
pub use write::{Death, Finish, First, JobEnd, NewArtifact, Stored, Write, Written};

/// A reply that a store gives when it has it.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Artifacts that were read together.
pub type Artifacts = Few<Arc<Artifact>>;

/// A store: the log that a runtime runs over, with its history and its dead letters.
///
/// Every type that implements the three traits is one. A new store begins with [`Log`]; a runtime runs over
/// it as soon as `conformance::check_log` passes. [`History`] and [`Letters`] may be empty until then: their
/// methods answer with [`StoreError::NotOffered`]. [`Memory`] is the reference for all three.
pub trait Store: History + Letters {}

impl<S: History + Letters> Store for S {}

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
