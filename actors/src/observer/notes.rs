//! Notes of open spans in the log, so that a trace is whole after the process has died.
//!
//! Sampled spans that are open for long are noted in the store, and the notes removed when the spans were
//! exported. A process that begins exports an end for each note that it finds. Nothing is noted without a
//! tracer, without the providers of `Telemetry`, or for a run that is not sampled.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use volery_blackboard::RunId;
use volery_blackboard::store::Note;
use volery_observability::trace::{OnExported, OpenSpan, SpanKey};

use super::Observer;

/// A runtime's notes of spans and runs.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Spans whose notes are in the store, or on the way there; `true` for those that were exported.
    spans: Mutex<HashMap<SpanKey, bool>>,
    /// How often runs that are open went on after a restart.
    resumed: Mutex<HashMap<RunId, u32>>,
}

/// A note of a span, on its way into the store.
#[derive(Debug)]
pub(crate) struct SpanNote {
    span: SpanKey,
    /// The record with which the next process ends it; `None` removes the note.
    open: Option<String>,
}

impl SpanNote {
    pub(crate) fn note(&self) -> Note {
        Note::Span { place: self.span.to_string().into(), open: self.open.clone() }
    }
}

impl Observer {
    /// How long spans are open before they are noted; `None` when none ever are.
    pub(crate) fn notes_after(&self) -> Option<Duration> {
        self.spans.noted_after()
    }

    /// Notes the spans that have been open for long, and removes the notes whose spans were exported. Changes
    /// that the store refuses are tried again next time.
    pub(crate) fn note_open_spans(self: &Arc<Self>) {
        let mut given = |span| {
            lock(&self.notes.spans).insert(span, false);
            self.on_exported()
        };
        for open in self.spans.to_note(self.clock.now().into(), &mut given) {
            let spans = lock(&self.notes.spans);
            if spans.get(&open.key()) == Some(&false) {
                self.send_note(SpanNote { span: open.key(), open: Some(open.to_string()) });
            }
        }
        self.exported_spans().into_iter().for_each(|span| self.send_note(SpanNote { span, open: None }));
    }

    /// A note is committed.
    pub(crate) fn note_committed(&self, note: &SpanNote) {
        if note.open.is_some() {
            self.spans.noted(note.span);
        } else {
            lock(&self.notes.spans).remove(&note.span);
        }
    }

    /// Ends what the process before left open; the first call counts.
    pub(crate) fn begin_process(self: &Arc<Self>, notes: &[Note]) {
        if self.notes_after().is_none() || self.begun.set(()).is_err() {
            return;
        }
        let mut spans = Vec::new();
        for note in notes {
            match note {
                Note::RunResumed { run, times } => {
                    lock(&self.notes.resumed).insert(*run, *times);
                }
                Note::Span { place, open: Some(open) } => match open.parse::<OpenSpan>() {
                    Ok(span) => spans.push(span),
                    Err(error) => {
                        tracing::warn!(target: "volery::curator", %place, %error, "a span that was cut off has no end");
                    }
                },
                _ => {}
            }
        }
        // Children first: should this process die meanwhile, what it has not ended yet ends later.
        spans.sort_by_key(|span| Reverse(span.start()));
        for span in spans {
            lock(&self.notes.spans).insert(span.key(), false);
            let closed = self.spans.close_interrupted(&span, self.born.into(), self.on_exported());
            debug_assert!(closed, "whoever notes spans closes them");
        }
    }

    /// A run goes on that an earlier process began. Returns which attempt at it this is.
    pub(super) fn count_resumed(&self, run: RunId) -> u32 {
        let times = {
            let mut resumed = lock(&self.notes.resumed);
            let times = resumed.entry(run).or_default();
            *times += 1;
            *times
        };
        if self.notes_after().is_some()
            && let Some(host) = self.host()
        {
            host.run_resumed(run, times);
        }
        times + 1
    }

    /// The run is over.
    pub(super) fn forget_resumed(&self, run: RunId) {
        lock(&self.notes.resumed).remove(&run);
    }

    /// Tells whether notes of spans are in the store.
    pub(crate) fn has_notes(&self) -> bool {
        !lock(&self.notes.spans).is_empty()
    }

    /// Notes that are still to be removed from the store when the runtime stops.
    pub(crate) fn last_notes(&self) -> Vec<Note> {
        self.exported_spans().into_iter().map(|span| SpanNote { span, open: None }.note()).collect()
    }

    fn exported_spans(&self) -> Vec<SpanKey> {
        lock(&self.notes.spans).iter().filter(|(_, exported)| **exported).map(|(span, _)| *span).collect()
    }

    fn send_note(&self, note: SpanNote) {
        if let Some(host) = self.host() {
            host.span_note(note);
        }
    }

    /// Learns of exports, and has notes removed. Weak: the exporter outlives the runtime.
    fn on_exported(self: &Arc<Self>) -> OnExported {
        let observer = Arc::downgrade(self);
        Arc::new(move |span| {
            if let Some(observer) = observer.upgrade() {
                // Under the lock: no note of the span is sent after its removal.
                let mut spans = lock(&observer.notes.spans);
                spans.insert(span, true);
                observer.send_note(SpanNote { span, open: None });
            }
        })
    }
}

/// Every change to what is locked here is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
