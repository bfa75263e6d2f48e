//! The log of the memory store: artifacts by place, those with open claims for as long as it takes.
//!
//! No I/O, no clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{SLACK, SPARSE_FACTOR};
use crate::artifact::Artifact;
use crate::claim::Claim;
use crate::id::{JobId, Offset, RunIndex, SubscriptionIndex};
use crate::marks::Marks;
use crate::outcome::Outcome;
use crate::store::{Few, Stored};

/// An artifact with the claims on it.
pub(in crate::store::memory) struct Entry {
    pub(super) artifact: Arc<Artifact>,
    pub(super) claims: Arc<[Claim]>,
    /// The outcome of each claim, in the same order.
    pub(super) states: Few<ClaimState>,
    /// Claims without an outcome.
    pub(super) open: usize,
    /// The place of its run.
    pub(super) run: RunIndex,
}

#[derive(Default)]
pub(super) struct ClaimState {
    /// The job that took it.
    pub(super) job: Option<JobId>,
    pub(super) outcome: Option<Outcome>,
    /// The artifacts that its job published.
    pub(super) published: OffsetRange,
    /// How far the log had come before it, for subscriptions that have marks.
    pub(super) marks: Option<Box<Marks>>,
}

/// Artifacts that follow each other in the log.
#[derive(Clone, Copy, Default)]
pub(super) struct OffsetRange {
    first: Offset,
    count: u32,
}

/// The artifacts that are there, by place.
#[derive(Default)]
pub(super) struct Entries {
    /// The first one has the offset `base + 1`.
    recent: VecDeque<Option<Entry>>,
    base: u64,
    /// Places in use among them.
    live: usize,
    /// Artifacts at or before `base` that are still there: a few that are open for long must not keep the
    /// places of all that came after them.
    old: BTreeMap<Offset, Entry>,
}

impl Entry {
    pub(super) fn claim_mut(&mut self, subscription: SubscriptionIndex) -> Option<&mut ClaimState> {
        let index = self.claims.binary_search_by_key(&subscription, |claim| claim.subscription).ok()?;
        self.states.get_mut(index)
    }
}

impl ClaimState {
    /// Tells whether it has no outcome and no job.
    pub(super) fn is_free(&self) -> bool {
        self.outcome.is_none() && self.job.is_none()
    }
}

impl OffsetRange {
    pub(super) fn of(stored: &[Stored]) -> Self {
        let mut span = Self::default();
        for stored in stored {
            if let Stored::New(artifact) = stored {
                span.first = if span.count == 0 { artifact.offset() } else { span.first };
                span.count += 1;
            }
        }
        span
    }

    pub(super) fn offsets(self) -> Vec<Offset> {
        (self.first.get()..).take(self.count as usize).map(Offset::new).collect()
    }
}

impl Entries {
    /// The place of the next artifact.
    pub(super) fn next(&self) -> Offset {
        Offset::new(self.base + self.recent.len() as u64 + 1)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.recent.push_back(Some(entry));
        self.live += 1;
    }

    pub(super) fn get(&self, offset: Offset) -> Option<&Entry> {
        match self.index(offset) {
            Some(index) => self.recent.get(index)?.as_ref(),
            None => self.old.get(&offset),
        }
    }

    pub(super) fn get_mut(&mut self, offset: Offset) -> Option<&mut Entry> {
        match self.index(offset) {
            Some(index) => self.recent.get_mut(index)?.as_mut(),
            None => self.old.get_mut(&offset),
        }
    }

    pub(super) fn take(&mut self, offset: Offset) -> Option<Entry> {
        let Some(index) = self.index(offset) else { return self.old.remove(&offset) };
        let entry = self.recent.get_mut(index)?.take()?;
        self.live -= 1;
        Some(entry)
    }

    /// Gives back the places at the front that nothing is left of.
    pub(super) fn shift(&mut self) {
        while let Some(front) = self.recent.front() {
            let sparse = self.recent.len() > SPARSE_FACTOR * self.live + SLACK;
            if front.is_some() && !sparse {
                break;
            }
            self.base += 1;
            if let Some(entry) = self.recent.pop_front().flatten() {
                self.live -= 1;
                self.old.insert(Offset::new(self.base), entry);
            }
        }
    }

    /// Every place that may hold an artifact, after one place.
    pub(super) fn places(&self, after: Offset) -> impl DoubleEndedIterator<Item = Offset> {
        let from = after.get().max(self.base) + 1;
        let recent = (from..=self.base + self.recent.len() as u64).map(Offset::new);
        self.old.range(after.next()..).map(|(offset, _)| *offset).chain(recent)
    }

    /// How many places are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.recent.len() + self.old.len()
    }

    fn index(&self, offset: Offset) -> Option<usize> {
        usize::try_from(offset.get().checked_sub(self.base + 1)?).ok()
    }
}
