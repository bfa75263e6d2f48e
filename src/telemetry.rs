//! Telemetry: providers and settings of the service for [`Builder::telemetry`](crate::Builder::telemetry),
//! and a set-up for services that have none.
//!
//! Features: `otlp` exports over OTLP, `otlp-tls` over TLS as well, `prometheus` gives metrics as text,
//! `subscriber` writes log lines with trace ids, `traceparent` carries the trace of a `tracing` span as text.

pub use volery_actors::{Detail, Metrics, PayloadRecording, Providers, TraceSettings};
#[cfg(feature = "subscriber")]
pub use volery_observability::LogFormat;
#[cfg(feature = "otlp")]
pub use volery_observability::Otlp;
#[cfg(any(feature = "otlp", feature = "prometheus", feature = "subscriber"))]
pub use volery_observability::{Environment, Sampling, Telemetry, TelemetryBuilder, TelemetryError, init};
pub use volery_observability::{FlushReport, Flusher};
#[cfg(feature = "traceparent")]
pub use volery_observability::{ParentError, set_parent, traceparent_of};
