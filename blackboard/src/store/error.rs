//! Store errors: why a store did not do as told.
//!
//! Pure: no I/O, no clock.

use crate::id::Offset;

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
