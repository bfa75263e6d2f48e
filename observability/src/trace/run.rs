//! The trace of one run: a value that is kept with the run.
//!
//! A run that is not sampled is a small value without an allocation, and everything opened in it is nothing.
//! A run with more spans than a trace may have goes on in another trace, with the same decision about
//! sampling; so does a run that is published to after it had settled. Nothing here reads a clock: all times
//! are the caller's.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};

use super::attempt::with_baggage;
use super::baggage::Baggage;
use super::propagation::Propagation;
use super::root::{Draft, Opened, Place, Recorded, Root, RootDraft};
use super::scope::Scope;
use super::settings::Detail;
use super::spans::{Facts, Recorder};
use super::text::{count, text};
use crate::names::{attribute, event};

/// The open trace of a run. Clones are the same trace; it ends once.
#[derive(Clone, Debug)]
pub struct RunTrace(pub(crate) State);

#[derive(Clone, Debug)]
pub(crate) enum State {
    /// There is no tracer.
    Off,
    /// The sampler said no. Baggage passes anyhow.
    Unsampled(Place, Option<Arc<Baggage>>),
    Sampled(Arc<OpenRun>),
}

/// A sampled run: its facts, and the trace that it is in now.
#[derive(Debug)]
pub(crate) struct OpenRun {
    recorder: Arc<Recorder>,
    pub(crate) facts: Arc<Facts>,
    root: Mutex<Arc<Root>>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunStatus {
    /// Everything that was required succeeded.
    Completed,
    /// A required outcome failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// The process ended first.
    Interrupted,
}

impl RunStatus {
    /// The word for it, which metrics use as well.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A run that ends, with its totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// How.
    pub status: RunStatus,
    /// Artifacts that were published.
    pub published: u64,
    /// Jobs that succeeded.
    pub jobs_ok: u64,
    /// Jobs that died.
    pub jobs_failed: u64,
    /// Jobs that were cancelled.
    pub jobs_cancelled: u64,
    /// When.
    pub at: SystemTime,
}

/// A job that died.
#[derive(Clone, Copy)]
pub struct DeadLetter<'a> {
    /// The agent.
    pub agent: &'a str,
    /// The kind of the failure artifact.
    pub kind: &'a str,
    /// Its id.
    pub id: &'a dyn Display,
    /// Why.
    pub reason: &'a str,
    /// When its commit began.
    pub start: SystemTime,
    /// When its commit was done.
    pub end: SystemTime,
}

impl std::fmt::Debug for DeadLetter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeadLetter({} of {})", self.id, self.agent)
    }
}

impl RunTrace {
    /// A run without a trace.
    #[must_use]
    pub const fn off() -> Self {
        Self(State::Off)
    }

    pub(crate) fn unsampled(place: Place, baggage: Option<Arc<Baggage>>) -> Self {
        Self(State::Unsampled(place, baggage))
    }

    /// Asks the sampler. The facts are made only if it says yes; the baggage passes anyhow.
    pub(crate) fn open(
        recorder: &Arc<Recorder>,
        draft: RootDraft<'_>,
        baggage: Option<Arc<Baggage>>,
        facts: impl FnOnce() -> Facts,
    ) -> Self {
        let start = draft.start;
        match Root::open(recorder, draft) {
            Opened::Nothing => Self::off(),
            Opened::Unsampled(place) => Self::unsampled(place, baggage),
            Opened::Recorded(opening) => {
                let facts = Arc::new(Facts { baggage, ..facts() });
                let root = opening.into_root(recorder, &facts);
                begun(&root, start, None);
                let run = OpenRun { recorder: Arc::clone(recorder), facts, root: Mutex::new(root) };
                Self(State::Sampled(Arc::new(run)))
            }
        }
    }

