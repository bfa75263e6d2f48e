//! Watches: whether a future is being polled at this moment, and since when.
//!
//! Whoever is watched notes the beginning and the end of each poll in a number of its own: two relaxed stores and a relaxed
//! load, no clock. What it notes is the count of looks so far, which only the sentry's thread raises; a poll that outlives
//! several looks has lasted that many of its periods.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

/// Nobody polls.
const IDLE: u64 = 0;

/// Looks of the sentry so far, counted from 1.
#[derive(Debug)]
pub(super) struct Looks(AtomicU64);

impl Looks {
    /// Counts one more look, and returns it.
    pub(super) fn look(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Default for Looks {
    fn default() -> Self {
        Self(AtomicU64::new(1))
    }
}

/// One that is watched: the look at which its present poll began.
#[derive(Debug, Default)]
pub(super) struct Watch(AtomicU64);

impl Watch {
    /// Runs a future under watch, one at a time. Cancel safe if the future is.
    pub(super) async fn over<F: Future>(&self, looks: &Looks, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|context| {
            let polling = self.polling(looks);
            let polled = work.as_mut().poll(context);
            drop(polling);
            polled
        })
        .await
    }

    /// Notes a poll until the result is dropped: a panic ends it as well.
    fn polling(&self, looks: &Looks) -> impl Drop + use<'_> {
        self.0.store(looks.0.load(Ordering::Relaxed), Ordering::Relaxed);
        Polling(self)
    }

    /// Returns how many looks ago the present poll began; 0 when there is none.
    pub(super) fn looks_in_poll(&self, look: u64) -> u64 {
        match self.0.load(Ordering::Relaxed) {
            IDLE => 0,
            began => look.saturating_sub(began),
        }
    }
}

struct Polling<'a>(&'a Watch);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.0.store(IDLE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_is_in_a_poll_only_while_it_is_polled() {
        let (looks, watch) = (Looks::default(), Watch::default());
        let in_poll = || watch.looks_in_poll(looks.look());
        watch
            .over(&looks, async {
                assert_eq!(in_poll(), 1);
                assert_eq!(in_poll(), 2, "a poll that goes on grows older");
                tokio::task::yield_now().await;
                assert_eq!(in_poll(), 1, "each poll counts for itself");
            })
            .await;
        assert_eq!(in_poll(), 0, "one that has ended is not polled");
    }

    #[tokio::test]
    async fn a_future_that_waits_is_not_in_a_poll_and_neither_is_one_that_panicked() {
        let (looks, watch) = (Looks::default(), Watch::default());
        {
            let mut work = pin!(watch.over(&looks, std::future::pending::<()>()));
            assert!(futures_util::poll!(work.as_mut()).is_pending());
            assert_eq!(watch.looks_in_poll(looks.look()), 0);
        }
        let panics = watch.over(&looks, async { panic!("an invariant is broken") });
        let panicked = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(panics)).await;
        assert!(panicked.is_err() && watch.looks_in_poll(looks.look()) == 0);
    }
}
