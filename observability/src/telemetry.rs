//! A set-up of OpenTelemetry for services that have none: one call, and a guard that sends the rest at the
//! end.
//!
//! [`init`] gives a [`TelemetryBuilder`]; its `start` gives a [`Telemetry`]. Nothing global is installed
//! unless `install_global` asks for it. The traps of the exporters that this set-up avoids are the tests of
//! `tests/telemetry/traps.rs`.

mod builder;
mod environment;
mod error;
mod export;
mod flush;
#[cfg(feature = "subscriber")]
mod log;
mod open;
#[cfg(feature = "otlp")]
mod otlp;
mod sampler;
#[cfg(feature = "otlp")]
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

pub use self::builder::TelemetryBuilder;
pub use self::environment::Environment;
pub use self::error::TelemetryError;
#[cfg(feature = "subscriber")]
pub use self::log::LogFormat;
#[cfg(feature = "otlp")]
pub use self::otlp::Otlp;
pub use self::sampler::Sampling;
use crate::providers::{FlushReport, Flusher, Providers};
use crate::telemetry::flush::Exports;
use crate::trace::TraceSettings;

/// How long a guard that is dropped waits for what is left.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// Begins a set-up for a service of this name; `OTEL_SERVICE_NAME` counts more.
///
/// ```
/// use std::time::Duration;
/// use volery_observability::{Sampling, init};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let telemetry = init("shop").version("1.4.0").sampling(Sampling::Share(0.1)).start()?;
/// let providers = telemetry.providers(); // for the runtime's builder
/// # drop(providers);
/// let report = telemetry.shutdown_blocking(Duration::from_secs(5));
/// assert!(report.is_complete(), "{report}");
/// # Ok(())
/// # }
/// ```
pub fn init(service: impl Into<String>) -> TelemetryBuilder {
    TelemetryBuilder::new(service.into())
}

/// A running set-up: the guard of what waits for an export.
///
/// Keep it until the service is done. Dropped without a shutdown it sends what is left, for up to 5 s, and
/// blocks the thread meanwhile.
#[must_use = "dropped, it shuts the exports down"]
pub struct Telemetry {
    exports: Arc<Exports>,
    settings: TraceSettings,
    #[cfg(feature = "prometheus")]
    registry: Option<prometheus::Registry>,
}

impl Telemetry {
    /// The providers for a runtime's builder.
    pub fn providers(&self) -> Providers {
        let mut providers = Providers::none().settings(self.settings.clone());
        if let Some(tracer) = &self.exports.tracer {
            providers = providers.tracer(tracer.clone());
            providers = self.exports.open.iter().cloned().fold(providers, Providers::open_spans);
        }
        if let Some(meter) = &self.exports.meter {
            providers = providers.meter(meter.clone());
        }
        providers.flusher(Arc::clone(&self.exports) as Arc<dyn Flusher>)
    }

    /// The tracer provider, for spans of the service's own. `None` when no spans are exported.
    #[must_use]
    pub fn tracer_provider(&self) -> Option<&SdkTracerProvider> {
        self.exports.tracer.as_ref()
    }

    /// The meter provider, for metrics of the service's own. `None` when no metrics are exported.
    #[must_use]
    pub fn meter_provider(&self) -> Option<&SdkMeterProvider> {
        self.exports.meter.as_ref()
    }

    /// Sends what is waiting, and waits for it up to `limit`.
    ///
    /// It works within any runtime of tokio, one with a single thread included. The limit is of real time.
    ///
    /// # Panics
    /// Outside of a runtime of tokio; use [`flush_blocking`](Self::flush_blocking) there.
    ///
    /// Cancel safety: what was begun goes on.
    pub async fn flush(&self, limit: Duration) -> FlushReport {
        let exports = Arc::clone(&self.exports);
        flush::off_thread(move || exports.flush(limit)).await
    }

    /// Sends what is waiting, and waits for it up to `limit`. It blocks the thread.
    pub fn flush_blocking(&self, limit: Duration) -> FlushReport {
        self.exports.flush(limit)
    }

    /// Sends what is waiting and ends the exports. Spans that are recorded afterwards are lost; later reports
    /// count them.
    ///
    /// # Panics
    /// Outside of a runtime of tokio; use [`shutdown_blocking`](Self::shutdown_blocking) there.
    ///
    /// Cancel safety: what was begun goes on.
    pub async fn shutdown(self, limit: Duration) -> FlushReport {
        let exports = Arc::clone(&self.exports);
        flush::off_thread(move || exports.shutdown(limit)).await
    }

    /// Sends what is waiting and ends the exports. It blocks the thread.
    pub fn shutdown_blocking(self, limit: Duration) -> FlushReport {
        self.exports.shutdown(limit)
    }

    /// The metrics as Prometheus' text format, version 0.0.4, for the service to serve at `/metrics`.
    ///
    /// `None` unless the builder's `prometheus` asked for it.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn prometheus_text(&self) -> Option<String> {
        let registry = self.registry.as_ref()?;
        match prometheus::TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(text) => Some(text),
            Err(error) => {
                tracing::error!(target: crate::names::target::TELEMETRY, %error, "the metrics cannot be written");
                None
            }
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if self.exports.is_ended() {
            return;
        }
        let report = self.exports.shutdown(DROP_LIMIT);
        if !report.is_complete() {
            tracing::warn!(target: crate::names::target::TELEMETRY, %report, "telemetry was lost");
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("exports", &self.exports).finish_non_exhaustive()
    }
}
