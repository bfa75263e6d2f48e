//! The urgency of a stop: a level that only rises. Pure: no I/O, no clock.

use tokio::sync::watch;

/// How urgently the runtime is to stop. The order matters: it only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stopping {
    /// Not at all.
    No,
    /// Finish what runs, within the deadline.
    Drain,
    /// At once.
    Abort,
}

/// Raises the level, if it is not as high already.
pub(super) fn raise(stopping: &watch::Sender<Stopping>, level: Stopping) {
    stopping.send_if_modified(|current| {
        let raised = level > *current;
        *current = (*current).max(level);
        raised
    });
}
