//! The context: what an engine may see of its attempt, besides its inputs.
//!
//! It gives no way to publish: outputs are what the engine returns.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use volery_blackboard::job::Start;
use volery_blackboard::{AgentName, Artifact, JobId, RunId, Timestamp};

use super::bench::Bench;
use super::child::{ChildTask, Children};
use super::pulse::Pulse;
use super::roll::{Entry, Presence};
use crate::clock::Clock;
use crate::hold::Protection;
use volery_observability::Metrics;
use volery_observability::trace::Scope;

/// An attempt as its engine sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context(Arc<Parts>);

struct Parts {
    run: RunId,
    /// The attempt; a context that somebody keeps does not keep it on the roll.
    entry: Arc<Entry>,
    /// The pulse of a fallback, which has one of its own.
    own: Option<Pulse>,
    clock: Clock,
    /// Set when they have been read.
    inputs: OnceLock<Arc<[Arc<Artifact>]>>,
    /// Made when the engine starts something beside itself; `None` once the attempt has ended without that.
    children: OnceLock<Option<Children>>,
    all_children: TaskTracker,
    /// Slots for calls that block, as many as the agent's concurrency.
    blocking: Arc<Semaphore>,
    /// Where the engine runs, as traces see it; set when the inputs have been read.
    scope: OnceLock<Scope>,
    /// Where calls of models and tools are counted.
    metrics: Metrics,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("agent", &self.entry.agent)
            .field("job", &self.entry.job)
            .field("run", &self.run)
            .field("attempt", &self.entry.attempt)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

impl Context {
    pub(super) fn new(bench: &Bench, start: &Start, entry: &Arc<Entry>, own: Option<Pulse>) -> Self {
        let parts = Parts {
            run: start.run,
            entry: Arc::clone(entry),
            own,
            clock: bench.workshop.clock.clone(),
            inputs: OnceLock::new(),
            children: OnceLock::new(),
            all_children: bench.children.clone(),
            blocking: Arc::clone(&bench.blocking),
            scope: OnceLock::new(),
            metrics: bench.workshop.seen.metrics().clone(),
        };
        Self(Arc::new(parts))
    }

    pub(super) fn pulse(&self) -> &Pulse {
        self.0.own.as_ref().unwrap_or(&self.0.entry.pulse)
    }

    /// Makes the inputs known; the first ones stay.
    pub(super) fn learn(&self, inputs: Arc<[Arc<Artifact>]>) -> &Arc<[Arc<Artifact>]> {
        self.0.inputs.get_or_init(|| inputs)
    }

    /// Makes known where the engine runs; the first one stays.
    pub(super) fn enter(&self, scope: Scope) -> Scope {
        self.0.scope.get_or_init(|| scope).clone()
    }

    /// Returns where the engine runs.
    pub(super) fn scope(&self) -> Scope {
        self.0.scope.get().cloned().unwrap_or_default()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Returns the W3C `traceparent` of the engine's call, for whoever it calls next. `None` when there is no trace: the
    /// runtime has no tracer. In a run that is not recorded it says so.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.0.scope.get()?.propagation().map(|place| place.traceparent())
    }

    /// Returns the agent's name.
    #[must_use]
    pub fn agent(&self) -> &AgentName {
        &self.0.entry.agent
    }

    /// Returns the job: the same for every attempt.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.0.entry.job
    }

    /// Returns the run that the outputs will belong to.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.0.run
    }

    /// Returns the attempt, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.entry.attempt
    }

    /// Returns the input artifacts with all that is known about them, in input order.
    #[must_use]
    pub fn inputs(&self) -> &[Arc<Artifact>] {
        self.0.inputs.get().map_or(&[], |inputs| inputs)
    }

    /// Returns a key that is the same for every attempt of this job and different for every other job, to make effects
    /// outside of the board idempotent.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.0.entry.job.to_string()
    }

    /// Returns the runtime's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Tells whether the attempt is being cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.pulse().cancel.is_cancelled()
    }

    /// Waits until the attempt is being cancelled. Cancel safe.
    ///
    /// Useful with a cancellation grace (see the agent's `cancel_grace`); without one the engine's future is dropped as
    /// soon as it is cancelled.
    pub async fn cancelled(&self) {
        self.pulse().cancel.cancelled().await;
    }

    /// Begins a critical section, which ends when the result is dropped: what is done in between is not cut short.
    ///
    /// While it lasts, a cancellation, of the run, by a time-out or by a shutdown, does not drop the engine's future; it does
    /// so right after (and not before the agent's `cancel_grace` is over). [`Context::is_cancelled`] and
    /// [`Context::cancelled`] tell of the cancellation at once, so an engine can leave the section early. Sections may
    /// overlap; the last one counts.
    ///
    /// What it does not hold back: the deadline of a shutdown (the report then says that the attempt was cut off in a
    /// protected section), the restart of the agent, and the end of the process. A section that begins when the attempt
    /// has ended holds nothing back.
    pub fn protect(&self) -> Protection {
        self.0.entry.protect()
    }

    /// Keeps the attempt on the roll, for engines that go on when their future is gone.
    pub(super) fn stay(&self) -> Option<Presence> {
        self.0.entry.stay()
    }

    /// Waits until fewer calls of the agent block than its concurrency allows, those of ended attempts included.
    pub(super) async fn blocking_slot(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes it.
        Arc::clone(&self.0.blocking).acquire_owned().await.ok()
    }

    /// Says that the attempt makes progress: the agent's idle time-out begins anew. Costs a reading of the clock and one
    /// store; call it as often as you like.
    pub fn progress(&self) {
        self.pulse().beat(self.0.clock.now());
    }

    /// Says that the attempt makes progress, and what it is at from now on: `ctx.progress_on("calling the model")`. A
    /// time-out names the last of these, and so does the list of running jobs.
    pub fn progress_on(&self, what: impl Into<Cow<'static, str>>) {
        self.pulse().say(what.into(), self.0.clock.now());
    }

    /// Starts a task that lives no longer than this attempt: when the attempt has ended, however that may be, the task is
    /// cut off at its next await, and the attempt's end is told only when it is gone. (When the life of the agent is killed,
    /// the task is cut off, and nobody waits for it.) A panic in it is in its result and nowhere else.
    ///
    /// Called after the attempt's end, it starts nothing: the result is [`ChildError::CutOff`](super::ChildError).
    ///
    /// A task that blocks its thread holds the attempt's end up.
    pub fn spawn<F>(&self, future: F) -> ChildTask<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        match self.children() {
            Some(children) => {
                let scope = self.scope();
                children.spawn(self.0.entry.watch_beside(async move { scope.run(future).await }))
            }
            None => ChildTask::cut_off(),
        }
    }

    pub(super) fn children(&self) -> Option<&Children> {
        self.0.children.get_or_init(|| Some(Children::new(&self.0.all_children))).as_ref()
    }

    /// Cuts off what the engine started beside itself, and waits until it is gone.
    pub(super) async fn end_children(&self) {
        if let Some(Some(children)) = self.0.children.get() {
            children.end().await;
        }
    }

    /// Returns a guard that cuts children off at the end of the attempt, also when the attempt is dropped. Nothing can be
    /// started from then on.
    pub(super) fn cut_off_children(&self) -> impl Drop + Send + use<> {
        CutOff(Arc::clone(&self.0))
    }
}

struct CutOff(Arc<Parts>);

impl Drop for CutOff {
    fn drop(&mut self) {
        if let Some(children) = self.0.children.get_or_init(|| None) {
            children.cut_off();
        }
    }
}
