//! The roll: which attempts are running, and what is known of each, for whoever asks: the agent's actor, which cancels, the
//! lookout and its sentry, the list of what runs, and the keeper that has to name whoever is left.
//!
//! The board knows what should run; the roll knows what does, down to a function that still blocks its thread. An attempt
//! is entered by its actor, and leaves when the last who keeps it there lets go. Reading never waits for an actor, and
//! never keeps anybody on the roll.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustc_hash::FxHashMap;
use volery_blackboard::{AgentName, JobId, Timestamp};

use super::pulse::{Beat, Pulse};
use super::watch::{Looks, Watch};
use crate::hold::{Hold, Protection};

/// Locks that the entries are spread over, so that attempts which begin and end at once seldom meet. A power of two;
/// fewer than the worker threads would be felt, more would not.
const SHARDS: usize = 16;

type Shard = Mutex<FxHashMap<usize, Arc<Entry>>>;

/// Every running attempt of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    shards: [Shard; SHARDS],
    next: AtomicUsize,
    running: Hold,
    protected: Arc<Hold>,
    looks: Looks,
}

/// One attempt. It is on the roll while somebody has its [`Presence`], and can be read longer.
pub(crate) struct Entry {
    roll: Arc<Roll>,
    key: usize,
    pub(crate) agent: AgentName,
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
    pub(crate) since: Timestamp,
    /// How long its engine should take at most; none for one that calls no engine.
    expected: Option<Duration>,
    pub(super) pulse: Pulse,
    watch: Watch,
    /// Tasks that its engine started beside itself.
    children: Mutex<Vec<Weak<Watch>>>,
    protected: Hold,
    /// Who keeps it on the roll.
    present: AtomicUsize,
    /// Its engine, or its fallback, is being run.
    at_work: AtomicUsize,
}

/// What is known of an attempt when it begins.
pub(super) struct Entering {
    pub(super) agent: AgentName,
    pub(super) job: JobId,
    pub(super) attempt: u32,
    pub(super) since: Timestamp,
    pub(super) expected: Option<Duration>,
    pub(super) pulse: Pulse,
}

/// Keeps an attempt on the roll.
#[derive(Debug)]
pub(crate) struct Presence(Arc<Entry>);

impl Roll {
    /// Enters an attempt.
    pub(super) fn enter(self: &Arc<Self>, entering: Entering) -> Presence {
        let Entering { agent, job, attempt, since, expected, pulse } = entering;
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry {
            roll: Arc::clone(self),
            key,
            agent,
            job,
            attempt,
            since,
            expected,
            pulse,
            watch: Watch::default(),
            children: Mutex::default(),
            protected: Hold::default(),
            present: AtomicUsize::new(1),
            at_work: AtomicUsize::new(0),
        });
        self.running.raise();
        self.shard(key).insert(key, Arc::clone(&entry));
        Presence(entry)
    }

    /// Lists who is running, the longest first.
    pub(crate) fn call(&self) -> Vec<Arc<Entry>> {
        let mut present = self.pick(|_| true);
        present.sort_by_key(|entry| (entry.since, entry.key));
        present
    }

    /// Lists whom `picks` takes, in no order.
    pub(crate) fn pick(&self, picks: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let mut picked = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            picked.extend(shard.values().filter(|entry| picks(entry)).cloned());
        }
        picked
    }

    /// Counts one more look at who is being polled, and returns it.
    pub(crate) fn look(&self) -> u64 {
        self.looks.look()
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

    fn shard(&self, key: usize) -> MutexGuard<'_, FxHashMap<usize, Arc<Entry>>> {
        // Every change to the map is a single step; a panic cannot leave it half-changed.
        self.shards[key % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Keeps the attempt on the roll; `None` when it has left it.
    pub(super) fn stay(self: &Arc<Self>) -> Option<Presence> {
        let one_more = |present: usize| (present > 0).then_some(present + 1);
        let stays = self.present.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        stays.is_ok().then(|| Presence(Arc::clone(self)))
    }

    /// Tells whether it is on the roll.
    pub(crate) fn is_present(&self) -> bool {
        self.present.load(Ordering::Acquire) > 0
    }

    /// Begins a protected section; one that begins when the attempt has ended protects nothing.
    pub(super) fn protect(self: &Arc<Self>) -> Protection {
        self.stay().map_or_else(Protection::none, |presence| {
            self.protected.raise();
            Protection::of_attempt(Section(presence), &self.roll.protected)
        })
    }

    pub(crate) fn is_protected(&self) -> bool {
        self.protected.count() > 0
    }

    /// Waits until the attempt is in no protected section. Cancel safe.
    pub(super) async fn unprotected(&self) {
        self.protected.free().await;
    }

    /// Runs what the attempt is there for: its engine, or its fallback. Cancel safe if that is.
    pub(super) async fn watch<F: Future>(&self, work: F) -> F::Output {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        let at_work = AtWork(self);
        let ended = self.watch.over(&self.roll.looks, work).await;
        drop(at_work);
        ended
    }

    /// Runs a task beside the engine under watch. Does not keep the attempt on the roll.
    pub(super) fn watch_beside<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let (roll, watch) = (Arc::clone(&self.roll), Arc::new(Watch::default()));
        {
            let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
            children.retain(|child| child.strong_count() > 0);
            children.push(Arc::downgrade(&watch));
        }
        async move { watch.over(&roll.looks, work).await }
    }

    /// Returns how many looks ago the longest present poll of it began; 0 when it is not being polled.
    pub(crate) fn looks_in_poll(&self, look: u64) -> u64 {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let children = children.iter().filter_map(Weak::upgrade).map(|child| child.looks_in_poll(look));
        children.fold(self.watch.looks_in_poll(look), u64::max)
    }

    /// Returns how long it should take, if it is at work and takes longer by now.
    pub(crate) fn overdue(&self, now: Timestamp) -> Option<Duration> {
        let at_work = self.at_work.load(Ordering::Relaxed) > 0;
        self.expected.filter(|expected| at_work && now.since(self.since) > *expected)
    }

    /// Tells what it is at.
    pub(crate) fn beat(&self) -> Beat {
        self.pulse.look()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("agent", &self.agent)
            .field("job", &self.job)
            .field("attempt", &self.attempt)
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}

impl Presence {
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.0
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.0.present.fetch_sub(1, Ordering::AcqRel) == 1 {
            let gone = self.0.roll.shard(self.0.key).remove(&self.0.key);
            self.0.roll.running.lower();
            drop(gone);
        }
    }
}

