//! Starts of attempts that last, which are recorded after a while.
//!
//! A short attempt costs the store one record, its end. The start of one that lasts is recorded, so that an
//! attempt that is cut short by the end of the process counts as an interruption of its job.

use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::Timestamp;
use volery_blackboard::input::Input;
use volery_blackboard::store::Write;

use super::actor::Curator;
use super::step::Then;

/// How long an attempt lasts before its start is recorded, at least; at most twice as long. A tenth would
/// record attempts that are about to end; ten times as much would miss many that a kill cuts short.
const RECORD_AFTER: Duration = Duration::from_millis(50);

impl Curator {
    /// An attempt begins, or goes on, whose start is not recorded.
    pub(super) fn record_soon(&mut self) {
        if self.record_at.is_none() {
            self.record_at = Some(self.now.after(2 * RECORD_AFTER));
        }
    }

    /// A start could not be recorded: all are looked at again.
    pub(super) fn record_again(&mut self) {
        self.recorded_until = Timestamp::MIN;
        self.record_soon();
    }

    /// Records the starts of the attempts that have lasted for a while, when it is time.
    pub(super) fn record_starts(&mut self) {
        if self.store_down || self.record_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.record_at = None;
        let (since, until) = (self.recorded_until, self.now.before(RECORD_AFTER));
        self.recorded_until = until;
        let parts = Arc::clone(&self.parts);
        for agent in &parts.agents {
            if agent.slots.has_waiting() {
                self.record_soon();
            }
            for attempt in agent.slots.pick(|attempt| attempt.began > since) {
                let start = &attempt.start;
                if !self.board.is_current(start.id()) || self.board.is_start_noted(start.id()) {
                    continue;
                }
                if attempt.began > until {
                    self.record_soon();
                    continue;
                }
                self.handle(Input::StartNoted(start.id()));
                self.write(Write::Start(Arc::clone(start)), Then::StartNoted(start.id()));
            }
        }
    }
}
