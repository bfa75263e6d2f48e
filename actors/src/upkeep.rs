//! Upkeep: the loops beside the data path.
//!
//! The timekeeper finds everything that is due by an armed deadline. All other loops are periodic actors (`periodic.rs`),
//! one shell around what each of them does: the sweeps look again at what the timekeeper may have missed, schedules
//! publish at planned times, the janitor has the store forget, the lookout finds what does not come on, and the eviction
//! lets idle resources go. Only the sentry is none: it is a thread, because it sees when no loop can run.

mod eviction;
mod gauges;
mod janitor;
mod lookout;
mod periodic;
mod schedule;
mod status;
mod sweep;
mod timekeeper;
mod tracing;
mod tree;

pub(crate) use gauges::Mailboxes;
pub use lookout::Finding;
pub(crate) use lookout::{Findings, SentryParts};
pub use schedule::{Missed, Schedule};
pub use status::LoopStatus;
pub(crate) use timekeeper::{Timekeeper, TimekeeperMessage};
pub(crate) use tree::{Loops, Upkeep, check_schedules};

#[cfg(test)]
mod tests;
