//! An agent's waiting line: credit, pause, and lanes in which jobs run one at a time.
//!
//! It orders work; it knows nothing about what the work is. Pure: no I/O, no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::run::Runs;
use crate::collect::Complete;
use crate::id::{JobId, Key, SubscriptionIndex};

/// Work that may start as soon as there is a slot.
#[derive(Debug)]
pub(super) enum Ready {
    /// A complete set of inputs that has not been a job yet.
    New { subscription: SubscriptionIndex, complete: Complete, runs: Runs, order: u64 },
    /// A job that starts another attempt.
    Again { job: JobId, order: u64 },
}

impl Ready {
    /// The number of its completion: what was complete earlier has the smaller one.
    fn order(&self) -> u64 {
        match self {
            Self::New { order, .. } | Self::Again { order, .. } => *order,
        }
    }
}

/// Names a lane: a subscription and an order key.
pub(super) type Lane = (SubscriptionIndex, Key);

/// One agent's waiting line.
#[derive(Debug)]
pub(super) struct Queue {
    /// By the order in which they became complete.
    ready: BTreeMap<u64, Ready>,
    /// Lanes in use. A lane is here from the moment its first job is queued until its last job has ended.
    lanes: HashMap<Lane, VecDeque<Ready>>,
    concurrency: u32,
    running: u32,
    paused: bool,
}

impl Queue {
    pub(super) fn new(concurrency: u32) -> Self {
        Self { ready: BTreeMap::new(), lanes: HashMap::new(), concurrency, running: 0, paused: false }
    }

    /// Appends new work; work in a lane that is in use waits behind it.
    pub(super) fn push(&mut self, ready: Ready, lane: Option<Lane>) {
        if let Some(lane) = lane {
            if let Some(behind) = self.lanes.get_mut(&lane) {
                behind.push_back(ready);
                return;
            }
            self.lanes.insert(lane, VecDeque::new());
        }
        self.put_back(ready);
    }

    /// Puts work that held its lane already back to where it stood: before everything that was complete later.
    pub(super) fn put_back(&mut self, ready: Ready) {
        let before = self.ready.insert(ready.order(), ready);
        debug_assert!(before.is_none(), "completions are numbered once");
    }

    /// Marks a lane as in use by a job that is not in the queue; false when another job has it.
    pub(super) fn hold_lane(&mut self, lane: Lane) -> bool {
        let free = !self.lanes.contains_key(&lane);
        self.lanes.entry(lane).or_default();
        free
    }

    /// Takes the next piece of work if there is a slot for it, and takes the slot.
    pub(super) fn pop(&mut self) -> Option<Ready> {
        if self.paused || self.running >= self.concurrency {
            return None;
        }
        let (_, ready) = self.ready.pop_first()?;
        self.running += 1;
        Some(ready)
    }

    /// Gives a slot back.
    pub(super) fn free_slot(&mut self) {
        debug_assert!(self.running > 0, "a slot is given back once");
        self.running = self.running.saturating_sub(1);
    }

    /// Ends a lane's current job, so that the next in it may start.
    pub(super) fn leave_lane(&mut self, lane: &Lane) {
        let Some(behind) = self.lanes.get_mut(lane) else { return };
        match behind.pop_front() {
            Some(next) => self.put_back(next),
            None => {
                self.lanes.remove(lane);
            }
        }
    }

    /// Pauses or resumes; tells whether that changed anything.
    pub(super) fn set_paused(&mut self, paused: bool) -> bool {
        std::mem::replace(&mut self.paused, paused) != paused
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn has_slot(&self) -> bool {
        self.running < self.concurrency
    }

    pub(super) fn running(&self) -> u32 {
        self.running
    }

    /// Everything that waits, in no order that matters.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Ready> {
        self.ready.values().chain(self.lanes.values().flatten())
    }

    /// What could start now if there were a slot.
    pub(super) fn front(&self) -> impl Iterator<Item = &Ready> {
        self.ready.values()
    }

    /// What waits behind others of its lane.
    pub(super) fn behind(&self) -> impl Iterator<Item = (&Lane, &Ready)> {
        self.lanes.iter().flat_map(|(lane, behind)| behind.iter().map(move |ready| (lane, ready)))
    }

    /// Takes out what `gone` picks. The bool says whether the piece was its lane's current one, not one behind it.
    pub(super) fn take(&mut self, mut gone: impl FnMut(&Ready) -> bool) -> Vec<(Ready, bool)> {
        let mut taken = Vec::new();
        let leading: Vec<u64> = self.ready.values().filter(|ready| gone(ready)).map(Ready::order).collect();
        taken.extend(leading.iter().filter_map(|order| self.ready.remove(order)).map(|ready| (ready, true)));
        for behind in self.lanes.values_mut() {
            let mut stay = VecDeque::with_capacity(behind.len());
            for ready in behind.drain(..) {
                if gone(&ready) { taken.push((ready, false)) } else { stay.push_back(ready) }
            }
            *behind = stay;
        }
        taken
    }
}
