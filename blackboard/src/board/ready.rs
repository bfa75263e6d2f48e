//! Ready work: a job in its place among the others of its agent, the lane in which it waits, and its runs.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use crate::collect::{Entry, Group};
use crate::id::{JobIndex, Key, RunIndex, SubscriptionIndex};
use crate::time::Timestamp;

/// A job that may start as soon as there is a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) job: JobIndex,
    /// The number of its completion: the group that was complete earlier has the smaller one.
    pub(super) order: u64,
    /// Since when it waits: its inputs are complete, or its last attempt or back-off is over.
    pub(super) since: Timestamp,
}

/// Names a lane: a subscription and an order key.
pub(super) type Lane = (SubscriptionIndex, Key);

/// The distinct runs among a job's inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    One(RunIndex),
    Many(Arc<[RunIndex]>),
}

impl Runs {
    pub(super) fn of(entries: &[Entry]) -> Self {
        if let Some(first) = entries.first()
            && entries.iter().all(|entry| entry.run == first.run)
        {
            return Self::One(first.run);
        }
        let mut runs: Vec<RunIndex> = entries.iter().map(|entry| entry.run).collect();
        runs.sort_unstable();
        runs.dedup();
        Self::Many(runs.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = RunIndex> + '_ {
        let (one, many) = match self {
            Self::One(run) => (Some(*run), &[][..]),
            Self::Many(runs) => (None, &**runs),
        };
        one.into_iter().chain(many.iter().copied())
    }

    pub(super) fn is_only(&self, run: RunIndex) -> bool {
        *self == Self::One(run)
    }
}

/// Returns the lane of a group.
pub(super) fn lane_in(subscription: SubscriptionIndex, group: &Group) -> Option<Lane> {
    let key = group.entries.iter().find_map(|entry| entry.lane.clone())?;
    Some((subscription, key))
}
