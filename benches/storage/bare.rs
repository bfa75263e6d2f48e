//! A bare SQLite program that keeps the same account, in commits of the same sizes.
//!
//! It writes a row for each fact, with prepared statements and nothing else: an artifact with the indexes
//! that questions need, its run, its claim, the start of its job, and its outcome.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use volery::store::Write;
use volery::testing::FailingStore;

use super::Order;

/// The counts of one commit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cycle {
    published: u64,
    started: u64,
    finished: u64,
}

/// The commits of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cycles(Arc<Mutex<Vec<Cycle>>>);

impl Cycles {
    /// Notes what the store is given from now on.
    pub(crate) fn record(&self, store: &FailingStore) {
        let begun = self.clone();
        store.delay_commits(move || {
            begun.with(|cycles| cycles.push(Cycle::default()));
            std::future::ready(())
        });
        let seen = self.clone();
        store.refuse_only(move |group| {
            seen.with(|cycles| {
                let Some(cycle) = cycles.last_mut() else { return };
                match group {
                    Write::Publish(artifacts) => cycle.published += artifacts.len() as u64,
                    Write::Start(_) => cycle.started += 1,
                    Write::Finish(_) => cycle.finished += 1,
                    _ => {}
                }
            });
            false
        });
    }

    pub(crate) fn take(&self) -> Vec<Cycle> {
        self.with(std::mem::take)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Cycle>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A row for each fact, and the indexes that ask for artifacts by id, kind and run.
const TABLES: &str = "
CREATE TABLE artifact(
    seq INTEGER PRIMARY KEY, id BLOB NOT NULL, tenant INTEGER NOT NULL, kind INTEGER NOT NULL,
    version INTEGER NOT NULL, run BLOB NOT NULL, at INTEGER NOT NULL, crc INTEGER NOT NULL, payload TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX artifact_id ON artifact(id);
CREATE INDEX artifact_kind ON artifact(tenant, kind);
CREATE INDEX artifact_run ON artifact(run);
CREATE TABLE run(
    run BLOB PRIMARY KEY, tenant INTEGER NOT NULL, workflow TEXT NOT NULL, matched INTEGER NOT NULL,
    consumed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE claim(sub INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(sub, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE started(
    sub INTEGER NOT NULL, seq INTEGER NOT NULL, job BLOB NOT NULL, agent INTEGER NOT NULL, at INTEGER NOT NULL,
    attempt INTEGER NOT NULL, PRIMARY KEY(sub, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE outcome(
    seq INTEGER NOT NULL, sub INTEGER NOT NULL, code INTEGER NOT NULL, job BLOB NOT NULL, PRIMARY KEY(seq, sub)
) STRICT, WITHOUT ROWID;
";

/// Writes the same again and returns how long it took.
pub(crate) fn replay(path: &Path, cycles: &[Cycle], order: &Order) -> Duration {
    let file = Connection::open(path).expect("it opens");
    file.set_prepared_statement_cache_capacity(16);
    // As the store's own connection, but for its journal of free pages, which nothing here needs.
    file.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
         PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;",
    )
    .expect("it is set");
    file.execute_batch(TABLES).expect("they are made");
    let payload = serde_json::to_string(order).expect("it is data");
    let begun = Instant::now();
    let (mut published, mut started, mut finished) = (0, 0, 0);
    for cycle in cycles {
        file.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
        let written = (|| {
            for _ in 0..cycle.published {
                published += 1;
                publish(&file, published, &payload)?;
            }
            for _ in 0..cycle.started {
                started += 1;
                start(&file, started)?;
            }
            for _ in 0..cycle.finished {
                finished += 1;
                finish(&file, finished)?;
            }
            Ok::<_, rusqlite::Error>(())
        })();
        written.expect("it is written");
        file.execute_batch("COMMIT").expect("it is committed");
    }
    begun.elapsed()
}

/// An id like ours: a time, at forty artifacts a millisecond, and random bits.
fn id(seq: u64, salt: u64) -> [u8; 16] {
    let mixed = |salt: u64| (seq ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).to_be_bytes();
    let mut id = [0; 16];
    id[..6].copy_from_slice(&(seq / 40).to_be_bytes()[2..]);
    id[6..14].copy_from_slice(&mixed(salt));
    id[14..].copy_from_slice(&mixed(salt + 1)[..2]);
    id
}

fn publish(file: &Connection, seq: u64, payload: &str) -> rusqlite::Result<()> {
    let run = id(seq, 1 << 40);
    file.prepare_cached("INSERT INTO run VALUES (?1, 1, 'Order', 1, 0)")?.execute([run])?;
    let artifact = "INSERT INTO artifact VALUES (?1, ?2, 1, 2, 1, ?3, ?4, ?5, ?6)";
    let crc = crc32fast::hash(payload.as_bytes());
    file.prepare_cached(artifact)?.execute(params![seq, id(seq, 0), run, seq, crc, payload])?;
    file.prepare_cached("INSERT INTO claim VALUES (1, ?1)")?.execute([seq])?;
    Ok(())
}

fn start(file: &Connection, seq: u64) -> rusqlite::Result<()> {
    let started = "INSERT INTO started VALUES (1, ?1, ?2, 3, ?1, 1)";
    file.prepare_cached(started)?.execute(params![seq, id(seq, 1 << 41)])?;
    Ok(())
}

fn finish(file: &Connection, seq: u64) -> rusqlite::Result<()> {
    file.prepare_cached("DELETE FROM claim WHERE sub = 1 AND seq = ?1")?.execute([seq])?;
    file.prepare_cached("DELETE FROM started WHERE sub = 1 AND seq = ?1")?.execute([seq])?;
    let outcome = "INSERT INTO outcome VALUES (?1, 1, 1, ?2)";
    file.prepare_cached(outcome)?.execute(params![seq, id(seq, 1 << 41)])?;
    file.prepare_cached("UPDATE run SET consumed = consumed + 1 WHERE run = ?1")?
        .execute([id(seq, 1 << 40)])?;
    Ok(())
}
