//! Who is to be told of the export of a span, because the log has it as open until then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_sdk::trace::SpanData;

use crate::trace::{Exported, SpanKey};

/// Recorded spans that are open, wait, or are being exported.
#[derive(Debug, Default)]
pub(super) struct Told {
    listeners: Mutex<HashMap<SpanKey, Arc<dyn Exported>>>,
    /// As many as there are: most exports have none of them, and take no lock.
    count: AtomicUsize,
}

impl Told {
    pub(super) fn listen(&self, span: SpanKey, listener: Arc<dyn Exported>) {
        let mut listeners = self.lock();
        listeners.insert(span, listener);
        self.count.store(listeners.len(), Ordering::Release);
    }

    /// Those of a batch that somebody waits for.
    pub(super) fn of(&self, batch: &[SpanData]) -> Vec<SpanKey> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let listeners = self.lock();
        batch.iter().map(key).filter(|span| listeners.contains_key(span)).collect()
    }

    /// Spans were exported, or are lost.
    pub(super) fn tell(&self, spans: &[SpanKey]) {
        for span in spans {
            let listener = {
                let mut listeners = self.lock();
                let listener = listeners.remove(span);
                self.count.store(listeners.len(), Ordering::Release);
                listener
            };
            if let Some(listener) = listener {
                listener.exported(*span);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SpanKey, Arc<dyn Exported>>> {
        // Every change is a single step.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A span's place.
pub(super) fn key(span: &SpanData) -> SpanKey {
    key_of(&span.span_context)
}

/// The place of a span context.
pub(super) fn key_of(context: &opentelemetry::trace::SpanContext) -> SpanKey {
    let (trace, span) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
    SpanKey { trace: u128::from_be_bytes(trace), span: u64::from_be_bytes(span) }
}
