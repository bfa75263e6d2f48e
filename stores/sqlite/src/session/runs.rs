//! Blocks, runs and unfinished jobs, as they stand in the file.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rusqlite::OptionalExtension;
use rustc_hash::FxHashMap;
use volery_blackboard::{JobId, Offset, RunId, Tally};

use super::Session;
use crate::block::{Block, Found, Jobs, Outcomes, Run, Runs};
use crate::fault::Fault;
use crate::row;

/// Runs that one question reads, and the blocks that they lie in.
#[derive(Default)]
pub(super) struct RunsRead(FxHashMap<i64, Runs>);

impl RunsRead {
    /// Returns how a run stands, given one of its artifacts.
    pub(super) fn run(&mut self, session: &Session, run: RunId, seq: u64) -> Result<Option<Run>, Fault> {
        // Most runs begin with the very artifact.
        if let Some(found) = self.block(session, seq)?.get(seq) {
            return Ok(Some(*found));
        }
        let Some(number) = session.run_number(run)? else { return Ok(None) };
        Ok(self.block(session, number)?.get(number).copied())
    }

    fn block(&mut self, session: &Session, number: u64) -> Result<&Runs, Fault> {
        match self.0.entry(Runs::key(number)) {
            Entry::Occupied(block) => Ok(block.into_mut()),
            Entry::Vacant(place) => {
                let block = session.block(*place.key())?;
                Ok(place.insert(block))
            }
        }
    }
}

impl Session<'_> {
    /// Reads a block; an empty one if it has no row.
    pub(crate) fn block<B: Block>(&self, key: i64) -> Result<B, Fault> {
        let sql = format!("SELECT value FROM {} WHERE key = ?1", B::TABLE);
        let mut statement = self.conn.prepare_cached(&sql)?;
        let bytes: Option<Vec<u8>> = statement.query_row([key], |row| row.get(0)).optional()?;
        Ok(bytes.map(|bytes| B::read(key, bytes)).unwrap_or_default())
    }

    /// The number of a run: the place of its first artifact.
    pub(crate) fn run_number(&self, run: RunId) -> Result<Option<u64>, Fault> {
        let sql = "SELECT seq FROM artifact INDEXED BY artifact_run WHERE run = ?1 ORDER BY seq LIMIT 1";
        let mut statement = self.conn.prepare_cached(sql)?;
        Ok(statement.query_row([run.as_uuid().as_bytes()], |row| row.get(0)).optional()?)
    }

    /// The run of an artifact.
    pub(crate) fn run_of(&self, seq: u64) -> Result<RunId, Fault> {
        let mut statement = self.conn.prepare_cached("SELECT run FROM artifact WHERE seq = ?1")?;
        let mut rows = statement.query([seq])?;
        let missing = || self.missing(Offset::new(seq));
        rows.next()?.map_or_else(|| Err(missing()), |row| row::run(row, 0))
    }

    /// The places of a run's artifacts behind a place, in order.
    pub(crate) fn places_of(&self, run: RunId, after: Offset) -> Result<Vec<u64>, Fault> {
        let sql = "SELECT seq FROM artifact INDEXED BY artifact_run WHERE run = ?1 AND seq > ?2 ORDER BY seq";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map((run.as_uuid().as_bytes(), after.get()), |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The keys of the blocks of outcomes that a place belongs to.
    pub(crate) fn outcome_keys(&self, seq: u64) -> Result<Vec<i64>, Fault> {
        let mut statement =
            self.conn.prepare_cached("SELECT key FROM outcome WHERE key BETWEEN ?1 AND ?2")?;
        let rows = statement.query_map(Outcomes::keys_at(seq), |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Goes through the unfinished jobs, each with the key of its block.
    pub(crate) fn each_job(&self, mut see: impl FnMut(i64, Found) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut statement = self.conn.prepare_cached("SELECT key, value FROM job")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key = row.get(0)?;
            Jobs::read(key, row.get(1)?).all(key).try_for_each(|found| see(key, found))?;
        }
        Ok(())
    }

    /// The unfinished jobs, as far as their records can be read.
    pub(crate) fn open_jobs(&self) -> Result<HashSet<JobId>, Fault> {
        let mut open = HashSet::new();
        self.each_job(|_, found| {
            if let Found::Job(_, record) = found {
                open.insert(record.start.job);
            }
            Ok(())
        })?;
        Ok(open)
    }

    fn run(&self, run: RunId) -> Result<Option<Run>, Fault> {
        let Some(number) = self.run_number(run)? else { return Ok(None) };
        Ok(self.block::<Runs>(Runs::key(number))?.get(number).copied())
    }

    /// Counts the outcomes of a run.
    pub(crate) fn tally(&self, run: RunId) -> Result<Tally, Fault> {
        Ok(self.run(run)?.map(|run| run.tally).unwrap_or_default())
    }

    /// Names the workflow of a run.
    pub(crate) fn workflow(&self, run: RunId) -> Result<Option<Arc<str>>, Fault> {
        self.run(run)?.map(|run| self.name(run.workflow)).transpose()
    }
}
