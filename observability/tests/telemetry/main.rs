//! Telemetry as it reaches a receiver, over real connections; and the names that pages, files and sources
//! share.
//!
//! One program for all of them: linking the exporters takes longer than the tests.

mod files;
mod otlp;
mod page;
mod runs;
mod scenario;
mod targets;
mod third_party;
mod traps;
mod variables;
