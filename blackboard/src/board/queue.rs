//! An agent's waiting line: credit, pause, quarantine, queue time-outs, and lanes in which jobs run one at a time.
//!
//! It orders work; it knows nothing about what the work is. Pure: no I/O, no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::run::Runs;
use super::waits::Closed;
use crate::collect::Complete;
use crate::id::{JobId, Key, SubscriptionIndex};
use crate::job::WaitsFor;
use crate::outcome::Quarantine;
use crate::time::Timestamp;

/// Work that may start as soon as there is a slot.
#[derive(Debug)]
pub(super) enum Ready {
    /// A complete set of inputs that has not been a job yet.
    New {
        subscription: SubscriptionIndex,
        complete: Complete,
        runs: Runs,
        order: u64,
        since: Timestamp,
        /// When it came to the front of its lane, if it was behind others.
        front: Option<Timestamp>,
    },
    /// A job that starts another attempt.
    Again { job: JobId, order: u64, since: Timestamp, front: Option<Timestamp> },
}

impl Ready {
    /// The number of its completion: what was complete earlier has the smaller one.
    fn order(&self) -> u64 {
        match self {
            Self::New { order, .. } | Self::Again { order, .. } => *order,
        }
    }

    /// Since when it waits: its inputs are complete, or its last attempt or back-off is over.
    pub(super) fn since(&self) -> Timestamp {
        match self {
            Self::New { since, .. } | Self::Again { since, .. } => *since,
        }
    }

    /// When it came to the front of its lane, if it was behind others.
    pub(super) fn front(&self) -> Option<Timestamp> {
        match self {
            Self::New { front, .. } | Self::Again { front, .. } => *front,
        }
    }

    pub(super) fn come_to_front(&mut self, now: Timestamp) {
        match self {
            Self::New { front, .. } | Self::Again { front, .. } => *front = Some(now),
        }
    }
}

/// Whether what waits in a queue may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// As soon as there is a slot.
    Open,
    /// Not before a time that will come by itself.
    Resting,
    /// Not before somebody says so.
    Shut,
}

/// A piece that waited too long.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) ready: Ready,
    pub(super) waited: Duration,
    /// The key behind which it waited; `None` for a piece that was its lane's current one, which it is no more.
    pub(super) behind: Option<Key>,
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
    /// How many wait behind others of their lanes.
    behind: usize,
    concurrency: u32,
    running: u32,
    paused: bool,
    quarantine: Option<Quarantine>,
    /// It takes no jobs before this time. What waits counts as moving all the same.
    away_until: Option<Timestamp>,
    /// How long a piece may wait for a slot.
    patience: Option<Duration>,
    /// The waiting pieces by the time since when they wait, and the lane that each was pushed into. Empty without patience.
    clocks: BTreeMap<(Timestamp, u64), Option<Lane>>,
    /// No clock began before: it stood while nothing could start.
    clocks_begin: Timestamp,
    /// Jobs that waited too long and are being given up.
    burying: u32,
    /// Since when it is paused or quarantined.
    closed_since: Option<Timestamp>,
    /// The last time that nothing could start and that is over.
    closed: Option<Closed>,
}

impl Queue {
    pub(super) fn new(concurrency: u32) -> Self {
        Self {
            ready: BTreeMap::new(),
            lanes: HashMap::new(),
            behind: 0,
            concurrency,
            running: 0,
            paused: false,
            quarantine: None,
            away_until: None,
            patience: None,
            clocks: BTreeMap::new(),
            clocks_begin: Timestamp::MIN,
            burying: 0,
            closed_since: None,
            closed: None,
        }
    }

    /// Lets a piece wait this long for a slot, and no longer. Set before anything waits.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Appends new work; work in a lane that is in use waits behind it.
    pub(super) fn push(&mut self, ready: Ready, lane: Option<Lane>) {
        self.begin_clock(&ready, lane.as_ref());
        if let Some(lane) = lane {
            if let Some(behind) = self.lanes.get_mut(&lane) {
                behind.push_back(ready);
                self.behind += 1;
                return;
            }
            self.lanes.insert(lane, VecDeque::new());
        }
        self.line_up(ready);
    }

