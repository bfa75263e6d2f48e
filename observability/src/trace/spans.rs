//! The way in: a tracer that the service brought, and the spans that can be opened with it.
//!
//! It decides nothing about sampling: the tracer's sampler does, once per run.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::global::{BoxedTracer, ObjectSafeTracerProvider};
use opentelemetry::{InstrumentationScope, KeyValue};

use super::baggage::Baggage;
use super::open::{Given, OnExported, OpenSpan, OpenSpans, SpanKey};
use super::propagation::Propagation;
use super::root::{Opened, Place, Root, RootDraft};
use super::run::RunTrace;
use super::settings::{Detail, TraceSettings};
use super::shutdown::ShutdownTrace;
use super::text::{NAME_MAX, count, cut, name, shared, shown, text};
use crate::names::{SCHEMA_URL, SCOPE, attribute};

/// The spans of a runtime. Cheap to clone; without a tracer every call is a branch and nothing more.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    inner: Option<Arc<Recorder>>,
}

/// The attributes and settings that all spans of a runtime share.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) tracer: BoxedTracer,
    pub(crate) settings: TraceSettings,
    /// The part that holds spans back, and the number of this runtime in it.
    open: Option<(u64, Arc<dyn OpenSpans>)>,
    pub(crate) suppressed: AtomicU64,
    pub(crate) links_dropped: AtomicU64,
}

/// The attributes that all spans of a run share.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Attributes of every span.
    pub(crate) base: Arc<[KeyValue]>,
    /// Attributes of every root, besides.
    pub(crate) root: Vec<KeyValue>,
    /// The root's name, without its part.
    pub(crate) name: String,
    pub(crate) detail: Detail,
    pub(crate) attempt: u32,
    pub(crate) baggage: Option<Arc<Baggage>>,
}

/// A run that begins.
#[derive(Clone, Copy)]
pub struct RunStart<'a> {
    /// The run's id.
    pub run: &'a dyn Display,
    /// Its workflow: the name of the trace, so of low cardinality.
    pub workflow: &'a str,
    /// Its tenant.
    pub tenant: Option<&'a str>,
    /// The session: a service groups runs by it.
    pub session: Option<&'a str>,
    /// The caller's place in a trace: the run becomes a child of it, and is sampled if it is.
    pub parent: Option<&'a Propagation>,
    /// The caller's W3C `baggage`; only allowed keys are kept.
    pub baggage: Option<&'a str>,
    /// When it began.
    pub start: SystemTime,
}

impl<'a> RunStart<'a> {
    /// A run with nothing but an id, a workflow and a time.
    #[must_use]
    pub fn new(run: &'a dyn Display, workflow: &'a str, start: SystemTime) -> Self {
        Self { run, workflow, tenant: None, session: None, parent: None, baggage: None, start }
    }
}

impl std::fmt::Debug for RunStart<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunStart({} of {})", self.run, self.workflow)
    }
}

/// The counts of spans and links that a runtime's own rules left out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Spans, by the level of detail or because a trace was full.
    pub spans: u64,
    /// Links above the limit.
    pub links: u64,
}

impl Spans {
    /// No spans at all.
    #[must_use]
    pub const fn off() -> Self {
        Self { inner: None }
    }

    /// Spans by a tracer of the provider. Nothing global is read or set.
    #[must_use]
    pub fn new(provider: &dyn ObjectSafeTracerProvider, settings: TraceSettings) -> Self {
        Self::held_back(provider, settings, None)
    }

    /// As [`new`](Self::new), with what holds spans back and can export those of a process that is gone.
    #[must_use]
    pub fn held_back(
        provider: &dyn ObjectSafeTracerProvider,
        settings: TraceSettings,
        open: Option<Arc<dyn OpenSpans>>,
    ) -> Self {
        let tracer = BoxedTracer::new(provider.boxed_tracer(instrumentation_scope()));
        let (suppressed, links_dropped) = (AtomicU64::new(0), AtomicU64::new(0));
        let open = open.map(|open| (open.join(), open));
        Self { inner: Some(Arc::new(Recorder { tracer, settings, open, suppressed, links_dropped })) }
    }

