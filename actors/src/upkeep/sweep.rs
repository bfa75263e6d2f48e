//! A sweep: tells the board at a fixed period that time has passed, whatever deadlines are armed.
//!
//! Two of them run: batch time-outs and correlation cleanup. Missed periods are skipped, not made up for.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `Look` | tells the board, sleeps a period | never |

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use volery_blackboard::effect::Input;

use crate::curator::Ingress;
use crate::supervision::{self, Address, Life};

/// What a sweep is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SweepMessage {
    /// A period is over.
    Look,
}

/// One life of a sweep.
pub(crate) struct Sweep {
    period: Duration,
    ingress: Arc<Ingress>,
    own: Address<SweepMessage>,
    timer: JoinSet<()>,
}

impl Sweep {
    pub(crate) fn new(period: Duration, ingress: Arc<Ingress>, own: Address<SweepMessage>) -> Self {
        Self { period, ingress, own, timer: JoinSet::new() }
    }

    fn sleep(&mut self) {
        while self.timer.try_join_next().is_some() {}
        let (period, own) = (self.period, self.own.clone());
        self.timer.spawn(async move {
            tokio::time::sleep(period).await;
            if let Err(error) = own.send(SweepMessage::Look) {
                tracing::debug!(target: "volery::upkeep", %error, "a period ended while stopping");
            }
        });
    }
}

impl Life for Sweep {
    type Message = SweepMessage;

    async fn started(&mut self) -> Result<(), supervision::Fault> {
        self.sleep();
        Ok(())
    }

    async fn handle(&mut self, message: SweepMessage) -> Result<(), supervision::Fault> {
        match message {
            SweepMessage::Look => {
                self.ingress.input(Input::Tick);
                self.sleep();
            }
        }
        Ok(())
    }

    async fn ended(&mut self) {
        self.timer.shutdown().await;
    }
}
