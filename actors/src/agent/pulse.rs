//! The pulse of an attempt: its cancellation, and its last sign of progress.
//!
//! Shared by the agent's actor, which cancels, by whoever looks, and by the engine's context, which tells.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use volery_blackboard::Timestamp;

/// Stands for a time that has not come.
const NEVER: i64 = i64::MIN;

/// What one attempt tells while it runs.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub(super) cancel: CancellationToken,
    /// What the actor cancels, where that has to be told apart from the end of an attempt's time: above `cancel`.
    above: Option<CancellationToken>,
    /// Microseconds of its cancellation; [`NEVER`] before it.
    cancelled_at: AtomicI64,
    /// It was cancelled because its time was over, and by nobody before.
    timed_out: AtomicBool,
    /// Microseconds of the last sign; [`NEVER`] before the first.
    last: AtomicI64,
    note: Mutex<Option<Note>>,
}

/// What an attempt is at, and since when.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) text: Cow<'static, str>,
    pub(super) since: Timestamp,
}

/// A look at one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    pub(crate) last_progress: Option<Timestamp>,
    pub(crate) cancelled_at: Option<Timestamp>,
    pub(crate) note: Option<String>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            cancel: CancellationToken::new(),
            above: None,
            cancelled_at: AtomicI64::new(NEVER),
            timed_out: AtomicBool::new(false),
            last: AtomicI64::new(NEVER),
            note: Mutex::default(),
        }
    }

    /// The pulse of an attempt that may be followed by a fallback.
    pub(super) fn with_fallback() -> Self {
        Self::below(CancellationToken::new())
    }

    /// The pulse of the fallback after this attempt: cancelled when the attempt is, and not because its time is over.
    pub(super) fn of_fallback(&self) -> Self {
        Self::below(self.above.clone().unwrap_or_else(|| self.cancel.clone()))
    }

    fn below(above: CancellationToken) -> Self {
        Self { cancel: above.child_token(), above: Some(above), ..Self::new() }
    }

    /// Asks the engine to end; the first time is the one that is told.
    pub(super) fn cancel(&self, now: Timestamp) {
        self.end(now);
        if let Some(above) = &self.above {
            above.cancel();
        }
    }

    /// Asks the engine to end because its time is over; a fallback may follow.
    pub(super) fn run_out(&self, now: Timestamp) {
        if !self.cancel.is_cancelled() {
            self.timed_out.store(true, Ordering::Release);
        }
        self.end(now);
    }

    fn end(&self, now: Timestamp) {
        if !self.cancel.is_cancelled() {
            self.cancelled_at.store(now.as_micros_since_epoch(), Ordering::Relaxed);
        }
        self.cancel.cancel();
    }

    /// Tells whether it was cancelled with its run, or because the runtime stops.
    pub(super) fn is_called_off(&self) -> bool {
        self.cancel.is_cancelled() && !self.timed_out.load(Ordering::Acquire)
    }

    /// Notes a sign of progress: one store, no lock.
    pub(super) fn beat(&self, now: Timestamp) {
        self.last.store(now.as_micros_since_epoch(), Ordering::Relaxed);
    }

    /// Notes what the attempt is at from now on.
    pub(super) fn say(&self, text: Cow<'static, str>, now: Timestamp) {
        self.beat(now);
        let before = self.notes().replace(Note { text, since: now });
        drop(before);
    }

    pub(super) fn last(&self) -> Option<Timestamp> {
        time(&self.last)
    }

    pub(super) fn note(&self) -> Option<Note> {
        self.notes().clone()
    }

    pub(super) fn look(&self) -> Beat {
        let note = self.note().map(|note| note.text.into_owned());
        Beat { last_progress: self.last(), cancelled_at: time(&self.cancelled_at), note }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Option<Note>> {
        // A note is replaced in one step; a panic cannot leave half of one.
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn time(micros: &AtomicI64) -> Option<Timestamp> {
    let micros = micros.load(Ordering::Relaxed);
    (micros != NEVER).then(|| Timestamp::from_micros_since_epoch(micros))
}
