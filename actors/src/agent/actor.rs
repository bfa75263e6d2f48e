//! The agent's actor: fills slots with the jobs that it is given, each attempt in a task of its own.
//!
//! It decides nothing about jobs; the board does, and gives it at most one job for each slot. When the actor
//! ends, attempts that still run are aborted and hand their jobs back. It calls no code of the user.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `Run` | starts an attempt; hands the job back when the runtime stops | never; the attempt sends its own end |
//! | `Bury` | gives a job up without another attempt, in a task | never; the task sends the end |
//! | `Cancel` | cancels the attempt of a job | never; unknown jobs have ended already |
//! | `ReleaseAll` | cancels every attempt; the jobs are handed back | never |
//! | `CutOff` | aborts every attempt, and waits for none of them | never |

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::task::TaskTracker;
use volery_blackboard::job::Start;
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Artifacts, Response};
use volery_blackboard::{JobId, SubscriptionIndex};

use super::attempt::Attempt;
use super::cell::EngineCell;
use super::engine::Calls;
use super::environment::Environment;
use super::execution::{Execution, Work, bury, run};
use super::slots::SlotNumber;
use crate::fault::Fault;
use crate::supervision::Life;

/// The messages of an agent's actor.
#[derive(Debug)]
pub(crate) enum AgentMessage {
    /// Run this attempt with these inputs.
    Run {
        start: Arc<Start>,
        inputs: Response<Artifacts>,
        /// The curator's life that sent it.
        epoch: u64,
    },
    /// Write the failure of this job, which waited too long.
    Bury { start: Arc<Start>, inputs: Response<Artifacts>, epoch: u64, why: Burial },
    /// Cancel the attempt of this job.
    Cancel(JobId),
    /// The runtime stops: cancel every attempt, and hand its job back.
    ReleaseAll,
    /// The time to be dropped is over: abort every attempt. An attempt that blocks its thread is left behind.
    CutOff,
}

/// One life of an agent.
pub(crate) struct AgentActor {
    environment: Arc<Environment>,
    /// The agent's first subscription; the others follow it.
    first: SubscriptionIndex,
    /// One for each subscription.
    cells: Vec<Arc<EngineCell>>,
    /// The tasks of this life's attempts.
    tasks: TaskTracker,
    /// Attempts that do not end are not waited for.
    cut_off: bool,
}

impl AgentActor {
    pub(crate) fn new(environment: Arc<Environment>, first: SubscriptionIndex, calls: &[Calls]) -> Self {
        let cells = calls.iter().map(|calls| Arc::new(EngineCell::new(environment.agent(), calls))).collect();
        Self { environment, first, cells, tasks: TaskTracker::new(), cut_off: false }
    }

    fn start(&mut self, start: Arc<Start>, inputs: Response<Artifacts>) {
        let ordinal = (start.subscription.0 - self.first.0) as usize;
        let (execution, slot) = Execution::begin(&self.environment, start);
        if self.refuses_jobs() {
            return drop(execution);
        }
        let cell = &mut self.cells[ordinal];
        let retired = cell.is_suspect().then(|| {
            let anew = Arc::new(cell.anew());
            std::mem::replace(cell, anew)
        });
        let work = Work { inputs, cell: Arc::clone(cell), retired };
        self.spawn(slot, run(execution, work));
    }

    fn bury(&self, start: Arc<Start>, inputs: Response<Artifacts>, why: Burial) {
        let (execution, slot) = Execution::begin(&self.environment, start);
        if self.refuses_jobs() {
            return drop(execution);
        }
        self.spawn(slot, bury(execution, inputs, why));
    }

    fn spawn(&self, slot: SlotNumber, attempt: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(self.tasks.track_future(attempt));
        self.environment.slots.attach(slot, task.abort_handle());
    }

    /// Its attempts have been released or cut off, and nobody would do that for another one: a job that comes
    /// is handed back, by the drop of its execution.
    fn refuses_jobs(&self) -> bool {
        self.cut_off || self.environment.is_stopping()
    }

    /// Cancels the attempts that `picks` takes.
    fn call_off(&self, picks: impl Fn(&Attempt) -> bool) {
        let now = self.environment.services.clock.now();
        self.environment.slots.pick(picks).iter().for_each(|attempt| attempt.call_off(now));
    }

    /// A job that an earlier life of the curator sent has been started anew by this one.
    fn is_stale(&self, epoch: u64) -> bool {
        epoch != self.environment.services.ingress.epoch()
    }
}

impl Life for AgentActor {
    type Message = AgentMessage;

    async fn handle(&mut self, message: AgentMessage) -> Result<(), Fault> {
        match message {
            AgentMessage::Run { epoch, .. } | AgentMessage::Bury { epoch, .. } if self.is_stale(epoch) => {}
            AgentMessage::Run { start, inputs, .. } => self.start(start, inputs),
            AgentMessage::Bury { start, inputs, why, .. } => self.bury(start, inputs, why),
            AgentMessage::Cancel(job) => self.call_off(|attempt| attempt.start.job == job),
            AgentMessage::ReleaseAll => {
                self.environment.stopping.store(true, Ordering::Release);
                self.call_off(|_| true);
            }
            AgentMessage::CutOff => {
                self.cut_off = true;
                self.environment.slots.abort();
            }
        }
        Ok(())
    }

    async fn ended(&mut self) {
        // Dropping an engine is code of the user: not here, but in a task.
        let cells = std::mem::take(&mut self.cells);
        // An aborted attempt drops its execution, which hands the job back, and cuts its children off.
        self.environment.slots.abort();
        if self.cut_off {
            // An attempt that is left blocks its thread, and the root has named it.
            drop(tokio::spawn(async move { drop(cells) }));
            return;
        }
        self.tasks.close();
        self.tasks.wait().await;
        let children = &self.environment.slots.children;
        children.close();
        children.wait().await;
        children.reopen();
        if tokio::spawn(async move { drop(cells) }).await.is_err() {
            let agent = self.environment.agent();
            tracing::debug!(target: "volery::agent", %agent, "the async runtime ended before the engines");
        }
    }
}

impl Drop for AgentActor {
    fn drop(&mut self) {
        // After a kill as well.
        self.environment.slots.abort();
    }
}
