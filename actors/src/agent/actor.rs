//! The agent's actor: accepts jobs within its credit and runs each attempt as a task of its own.
//!
//! It decides nothing about jobs; the board does. It holds at most as many jobs as the board gave it credit for, and
//! when it ends, attempts that still run are cancelled and hand their jobs back.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `Run` | starts an attempt | never; the attempt tells its own end |
//! | `Cancel` | cancels the attempt of a job | never; unknown jobs have ended already |
//! | `ReleaseAll` | cancels every attempt; the jobs are handed back | never |
//! | `CutOff` | aborts every attempt, and waits for none of them | never |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustc_hash::FxHashMap;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use volery_blackboard::effect::Start;
use volery_blackboard::store::Read;
use volery_blackboard::{JobId, SubscriptionIndex};

use super::attempt::{Bench, Guard, Reaped, run};
use super::definition::Factory;
use super::engine::Runner;
use crate::supervision::{self, Life};

/// What an agent's actor is told.
#[derive(Debug)]
pub(crate) enum AgentMessage {
    /// Run this attempt with these inputs.
    Run {
        start: Arc<Start>,
        inputs: Read,
        /// The curator's life that sent it.
        epoch: u64,
    },
    /// Cancel the attempt of this job.
    Cancel(JobId),
    /// The runtime stops: cancel every attempt, and hand its job back.
    ReleaseAll,
    /// The time to be dropped is over: abort every attempt. One that blocks its thread is left behind.
    CutOff,
}

/// One life of an agent.
pub(crate) struct AgentActor {
    bench: Arc<Bench>,
    /// The agent's first subscription; the others follow it.
    first: SubscriptionIndex,
    factories: Arc<[Factory]>,
    engines: Vec<Fitted>,
    attempts: JoinSet<Reaped>,
    /// The running attempt of each job, and how to cancel it.
    cancels: FxHashMap<JobId, (u32, CancellationToken)>,
    /// Attempts that do not end are not waited for.
    cut_off: bool,
}

impl AgentActor {
    pub(crate) fn new(bench: Arc<Bench>, first: SubscriptionIndex, factories: Arc<[Factory]>) -> Self {
        let engines = factories.iter().map(Fitted::new).collect();
        let (attempts, cancels) = (JoinSet::new(), FxHashMap::default());
        Self { bench, first, factories, engines, attempts, cancels, cut_off: false }
    }

    fn start(&mut self, start: Arc<Start>, inputs: Read) {
        // Before anything else: making an engine anew runs the user's code, and may end this life.
        let guard = Guard::new(Arc::clone(&start), Arc::clone(&self.bench));
        self.reap();
        let ordinal = (start.subscription.0 - self.first.0) as usize;
        let cancel = CancellationToken::new();
        self.cancels.insert(start.job, (start.attempt, cancel.clone()));
        let fitted = &mut self.engines[ordinal];
        if fitted.suspect.load(Ordering::Acquire) {
            *fitted = Fitted::new(&self.factories[ordinal]);
        }
        let engine = fitted.clone();
        self.attempts.spawn(run((start, inputs), guard, engine, cancel));
    }

    /// Takes note of attempts that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.attempts.try_join_next() {
            // An aborted task has no result; attempts are aborted only when this life ends.
            let Ok(reaped) = ended else { continue };
            // The next attempt of the same job may have begun before this one was reaped.
            if self.cancels.get(&reaped.job).is_some_and(|(attempt, _)| *attempt == reaped.attempt) {
                self.cancels.remove(&reaped.job);
            }
        }
    }
}

/// An engine, and whether it panicked: then it may be half-updated, and is replaced before the next attempt.
///
/// The attempt itself says so before it tells its end, so that no attempt that follows from that end can come first.
#[derive(Clone)]
pub(super) struct Fitted {
    pub(super) runner: Arc<dyn Runner>,
    pub(super) suspect: Arc<AtomicBool>,
}

impl Fitted {
    fn new(make: &Factory) -> Self {
        Self { runner: make(), suspect: Arc::default() }
    }
}

impl Life for AgentActor {
    type Message = AgentMessage;

    async fn handle(&mut self, message: AgentMessage) -> Result<(), supervision::Fault> {
        match message {
            // A job that an earlier life of the curator sent has been started anew by this one.
            AgentMessage::Run { epoch, .. } if epoch != self.bench.workshop.ingress.epoch() => {}
            AgentMessage::Run { start, inputs, .. } => self.start(start, inputs),
            AgentMessage::Cancel(job) => {
                if let Some((_, cancel)) = self.cancels.get(&job) {
                    cancel.cancel();
                }
            }
            AgentMessage::ReleaseAll => {
                self.bench.stopping.store(true, Ordering::Release);
                self.cancels.values().for_each(|(_, cancel)| cancel.cancel());
            }
            AgentMessage::CutOff => {
                self.cut_off = true;
                self.attempts.abort_all();
            }
        }
        Ok(())
    }

    async fn ended(&mut self) {
        // Dropping an attempt runs its guard, which hands the job back.
        if self.cut_off {
            // All of them have been aborted; whoever is left blocks its thread, and the root has named it.
            self.attempts.detach_all();
        } else {
            self.attempts.shutdown().await;
        }
    }
}
