//! The context: what an engine may see of its attempt, besides its inputs.
//!
//! It gives no way to publish: outputs are what the engine returns.

use std::sync::{Arc, Weak};

use tokio_util::sync::CancellationToken;
use volery_blackboard::{AgentName, Artifact, JobId, RunId, Timestamp};

use super::roll::Entry;
use crate::clock::Clock;
use crate::root::Protection;

/// An attempt as its engine sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    agent: AgentName,
    job: JobId,
    run: RunId,
    attempt: u32,
    inputs: Arc<[Arc<Artifact>]>,
    cancel: CancellationToken,
    /// Weak, so that a context that somebody keeps does not look like a running attempt.
    entry: Weak<Entry>,
    clock: Clock,
}

impl Context {
    pub(crate) fn new(
        agent: AgentName,
        (job, run, attempt): (JobId, RunId, u32),
        inputs: Arc<[Arc<Artifact>]>,
        (cancel, entry): (CancellationToken, Weak<Entry>),
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Parts { agent, job, run, attempt, inputs, cancel, entry, clock }))
    }

    /// Returns the agent's name.
    #[must_use]
    pub fn agent(&self) -> &AgentName {
        &self.0.agent
    }

    /// Returns the job: the same for every attempt.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.0.job
    }

    /// Returns the run that the outputs will belong to.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.0.run
    }

    /// Returns the attempt, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Returns the input artifacts with all that is known about them, in input order.
    #[must_use]
    pub fn inputs(&self) -> &[Arc<Artifact>] {
        &self.0.inputs
    }

    /// Returns a key that is the same for every attempt of this job and different for every other job, to make effects
    /// outside of the board idempotent.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.0.job.to_string()
    }

    /// Returns the runtime's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Tells whether the attempt is being cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    /// Waits until the attempt is being cancelled. Cancel safe.
    ///
    /// Useful with a cancellation grace (see the agent's `cancel_grace`); without one the engine's future is dropped as
    /// soon as it is cancelled.
    pub async fn cancelled(&self) {
        self.0.cancel.cancelled().await;
    }

    /// Begins a critical section, which ends when the result is dropped: what is done in between is not cut short.
    ///
    /// While it lasts, a cancellation, of the run or by a shutdown, does not drop the engine's future; it does so right
    /// after (and not before the agent's `cancel_grace` is over). [`Context::is_cancelled`] and [`Context::cancelled`]
    /// tell of the cancellation at once, so an engine can leave the section early. Sections may overlap; the last one
    /// counts.
    ///
    /// What it does not hold back: the deadline of a shutdown (the report then says that the attempt was cut off in a
    /// protected section), the restart of the agent, and the end of the process. A section that begins when the attempt
    /// has ended holds nothing back.
    pub fn protect(&self) -> Protection {
        self.0.entry.upgrade().map_or_else(Protection::none, |entry| entry.protect())
    }

    /// Keeps the attempt on the roll, for engines that go on when their future is gone.
    pub(super) fn stay(&self) -> Option<Arc<Entry>> {
        self.0.entry.upgrade()
    }
}
