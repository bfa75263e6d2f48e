//! The timekeeper: one timer, armed for the board's next deadline.
//!
//! It serves batch time-outs, expired joins, ended back-offs and opened visibility, and knows none of them:
//! it sends the board a tick. It holds no state that matters; a restarted curator arms it again.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `Arm` | sleeps until then instead of what it slept for | never |
//! | `Due` | sends the board a tick | never; a stale one costs a look |

use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::task::JoinSet;
use volery_blackboard::Timestamp;
use volery_blackboard::input::Input;

use crate::clock::Clock;
use crate::fault::Fault;
use crate::ingress::Ingress;
use crate::supervision::{Address, Life};

/// The messages of the timekeeper.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TimekeeperMessage {
    /// The next deadline is then.
    Arm(Timestamp),
    /// The armed deadline has come.
    Due(Timestamp),
}

/// One life of the timekeeper.
pub(crate) struct Timekeeper {
    clock: Clock,
    ingress: Arc<Ingress>,
    own: Address<TimekeeperMessage>,
    armed: Option<(Timestamp, AbortHandle)>,
    timer: JoinSet<()>,
}

impl Timekeeper {
    pub(crate) fn new(clock: Clock, ingress: Arc<Ingress>, own: Address<TimekeeperMessage>) -> Self {
        Self { clock, ingress, own, armed: None, timer: JoinSet::new() }
    }

    fn arm(&mut self, deadline: Timestamp) {
        if let Some((_, timer)) = self.armed.take() {
            timer.abort();
        }
        while self.timer.try_join_next().is_some() {}
        let (clock, own) = (self.clock.clone(), self.own.clone());
        let timer = self.timer.spawn(async move {
            clock.sleep_until(deadline).await;
            if let Err(error) = own.send(TimekeeperMessage::Due(deadline)) {
                tracing::debug!(target: "volery::timekeeper", %error, "deadline came while stopping");
            }
        });
        self.armed = Some((deadline, timer));
    }
}

impl Life for Timekeeper {
    type Message = TimekeeperMessage;

    async fn handle(&mut self, message: TimekeeperMessage) -> Result<(), Fault> {
        match message {
            TimekeeperMessage::Arm(deadline) => self.arm(deadline),
            TimekeeperMessage::Due(deadline) => {
                if self.armed.as_ref().is_some_and(|(armed, _)| *armed == deadline) {
                    self.armed = None;
                    self.ingress.input(Input::Tick);
                }
            }
        }
        Ok(())
    }

    async fn ended(&mut self) {
        self.timer.shutdown().await;
    }
}