/// An attempt that does what it is there for.
struct AtWork<'a>(&'a Entry);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One protected section of an attempt.
struct Section(Presence);

impl Drop for Section {
    fn drop(&mut self) {
        self.0.0.protected.lower();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Enters an attempt of a job.
    pub(crate) fn enter(roll: &Arc<Roll>, job: JobId, since: Timestamp) -> Presence {
        let (agent, pulse) = ("agent".into(), Pulse::new());
        roll.enter(Entering { agent, job, attempt: 1, since, expected: Some(Duration::from_secs(5)), pulse })
    }

    fn job() -> JobId {
        JobId::derive("agent/0", Timestamp::MIN, std::iter::empty())
    }

    #[test]
    fn an_attempt_is_on_the_roll_until_the_last_who_keeps_it_lets_go() {
        let roll = Arc::new(Roll::default());
        let presence = enter(&roll, job(), Timestamp::default());
        let entry = Arc::clone(presence.entry());
        let stays = entry.stay().expect("it is there");
        let read = roll.call();
        drop(presence);
        assert!(entry.is_present() && roll.call().len() == 1);
        drop(stays);
        assert!(!entry.is_present() && roll.call().is_empty(), "whoever reads keeps nobody there");
        assert!(entry.stay().is_none(), "and nobody comes back");
        drop(read);
    }

    #[tokio::test]
    async fn an_attempt_is_overdue_while_it_is_at_work_and_not_before_or_after() {
        let roll = Arc::new(Roll::default());
        let presence = enter(&roll, job(), Timestamp::default());
        let late = Timestamp::default().after(Duration::from_secs(6));
        let entry = presence.entry();
        assert_eq!(entry.overdue(late), None);
        entry
            .watch(async {
                assert_eq!(entry.overdue(late), Some(Duration::from_secs(5)));
                assert_eq!(entry.overdue(Timestamp::default()), None);
            })
            .await;
        assert_eq!(entry.overdue(late), None);
    }

    #[tokio::test]
    async fn a_task_beside_the_engine_is_watched_for_itself() {
        let roll = Arc::new(Roll::default());
        let presence = enter(&roll, job(), Timestamp::default());
        let entry = presence.entry();
        let child = entry.watch_beside(async {
            roll.look();
            entry.looks_in_poll(roll.look())
        });
        assert_eq!(child.await, 2);
        assert_eq!(entry.looks_in_poll(roll.look()), 0, "it has ended");
    }
}
