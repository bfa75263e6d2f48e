//! The telemetry of a running runtime: traces, metrics and log lines as they arrive over OTLP.
//!
//! The receiver is written against the protocol. Time is paused where a test waits, so nothing here sleeps
//! for real.

mod hostile;
mod killed;
mod levels;
mod lines;
mod models;
mod numbers;
mod path;
mod rules;
mod services;
mod shape;
mod steps;
mod stopping;
mod stress;
mod support;
mod waits;
