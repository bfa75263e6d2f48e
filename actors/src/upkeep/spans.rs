//! The notes of open spans: has those noted that have been open for long.
//!
//! `observer/notes.rs` decides which are noted and removed. Without a tracer whose spans can be noted there
//! is no such loop.

use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::Timestamp;

use super::periodic::{Loop, NextTick};
use crate::agent::Services;
use crate::fault::Fault;

/// The loop that notes them.
pub(super) struct SpanNotes {
    /// As long as a span is open before it is noted: a quarter would note them hardly earlier.
    pub(super) period: Duration,
    pub(super) services: Arc<Services>,
}

impl Loop for SpanNotes {
    fn next(&self, _: Timestamp) -> NextTick {
        NextTick::Every(self.period)
    }

    async fn tick(&mut self) -> Result<(), Fault> {
        self.services.observer.note_open_spans();
        Ok(())
    }
}
