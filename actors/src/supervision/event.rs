//! Life events: the records for an observer and for the log.
//!
//! It decides nothing. `shell.rs` announces each event here, in the order in which it happened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::exit::{Exit, panic_text};
use super::spec::ChildId;

/// The target of all log records of this module.
pub(super) const LOG_TARGET: &str = "volery::supervisor";

/// Sees every life event of a tree, child supervisors included.
///
/// Called inline by the supervisor, so it must be quick and must not block; it must not panic either (a
/// panic is contained and logged, the event is lost for this observer).
pub trait Observer: Send + Sync + 'static {
    /// Takes note of one event.
    fn observe(&self, event: &LifeEvent);
}

/// The observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&self, _event: &LifeEvent) {}
}

/// Something that happened to a child. `life` counts the child's lives from 1, failed starts included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifeEvent {
    /// A life has started and takes messages.
    Started {
        /// Whose life.
        child: ChildId,
        /// Which life.
        life: u64,
    },
    /// A life could not be started.
    StartFailed {
        /// Whose life.
        child: ChildId,
        /// Which life.
        life: u64,
        /// The text of the fault.
        exit: Exit,
    },
    /// A life has fully ended, its clean-up and its drop included.
    Ended {
        /// Whose life.
        child: ChildId,
        /// Which life.
        life: u64,
        /// How it ended.
        exit: Exit,
    },
    /// The clean-up of a life that had failed already went wrong, too.
    CleanupFailed {
        /// Whose life.
        child: ChildId,
        /// Which life.
        life: u64,
        /// The fault of the clean-up.
        exit: Exit,
    },
    /// A new life will be started.
    Restarting {
        /// Whose life.
        child: ChildId,
        /// Which life comes next.
        life: u64,
        /// After which wait.
        after: Duration,
        /// How many restarts this child has had, this one included.
        restarts: u32,
    },
    /// A life used up its time to stop and is being killed.
    StopOverran {
        /// Whose life.
        child: ChildId,
        /// Which life.
        life: u64,
        /// The time it had.
        after: Duration,
    },
    /// A supervisor passed its restart intensity, or that of one of its children, and ends.
    GaveUp {
        /// Which supervisor.
        supervisor: ChildId,
        /// The child whose failure was one too many.
        child: ChildId,
        /// How that child's last life ended.
        exit: Exit,
    },
}

/// Logs an event and shows it to the observer.
pub(super) fn announce(supervisor: &ChildId, event: &LifeEvent, observer: &dyn Observer) {
    log(supervisor, event);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| observer.observe(event))) {
        let text = panic_text(&*payload);
        tracing::error!(target: LOG_TARGET, %supervisor, panic = %text, "observer of life events panicked");
    }
}

fn log(supervisor: &ChildId, event: &LifeEvent) {
    match event {
        LifeEvent::Started { child, life } => {
            tracing::debug!(target: LOG_TARGET, %supervisor, %child, life, "started");
        }
        LifeEvent::StartFailed { child, life, exit } => {
            tracing::warn!(target: LOG_TARGET, %supervisor, %child, life, %exit, "start failed");
        }
        LifeEvent::Ended { child, life, exit } if exit.is_orderly() => {
            tracing::debug!(target: LOG_TARGET, %supervisor, %child, life, %exit, "ended");
        }
        LifeEvent::Ended { child, life, exit } => {
            tracing::warn!(target: LOG_TARGET, %supervisor, %child, life, %exit, "ended");
        }
        LifeEvent::CleanupFailed { child, life, exit } => {
            tracing::warn!(target: LOG_TARGET, %supervisor, %child, life, %exit, "clean-up after a failure failed");
        }
        LifeEvent::Restarting { child, life, after, restarts } => {
            tracing::warn!(target: LOG_TARGET, %supervisor, %child, life, ?after, restarts, "restarting");
        }
        LifeEvent::StopOverran { child, life, after } => {
            tracing::warn!(target: LOG_TARGET, %supervisor, %child, life, ?after, "stop overran its time, killing");
        }
        LifeEvent::GaveUp { supervisor, child, exit } => {
            tracing::error!(target: LOG_TARGET, %supervisor, %child, %exit, "gave up");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panicking;

    impl Observer for Panicking {
        fn observe(&self, _event: &LifeEvent) {
            panic!("observer");
        }
    }

    #[test]
    fn a_panicking_observer_is_contained() {
        let event = LifeEvent::Started { child: ChildId::from("a"), life: 1 };
        announce(&ChildId::from("root"), &event, &Panicking);
    }
}