    /// Tells whether spans are recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        matches!(self.0, State::Sampled(_))
    }

    /// The root's place, for the next service and for an artifact without a span of its own.
    #[must_use]
    pub fn propagation(&self) -> Option<Propagation> {
        match &self.0 {
            State::Off => None,
            State::Unsampled(place, _) => Some(place.propagation(false, None)),
            State::Sampled(run) => {
                let root = Arc::clone(&run.root());
                Some(root.propagation(&root.span))
            }
        }
    }

    /// The place of the run itself, its baggage included, for code that is in no attempt of it that is
    /// recorded.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::of(match &self.0 {
            State::Off => None,
            State::Unsampled(place, baggage) => {
                let context = Context::new().with_remote_span_context(place.span_context(false));
                Some(with_baggage(context, baggage.as_ref()))
            }
            State::Sampled(run) => {
                let root = Arc::clone(&run.root());
                Some(with_baggage(root.span.context().clone(), run.facts.baggage.as_ref()))
            }
        })
    }

    /// The allowed baggage as a W3C header, for the next service.
    #[must_use]
    pub fn baggage(&self) -> Option<String> {
        match &self.0 {
            State::Off => None,
            State::Unsampled(_, baggage) => baggage.as_ref().map(|baggage| baggage.header()),
            State::Sampled(run) => run.facts.baggage.as_ref().map(|baggage| baggage.header()),
        }
    }

    /// Shows a job of this run that died.
    pub fn dead_letter(&self, letter: DeadLetter<'_>) {
        let State::Sampled(run) = &self.0 else { return };
        let draft = Draft {
            name: format!("dead_letter {}", letter.kind),
            kind: SpanKind::Producer,
            start: letter.start,
            attributes: super::publish::message(letter.kind, letter.id),
            links: Vec::new(),
            is_long: false,
        };
        let draft = draft
            .with(text(attribute::DEAD_LETTER_REASON, letter.reason))
            .with(text(attribute::AGENT, letter.agent));
        if let (_, Some(span)) = run.child(draft, Detail::Run, run.facts.detail) {
            span.end(letter.end);
        }
    }

    /// Notes that an artifact of this run went into a job over several runs.
    pub fn handed_to(&self, shared: &RunTrace, at: SystemTime) {
        let (State::Sampled(run), Some(propagation)) = (&self.0, shared.propagation()) else { return };
        let trace = format!("{:032x}", propagation.trace_id());
        run.root().span.event(event::HANDED_TO, at, vec![KeyValue::new(attribute::NEXT_TRACE, trace)]);
    }

    /// Notes that the end of the run was asked for.
    pub fn cancel_requested(&self, by: &str, at: SystemTime) {
        let State::Sampled(run) = &self.0 else { return };
        run.root().span.event(event::CANCEL_REQUESTED, at, vec![text(attribute::CANCEL_BY, by)]);
    }

    /// Ends the run: its root ends now, or with the last of the spans that are still open in it.
    ///
    /// The first call counts. An artifact that is published in the run later opens another part of it.
    pub fn end(&self, end: RunEnd) {
        let State::Sampled(run) = &self.0 else { return };
        let attributes = vec![
            KeyValue::new(attribute::RUN_STATUS, end.status.as_str()),
            count(attribute::RUN_PUBLISHED, end.published),
            count(attribute::RUN_JOBS_OK, end.jobs_ok),
            count(attribute::RUN_JOBS_FAILED, end.jobs_failed),
            count(attribute::RUN_JOBS_CANCELLED, end.jobs_cancelled),
        ];
        let status = match end.status {
            RunStatus::Failed => Status::error("a required outcome failed"),
            RunStatus::Interrupted => Status::error("the process ended first"),
            RunStatus::Completed | RunStatus::Cancelled => Status::Unset,
        };
        run.root().end(end.at, attributes, status);
    }

    /// The first child after a restart, which links to the trace that was cut. The root must not: some
    /// versions of Jaeger take a root with a link for a span whose parent is missing.
    pub(crate) fn resumed_from(&self, earlier: &Propagation, at: SystemTime) {
        let State::Sampled(run) = &self.0 else { return };
        let root = Place::of(earlier).propagation(earlier.sampled, None);
        let draft = Draft::internal("resume run", at)
            .with(count(attribute::RUN_ATTEMPT, run.facts.attempt))
            .linked(&run.recorder, [root], "resumed_from");
        if let (_, Some(span)) = run.child(draft, Detail::Run, run.facts.detail) {
            span.end(at);
        }
    }
}

impl OpenRun {
    /// Begins a child of the root, in this trace or the next. `None` beside the trace when the span was left
    /// out.
    pub(crate) fn child(&self, draft: Draft, least: Detail, detail: Detail) -> (Arc<Root>, Option<Recorded>) {
        let mut current = self.root();
        if detail < least {
            current.suppress();
            return (Arc::clone(&current), None);
        }
        if (current.is_full() || current.span.is_ending())
            && let Some(next) = self.next(&current, draft.start)
        {
            *current = next;
        }
        // Under the lock: nobody may end this part between the look at it and the child.
        let span = current.child(&current.span, draft);
        (Arc::clone(&current), span)
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Opens the trace that follows. `None` when the service's sampler does not want it: the run stays where
    /// it is.
    fn next(&self, before: &Arc<Root>, at: SystemTime) -> Option<Arc<Root>> {
        let number = before.number + 1;
        let name = format!("{} (part {number})", self.facts.name);
        let draft = RootDraft { name, start: at, number, parent: None, forced: Some("copied") };
        let Opened::Recorded(next) = Root::open(&self.recorder, draft) else { return None };
        let next = next.into_root(&self.recorder, &self.facts);
        let trace = format!("{:032x}", next.trace_id());
        if !before.span.is_ending() {
            before.span.event(event::ROLLED_OVER, at, vec![KeyValue::new(attribute::NEXT_TRACE, trace)]);
            before.end(at, vec![KeyValue::new(attribute::RUN_STATUS, "rolled_over")], Status::Unset);
        }
        begun(&next, at, Some(before));
        Some(next)
    }

    pub(crate) fn root(&self) -> MutexGuard<'_, Arc<Root>> {
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenRun {
    /// A run that nobody ended, such as one that a stopping process keeps for the next.
    fn drop(&mut self) {
        self.root().span.abandon(KeyValue::new(attribute::RUN_STATUS, "abandoned"));
    }
}

/// The child that makes a run findable while its root is open; it links to the part before.
fn begun(root: &Arc<Root>, at: SystemTime, before: Option<&Arc<Root>>) {
    let draft = Draft::internal("run started", at).with(count(attribute::RUN_PART, root.number));
    let before = before.map(|before| before.propagation(&before.span));
    let draft = draft.linked(&root.recorder, before, "rolled_over_from");
    if let Some(span) = root.child(&root.span, draft) {
        span.end(at);
    }
}
