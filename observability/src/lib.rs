//! How a Volery runtime is seen: the names of its log records, and the trace context that crosses its edge.
//!
//! [`names`] is the one home of the tracing targets and field names that a runtime uses today. [`traceparent_of`] and
//! [`set_parent`] carry a trace over an edge that only knows text: a header, a queue's message, a row. [`Metrics`] records
//! numbers on a meter that the service hands in.
//!
//! This crate is a leaf: it knows no other crate of the workspace. It installs nothing: no subscriber, no tracer, no
//! exporter. An embedding service brings its own.

pub mod metrics;
pub mod names;
mod traceparent;

pub use metrics::Metrics;
pub use traceparent::{ParentError, set_parent, traceparent_of};
