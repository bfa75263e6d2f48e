//! One open span in the tree: it ends exactly once, and never before its children.
//!
//! The holder of a span ends it. If children are open then, the span stays open until the last of them has
//! ended, and ends with it: durations nest, in whatever order cancellation and clean-up come. Nothing here
//! reads a clock.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use crate::names::target::TELEMETRY;

/// A span, its parent, and how many children are open.
#[derive(Debug)]
pub(crate) struct NestedSpan {
    context: Context,
    parent: Option<Arc<NestedSpan>>,
    start: SystemTime,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Children that have not ended.
    open: usize,
    /// The latest time that is known of the span or a child of it.
    latest: SystemTime,
    /// The holder's end; the span ends when no child is open.
    end: Option<End>,
    ended: bool,
}

/// How a span ends.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) at: SystemTime,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) status: Status,
}

impl End {
    /// An end with nothing to say.
    pub(crate) fn at(at: SystemTime) -> Self {
        Self { at, attributes: Vec::new(), status: Status::Unset }
    }
}

impl NestedSpan {
    /// A root. The context has its span.
    pub(crate) fn root(context: Context, start: SystemTime) -> Arc<Self> {
        Self::new(context, None, start)
    }

    /// A child, in the place that [`enter`](Self::enter) took.
    pub(crate) fn child(parent: Arc<Self>, context: Context, start: SystemTime) -> Arc<Self> {
        Self::new(context, Some(parent), start)
    }

    fn new(context: Context, parent: Option<Arc<Self>>, start: SystemTime) -> Arc<Self> {
        let state = State { open: 0, latest: start, end: None, ended: false };
        Arc::new(Self { context, parent, start, state: Mutex::new(state) })
    }

    /// Takes the place of a child. `false` when the span has ended or is about to.
    pub(crate) fn enter(&self) -> bool {
        let mut state = self.lock();
        let open = state.end.is_none() && !state.ended;
        state.open += usize::from(open);
        open
    }

    /// Tells whether no child may begin any more.
    pub(crate) fn is_ending(&self) -> bool {
        let state = self.lock();
        state.ended || state.end.is_some()
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn span_context(&self) -> SpanContext {
        self.context.span().span_context().clone()
    }

    pub(crate) fn start(&self) -> SystemTime {
        self.start
    }

    /// Adds an event; one before the span's begin is moved to it.
    pub(crate) fn event(&self, name: &'static str, at: SystemTime, attributes: Vec<KeyValue>) {
        let at = at.max(self.start);
        let mut state = self.lock();
        state.latest = state.latest.max(at);
        self.context.span().add_event_with_timestamp(Cow::Borrowed(name), at, attributes);
    }

    pub(crate) fn set(&self, attribute: KeyValue) {
        self.context.span().set_attribute(attribute);
    }

    /// Ends the span as soon as its children have. The first call counts; `false` for a later one.
    pub(crate) fn end(&self, end: End) -> bool {
        let mut state = self.lock();
        if state.ended || state.end.is_some() {
            return false;
        }
        state.latest = state.latest.max(end.at);
        state.end = Some(end);
        let finished = self.finish(&mut state);
        drop(state);
        self.tell_parent(finished);
        true
    }

    /// Ends a span that nobody will end, at the latest time that is known. Nothing happens if somebody did.
    pub(crate) fn abandon(&self, outcome: KeyValue) {
        let at = self.lock().latest;
        self.end(End { at, attributes: vec![outcome], status: Status::Unset });
    }

    fn child_ended(&self, at: SystemTime) {
        let mut state = self.lock();
        state.open = state.open.saturating_sub(1);
        state.latest = state.latest.max(at);
        let finished = self.finish(&mut state);
        drop(state);
        self.tell_parent(finished);
    }

    /// Ends the span if it is time to, and returns when it ended.
    fn finish(&self, state: &mut State) -> Option<SystemTime> {
        if state.open > 0 || state.ended {
            return None;
        }
        let end = state.end.take()?;
        state.ended = true;
        let span = self.context.span();
        span.set_attributes(end.attributes);
        if end.status != Status::Unset {
            span.set_status(end.status);
        }
        // Processors are code of the service, and the caller that ends a span must not die of their panics.
        let latest = state.latest;
        if catch_unwind(AssertUnwindSafe(|| span.end_with_timestamp(latest))).is_err() {
            tracing::warn!(target: TELEMETRY, "a processor of spans panicked, and what it was given is lost");
        }
        Some(latest)
    }

    fn tell_parent(&self, finished: Option<SystemTime>) {
        if let (Some(at), Some(parent)) = (finished, &self.parent) {
            parent.child_ended(at);
        }
    }

    /// Nothing panics under this lock but an exporter's code; the counts are whole then as well.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
