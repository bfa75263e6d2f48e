//! A session: one connection, and the maps that give meaning to the rows that it reads.
//!
//! Each thread of the store has one of its own. The files below it are the questions that a store answers.

use std::cell::RefCell;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use rustc_hash::FxHashMap;
use volery_blackboard::Offset;
use volery_blackboard::store::StoreError;

use super::fault::Fault;
use super::shared::Shared;

mod dead;
mod decisions;
mod find;
mod lineage;
mod retention;
mod runs;
mod statements;
mod unfinished;

pub(super) use dead::{Work, dead_letter_work};
pub(super) use decisions::subject_text;
pub(super) use find::{KIND, PRODUCER};
pub(super) use retention::{doomed, doomed_letters, finished};
pub(super) use statements::StatementCache;
#[cfg(test)]
pub(super) use unfinished::CLAIMS;
pub(super) use unfinished::refused;

pub(super) struct Session<'conn> {
    pub(super) conn: StatementCache<'conn>,
    pub(super) shared: Arc<Shared>,
    names: RefCell<FxHashMap<i64, Arc<str>>>,
}

/// Names kept in memory per connection. They are kinds, agents and tenants; with more of them than this, they
/// are looked up again.
const NAMES_MAX: usize = 10_000;

impl<'conn> Session<'conn> {
    pub(super) fn new(conn: &'conn Connection, shared: Arc<Shared>) -> Self {
        Self { conn: StatementCache::new(conn), shared, names: RefCell::default() }
    }

    /// Returns the text of a name.
    pub(super) fn name(&self, id: i64) -> Result<Arc<str>, Fault> {
        if let Some(name) = self.names.borrow().get(&id) {
            return Ok(Arc::clone(name));
        }
        let mut statement = self.conn.prepare_cached("SELECT text FROM name WHERE id = ?1")?;
        let text: Option<String> = statement.query_row([id], |row| row.get(0)).optional()?;
        let text: Arc<str> =
            text.ok_or_else(|| Fault::Damaged(None, format!("name {id} is missing")))?.into();
        let mut names = self.names.borrow_mut();
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.insert(id, Arc::clone(&text));
        Ok(text)
    }

    /// Returns the id of a name, if the file has it.
    pub(super) fn name_id(&self, text: &str) -> Result<Option<i64>, Fault> {
        let mut statement = self.conn.prepare_cached("SELECT id FROM name WHERE text = ?1")?;
        Ok(statement.query_row([text], |row| row.get(0)).optional()?)
    }

    /// There is no artifact on a place.
    fn missing(&self, offset: Offset) -> Fault {
        StoreError::Missing { store: self.shared.place.name(), offset }.into()
    }

    /// Forgets names that a transaction may have taken back.
    pub(super) fn forget_names(&self) {
        self.names.borrow_mut().clear();
    }

    /// Answers from one moment of the file, whatever is written meanwhile.
    pub(super) fn at_once<T>(&self, read: impl FnOnce(&Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if !self.conn.is_autocommit() {
            return read(self);
        }
        self.conn.execute_batch("BEGIN")?;
        let found = read(self);
        self.conn.execute_batch("COMMIT")?;
        found
    }
}
