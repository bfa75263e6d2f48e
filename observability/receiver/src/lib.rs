//! An OTLP receiver inside of a test: gRPC and HTTP, on the types of the protocol.
//!
//! It is written against the protocol and not against an exporter, so that what it shows is what a collector
//! would have got. [`Receiver`] takes spans and metrics in; [`tree`] shows spans as text for golden traces;
//! [`laws`] are what holds for every trace. For tests only: nothing may depend on it but `dev-dependencies`.

mod folded;
pub mod laws;
mod server;
mod span;
mod tree;

pub use folded::folded;
pub use server::Receiver;
pub use span::{Event, Link, Metric, Span};
pub use tree::tree;
