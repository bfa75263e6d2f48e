//! The builder: what a runtime is made of.

use volery_actors::{Agent, Clock, Resource, Result, RuntimeBuilder, Schedule, Settings};
#[cfg(feature = "telemetry")]
use volery_actors::{Metrics, Providers};
use volery_blackboard::Store;

use crate::volery::Volery;

/// Collects what a runtime is made of. Made by [`Volery::builder`].
#[derive(Debug)]
#[must_use]
pub struct Builder(RuntimeBuilder);

impl Builder {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self(RuntimeBuilder::new(name))
    }

    /// Adds an agent.
    pub fn agent(self, agent: Agent) -> Self {
        Self(self.0.agent(agent))
    }

    /// Adds several agents.
    pub fn agents(self, agents: impl IntoIterator<Item = Agent>) -> Self {
        agents.into_iter().fold(self, Self::agent)
    }

    /// Publishes artifacts at planned times.
    pub fn schedule(self, schedule: Schedule) -> Self {
        Self(self.0.schedule(schedule))
    }

    /// Has values of a resource evicted when they are idle, and all of them dropped after the agents have stopped.
    pub fn resource<T: Send + Sync + 'static>(self, resource: &Resource<T>) -> Self {
        Self(self.0.resource(resource))
    }

    /// Records numbers on the service's meter: `.metrics(Metrics::new(&meter))`. Default: nothing is recorded.
    #[cfg(feature = "telemetry")]
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self(self.0.metrics(metrics))
    }

    /// Shows traces and metrics by the service's providers: those of `telemetry::init` (feature `otlp`), or
    /// `Providers::none().tracer(tracer_provider).meter(meter_provider)`. Default: nothing is shown.
    ///
    /// Every run is a trace then; `docs/observability.md` in the repository says what is in it. The shutdown sends what
    /// waits for an export as its last phase, if the providers know how.
    #[cfg(feature = "telemetry")]
    pub fn telemetry(self, providers: Providers) -> Self {
        Self(self.0.telemetry(providers))
    }

    /// Sets the store. Default: [`Memory`](crate::Memory), which loses everything with the process.
    pub fn store(self, store: impl Store) -> Self {
        Self(self.0.store(store))
    }

    /// Sets every knob, for settings read from a file.
    pub fn settings(self, settings: Settings) -> Self {
        Self(self.0.settings(settings))
    }

    /// Changes some knobs: `.configure(|settings| settings.shutdown_within = Duration::from_secs(5))`.
    pub fn configure(self, change: impl FnOnce(&mut Settings)) -> Self {
        Self(self.0.configure(change))
    }

    /// Sets the clock; for tests that want the same ids every time.
    pub fn clock(self, clock: Clock) -> Self {
        Self(self.0.clock(clock))
    }

    /// Validates everything, then starts it in order.
    ///
    /// # Errors
    /// Of kind [`FixInput`](crate::ErrorKind::FixInput) when an agent's name stands twice, two types claim one kind name
    /// (the error names both), a subscription or a setting makes no sense, or no tokio runtime is there; store errors
    /// when the store does not open; of kind `Report` when a part does not start. Nothing is left running then, nor when
    /// this is dropped before it is done.
    pub async fn start(self) -> Result<Volery> {
        self.0.start().await.map(Volery::new)
    }
}
