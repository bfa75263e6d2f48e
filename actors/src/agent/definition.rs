//! The definition of an agent: name, subscriptions with their engines, limits, policies. A builder; data
//! only.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::{AgentName, BlackboardError, Kinds, Shape, Subscription, Tenant, Viewer};

use super::engine::{Assembling, Calls, Engine, Factory, Rescue, Runner};
use super::failure::GaveUp;
use super::outputs::IntoOutputs;
use super::retry::Retry;
use super::timeout::{TIMEOUT_MIN, Timeouts};
use crate::error::{Cause, Result as Checked};
use crate::fault::Fault;
use crate::intensity::{PastIntensity, Rule};
use crate::supervision::Intensity;

/// Jobs of one agent that run at once by default. Half would leave engines that wait for a network idle; a
/// multiple would surprise services that are called.
const CONCURRENCY_DEFAULT: u32 = 8;

/// Panics of an agent's engines by default. A job whose input makes its engine panic costs one each, and some
/// of those pass in every service; an agent that panics at every job passes this within a second at most of
/// what a machine does. A tenth of it would stop an agent for a handful of bad inputs; ten times as much
/// would let a broken one turn thousands of jobs into dead letters first.
const INTENSITY_DEFAULT: Intensity = Intensity { restarts: 100, within: Duration::from_secs(10) };

/// Registers the kinds that an engine may publish.
pub(crate) type RegisterOutputs = fn(&mut Kinds) -> Result<(), BlackboardError>;

/// An agent: what it wants, what it does, within which limits.
#[must_use]
pub struct Agent {
    parts: AgentParts,
}

pub(crate) struct AgentParts {
    pub(crate) viewer: Viewer,
    pub(crate) subscriptions: Vec<(Subscription, Calls)>,
    pub(crate) outputs: Vec<RegisterOutputs>,
    pub(crate) concurrency: u32,
    pub(crate) retry: Retry,
    pub(crate) cancel_grace: Duration,
    pub(crate) expected: Option<Duration>,
    pub(crate) timeouts: Timeouts,
    pub(crate) rule: Rule,
    /// Whether it says that it calls models.
    pub(crate) models: bool,
}

