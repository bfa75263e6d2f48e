//! The span of one publish, whose place the artifact carries.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, Status};

use super::nested::End;
use super::propagation::Propagation;
use super::root::{Draft, Recorded};
use super::run::{RunTrace, State};
use super::settings::Detail;
use super::text::{count, shown, text};
use crate::names::attribute;

/// Steps that took at most this long have no span: on a run's scale they would be invisible.
pub(crate) const TOO_SHORT: Duration = Duration::from_millis(1);

/// An artifact that is about to be published.
#[derive(Clone, Copy)]
pub struct Publish<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its id.
    pub id: &'a dyn Display,
    /// The size of its payload in bytes, if it is known.
    pub size: Option<u64>,
    /// A hash of its idempotency key.
    pub dedup: Option<u64>,
    /// When the publish began.
    pub start: SystemTime,
}

impl<'a> Publish<'a> {
    /// An artifact with nothing but a kind, an id and a time.
    #[must_use]
    pub fn new(kind: &'a str, id: &'a dyn Display, start: SystemTime) -> Self {
        Self { kind, id, size: None, dedup: None, start }
    }

    pub(crate) fn draft(&self) -> Draft {
        let mut attributes = message(self.kind, self.id);
        attributes.extend(self.size.map(|size| count(attribute::MESSAGING_BODY_SIZE, size)));
        let hash = |hash: u64| KeyValue::new(attribute::DEDUP_KEY_HASH, format!("{hash:016x}"));
        attributes.extend(self.dedup.map(hash));
        Draft {
            name: format!("publish {}", self.kind),
            kind: SpanKind::Producer,
            start: self.start,
            attributes,
            links: Vec::new(),
            is_long: false,
        }
    }
}

impl std::fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Publish({} {})", self.kind, self.id)
    }
}

/// One commit of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    /// The store's database, such as `sqlite`.
    pub store: &'a str,
    /// Changes that were committed together.
    pub changes: u64,
    /// The class of the error, if it failed.
    pub error: Option<&'a str>,
    /// When it began.
    pub start: SystemTime,
    /// When it was done.
    pub end: SystemTime,
}

/// The open span of a publish. The artifact takes its place along; it ends when the commit is done.
#[derive(Debug)]
#[must_use = "a publish ends when its commit is done"]
pub struct PublishTrace {
    pub(crate) span: Option<Recorded>,
    pub(crate) propagation: Propagation,
    pub(crate) detail: Detail,
}

impl RunTrace {
    /// Begins a publish from outside; `None` when the run is not sampled.
    pub fn publish(&self, publish: &Publish<'_>) -> Option<PublishTrace> {
        let State::Sampled(run) = &self.0 else { return None };
        let (root, span) = run.child(publish.draft(), Detail::Job, run.facts.detail);
        let nested = span.as_ref().map_or(&root.span, |span| &span.nested);
        Some(PublishTrace { propagation: root.propagation(nested), span, detail: run.facts.detail })
    }
}

impl PublishTrace {
    /// The artifact's trace context: this span, or the nearest one that is recorded.
    #[must_use]
    pub const fn propagation(&self) -> &Propagation {
        &self.propagation
    }

    /// Records the payload, if its kind is recorded. `payload` is called only then; its text is redacted and
    /// cut.
    pub fn payload(&self, kind: &str, payload: impl FnOnce() -> String) {
        let Some(span) = &self.span else { return };
        if let Some(recording) = span.root.recorder.settings.payload(kind) {
            span.nested.set(KeyValue::new(attribute::PAYLOAD, recording.apply(&payload())));
        }
    }

    /// Shows the commit in it, if it took more than 1 ms or failed.
    pub fn commit(&self, commit: &Commit<'_>) {
        if let Some(span) = &self.span {
            show_commit(span, commit, self.detail);
        }
    }

    /// Ends it: the artifact is committed.
    pub fn end(self, at: SystemTime) {
        if let Some(span) = self.span {
            span.end(at);
        }
    }

    /// Ends it: the artifact was refused, or could not be committed.
    pub fn fail(self, error_type: &str, at: SystemTime) {
        let Some(span) = self.span else { return };
        let attributes = vec![text(attribute::ERROR_TYPE, error_type)];
        span.nested.end(End { at, attributes, status: Status::error(error_type.to_owned()) });
    }
}

pub(crate) fn show_commit(span: &Recorded, commit: &Commit<'_>, detail: Detail) {
    let took = commit.end.duration_since(commit.start).unwrap_or_default();
    if commit.error.is_none() && took <= TOO_SHORT {
        return;
    }
    if detail < Detail::Phase && commit.error.is_none() {
        span.root.suppress();
        return;
    }
    let mut draft = Draft::internal("store.commit", commit.start)
        .with(text(attribute::DB_SYSTEM, commit.store))
        .with(KeyValue::new(attribute::DB_OPERATION, "commit"))
        .with(count(attribute::DB_BATCH_SIZE, commit.changes));
    draft.kind = SpanKind::Client;
    let Some(child) = span.root.child(&span.nested, draft) else { return };
    match commit.error {
        None => child.end(commit.end),
        Some(class) => {
            let attributes = vec![text(attribute::ERROR_TYPE, class)];
            child.nested.end(End { at: commit.end, attributes, status: Status::error(class.to_owned()) });
        }
    }
}

/// The attributes of every message.
pub(crate) fn message(kind: &str, id: &dyn Display) -> Vec<KeyValue> {
    vec![
        KeyValue::new(attribute::MESSAGING_SYSTEM, "volery"),
        KeyValue::new(attribute::MESSAGING_OPERATION_NAME, "send"),
        KeyValue::new(attribute::MESSAGING_OPERATION_TYPE, "send"),
        text(attribute::MESSAGING_DESTINATION, kind),
        shown(attribute::MESSAGING_MESSAGE_ID, id),
    ]
}
