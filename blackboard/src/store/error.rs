//! Store errors: the reasons of a store's refusals.
//!
//! Pure: no I/O, no clock.

use crate::id::Offset;

/// The reason of a store's refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot write or read at the moment.
    #[error("store `{store}` is unavailable: {cause}")]
    Unavailable {
        /// The store.
        store: String,
        /// The store's error.
        cause: String,
    },
    /// The record is not there, or no more.
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
    /// The store does not implement what was asked for.
    #[error("store `{store}` offers no {what}; use one that does")]
    NotOffered {
        /// The store.
        store: String,
        /// The missing part.
        what: &'static str,
    },
    /// The store was closed.
    #[error("store `{store}` is closed")]
    Closed {
        /// The store.
        store: String,
    },
    /// Another process, or another store of this one, has it open.
    #[error("store `{store}` is in use by pid {pid} on host {host}; stop that process, or open another file")]
    InUse {
        /// The store.
        store: String,
        /// The holder's process id, as it wrote it down.
        pid: String,
        /// The holder's host.
        host: String,
    },
    /// There is no room left. The write was not done; it may be tried again when there is.
    #[error("store `{store}` is full; free some space, or set a retention")]
    Full {
        /// The store.
        store: String,
    },
    /// The file, or the folder around it, cannot be written to.
    #[error("store `{store}` cannot be written to: {cause}")]
    ReadOnly {
        /// The store.
        store: String,
        /// The system's error.
        cause: String,
    },
    /// The file is there and is something else.
    #[error(
        "store `{store}` is not a database; give the path of a store, or of a file that does not exist yet"
    )]
    NotADatabase {
        /// The store.
        store: String,
    },
    /// A newer version of the program wrote the file. It was not touched.
    #[error(
        "store `{store}` has schema version {found}, this program knows versions up to {known}; use a newer one"
    )]
    NewerSchema {
        /// The store.
        store: String,
        /// The file's version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A record is damaged: it is not what was written.
    #[error(
        "store `{store}` is damaged{}: {cause}; restore it from a backup",
        offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default()
    )]
    Corrupt {
        /// The store.
        store: String,
        /// The place in the log, if it is an artifact.
        offset: Option<Offset>,
        /// The damage, in words.
        cause: String,
    },
    /// The file lies on a network file system, where locks and shared memory cannot be relied on.
    #[error(
        "store `{store}` lies on a network file system ({kind}), where it can be damaged; use a local disk, or \
         allow_network_file_system() if it is exported to this host alone"
    )]
    NetworkFileSystem {
        /// The store.
        store: String,
        /// The kind of file system.
        kind: String,
    },
    /// A later owner has taken the store over; this one may not write any more.
    #[error("store `{store}` was taken over by a later owner; this one changes nothing any more")]
    Superseded {
        /// The store.
        store: String,
    },
}
