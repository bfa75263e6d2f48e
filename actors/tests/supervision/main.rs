//! The guarantees of the supervision kit, seen from outside: real actors under paused time.

#![expect(clippy::disallowed_methods, reason = "a test owns its runtime and the time in it")]

mod exits;
mod kit;
mod lifetimes;
mod order;
mod scale;
mod strategies;
mod trees;
