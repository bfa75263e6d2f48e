//! Timing: which times a schedule plans. No I/O, no clock.

use std::time::Duration;

use volery_blackboard::Timestamp;

/// The plan of a schedule.
#[derive(Clone, Debug)]
pub(super) enum Timing {
    /// Every multiple of a period since the Unix epoch.
    Every(Duration),
    /// A parsed cron expression.
    #[cfg(feature = "cron")]
    Cron(std::sync::Arc<cronexpr::Crontab>),
}

impl Timing {
    /// Reads a cron expression; times are in UTC unless it names a time zone.
    #[cfg(feature = "cron")]
    pub(super) fn cron(expression: &str) -> Result<Self, String> {
        let mut options = cronexpr::ParseOptions::default();
        options.fallback_timezone_option = cronexpr::FallbackTimezoneOption::UTC;
        let parsed = cronexpr::parse_crontab_with(expression, options);
        let parsed = parsed.map_err(|error| format!("`{expression}` is no cron expression: {error}"))?;
        Ok(Self::Cron(std::sync::Arc::new(parsed)))
    }

    /// Returns the first planned time that is later; [`Timestamp::MAX`] when there is none.
    pub(super) fn after(&self, time: Timestamp) -> Timestamp {
        match self {
            Self::Every(period) => {
                let period = i64::try_from(period.as_micros()).unwrap_or(i64::MAX).max(1);
                let passed = time.as_micros_since_epoch().div_euclid(period);
                let next = passed.saturating_add(1).saturating_mul(period);
                Timestamp::from_micros_since_epoch(next)
            }
            #[cfg(feature = "cron")]
            Self::Cron(crontab) => {
                // Fails where the calendar ends, and for dates that never come.
                let next = cronexpr::MakeTimestamp::from_microsecond(time.as_micros_since_epoch())
                    .and_then(|time| crontab.find_next(time));
                next.map_or(Timestamp::MAX, |next| {
                    Timestamp::from_micros_since_epoch(next.timestamp().as_microsecond())
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros_since_epoch(micros)
    }

    #[test]
    fn a_period_counts_from_the_epoch_and_not_from_the_start() {
        let minute = Timing::Every(Duration::from_secs(60));
        assert_eq!(minute.after(at(59_999_999)), at(60_000_000));
        assert_eq!(minute.after(at(60_000_000)), at(120_000_000), "the next is later than now");
        assert_eq!(minute.after(at(-1)), at(0));
        assert_eq!(minute.after(Timestamp::MAX), Timestamp::MAX);
    }

    proptest! {
        #[test]
        fn a_planned_time_is_later_on_the_grid_and_the_first_such(period in 1_u64..10_000_000, now in -1_000_000_000_i64..1_000_000_000) {
            let next = Timing::Every(Duration::from_micros(period)).after(at(now)).as_micros_since_epoch();
            let period = period.cast_signed();
            prop_assert!(next > now && next - period <= now);
            prop_assert_eq!(next.rem_euclid(period), 0);
        }
    }

    #[cfg(feature = "cron")]
    mod cron {
        use super::*;

        /// 2024-03-30T12:00:00Z, the day before Berlin's clocks go forward.
        const NOON: i64 = 1_711_800_000;

        fn next(expression: &str, seconds: i64) -> i64 {
            let timing = Timing::cron(expression).expect("it is an expression");
            timing.after(at(seconds * 1_000_000)).as_micros_since_epoch() / 1_000_000
        }

        #[test]
        fn times_are_in_utc_unless_a_zone_is_named() {
            assert_eq!(next("0 3 * * *", NOON), NOON + 15 * 3_600);
            assert_eq!(next("0 12 * * * Etc/UTC", NOON), NOON + 24 * 3_600, "the next is later than now");
        }

        #[test]
        fn what_is_no_expression_says_so() {
            let error = Timing::cron("every day").expect_err("it is none");
            assert!(error.starts_with("`every day` is no cron expression: "), "{error}");
        }
    }
}
