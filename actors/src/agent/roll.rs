//! The roll: which attempts are running, for whoever has to name them when nobody can be asked any more.
//!
//! The board knows what should run; the roll knows what does, down to a function that still blocks its thread. An attempt
//! enters itself and leaves by being dropped. Reading never waits for an actor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustc_hash::FxHashMap;
use volery_blackboard::{AgentName, JobId, Timestamp};

use crate::root::{Held, Hold, Protection};

/// Locks that the entries are spread over, so that attempts which begin and end at once seldom meet. A power of two;
/// fewer than the worker threads would be felt, more would not.
const SHARDS: usize = 16;

type Shard = Mutex<FxHashMap<u64, Weak<Entry>>>;

/// Every running attempt of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    shards: [Shard; SHARDS],
    next: AtomicU64,
    running: Arc<Hold>,
    protected: Arc<Hold>,
}

/// One running attempt. It leaves the roll when it is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    roll: Arc<Roll>,
    key: u64,
    pub(crate) agent: AgentName,
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
    pub(crate) since: Timestamp,
    protected: Hold,
    _running: Held,
}

impl Roll {
    /// Enters an attempt.
    pub(crate) fn enter(
        self: &Arc<Self>,
        agent: AgentName,
        (job, attempt): (JobId, u32),
        since: Timestamp,
    ) -> Arc<Entry> {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let (roll, protected, running) = (Arc::clone(self), Hold::default(), self.running.take());
        let entry = Arc::new(Entry { roll, key, agent, job, attempt, since, protected, _running: running });
        self.shard(key).insert(key, Arc::downgrade(&entry));
        entry
    }

    /// Lists who is running, the longest first.
    pub(crate) fn call(&self) -> Vec<Arc<Entry>> {
        let mut present = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            present.extend(shard.values().filter_map(Weak::upgrade));
        }
        present.sort_by_key(|entry| (entry.since, entry.key));
        present
    }

    /// Waits until nothing runs. Cancel safe.
    pub(crate) async fn empty(&self) {
        self.running.free().await;
    }

    /// Tells whether an attempt is in a protected section.
    pub(crate) fn has_protected(&self) -> bool {
        self.protected.count() > 0
    }

    /// Waits until no attempt is in a protected section. Cancel safe.
    pub(crate) async fn unprotected(&self) {
        self.protected.free().await;
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, FxHashMap<u64, Weak<Entry>>> {
        let index = usize::try_from(key % SHARDS as u64).unwrap_or_default();
        // Every change to the map is a single step; a panic cannot leave it half-changed.
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Begins a protected section.
    pub(crate) fn protect(self: &Arc<Self>) -> Protection {
        self.protected.raise();
        Protection::of_attempt(Section(Arc::clone(self)), &self.roll.protected)
    }

    pub(crate) fn is_protected(&self) -> bool {
        self.protected.count() > 0
    }

    /// Waits until the attempt is in no protected section. Cancel safe.
    pub(crate) async fn unprotected(&self) {
        self.protected.free().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.roll.shard(self.key).remove(&self.key);
    }
}

/// One protected section of an attempt.
struct Section(Arc<Entry>);

impl Drop for Section {
    fn drop(&mut self) {
        self.0.protected.lower();
    }
}