    /// Tells whether there is a tracer.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.recorder().is_some()
    }

    /// The tracer. Without the feature `record` the compiler knows that there is none.
    const fn recorder(&self) -> Option<&Arc<Recorder>> {
        if cfg!(feature = "record") { self.inner.as_ref() } else { None }
    }

    /// Tells whether some of a caller's baggage is passed on.
    #[must_use]
    pub fn passes_baggage(&self) -> bool {
        self.recorder().is_some_and(|recorder| !recorder.settings.baggage.is_empty())
    }

    /// Opens the trace of a run.
    #[must_use]
    pub fn run(&self, start: RunStart<'_>) -> RunTrace {
        let Some(recorder) = self.recorder() else { return RunTrace::off() };
        let forced = recorder.settings.is_always_sampled(start.workflow).then_some("always");
        let draft = RootDraft {
            name: root_name(start.workflow),
            start: start.start,
            number: 1,
            parent: start.parent,
            forced,
        };
        RunTrace::open(recorder, draft, recorder.baggage(&start), || Facts::of(recorder, &start, 1))
    }

    /// Opens a new trace for a run that an earlier process began, linked to the trace that was cut.
    ///
    /// `earlier` is what any artifact of the run carries; its sampling decision counts. `attempt` is 2 after
    /// the first restart. Jobs run again in the new trace; nothing is hung below spans of the old one.
    #[must_use]
    pub fn resume(&self, start: RunStart<'_>, earlier: &Propagation, attempt: u32) -> RunTrace {
        let Some(recorder) = self.recorder() else { return RunTrace::off() };
        let baggage = recorder.baggage(&start);
        if !earlier.sampled {
            return RunTrace::unsampled(Place::of(earlier), baggage);
        }
        let draft = RootDraft {
            name: root_name(start.workflow),
            start: start.start,
            number: 1,
            parent: None,
            forced: Some("copied"),
        };
        let trace = RunTrace::open(recorder, draft, baggage, || Facts::of(recorder, &start, attempt));
        trace.resumed_from(earlier, start.start);
        trace
    }

    /// Opens a trace of its own for a job over several runs, which begins with its first input.
    ///
    /// It is sampled if one of the runs is. Tell each run of it with [`RunTrace::handed_to`].
    #[must_use]
    pub fn shared(&self, agent: &str, start: SystemTime, any_sampled: bool) -> RunTrace {
        let Some(recorder) = self.recorder() else { return RunTrace::off() };
        if !any_sampled {
            return RunTrace::off();
        }
        let name = format!("shared {agent}");
        let draft = RootDraft { name: name.clone(), start, number: 1, parent: None, forced: Some("copied") };
        RunTrace::open(recorder, draft, None, || Facts {
            base: Arc::default(),
            root: vec![text(attribute::AGENT, agent)],
            name,
            detail: recorder.settings.of_workflow(""),
            attempt: 1,
            baggage: None,
        })
    }

    /// Opens the trace of a shutdown.
    pub fn shutdown(&self, runtime: &str, start: SystemTime) -> ShutdownTrace {
        let Some(recorder) = self.recorder() else { return ShutdownTrace::off() };
        let name = "volery shutdown".to_owned();
        let draft = RootDraft { name: name.clone(), start, number: 1, parent: None, forced: Some("always") };
        let Opened::Recorded(opening) = Root::open(recorder, draft) else { return ShutdownTrace::off() };
        let facts = Arc::new(Facts {
            base: [text(attribute::RUNTIME, runtime)].into(),
            root: Vec::new(),
            name,
            detail: Detail::Run,
            attempt: 1,
            baggage: None,
        });
        ShutdownTrace::new(opening.into_root(recorder, &facts))
    }

    /// How long a span is open before it is noted in the log. `None` when nobody holds spans back: only the
    /// providers of `Telemetry` do.
    #[must_use]
    pub fn noted_after(&self) -> Option<Duration> {
        self.recorder().filter(|recorder| recorder.open.is_some()).map(|recorder| recorder.settings.wait)
    }

    /// Gives what has been open for so long that the log is to have it, and does not have it yet. `given`
    /// is called for each before it can end, and names who hears of its export.
    #[must_use = "the log is to have it"]
    pub fn to_note(&self, now: SystemTime, given: &mut Given<'_>) -> Vec<OpenSpan> {
        let Some(recorder) = self.recorder() else { return Vec::new() };
        let before = now.checked_sub(recorder.settings.wait);
        let noted = recorder.open.as_ref().zip(before);
        noted.map(|((runtime, open), before)| open.to_note(*runtime, before, given)).unwrap_or_default()
    }

    /// The log has it: what has ended below it is exported.
    pub fn noted(&self, span: SpanKey) {
        if let Some((_, open)) = self.open() {
            open.noted(span);
        }
    }

    /// Exports a span that a process left open when it died. `on_exported` hears of the export.
    ///
    /// `false` when nobody can: OpenTelemetry's API alone has no way to give a span its id.
    #[must_use = "a span that was not closed leaves its children without a parent"]
    pub fn close_interrupted(&self, span: &OpenSpan, end: SystemTime, on_exported: OnExported) -> bool {
        let Some((_, open)) = self.open() else { return false };
        open.close(span, end, on_exported);
        true
    }

    fn open(&self) -> Option<&(u64, Arc<dyn OpenSpans>)> {
        self.recorder()?.open.as_ref()
    }

    /// The counts of what was left out so far.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        let Some(recorder) = self.recorder() else { return LeftOut::default() };
        LeftOut {
            spans: recorder.suppressed.load(Ordering::Relaxed),
            links: recorder.links_dropped.load(Ordering::Relaxed),
        }
    }
}

impl Facts {
    fn of(recorder: &Recorder, start: &RunStart<'_>, attempt: u32) -> Self {
        let settings = &recorder.settings;
        let mut base = vec![
            shared(shown(attribute::RUN_ID, start.run)),
            shared(name(attribute::WORKFLOW, start.workflow)),
        ];
        base.extend(start.tenant.map(|tenant| shared(name(attribute::TENANT, tenant))));
        let mut root = vec![count(attribute::RUN_ATTEMPT, attempt)];
        root.extend(start.session.map(|session| text(attribute::SESSION, session)));
        Self {
            base: base.into(),
            root,
            name: root_name(start.workflow),
            detail: settings.of_workflow(start.workflow),
            attempt,
            baggage: None,
        }
    }
}

impl Recorder {
    /// A span has begun that may be open for long.
    pub(crate) fn begun(&self, span: impl FnOnce() -> OpenSpan) {
        if let Some((runtime, open)) = &self.open {
            open.begun(*runtime, span());
        }
    }

    /// Tells whether spans are held back.
    pub(crate) const fn holds_back(&self) -> bool {
        self.open.is_some()
    }

    /// The members of the caller's baggage that may pass.
    fn baggage(&self, start: &RunStart<'_>) -> Option<Arc<Baggage>> {
        start.baggage.and_then(|header| Baggage::allowed(header, &self.settings.baggage))
    }
}

fn root_name(workflow: &str) -> String {
    format!("run {}", cut(workflow, NAME_MAX))
}

/// The scope of our spans.
pub(crate) fn instrumentation_scope() -> InstrumentationScope {
    InstrumentationScope::builder(SCOPE)
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build()
}
