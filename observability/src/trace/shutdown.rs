//! The trace of a shutdown: of the service, and of no run.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::Status;

use super::nested::End;
use super::root::{Draft, Root};
use super::text::text;
use crate::names::attribute;

/// The open trace of a shutdown. Dropped without an end, it ends with its last phase.
#[derive(Debug)]
#[must_use = "a shutdown's trace ends when the shutdown does"]
pub struct ShutdownTrace(Option<Arc<Root>>);

impl ShutdownTrace {
    /// Nothing is recorded.
    pub const fn off() -> Self {
        Self(None)
    }

    pub(crate) const fn new(root: Arc<Root>) -> Self {
        Self(Some(root))
    }

    /// Makes the span of a phase that is over. A failed phase has the status of an error.
    pub fn phase(&self, phase: &str, status: &str, failed: Option<&str>, start: SystemTime, end: SystemTime) {
        let Some(root) = &self.0 else { return };
        let draft = Draft::internal(format!("shutdown {phase}"), start)
            .with(text(attribute::PHASE, phase))
            .with(text(attribute::PHASE_STATUS, status));
        let Some(span) = root.child(&root.span, draft) else { return };
        let status = failed.map_or(Status::Unset, |why| Status::error(why.to_owned()));
        span.nested.end(End { at: end, attributes: Vec::new(), status });
    }

    /// Ends the shutdown. The first call counts.
    pub fn end(&self, at: SystemTime) {
        if let Some(root) = &self.0 {
            root.end(at, Vec::new(), Status::Unset);
        }
    }
}

impl Drop for ShutdownTrace {
    fn drop(&mut self) {
        if let Some(root) = &self.0 {
            root.span.abandon(text(attribute::OUTCOME, "abandoned"));
        }
    }
}
