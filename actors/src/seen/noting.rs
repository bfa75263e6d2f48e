//! What the log has to know of open spans, so that a trace is whole after the process has died.
//!
//! Sampled spans that are open for long are noted in the store, and the notes removed when the spans were exported. A
//! process that begins exports an end for each note that it finds. Nothing is noted without a tracer, without the
//! providers of `Telemetry`, or for a run that is not sampled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use volery_blackboard::RunId;
use volery_blackboard::store::Note;
use volery_observability::trace::{Exported, SpanKey, SpanRecord};

use super::Seen;

/// What a runtime has noted of spans and runs.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Notes of spans that are in the store, or on the way there.
    open: AtomicUsize,
    /// Spans that were exported and whose notes could not be removed yet.
    unremoved: Mutex<Vec<SpanKey>>,
    /// How often runs that are open went on after a restart.
    resumed: Mutex<HashMap<RunId, u32>>,
}

/// A note on its way into the store. Dropped on the way, it was not written.
#[derive(Debug)]
pub(crate) struct SeenNote {
    seen: Arc<Seen>,
    about: About,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// A span is open.
    Open(SpanKey),
    /// It was exported.
    Exported(SpanKey),
    /// A run went on.
    Run,
    /// It is written.
    Nothing,
}

impl SeenNote {
    /// The note is committed.
    pub(crate) fn written(mut self) {
        match std::mem::replace(&mut self.about, About::Nothing) {
            About::Open(span) => self.seen.spans.recorded(span, self.seen.listener()),
            About::Exported(_) => self.seen.notes.closed(),
            About::Run | About::Nothing => {}
        }
    }
}

impl Drop for SeenNote {
    fn drop(&mut self) {
        match self.about {
            About::Open(span) => {
                self.seen.notes.closed();
                self.seen.spans.not_recorded(span);
            }
            About::Exported(span) => self.seen.notes.unremoved().push(span),
            About::Run | About::Nothing => {}
        }
    }
}

/// Hears of exports. Weak: whoever exports outlives the runtime.
#[derive(Debug)]
struct Told(Weak<Seen>);

impl Exported for Told {
    fn exported(&self, span: SpanKey) {
        let Some(seen) = self.0.upgrade() else { return };
        let mut gone = std::mem::take(&mut *seen.notes.unremoved());
        gone.push(span);
        gone.into_iter().for_each(|span| seen.note(removed(span), About::Exported(span)));
    }
}

impl Notes {
    fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn unremoved(&self) -> MutexGuard<'_, Vec<SpanKey>> {
        lock(&self.unremoved)
    }

    /// A run goes on: how often it did by now.
    fn count_resumed(&self, run: RunId) -> u32 {
        let mut resumed = lock(&self.resumed);
        let times = resumed.entry(run).or_default();
        *times += 1;
        *times
    }

    /// The run is over.
    pub(super) fn forget(&self, run: RunId) {
        lock(&self.resumed).remove(&run);
    }
}

impl Seen {
    /// How long spans are open before they are noted; `None` when none ever are.
    pub(crate) fn notes_after(&self) -> Option<Duration> {
        self.spans.recorded_after()
    }

    /// Has those spans noted that have been open for long.
    pub(crate) fn note_open_spans(self: &Arc<Self>) {
        for record in self.spans.to_record(self.clock.now().into()) {
            let span = record.key();
            self.notes.open.fetch_add(1, Ordering::Relaxed);
            let note = Note::Shown { place: place(span), open: Some(record.to_string()) };
            self.note(note, About::Open(span));
        }
    }

    /// Ends what the process before left open; the first call counts.
    pub(crate) fn begin_process(self: &Arc<Self>, notes: &[Note]) {
        if self.notes_after().is_none() || self.begun.set(()).is_err() {
            return;
        }
        for note in notes {
            match note {
                Note::RunResumed { run, times } => {
                    lock(&self.notes.resumed).insert(*run, *times);
                }
                Note::Shown { place, open: Some(open) } => match open.parse::<SpanRecord>() {
                    Ok(record) => {
                        self.notes.open.fetch_add(1, Ordering::Relaxed);
                        let closed = self.spans.close_interrupted(&record, self.born.into(), self.listener());
                        debug_assert!(closed, "whoever notes spans closes them");
                    }
                    Err(error) => {
                        tracing::warn!(target: "volery::curator", %place, %error, "a span that was cut off has no end");
                    }
                },
                _ => {}
            }
        }
    }

    /// A run goes on that an earlier process began. Returns which attempt at it this is.
    pub(super) fn count_resumed(self: &Arc<Self>, run: RunId) -> u32 {
        let times = self.notes.count_resumed(run);
        if self.notes_after().is_some() {
            self.note(Note::RunResumed { run, times }, About::Run);
        }
        times + 1
    }

    /// Tells whether notes of spans are in the store.
    pub(crate) fn has_notes(&self) -> bool {
        self.notes.open.load(Ordering::Relaxed) > 0
    }

    /// What is still to be removed from the store when the runtime stops.
    pub(crate) fn last_notes(&self) -> Vec<Note> {
        std::mem::take(&mut *self.notes.unremoved()).into_iter().map(removed).collect()
    }

    fn note(self: &Arc<Self>, note: Note, about: About) {
        let seen = SeenNote { seen: Arc::clone(self), about };
        if let Some(ingress) = self.ingress.get().and_then(Weak::upgrade) {
            ingress.seen_note(note, seen);
        }
    }

    fn listener(self: &Arc<Self>) -> Arc<dyn Exported> {
        Arc::new(Told(Arc::downgrade(self)))
    }
}

fn place(span: SpanKey) -> Arc<str> {
    span.to_string().into()
}

fn removed(span: SpanKey) -> Note {
    Note::Shown { place: place(span), open: None }
}

/// Every change to what is locked here is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
