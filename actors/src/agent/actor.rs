//! The agent's actor: accepts jobs within its credit and runs each attempt as a task of its own.
//!
//! It decides nothing about jobs; the board does. It holds at most as many jobs as the board gave it credit for, and
//! when it ends, attempts that still run are cancelled and hand their jobs back. It calls no code of the user.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `Run` | starts an attempt; hands the job back when the runtime stops | never; the attempt tells its own end |
//! | `Bury` | gives a job up without another attempt, in a task | never; the task tells the end |
//! | `Cancel` | cancels the attempt of a job | never; unknown jobs have ended already |
//! | `ReleaseAll` | cancels every attempt; the jobs are handed back | never |
//! | `CutOff` | aborts every attempt, and waits for none of them | never |

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;
use tokio::task::JoinSet;
use volery_blackboard::job::Start;
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Artifacts, Response};
use volery_blackboard::{JobId, SubscriptionIndex};

use super::attempt::{Guard, Reaped, Task, bury, run};
use super::bench::Bench;
use super::definition::Factory;
use super::pulse::Pulse;
use super::roll::Entry;
use super::seat::Seat;
use crate::fault::Fault;
use crate::supervision::Life;

/// What an agent's actor is told.
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
    /// The time to be dropped is over: abort every attempt. One that blocks its thread is left behind.
    CutOff,
}

/// One life of an agent.
pub(crate) struct AgentActor {
    bench: Arc<Bench>,
    /// The agent's first subscription; the others follow it.
    first: SubscriptionIndex,
    factories: Arc<[Factory]>,
    seats: Vec<Arc<Seat>>,
    attempts: JoinSet<Reaped>,
    /// The running attempt of each job.
    running: FxHashMap<JobId, Arc<Entry>>,
    /// Attempts that do not end are not waited for.
    cut_off: bool,
}

impl AgentActor {
    pub(crate) fn new(bench: Arc<Bench>, first: SubscriptionIndex, factories: Arc<[Factory]>) -> Self {
        let seats = factories.iter().map(|make| Arc::new(Seat::new(&bench.name, make))).collect();
        let (attempts, running) = (JoinSet::new(), FxHashMap::default());
        Self { bench, first, factories, seats, attempts, running, cut_off: false }
    }

    fn start(&mut self, start: Arc<Start>, inputs: Response<Artifacts>) {
        self.reap();
        let rescued = self.bench.fallbacks.of(start.subscription).is_some();
        let pulse = if rescued { Pulse::with_fallback() } else { Pulse::new() };
        let expected = self.bench.expected;
        let (guard, entry) = Guard::new(Arc::clone(&start), Arc::clone(&self.bench), pulse, expected);
        if self.takes_nothing() {
            return drop(guard);
        }
        let ordinal = (start.subscription.0 - self.first.0) as usize;
        self.running.insert(start.job, Arc::clone(&entry));
        let seat = &mut self.seats[ordinal];
        let fresh = || Arc::new(Seat::new(&self.bench.name, &self.factories[ordinal]));
        let retired = seat.is_suspect().then(|| std::mem::replace(seat, fresh()));
        let seat = Arc::clone(seat);
        self.attempts.spawn(run(Task { start, inputs, entry, seat, retired }, guard));
    }

    fn bury(&mut self, start: Arc<Start>, inputs: Response<Artifacts>, why: Burial) {
        self.reap();
        let (guard, _) = Guard::new(Arc::clone(&start), Arc::clone(&self.bench), Pulse::new(), None);
        if self.takes_nothing() {
            return drop(guard);
        }
        self.attempts.spawn(bury(start, inputs, why, guard));
    }

    /// Its attempts have been released or cut off, and nobody would do that for another one: a job that comes is handed
    /// back, by the drop of its guard.
    fn takes_nothing(&self) -> bool {
        self.cut_off || self.bench.stopping.load(Ordering::Acquire)
    }

    /// Takes note of attempts that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.attempts.try_join_next() {
            // An aborted task has no result; attempts are aborted only when this life ends.
            let Ok(reaped) = ended else { continue };
            // The next attempt of the same job may have begun before this one was reaped.
            if self.running.get(&reaped.job).is_some_and(|entry| entry.attempt == reaped.attempt) {
                self.running.remove(&reaped.job);
            }
        }
    }

    /// A job that an earlier life of the curator sent has been started anew by this one.
    fn is_stale(&self, epoch: u64) -> bool {
        epoch != self.bench.workshop.ingress.epoch()
    }
}

impl Life for AgentActor {
    type Message = AgentMessage;

    async fn handle(&mut self, message: AgentMessage) -> Result<(), Fault> {
        match message {
            AgentMessage::Run { epoch, .. } | AgentMessage::Bury { epoch, .. } if self.is_stale(epoch) => {}
            AgentMessage::Run { start, inputs, .. } => self.start(start, inputs),
            AgentMessage::Bury { start, inputs, why, .. } => self.bury(start, inputs, why),
            AgentMessage::Cancel(job) => {
                if let Some(entry) = self.running.get(&job) {
                    entry.pulse.cancel(self.bench.workshop.clock.now());
                }
            }
            AgentMessage::ReleaseAll => {
                self.bench.stopping.store(true, Ordering::Release);
                let now = self.bench.workshop.clock.now();
                self.running.values().for_each(|entry| entry.pulse.cancel(now));
            }
            AgentMessage::CutOff => {
                self.cut_off = true;
                self.attempts.abort_all();
            }
        }
        Ok(())
    }

    async fn ended(&mut self) {
        // Dropping an engine is code of the user: not here, but in a task.
        let seats = std::mem::take(&mut self.seats);
        // Dropping an attempt runs its guard, which hands the job back, and cuts its children off.
        if self.cut_off {
            // All of them have been aborted; whoever is left blocks its thread, and the root has named it.
            self.attempts.detach_all();
            drop(tokio::task::spawn(async move { drop(seats) }));
            return;
        }
        self.attempts.shutdown().await;
        self.bench.children.close();
        self.bench.children.wait().await;
        self.bench.children.reopen();
        if tokio::task::spawn(async move { drop(seats) }).await.is_err() {
            tracing::debug!(target: "volery::agent", agent = %self.bench.name, "the async runtime ended before the engines");
        }
    }
}
