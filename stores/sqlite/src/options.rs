//! Options: how a store in a file is opened.

use std::path::PathBuf;

use volery_blackboard::store::StoreError;

use super::Sqlite;

/// The durability of a commit: what it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The disk: what was accepted survives the end of the process and the loss of power.
    #[default]
    Full,
    /// The operating system: what was accepted survives the end of the process; a crash of the system, or the
    /// loss of power, may lose the last milliseconds before it. The file stays in order. Small commits are
    /// several times faster.
    OsCrashMayLoseLastMs,
}

/// How a store in a file is opened. Made by [`Sqlite::options`].
#[derive(Clone, Debug)]
#[must_use = "nothing is opened until `open`"]
pub struct Options {
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
    pub(super) cache_artifacts: usize,
    pub(super) cache_bytes: usize,
    pub(super) readers: usize,
    pub(super) size_max: Option<u64>,
    pub(super) allow_network: bool,
}

impl Options {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            durability: Durability::default(),
            cache_artifacts: 10_000,
            cache_bytes: 16 << 20,
            readers: 2,
            size_max: None,
            allow_network: false,
        }
    }

    /// Sets what a commit waits for. Default: [`Durability::Full`].
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Keeps the newest artifacts in memory as they were published, so that jobs that start at once read
    /// nothing back: at most this many, and at most this many bytes of their JSON. Default: 10,000 and 16
    /// MiB.
    pub fn cache(self, artifacts: usize, bytes: usize) -> Self {
        Self { cache_artifacts: artifacts, cache_bytes: bytes, ..self }
    }

    /// Reads with this many threads, at least 1. Default: 2.
    pub fn readers(self, threads: usize) -> Self {
        Self { readers: threads.max(1), ..self }
    }

    /// Lets the file grow to about this many bytes; beyond that, writes are refused as they are on a full
    /// disk. The log beside it comes on top. Default: no limit.
    pub fn size_max(self, bytes: u64) -> Self {
        Self { size_max: Some(bytes), ..self }
    }

    /// Opens the file although it lies on a network file system. Locks and shared memory work there only if
    /// this host alone uses the file system, and the server keeps what it acknowledged.
    pub fn allow_network_file_system(self) -> Self {
        Self { allow_network: true, ..self }
    }

    /// Opens the store. Makes the file if there is none; its folder has to be there.
    ///
    /// Blocks: takes the lock, brings the file's schema to the newest version and starts the store's threads,
    /// which takes milliseconds, unless there is a migration to do.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NetworkFileSystem`], [`StoreError::NotADatabase`],
    /// [`StoreError::NewerSchema`], [`StoreError::Corrupt`], [`StoreError::ReadOnly`], [`StoreError::Full`]
    /// as their names say, [`StoreError::Unavailable`] for whatever else the system refuses. The file is as
    /// it was then.
    pub fn open(self) -> Result<Sqlite, StoreError> {
        Sqlite::start(self)
    }
}
