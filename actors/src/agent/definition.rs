//! The definition of an agent: name, subscriptions with their engines, limits, policies. A builder; data only.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::{AgentName, BlackboardError, Kinds, Shape, Subscription, Tenant, Viewer};

use super::engine::{Assembling, Engine, Runner};
use super::outputs::IntoOutputs;
use super::retry::Retry;

/// Jobs of one agent that run at once unless told otherwise. Half would leave engines that wait for a network idle; a
/// multiple would surprise services that are called.
const CONCURRENCY_DEFAULT: u32 = 8;

/// Makes the engine of one life of an agent.
pub(crate) type Factory = Arc<dyn Fn() -> Arc<dyn Runner> + Send + Sync>;

/// Registers the kinds that an engine may publish.
pub(crate) type RegisterOutputs = fn(&mut Kinds) -> Result<(), BlackboardError>;

/// An agent: what it wants, what it does, within which limits.
#[must_use]
pub struct Agent {
    parts: AgentParts,
}

pub(crate) struct AgentParts {
    pub(crate) viewer: Viewer,
    pub(crate) subscriptions: Vec<(Subscription, Factory)>,
    pub(crate) outputs: Vec<RegisterOutputs>,
    pub(crate) concurrency: u32,
    pub(crate) retry: Retry,
    pub(crate) cancel_grace: Duration,
    pub(crate) expected: Option<Duration>,
}

impl Agent {
    /// Names a new agent. The name is unique within a runtime and stable over restarts of the process: waiting work is
    /// found again by it. Subscriptions are known by name and position, so the order of [`consumes`](Self::consumes)
    /// has to stay the same over restarts, too.
    pub fn new(name: impl Into<AgentName>) -> Self {
        let viewer = Viewer { name: name.into(), ..Viewer::default() };
        Self {
            parts: AgentParts {
                viewer,
                subscriptions: Vec::new(),
                outputs: Vec::new(),
                concurrency: CONCURRENCY_DEFAULT,
                retry: Retry::none(),
                cancel_grace: Duration::ZERO,
                expected: None,
            },
        }
    }

    /// Declares an interest; [`AgentDraft::engine`] completes it. Several interests are alternatives, each with its
    /// engine.
    pub fn consumes<S: Shape + 'static>(self, shape: S) -> AgentDraft<S> {
        AgentDraft { agent: self, shape }
    }

    /// Runs at most this many jobs at once. Default 8; 0 counts as 1.
    pub fn concurrency(mut self, jobs: u32) -> Self {
        self.parts.concurrency = jobs.max(1);
        self
    }

    /// Retries failed attempts. Default: a single attempt.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.parts.retry = retry;
        self
    }

    /// Gives a cancelled engine this long to end by itself before its future is dropped. Default: none.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.parts.cancel_grace = grace;
        self
    }

    /// Says how long an attempt takes at most when all is well; the lookout tells of those that take longer, and ends
    /// none. Default: any time.
    pub fn expected(mut self, time: Duration) -> Self {
        self.parts.expected = Some(time);
        self
    }

    /// Labels the agent, for artifacts that only certain labels may see.
    pub fn labels<L: Into<String>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.parts.viewer.labels = labels.into_iter().map(Into::into).collect::<BTreeSet<_>>();
        self
    }

    /// Makes the agent part of a tenant. Default: the tenant `default`.
    pub fn tenant(mut self, tenant: impl Into<Tenant>) -> Self {
        self.parts.viewer.tenant = tenant.into();
        self
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &AgentName {
        &self.parts.viewer.name
    }

    pub(crate) fn into_parts(self) -> AgentParts {
        self.parts
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subscriptions: Vec<_> =
            self.parts.subscriptions.iter().map(|(subscription, _)| subscription).collect();
        f.debug_struct("Agent")
            .field("name", self.name())
            .field("subscriptions", &subscriptions)
            .field("concurrency", &self.parts.concurrency)
            .finish_non_exhaustive()
    }
}

/// An agent with an interest that has no engine yet.
#[must_use]
pub struct AgentDraft<S> {
    agent: Agent,
    shape: S,
}

impl<S: Shape + 'static> AgentDraft<S> {
    /// Calls this engine with what the shape collects.
    pub fn engine<E: Engine<S::Input>>(self, engine: E) -> Agent {
        let runner: Arc<dyn Runner> = Arc::new(Assembling::<S, E>::new(engine));
        self.with_factory::<E::Output>(Arc::new(move || Arc::clone(&runner)))
    }

    /// Makes an engine with state: for every life of the agent (a restart of the curator begins a new one), and again
    /// after an attempt panicked.
    ///
    /// The factory runs in the agent's actor: it must not block, and a panic in it ends that life.
    pub fn engine_with<E: Engine<S::Input>>(self, make: impl Fn() -> E + Send + Sync + 'static) -> Agent {
        self.with_factory::<E::Output>(Arc::new(move || Arc::new(Assembling::<S, E>::new(make()))))
    }

    fn with_factory<O: IntoOutputs>(self, factory: Factory) -> Agent {
        let mut agent = self.agent;
        agent.parts.subscriptions.push((self.shape.subscription(), factory));
        agent.parts.outputs.push(O::register);
        agent
    }

    /// See [`Agent::concurrency`].
    pub fn concurrency(self, jobs: u32) -> Self {
        Self { agent: self.agent.concurrency(jobs), ..self }
    }

    /// See [`Agent::retry`].
    pub fn retry(self, retry: Retry) -> Self {
        Self { agent: self.agent.retry(retry), ..self }
    }

    /// See [`Agent::cancel_grace`].
    pub fn cancel_grace(self, grace: Duration) -> Self {
        Self { agent: self.agent.cancel_grace(grace), ..self }
    }

    /// See [`Agent::expected`].
    pub fn expected(self, time: Duration) -> Self {
        Self { agent: self.agent.expected(time), ..self }
    }

    /// See [`Agent::labels`].
    pub fn labels<L: Into<String>>(self, labels: impl IntoIterator<Item = L>) -> Self {
        Self { agent: self.agent.labels(labels), ..self }
    }

    /// See [`Agent::tenant`].
    pub fn tenant(self, tenant: impl Into<Tenant>) -> Self {
        Self { agent: self.agent.tenant(tenant), ..self }
    }
}

impl<S> fmt::Debug for AgentDraft<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentDraft").field("agent", &self.agent).finish_non_exhaustive()
    }
}
