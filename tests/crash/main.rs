//! Durability, shown by force: a service whose process is killed, whose machine loses power, whose store
//! stops at every commit, and what must be true of its file afterwards.
//!
//! Chances are drawn from a seed that each test prints; `VOLERY_SEED` sets it. `VOLERY_KILLS` sets how often
//! processes are killed, `VOLERY_CUTS` how often power is cut. Time that has to pass between lives passes by
//! their clocks, not by waiting.

#![cfg(all(target_os = "linux", feature = "sqlite"))]
#![expect(clippy::print_stderr, reason = "seeds and figures stand in the output of a test that failed")]

mod audit;
mod chance;
mod child;
mod commits;
mod deaths;
mod disk;
mod errors;
mod kills;
mod power;
mod service;
mod trace;
