//! Faults: errors of SQLite and the file system, as errors of a store.
//!
//! Two questions are answered here: which [`StoreError`] it is, and whether it condemns one write of a
//! commit, the whole commit, or the connection.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use volery_blackboard::Offset;
use volery_blackboard::store::StoreError;

/// Where a store lies: names it in every error.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn name(&self) -> String {
        self.0.display().to_string()
    }

    /// Returns the path of a file beside it.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    pub(super) fn unavailable(&self, cause: impl ToString) -> StoreError {
        StoreError::Unavailable { store: self.name(), cause: cause.to_string() }
    }

    pub(super) fn closed(&self) -> StoreError {
        StoreError::Closed { store: self.name() }
    }

    /// Puts an error of the file system into a store's words.
    pub(super) fn io_error(&self, error: &io::Error, doing: &str) -> StoreError {
        let (store, cause) = (self.name(), format!("{doing}: {error}"));
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::ReadOnly { store, cause }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { store },
            _ => StoreError::Unavailable { store, cause },
        }
    }

    /// Puts a fault into a store's words.
    pub(super) fn store_error(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Store(error) => error,
            Fault::Foreign => StoreError::NotADatabase { store: self.name() },
            Fault::Refused(cause) => StoreError::Conflict { store: self.name(), cause },
            Fault::Damaged(offset, cause) => StoreError::Corrupt { store: self.name(), offset, cause },
            Fault::Sqlite(error) => self.sqlite_error(&error),
        }
    }

    fn sqlite_error(&self, error: &rusqlite::Error) -> StoreError {
        let (store, cause) = (self.name(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { store },
            Some(ErrorCode::NotADatabase) => StoreError::NotADatabase { store },
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { store, offset: None, cause },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::ReadOnly { store, cause },
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                StoreError::Conflict { store, cause }
            }
            Some(_) => StoreError::Unavailable { store, cause },
            // A value that does not have the type its column promises was not written by this program.
            None => StoreError::Corrupt { store, offset: None, cause },
        }
    }
}

/// A fault inside the store.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    /// Already in a store's words.
    Store(StoreError),
    /// The file belongs to another program.
    Foreign,
    /// The caller contradicts what is stored.
    Refused(String),
    /// A record is damaged: it is not what was written.
    Damaged(Option<Offset>, String),
}

impl Fault {
    /// Returns what is wrong with a row that can be read and is not what was written; any other fault stays
    /// one.
    pub(super) fn damage(self) -> Result<String, Self> {
        match self {
            Self::Damaged(_, cause) => Ok(cause),
            // A value of the wrong type, in a column that has but one.
            Self::Sqlite(error) if error.sqlite_error_code().is_none() => Ok(error.to_string()),
            other => Err(other),
        }
    }

    /// Tells whether it condemns one write alone, and the others of a commit may still be written.
    pub(super) fn is_of_write(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Store(error) => matches!(error, StoreError::Missing { .. } | StoreError::Conflict { .. }),
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
            ),
            Self::Foreign | Self::Damaged(..) => false,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(None, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqlite_says_is_told_in_a_stores_words() {
        let place = Place::new(Path::new("x.db"));
        let told = |code: i32| {
            let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            let text = format!("{:?}", place.sqlite_error(&error));
            text.split([' ', '{']).next().unwrap_or_default().to_owned()
        };
        for (code, wanted) in [
            (rusqlite::ffi::SQLITE_FULL, "Full"),
            (rusqlite::ffi::SQLITE_READONLY, "ReadOnly"),
            (rusqlite::ffi::SQLITE_PERM, "ReadOnly"),
            (rusqlite::ffi::SQLITE_CORRUPT, "Corrupt"),
            (rusqlite::ffi::SQLITE_NOTADB, "NotADatabase"),
            (rusqlite::ffi::SQLITE_IOERR, "Unavailable"),
            (rusqlite::ffi::SQLITE_IOERR_FSYNC, "Unavailable"),
            (rusqlite::ffi::SQLITE_BUSY, "Unavailable"),
            (rusqlite::ffi::SQLITE_CONSTRAINT, "Conflict"),
        ] {
            assert_eq!(told(code), wanted, "{code}");
        }
    }
}
