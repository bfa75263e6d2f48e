//! The cache: the newest artifacts, as they were published.
//!
//! A job that starts right after its inputs were committed finds them here, as the values that they are;
//! nothing is read back or parsed. Bounded by number and by bytes of JSON; the oldest go first.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use volery_blackboard::store::Artifacts;
use volery_blackboard::{Artifact, Offset};

/// The bytes of an artifact beside its JSON, about.
const OVERHEAD: usize = 256;

#[derive(Debug)]
pub(super) struct Cache {
    entries: Mutex<Entries>,
    count_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Entries {
    held: FxHashMap<Offset, Arc<Artifact>>,
    order: VecDeque<(Offset, usize)>,
    bytes: usize,
}

impl Cache {
    pub(super) fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { entries: Mutex::default(), count_max, bytes_max }
    }

    /// Returns artifacts if all of them are here.
    pub(super) fn read(&self, offsets: &[Offset]) -> Option<Artifacts> {
        let entries = self.entries();
        offsets.iter().map(|offset| entries.held.get(offset).cloned()).collect()
    }

    /// Adds what was just committed, each with the length of its JSON.
    pub(super) fn add(&self, artifacts: impl IntoIterator<Item = (Arc<Artifact>, usize)>) {
        let mut gone = Vec::new();
        {
            let mut entries = self.entries();
            for (artifact, length) in artifacts {
                let (offset, bytes) = (artifact.offset(), length + OVERHEAD);
                entries.bytes += bytes;
                entries.order.push_back((offset, bytes));
                entries.held.insert(offset, artifact);
            }
            while entries.order.len() > self.count_max || entries.bytes > self.bytes_max {
                let Some((offset, bytes)) = entries.order.pop_front() else { break };
                entries.bytes -= bytes;
                gone.extend(entries.held.remove(&offset));
            }
        }
        drop_apart(gone);
    }

    /// Forgets artifacts that are not there any more.
    pub(super) fn remove(&self, offsets: &[u64]) {
        let gone: Vec<_> = {
            let mut entries = self.entries();
            offsets.iter().filter_map(|offset| entries.held.remove(&Offset::new(*offset))).collect()
        };
        drop_apart(gone);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No code of others runs under the lock, so that what a panic could leave behind is still in order.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops artifacts. Payloads run code of the user when they are dropped: not under the lock, and their panics
/// end here.
fn drop_apart(gone: Vec<Arc<Artifact>>) {
    for artifact in gone {
        drop(catch_unwind(AssertUnwindSafe(|| drop(artifact))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use volery_blackboard::{ArtifactId, Body, Kind, RunId, Timestamp};

    fn artifact(offset: u64) -> (Arc<Artifact>, usize) {
        let id = "00000000-0000-0000-0000-000000000000";
        let (id, run): (ArtifactId, RunId) = (id.parse().expect("an id"), id.parse().expect("an id"));
        let body = Body::typed(Arc::new(7_u32));
        let artifact = Artifact::new(id, Kind::of::<u32>(), body, run, Timestamp::default());
        (Artifact::at_offset(Arc::new(artifact), Offset::new(offset)), 44)
    }

    #[test]
    fn the_cache_holds_no_more_than_it_may() {
        let here = |cache: &Cache, offset| cache.read(&[Offset::new(offset)]).is_some();
        let by_count = Cache::new(2, usize::MAX);
        by_count.add((1..=3).map(artifact));
        assert_eq!([1, 2, 3].map(|offset| here(&by_count, offset)), [false, true, true]);
        let by_bytes = Cache::new(100, 700);
        by_bytes.add((1..=3).map(artifact));
        assert_eq!([1, 2, 3].map(|offset| here(&by_bytes, offset)), [false, true, true]);
        by_bytes.remove(&[2]);
        assert!(!here(&by_bytes, 2) && here(&by_bytes, 3));
        assert!(by_bytes.read(&[Offset::new(2), Offset::new(3)]).is_none(), "all or nothing");
    }
}