impl Agent {
    /// Names a new agent. The name is unique within a runtime and stable over restarts of the process:
    /// waiting work is found again by it. Subscriptions are known by name and position, so the order of
    /// [`consumes`](Self::consumes) has to stay the same over restarts, too.
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
                timeouts: Timeouts::default(),
                rule: Rule { intensity: INTENSITY_DEFAULT, past: PastIntensity::default() },
                models: false,
            },
        }
    }

    /// Declares an interest; [`AgentDraft::engine`] completes it. Several interests are alternatives, each
    /// with its engine.
    pub fn consumes<S: Shape + 'static>(self, shape: S) -> AgentDraft<S> {
        AgentDraft { agent: self, shape, fallback: None }
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

    /// Says how long an attempt takes at most when all is well; the lookout tells of those that take longer,
    /// and ends none. Default: any time.
    pub fn expected(mut self, time: Duration) -> Self {
        self.parts.expected = Some(time);
        self
    }

    /// Lets an attempt take this long in all, reading its inputs and making its engine included. Default: no
    /// limit; at least 1 ms.
    ///
    /// When it is over, the attempt is cancelled as its run would cancel it, `cancel_grace` included, and
    /// fails with [`TimedOut`](super::TimedOut), whatever the engine still returns; [`Retry`] decides what
    /// follows. An `on_thread` engine goes on in its thread, and its result is dropped.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.parts.timeouts.attempt = Some(limit);
        self
    }

    /// Lets an attempt go on this long without [`Context::progress`](super::Context::progress), counted from
    /// the call of the engine at first. Default: no limit; at least 1 ms. The consequences are those of
    /// [`timeout`](Self::timeout).
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.parts.timeouts.idle = Some(limit);
        self
    }

    /// Lets a job wait this long for a slot. Default: no limit; at least 1 ms.
    ///
    /// It counts from when the inputs are complete, and for a further attempt from the end of its back-off.
    /// It begins anew when the agent is resumed, when a store that was down works again, and when the curator
    /// is restarted. A job that waits too long is not tried again: it becomes a dead letter and a `Failure`,
    /// with the text of a [`TimedOut`](super::TimedOut) that says who had the slots. At most as many as the
    /// agent has slots are given up at a time.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.parts.timeouts.queue = Some(limit);
        self
    }

    /// Tolerates this many panics of the agent's engines in a sliding window; a factory that fails or panics
    /// counts as well. Default: 100 in 10 s; the window is at least 1 ms long.
    ///
    /// A panic fails its attempt, and [`Retry`] decides about the job. The engine is made anew before the
    /// next attempt, without a back-off.
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.parts.rule.intensity = intensity;
        self
    }

    /// Says what follows when the engines panic more often than that. Default: a quarantine until the agent
    /// is resumed.
    pub fn past_intensity(mut self, past: PastIntensity) -> Self {
        self.parts.rule.past = past;
        self
    }

    /// Says that the agent's engines call models: its attempts and their runs say so in traces. Needed only
    /// by engines that call models without [`Context::model_call`](super::Context::model_call), which says it
    /// when it happens. Default: no.
    pub fn calls_models(mut self) -> Self {
        self.parts.models = true;
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

impl AgentParts {
    /// Checks the spans of time.
    pub(crate) fn validate(&self) -> Checked<()> {
        let resume_after = match self.rule.past {
            PastIntensity::Quarantine { resume_after } => resume_after,
            PastIntensity::Escalate => None,
        };
        let spans = [
            ("timeout", self.timeouts.attempt),
            ("idle_timeout", self.timeouts.idle),
            ("queue_timeout", self.timeouts.queue),
            ("window of the intensity", Some(self.rule.intensity.within)),
            ("resume_after", resume_after),
        ];
        for (limit, span) in spans {
            if let Some(span) = span.filter(|span| *span < TIMEOUT_MIN) {
                let agent = self.viewer.name.to_string();
                return Err(Cause::TooShort { agent, limit, span }.into());
            }
        }
        Ok(())
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
    fallback: Option<(Arc<dyn Rescue>, RegisterOutputs)>,
}

impl<S: Shape + 'static> AgentDraft<S> {
    /// Calls this engine with what the shape collects.
    pub fn engine<E: Engine<S::Input>>(self, engine: E) -> Agent {
        let runner: Arc<dyn Runner> = Arc::new(Assembling::<S, E>::new(engine));
        self.with_factory::<E::Output>(Arc::new(move || Ok(Arc::clone(&runner))))
    }

    /// Makes an engine with state: for every life of the agent (a restart of the curator begins a new one),
    /// and again after an attempt panicked.
    ///
    /// The factory runs in the task of the first attempt that needs the engine; others that come meanwhile
    /// wait for it. It must not block for long, as no engine must. A panic in it fails the attempt and counts
    /// against [`Agent::intensity`]; the next attempt tries again.
    pub fn engine_with<E: Engine<S::Input>>(self, make: impl Fn() -> E + Send + Sync + 'static) -> Agent {
        self.try_engine_with(move || Ok::<E, Fault>(make()))
    }

    /// Makes an engine with state like [`engine_with`](Self::engine_with), with a factory that may fail,
    /// which is treated like a panic in it.
    pub fn try_engine_with<E: Engine<S::Input>, F: Into<Fault>>(
        self,
        make: impl Fn() -> Result<E, F> + Send + Sync + 'static,
    ) -> Agent {
        let factory = move || {
            let engine = make().map_err(Into::into)?;
            Ok(Arc::new(Assembling::<S, E>::new(engine)) as Arc<dyn Runner>)
        };
        self.with_factory::<E::Output>(Arc::new(factory))
    }

    /// Calls this engine once when a job of this interest would be given up, because its attempts are used up
    /// or its error is not worth another: with the inputs and the error. Its outputs are published,
    /// and the job is done: neither a dead letter nor a `Failure` comes of it. When it fails or panics as
    /// well, or takes longer than the agent's time-outs allow, the job is given up, with both errors.
    ///
    /// It is part of the last attempt: cut short by a stop or by the end of the process, it runs again after
    /// another attempt. It is not called for jobs that no engine was called for, such as those that waited
    /// too long for a slot.
    pub fn fallback<E: Engine<(S::Input, GaveUp)>>(self, engine: E) -> Self {
        let rescue: Arc<dyn Rescue> = Arc::new(Assembling::<S, E>::new(engine));
        Self { fallback: Some((rescue, E::Output::register)), ..self }
    }

    fn with_factory<O: IntoOutputs>(self, make: Factory) -> Agent {
        let mut agent = self.agent;
        let (fallback, register) = self.fallback.unzip();
        agent.parts.outputs.extend(register);
        agent.parts.subscriptions.push((self.shape.subscription(), Calls { make, fallback }));
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

    /// See [`Agent::timeout`].
    pub fn timeout(self, limit: Duration) -> Self {
        Self { agent: self.agent.timeout(limit), ..self }
    }

    /// See [`Agent::idle_timeout`].
    pub fn idle_timeout(self, limit: Duration) -> Self {
        Self { agent: self.agent.idle_timeout(limit), ..self }
    }

    /// See [`Agent::queue_timeout`].
    pub fn queue_timeout(self, limit: Duration) -> Self {
        Self { agent: self.agent.queue_timeout(limit), ..self }
    }

    /// See [`Agent::intensity`].
    pub fn intensity(self, intensity: Intensity) -> Self {
        Self { agent: self.agent.intensity(intensity), ..self }
    }

    /// See [`Agent::past_intensity`].
    pub fn past_intensity(self, past: PastIntensity) -> Self {
        Self { agent: self.agent.past_intensity(past), ..self }
    }

    /// See [`Agent::calls_models`].
    pub fn calls_models(self) -> Self {
        Self { agent: self.agent.calls_models(), ..self }
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
