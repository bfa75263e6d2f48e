//! Time as a value: points on the wall clock in microseconds.
//!
//! Nothing here reads a clock; callers pass `now` in. Pure: no I/O, no clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since the Unix epoch, negative before it.
///
/// Arithmetic saturates at the ends of the range (about 292,000 years), so that no input can make it panic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time.
    pub const MAX: Self = Self(i64::MAX);

    /// Returns the time this many microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros_since_epoch(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the time this many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis_since_epoch(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Returns microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros_since_epoch(self) -> i64 {
        self.0
    }

    /// Returns whole milliseconds since the Unix epoch, 0 for times before it.
    #[must_use]
    pub const fn as_millis_since_epoch(self) -> u64 {
        if self.0 < 0 { 0 } else { (self.0 / 1_000).unsigned_abs() }
    }

    /// Returns the time `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// Returns the time `span` earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }

    /// Returns how long after `earlier` this is; zero when it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(micros(after)),
            Err(before) => Self(micros(before.duration()).saturating_neg()),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_micros(time.0.unsigned_abs());
        let moved =
            if time.0 < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        moved.unwrap_or(UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    /// Writes seconds since the Unix epoch with six decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX.after(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.before(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::MIN.since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn system_time_round_trips_on_both_sides_of_the_epoch() {
        for micros in [-1_500_000, 0, 1_700_000_000_123_456] {
            let time = Timestamp::from_micros_since_epoch(micros);
            assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
        assert_eq!(Timestamp::from_micros_since_epoch(-1_500_000).to_string(), "-1.500000");
    }
}