    /// Puts work that held its lane already back to where it stood: before everything that was complete later.
    pub(super) fn put_back(&mut self, ready: Ready) {
        self.begin_clock(&ready, None);
        self.line_up(ready);
    }

    fn line_up(&mut self, ready: Ready) {
        let before = self.ready.insert(ready.order(), ready);
        debug_assert!(before.is_none(), "completions are numbered once");
    }

    /// Marks a lane as in use by a job that is not in the queue; false when another job has it.
    pub(super) fn hold_lane(&mut self, lane: Lane) -> bool {
        let free = !self.lanes.contains_key(&lane);
        self.lanes.entry(lane).or_default();
        free
    }

    fn begin_clock(&mut self, ready: &Ready, lane: Option<&Lane>) {
        if self.patience.is_some() {
            self.clocks.insert((ready.since(), ready.order()), lane.cloned());
        }
    }

    fn end_clock(&mut self, ready: &Ready) {
        if self.patience.is_some() {
            self.clocks.remove(&(ready.since(), ready.order()));
        }
    }

    /// Takes the next piece of work if there is a slot for it, and takes the slot.
    pub(super) fn pop(&mut self) -> Option<Ready> {
        if !self.takes_jobs() || !self.has_slot() {
            return None;
        }
        let (_, ready) = self.ready.pop_first()?;
        self.end_clock(&ready);
        self.running += 1;
        Some(ready)
    }

    /// Tells whether a piece is not behind another of its lane.
    pub(super) fn is_at_front(&self, order: u64) -> bool {
        self.ready.contains_key(&order)
    }

    /// Takes this piece of work before all others, and takes a slot.
    pub(super) fn pop_this(&mut self, order: u64) -> Option<Ready> {
        let ready = self.ready.remove(&order)?;
        self.end_clock(&ready);
        self.running += 1;
        Some(ready)
    }

    /// Takes out a job that is to be given up. The bool says whether it was its lane's current one.
    pub(super) fn take_to_bury(&mut self, id: JobId) -> Vec<(Ready, bool)> {
        let taken = self.take(|ready| matches!(ready, Ready::Again { job, .. } if *job == id));
        self.burying += u32::try_from(taken.len()).unwrap_or(u32::MAX);
        taken
    }

    /// Gives a slot back.
    pub(super) fn free_slot(&mut self) {
        debug_assert!(self.running > 0, "a slot is given back once");
        self.running = self.running.saturating_sub(1);
    }

    /// Returns when the piece that waits longest will have waited too long. `None` as well while as many as the agent has
    /// slots are being given up: their ends lead to the next.
    pub(super) fn overdue_at(&self) -> Option<Timestamp> {
        if !self.takes_jobs() || self.burying >= self.concurrency {
            return None;
        }
        let ((since, _), _) = self.clocks.first_key_value()?;
        Some((*since).max(self.clocks_begin).after(self.patience?))
    }

    /// Takes the piece that waits longest if that is too long by now.
    pub(super) fn pop_overdue(&mut self, now: Timestamp) -> Option<Late> {
        self.overdue_at().filter(|at| *at <= now)?;
        let ((since, order), lane) = self.clocks.pop_first()?;
        let waited = now.since(since.max(self.clocks_begin));
        self.burying += 1;
        if let Some(ready) = self.ready.remove(&order) {
            return Some(Late { ready, waited, behind: None });
        }
        let lane = lane?;
        let behind = self.lanes.get_mut(&lane)?;
        let place = behind.iter().position(|ready| ready.order() == order)?;
        self.behind -= 1;
        behind.remove(place).map(|ready| Late { ready, waited, behind: Some(lane.1) })
    }

