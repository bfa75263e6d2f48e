//! Watches: which attempts run, and which of them is being polled at this moment.
//!
//! An attempt notes the beginning and the end of each poll of its engine in a number of its own: two relaxed stores and a
//! relaxed load, no clock. What it notes is the count of looks so far, which only the sentry's thread raises; a poll that
//! outlives several looks has lasted that many of its periods.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use volery_blackboard::{AgentName, JobId, Timestamp};

/// Not being polled.
const IDLE: u64 = 0;

/// The attempts of a runtime that are running.
#[derive(Debug)]
pub(crate) struct Watches {
    /// Looks of the sentry so far, counted from 1.
    looks: AtomicU64,
    numbered: AtomicU64,
    running: Mutex<FxHashMap<u64, Arc<Watch>>>,
}

/// One attempt that is running.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) agent: AgentName,
    pub(super) job: JobId,
    pub(super) attempt: u32,
    pub(super) began: Timestamp,
    pub(super) expected: Option<Duration>,
    /// The look at which the present poll began, or [`IDLE`].
    polled_at: AtomicU64,
}

/// Whose attempt is watched.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    pub(crate) agent: &'a AgentName,
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
    pub(crate) began: Timestamp,
    pub(crate) expected: Option<Duration>,
}

impl Watches {
    pub(crate) fn new() -> Self {
        Self { looks: AtomicU64::new(1), numbered: AtomicU64::new(0), running: Mutex::default() }
    }

    /// Runs the engine's future under watch. Cancel safe if the future is.
    pub(crate) async fn over<F: Future>(&self, watched: Watched<'_>, work: F) -> F::Output {
        let entry = self.enter(watched);
        let mut work = pin!(work);
        poll_fn(|context| {
            entry.watch.polled_at.store(self.looks.load(Ordering::Relaxed), Ordering::Relaxed);
            let polled = work.as_mut().poll(context);
            entry.watch.polled_at.store(IDLE, Ordering::Relaxed);
            polled
        })
        .await
    }

    /// Counts one more look, and returns it.
    pub(super) fn look(&self) -> u64 {
        self.looks.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the attempts that `pick` takes.
    pub(super) fn running(&self, pick: impl Fn(&Watch) -> bool) -> Vec<Arc<Watch>> {
        self.lock().values().filter(|watch| pick(watch)).cloned().collect()
    }

    fn enter(&self, watched: Watched<'_>) -> Entry<'_> {
        let Watched { agent, job, attempt, began, expected } = watched;
        let polled_at = AtomicU64::new(IDLE);
        let watch = Arc::new(Watch { agent: agent.clone(), job, attempt, began, expected, polled_at });
        let number = self.numbered.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&watch));
        Entry { watches: self, number, watch }
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<u64, Arc<Watch>>> {
        // Single steps on plain data; nothing under the lock can panic.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Returns how many looks ago the present poll began; 0 when there is none.
    pub(super) fn looks_in_poll(&self, look: u64) -> u64 {
        match self.polled_at.load(Ordering::Relaxed) {
            IDLE => 0,
            began => look.saturating_sub(began),
        }
    }
}

/// An attempt in the list, for as long as its future lives.
struct Entry<'a> {
    watches: &'a Watches,
    number: u64,
    watch: Arc<Watch>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.watches.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_is_in_a_poll_only_while_it_is_polled() {
        let watches = Watches::new();
        let agent = AgentName::from("clerk");
        let (job, began) = (JobId::derive("clerk/0", Timestamp::MIN, std::iter::empty()), Timestamp::MIN);
        let watched = Watched { agent: &agent, job, attempt: 1, began, expected: None };
        let in_poll = || {
            let look = watches.look();
            watches.running(|_| true).iter().map(|watch| watch.looks_in_poll(look)).collect::<Vec<_>>()
        };
        watches
            .over(watched, async {
                assert_eq!(in_poll(), [1]);
                assert_eq!(in_poll(), [2], "a poll that goes on grows older");
                tokio::task::yield_now().await;
                assert_eq!(in_poll(), [1], "each poll counts for itself");
            })
            .await;
        assert!(in_poll().is_empty(), "an attempt that has ended is not watched");
    }

    #[tokio::test]
    async fn an_attempt_that_is_dropped_is_not_watched_any_more() {
        let watches = Watches::new();
        let agent = AgentName::from("clerk");
        let (job, began) = (JobId::derive("clerk/0", Timestamp::MIN, std::iter::empty()), Timestamp::MIN);
        let watched = Watched { agent: &agent, job, attempt: 1, began, expected: None };
        {
            let mut work = pin!(watches.over(watched, std::future::pending::<()>()));
            let pending = futures_util::poll!(work.as_mut()).is_pending();
            assert!(pending && watches.running(|_| true).len() == 1);
            assert_eq!(watches.running(|watch| watch.looks_in_poll(9) > 0).len(), 0, "it is idle");
        }
        assert!(watches.running(|_| true).is_empty());
    }
}
