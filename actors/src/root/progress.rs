//! The progress of a stop. The backstop, a thread, reads it without asking the stopper.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use volery_blackboard::Timestamp;

use super::phase::Phase;
use super::report::{CallbackReport, PhaseReport, StopCause};

/// How far a stop has come.
#[derive(Debug, Default)]
pub(super) struct StopProgress {
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// When the stop was asked for.
    pub(super) requested: Option<Timestamp>,
    pub(super) cause: Option<StopCause>,
    /// The phases that have stopped, in order.
    pub(super) phases: Vec<PhaseReport>,
    pub(super) callbacks: Vec<CallbackReport>,
    /// The phase that is stopping now, and since when.
    pub(super) current: Option<(Phase, Timestamp)>,
    over: bool,
}

impl StopProgress {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single step; a panic cannot leave it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the stopper has ended, in whatever way.
    pub(super) fn finish(&self) {
        self.state().over = true;
        self.over.notify_all();
    }

    /// Blocks the thread until the stopper is done, or the time is up. Returns whether it is done.
    pub(super) fn wait(&self, within: Duration) -> bool {
        let waited = self.over.wait_timeout_while(self.state(), within, |state| !state.over);
        waited.unwrap_or_else(PoisonError::into_inner).0.over
    }
}
