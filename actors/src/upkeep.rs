//! Upkeep: the loops beside the data path.
//!
//! All loops are periodic actors with one shell (`periodic.rs`): the sweeps look again for deadlines that the
//! timekeeper may have missed, schedules publish at planned times, the janitor applies retention, the lookout
//! finds attempts and agents without progress, and the eviction drops idle resources. Only the sentry is a
//! thread, because it sees when no loop can run.

mod eviction;
mod gauges;
mod janitor;
mod lookout;
mod periodic;
mod schedule;
mod spans;
mod status;
mod sweep;
mod tree;

pub(crate) use gauges::Mailboxes;
pub(crate) use lookout::{Findings, SentryParts};
pub use schedule::{Missed, Schedule};
pub use status::LoopStatus;
pub(crate) use tree::{Loops, Upkeep, check_schedules};

#[cfg(test)]
mod tests;
