//! The promises of the facade, one module per subject: each test names the rule that it shows.
//!
//! Only the public crate is used. Time is paused wherever a test waits, so nothing here sleeps for real.

mod agents_cancelling;
mod agents_children;
mod agents_clocks;
mod agents_intensity;
mod agents_obeying;
mod batch;
mod child;
mod collecting;
#[cfg(feature = "sqlite")]
mod damage;
mod dead_letters;
mod decisions;
mod deploy;
#[cfg(feature = "sqlite")]
mod durable;
mod embedding;
#[cfg(unix)]
mod exit_codes;
mod failures;
mod health;
mod join;
mod lookout;
mod pace;
mod pipeline;
mod place;
mod queries;
mod refusals;
mod resources;
mod runs;
mod schedule;
mod shutdown;
mod support;
mod testing;
mod tree;
mod upkeep;
mod visibility;
mod waiting;
mod window;
