//! Removal: finished artifacts and dead letters that are over leave the file, with everything that is kept
//! because of them alone.

use std::collections::BTreeSet;

use rusqlite::OptionalExtension;

use super::tables::Tables;
use crate::fault::Fault;
use crate::row;
use crate::session::{FINISHED, LETTER_OVER};

/// Pages given back to the file system per removal. A commit of this many stays short; the rest goes with
/// later ones.
const VACUUM_PAGES: u32 = 1_000;

impl Tables<'_> {
    /// Removes those of these artifacts that are finished still, and returns how many were.
    pub(super) fn remove(&mut self, places: &[u64]) -> Result<u64, Fault> {
        let mut removed = 0;
        let mut runs = BTreeSet::new();
        // Places are never given again, even if the newest artifact goes.
        self.run("UPDATE meta SET value = ?1 WHERE key = 'last_seq'", [self.index.last_seq])?;
        for seq in places {
            let Some((run, tenant, tags)) = self.remove_artifact(*seq)? else { continue };
            removed += 1;
            runs.insert(run);
            self.run("DELETE FROM outcome WHERE seq = ?1", [seq])?;
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
        for run in runs {
            self.run(
                "DELETE FROM run WHERE run = ?1 AND NOT EXISTS (SELECT 1 FROM artifact a WHERE a.run = ?1)",
                [run.as_uuid().as_bytes()],
            )?;
        }
        self.run("DELETE FROM era WHERE block < (SELECT min(seq) FROM artifact) / 1024", [])?;
        if removed > 0 {
            self.vacuum()?;
        }
        Ok(removed)
    }

    /// Removes one artifact; returns its run, tenant and tags.
    fn remove_artifact(
        &self,
        seq: u64,
    ) -> Result<Option<(volery_blackboard::RunId, i64, Option<String>)>, Fault> {
        let sql =
            format!("DELETE FROM artifact AS a WHERE a.seq = ?1 AND {FINISHED} RETURNING run, tenant, tags");
        let mut statement = self.session.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([seq])?;
        let Some(found) = rows.next()? else { return Ok(None) };
        let removed = (row::run(found, 0)?, found.get(1)?, found.get(2)?);
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
        let sql = format!("DELETE FROM dead WHERE number = ?1 AND {LETTER_OVER}");
        for number in numbers {
            let job = "SELECT job FROM dead WHERE number = ?1";
            let job: Option<Vec<u8>> =
                self.session.conn.prepare_cached(job)?.query_row([number], |row| row.get(0)).optional()?;
            let Some(job) = job else { continue };
            if self.run(&sql, [number])? == 0 {
                continue;
            }
            removed += 1;
            self.run(
                "DELETE FROM attempt WHERE job = ?1 AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.job = ?1)",
                [job],
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
