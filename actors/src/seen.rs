//! How the runtime is seen: the one place that turns what happens into spans and numbers.
//!
//! Whoever publishes, the attempts and the curator tell it what they did, at the points where the feed is told. What is
//! open (runs, jobs between two attempts) is kept here and not in the curator, so that it outlives the curator's lives.
//! Values that go along with a command close what they opened when they are dropped, so nothing stays open because
//! somebody died. No span is made under a lock of this folder, and nothing here waits.
//! Without a tracer and a meter every call is a branch.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use volery_blackboard::outcome::CloseReason;
use volery_blackboard::{
    AgentIndex, AgentName, RunId, Subscription, SubscriptionIndex, Timestamp, TraceContext,
};
use volery_observability::trace::{Commit, Propagation, Spans};
use volery_observability::{FlushReport, Metrics, Providers};

use crate::clock::Clock;

mod attempt;
mod ended;
mod expired;
mod job;
mod levels;
mod noting;
mod publishing;
mod runs;
mod steps;

pub(crate) use attempt::{AttemptSeen, How};
pub(crate) use ended::End;
pub(crate) use expired::ExpiredSeen;
pub(crate) use noting::SpanNote;
pub(crate) use publishing::{OfRun, Origin, PublishSeen, Source};
pub(crate) use steps::Step;

use job::Jobs;
use noting::Notes;
use runs::Runs;

/// Everything that is needed to show what happens in one runtime.
#[derive(Debug)]
pub(crate) struct Seen {
    spans: Spans,
    metrics: Metrics,
    providers: Providers,
    clock: Clock,
    store: &'static str,
    agents: Box<[AgentName]>,
    /// The agents' names again, for log lines.
    labels: Box<[Arc<str>]>,
    /// How many attempts each agent may run at a time.
    slots: Box<[u32]>,
    /// Whether each agent says that it calls models.
    models: Box<[bool]>,
    /// Engines of each agent that were made anew.
    restarts: Box<[AtomicU32]>,
    subscriptions: Box<[Sight]>,
    runs: Runs,
    jobs: Jobs,
    notes: Notes,
    /// Set once what the process before left open was ended.
    begun: OnceLock<()>,
    /// When this process began.
    born: Timestamp,
    /// Weak: the host holds commands that hold this.
    host: OnceLock<Weak<dyn Host>>,
}

/// The part of the runtime that its traces depend on: it stands above them, and hands itself in.
pub(crate) trait Host: Debug + Send + Sync {
    /// Tells whether handles to a run exist.
    fn has_handle(&self, run: RunId) -> bool;

    /// Has it noted that a run of an earlier process went on, so many times by now.
    fn run_resumed(&self, run: RunId, times: u32);

    /// Has a note of a span written.
    fn span_note(&self, note: SpanNote);
}

/// What has to be known of a subscription.
#[derive(Debug)]
struct Sight {
    trigger: &'static str,
    kinds: Box<[Arc<str>]>,
    needs: Box<[u32]>,
    batch_size: Option<u32>,
    agent: AgentIndex,
}

/// One commit of the store, as the curator saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    pub(crate) begun: Timestamp,
    pub(crate) done: Timestamp,
    /// Groups that were committed together.
    pub(crate) changes: u64,
}

impl Committed {
    /// Nothing was committed yet.
    pub(crate) const fn at(now: Timestamp) -> Self {
        Self { begun: now, done: now, changes: 0 }
    }
}

impl Seen {
    /// Spans and metrics are those of the runtime already.
    pub(crate) fn new(
        (providers, spans, metrics): (Providers, Spans, Metrics),
        clock: Clock,
        store: &'static str,
        agents: impl Iterator<Item = (AgentName, u32, bool)>,
        subscriptions: impl Iterator<Item = Sighted>,
    ) -> Self {
        let agents: Vec<_> = agents.collect();
        Self {
            labels: agents.iter().map(|(name, ..)| Arc::from(name.as_str())).collect(),
            slots: agents.iter().map(|(_, slots, _)| *slots).collect(),
            models: agents.iter().map(|(.., models)| *models).collect(),
            spans,
            metrics,
            providers,
            born: clock.now(),
            clock,
            store,
            restarts: agents.iter().map(|_| AtomicU32::new(0)).collect(),
            agents: agents.into_iter().map(|(name, ..)| name).collect(),
            subscriptions: subscriptions.map(|Sighted(sight)| sight).collect(),
            runs: Runs::default(),
            jobs: Jobs::default(),
            notes: Notes::default(),
            begun: OnceLock::new(),
            host: OnceLock::new(),
        }
    }

