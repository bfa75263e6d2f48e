//! Ready work: a group that may become a job, or a job that may start another attempt, as soon as there is a
//! slot.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use crate::collect::{Entry, Group};
use crate::id::{JobId, Key, RunId, SubscriptionIndex};
use crate::time::Timestamp;

/// Work that may start as soon as there is a slot.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) work: Work,
    /// The number of its completion: the group that was complete earlier has the smaller one.
    pub(super) order: u64,
    /// Since when it waits: its inputs are complete, or its last attempt or back-off is over.
    pub(super) since: Timestamp,
    /// When it came to the front of its lane, if it was behind others.
    pub(super) front: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) enum Work {
    /// A group that has not been a job yet.
    New { subscription: SubscriptionIndex, group: Group, runs: Runs },
    /// A job that starts another attempt.
    Again(JobId),
}

impl Ready {
    pub(super) fn new(work: Work, order: u64, since: Timestamp) -> Self {
        Self { work, order, since, front: None }
    }
}

/// Names a lane: a subscription and an order key.
pub(super) type Lane = (SubscriptionIndex, Key);

/// The distinct runs among a job's inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    One(RunId),
    Many(Arc<[RunId]>),
}

impl Runs {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let first = entries.first().map_or(RunId::from_uuid(uuid::Uuid::nil()), |entry| entry.run);
        if entries.iter().all(|entry| entry.run == first) {
            return Self::One(first);
        }
        let mut runs: Vec<RunId> = entries.iter().map(|entry| entry.run).collect();
        runs.sort_unstable();
        runs.dedup();
        Self::Many(runs.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = RunId> + '_ {
        let (one, many) = match self {
            Self::One(run) => (Some(*run), &[][..]),
            Self::Many(runs) => (None, &**runs),
        };
        one.into_iter().chain(many.iter().copied())
    }

    pub(super) fn is_only(&self, run: RunId) -> bool {
        *self == Self::One(run)
    }
}

/// Returns the lane of a group.
pub(super) fn lane_in(subscription: SubscriptionIndex, group: &Group) -> Option<Lane> {
    let key = group.entries.iter().find_map(|entry| entry.lane.clone())?;
    Some((subscription, key))
}
