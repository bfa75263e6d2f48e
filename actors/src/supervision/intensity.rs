//! Restart intensity: how many restarts a sliding window of time allows.
//!
//! Pure: no I/O, no clock. Times are durations since the supervisor began; the caller passes `now`.

use std::collections::VecDeque;
use std::time::Duration;

/// Limits restarts: at most `restarts` of them within any span of `within`; one more gives up.
///
/// `restarts: 0` gives up at the first failure. `within` must not be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// How many restarts the window tolerates.
    pub restarts: u32,
    /// The length of the sliding window.
    pub within: Duration,
}

impl Default for Intensity {
    /// Five restarts in ten seconds: a fault of the moment passes, a crash loop under the default
    /// [`Backoff`](super::Backoff) trips it in about two seconds. Halved, two quick hiccups would take the
    /// tree down; doubled, a loop of crashes would run for a minute before it is noticed.
    fn default() -> Self {
        Self { restarts: 5, within: Duration::from_secs(10) }
    }
}

/// The restarts of the recent past, held against an [`Intensity`].
#[derive(Debug, Clone)]
pub(crate) struct RestartWindow {
    limit: Intensity,
    /// Oldest first; never more than `limit.restarts + 1`.
    times: VecDeque<Duration>,
}

impl RestartWindow {
    pub(crate) fn new(limit: Intensity) -> Self {
        Self { limit, times: VecDeque::new() }
    }

    /// Counts a restart at `now` and says whether the limit still holds.
    ///
    /// A restart counts while it is at most `within` old, the edge included.
    pub(crate) fn record(&mut self, now: Duration) -> bool {
        let oldest_kept = now.saturating_sub(self.limit.within);
        while self.times.front().is_some_and(|time| *time < oldest_kept) {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.times.len() <= self.limit.restarts as usize
    }

    /// Returns how many restarts counted at the last one.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(restarts: u32, within_ms: u64, at_ms: &[u64], expected: &[bool]) {
        let mut window = RestartWindow::new(Intensity { restarts, within: Duration::from_millis(within_ms) });
        let verdicts: Vec<bool> = at_ms.iter().map(|at| window.record(Duration::from_millis(*at))).collect();
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn one_restart_too_many_within_the_window_gives_up() {
        check(2, 100, &[0, 10, 20], &[true, true, false]);
    }

    #[test]
    fn restarts_older_than_the_window_are_forgotten() {
        check(2, 100, &[0, 10, 111, 112], &[true, true, true, true]);
    }

    #[test]
    fn a_restart_exactly_as_old_as_the_window_counts() {
        check(1, 100, &[0, 100], &[true, false]);
        check(1, 100, &[0, 101], &[true, true]);
    }

    #[test]
    fn zero_restarts_gives_up_at_the_first() {
        check(0, 100, &[0], &[false]);
    }

    proptest! {
        #[test]
        fn window_agrees_with_counting_all_past_restarts(
            restarts in 0u32..6,
            within in 1u64..200,
            gaps in proptest::collection::vec(0u64..120, 1..60),
        ) {
            let mut window = RestartWindow::new(Intensity { restarts, within: Duration::from_millis(within) });
            let mut past: Vec<u64> = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                past.push(now);
                let recent = past.iter().filter(|at| now - **at <= within).count();
                let holds = window.record(Duration::from_millis(now));
                prop_assert_eq!(holds, recent <= restarts as usize);
                if !holds {
                    break;
                }
            }
        }
    }
}
