//! Unfinished work, from which a board is read back.
//!
//! Pure: no I/O, no clock.

use crate::id::{Offset, SubscriptionIndex};
use crate::job::{PairVerdict, Resumed};

/// A place in the list of unfinished work: the entries before it have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Jobs up to this number.
    Jobs(u64),
    /// All jobs, and pairs up to this number.
    Pairs(u64),
}

impl Default for Cursor {
    fn default() -> Self {
        Self::Jobs(0)
    }
}

/// A job or pair that a board has to know when it is read back.
#[derive(Clone, Debug)]
pub enum Unfinished {
    /// A job that was started.
    Job(Resumed),
    /// A pair that is finished while its inputs may still take part in others.
    Pair {
        /// The join.
        subscription: SubscriptionIndex,
        /// The places of its inputs, in ascending order.
        inputs: Vec<Offset>,
        /// How it ended.
        verdict: PairVerdict,
    },
}
