//! The statement cache: a connection whose statements stay prepared.
//!
//! It borrows the connection, as statements do, so a thread that has one owns the connection beside it.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use rusqlite::{Connection, PrepFlags, Result, Statement};
use rustc_hash::FxHashMap;

/// Statements kept prepared: more than any connection here uses, unless queries combine many filters. With
/// more of them, all are prepared anew.
const STATEMENTS_MAX: usize = 128;

/// Empty while its statement is in use.
type Slot<'conn> = Rc<Cell<Option<Statement<'conn>>>>;

pub(crate) struct StatementCache<'conn> {
    conn: &'conn Connection,
    slots: RefCell<FxHashMap<Box<str>, Slot<'conn>>>,
}

/// A statement in use, which goes back when it is dropped.
pub(crate) struct CachedStatement<'conn> {
    /// `None` in the drop only.
    statement: Option<Statement<'conn>>,
    slot: Slot<'conn>,
}

impl<'conn> StatementCache<'conn> {
    pub(crate) fn new(conn: &'conn Connection) -> Self {
        Self { conn, slots: RefCell::default() }
    }

    /// Returns the statement of a text, prepared once.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<CachedStatement<'conn>> {
        let mut slots = self.slots.borrow_mut();
        let slot = match slots.get(sql) {
            Some(slot) => Rc::clone(slot),
            None => {
                if slots.len() >= STATEMENTS_MAX {
                    slots.clear();
                }
                Rc::clone(slots.entry(sql.into()).or_default())
            }
        };
        let statement = match slot.take() {
            Some(statement) => statement,
            None => self.conn.prepare_with_flags(sql, PrepFlags::SQLITE_PREPARE_PERSISTENT)?,
        };
        Ok(CachedStatement { statement: Some(statement), slot })
    }
}

impl Deref for StatementCache<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}

const TAKEN: &str = "only the drop takes the statement";

impl<'conn> Deref for CachedStatement<'conn> {
    type Target = Statement<'conn>;

    fn deref(&self) -> &Statement<'conn> {
        self.statement.as_ref().expect(TAKEN)
    }
}

impl DerefMut for CachedStatement<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.statement.as_mut().expect(TAKEN)
    }
}

impl Drop for CachedStatement<'_> {
    fn drop(&mut self) {
        if let Some(mut statement) = self.statement.take() {
            // Bound payloads would stay in memory until the next use.
            statement.clear_bindings();
            self.slot.set(Some(statement));
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    fn run(statement: &mut CachedStatement<'_>) -> i32 {
        let one: i64 = statement.query_row([1], |row| row.get(0)).expect("it runs");
        assert_eq!(one, 1);
        statement.get_status(StatementStatus::Run)
    }

    #[test]
    fn a_statement_is_prepared_once_and_again_only_while_it_is_in_use() {
        let conn = Connection::open_in_memory().expect("it opens");
        let cache = StatementCache::new(&conn);
        let mut first = cache.prepare_cached("SELECT ?1").expect("it is a statement");
        assert_eq!(run(&mut first), 1);
        let mut second = cache.prepare_cached("SELECT ?1").expect("it is a statement");
        assert_eq!(run(&mut second), 1, "the first is in use");
        drop((second, first));
        let mut again = cache.prepare_cached("SELECT ?1").expect("it is a statement");
        assert_eq!(run(&mut again), 2);
        drop(again);
        for number in 0..STATEMENTS_MAX {
            cache.prepare_cached(&format!("SELECT {number}")).expect("it is a statement");
        }
        assert!(cache.slots.borrow().len() <= STATEMENTS_MAX);
        assert_eq!(
            run(&mut cache.prepare_cached("SELECT ?1").expect("it is a statement")),
            1,
            "prepared anew"
        );
    }
}
