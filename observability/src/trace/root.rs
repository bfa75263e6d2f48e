//! One trace of a run: a root, a budget of spans, and what was left out.
//!
//! A run has one of these at a time; see `run.rs` for when another one follows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::global::BoxedSpan;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};

use super::nested::{End, NestedSpan};
use super::open::{OpenSpan, SpanKey};
use super::propagation::{self, Propagation};
use super::spans::{Facts, Recorder};
use super::text::count;
use crate::names::attribute;

/// A run goes on in another trace between jobs only, so one job with very many attempts could still grow a
/// trace without end. Beyond this many times the limit its spans are left out, and counted.
const OVERSHOOT: u32 = 4;

/// One trace of a run.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) span: Arc<NestedSpan>,
    pub(crate) number: u32,
    place: Place,
    foreign: Option<Arc<str>>,
    spans: AtomicU32,
    suppressed: AtomicU32,
    /// Whether the root says that a model is called.
    pub(crate) models: AtomicBool,
}

/// A run's trace when nothing of it is recorded: enough to tell the next one not to record it either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) trace: u128,
    /// The root's span.
    pub(crate) root: u64,
}

impl Place {
    /// The place of what is not recorded, from what an artifact carries.
    pub(crate) fn of(propagation: &Propagation) -> Self {
        Self { trace: propagation.trace, root: propagation.root.unwrap_or(propagation.span) }
    }

    /// The trace context of an artifact when there is no span for its publish.
    pub(crate) fn propagation(self, sampled: bool, foreign: Option<Arc<str>>) -> Propagation {
        Propagation { trace: self.trace, span: self.root, sampled, root: Some(self.root), foreign }
    }

    /// The context of the root.
    pub(crate) fn span_context(self, sampled: bool) -> SpanContext {
        propagation::context(self.trace, self.root, sampled, false, TraceState::default())
    }
}

/// The result of opening a root.
pub(crate) enum Opened {
    /// It is recorded.
    Recorded(Opening),
    /// The sampler said no.
    Unsampled(Place),
    /// There is no tracer behind the provider, or it is shut down.
    Nothing,
}

/// A root that is recorded and has no attributes yet: they are made only when a receiver will see it.
pub(crate) struct Opening {
    span: BoxedSpan,
    place: Place,
    start: SystemTime,
    /// Which part of its run it is.
    number: u32,
    /// Its parent in a trace that came from outside; 0 if it has none.
    above: u64,
}

impl Opening {
    pub(crate) fn into_root(mut self, recorder: &Arc<Recorder>, facts: &Arc<Facts>) -> Arc<Root> {
        self.span.set_attributes(facts.base.iter().chain(&facts.root).cloned());
        let (number, above) = (self.number, self.above);
        self.span.set_attribute(count(attribute::RUN_PART, number));
        let foreign = propagation::foreign_of(self.span.span_context());
        recorder.begun(|| OpenSpan {
            key: SpanKey { trace: self.place.trace, span: self.place.root },
            parent: above,
            start_us: propagation::micros(self.start),
            name: if number > 1 { format!("{} (part {number})", facts.name) } else { facts.name.clone() },
            is_attempt: false,
            base: Arc::clone(&facts.base),
            attributes: facts.root.iter().cloned().chain([count(attribute::RUN_PART, number)]).collect(),
        });
        Arc::new(Root {
            recorder: Arc::clone(recorder),
            facts: Arc::clone(facts),
            foreign,
            span: NestedSpan::root(Context::new().with_span(self.span), self.start),
            number,
            place: self.place,
            spans: AtomicU32::new(1),
            suppressed: AtomicU32::new(0),
            models: AtomicBool::new(false),
        })
    }
}

/// Attributes that a span is usually given when it ends.
const AT_THE_END: usize = 4;

/// How long after its nominal instant a span begins. A span that ends at that instant may be its cause, and
/// Jaeger's critical path takes only what ended strictly before, in microseconds.
pub(crate) const INSTANT: Duration = Duration::from_micros(1);

/// A root that is about to begin.
pub(crate) struct RootDraft<'a> {
    pub(crate) name: String,
    pub(crate) start: SystemTime,
    /// Which part of the run it is, from 1.
    pub(crate) number: u32,
    /// The caller's span.
    pub(crate) parent: Option<&'a Propagation>,
    /// Why the sampler is not to draw.
    pub(crate) forced: Option<&'static str>,
}

/// A span that is about to begin.
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) start: SystemTime,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) links: Vec<Link>,
    /// Whether the span may be open for long, and is then noted in the log.
    pub(crate) is_long: bool,
}

impl Draft {
    /// One without attributes or links.
    pub(crate) fn internal(name: impl Into<String>, start: SystemTime) -> Self {
        let (attributes, links) = (Vec::new(), Vec::new());
        Self { name: name.into(), kind: SpanKind::Internal, start, attributes, links, is_long: false }
    }

    /// The span may be open for long.
    pub(crate) fn long(mut self) -> Self {
        self.is_long = true;
        self
    }

