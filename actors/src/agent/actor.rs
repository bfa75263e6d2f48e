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

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use volery_blackboard::effect::Start;
use volery_blackboard::{JobId, SubscriptionIndex};

use super::attempt::{Bench, EngineState, Reaped, run};
use super::definition::Factory;
use super::engine::Runner;
use crate::supervision::{self, Life};

/// What an agent's actor is told.
#[derive(Debug)]
pub(crate) enum AgentMessage {
    /// Run this attempt.
    Run(Arc<Start>),
    /// Cancel the attempt of this job.
    Cancel(JobId),
    /// The runtime stops: cancel every attempt, and hand its job back.
    ReleaseAll,
}

/// One life of an agent.
pub(crate) struct AgentActor {
    bench: Arc<Bench>,
    /// The agent's first subscription; the others follow it.
    first: SubscriptionIndex,
    factories: Arc<[Factory]>,
    engines: Vec<Arc<dyn Runner>>,
    attempts: JoinSet<Reaped>,
    /// The running attempt of each job, and how to cancel it.
    cancels: HashMap<JobId, (u32, CancellationToken)>,
}

impl AgentActor {
    pub(crate) fn new(bench: Arc<Bench>, first: SubscriptionIndex, factories: Arc<[Factory]>) -> Self {
        let engines = factories.iter().map(|make| make()).collect();
        Self { bench, first, factories, engines, attempts: JoinSet::new(), cancels: HashMap::new() }
    }

    fn start(&mut self, start: Arc<Start>) {
        self.reap();
        let ordinal = (start.subscription.0 - self.first.0) as usize;
        let cancel = CancellationToken::new();
        self.cancels.insert(start.job, (start.attempt, cancel.clone()));
        let (bench, engine) = (Arc::clone(&self.bench), Arc::clone(&self.engines[ordinal]));
        self.attempts.spawn(run(start, bench, engine, cancel));
    }

    /// Takes note of attempts that have ended; an engine that panicked is replaced before the next job sees it.
    fn reap(&mut self) {
        while let Some(ended) = self.attempts.try_join_next() {
            // An aborted task has no result; attempts are aborted only when this life ends.
            let Ok(reaped) = ended else { continue };
            // The next attempt of the same job may have begun before this one was reaped.
            if self.cancels.get(&reaped.job).is_some_and(|(attempt, _)| *attempt == reaped.attempt) {
                self.cancels.remove(&reaped.job);
            }
            if reaped.engine == EngineState::Suspect {
                let ordinal = (reaped.subscription.0 - self.first.0) as usize;
                self.engines[ordinal] = self.factories[ordinal]();
            }
        }
    }
}

impl Life for AgentActor {
    type Message = AgentMessage;

    async fn handle(&mut self, message: AgentMessage) -> Result<(), supervision::Fault> {
        match message {
            AgentMessage::Run(start) => self.start(start),
            AgentMessage::Cancel(job) => {
                if let Some((_, cancel)) = self.cancels.get(&job) {
                    cancel.cancel();
                }
            }
            AgentMessage::ReleaseAll => {
                self.bench.stopping.store(true, Ordering::Release);
                self.cancels.values().for_each(|(_, cancel)| cancel.cancel());
            }
        }
        Ok(())
    }

    async fn ended(&mut self) {
        // Dropping an attempt runs its guard, which hands the job back.
        self.attempts.shutdown().await;
    }
}
