//! The observer: the one place that turns events of the runtime into spans and numbers.
//!
//! Publishers, attempts and the curator report to it at the points where they report to the feed. Open runs
//! (`runs.rs`), and jobs between two attempts (`jobs.rs`), are kept here and not in the curator, so that they
//! outlive the curator's lives. [`ObservedPublish`] and [`ObservedAttempt`] go along with a command; dropped
//! on the way they close what they opened. Both are empty when nobody observes. No span is made under a lock
//! of this folder, and nothing here waits. Without a tracer and a meter every call is a branch.

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

mod attempts;
mod ends;
mod gauges;
mod jobs;
mod joins;
mod notes;
mod publishes;
mod runs;
mod steps;

pub(crate) use attempts::{How, ObservedAttempt};
pub(crate) use ends::End;
pub(crate) use joins::ObservedExpiry;
pub(crate) use notes::SpanNote;
pub(crate) use publishes::{ObservedPublish, OfRun, Origin, Source};
pub(crate) use steps::Step;

use jobs::Jobs;
use notes::Notes;
use runs::Runs;

/// Everything that is needed to show what happens in one runtime.
#[derive(Debug)]
pub(crate) struct Observer {
    spans: Spans,
    metrics: Metrics,
    providers: Providers,
    clock: Clock,
    store: &'static str,
    agents: Box<[AgentFacts]>,
    subscriptions: Box<[SubscriptionFacts]>,
    runs: Runs,
    jobs: Jobs,
    notes: Notes,
    /// Set once what the process before left open was ended.
    begun: OnceLock<()>,
    /// When this process began.
    born: Timestamp,
    /// Weak: its commands hold this.
    host: OnceLock<Weak<dyn Host>>,
}

/// The part of the runtime that the observer depends on. It stands above, and hands itself in.
pub(crate) trait Host: Debug + Send + Sync {
    /// Tells whether a run has a handle.
    fn has_handle(&self, run: RunId) -> bool;

    /// Has a note of a span written.
    fn span_note(&self, note: SpanNote);

    /// Has it noted that a run of an earlier process went on.
    fn run_resumed(&self, run: RunId, times: u32);
}

/// The facts of an agent.
#[derive(Debug)]
pub(crate) struct AgentFacts {
    name: AgentName,
    /// The name again, for log lines.
    label: Arc<str>,
    slots: u32,
    /// Whether it says that it calls models.
    models: bool,
    /// Engines of it that were made anew.
    restarts: AtomicU32,
}

impl AgentFacts {
    pub(crate) fn new(name: AgentName, slots: u32, models: bool) -> Self {
        Self { label: name.as_str().into(), name, slots, models, restarts: AtomicU32::new(0) }
    }
}

/// The facts of a subscription.
#[derive(Debug)]
pub(crate) struct SubscriptionFacts {
    agent: AgentIndex,
    trigger: &'static str,
    kinds: Box<[Arc<str>]>,
    needs: Box<[u32]>,
    batch_size: Option<u32>,
}

impl SubscriptionFacts {
    pub(crate) fn new(agent: AgentIndex, subscription: &Subscription) -> Self {
        Self {
            agent,
            trigger: subscription.trigger(),
            kinds: subscription.kinds().map(volery_blackboard::Kind::shared_name).collect(),
            needs: subscription.needs().collect(),
            batch_size: subscription.batch_size(),
        }
    }

    /// The kinds of a join that did not come.
    fn missing(&self, lacks: impl Fn(usize, u32) -> bool) -> Vec<&str> {
        let sides = self.kinds.iter().zip(&self.needs).enumerate();
        sides.filter(|(side, (_, need))| lacks(*side, **need)).map(|(_, (kind, _))| &**kind).collect()
    }
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

impl Observer {
    /// Spans and metrics are those of the runtime already.
    pub(crate) fn new(
        (providers, spans, metrics): (Providers, Spans, Metrics),
        clock: Clock,
        store: &'static str,
        agents: impl Iterator<Item = AgentFacts>,
        subscriptions: impl Iterator<Item = SubscriptionFacts>,
    ) -> Self {
        Self {
            spans,
            metrics,
            providers,
            born: clock.now(),
            clock,
            store,
            agents: agents.collect(),
            subscriptions: subscriptions.collect(),
            runs: Runs::default(),
            jobs: Jobs::default(),
            notes: Notes::default(),
            begun: OnceLock::new(),
            host: OnceLock::new(),
        }
    }

    /// Names the host. Called once, when the runtime is built.
    pub(crate) fn connect(&self, host: Weak<dyn Host>) {
        let first = self.host.set(host).is_ok();
        debug_assert!(first, "an observer has one host");
    }

    /// Tells whether there is an observer.
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
        self.agents.get(agent.at()).map_or("", |agent| agent.name.as_str())
    }

    /// An engine of the agent is made anew. Returns how many were so far.
    pub(crate) fn engine_restarted(&self, agent: AgentIndex, cause: &str) -> u32 {
        self.metrics.restarted(self.agent(agent), cause);
        self.agents.get(agent.at()).map_or(0, |agent| agent.restarts.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// An actor is restarted, by its name in the tree.
    pub(crate) fn actor_restarted(&self, actor: &str) {
        self.metrics.restarted(actor, "actor");
    }

    /// The agent is given no jobs any more.
    pub(crate) fn quarantined(&self, agent: AgentIndex, past: &str) {
        self.metrics.quarantined(self.agent(agent), past);
    }

    fn facts(&self, subscription: SubscriptionIndex) -> Option<&SubscriptionFacts> {
        self.subscriptions.get(subscription.at())
    }

    fn owner(&self, subscription: SubscriptionIndex) -> &str {
        self.facts(subscription).map_or("", |facts| self.agent(facts.agent))
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.host.get().and_then(Weak::upgrade)
    }

    fn has_handle(&self, run: RunId) -> bool {
        self.host().is_some_and(|host| host.has_handle(run))
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

/// The trace context of an artifact, from the place of a span.
fn context_of(propagation: &Propagation) -> TraceContext {
    let state = Some(propagation.tracestate()).filter(|state| !state.is_empty());
    TraceContext {
        trace_id: propagation.trace_id(),
        span_id: propagation.span_id(),
        flags: propagation.flags(),
        state: state.map(Arc::from),
    }
}

/// A caller's place. A root of ours that it names is not believed: a run that goes on after a restart would
/// link to it.
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
