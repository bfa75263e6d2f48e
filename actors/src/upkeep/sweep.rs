//! A sweep: gives the board a tick at a fixed period, whatever deadlines are armed.
//!
//! Two of them run: batch time-outs and correlation cleanup. The board settles what is due and finds nothing
//! the second time, so two sweeps at once do no more than one.

use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::Timestamp;
use volery_blackboard::input::Input;

use super::periodic::{Loop, NextTick};
use crate::fault::Fault;
use crate::ingress::Ingress;

/// A look at what may have been missed.
pub(super) struct Sweep {
    pub(super) period: Duration,
    pub(super) ingress: Arc<Ingress>,
}

impl Loop for Sweep {
    fn next(&self, _: Timestamp) -> NextTick {
        NextTick::Every(self.period)
    }

    async fn tick(&mut self) -> Result<(), Fault> {
        self.ingress.input(Input::Tick);
        Ok(())
    }
}
