//! Blocks at hand: rows of one table that the writer has read or changed, until a transaction writes them.

use std::collections::hash_map::Entry;

use rusqlite::OptionalExtension;
use rustc_hash::FxHashMap;

use crate::block::Block;
use crate::fault::Fault;
use crate::session::StatementCache;

/// Blocks kept in memory between commits. The newest work lies in a few hundred; with more, all are read back
/// when they are needed.
const HELD_MAX: usize = 2_048;

pub(super) struct Blocks<B> {
    held: FxHashMap<i64, Held<B>>,
    changed: Vec<i64>,
    statements: Statements,
}

struct Held<B> {
    block: B,
    is_stored: bool,
    is_changed: bool,
}

struct Statements {
    read: String,
    write: String,
    delete: String,
}

impl<B: Block> Default for Blocks<B> {
    fn default() -> Self {
        let table = B::TABLE;
        let statements = Statements {
            read: format!("SELECT value FROM {table} WHERE key = ?1"),
            write: format!("REPLACE INTO {table} VALUES (?1, ?2)"),
            delete: format!("DELETE FROM {table} WHERE key = ?1"),
        };
        Self { held: FxHashMap::default(), changed: Vec::new(), statements }
    }
}

impl<B: Block> Blocks<B> {
    /// Looks at a block.
    pub(super) fn look(&mut self, conn: &StatementCache<'_>, key: i64) -> Result<&B, Fault> {
        Ok(&hold(&mut self.held, conn, &self.statements.read, key)?.block)
    }

    /// Changes a block.
    pub(super) fn change(&mut self, conn: &StatementCache<'_>, key: i64) -> Result<&mut B, Fault> {
        let held = hold(&mut self.held, conn, &self.statements.read, key)?;
        if !std::mem::replace(&mut held.is_changed, true) {
            self.changed.push(key);
        }
        Ok(&mut held.block)
    }

    /// Writes what was changed, in the order of the table.
    pub(super) fn flush(&mut self, conn: &StatementCache<'_>) -> Result<(), Fault> {
        if self.changed.is_empty() {
            return Ok(());
        }
        self.changed.sort_unstable();
        let mut write = conn.prepare_cached(&self.statements.write)?;
        let mut delete = conn.prepare_cached(&self.statements.delete)?;
        for key in self.changed.drain(..) {
            let Some(held) = self.held.get_mut(&key) else { continue };
            held.is_changed = false;
            if !held.block.is_empty() {
                write.execute((key, &*held.block.bytes()))?;
                held.is_stored = true;
            } else if std::mem::take(&mut held.is_stored) {
                delete.execute([key])?;
            }
        }
        if self.held.len() > HELD_MAX {
            self.held.clear();
        }
        Ok(())
    }
}

/// Returns a block, and reads it if it is not at hand.
fn hold<'a, B: Block>(
    held: &'a mut FxHashMap<i64, Held<B>>,
    conn: &StatementCache<'_>,
    read: &str,
    key: i64,
) -> Result<&'a mut Held<B>, Fault> {
    match held.entry(key) {
        Entry::Occupied(held) => Ok(held.into_mut()),
        Entry::Vacant(place) => {
            let stored = conn.prepare_cached(read)?.query_row([key], |row| row.get::<_, Vec<u8>>(0));
            let stored = stored.optional()?;
            let is_stored = stored.is_some();
            let block = stored.map(|bytes| B::read(key, bytes)).unwrap_or_default();
            Ok(place.insert(Held { block, is_stored, is_changed: false }))
        }
    }
}
