//! The writer: one thread that owns the only connection that writes.
//!
//! It takes what waits and writes it as one transaction, so that many callers share one wait for the disk.
//! After a fault another connection is opened for the next command, and everything that is kept in memory is
//! read back from the file: what a failed write left behind is never guessed, and a failed fsync is never
//! tried again. The connection that failed stays open beside it until the new one has committed something of
//! its own. It keeps the failed commit from being read back from the log, and the new commit takes its place
//! there, on disk as well.
//!
//! | command | effect |
//! | --- | --- |
//! | `Open` | learns the program's names, counts attempts that the life before cut short |
//! | `Commit` | one transaction; a write that cannot be done is refused alone |
//! | `Jobs` | lists unfinished jobs, which this thread has in memory |
//! | `Remove`, `RemoveLetters` | remove finished artifacts, and dead letters that are over |
//! | `Close` | ends the thread after everything before it |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use volery_blackboard::panic::panic_text;
use volery_blackboard::store::{Catalogue, Cursor, StoreError, Unfinished, Write, Written};

use super::fault::Fault;
use super::file;
use super::session::Session;
use super::shared::Shared;

mod damage;
mod dead;
mod index;
mod outcome;
mod publish;
mod removal;
mod tables;
mod work;

use tables::Tables;

/// Writes in one transaction. A thousand amortise the wait for the disk fully; more would only delay the
/// first of them.
const WRITES_MAX: usize = 1_000;

/// Commands that wait for the writer. One caller commits at a time; more than this wait only behind a disk
/// that hangs.
pub(super) const WAITING_MAX: usize = 1_024;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Command {
    Open(Catalogue, Reply<()>),
    Commit(Vec<Write>, Reply<Vec<Written>>),
    Jobs { after: u64, limit: usize, reply: Reply<(Vec<Unfinished>, Option<Cursor>)> },
    Remove(Vec<u64>, Reply<u64>),
    RemoveLetters(Vec<u64>, Reply<u64>),
    Close(Reply<()>),
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// The number of this owner of the file; a later owner has a higher one.
    epoch: i64,
    /// `None` after a fault, until the next command.
    tables: Option<Tables>,
    /// The connection that failed first, until another one has proved that the disk takes writes.
    failed: Option<Connection>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, session: Session, epoch: i64) -> Result<Self, Fault> {
        let tables = Some(Tables::new(session)?);
        Ok(Self { shared, epoch, tables, failed: None })
    }

    /// Serves commands until it is closed, or nobody can send any more.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = None;
        while let Some(command) = next.take().or_else(|| commands.blocking_recv()) {
            match command {
                Command::Commit(writes, reply) => next = self.commit(writes, reply, &mut commands),
                Command::Open(catalogue, reply) => {
                    give(reply, self.attempt(|tables| tables.open(&catalogue)))
                }
                Command::Jobs { after, limit, reply } => {
                    give(reply, self.attempt(|tables| tables.jobs(after, limit)));
                }
                Command::Remove(places, reply) => {
                    let removed = self.attempt(|tables| tables.remove(&places));
                    if removed.is_ok() {
                        self.shared.cache.remove(&places);
                    }
                    give(reply, removed);
                }
                Command::RemoveLetters(numbers, reply) => {
                    give(reply, self.attempt(|tables| tables.remove_letters(&numbers)));
                }
                Command::Close(reply) => {
                    commands.close();
                    give(reply, self.close());
                    return;
                }
            }
        }
        // No caller is left; the next owner of the file does the rest of a checkpoint.
        drop(self.close().err());
    }

    /// Commits the writes of one caller, and those that wait behind them. Returns a command of another kind
    /// that came in between.
    fn commit(
        &mut self,
        mut writes: Vec<Write>,
        reply: Reply<Vec<Written>>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Option<Command> {
        let mut replies = vec![(writes.len(), reply)];
        let mut next = None;
        while writes.len() < WRITES_MAX && next.is_none() {
            match commands.try_recv() {
                Ok(Command::Commit(more, reply)) => {
                    replies.push((more.len(), reply));
                    writes.extend(more);
                }
                Ok(other) => next = Some(other),
                Err(_) => break,
            }
        }
        match self.write(&mut writes) {
            Ok(results) => {
                let mut results = results.into_iter();
                for (count, reply) in replies {
                    give(reply, Ok(results.by_ref().take(count).collect()));
                }
            }
            Err(error) => replies.into_iter().for_each(|(_, reply)| give(reply, Err(error.clone()))),
        }
        // Payloads run code of the user when they are dropped.
        drop(catch_unwind(AssertUnwindSafe(|| drop(writes))));
        next
    }

    /// Does all writes together; if one of them cannot be done, each behind a savepoint of its own.
    fn write(&mut self, writes: &mut [Write]) -> Result<Vec<Written>, StoreError> {
        let mut apart = false;
        let together = self.try_on(|tables| match tables.write_together(writes) {
            Err(fault) if fault.is_of_write() => {
                apart = true;
                Ok(Vec::new())
            }
            other => other,
        });
        if apart { self.try_on(|tables| tables.write_apart(writes)) } else { together }
    }

    /// Does something in one transaction.
    fn attempt<T>(&mut self, work: impl FnOnce(&mut Tables) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.try_on(|tables| tables.transaction(work))
    }

    /// Does something on the tables, and takes their connection out of use when that fails.
    fn try_on<T>(&mut self, work: impl FnOnce(&mut Tables) -> Result<T, Fault>) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = catch_unwind(AssertUnwindSafe(|| {
            let epoch = self.epoch;
            let tables = self.tables()?;
            tables.epoch = epoch;
            work(tables)
        }));
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(fault)) => {
                self.retire();
                Err(shared.error(fault))
            }
            Err(panic) => {
                self.retire();
                Err(shared.place.unavailable(format!("the writer panicked: {}", panic_text(panic.as_ref()))))
            }
        }
    }

    fn tables(&mut self) -> Result<&mut Tables, Fault> {
        if self.tables.is_none() {
            let conn = file::open_writer(&self.shared.place, &self.shared.options)?;
            let mut tables = Tables::new(Session::new(conn, Arc::clone(&self.shared)))?;
            tables.epoch = self.epoch;
            tables.prove()?;
            self.tables = Some(tables);
            self.failed = None;
        }
        self.tables.as_mut().ok_or(Fault::Foreign)
    }

    /// Takes the connection out of use after a fault, and keeps it open: the last one that leaves a file puts
    /// its log away, or else leaves it to be read back by the next, a commit that failed at its end included.
    fn retire(&mut self) {
        let Some(tables) = self.tables.take() else { return };
        let conn = tables.session.conn;
        if !conn.is_autocommit() {
            drop(conn.execute_batch("ROLLBACK").err());
        }
        // A connection that is still in a transaction would keep all others from writing.
        if conn.is_autocommit() {
            self.failed.get_or_insert(conn);
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        if self.failed.is_some() {
            self.tables().map_err(|fault| shared.error(fault))?;
        }
        let Some(tables) = self.tables.take() else { return Ok(()) };
        tables.close().map_err(|fault| shared.error(fault))
    }
}

fn give<T>(to: Reply<T>, answer: Result<T, StoreError>) {
    // The caller may have gone; the commit stands.
    drop(to.send(answer).err());
}
