//! The ways a life can end, one value each.
//!
//! Pure: no I/O, no clock. It does not decide what follows an end; `restart.rs` does.

use std::any::Any;
use std::fmt;

/// Says how one life of a child ended.
///
/// Texts carry the error or the panic's payload as far as it was text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// The supervisor asked it to stop; it finished the message at hand and its clean-up.
    Stopped,
    /// It ended by itself in good order: [`Address::finish`](super::Address::finish), or the automatic
    /// shutdown of a child supervisor.
    Finished,
    /// It was cut off at an await: killed on request, or its time to stop ran out while it was still busy
    /// with a message. Its clean-up did not run.
    Killed,
    /// The factory of the life or `Life::started` panicked.
    PanickedInStart(String),
    /// `Life::handle` panicked; the clean-up ran.
    PanickedInHandle(String),
    /// `Life::ended`, or the life's `Drop`, panicked after an otherwise orderly end.
    PanickedInCleanup(String),
    /// `Life::handle` returned an error; the clean-up ran.
    Failed(String),
    /// The factory of the life or `Life::started` returned an error, or a child supervisor could not start.
    StartFailed(String),
    /// The time to stop ran out during `Life::ended`, which was cut off.
    CleanupOverran,
    /// A child supervisor passed its restart intensity and stopped its children.
    GaveUp(String),
    /// The task of the life vanished, as it does when the async runtime shuts down.
    Aborted,
}

impl Exit {
    /// Says whether the life ended as it should: asked to, or by its own decision.
    ///
    /// A [`Restart::Transient`](super::Restart::Transient) child is not restarted after an orderly end.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Stopped | Self::Finished => true,
            Self::Killed
            | Self::PanickedInStart(_)
            | Self::PanickedInHandle(_)
            | Self::PanickedInCleanup(_)
            | Self::Failed(_)
            | Self::StartFailed(_)
            | Self::CleanupOverran
            | Self::GaveUp(_)
            | Self::Aborted => false,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Finished => f.write_str("finished"),
            Self::Killed => f.write_str("killed"),
            Self::PanickedInStart(text) => write!(f, "panicked in start: {text}"),
            Self::PanickedInHandle(text) => write!(f, "panicked in handle: {text}"),
            Self::PanickedInCleanup(text) => write!(f, "panicked in clean-up: {text}"),
            Self::Failed(text) => write!(f, "failed: {text}"),
            Self::StartFailed(text) => write!(f, "failed to start: {text}"),
            Self::CleanupOverran => f.write_str("clean-up overran its time"),
            Self::GaveUp(text) => write!(f, "gave up: {text}"),
            Self::Aborted => f.write_str("task aborted"),
        }
    }
}

/// Turns a panic's payload into text; payloads that are not text say so.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "panic payload is not text".to_owned()
    }
}
