//! The tables: the connection that writes, its transactions, and the rows of each write.

use std::cell::Cell;
use std::sync::Arc;

use rusqlite::Params;
use volery_blackboard::JobId;
use volery_blackboard::job::{Resumed, Start};
use volery_blackboard::store::{
    Catalogue, Cursor, Few, Filing, Note, StoreError, Stored, Unfinished, Write, Written,
};

use super::index::Index;
use crate::block::{Found, JobRecord, SUBSCRIPTIONS_MAX};
use crate::fault::Fault;
use crate::session::{Session, subject_text};
use crate::shared::Map;

pub(super) struct Tables<'conn> {
    pub(super) session: Session<'conn>,
    pub(super) index: Index,
    pub(super) epoch: i64,
    /// Something of the write at hand has been written.
    pub(super) touched: Cell<bool>,
}

impl<'conn> Tables<'conn> {
    pub(super) fn new(session: Session<'conn>, epoch: i64) -> Result<Self, Fault> {
        let index = Index::read(&session)?;
        Ok(Self { session, index, epoch, touched: Cell::new(false) })
    }

    /// Runs a statement that writes, and returns how many rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize, Fault> {
        self.touched.set(true);
        Ok(self.session.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// Does something in one transaction. After a fault, the index is not to be relied on.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.batch("BEGIN IMMEDIATE")?;
        let done = self.check_epoch().and_then(|()| work(self)).and_then(|value| {
            self.flush()?;
            self.batch("COMMIT")?;
            Ok(value)
        });
        match done {
            Ok(value) => {
                let fresh = std::mem::take(&mut self.index.pending.fresh);
                self.session.shared.cache.add(fresh);
                Ok(value)
            }
            Err(fault) => {
                // Some faults have ended the transaction already; and what cannot be rolled back was never
                // committed.
                if !self.session.conn.is_autocommit() {
                    drop(self.batch("ROLLBACK").err());
                }
                Err(fault)
            }
        }
    }

    /// Commits something of no meaning, after a fault of another connection: it takes the place of a commit
    /// that may have failed at the end of the log, and shows that the disk takes writes. The file counts how
    /// often that was done.
    pub(super) fn prove(&mut self) -> Result<(), Fault> {
        self.transaction(|tables| {
            let count =
                "INSERT INTO meta VALUES ('reopened', 1) ON CONFLICT(key) DO UPDATE SET value = value + 1";
            tables.run(count, []).map(|_| ())
        })
    }

