//! Back-off: how long to wait before the next life of a child that keeps failing.
//!
//! Pure: no I/O, no clock. The random draw comes in as a number; `keeper.rs` does the waiting.

use std::time::Duration;

/// Waits longer and longer between the restarts of a failing child.
///
/// The wait before the n-th restart in a row is `first × factor^(n-1)`, at most `cap`, then shortened by
/// up to the share `jitter`. A life that lasted `healthy_after` or longer starts the count anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The wait before the first restart in a row.
    pub first: Duration,
    /// By how much each further wait grows; at least 1.
    pub factor: f64,
    /// The longest wait.
    pub cap: Duration,
    /// The share of each wait left to chance, from 0 (none) to 1 (anything from no wait to the full wait).
    /// It only shortens, so `cap` holds.
    pub jitter: f64,
    /// How long a life must last to count as healthy.
    pub healthy_after: Duration,
}

impl Backoff {
    /// Restarts at once, always. Only the intensity then bounds a crash loop.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            first: Duration::ZERO,
            factor: 1.0,
            cap: Duration::ZERO,
            jitter: 0.0,
            healthy_after: Duration::ZERO,
        }
    }

    /// Names what makes these numbers unusable, if anything does.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if !(self.factor.is_finite() && self.factor >= 1.0) {
            Some("backoff factor must be a number of at least 1")
        } else if !(0.0..=1.0).contains(&self.jitter) {
            Some("backoff jitter must lie between 0 and 1")
        } else if self.cap < self.first {
            Some("backoff cap must not be shorter than its first wait")
        } else {
            None
        }
    }

    /// The wait before the `nth` restart in a row (from 1), shortened by the share `draw` (0..1) of jitter.
    fn wait(&self, nth: u32, draw: f64) -> Duration {
        if self.first.is_zero() {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(nth.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.first.as_secs_f64() * self.factor.powi(exponent);
        let capped = grown.min(self.cap.as_secs_f64());
        // A float of at most `cap`, itself a Duration, cannot overflow; rounding up at the very top may.
        Duration::try_from_secs_f64(capped * (1.0 - self.jitter * draw)).unwrap_or(self.cap).min(self.cap)
    }
}

impl Default for Backoff {
    /// 50 ms, doubling up to 30 s, a fifth of it left to chance, healthy after a minute.
    ///
    /// Even the first restart waits, so a child that dies on every message cannot keep a core busy. A
    /// shorter `first` would mean hotter loops, a longer one a visible pause after a single hiccup.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            factor: 2.0,
            cap: Duration::from_secs(30),
            jitter: 0.2,
            healthy_after: Duration::from_secs(60),
        }
    }
}

/// The failures in a row of one child.
#[derive(Debug, Clone)]
pub(super) struct FailureStreak {
    terms: Backoff,
    failures: u32,
}

impl FailureStreak {
    pub(super) fn new(terms: Backoff) -> Self {
        Self { terms, failures: 0 }
    }

    /// Counts the failure of a life that was alive for `alive_for` and returns the wait before the next.
    ///
    /// A failed start passes `None`: it never was alive, hence never healthy.
    pub(super) fn failed(&mut self, alive_for: Option<Duration>, draw: f64) -> Duration {
        if alive_for.is_some_and(|spell| spell >= self.terms.healthy_after) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.terms.wait(self.failures, draw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn doubling() -> Backoff {
        Backoff { first: MS(100), factor: 2.0, cap: MS(500), jitter: 0.0, healthy_after: MS(1000) }
    }

    #[test]
    fn waits_gstreak_by_the_factor_up_to_the_cap() {
        let mut streak = FailureStreak::new(doubling());
        let waits: Vec<Duration> = (0..5).map(|_| streak.failed(Some(MS(1)), 0.0)).collect();
        assert_eq!(waits, [MS(100), MS(200), MS(400), MS(500), MS(500)]);
    }

    #[test]
    fn a_healthy_spell_starts_the_streak_anew() {
        let mut streak = FailureStreak::new(doubling());
        streak.failed(Some(MS(1)), 0.0);
        streak.failed(Some(MS(999)), 0.0);
        assert_eq!(streak.failed(Some(MS(1000)), 0.0), MS(100));
        assert_eq!(streak.failed(None, 0.0), MS(200));
    }

    #[test]
    fn jitter_shortens_by_its_share_at_most() {
        let jittered = Backoff { jitter: 0.5, ..doubling() };
        assert_eq!(jittered.wait(1, 0.0), MS(100));
        assert_eq!(jittered.wait(1, 1.0), MS(50));
    }

    #[test]
    fn none_never_waits() {
        let mut streak = FailureStreak::new(Backoff::none());
        assert!((0..100).all(|_| streak.failed(None, 0.7).is_zero()));
    }

    #[test]
    fn unusable_numbers_are_named() {
        assert_eq!(Backoff::default().problem(), None);
        assert_eq!(Backoff::none().problem(), None);
        for bad in [
            Backoff { factor: 0.5, ..doubling() },
            Backoff { factor: f64::NAN, ..doubling() },
            Backoff { jitter: 1.1, ..doubling() },
            Backoff { jitter: f64::NAN, ..doubling() },
            Backoff { cap: MS(1), ..doubling() },
        ] {
            assert!(bad.problem().is_some(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_wait_passes_the_cap_or_loses_more_than_the_jitter(
            first in 0u64..10_000,
            factor in 1.0f64..10.0,
            above in 0u64..100_000,
            jitter in 0.0f64..=1.0,
            nth in 1u32..10_000,
            draw in 0.0f64..1.0,
        ) {
            let cap = first + above;
            let terms = Backoff { first: MS(first), factor, cap: MS(cap), jitter, healthy_after: MS(1) };
            let full = terms.wait(nth, 0.0);
            let drawn = terms.wait(nth, draw);
            prop_assert!(full <= MS(cap) && full >= MS(first));
            prop_assert!(drawn <= full);
            prop_assert!(drawn.as_secs_f64() >= full.as_secs_f64() * (1.0 - jitter) - 1e-6);
        }
    }
}
