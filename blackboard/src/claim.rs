//! Claims: what subscriptions hold of an artifact, and how that ends, as the board and the store tell each
//! other.
//!
//! [`Matcher`](crate::matching::Matcher) makes claims; the board counts outcomes by them. Pure: no I/O, no
//! clock.

use std::sync::Arc;

use crate::id::{Key, Offset, RunId, SubscriptionIndex};
use crate::marks::Marks;
use crate::outcome::{Discard, Outcome, Tally};
use crate::time::Timestamp;

/// One subscription's claim on an artifact, with all that its closures said, so that they run once only.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The subscription.
    pub subscription: SubscriptionIndex,
    /// The side that the artifact fills.
    pub side: u16,
    /// Weight within a batch.
    pub weight: u32,
    /// Join or batch key.
    pub key: Option<Key>,
    /// Key of the lane in which jobs run one at a time.
    pub lane: Option<Key>,
    /// Event time, for joins that ask for it.
    pub event_time: Option<Timestamp>,
    /// When the subscriber may see it, if not at once.
    pub visible_at: Option<Timestamp>,
    /// Why it is refused, if it is.
    pub refused: Option<Box<Discard>>,
    /// How far the log had come before it, for subscriptions with clocks of their own. Stores give it when a
    /// claim is read back; what has just been published has none, because the collector itself has come that
    /// far.
    pub marks: Option<Box<Marks>>,
}

/// A committed artifact, as far as the board knows it.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its place in the log.
    pub offset: Offset,
    /// Its run.
    pub run: RunId,
    /// The workflow's name, for a run that the board has not met.
    pub workflow: Arc<str>,
    /// When it was published.
    pub at: Timestamp,
    /// The claims on it. Empty for an artifact that nobody subscribes to.
    pub claims: Arc<[Claim]>,
}

/// An artifact with claims that no unfinished job covers, read back for some subscriptions.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The artifact, with the claims of the subscriptions asked for.
    pub published: LogEntry,
    /// How its run stands, over all subscriptions.
    pub tally: Tally,
}

/// The claims of one subscription in the log that no unfinished job covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The subscription.
    pub subscription: SubscriptionIndex,
    /// Claims without an outcome; never 0.
    pub count: u64,
    /// The first of them.
    pub first: Offset,
    /// The last of them.
    pub last: Offset,
}

/// One artifact's outcome for one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The subscription.
    pub subscription: SubscriptionIndex,
    /// The artifact's place in the log.
    pub offset: Offset,
    /// The artifact's run.
    pub run: RunId,
    /// The side of the subscription that took it, and with it the artifact's kind. Not for stores.
    pub side: u16,
    /// How it ended.
    pub outcome: Outcome,
}
