//! The way of a span from its end to the exporter: held back while it has to be, counted, queued, sent.
//!
//! The SDK's processor drops spans when its queue is full and answers `Ok` to a shutdown nevertheless. With a
//! bound of ours in front, which is never above its own, it has nothing to drop, and what we drop has a
//! number. `open.rs` holds spans back until what is above them has gone out or is in the log. Spans that a
//! crash cut off are made by hand.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceState,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Span, SpanData, SpanEvents, SpanExporter, SpanLinks, SpanProcessor,
};

use super::open::Open;
use crate::names::target::TELEMETRY;
use crate::trace::{Given, OnExported, OpenSpan, OpenSpans, SpanKey, instrumentation_scope};

/// The counts of spans so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    waiting: AtomicU64,
    exported: AtomicU64,
    lost_waiting: AtomicU64,
    lost_exporting: AtomicU64,
    ended: AtomicBool,
}

impl Tally {
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    pub(super) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Acquire)
    }

    pub(super) fn lost_waiting(&self) -> u64 {
        self.lost_waiting.load(Ordering::Acquire)
    }

    pub(super) fn lost_exporting(&self) -> u64 {
        self.lost_exporting.load(Ordering::Acquire)
    }

    /// From now on spans are lost before they are queued.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Takes a place in the queue.
    fn enter(&self, queue_max: u64) -> bool {
        let ended = self.ended.load(Ordering::Acquire);
        if !ended && self.waiting.fetch_add(1, Ordering::AcqRel) < queue_max {
            return true;
        }
        if !ended {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        self.lost_waiting.fetch_add(1, Ordering::AcqRel);
        false
    }

    fn leave(&self, spans: u64, sent: &OTelSdkResult) {
        let count = if sent.is_ok() { &self.exported } else { &self.lost_exporting };
        count.fetch_add(spans, Ordering::AcqRel);
        self.waiting.fetch_sub(spans, Ordering::AcqRel);
    }
}

/// Noted spans that were not exported yet, and who hears of it.
#[derive(Default)]
pub(super) struct Noted {
    listeners: Mutex<HashMap<SpanKey, OnExported>>,
    /// As many as there are: most exports have none of them, and take no lock.
    count: AtomicUsize,
}

impl Noted {
    fn listen(&self, span: SpanKey, listener: OnExported) {
        let mut listeners = self.lock();
        listeners.insert(span, listener);
        self.count.store(listeners.len(), Ordering::Release);
    }

    /// Those of a batch that a caller waits for.
    fn of(&self, batch: &[SpanData]) -> Vec<SpanKey> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let listeners = self.lock();
        batch.iter().map(|span| key(&span.span_context)).filter(|span| listeners.contains_key(span)).collect()
    }

    /// Spans were exported, or are lost.
    fn tell(&self, spans: &[SpanKey]) {
        for span in spans {
            let listener = {
                let mut listeners = self.lock();
                let listener = listeners.remove(span);
                self.count.store(listeners.len(), Ordering::Release);
                listener
            };
            if let Some(listener) = listener {
                listener(*span);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SpanKey, OnExported>> {
        // Every change is a single step.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noted").field("count", &self.count).finish()
    }
}

/// The processor that a tracer provider gets. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Exporting {
    batches: Arc<BatchSpanProcessor>,
    tally: Arc<Tally>,
    noted: Arc<Noted>,
    open: Arc<Open>,
    queue_max: u64,
    runtimes: Arc<AtomicU64>,
}

impl Exporting {
    /// `queue_max` is at most the queue of the processor. The resource has to be set before: the provider
    /// cannot set it on a processor that is shared.
    pub(super) fn new(
        mut batches: BatchSpanProcessor,
        resource: &Resource,
        (tally, noted): (Arc<Tally>, Arc<Noted>),
        queue_max: usize,
    ) -> Self {
        batches.set_resource(resource);
        let queue_max = queue_max as u64;
        let open = Arc::new(Open::new(queue_max));
        Self { batches: Arc::new(batches), tally, noted, open, queue_max, runtimes: Arc::default() }
    }

    /// Gives a span to the processor, which never blocks.
    fn send(&self, span: SpanData) {
        if self.tally.enter(self.queue_max) {
            self.batches.on_end(span);
        } else {
            self.noted.tell(&[key(&span.span_context)]);
        }
    }
}

impl SpanProcessor for Exporting {
    fn on_start(&self, span: &mut Span, context: &Context) {
        let context_of_span = span.span_context();
        if context_of_span.is_sampled() {
            self.open.begun(key(context_of_span), key(context.span().span_context()).span);
        }
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.open.ended(key(&span.span_context), span, |span| self.send(span));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        // A service that ends the exports before the runs gets the spans that there are.
        self.open.release(|span| self.send(span));
        self.batches.shutdown_with_timeout(timeout)
    }
}

impl OpenSpans for Exporting {
    fn join(&self) -> u64 {
        self.runtimes.fetch_add(1, Ordering::Relaxed)
    }

    fn begun(&self, runtime: u64, span: OpenSpan) {
        self.open.describe(runtime, span);
    }

    fn to_note(&self, runtime: u64, before: SystemTime, given: &mut Given<'_>) -> Vec<OpenSpan> {
        self.open.to_note(runtime, before, |span| self.noted.listen(span, given(span)))
    }

    fn noted(&self, span: SpanKey) {
        self.open.noted(span, |span| self.send(span));
    }

    fn close(&self, span: &OpenSpan, end: SystemTime, on_exported: OnExported) {
        let SpanKey { trace, span: id } = span.key;
        self.noted.listen(span.key, on_exported);
        self.send(SpanData {
            span_context: crate::trace::context(trace, id, true, false, TraceState::default()),
            parent_span_id: SpanId::from(span.parent),
            parent_span_is_remote: false,
            span_kind: if span.is_attempt { SpanKind::Consumer } else { SpanKind::Internal },
            name: span.name.clone().into(),
            start_time: span.start(),
            end_time: end.max(span.start()),
            attributes: span.interrupted(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::error("the process ended before the span did"),
            instrumentation_scope: instrumentation_scope(),
        });
    }
}

/// The place of a span.
fn key(context: &SpanContext) -> SpanKey {
    let (trace, span) = crate::trace::ids(context);
    SpanKey { trace, span }
}

/// An exporter whose results are counted.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    tally: Arc<Tally>,
    noted: Arc<Noted>,
    /// Whether the last export failed.
    failing: AtomicBool,
}

impl<E> Counted<E> {
    pub(super) const fn new(exporter: E, tally: Arc<Tally>, noted: Arc<Noted>) -> Self {
        Self { exporter, tally, noted, failing: AtomicBool::new(false) }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let noted = self.noted.of(&batch);
        let sent = self.exporter.export(batch).await;
        self.tally.leave(spans, &sent);
        // Said when it begins and when it is over, and not for every export.
        let failed = self.failing.swap(sent.is_err(), Ordering::AcqRel);
        match &sent {
            Err(error) if !failed => {
                tracing::warn!(target: TELEMETRY, %error, "spans cannot be exported and are lost, until further notice");
            }
            Ok(()) if failed => tracing::warn!(target: TELEMETRY, "spans are exported again"),
            Ok(()) | Err(_) => {}
        }
        self.noted.tell(&noted);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