    pub(crate) fn with(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Links to at most as many as the recorder allows, and counts the others.
    pub(crate) fn linked(
        mut self,
        recorder: &Recorder,
        targets: impl IntoIterator<Item = Propagation>,
        role: &'static str,
    ) -> Self {
        let mut dropped = 0_u64;
        // A span that is not recorded arrives nowhere: a link to it would lead into nothing.
        for target in targets.into_iter().filter(Propagation::is_sampled) {
            if self.links.len() < recorder.settings.links_max {
                let role = vec![KeyValue::new(attribute::LINK_ROLE, role)];
                self.links.push(Link::new(target.span_context(), role, 0));
            } else {
                dropped += 1;
            }
        }
        if !self.links.is_empty() {
            // Jaeger shows no attributes of links, so the span says it as well.
            self.attributes.push(KeyValue::new(attribute::LINK_ROLE, role));
        }
        if dropped > 0 {
            self.attributes.push(count(attribute::LINKS_DROPPED, dropped));
            recorder.links_dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        self
    }

    fn build(self, base: &[KeyValue], start: SystemTime) -> SpanBuilder {
        let mut attributes = Vec::with_capacity(base.len() + self.attributes.len() + AT_THE_END);
        attributes.extend_from_slice(base);
        attributes.extend(self.attributes);
        SpanBuilder::from_name(self.name)
            .with_kind(self.kind)
            .with_start_time(start)
            .with_attributes(attributes)
            .with_links(self.links)
    }
}

impl Root {
    /// Opens a root, if the sampler wants it. The sampler gets the name, and an earlier decision if there is
    /// one.
    pub(crate) fn open(recorder: &Recorder, draft: RootDraft<'_>) -> Opened {
        let above = draft.parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(parent.span_context())
        });
        let mut builder =
            SpanBuilder::from_name(draft.name).with_kind(SpanKind::Internal).with_start_time(draft.start);
        if let Some(forced) = draft.forced {
            builder = builder.with_attributes([KeyValue::new(attribute::SAMPLING, forced)]);
        }
        // Samplers are code of the service, and the caller that begins a run must not die of their panics.
        let build = || recorder.tracer.build_with_context(builder, &above);
        let Ok(span) = catch_unwind(AssertUnwindSafe(build)) else { return Opened::Nothing };
        let context = span.span_context();
        if !context.is_valid() {
            return Opened::Nothing;
        }
        let (trace, id) = propagation::ids(context);
        let place = Place { trace, root: id };
        if !context.is_sampled() {
            return Opened::Unsampled(place);
        }
        let above = draft.parent.map_or(0, Propagation::span_id);
        Opened::Recorded(Opening { span, place, start: draft.start, number: draft.number, above })
    }

    /// Tells whether the budget is used up.
    pub(crate) fn is_full(&self) -> bool {
        self.spans.load(Ordering::Relaxed) >= self.recorder.settings.spans_max
    }

    pub(crate) fn trace_id(&self) -> u128 {
        self.place.trace
    }

    /// Notes that a span was left out.
    pub(crate) fn suppress(&self) {
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        self.recorder.suppressed.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins a span under another. `None` when it was left out.
    pub(crate) fn child(self: &Arc<Self>, parent: &Arc<NestedSpan>, draft: Draft) -> Option<Recorded> {
        self.child_at(parent, parent.context(), draft)
    }

    /// The same at a place: the other one, or a span of the service below it.
    pub(crate) fn child_at(
        self: &Arc<Self>,
        parent: &Arc<NestedSpan>,
        above: &Context,
        draft: Draft,
    ) -> Option<Recorded> {
        let room = self.recorder.settings.spans_max.saturating_mul(OVERSHOOT);
        if self.spans.load(Ordering::Relaxed) >= room || !parent.enter() {
            self.suppress();
            return None;
        }
        self.spans.fetch_add(1, Ordering::Relaxed);
        let start = draft.start.max(parent.start()) + INSTANT;
        let noted = (draft.is_long && self.recorder.holds_back())
            .then(|| (draft.name.clone(), draft.kind == SpanKind::Consumer, draft.attributes.clone()));
        let builder = draft.build(&self.facts.base, start);
        let span: BoxedSpan = self.recorder.tracer.build_with_context(builder, above);
        let context = above.with_span(span);
        if let Some((name, is_attempt, attributes)) = noted {
            let (trace, span) = propagation::ids(context.span().span_context());
            let (_, parent) = propagation::ids(parent.context().span().span_context());
            let (key, start_us) = (SpanKey { trace, span }, propagation::micros(start));
            let base = Arc::clone(&self.facts.base);
            self.recorder.begun(|| OpenSpan { key, parent, start_us, name, is_attempt, base, attributes });
        }
        let nested = NestedSpan::child(Arc::clone(parent), context, start);
        Some(Recorded { root: Arc::clone(self), nested })
    }

    /// The trace context of an artifact that is published at a span of this trace.
    pub(crate) fn propagation(&self, nested: &NestedSpan) -> Propagation {
        let (trace, span) = propagation::ids(&nested.span_context());
        Propagation { trace, span, sampled: true, root: Some(self.place.root), foreign: self.foreign.clone() }
    }

    /// Ends the root, as soon as its children have.
    pub(crate) fn end(&self, at: SystemTime, mut attributes: Vec<KeyValue>, status: Status) -> bool {
        let suppressed = self.suppressed.load(Ordering::Relaxed);
        attributes.push(count(attribute::SPANS_SUPPRESSED, suppressed));
        self.span.end(End { at, attributes, status })
    }
}

/// A recorded span whose holder has to end it; dropped without an end it is abandoned.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) root: Arc<Root>,
    pub(crate) nested: Arc<NestedSpan>,
}

impl Recorded {
    /// Ends it with nothing to say.
    pub(crate) fn end(self, at: SystemTime) {
        self.nested.end(End::at(at));
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.nested.abandon(KeyValue::new(attribute::OUTCOME, "abandoned"));
    }
}