    /// Names who knows which runs have handles. Called once, when the runtime is built.
    pub(crate) fn connect(&self, host: Weak<dyn Host>) {
        let first = self.host.set(host).is_ok();
        debug_assert!(first, "a runtime has one host of its traces");
    }

    /// Tells whether anybody looks.
    pub(crate) const fn is_on(&self) -> bool {
        self.spans.is_on() || self.metrics.is_on()
    }

    pub(crate) const fn spans(&self) -> &Spans {
        &self.spans
    }

    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Sends what waits for an export; blocks the thread. `None` when nobody knows how.
    pub(crate) fn flush_blocking(&self, limit: Duration) -> Option<FlushReport> {
        self.providers.flush_blocking(limit)
    }

    fn agent(&self, agent: AgentIndex) -> &str {
        self.agents.get(agent.at()).map_or("", AgentName::as_str)
    }

    /// How many engines of the agent were made anew so far.
    fn restarts(&self, agent: AgentIndex) -> u32 {
        self.restarts.get(agent.at()).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// An engine of the agent is made anew. Returns how many were so far.
    pub(crate) fn engine_restarted(&self, agent: AgentIndex, cause: &str) -> u32 {
        self.metrics.restarted(self.agent(agent), cause);
        self.restarts.get(agent.at()).map_or(0, |count| count.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// An actor is restarted, by its name in the tree.
    pub(crate) fn actor_restarted(&self, actor: &str) {
        self.metrics.restarted(actor, "actor");
    }

    /// The agent is given no jobs any more.
    pub(crate) fn quarantined(&self, agent: AgentIndex, past: &str) {
        self.metrics.quarantined(self.agent(agent), past);
    }

    fn sight(&self, subscription: SubscriptionIndex) -> Option<&Sight> {
        self.subscriptions.get(subscription.at())
    }

    fn owner(&self, subscription: SubscriptionIndex) -> &str {
        self.sight(subscription).map_or("", |sight| self.agent(sight.agent))
    }

    fn is_pinned(&self, run: RunId) -> bool {
        let host = self.host.get().and_then(Weak::upgrade);
        host.is_some_and(|host| host.has_handle(run))
    }

    fn commit(&self, committed: Committed) -> Commit<'_> {
        Commit {
            store: self.store,
            changes: committed.changes,
            error: None,
            start: committed.begun.into(),
            end: committed.done.into(),
        }
    }
}

/// A subscription, looked at.
pub(crate) struct Sighted(Sight);

impl Sighted {
    pub(crate) fn new(agent: AgentIndex, subscription: &Subscription) -> Self {
        Self(Sight {
            agent,
            trigger: subscription.trigger(),
            kinds: subscription.kinds().map(volery_blackboard::Kind::shared_name).collect(),
            needs: subscription.needs().collect(),
            batch_size: subscription.batch_size(),
        })
    }
}

/// What an artifact carries, from the place of a span.
fn context_of(propagation: &Propagation) -> TraceContext {
    let state = Some(propagation.tracestate()).filter(|state| !state.is_empty());
    TraceContext {
        trace_id: propagation.trace_id(),
        span_id: propagation.span_id(),
        flags: propagation.flags(),
        state: state.map(Arc::from),
    }
}

/// A caller's place. What it says of a root of ours is not believed: what goes on after a restart would link to it.
pub(crate) fn from_outside(mut context: TraceContext) -> TraceContext {
    let Some(state) = context.state.take() else { return context };
    let foreign =
        |member: &&str| member.split_once('=').is_none_or(|(key, _)| key.trim() != Propagation::STATE_KEY);
    let members: Vec<_> = state.split(',').filter(foreign).collect();
    context.state = (!members.is_empty()).then(|| members.join(",").into());
    context
}

/// The place of a span, from what an artifact carries.
fn propagation_of(context: &TraceContext) -> Option<Propagation> {
    Propagation::from_ids(context.trace_id, context.span_id, context.flags, context.state.as_deref())
}

/// The word for why a batch closed.
const fn close_reason(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Size => "size",
        CloseReason::Weight => "weight",
        CloseReason::Deadline => "deadline",
        CloseReason::EndOfInput => "end_of_input",
        CloseReason::Shutdown => "shutdown",
        _ => "other",
    }
}
