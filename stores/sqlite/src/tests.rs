//! The SQLite store against the conformance suite, damaged files, and the plans of its statements.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;
use volery_blackboard::claim::Claim;
use volery_blackboard::store::conformance::{Stores, block_on, check};
use volery_blackboard::store::{
    Catalogue, Cursor, DeadFilter, Few, History, Letters, Log, NewArtifact, Note, Response, Retained,
    Retention, Store, StoreError, SummaryBy, Unfinished, Write, Written,
};
use volery_blackboard::{
    Artifact, ArtifactId, Body, Filter, Kind, Kinds, RunId, SubscriptionIndex, Timestamp,
};

use crate::{Durability, Sqlite, schema};

mod faults;
mod letters;
mod lives;
mod plans;
mod queries;
mod upgrades;

/// A folder that is gone when the test is over.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("volery-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Self(folder)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("store.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0).err());
    }
}

/// Stores in files of one folder.
struct Files {
    scratch: Scratch,
    made: AtomicU64,
    dies_often: bool,
    cache: usize,
}

impl Files {
    fn new(dies_often: bool, cache: usize) -> Self {
        Self { scratch: Scratch::new(), made: AtomicU64::new(0), dies_often, cache }
    }

    fn at(&self, path: &Path) -> Arc<dyn Store> {
        let options = Sqlite::options(path).cache(self.cache, 1 << 20);
        // The suite's assertions do not depend on the disk, and it writes a thousand times.
        Arc::new(options.durability(Durability::OsCrashMayLoseLastMs).open().expect("it opens"))
    }
}

impl Stores for Files {
    fn fresh(&self) -> Arc<dyn Store> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.at(&self.scratch.0.join(format!("{number}.db")))
    }

    fn reborn(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let path = PathBuf::from(store.name());
        block_on(store.close()).expect("it closes");
        self.at(&path)
    }

    fn dies_often(&self) -> bool {
        self.dies_often
    }
}

#[test]
fn the_sqlite_store_conforms() {
    block_on(check(&Files::new(false, 10_000)));
}

#[test]
fn the_sqlite_store_conforms_without_its_cache() {
    block_on(check(&Files::new(false, 0)));
}

#[test]
fn the_sqlite_store_conforms_when_it_is_opened_anew_after_every_write() {
    block_on(check(&Files::new(true, 10_000)));
}

pub(super) fn catalogue() -> Catalogue {
    let mut kinds = Kinds::new();
    kinds.register::<u32>().expect("one type has the name");
    Catalogue {
        kinds,
        agents: vec!["reader".into()],
        subscriptions: vec!["reader/0".to_owned()],
        ..Catalogue::default()
    }
}

/// Opens the store of a test.
pub(super) fn open(path: &Path) -> Result<Sqlite, StoreError> {
    let store = Sqlite::open(path)?;
    block_on(store.open(catalogue()))?;
    Ok(store)
}

pub(super) fn run(number: u128) -> RunId {
    RunId::from_uuid(Uuid::from_u128(number))
}

pub(super) fn number(value: u32) -> Artifact {
    let id = ArtifactId::from_uuid(Uuid::from_u128(1_000 + u128::from(value)));
    let at = Timestamp::from_micros_since_epoch(i64::from(value) * 1_000_000);
    Artifact::new(id, Kind::of::<u32>(), Body::typed(Arc::new(value)), run(1), at)
}

pub(super) fn claim() -> Claim {
    Claim {
        subscription: SubscriptionIndex(0),
        side: 0,
        weight: 1,
        key: None,
        lane: None,
        event_time: None,
        visible_at: None,
        refused: None,
        marks: None,
    }
}

pub(super) fn publish(artifact: Artifact, claims: Vec<Claim>) -> NewArtifact {
    NewArtifact { artifact: Arc::new(artifact), workflow: Arc::from("test"), claims: claims.into() }
}

pub(super) fn commit(store: &Sqlite, writes: Vec<Write>) -> Result<Vec<Written>, StoreError> {
    block_on(store.commit(writes).wait())
}

/// Publishes claimed numbers, one write each.
pub(super) fn fill(store: &Sqlite, numbers: std::ops::Range<u32>) -> Result<(), StoreError> {
    let write = |n| Write::Publish(Few::from([publish(number(n), vec![claim()])]));
    for result in commit(store, numbers.map(write).collect())? {
        assert!(matches!(result, Written::Done(_)), "it is written: {result:?}");
    }
    Ok(())
}

/// Every number in the store, read back.
pub(super) fn numbers(store: &Sqlite) -> Result<Vec<u32>, StoreError> {
    let page = block_on(store.find(&Filter::all()))?;
    let read = |artifact: &Arc<Artifact>| *artifact.payload::<u32>().expect("it is a number");
    Ok(page.artifacts.iter().map(read).collect())
}

/// A policy with one bound.
pub(super) fn bound(set: impl FnOnce(&mut Retention)) -> Retention {
    let mut policy = Retention::default();
    set(&mut policy);
    policy
}
