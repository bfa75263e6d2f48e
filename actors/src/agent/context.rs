//! The context: an engine's view of its attempt, besides its inputs.
//!
//! It gives no way to publish: the engine returns its outputs.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use volery_blackboard::job::Member;
use volery_blackboard::{AgentName, Artifact, JobId, RunId, Timestamp};
use volery_observability::Metrics;
use volery_observability::trace::Scope;

use super::attempt::{Attempt, Call, PresenceGuard};
use super::child::{ChildTask, Children};
use crate::hold::Protection;

/// An attempt as its engine sees it. Cheap to clone. A context that is kept does not keep the attempt
/// present.
#[derive(Clone)]
pub struct Context {
    attempt: Arc<Attempt>,
    of_fallback: bool,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl Context {
    pub(super) fn of_engine(attempt: &Arc<Attempt>) -> Self {
        Self { attempt: Arc::clone(attempt), of_fallback: false }
    }

    pub(super) fn of_fallback(attempt: &Arc<Attempt>) -> Self {
        Self { attempt: Arc::clone(attempt), of_fallback: true }
    }

    pub(super) fn call(&self) -> &Call {
        if self.of_fallback { self.attempt.fallback() } else { &self.attempt.engine }
    }

    /// Returns which artifacts the inputs are, in input order.
    pub(super) fn members(&self) -> &[Member] {
        &self.attempt.start.members
    }

    /// Returns where the engine runs.
    pub(super) fn scope(&self) -> Scope {
        self.call().scope()
    }

    /// Cancels the call because its time is over.
    pub(super) fn time_out(&self) {
        self.attempt.time_out(self.call(), self.now());
    }

    /// Waits until the attempt is in no protected section. Cancel safe.
    pub(super) async fn unprotected(&self) {
        self.attempt.unprotected().await;
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.attempt.slots.metrics
    }

    /// Returns the W3C `traceparent` of the engine's call, for the services that it calls. `None` when there
    /// is no trace: the runtime has no tracer. In a run that is not recorded it says so.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.scope().propagation().map(|place| place.traceparent())
    }

    /// Returns the agent's name.
    #[must_use]
    pub fn agent(&self) -> &AgentName {
        self.attempt.agent()
    }

    /// Returns the job: the same for every attempt.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.attempt.start.job
    }

    /// Returns the run that the outputs will belong to.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.attempt.start.run
    }

    /// Returns the attempt, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt.start.attempt
    }

    /// Returns the input artifacts with all that is known about them, in input order.
    #[must_use]
    pub fn inputs(&self) -> &[Arc<Artifact>] {
        self.attempt.inputs()
    }

    /// Returns a key that is the same for every attempt of this job and different for every other job, to
    /// make effects outside of the board idempotent.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.attempt.start.job.to_string()
    }

    /// Returns the runtime's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.attempt.slots.clock.now()
    }

    /// Tells whether the attempt is being cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.attempt.is_cancelled(self.call())
    }

    /// Waits until the attempt is being cancelled. Cancel safe.
    ///
    /// Useful with a cancellation grace (see the agent's `cancel_grace`); without one the engine's future is
    /// dropped as soon as it is cancelled.
    pub async fn cancelled(&self) {
        self.attempt.cancelled(self.call()).await;
    }

    /// Begins a critical section, which ends when the result is dropped: what is done in between is not cut
    /// short.
    ///
    /// While it lasts, a cancellation, of the run, by a time-out or by a shutdown, does not drop the engine's
    /// future; it does so right after (and not before the agent's `cancel_grace` is over).
    /// [`Context::is_cancelled`] and [`Context::cancelled`] tell of the cancellation at once, so an engine
    /// can leave the section early. Sections may overlap; the last one counts.
    ///
    /// It does not hold back the deadline of a shutdown (the report then says that the attempt was cut off in
    /// a protected section), the restart of the agent, and the end of the process. A section that begins when
    /// the attempt has ended holds nothing back.
    pub fn protect(&self) -> Protection {
        self.attempt.protect()
    }

    /// Keeps the attempt present, for engines that go on when their future is gone.
    pub(super) fn keep_present(&self) -> Option<PresenceGuard> {
        self.attempt.keep_present()
    }

    /// Waits until fewer calls of the agent block than its concurrency allows, those of ended attempts
    /// included.
    pub(super) async fn blocking_slot(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes it.
        Arc::clone(&self.attempt.slots.blocking).acquire_owned().await.ok()
    }

    /// Says that the attempt makes progress: the agent's idle time-out begins anew. Costs a reading of the
    /// clock and one store; call it as often as you like.
    pub fn progress(&self) {
        self.call().progress.record(self.now());
    }

    /// Says that the attempt makes progress, and what it is at from now on: `ctx.progress_on("calling the
    /// model")`. A time-out names the last of these, and so does the list of running jobs.
    pub fn progress_on(&self, what: impl Into<Cow<'static, str>>) {
        self.call().progress.record_note(what.into(), self.now());
    }

    /// Starts a task that lives no longer than this attempt: when the attempt has ended, however that may be,
    /// the task is cut off at its next await, and the attempt's end is sent only when it is gone. (When the
    /// life of the agent is killed, the task is cut off, and nobody waits for it.) A panic in it is in its
    /// result and nowhere else.
    ///
    /// Called after the attempt's end, it starts nothing: the result is
    /// [`ChildError::CutOff`](super::ChildError).
    ///
    /// A task that blocks its thread holds the attempt's end up.
    pub fn spawn<F>(&self, future: F) -> ChildTask<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        match self.children() {
            Some(children) => {
                let scope = self.scope();
                children.spawn(self.attempt.watch_child(async move { scope.run(future).await }))
            }
            None => ChildTask::cut_off(),
        }
    }

    pub(super) fn children(&self) -> Option<&Children> {
        self.call().children(&self.attempt.slots)
    }
}
