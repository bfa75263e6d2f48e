//! Fallback: what runs once when a job would be given up, and may still end it well.
//!
//! It runs in the task of the attempt that failed last, and is an engine like any other: what it returns is published, and
//! the job is done. When it fails as well, the job is given up after all.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use volery_blackboard::job::Start;
use volery_blackboard::shape::Inputs;
use volery_blackboard::{Artifact, Shape, SubscriptionIndex};

use super::context::Context;
use super::engine::{Engine, Running};
use super::outputs::{IntoOutputs, Outputs};
use crate::fault::Fault;

/// Why a job would be given up: what its fallback is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GaveUp {
    /// Failed attempts.
    pub attempts: u32,
    /// Why the last one failed, root cause last.
    pub error: Vec<String>,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gave up after {} attempts: {}", self.attempts, self.error.join(": "))
    }
}

/// A fallback as an attempt sees it.
pub(crate) trait Rescue: Send + Sync + 'static {
    fn run(
        &self,
        start: Arc<Start>,
        artifacts: Arc<[Arc<Artifact>]>,
        gave_up: GaveUp,
        context: Context,
    ) -> Running;
}

/// An agent's fallbacks, by subscription.
#[derive(Clone)]
pub(crate) struct Fallbacks {
    pub(crate) first: SubscriptionIndex,
    pub(crate) list: Vec<Option<Arc<dyn Rescue>>>,
}

impl Fallbacks {
    pub(super) fn of(&self, subscription: SubscriptionIndex) -> Option<&dyn Rescue> {
        let place = subscription.at().checked_sub(self.first.at())?;
        self.list.get(place)?.as_deref()
    }
}

impl fmt::Debug for Fallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there: Vec<bool> = self.list.iter().map(Option::is_some).collect();
        f.debug_struct("Fallbacks").field("first", &self.first).field("there", &there).finish()
    }
}

pub(super) struct Rescuing<S, E> {
    engine: Arc<E>,
    shape: PhantomData<fn() -> S>,
}

impl<S, E> Rescuing<S, E> {
    pub(super) fn new(engine: E) -> Self {
        Self { engine: Arc::new(engine), shape: PhantomData }
    }
}

impl<S: Shape + 'static, E: Engine<(S::Input, GaveUp)>> Rescue for Rescuing<S, E> {
    fn run(
        &self,
        start: Arc<Start>,
        artifacts: Arc<[Arc<Artifact>]>,
        gave_up: GaveUp,
        context: Context,
    ) -> Running {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            let input = S::assemble(&mut Inputs::new(&start.members, &artifacts))?;
            let mut outputs = Outputs::none();
            engine.run((input, gave_up), context).await?.add_to(&mut outputs);
            Ok(outputs)
        })
    }
}

/// The fallback of a job failed as well. Cause: why the job failed.
#[derive(Debug, thiserror::Error)]
#[error("the fallback failed as well: {text}")]
pub(super) struct FellThrough {
    pub(super) text: String,
    #[source]
    pub(super) cause: Fault,
}
