//! Providers: a service's tracer provider, meter provider and settings for a runtime.
//!
//! All parts are optional; a runtime without any shows nothing and pays a branch for it. Nothing global is
//! read: a service that has globals passes them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global::ObjectSafeTracerProvider;
use opentelemetry::metrics::MeterProvider;

use crate::metrics::Metrics;
use crate::trace::{OpenSpans, Spans, TraceSettings};

/// The providers of a service. `Telemetry::providers` makes them; so does a service with a set-up of its own:
///
/// ```
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use volery_observability::Providers;
///
/// let provider = SdkTracerProvider::builder().build();
/// let providers = Providers::none().tracer(provider);
/// assert!(providers.spans().is_on());
/// ```
#[derive(Clone, Default)]
#[must_use = "providers are for a runtime"]
pub struct Providers {
    tracer: Option<Arc<dyn ObjectSafeTracerProvider + Send + Sync>>,
    meter: Option<Arc<dyn MeterProvider + Send + Sync>>,
    open: Option<Arc<dyn OpenSpans>>,
    flusher: Option<Arc<dyn Flusher>>,
    settings: TraceSettings,
}

/// Sends what is waiting for an export. The set-up of this crate does.
pub trait Flusher: fmt::Debug + Send + Sync {
    /// Sends what is waiting, and waits for it up to `limit` of real time. It blocks the thread.
    fn flush(&self, limit: Duration) -> FlushReport;
}

/// The counts of spans so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Spans that the receiver took.
    pub exported: u64,
    /// Spans that were lost because more waited than may.
    pub lost_waiting: u64,
    /// Spans that were lost because the receiver could not be reached or refused them.
    pub lost_exporting: u64,
    /// Spans that still wait: the time was too short.
    pub waiting: u64,
    /// The errors, in words. Empty when all is well.
    pub problems: Vec<String>,
}

impl FlushReport {
    /// Tells whether every span arrived.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lost() == 0 && self.problems.is_empty()
    }

    /// Spans that did not arrive; those that still wait count.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost_waiting + self.lost_exporting + self.waiting
    }
}

impl fmt::Display for FlushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans exported, {} lost", self.exported, self.lost())?;
        for problem in &self.problems {
            write!(f, "; {problem}")?;
        }
        Ok(())
    }
}

impl Providers {
    /// None: nothing is shown.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the tracer provider.
    pub fn tracer(mut self, provider: impl ObjectSafeTracerProvider + Send + Sync + 'static) -> Self {
        self.tracer = Some(Arc::new(provider));
        self
    }

    /// Sets the meter provider.
    pub fn meter(mut self, provider: impl MeterProvider + Send + Sync + 'static) -> Self {
        self.meter = Some(Arc::new(provider));
        self
    }

    /// Sets what holds spans back, and exports those of a process that is gone.
    #[doc(hidden)]
    pub fn open_spans(mut self, open: Arc<dyn OpenSpans>) -> Self {
        self.open = Some(open);
        self
    }

    /// Sets what sends waiting spans at the end of a shutdown.
    pub fn flusher(mut self, flusher: Arc<dyn Flusher>) -> Self {
        self.flusher = Some(flusher);
        self
    }

    /// Sets how runs are traced.
    pub fn settings(mut self, settings: TraceSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sends what is waiting. `None` when nobody knows how.
    ///
    /// It blocks the thread for up to `limit` of real time; within an async runtime, call it on a thread for
    /// blocking work.
    #[must_use]
    pub fn flush_blocking(&self, limit: Duration) -> Option<FlushReport> {
        self.flusher.as_ref().map(|flusher| flusher.flush(limit))
    }
}

/// The runtime's side. Not for services.
#[doc(hidden)]
impl Providers {
    /// The spans of one runtime.
    #[must_use]
    pub fn spans(&self) -> Spans {
        let Some(tracer) = &self.tracer else { return Spans::off() };
        Spans::held_back(&**tracer, self.settings.clone(), self.open.clone())
    }

    /// The metrics of one runtime by its name; what its spans leave out is counted in them. Call it once per
    /// runtime.
    #[must_use]
    pub fn metrics(&self, runtime: &str, spans: &Spans) -> Metrics {
        let Some(provider) = &self.meter else { return Metrics::off() };
        let metrics = Metrics::from_provider(&**provider).for_runtime(runtime);
        if spans.is_on() {
            metrics.watch_spans(spans);
        }
        metrics
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Providers")
            .field("tracer", &self.tracer.is_some())
            .field("meter", &self.meter.is_some())
            .field("open", &self.open)
            .field("flusher", &self.flusher)
            .field("settings", &self.settings)
            .finish()
    }
}