    fn batch(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.session.conn.execute_batch(sql)?)
    }

    /// A stale owner changes nothing.
    fn check_epoch(&self) -> Result<(), Fault> {
        let mut statement = self.session.conn.prepare_cached("SELECT value FROM meta WHERE key = 'epoch'")?;
        let epoch: i64 = statement.query_row([], |row| row.get(0))?;
        if epoch == self.epoch {
            return Ok(());
        }
        Err(StoreError::Superseded { store: self.session.shared.place.name() }.into())
    }

    /// Does all writes in one transaction. A fault of a write that has written something is a fault of all.
    pub(super) fn write_together(&mut self, writes: &mut [Write]) -> Result<Vec<Written>, Fault> {
        self.transaction(|tables| {
            let mut results = Vec::with_capacity(writes.len());
            for write in &mut *writes {
                tables.touched.set(false);
                results.push(match tables.write(write) {
                    Err(fault) if fault.is_of_write() && !tables.touched.get() => {
                        Written::Refused(tables.session.shared.error(fault))
                    }
                    other => other?,
                });
            }
            Ok(results)
        })
    }

    /// Does every write behind a savepoint of its own, in one transaction. Slow, and only for when one write
    /// is bad: a savepoint has SQLite keep a copy of every page that the write changes.
    pub(super) fn write_apart(&mut self, writes: &mut [Write]) -> Result<Vec<Written>, Fault> {
        self.refresh()?;
        self.transaction(|tables| {
            let mut results = Vec::with_capacity(writes.len());
            for write in &mut *writes {
                tables.flush()?;
                let kept = tables.index.pending.fresh.len();
                tables.batch("SAVEPOINT one")?;
                let written = tables.write(write).and_then(|result| tables.flush().map(|()| result));
                let result = match written {
                    Err(fault) if fault.is_of_write() => {
                        tables.batch("ROLLBACK TO one")?;
                        let mut fresh = std::mem::take(&mut tables.index.pending.fresh);
                        tables.refresh()?;
                        fresh.truncate(kept);
                        tables.index.pending.fresh = fresh;
                        Written::Refused(tables.session.shared.error(fault))
                    }
                    other => other?,
                };
                tables.batch("RELEASE one")?;
                results.push(result);
            }
            Ok(results)
        })
    }

    /// Reads the index back from the file, as the transaction at hand sees it.
    fn refresh(&mut self) -> Result<(), Fault> {
        self.session.forget_names();
        self.index = Index::read(&self.session)?;
        Ok(())
    }

    fn write(&mut self, write: &mut Write) -> Result<Written, Fault> {
        let stored = match write {
            Write::Publish(artifacts) => {
                artifacts.iter_mut().map(|artifact| self.publish(artifact)).collect::<Result<_, _>>()?
            }
            Write::Start(start) => self.start(start)?,
            Write::Retry { job, start, failures, until, at, error } => {
                if let Some(start) = start {
                    self.start(start)?;
                }
                self.retry(*job, *failures, *until, (*at, error))?
            }
            Write::Release(job) => self.release(*job)?,
            Write::Finish(finish) => self.finish(finish)?,
            Write::Settle(settled) => self.settle(settled)?,
            Write::Note(note) => self.note(note)?,
            Write::CancelClaims { run, behind } => {
                return Ok(Written::Cancelled(self.cancel_claims(*run, behind)?));
            }
            Write::Redrive(redrive) => return Ok(Written::Redriven(Box::new(self.redrive(redrive)?))),
            Write::Discard { letter, at, reason } => self.discard(*letter, *at, reason)?,
        };
        Ok(Written::Done(stored))
    }

    fn note(&self, note: &Note) -> Result<Few<Stored>, Fault> {
        let subject = subject_text(&note.subject());
        match note.filing() {
            Filing::Keep => self.run(
                "INSERT INTO note VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value",
                (subject, note.topic(), serde_json::to_string(note)?),
            )?,
            Filing::Remove => {
                self.run("DELETE FROM note WHERE subject = ?1 AND topic = ?2", (subject, note.topic()))?
            }
            Filing::RemoveAll => self.run("DELETE FROM note WHERE subject = ?1", [subject])?,
        };
        Ok(Few::new())
    }

    /// Learns the program's names, and counts the attempts that the life before left without an end.
    pub(super) fn open(&mut self, catalogue: &Catalogue) -> Result<(), Fault> {
        let mut subscriptions = Vec::with_capacity(catalogue.subscriptions.len());
        for name in &catalogue.subscriptions {
            self.run("INSERT INTO subscription(name) VALUES (?1) ON CONFLICT DO NOTHING", [name])?;
            let id = "SELECT id FROM subscription WHERE name = ?1";
            let id: i64 = self.session.conn.query_row(id, [name], |row| row.get(0))?;
            if id >= SUBSCRIPTIONS_MAX {
                return Err(Fault::Refused(format!("there is no number left for subscription {name}")));
            }
            subscriptions.push(id);
        }
        let agents = catalogue.agents.iter().map(|agent| self.intern(agent.as_str()));
        let agents = agents.collect::<Result<Vec<i64>, _>>()?;
        for kind in catalogue.kinds.all() {
            self.session.shared.learn(&kind);
        }
        self.session.shared.set_map(Map::new(catalogue, subscriptions, agents));
        self.refresh()?;
        self.set_aside()?;
        self.flush()?;
        self.interrupt_running()?;
        self.flush()?;
        self.refresh()
    }

    /// Counts an interruption for every attempt that has no end.
    fn interrupt_running(&mut self) -> Result<(), Fault> {
        let Self { session, index, .. } = self;
        session.each_job(|key, found| {
            let Found::Job(number, JobRecord { sub, agent, start, mut progress }) = found else {
                return Ok(());
            };
            if !progress.is_running {
                return Ok(());
            }
            progress.is_running = false;
            progress.interruptions += 1;
            progress.deaths_alone += u32::from(start.alone);
            let record = JobRecord { sub, agent, start: &start, progress };
            index.started.change(&session.conn, key)?.put(number, &record)
        })
    }

    /// Lists unfinished jobs behind a number.
    pub(super) fn jobs(
        &mut self,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<Unfinished>, Option<Cursor>), Fault> {
        let open = self.index.jobs.values().map(|open| (open.number, open.start.job));
        let mut open: Vec<(u64, JobId)> = open.filter(|(number, _)| *number > after).collect();
        open.sort_unstable();
        open.truncate(limit);
        let next = open.last().map_or(Cursor::Pairs(0), |(number, _)| Cursor::Jobs(*number));
        let mut jobs = Vec::with_capacity(open.len());
        for (_, job) in open {
            jobs.extend(self.resumed(&job)?.map(Unfinished::Job));
        }
        Ok((jobs, Some(next)))
    }

    /// An unfinished job as a board takes it in.
    pub(super) fn resumed(&self, job: &JobId) -> Result<Option<Resumed>, Fault> {
        let Some(open) = self.index.jobs.get(job) else { return Ok(None) };
        Ok(Some(Resumed {
            start: Start::clone(&open.start),
            inputs: self.session.inputs(&open.start)?,
            failures: open.progress.failures,
            until: open.progress.until,
            interruptions: open.progress.interruptions,
            deaths_alone: open.progress.deaths_alone,
        }))
    }

    /// Returns the id of a name, and gives it one if it has none.
    pub(super) fn intern(&mut self, text: &str) -> Result<i64, Fault> {
        if let Some(id) = self.index.names.get(text) {
            return Ok(*id);
        }
        let id = match self.session.name_id(text)? {
            Some(id) => id,
            None => {
                self.run("INSERT INTO name(text) VALUES (?1)", [text])?;
                self.session.conn.last_insert_rowid()
            }
        };
        self.index.remember_name(Arc::from(text), id);
        Ok(id)
    }

    /// Leaves a file without a log beside it, as far as other readers let it.
    pub(super) fn checkpoint(&self) -> Result<(), Fault> {
        Ok(self.session.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}
