//! The deadlines of a stop: one for the whole, and the share of each step. Pure: no I/O, no clock.

use std::time::Duration;

use volery_blackboard::Timestamp;

use crate::settings::Settings;

/// How long cancelled attempts get to be dropped before they are cut off. Dropping a future takes
/// microseconds; a blocked thread would not end in any time.
const RELEASE_WITHIN: Duration = Duration::from_millis(500);

/// Upkeep stops in microseconds; half a second is what one of its actors may take, and they stop one after
/// the other.
const UPKEEP_WITHIN: Duration = Duration::from_secs(2);

/// The least time of every step, even when the whole deadline has passed: enough to end in good order when
/// there is nothing to wait for. Steps that can use it up when the deadline has passed: four; so a stop is
/// late by a fifth of a second at most.
const STEP_MIN: Duration = Duration::from_millis(50);

/// When the steps of one stop have to be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadlines {
    /// When the service's notices, and then the draining, end.
    pub(super) drain: Timestamp,
    /// How long after it attempts have to be dropped.
    release_within: Duration,
    /// Until when protected sections hold back the cut.
    pub(super) protected: Timestamp,
    /// When everything has to be over.
    pub(super) end: Timestamp,
    drain_within: Option<Duration>,
}

impl Deadlines {
    pub(super) fn new(begun: Timestamp, settings: &Settings) -> Self {
        let end = begun.after(settings.shutdown_within);
        // Time to cancel, and to stop what comes after the agents, is taken off the end, but never all of it.
        let closing = settings.closing_within.min(settings.shutdown_within / 2);
        Self {
            drain: end.before(closing),
            release_within: RELEASE_WITHIN.min(closing / 2),
            protected: end.before(closing / 4),
            end,
            drain_within: settings.drain_within,
        }
    }

    /// When agents that begin to drain now have to be done.
    pub(super) fn drain_from(&self, now: Timestamp) -> Timestamp {
        self.drain_within.map_or(self.drain, |within| now.after(within).min(self.drain))
    }

    /// When attempts that are cancelled now, and not protected, are cut off.
    pub(super) fn release_from(&self, now: Timestamp) -> Timestamp {
        now.after(self.release_within).min(self.protected)
    }

    /// How long upkeep may take that begins to stop now: it has nothing to wait for, and must not use up the
    /// draining.
    pub(super) fn upkeep_from(&self, now: Timestamp) -> Duration {
        UPKEEP_WITHIN.min(self.drain.since(now)).max(STEP_MIN)
    }

    /// When callbacks and protected sections that are waited for from now on have to be done.
    pub(super) fn flush_from(&self, now: Timestamp) -> Timestamp {
        // The steps after it take milliseconds unless somebody blocks a thread.
        self.end.before(STEP_MIN * 2).max(now.after(STEP_MIN))
    }

    /// How long a step may take that begins now and has no limit of its own.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        self.end.since(now).max(STEP_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadlines(within_ms: u64, change: impl FnOnce(&mut Settings)) -> Deadlines {
        let shutdown_within = Duration::from_millis(within_ms);
        let mut settings = Settings { shutdown_within, ..Settings::default() };
        change(&mut settings);
        Deadlines::new(at(0), &settings)
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis_since_epoch(ms)
    }

    #[test]
    fn a_second_of_a_long_deadline_is_kept_for_closing_and_half_of_a_short_one() {
        assert_eq!(deadlines(20_000, |_| ()).drain, at(19_000));
        assert_eq!(deadlines(1_000, |_| ()).drain, at(500));
        assert_eq!(deadlines(0, |_| ()).drain, at(0));
    }

    #[test]
    fn draining_has_its_own_limit_and_never_more_than_the_whole() {
        let limited = deadlines(20_000, |settings| settings.drain_within = Some(Duration::from_secs(5)));
        assert_eq!(limited.drain_from(at(1_000)), at(6_000));
        assert_eq!(limited.drain_from(at(18_000)), at(19_000));
    }

    #[test]
    fn a_cut_comes_after_half_a_second_and_a_protected_section_lasts_nearly_to_the_end() {
        let whole = deadlines(20_000, |_| ());
        assert_eq!(whole.release_from(at(5_000)), at(5_500));
        assert_eq!(whole.protected, at(19_750));
        assert_eq!(whole.left(at(19_990)), STEP_MIN);
    }
}
