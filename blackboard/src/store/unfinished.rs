//! Unfinished work: what a board is read back from.
//!
//! Pure: no I/O, no clock.

use crate::effect::{PairVerdict, Published, Resumed};
use crate::id::{JobId, Offset, SubscriptionIndex};

/// A place in the list of unfinished work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Jobs up to this number have been read.
    pub jobs: u64,
    /// Claims up to this place have been read; `None` while jobs are being read.
    pub claims: Option<Offset>,
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
    Claims(Published),
}
