//! Removal: finished artifacts and dead letters that are over leave the file, with everything that is kept
//! because of them alone.

use std::collections::BTreeSet;

use rusqlite::OptionalExtension;
use volery_blackboard::RunId;

use super::outcome::{DISCARDED, EXPIRED};
use super::tables::Tables;
use crate::block::{Outcomes, PLACES, Runs};
use crate::fault::Fault;
use crate::row;
use crate::session::{KIND, PRODUCER, finished};

/// Pages given back to the file system per removal. A commit of this many stays short; the rest goes with
/// later ones.
const VACUUM_PAGES: u32 = 1_000;

/// The parts of a removed artifact by which it was found.
struct Removed {
    run: RunId,
    tenant: i64,
    kind: i64,
    producer: Option<i64>,
    tags: Option<String>,
}

impl Tables<'_> {
    /// Removes those of these artifacts that are finished still, and returns how many were.
    pub(super) fn remove(&mut self, places: &[u64]) -> Result<u64, Fault> {
        let mut removed = 0;
        let mut facets = BTreeSet::new();
        // Places are never given again, even if the newest artifact goes.
        self.run("UPDATE meta SET value = ?1 WHERE key = 'last_seq'", [self.index.last_seq])?;
        for seq in places {
            let Some(Removed { run, tenant, kind, producer, tags }) = self.remove_artifact(*seq)? else {
                continue;
            };
            removed += 1;
            let producer = producer.map(|producer| (PRODUCER, producer));
            let of_artifact = [Some((KIND, kind)), producer].into_iter().flatten();
            facets.extend(of_artifact.map(|(facet, name)| (tenant, facet, name, seq / PLACES)));
            self.remove_outcomes(*seq)?;
            self.move_run(run, *seq)?;
            if let Some(tags) = tags {
                for tag in serde_json::from_str::<Vec<String>>(&tags)? {
                    self.run(
                        "DELETE FROM tag WHERE tenant = ?1 AND tag = ?2 AND seq = ?3",
                        (tenant, tag, seq),
                    )?;
                }
            }
            if self.index.last_pair > 0 {
                self.remove_pairs(*seq)?;
            }
        }
        for facet in facets {
            let left =
                "SELECT 1 FROM artifact a WHERE a.seq BETWEEN ?4 * 32 AND ?4 * 32 + 31 AND a.tenant = ?1
                AND ?3 = CASE ?2 WHEN 0 THEN a.kind ELSE a.producer END";
            let sql = "DELETE FROM facet WHERE tenant = ?1 AND facet = ?2 AND name = ?3 AND block = ?4";
            self.run(&format!("{sql} AND NOT EXISTS ({left})"), facet)?;
        }
        self.index.forget_facets();
        self.run("DELETE FROM era WHERE block < (SELECT min(seq) FROM artifact) / 1024", [])?;
        if removed > 0 {
            self.flush()?;
            self.vacuum()?;
        }
        Ok(removed)
    }

    /// Removes what became of an artifact.
    fn remove_outcomes(&mut self, seq: u64) -> Result<(), Fault> {
        let Self { session, index, .. } = self;
        for key in session.outcome_keys(seq)? {
            let code = index.outcomes.look(&session.conn, key)?.code(seq);
            if code != 0 {
                index.outcomes.change(&session.conn, key)?.remove(seq);
            }
            if code == EXPIRED || code == DISCARDED {
                let sub = Outcomes::subscription(key);
                self.touched.set(true);
                session
                    .conn
                    .prepare_cached("DELETE FROM reason WHERE seq = ?1 AND sub = ?2")?
                    .execute((seq, sub))?;
            }
        }
        Ok(())
    }

    /// Gives a run whose first artifact was removed the next one as its first; without one, the run is gone.
    fn move_run(&mut self, run: RunId, seq: u64) -> Result<(), Fault> {
        let Self { session, index, .. } = self;
        if index.runs.look(&session.conn, Runs::key(seq))?.get(seq).is_none() {
            return Ok(());
        }
        let Some(entry) = index.runs.change(&session.conn, Runs::key(seq))?.take(seq) else { return Ok(()) };
        let next = session.run_number(run)?;
        if let Some(next) = next {
            index.runs.change(&session.conn, Runs::key(next))?.put(next, entry);
        }
        index.newest_runs.moved(run, next);
        Ok(())
    }

    fn remove_artifact(&self, seq: u64) -> Result<Option<Removed>, Fault> {
        let sql = format!(
            "DELETE FROM artifact AS a WHERE a.seq = ?1 AND {} RETURNING run, tenant, kind, producer, tags",
            finished()
        );
        let mut statement = self.session.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([seq])?;
        let Some(found) = rows.next()? else { return Ok(None) };
        let removed = Removed {
            run: row::run(found, 0)?,
            tenant: found.get(1)?,
            kind: found.get(2)?,
            producer: found.get(3)?,
            tags: found.get(4)?,
        };
        // The statement has to come to its end for the row to be gone.
        while rows.next()?.is_some() {}
        Ok(Some(removed))
    }

    /// Removes those of these dead letters that are over still, each with the attempts that no other letter
    /// of its job has; returns how many were.
    pub(super) fn remove_letters(&mut self, numbers: &[u64]) -> Result<u64, Fault> {
        let mut removed = 0;
        // Numbers are never given again, even if the newest letter goes.
        self.run(
            "INSERT INTO meta VALUES ('last_dead', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            [self.index.last_dead],
        )?;
        let open = self.session.open_jobs()?;
        for number in numbers {
            let job = "SELECT job FROM dead WHERE number = ?1 AND state <> 0";
            let job = self.session.conn.prepare_cached(job)?.query_row([number], |row| Ok(row::job(row, 0)));
            let Some(job) = job.optional()?.transpose()?.filter(|job| !open.contains(job)) else { continue };
            self.run("DELETE FROM dead WHERE number = ?1", [number])?;
            removed += 1;
            self.run(
                "DELETE FROM attempt WHERE job = ?1 AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.job = ?1)",
                [job.as_uuid().as_bytes()],
            )?;
        }
        if removed > 0 {
            self.vacuum()?;
        }
        Ok(removed)
    }

    /// Gives free pages back to the file system, one with every step.
    fn vacuum(&self) -> Result<(), Fault> {
        let sql = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
        let mut statement = self.session.conn.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    fn remove_pairs(&self, seq: u64) -> Result<(), Fault> {
        let members = "sub IN (SELECT id FROM subscription) AND seq = ?1";
        self.run(
            &format!("DELETE FROM pair WHERE number IN (SELECT number FROM pair_member WHERE {members})"),
            [seq],
        )?;
        self.run(&format!("DELETE FROM pair_member WHERE {members}"), [seq])?;
        Ok(())
    }
}
