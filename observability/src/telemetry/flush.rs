//! The end of the exports: bounded in real time, on threads that may block, and with a report.
//!
//! The SDK's own flush blocks its caller, and some of its exporters block for good on a runtime with one
//! thread. Here every call runs on a thread of its own, and a caller waits up to its limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::export::Tally;
use crate::providers::{FlushReport, Flusher};
use crate::trace::OpenSpans;

/// The exports of a set-up.
#[derive(Debug)]
pub(super) struct Exports {
    pub(super) tracer: Option<SdkTracerProvider>,
    pub(super) meter: Option<SdkMeterProvider>,
    pub(super) open: Option<Arc<dyn OpenSpans>>,
    pub(super) tally: Arc<Tally>,
    /// The runtime that connections live on. It ends last.
    pub(super) transport: Mutex<Option<Transport>>,
    /// Named in reports.
    pub(super) endpoints: Endpoints,
    pub(super) ended: AtomicBool,
}

/// Where spans go, and where metrics do.
pub(super) type Endpoints = [Option<String>; 2];

/// A runtime of tokio for connections, so that they do not depend on the service's.
#[derive(Debug)]
pub(super) struct Transport(pub(super) Option<tokio::runtime::Runtime>);

impl Drop for Transport {
    /// A runtime must not be dropped where tasks run; in the background it may.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Exports {
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Sends what is left and ends. A second call sends nothing and reports the same.
    pub(super) fn shutdown(&self, limit: Duration) -> FlushReport {
        let mut problems = Vec::new();
        if !self.ended.swap(true, Ordering::AcqRel) {
            let (tracer, meter) = (self.tracer.clone(), self.meter.clone());
            problems = bounded(
                (limit, &self.endpoints),
                move || tracer.map_or(Ok(()), |tracer| tracer.shutdown_with_timeout(limit)),
                move || meter.map_or(Ok(()), |meter| meter.shutdown_with_timeout(limit)),
            );
            self.tally.end();
            drop(self.transport.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
        self.report(problems)
    }

    fn report(&self, problems: Vec<String>) -> FlushReport {
        FlushReport {
            exported: self.tally.exported(),
            lost_waiting: self.tally.lost_waiting(),
            lost_exporting: self.tally.lost_exporting(),
            waiting: self.tally.waiting(),
            problems,
        }
    }
}

impl Flusher for Exports {
    fn flush(&self, limit: Duration) -> FlushReport {
        let (tracer, meter) = (self.tracer.clone(), self.meter.clone());
        let problems = bounded(
            (limit, &self.endpoints),
            move || tracer.map_or(Ok(()), |tracer| tracer.force_flush()),
            move || meter.map_or(Ok(()), |meter| meter.force_flush()),
        );
        self.report(problems)
    }
}

/// Runs what may block where it may, in an async context.
pub(super) async fn off_thread(work: impl FnOnce() -> FlushReport + Send + 'static) -> FlushReport {
    match tokio::task::spawn_blocking(work).await {
        Ok(report) => report,
        Err(error) => FlushReport {
            problems: vec![format!("the flush was cut off: {error}")],
            ..FlushReport::default()
        },
    }
}

/// Works at both signals at once, on threads of their own, and waits up to `limit`. An export that takes
/// longer goes on and ends by itself: the exporters have limits of their own. Returns what went wrong.
fn bounded(
    (limit, endpoints): (Duration, &Endpoints),
    spans: impl FnOnce() -> OTelSdkResult + Send + 'static,
    metrics: impl FnOnce() -> OTelSdkResult + Send + 'static,
) -> Vec<String> {
    let (done, wait) = mpsc::sync_channel(1);
    let [to_spans, to_metrics] = endpoints.clone();
    let run = move || {
        let both = thread::scope(|scope| {
            let spans = scope.spawn(spans);
            let metrics = metrics();
            [problem(("traces", to_spans), spans.join()), problem(("metrics", to_metrics), Ok(metrics))]
        });
        // Nobody may be waiting any more.
        done.send(both.into_iter().flatten().collect()).ok();
    };
    match thread::Builder::new().name("volery-flush".to_owned()).spawn(run) {
        Err(error) => vec![format!("no thread for the flush: {error}")],
        Ok(_) => wait.recv_timeout(limit).unwrap_or_else(|_| vec![format!("not done within {limit:?}")]),
    }
}

fn problem((signal, to): (&str, Option<String>), result: thread::Result<OTelSdkResult>) -> Option<String> {
    let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
    match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{signal}{to}: {error}")),
        Err(_) => Some(format!("{signal}{to}: the exporter panicked")),
    }
}
