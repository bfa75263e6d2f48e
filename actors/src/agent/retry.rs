//! Retry: how many attempts a job gets, how long to wait between them, and which errors are worth another.
//!
//! Pure: no I/O, no clock, no randomness; jitter is derived from the job, so that a repeat waits as long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::fault::Fault;

/// The longest wait between attempts by default. Half would hammer a service that is down for minutes; twice
/// would leave work idle long after it is back.
const CAP_DEFAULT: Duration = Duration::from_secs(60);

type Worth = Arc<dyn Fn(&Fault) -> bool + Send + Sync>;

/// A retry policy. The default is a single attempt.
#[derive(Clone)]
#[must_use]
pub struct Retry {
    attempts: u32,
    first: Duration,
    factor: u32,
    cap: Duration,
    jitter: f64,
    worth: Option<Worth>,
}

impl Retry {
    /// Gives a job one attempt.
    pub fn none() -> Self {
        Self::fixed(1, Duration::ZERO)
    }

    /// Gives a job `attempts` attempts in all, with the same wait between them. 0 counts as 1.
    pub fn fixed(attempts: u32, wait: Duration) -> Self {
        Self {
            attempts: attempts.max(1),
            first: wait,
            factor: 1,
            cap: CAP_DEFAULT.max(wait),
            jitter: 0.0,
            worth: None,
        }
    }

    /// Gives a job `attempts` attempts in all; the wait doubles from `first`, up to 60 s, or up to `first` if
    /// that is longer, and is shortened by up to a fifth at random so that failures do not return in step. 0
    /// attempts count as 1.
    pub fn exponential(attempts: u32, first: Duration) -> Self {
        Self { factor: 2, jitter: 0.2, ..Self::fixed(attempts, first) }
    }

    /// Waits at most this long. Default: 60 s, or the first wait if that is longer.
    pub fn cap(self, cap: Duration) -> Self {
        Self { cap, ..self }
    }

    /// Shortens each wait by up to this share of it, between 0 and 1.
    pub fn jitter(self, share: f64) -> Self {
        Self { jitter: if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }, ..self }
    }

    /// Retries only errors for which this is true; others fail the job at once. A panic inside counts as
    /// false.
    pub fn only_if(self, worth: impl Fn(&Fault) -> bool + Send + Sync + 'static) -> Self {
        Self { worth: Some(Arc::new(worth)), ..self }
    }

    /// Tells whether attempts are left after so many failures.
    pub(crate) fn allows_more(&self, failures: u32) -> bool {
        failures < self.attempts
    }

    /// Returns the wait before the next attempt, or `None` when the job is to be given up.
    ///
    /// `failures` counts the failed attempts, this one included. `seed` decides the jitter.
    pub(crate) fn wait_after(&self, failures: u32, error: &Fault, seed: u64) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        let worth = self.worth.as_ref().is_none_or(|worth| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worth(error))).unwrap_or(false)
        });
        worth.then(|| self.wait(failures, seed))
    }

    fn wait(&self, failures: u32, seed: u64) -> Duration {
        let growth = self.factor.saturating_pow(failures.saturating_sub(1).min(31));
        let full = self.first.saturating_mul(growth).min(self.cap);
        // The upper 53 bits make an even fraction between 0 and 1.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
        let share = (seed >> 11) as f64 / (1_u64 << 53) as f64;
        let shortened = full.as_secs_f64() * (1.0 - self.jitter * share);
        // A wait that cannot be computed exactly is so long that its jitter does not matter.
        if self.jitter == 0.0 { full } else { Duration::try_from_secs_f64(shortened).unwrap_or(full) }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("first", &self.first)
            .field("factor", &self.factor)
            .field("cap", &self.cap)
            .field("jitter", &self.jitter)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(retry: &Retry, seed: u64) -> Vec<Option<u128>> {
        let error: Fault = "down".into();
        (1..=6).map(|n| retry.wait_after(n, &error, seed).map(|wait| wait.as_millis())).collect()
    }

    #[test]
    fn exponential_waits_double_up_to_the_cap() {
        let retry = Retry::exponential(5, Duration::from_millis(200)).jitter(0.0).cap(Duration::from_secs(1));
        assert_eq!(waits(&retry, 0), [Some(200), Some(400), Some(800), Some(1000), None, None]);
    }

    #[test]
    fn jitter_only_shortens_and_repeats_for_the_same_seed() {
        let retry = Retry::exponential(3, Duration::from_millis(1_000));
        for seed in [0, 1 << 40, u64::MAX] {
            let wait = waits(&retry, seed)[0].expect("a second attempt is due");
            assert!((800..=1_000).contains(&wait), "{wait}");
            assert_eq!(waits(&retry, seed), waits(&retry, seed));
        }
    }

    #[test]
    fn the_longest_wait_is_no_panic() {
        let error: Fault = "down".into();
        for retry in [Retry::fixed(3, Duration::MAX), Retry::fixed(3, Duration::MAX).jitter(1.0)] {
            assert!(retry.wait_after(1, &error, 0).is_some());
        }
    }

    #[test]
    fn errors_not_worth_it_end_the_job() {
        let retry = Retry::fixed(3, Duration::ZERO).only_if(|error| error.to_string().contains("again"));
        assert!(retry.wait_after(1, &"try again".into(), 0).is_some());
        assert!(retry.wait_after(1, &"bad input".into(), 0).is_none());
        let panics = Retry::fixed(3, Duration::ZERO).only_if(|_| panic!("no"));
        assert!(panics.wait_after(1, &"x".into(), 0).is_none());
    }
}
