//! Polls: whether a future is being polled at this moment, and since when.
//!
//! A watch notes the beginning and the end of each poll in a number of its own: two relaxed stores and a
//! relaxed load, no clock. The number is the count of looks so far, which only the sentry's thread raises; a
//! poll that outlives several looks has lasted that many of its periods.

use std::sync::atomic::{AtomicU64, Ordering};

/// Nobody polls.
const IDLE: u64 = 0;

/// Looks of the sentry so far, counted from 1.
#[derive(Debug)]
pub(crate) struct Looks(AtomicU64);

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

/// The watch of one future, or of several that are polled one at a time: the look at which the present poll
/// began.
#[derive(Debug, Default)]
pub(super) struct PollWatch(AtomicU64);

impl PollWatch {
    /// Watches one poll; a panic ends it as well.
    pub(super) fn during<T>(&self, looks: &Looks, poll: impl FnOnce() -> T) -> T {
        self.0.store(looks.0.load(Ordering::Relaxed), Ordering::Relaxed);
        let polling = Polling(self);
        let polled = poll();
        drop(polling);
        polled
    }

    /// Returns how many looks ago the present poll began; 0 when there is none.
    pub(super) fn looks_in_poll(&self, look: u64) -> u64 {
        match self.0.load(Ordering::Relaxed) {
            IDLE => 0,
            began => look.saturating_sub(began),
        }
    }
}

struct Polling<'a>(&'a PollWatch);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.0.store(IDLE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_poll_grows_older_with_every_look_until_it_ends() {
        let (looks, watch) = (Looks::default(), PollWatch::default());
        let in_poll = || watch.looks_in_poll(looks.look());
        for _ in 0..2 {
            watch
                .during(&looks, || assert_eq!([in_poll(), in_poll()], [1, 2], "each poll counts for itself"));
            assert_eq!(in_poll(), 0, "between two polls it is in none");
        }
    }

    #[test]
    fn a_poll_that_panics_has_ended() {
        let (looks, watch) = (Looks::default(), PollWatch::default());
        let panics = || watch.during(&looks, || panic!("an invariant is broken"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(watch.looks_in_poll(looks.look()), 0);
    }
}