    /// One that was being given up has ended.
    pub(super) fn end_burial(&mut self) {
        debug_assert!(self.burying > 0, "a burial ends once");
        self.burying = self.burying.saturating_sub(1);
    }

    /// Lets every clock begin anew, because nothing could start until now.
    pub(super) fn restart_clocks(&mut self, now: Timestamp) {
        self.clocks_begin = now;
    }

    /// Ends a lane's current job, so that the next in it may start.
    pub(super) fn leave_lane(&mut self, lane: &Lane, now: Timestamp) {
        let Some(behind) = self.lanes.get_mut(lane) else { return };
        match behind.pop_front() {
            Some(mut next) => {
                self.behind -= 1;
                next.come_to_front(now);
                self.line_up(next);
            }
            None => {
                self.lanes.remove(lane);
            }
        }
    }

    /// What keeps everything here from starting, if something does.
    pub(super) fn closed_by(&self) -> WaitsFor {
        if self.paused { WaitsFor::Paused } else { WaitsFor::Quarantine }
    }

    /// Nothing here may start from now on.
    pub(super) fn close(&mut self, now: Timestamp) {
        self.closed_since = Some(now);
    }

    /// What waits here may start again, as far as the agent goes.
    pub(super) fn reopen(&mut self, why: WaitsFor, now: Timestamp) {
        if let Some(since) = self.closed_since.take() {
            self.note_closed(Closed { since, until: now, why });
        }
    }

    pub(super) fn note_closed(&mut self, closed: Closed) {
        self.closed = Some(closed);
    }

    /// The last time that nothing could start and that is over.
    pub(super) fn closed(&self) -> Option<Closed> {
        self.closed
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Begins or ends a quarantine; returns the one before.
    pub(super) fn set_quarantine(&mut self, quarantine: Option<Quarantine>) -> Option<Quarantine> {
        std::mem::replace(&mut self.quarantine, quarantine)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn quarantine(&self) -> Option<Quarantine> {
        self.quarantine
    }

    pub(super) fn standing(&self) -> Standing {
        match self.quarantine {
            _ if self.paused => Standing::Shut,
            Some(Quarantine { resumes_at: None, .. }) => Standing::Shut,
            Some(Quarantine { resumes_at: Some(_), .. }) => Standing::Resting,
            None => Standing::Open,
        }
    }

    /// Says until when the agent is away; `None` ends that. Returns what was said before.
    pub(super) fn set_away(&mut self, until: Option<Timestamp>) -> Option<Timestamp> {
        std::mem::replace(&mut self.away_until, until)
    }

    pub(super) fn is_away(&self) -> bool {
        self.away_until.is_some()
    }

    /// Tells whether jobs may start, or be given up, as far as it depends on the agent.
    pub(super) fn takes_jobs(&self) -> bool {
        self.standing() == Standing::Open && !self.is_away()
    }

    pub(super) fn has_slot(&self) -> bool {
        self.running < self.concurrency
    }

    pub(super) fn running(&self) -> u32 {
        self.running
    }

    pub(super) fn burying(&self) -> u32 {
        self.burying
    }

    pub(super) fn slots(&self) -> u32 {
        self.concurrency
    }

    /// Tells whether just what waits is timed; true without patience. For the audit.
    pub(super) fn clocks_agree(&self) -> bool {
        let timed = |ready: &Ready| self.clocks.contains_key(&(ready.since(), ready.order()));
        self.patience.is_none() || (self.waiting().all(timed) && self.waiting().count() == self.clocks.len())
    }

    /// How much waits.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.behind
    }

    /// Those of them that wait behind others of their lanes.
    pub(super) fn len_behind(&self) -> usize {
        self.behind
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
        for (ready, _) in &taken {
            self.end_clock(ready);
        }
        self.behind = self.lanes.values().map(VecDeque::len).sum();
        taken
    }
}
