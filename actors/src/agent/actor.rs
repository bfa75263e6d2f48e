//! The agent's actor: opens slots for its jobs, and owns their tasks.
//!
//! It decides nothing about jobs; the board does, and the curator puts what it decides into the slots. When
//! the actor ends, attempts that still run are aborted and hand their jobs back, and jobs that wait for a
//! slot wait for its next life. It calls no code of the user.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `OpenSlot` | opens a slot, which takes the next job | never |
//! | `Bury` | gives a job up without another attempt, in a task | never; the task sends the end |

use std::future::Future;
use std::sync::Arc;

use tokio_util::task::TaskTracker;
use volery_blackboard::SubscriptionIndex;
use volery_blackboard::job::Start;
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Artifacts, Response};

use super::engine::Calls;
use super::environment::Environment;
use super::slot::{Cells, give_up, serve};
use super::slots::Slot;
use crate::fault::Fault;
use crate::supervision::Life;

/// The messages of an agent's actor.
#[derive(Debug)]
pub(crate) enum AgentMessage {
    /// A job waits, and every slot that is open is taken.
    OpenSlot,
    /// Write the failure of this job, which waited too long.
    Bury {
        start: Arc<Start>,
        inputs: Response<Artifacts>,
        /// The curator's life that sent it.
        epoch: u64,
        why: Burial,
    },
}

/// One life of an agent.
pub(crate) struct AgentActor {
    environment: Arc<Environment>,
    cells: Option<Arc<Cells>>,
    /// The tasks of this life's slots.
    tasks: TaskTracker,
}

impl AgentActor {
    pub(crate) fn new(environment: Arc<Environment>, first: SubscriptionIndex, calls: &[Calls]) -> Self {
        let cells = Arc::new(Cells::new(environment.agent(), first, calls));
        Self { environment, cells: Some(cells), tasks: TaskTracker::new() }
    }

    fn open_slot(&self) {
        let (Some(cells), Some(slot)) = (self.cells.clone(), self.environment.slots.open()) else { return };
        self.spawn(&slot, serve(Arc::clone(&self.environment), cells, Arc::clone(&slot)));
    }

    fn spawn(&self, slot: &Slot, work: impl Future<Output = ()> + Send + 'static) {
        slot.run_by(tokio::spawn(self.tasks.track_future(work)).abort_handle());
        if self.environment.slots.is_cut_off() {
            // Nobody would do that for an attempt that begins now.
            slot.abort();
        }
    }
}

impl Life for AgentActor {
    type Message = AgentMessage;

    async fn started(&mut self) -> Result<(), Fault> {
        for _ in 0..self.environment.slots.begin_life() {
            self.open_slot();
        }
        Ok(())
    }

    async fn handle(&mut self, message: AgentMessage) -> Result<(), Fault> {
        match message {
            AgentMessage::OpenSlot => self.open_slot(),
            AgentMessage::Bury { epoch, .. } if epoch != self.environment.services.ingress.epoch() => {}
            AgentMessage::Bury { start, inputs, why, .. } => {
                let slot = self.environment.slots.open_beside();
                let (environment, own) = (Arc::clone(&self.environment), Arc::clone(&slot));
                self.spawn(&slot, give_up(environment, own, start, inputs, why));
            }
        }
        Ok(())
    }

    async fn ended(&mut self) {
        // Dropping an engine is code of the user: not here, but in a task.
        let cells = self.cells.take();
        let slots = &self.environment.slots;
        // An aborted attempt drops its execution, which hands the job back, and cuts its children off.
        slots.end_life();
        if slots.is_cut_off() {
            // An attempt that is left blocks its thread, and the root has named it.
            drop(tokio::spawn(async move { drop(cells) }));
            return;
        }
        self.tasks.close();
        self.tasks.wait().await;
        slots.children.close();
        slots.children.wait().await;
        slots.children.reopen();
        if tokio::spawn(async move { drop(cells) }).await.is_err() {
            let agent = self.environment.agent();
            tracing::debug!(target: "volery::agent", %agent, "the async runtime ended before the engines");
        }
    }
}

impl Drop for AgentActor {
    fn drop(&mut self) {
        // After a kill as well.
        self.environment.slots.end_life();
    }
}
