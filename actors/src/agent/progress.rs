//! Progress of an attempt, for readers: times, and the last note of its engine.
//!
//! Written by the attempt's task and its engine, read by the lookout, the time-outs and the list of runs.

use std::borrow::Cow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use volery_blackboard::Timestamp;

/// Stands for a time that has not come.
const NEVER: i64 = i64::MIN;

/// A point in time that may come, in microseconds.
#[derive(Debug)]
pub(super) struct AtomicTime(AtomicI64);

impl Default for AtomicTime {
    fn default() -> Self {
        Self(AtomicI64::new(NEVER))
    }
}

impl AtomicTime {
    /// It is now. One store.
    pub(super) fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros_since_epoch(), Ordering::Release);
    }

    /// It is now, unless it has come before.
    pub(super) fn set_once(&self, now: Timestamp) {
        let micros = now.as_micros_since_epoch();
        let _first_stays = self.0.compare_exchange(NEVER, micros, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn has_come(&self) -> bool {
        self.0.load(Ordering::Acquire) != NEVER
    }

    pub(super) fn time(&self) -> Option<Timestamp> {
        let micros = self.0.load(Ordering::Acquire);
        (micros != NEVER).then(|| Timestamp::from_micros_since_epoch(micros))
    }
}

/// The progress of one call of an engine.
#[derive(Debug, Default)]
pub(super) struct Progress {
    last: AtomicTime,
    note: Mutex<Option<ProgressNote>>,
}

/// The last note of an engine, and its time.
#[derive(Clone, Debug)]
pub(super) struct ProgressNote {
    pub(super) text: Cow<'static, str>,
    pub(super) since: Timestamp,
}

impl Progress {
    /// Records a sign of progress: one store, no lock.
    pub(super) fn record(&self, now: Timestamp) {
        self.last.set(now);
    }

    /// Records a sign of progress, with a note of the engine.
    pub(super) fn record_note(&self, text: Cow<'static, str>, now: Timestamp) {
        self.record(now);
        let before = self.lock().replace(ProgressNote { text, since: now });
        drop(before);
    }

    pub(super) fn last(&self) -> Option<Timestamp> {
        self.last.time()
    }

    pub(super) fn note(&self) -> Option<ProgressNote> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<ProgressNote>> {
        // A note is replaced in one step; a panic cannot leave half of one.
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
