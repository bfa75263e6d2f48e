//! Unfinished work: what a board is read back from.
//!
//! Pure: no I/O, no clock.

use crate::claim::LogEntry;
use crate::id::{JobId, Offset, SubscriptionIndex};
use crate::job::{PairVerdict, Resumed};

/// A place in the list of unfinished work: what has been read already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// Nothing.
    #[default]
    Start,
    /// Jobs up to this number.
    Jobs(u64),
    /// All jobs, and pairs up to this number.
    Pairs(u64),
    /// All jobs and pairs, and claims up to this place in the log.
    Claims(Offset),
}

/// Something that has no outcome yet.
#[derive(Clone, Debug)]
pub enum Unfinished {
    /// A job that was started.
    Job(Resumed),
    /// A pair that is finished while its inputs may still take part in others.
    Pair {
        /// The join.
        subscription: SubscriptionIndex,
        /// The pair's job.
        job: JobId,
        /// How it ended.
        verdict: PairVerdict,
    },
    /// An artifact with claims that no unfinished job covers.
    Claims(LogEntry),
}
