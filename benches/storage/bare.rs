//! A bare SQLite program that writes the same rows, in commits of the same sizes.
//!
//! The schema is the store's; the rows of an artifact's way are written with prepared statements and nothing
//! else.

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

/// Writes the same again and returns how long it took.
pub(crate) fn replay(path: &Path, cycles: &[Cycle], order: &Order) -> Duration {
    // Makes the tables.
    drop(volery::Sqlite::open(path).expect("it opens"));
    let file = Connection::open(path).expect("it opens");
    file.set_prepared_statement_cache_capacity(16);
    file.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -16384;
         PRAGMA temp_store = MEMORY;",
    )
    .expect("it is set");
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

/// An id as random as ours: their order in the indexes is what costs.
fn id(seq: u64) -> [u8; 16] {
    let mixed = |salt: u64| (seq ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).to_be_bytes();
    let mut id = [0; 16];
    // Ids of artifacts begin with their time.
    id[..8].copy_from_slice(&seq.to_be_bytes());
    id[8..].copy_from_slice(&mixed(7));
    id
}

fn run_id(seq: u64) -> [u8; 16] {
    let mut id = id(seq);
    id.reverse();
    id
}

fn publish(file: &Connection, seq: u64, payload: &str) -> rusqlite::Result<()> {
    let run = "INSERT INTO run VALUES (?1, 1, 'Order', 1, 0, 0, 0, 0, 0)";
    file.prepare_cached(run)?.execute([run_id(seq)])?;
    let artifact = "INSERT INTO artifact VALUES
        (?1, ?2, 1, 2, 1, ?3, ?4, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, ?5, ?6)";
    let crc = crc32fast::hash(payload.as_bytes());
    file.prepare_cached(artifact)?.execute(params![seq, id(seq), run_id(seq), seq, crc, payload])?;
    let claim = "INSERT INTO claim VALUES (1, ?1, 0, 1, NULL, NULL, NULL, NULL, NULL, NULL, 305419896)";
    file.prepare_cached(claim)?.execute([seq])?;
    Ok(())
}

fn start(file: &Connection, seq: u64) -> rusqlite::Result<()> {
    let started = "INSERT INTO started VALUES
        (1, ?1, ?2, 0, 0, 0, 0, ?1, 3, ?3, 0, ?1, NULL, 1, 0, 0, NULL, 1, 0, 0, 0)";
    file.prepare_cached(started)?.execute(params![seq, id(seq ^ 1 << 40), run_id(seq)])?;
    Ok(())
}

fn finish(file: &Connection, seq: u64) -> rusqlite::Result<()> {
    file.prepare_cached("DELETE FROM claim WHERE sub = 1 AND seq = ?1")?.execute([seq])?;
    let started = "DELETE FROM started WHERE sub = 1 AND seq = ?1 AND job = ?2";
    file.prepare_cached(started)?.execute(params![seq, id(seq ^ 1 << 40)])?;
    let outcome = "INSERT INTO outcome VALUES (?1, 1, 1, NULL, ?2, NULL, NULL)";
    file.prepare_cached(outcome)?.execute(params![seq, id(seq ^ 1 << 40)])?;
    let run = "UPDATE run SET consumed = consumed + 1 WHERE run = ?1";
    file.prepare_cached(run)?.execute([run_id(seq)])?;
    Ok(())
}
