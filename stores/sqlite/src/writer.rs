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

mod blocks;
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
    commands: mpsc::Receiver<Command>,
    /// A command that came in between commits.
    next: Option<Command>,
    /// The connection that failed first, until another one has proved that the disk takes writes.
    failed: Option<Connection>,
}

/// The tables over one connection, or the fault that has ended its use.
type Opened<'conn> = Result<Tables<'conn>, StoreError>;

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, epoch: i64, commands: mpsc::Receiver<Command>) -> Self {
        Self { shared, epoch, commands, next: None, failed: None }
    }

    /// Serves commands until it is closed, or nobody can send any more.
    pub(super) fn run(mut self, first: Connection) {
        let mut first = Some(first);
        loop {
            let command = self.take();
            let is_first = first.is_some();
            let conn = match first.take() {
                Some(conn) => Ok(conn),
                None => file::open_writer(&self.shared.place, &self.shared.options)
                    .map_err(|fault| self.shared.error(fault)),
            };
            let tables = match &conn {
                Ok(conn) => self.tables(conn, is_first),
                Err(error) => Err(error.clone()),
            };
            let closed = self.serve(command, tables);
            match (closed, conn) {
                (None, Ok(conn)) => self.retire(conn),
                (None, Err(_)) => {}
                (Some((done, reply)), conn) => {
                    let closed = done.and(conn).and_then(|conn| {
                        conn.close().map_err(|(_, error)| self.shared.error(Fault::Sqlite(error)))
                    });
                    give(reply, closed);
                    return;
                }
            }
        }
    }

    /// Waits for the next command. When no caller is left, the file is closed.
    fn take(&mut self) -> Command {
        let next = self.next.take().or_else(|| self.commands.blocking_recv());
        next.unwrap_or_else(|| Command::Close(oneshot::channel().0))
    }

    /// Serves this command and those behind it over one connection, until it fails or is to be closed.
    fn serve(
        &mut self,
        mut command: Command,
        mut tables: Opened<'_>,
    ) -> Option<(Result<(), StoreError>, Reply<()>)> {
        loop {
            match command {
                Command::Commit(writes, reply) => self.commit(&mut tables, writes, reply),
                Command::Open(catalogue, reply) => {
                    give(reply, self.attempt(&mut tables, |tables| tables.open(&catalogue)))
                }
                Command::Jobs { after, limit, reply } => {
                    give(reply, self.attempt(&mut tables, |tables| tables.jobs(after, limit)));
                }
                Command::Remove(places, reply) => {
                    let removed = self.attempt(&mut tables, |tables| tables.remove(&places));
                    if removed.is_ok() {
                        self.shared.cache.remove(&places);
                    }
                    give(reply, removed);
                }
                Command::RemoveLetters(numbers, reply) => {
                    give(reply, self.attempt(&mut tables, |tables| tables.remove_letters(&numbers)));
                }
                Command::Close(reply) => {
                    self.commands.close();
                    return Some((self.try_on(&mut tables, |tables| tables.checkpoint()), reply));
                }
            }
            if tables.is_err() {
                return None;
            }
            command = self.take();
        }
    }

    /// Commits the writes of one caller, and those that wait behind them.
    fn commit(&mut self, tables: &mut Opened<'_>, mut writes: Vec<Write>, reply: Reply<Vec<Written>>) {
        let mut replies = vec![(writes.len(), reply)];
        while writes.len() < WRITES_MAX && self.next.is_none() {
            match self.commands.try_recv() {
                Ok(Command::Commit(more, reply)) => {
                    replies.push((more.len(), reply));
                    writes.extend(more);
                }
                Ok(other) => self.next = Some(other),
                Err(_) => break,
            }
        }
        match self.write(tables, &mut writes) {
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
    }

    /// Does all writes together; if one of them cannot be done, each behind a savepoint of its own.
    fn write(&self, tables: &mut Opened<'_>, writes: &mut [Write]) -> Result<Vec<Written>, StoreError> {
        let mut apart = false;
        let together = self.try_on(tables, |tables| match tables.write_together(writes) {
            Err(fault) if fault.is_of_write() => {
                apart = true;
                Ok(Vec::new())
            }
            other => other,
        });
        if apart { self.try_on(tables, |tables| tables.write_apart(writes)) } else { together }
    }

    /// Does something in one transaction.
    fn attempt<T>(
        &self,
        tables: &mut Opened<'_>,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.try_on(tables, |tables| tables.transaction(work))
    }

    /// Does something on the tables, and takes their connection out of use when that fails.
    fn try_on<'conn, T>(
        &self,
        tables: &mut Opened<'conn>,
        work: impl FnOnce(&mut Tables<'conn>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let done = match tables {
            Ok(tables) => self.guard(|| work(tables)),
            Err(error) => return Err(error.clone()),
        };
        done.inspect_err(|error| *tables = Err(error.clone()))
    }

    /// Reads the tables of a connection. A connection opened after a fault has to prove itself.
    fn tables<'conn>(&mut self, conn: &'conn Connection, is_first: bool) -> Opened<'conn> {
        let tables = self.guard(|| {
            let mut tables = Tables::new(Session::new(conn, Arc::clone(&self.shared)), self.epoch)?;
            if !is_first {
                tables.prove()?;
            }
            Ok(tables)
        })?;
        self.failed = None;
        Ok(tables)
    }

    fn guard<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => done.map_err(|fault| self.shared.error(fault)),
            Err(panic) => {
                let cause = format!("the writer panicked: {}", panic_text(panic.as_ref()));
                Err(self.shared.place.unavailable(cause))
            }
        }
    }

    /// Takes a connection out of use after a fault, and keeps it open: the last one that leaves a file puts
    /// its log away, or else leaves it to be read back by the next, a commit that failed at its end included.
    fn retire(&mut self, conn: Connection) {
        if !conn.is_autocommit() {
            drop(conn.execute_batch("ROLLBACK").err());
        }
        // A connection that is still in a transaction would keep all others from writing.
        if conn.is_autocommit() {
            self.failed.get_or_insert(conn);
        }
    }
}

fn give<T>(to: Reply<T>, answer: Result<T, StoreError>) {
    // The caller may have gone; the commit stands.
    drop(to.send(answer).err());
}
