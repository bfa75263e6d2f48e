//! The gate in front of the batch processor: it counts what goes in, and what the exporter got rid of.
//!
//! The SDK's processor drops spans when its queue is full and answers `Ok` to a shutdown nevertheless. With a bound of
//! ours in front, which is never above its own, it has nothing to drop, and what we drop has a number.
//! The same gate keeps spans back until what is above them has gone out or is in the log (`waiting.rs`), and takes spans
//! that were made by hand, for those that a crash cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{Span as _, SpanId, SpanKind, Status, TraceContextExt as _, TraceState};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Span, SpanData, SpanEvents, SpanExporter, SpanLinks, SpanProcessor,
};

use super::told::{Told, key, key_of};
use super::waiting::Waiting;
use crate::names::target::TELEMETRY;
use crate::names::{SCHEMA_URL, SCOPE};
use crate::trace::{ClosedSpan, Closer, Exported, SpanKey};

/// What became of the spans so far.
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

    /// From now on spans are lost at the gate.
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

/// The processor that a tracer provider gets. Clones are the same gate.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    batches: Arc<BatchSpanProcessor>,
    tally: Arc<Tally>,
    told: Arc<Told>,
    waiting: Arc<Waiting>,
    queue_max: u64,
}

impl Gate {
    /// `queue_max` is at most the queue of the processor. The resource has to be set before: the provider cannot set it
    /// on a processor that is shared.
    pub(super) fn new(
        mut batches: BatchSpanProcessor,
        resource: &Resource,
        (tally, told): (Arc<Tally>, Arc<Told>),
        queue_max: usize,
    ) -> Self {
        batches.set_resource(resource);
        let queue_max = queue_max as u64;
        let waiting = Arc::new(Waiting::new(queue_max));
        Self { batches: Arc::new(batches), tally, told, waiting, queue_max }
    }

    /// Lets a span out to the processor, which never blocks.
    fn pass(&self, span: SpanData) {
        if self.tally.enter(self.queue_max) {
            self.batches.on_end(span);
        } else {
            self.told.tell(&[key(&span)]);
        }
    }
}

impl SpanProcessor for Gate {
    fn on_start(&self, span: &mut Span, context: &Context) {
        let (context, parent) = (span.span_context(), key_of(context.span().span_context()));
        if context.is_sampled() {
            self.waiting.begun(key_of(context), parent.span);
        }
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.waiting.ended(key(&span), span, |span| self.pass(span));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        // Whoever ends the exports before the runs gets what there is.
        self.waiting.release(|span| self.pass(span));
        self.batches.shutdown_with_timeout(timeout)
    }
}

impl Closer for Gate {
    fn opened(&self, root: SpanKey) {
        self.waiting.root(root);
    }

    fn recording(&self, span: SpanKey) -> bool {
        self.waiting.recording(span)
    }

    fn recorded(&self, span: SpanKey, told: Arc<dyn Exported>) {
        self.told.listen(span, told);
        self.waiting.settled(span, true, |span| self.pass(span));
    }

    fn not_recorded(&self, span: SpanKey) {
        self.waiting.settled(span, false, |span| self.pass(span));
    }

    fn close(&self, span: ClosedSpan, told: Arc<dyn Exported>) {
        let open = &span.open;
        let kind = if span.is_attempt { SpanKind::Consumer } else { SpanKind::Internal };
        let scope = InstrumentationScope::builder(SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        let (trace, id, state) = (open.trace_id(), open.span_id(), TraceState::default());
        let span_context = crate::trace::context(trace, id, open.is_sampled(), false, state);
        self.told.listen(key_of(&span_context), told);
        self.pass(SpanData {
            span_context,
            parent_span_id: open.parent_id().map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: false,
            span_kind: kind,
            name: span.name.into(),
            start_time: open.start(),
            end_time: span.end,
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::error("the process ended before the span did"),
            instrumentation_scope: scope,
        });
    }
}

/// An exporter whose results are counted.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    tally: Arc<Tally>,
    told: Arc<Told>,
    /// Whether the last export failed.
    failing: AtomicBool,
}

impl<E> Counted<E> {
    pub(super) const fn new(exporter: E, tally: Arc<Tally>, told: Arc<Told>) -> Self {
        Self { exporter, tally, told, failing: AtomicBool::new(false) }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let told = self.told.of(&batch);
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
        self.told.tell(&told);
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
