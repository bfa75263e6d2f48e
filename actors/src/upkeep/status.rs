//! The status of a background loop.
//!
//! The record belongs to the runtime and outlives the loop's lives: a restarted loop goes on counting.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use volery_blackboard::Timestamp;
use volery_observability::Metrics;
use volery_observability::metrics::Counted;

/// How a background loop stands. Counts begin with the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoopStatus {
    /// The loop's name, unique in its runtime: `janitor`, or `schedule/nightly`.
    pub name: String,
    /// Ticks that ended, whether they failed or not.
    pub ticks: u64,
    /// Ticks that failed or panicked.
    pub errors: u64,
    /// When the last tick began.
    pub last_tick: Option<Timestamp>,
    /// Why the last tick that failed did so, root cause last.
    pub last_error: Vec<String>,
    /// When it ticks next unless it is nudged; `None` before it has begun.
    pub next: Option<Timestamp>,
    /// Whether a tick is under way.
    pub ticking: bool,
}

/// The record of one loop.
#[derive(Debug)]
pub(crate) struct LoopRecord {
    status: Mutex<LoopStatus>,
    metrics: Metrics,
}

impl LoopRecord {
    pub(super) fn new(name: String, metrics: Metrics) -> Self {
        let status = LoopStatus {
            name,
            ticks: 0,
            errors: 0,
            last_tick: None,
            last_error: Vec::new(),
            next: None,
            ticking: false,
        };
        Self { status: Mutex::new(status), metrics }
    }

    pub(crate) fn status(&self) -> LoopStatus {
        self.lock().clone()
    }

    pub(super) fn plan(&self, next: Option<Timestamp>) {
        let mut status = self.lock();
        // A life that was killed in the middle of a tick did not say that it ended.
        (status.next, status.ticking) = (next, false);
    }

    /// Notes how late the loop woke up.
    pub(super) fn woke(&self, late: Duration) {
        let name = self.lock().name.clone();
        self.metrics.loop_lagged(&name, late);
    }

    pub(super) fn begin(&self, now: Timestamp) {
        let mut status = self.lock();
        (status.last_tick, status.ticking) = (Some(now), true);
    }

    /// Notes the end of a tick, and why it failed if it did.
    pub(super) fn end(&self, failed: Option<Vec<String>>) {
        let mut status = self.lock();
        status.ticks += 1;
        status.ticking = false;
        let name = status.name.clone();
        if let Some(error) = &failed {
            status.errors += 1;
            status.last_error.clone_from(error);
        }
        // Subscribers and meters are code of the service: not under the lock.
        drop(status);
        if let Some(error) = &failed {
            let error = error.join(": ");
            tracing::warn!(target: "volery::upkeep", child = name, error, "a tick failed; the next is as planned");
        }
        self.metrics.tick(&name, if failed.is_some() { Counted::Error } else { Counted::Ok });
    }

    fn lock(&self) -> MutexGuard<'_, LoopStatus> {
        // Plain data, changed field by field; nothing in between can panic.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
