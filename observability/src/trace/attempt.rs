//! The spans of one attempt: the try itself, its steps, the engine's call, its publishes.
//!
//! The value goes with the attempt into its task, and back with the attempt's result: the attempt ends when
//! its commit is done. The engine runs under [`EvaluateTrace::context`], so that spans of the service become
//! its children.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;

use super::baggage::Baggage;
use super::call::Here;
use super::ending::Ending;
use super::job::{JobTrace, Restart};
use super::nested::NestedSpan;
use super::propagation::Propagation;
use super::publish::{Publish, PublishTrace, TOO_SHORT};
use super::root::{Draft, Recorded, Root};
use super::scope::Scope;
use super::settings::Detail;
use super::text::{count, text};
use crate::names::{attribute, event};

/// An attempt of a sampled run, and its open span unless the level of detail leaves it out. Dropped without
/// an end, the span ends as abandoned.
#[derive(Debug)]
#[must_use = "an attempt's span ends when its commit is done"]
pub struct AttemptTrace {
    span: Option<Recorded>,
    root: Arc<Root>,
    /// The nearest span that is recorded.
    nested: Arc<NestedSpan>,
    agent: Arc<str>,
    detail: Detail,
    /// Whether the agent says that it calls models.
    models: bool,
}

impl JobTrace {
    /// Begins an attempt, counted from 1, of an agent that was restarted so many times before.
    pub fn attempt(&self, attempt: u32, restarts: u32, start: SystemTime) -> AttemptTrace {
        let span = self.attempt_span(attempt, restarts, start);
        let nested = Arc::clone(span.as_ref().map_or_else(|| self.nested(), |span| &span.nested));
        AttemptTrace {
            span,
            root: Arc::clone(&self.root),
            nested,
            agent: Arc::clone(&self.agent),
            detail: self.detail,
            models: self.models,
        }
    }
}

impl AttemptTrace {
    /// The attempt's place, for the next service.
    #[must_use]
    pub fn propagation(&self) -> Propagation {
        self.root.propagation(&self.nested)
    }

    /// Begins the engine's call.
    pub fn evaluate(&self, engine: &str, start: SystemTime) -> EvaluateTrace {
        self.call("evaluate", engine, start)
    }

    /// Begins the call of the engine's fallback, once its own call has ended.
    pub fn fallback(&self, engine: &str, start: SystemTime) -> EvaluateTrace {
        self.call("fallback", engine, start)
    }

    fn call(&self, verb: &str, engine: &str, start: SystemTime) -> EvaluateTrace {
        let draft = Draft::internal(format!("{verb} {engine}"), start)
            .with(text(attribute::AGENT, &self.agent))
            .with(text(attribute::ENGINE, engine))
            .long();
        let span = self.child(draft, Detail::Phase);
        let nested = span.as_ref().map_or(&self.nested, |span| &span.nested);
        let here = Here {
            root: Arc::clone(&self.root),
            nested: Arc::clone(nested),
            attempt: self.span.as_ref().map(|span| Arc::clone(&span.nested)),
            agent: Arc::clone(&self.agent),
            detail: self.detail,
            models: AtomicBool::new(self.models),
        };
        let context = self.with_baggage(nested.context().clone());
        EvaluateTrace { context, span, here: Arc::new(here) }
    }

    /// The place of the attempt itself.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::of(Some(self.with_baggage(self.nested.context().clone())))
    }

    /// Shows a step around the engine: a span if it took more than 1 ms, an event otherwise.
    pub fn step(&self, step: &str, start: SystemTime, end: SystemTime) {
        let took = end.duration_since(start).unwrap_or_default();
        let name = text(attribute::STEP, step);
        if took > TOO_SHORT {
            let draft = Draft::internal(step, start).with(text(attribute::AGENT, &self.agent)).with(name);
            if let Some(span) = self.child(draft, Detail::Phase) {
                span.end(end);
            }
        } else if let Some(span) = self.span.as_ref().filter(|_| self.detail >= Detail::Phase) {
            let took = count(attribute::DURATION_US, took.as_micros());
            span.nested.event(event::STEP, start, vec![name, took]);
        }
    }

    /// Notes that the agent was restarted while the attempt was open.
    pub fn agent_restarted(&self, restart: &Restart<'_>, at: SystemTime) {
        if let Some(span) = &self.span {
            restart.show(&span.nested, at);
        }
    }

    /// Begins the publish of an output. No attempt is ever below it.
    pub fn publish(&self, publish: &Publish<'_>) -> PublishTrace {
        let span = self.child(publish.draft(), Detail::Job);
        let nested = span.as_ref().map_or(&self.nested, |span| &span.nested);
        PublishTrace { propagation: self.root.propagation(nested), span, detail: self.detail }
    }

    /// Ends the attempt. Its span ends now, or with the last of its children that is still open.
    pub fn end(self, ending: &Ending<'_>, at: SystemTime) {
        if let Some(span) = &self.span {
            ending.close(&span.nested, at);
        }
    }

    fn child(&self, draft: Draft, least: Detail) -> Option<Recorded> {
        if self.detail < least {
            self.root.suppress();
            return None;
        }
        self.root.child(&self.nested, draft)
    }

    fn with_baggage(&self, context: Context) -> Context {
        with_baggage(context, self.root.facts.baggage.as_ref())
    }
}

/// The open span of an engine's call. Dropped without an end, it ends as abandoned.
#[must_use = "an engine's call ends when the engine returns"]
pub struct EvaluateTrace {
    span: Option<Recorded>,
    context: Context,
    here: Arc<Here>,
}

impl std::fmt::Debug for EvaluateTrace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvaluateTrace").field("span", &self.span).finish_non_exhaustive()
    }
}

impl EvaluateTrace {
    /// The context to run the engine under: `opentelemetry::context::FutureExt::with_context`.
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// The same, opaque.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope { context: Some(self.context.clone()), here: Some(Arc::clone(&self.here)) }
    }

    /// Ends the call.
    pub fn end(self, ending: &Ending<'_>, at: SystemTime) {
        if let Some(span) = &self.span {
            ending.close(&span.nested, at);
        }
    }
}

pub(crate) fn with_baggage(context: Context, baggage: Option<&Arc<Baggage>>) -> Context {
    match baggage {
        None => context,
        Some(baggage) => context.with_baggage(baggage.members()),
    }
}

/// The ids that belong on each log line of an attempt.
///
/// The formats of `Telemetry` print them. They are values of a context, and not a span, because a span would
/// show in the trace a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogIds {
    /// The run.
    pub run: LogId,
    /// The job.
    pub job: LogId,
    /// The agent.
    pub agent: Arc<str>,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// A UUID that becomes text, with hyphens, only when a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId(pub u128);

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let field =
            |from: u32, digits: u32| (self.0 >> (128 - from - digits * 4)) & ((1 << (digits * 4)) - 1);
        let (a, b, c, d, e) = (field(0, 8), field(32, 4), field(48, 4), field(64, 4), field(80, 12));
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

impl LogIds {
    /// Adds the ids to a context, or to an empty one.
    #[must_use]
    pub fn attach(self, context: Option<Context>) -> Context {
        context.unwrap_or_default().with_value(self)
    }

    /// The ids of a context.
    #[must_use]
    pub fn of(context: &Context) -> Option<&Self> {
        context.get()
    }
}
