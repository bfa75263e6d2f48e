//! Observability of a Volery runtime: names, spans, metrics, the trace context that crosses its edge, and a
//! set-up to export.
//!
//! * [`names`] is the one home of targets, fields, spans, attributes, events and metrics.
//! * [`trace`] opens spans over a tracer provider, and [`metrics`] records over a meter provider; a runtime
//!   gets both as [`Providers`]. Without them it shows nothing.
//! * `traceparent_of` and `set_parent` (feature `traceparent`) carry the trace of a `tracing` span over an
//!   edge that only knows text.
//! * `init` (feature `sdk`) sets OpenTelemetry's SDK up; `otlp`, `prometheus` and `subscriber` are features
//!   beside it.
//!
//! This crate is a leaf: it knows no other crate of the workspace. It installs nothing unless it is asked to.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod metrics;
pub mod names;
mod providers;
#[cfg(feature = "sdk")]
mod telemetry;
pub mod trace;
#[cfg(feature = "traceparent")]
mod traceparent;

pub use metrics::Metrics;
pub use providers::{FlushReport, Flusher, Providers};
#[cfg(feature = "subscriber")]
pub use telemetry::LogFormat;
#[cfg(feature = "otlp")]
pub use telemetry::Otlp;
#[cfg(feature = "sdk")]
pub use telemetry::{Environment, Sampling, Telemetry, TelemetryBuilder, TelemetryError, init};
#[cfg(feature = "traceparent")]
pub use traceparent::{ParentError, set_parent, traceparent_of};
