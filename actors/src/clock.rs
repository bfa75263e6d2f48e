//! The one home of time and chance: reads clocks, makes ids, waits for points in time.
//!
//! Wall-clock time is read once, when the runtime starts; from then on it is that reading plus what the
//! monotonic clock (tokio's, so that paused tests own it) has counted. A wall clock that jumps therefore
//! moves nothing.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::time::Instant;
use uuid::Builder;
use volery_blackboard::{ArtifactId, RunId, Timestamp};

/// A runtime's clock and source of ids. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    started: Instant,
    started_at: Timestamp,
    seed: u64,
    drawn: AtomicU64,
}

impl Clock {
    /// Reads the system's clock and draws a seed from the system.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this file is the home of time")]
    pub fn system() -> Self {
        // The standard library seeds every RandomState from the system's randomness.
        let seed = RandomState::new().build_hasher().finish();
        Self::new(Timestamp::from(SystemTime::now()), Instant::now(), seed)
    }

    /// Starts at a given time with a given seed: the same ids every time, for tests.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this file is the home of time")]
    pub fn fixed(started_at: Timestamp, seed: u64) -> Self {
        Self::new(started_at, Instant::now(), seed)
    }

    fn new(started_at: Timestamp, started: Instant, seed: u64) -> Self {
        Self(Arc::new(Parts { started, started_at, seed, drawn: AtomicU64::new(0) }))
    }

    /// Returns the time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this file is the home of time")]
    pub fn now(&self) -> Timestamp {
        self.0.started_at.after(Instant::now().duration_since(self.0.started))
    }

    /// Waits until a point in time; at once when it has passed. Cancel safe.
    pub async fn sleep_until(&self, time: Timestamp) {
        tokio::time::sleep_until(self.0.started + time.since(self.0.started_at)).await;
    }

    /// Tells whether tokio's time is paused, so that it moves only when nothing else does.
    ///
    /// Tokio has no question for it; but over a sleep of the thread a clock that runs has moved.
    #[cfg(feature = "testing")]
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this file is the home of time")]
    pub fn is_paused() -> bool {
        let before = Instant::now();
        // Longer than the step of any system's clock.
        std::thread::sleep(std::time::Duration::from_millis(1));
        Instant::now() == before
    }

    /// Makes an artifact id.
    #[must_use]
    pub fn artifact_id(&self, now: Timestamp) -> ArtifactId {
        ArtifactId::from_uuid(self.uuid(now))
    }

    /// Makes a run id.
    #[must_use]
    pub fn run_id(&self, now: Timestamp) -> RunId {
        RunId::from_uuid(self.uuid(now))
    }

    /// Draws a number: unpredictable enough to spread load, not for secrets.
    #[must_use]
    pub fn draw(&self) -> u64 {
        mix(self.0.seed ^ mix(self.0.drawn.fetch_add(1, Ordering::Relaxed)))
    }

    fn uuid(&self, now: Timestamp) -> uuid::Uuid {
        let mut tail = [0_u8; 10];
        tail[..8].copy_from_slice(&self.draw().to_le_bytes());
        tail[8..].copy_from_slice(&self.draw().to_le_bytes()[..2]);
        Builder::from_unix_timestamp_millis(now.as_millis_since_epoch(), &tail).into_uuid()
    }
}

/// Measures a span of real time, whatever a test has done to the runtime's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this file is the home of time")]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn elapsed(self) -> std::time::Duration {
        self.0.elapsed()
    }
}

/// The finaliser of SplitMix64: turns a counter into well-spread bits.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_is_tokios() {
        let clock = Clock::fixed(Timestamp::from_millis_since_epoch(1_000), 7);
        let then = clock.now().after(Duration::from_secs(3_600));
        clock.sleep_until(then).await;
        assert_eq!(clock.now(), then);
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn a_paused_clock_is_told_from_one_that_runs() {
        assert!(!Clock::is_paused());
        tokio::time::pause();
        assert!(Clock::is_paused());
        tokio::time::resume();
        assert!(!Clock::is_paused());
    }

    #[tokio::test]
    async fn ids_differ_and_a_seed_repeats_them() {
        let at = Timestamp::from_millis_since_epoch(1_000);
        let (one, other) = (Clock::fixed(at, 7), Clock::fixed(at, 7));
        let ids: Vec<_> = (0..100).map(|_| one.artifact_id(at)).collect();
        let again: Vec<_> = (0..100).map(|_| other.artifact_id(at)).collect();
        assert_eq!(ids, again);
        let distinct: std::collections::HashSet<_> = ids.into_iter().collect();
        assert_eq!(distinct.len(), 100);
    }
}
