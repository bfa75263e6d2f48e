//! The in-memory store: the reference of a store, and the choice when nothing needs to survive.
//!
//! Everything is lost with the process. It survives the curator, so that a restarted board replays from it.
//! Finished artifacts beyond a limit are dropped, oldest first. No I/O, no clock.

use std::fmt;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Answer, Artifacts, Catalogue, Cursor, DeadFilter, DeadLetter, History, Inspected, Letters, Lineage, Log,
    Note, Response, Retained, Retention, StoreError, Summary, SummaryBy, Unfinished, Write, Written,
};
use crate::claim::{Backlog, Claimed};
use crate::filter::{Filter, Page};
use crate::id::{ArtifactId, Offset, RunId, SubscriptionIndex};
use crate::marks::Marks;
use crate::outcome::Tally;
use crate::time::Timestamp;

mod state;

use state::{Entry, State};

/// How many finished artifacts are kept by default: about 10 MiB of small ones, which a processor's cache
/// still covers in good part. A tenth would make queries forget at once; ten times as many cost every publish
/// half as much again in cache misses.
const KEEP_DEFAULT: usize = 10_000;

/// A store in memory.
pub struct Memory {
    state: Mutex<State>,
    keep: usize,
}

impl Memory {
    /// Returns an empty store that keeps the newest 10,000 finished artifacts.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::new(State::default()), keep: KEEP_DEFAULT }
    }

    /// Keeps this many finished artifacts. Unfinished ones are always kept.
    #[must_use]
    pub fn keep(self, finished: usize) -> Self {
        Self { keep: finished, ..self }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        // A panic while the lock was held would be a bug in this file; the data is plain and every write is
        // complete before the next begins, so it stays readable.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(StoreError::Closed { store: self.name() }) } else { Ok(state) }
    }

    fn answer<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Answer<'_, T> {
        let result = self.state().and_then(|mut state| read(&mut state));
        Box::pin(ready(result))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Log for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn system(&self) -> &'static str {
        "memory"
    }

    fn open(&self, catalogue: Catalogue) -> Answer<'_, ()> {
        self.answer(|state| {
            state.open(catalogue);
            Ok(())
        })
    }

    fn commit(&self, writes: Vec<Write>) -> Response<Vec<Written>> {
        let written = self.state().map(|mut state| {
            let results = writes.into_iter().map(|write| state.write(write)).collect();
            (results, state.forget_beyond(self.keep))
        });
        Response::Ready(written.map(|(results, gone)| {
            drop_apart(gone);
            results
        }))
    }

    fn read(&self, offsets: &[Offset]) -> Response<Artifacts> {
        let read = |state: MutexGuard<'_, State>| match offsets {
            [only] => state.artifact(*only).map(|artifact| [artifact].into()),
            several => several.iter().map(|offset| state.artifact(*offset)).collect(),
        };
        Response::Ready(self.state().and_then(read))
    }

    fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)> {
        self.answer(|state| Ok(state.unfinished(after, limit)))
    }

    fn tally(&self, run: RunId) -> Answer<'_, Tally> {
        self.answer(|state| Ok(state.tally(run)))
    }

    fn workflow(&self, run: RunId) -> Answer<'_, Option<Arc<str>>> {
        self.answer(|state| Ok(state.workflow(run)))
    }

    fn notes(&self) -> Answer<'_, Vec<Note>> {
        self.answer(|state| Ok(state.notes()))
    }

    fn marks(&self) -> Answer<'_, Vec<(SubscriptionIndex, Marks)>> {
        self.answer(|state| Ok(state.marks()))
    }

    fn claims<'a>(
        &'a self,
        subscriptions: &'a [SubscriptionIndex],
        after: Option<Offset>,
        limit: usize,
    ) -> Answer<'a, Vec<Claimed>> {
        self.answer(|state| Ok(state.claims(subscriptions, after, limit)))
    }

    fn backlog(&self) -> Answer<'_, Vec<Backlog>> {
        self.answer(|state| Ok(state.backlog()))
    }

    fn close(&self) -> Answer<'_, ()> {
        self.answer(|state| {
            state.closed = true;
            Ok(())
        })
    }
}

impl History for Memory {
    fn find<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Page> {
        self.answer(|state| Ok(state.find(filter)))
    }

    fn summary<'a>(&'a self, filter: &'a Filter, by: SummaryBy) -> Answer<'a, Vec<Summary>> {
        self.answer(|state| Ok(state.summary(filter, by)))
    }

    fn lineage(&self, artifact: ArtifactId) -> Answer<'_, Option<Lineage>> {
        self.answer(|state| Ok(state.lineage(artifact)))
    }

    fn retain<'a>(&'a self, policy: &'a Retention, now: Timestamp, limit: usize) -> Answer<'a, Retained> {
        let pruned = self.state().map(|mut state| state.prune(policy, now, limit));
        let letters = self.state().map(|mut state| state.prune_letters(policy, now, limit));
        let retained = pruned.and_then(|(gone, more)| {
            let (letters, more_letters) = letters?;
            Ok(Retained { removed: drop_apart(gone), letters, more: more || more_letters })
        });
        Box::pin(ready(retained))
    }
}

impl Letters for Memory {
    fn dead_letters<'a>(&'a self, filter: &'a DeadFilter) -> Answer<'a, Vec<DeadLetter>> {
        self.answer(|state| Ok(state.dead_letters(filter)))
    }

    fn dead_letter(&self, number: u64) -> Answer<'_, Option<Inspected>> {
        self.answer(|state| Ok(state.dead_letter(number)))
    }
}

