//! The three clocks of an attempt: its time in all, its time without progress, and its wait for a slot.
//!
//! The first two are timers of the attempt's task; the third is a deadline of the board, which this file only
//! puts into words.

use std::fmt;
use std::time::Duration;

use volery_blackboard::Timestamp;
use volery_blackboard::outcome::Overdue;

use super::progress::Progress;
use crate::clock::Clock;

/// The shortest time-out that is accepted. Timers tick in milliseconds; anything shorter would be a lie.
pub(crate) const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// Which clock of an attempt ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// The attempt took too long in all.
    Attempt,
    /// The engine reported no progress for too long.
    Idle,
    /// The job waited too long for a slot of its agent.
    Queue,
}

/// A clock of an attempt ran out.
///
/// It is the error of the attempt, so a [`Retry`](super::Retry) can tell it from others:
/// `.only_if(|error| error.is::<TimedOut>())`. A job that waited too long for a slot is not tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedOut {
    kind: TimeoutKind,
    elapsed: Duration,
    waiting_for: Option<String>,
}

impl TimedOut {
    /// Returns which clock ran out.
    #[must_use]
    pub fn kind(&self) -> TimeoutKind {
        self.kind
    }

    /// The clock's word in spans and metrics.
    pub(super) const fn clock(&self) -> &'static str {
        match self.kind {
            TimeoutKind::Attempt => "total",
            TimeoutKind::Idle => "idle",
            TimeoutKind::Queue => "queue",
        }
    }

    /// Returns the time that was too long.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns what it was waiting for: what the engine said last
    /// ([`Context::progress_on`](super::Context::progress_on)) and for how long, or who had the slots.
    #[must_use]
    pub fn waiting_for(&self) -> Option<&str> {
        self.waiting_for.as_deref()
    }

    fn of_attempt(kind: TimeoutKind, elapsed: Duration, progress: &Progress, now: Timestamp) -> Self {
        let note = progress.note();
        let waiting_for = note.map(|note| format!("{} for {:?}", note.text, now.since(note.since)));
        Self { kind, elapsed, waiting_for }
    }

    /// Says why a job was given up that no engine was called for.
    pub(super) fn in_queue(agent: &str, overdue: &Overdue) -> Self {
        let Overdue { waited, taken, slots, jobs, behind } = overdue;
        let behind = behind.as_ref().map(|key| format!("its turn for key {key} and ")).unwrap_or_default();
        let mut waiting_for = format!("{behind}a slot of agent {agent}, {taken} of {slots} taken");
        for (number, job) in jobs.iter().enumerate() {
            waiting_for.push_str(if number == 0 { " by " } else { ", " });
            waiting_for.push_str(&job.to_string());
        }
        if *taken as usize > jobs.len() {
            waiting_for.push_str(", …");
        }
        Self { kind: TimeoutKind::Queue, elapsed: *waited, waiting_for: Some(waiting_for) }
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, elapsed, waiting_for } = self;
        let waiting_for = waiting_for.as_deref();
        match (kind, waiting_for) {
            (TimeoutKind::Attempt, None) => write!(f, "timed out after {elapsed:?}"),
            (TimeoutKind::Attempt, Some(what)) => write!(f, "timed out after {elapsed:?}, at: {what}"),
            (TimeoutKind::Idle, None) => write!(f, "timed out after {elapsed:?} without progress"),
            (TimeoutKind::Idle, Some(what)) => {
                write!(f, "timed out after {elapsed:?} without progress, at: {what}")
            }
            (TimeoutKind::Queue, what) => {
                write!(f, "waited {elapsed:?} for {}", what.unwrap_or("a slot of its agent"))
            }
        }
    }
}

impl std::error::Error for TimedOut {}

/// The limits that an agent sets to its attempts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timeouts {
    pub(crate) attempt: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) queue: Option<Duration>,
}

impl Timeouts {
    /// Waits until an attempt has taken too long; for ever without a limit. One timer, set anew when it finds
    /// that there was progress since.
    pub(super) async fn run_out(&self, begun: Timestamp, progress: &Progress, clock: &Clock) -> TimedOut {
        loop {
            let idle_since = progress.last().unwrap_or(begun);
            let total = self.attempt.map(|limit| (begun.after(limit), TimeoutKind::Attempt, begun));
            let idle = self.idle.map(|limit| (idle_since.after(limit), TimeoutKind::Idle, idle_since));
            let first = total.into_iter().chain(idle).min_by_key(|(deadline, ..)| *deadline);
            let Some((deadline, kind, since)) = first else { return std::future::pending().await };
            let now = clock.now();
            if deadline <= now {
                return TimedOut::of_attempt(kind, now.since(since), progress, now);
            }
            clock.sleep_until(deadline).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_time_out_says_who_had_the_slots() {
        let job = volery_blackboard::JobId::derive("x/0", Timestamp::default(), std::iter::empty());
        let overdue = Overdue {
            waited: Duration::from_secs(3),
            taken: 2,
            slots: 2,
            jobs: vec![job],
            behind: Some("7".into()),
        };
        let text = TimedOut::in_queue("x", &overdue).to_string();
        let wanted =
            format!("waited 3s for its turn for key 7 and a slot of agent x, 2 of 2 taken by {job}, …");
        assert_eq!(text, wanted);
    }
}
