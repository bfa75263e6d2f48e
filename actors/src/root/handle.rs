//! The stopper's handle: asks for the stop of a runtime, and waits for its report.

use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::watch;
use volery_blackboard::Timestamp;

use super::backstop::Backstop;
use super::callbacks::Callbacks;
use super::report::{ShutdownReport, StopCause};
use super::urgency::{Stopping, raise};
use crate::hold::{Hold, Protection};

/// The stopper's handle for other tasks.
#[derive(Debug)]
pub(crate) struct RootHandle {
    pub(super) stopping: Arc<watch::Sender<Stopping>>,
    pub(super) cause: Arc<OnceLock<StopCause>>,
    pub(super) report: watch::Receiver<Option<Arc<ShutdownReport>>>,
    pub(super) backstop: Weak<Backstop>,
    pub(super) callbacks: Arc<Callbacks>,
    pub(super) service: Arc<Hold>,
}

impl RootHandle {
    /// Asks for a stop at least this urgent. Asking again changes nothing unless it is more urgent; the first
    /// cause is the one that is reported.
    pub(crate) fn stop(&self, level: Stopping, cause: StopCause) {
        // Taken already by an earlier request.
        drop(self.cause.set(cause.clone()));
        if let Some(backstop) = self.backstop.upgrade() {
            backstop.begin(cause);
        }
        raise(&self.stopping, level);
    }

    /// Returns how urgently the runtime is stopping.
    pub(crate) fn stopping(&self) -> Stopping {
        *self.stopping.borrow()
    }

    /// Waits until a stop has been asked for, or the tree gave up. Cancel safe.
    pub(crate) async fn stop_requested(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender is in `self`, so it cannot be gone.
        drop(stopping.wait_for(|level| *level > Stopping::No).await);
    }

    /// Waits for the end and returns the report. Cancel safe. `None` if the async runtime ended the stopper.
    pub(crate) async fn report(&self) -> Option<Arc<ShutdownReport>> {
        let mut report = self.report.clone();
        report.wait_for(Option::is_some).await.ok().and_then(|report| report.clone())
    }

    /// Returns the report if there is one.
    pub(crate) fn reported(&self) -> Option<Arc<ShutdownReport>> {
        self.report.borrow().clone()
    }

    /// Returns since when the runtime has been stopping, if it is.
    pub(crate) fn stopping_since(&self) -> Option<Timestamp> {
        self.backstop.upgrade().and_then(|backstop| backstop.progress.state().requested)
    }

    /// Watches how urgently the runtime is stopping.
    pub(crate) fn watch_stopping(&self) -> watch::Receiver<Stopping> {
        self.stopping.subscribe()
    }

    pub(crate) fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Begins a protected section of the service.
    pub(crate) fn protect(&self) -> Protection {
        Protection::of(self.service.take())
    }
}