/// Drops what was taken out, and counts it. Payloads run code of the user when they are dropped: not under
/// the lock, and their panics end here.
fn drop_apart(gone: Vec<Entry>) -> u64 {
    let count = gone.len() as u64;
    for entry in gone {
        drop(catch_unwind(AssertUnwindSafe(|| drop(entry))));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_that_stays_open_does_not_keep_the_places_of_all_that_follow() {
        use crate::store::{Few, NewArtifact, Write};

        let store = Memory::new().keep(10);
        let publish = |number: u32, claims: Arc<[crate::claim::Claim]>| {
            let id = crate::ArtifactId::from_uuid(uuid::Uuid::from_u128(u128::from(number)));
            let run = RunId::from_uuid(uuid::Uuid::from_u128(1));
            let body = crate::Body::typed(Arc::new(number));
            let at = crate::Timestamp::default();
            let artifact = crate::Artifact::new(id, crate::Kind::of::<u32>(), body, run, at);
            let publish = NewArtifact { artifact: Arc::new(artifact), workflow: Arc::from("test"), claims };
            Write::Publish(Few::from([publish]))
        };
        let viewer = crate::Viewer::default();
        let mut matcher = crate::matching::Matcher::new(1);
        let shape = crate::Shape::subscription(crate::shape::one::<u32>());
        matcher.add(crate::SubscriptionIndex(0), &shape, &viewer);
        let claims = {
            let body = crate::Body::typed(Arc::new(0_u32));
            let (id, run) = (uuid::Uuid::nil(), uuid::Uuid::nil());
            let (id, run) = (crate::ArtifactId::from_uuid(id), RunId::from_uuid(run));
            let at = crate::Timestamp::default();
            matcher.claims(&crate::Artifact::new(id, crate::Kind::of::<u32>(), body, run, at))
        };
        assert_eq!(claims.len(), 1);
        drop(store.commit(vec![publish(1, claims)]));
        for number in 2..50_000 {
            drop(store.commit(vec![publish(number, Arc::from([]))]));
        }
        let places = store.state().expect("the store is open").places_held();
        assert!(places < 10_000, "{places} places are held for 11 artifacts");
        let first = crate::store::conformance::block_on(store.read(&[Offset::new(1)]).wait());
        assert_eq!(first.expect("it is open").len(), 1);
    }

    fn place(number: u32, kind: crate::Kind, body: crate::Body, second: i64) -> super::super::Write {
        use super::super::{Few, NewArtifact, Write};
        let id = crate::ArtifactId::from_uuid(uuid::Uuid::from_u128(u128::from(number)));
        let run = RunId::from_uuid(uuid::Uuid::from_u128(1));
        let at = Timestamp::from_micros_since_epoch(second * 1_000_000);
        let artifact = crate::Artifact::new(id, kind, body, run, at);
        let publish =
            NewArtifact { artifact: Arc::new(artifact), workflow: Arc::from("test"), claims: Arc::from([]) };
        Write::Publish(Few::from([publish]))
    }

    /// A store with five numbers and five texts, published in turns, one a second, from second 1 on.
    fn mixed() -> Memory {
        let store = Memory::new();
        for second in 1..=10_u32 {
            let (kind, body) = match second % 2 {
                0 => (crate::Kind::of::<u32>(), crate::Body::typed(Arc::new(second))),
                _ => (crate::Kind::of::<String>(), crate::Body::typed(Arc::new(second.to_string()))),
            };
            drop(store.commit(vec![place(second, kind, body, i64::from(second))]));
        }
        store
    }

    fn retain(store: &Memory, policy: &Retention, limit: usize) -> (Retained, Vec<u64>) {
        use crate::store::conformance::block_on;
        let now = Timestamp::from_micros_since_epoch(10_000_000);
        let retained = block_on(store.retain(policy, now, limit)).expect("it is open");
        let page = block_on(store.find(&Filter::all())).expect("it is open");
        (retained, page.artifacts.iter().map(|artifact| artifact.offset().get()).collect())
    }

    #[test]
    fn retention_removes_what_is_too_old_and_what_is_too_many() {
        let of_age = Retention { age_max: Some(std::time::Duration::from_secs(2)), ..Retention::default() };
        assert_eq!(
            retain(&mixed(), &of_age, 100),
            (Retained { removed: 7, ..Retained::default() }, vec![8, 9, 10])
        );
        let of_count = Retention { count_max: Some(4), ..Retention::default() };
        assert_eq!(
            retain(&mixed(), &of_count, 100),
            (Retained { removed: 6, ..Retained::default() }, vec![7, 8, 9, 10])
        );
    }

    #[test]
    fn retention_stops_at_its_limit_and_says_so() {
        let store = mixed();
        let policy = Retention { count_max: Some(4), ..Retention::default() };
        assert_eq!(retain(&store, &policy, 5).0, Retained { removed: 5, letters: 0, more: true });
        assert_eq!(retain(&store, &policy, 5).0, Retained { removed: 1, ..Retained::default() });
        assert_eq!(retain(&store, &policy, 5).0, Retained::default(), "doing it again changes nothing");
    }

    #[test]
    fn retention_judges_a_kind_by_its_own_bounds() {
        let policy = Retention { count_max: Some(1), ..Retention::default() };
        let texts = crate::Kind::of::<String>();
        let kept = policy.clone().with_kind(texts.name(), crate::store::Bounds::default());
        assert_eq!(retain(&mixed(), &kept, 100).1, vec![1, 3, 5, 7, 9, 10], "texts have no bound");
        let few = policy.with_kind(texts.name(), crate::store::Bounds::count(2));
        assert_eq!(retain(&mixed(), &few, 100).1, vec![7, 9, 10]);
    }

    #[test]
    fn the_memory_store_conforms() {
        crate::store::conformance::block_on(crate::store::conformance::check(&|| Arc::new(Memory::new())));
    }
}
