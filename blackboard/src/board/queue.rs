//! An agent's queue: slots, pause, quarantine, queue time-outs, and lanes in which jobs run one at a time.
//!
//! It orders jobs; it knows nothing about what they are. Pure: no I/O, no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::ready::{Lane, Ready};
use super::waits::Closed;
use crate::id::{JobIndex, Key};
use crate::job::WaitsFor;
use crate::outcome::Quarantine;
use crate::time::Timestamp;

/// Whether what waits in a queue may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// As soon as there is a slot.
    Open,
    /// Not before a time that will come by itself.
    Reopens,
    /// Not before a resume.
    Closed,
}

/// A job that was taken out of a queue.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) job: JobIndex,
    /// It was the current one of its lane, not one behind it.
    pub(super) leads_lane: bool,
}

/// A job that waited too long.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) job: JobIndex,
    pub(super) waited: Duration,
    /// The key behind which it waited; `None` for a job that was the current one of its lane, which it is no
    /// more.
    pub(super) behind: Option<Key>,
}

/// One agent's queue.
#[derive(Debug)]
pub(super) struct Queue {
    /// In the order in which they became complete.
    ready: VecDeque<Ready>,
    /// Lanes in use. A lane is here from the moment its first job is queued until its last job has ended.
    lanes: HashMap<Lane, VecDeque<Ready>>,
    /// How many wait behind others of their lanes.
    behind: usize,
    concurrency: u32,
    /// How many jobs more than that the agent may be given.
    ahead: u32,
    /// Jobs that the agent has.
    running: u32,
    paused: bool,
    quarantine: Option<Quarantine>,
    /// How long a job may wait for a slot.
    timeout: Option<Duration>,
    /// Waiting jobs by the time since when they wait, each with the lane that it was pushed into. Empty
    /// without a timeout.
    by_age: BTreeMap<(Timestamp, u64), Option<Lane>>,
    /// No clock began before: it stood while nothing could start.
    timeouts_begin: Timestamp,
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
            ready: VecDeque::new(),
            lanes: HashMap::new(),
            behind: 0,
            concurrency,
            ahead: 0,
            running: 0,
            paused: false,
            quarantine: None,
            timeout: None,
            by_age: BTreeMap::new(),
            timeouts_begin: Timestamp::MIN,
            burying: 0,
            closed_since: None,
            closed: None,
        }
    }

    /// Lets jobs wait this long for a slot, and no longer. Set before anything waits.
    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = Some(timeout);
    }

    /// Appends a job; one in a lane that is in use waits behind it.
    pub(super) fn push(&mut self, ready: Ready, lane: Option<Lane>) {
        self.track_age(&ready, lane.as_ref());
        if let Some(lane) = lane {
            if let Some(behind) = self.lanes.get_mut(&lane) {
                behind.push_back(ready);
                self.behind += 1;
                return;
            }
            self.lanes.insert(lane, VecDeque::new());
        }
        self.insert_ready(ready);
    }

    /// Puts a job that held its lane already back to where it stood: before everything that was complete
    /// later.
    pub(super) fn put_back(&mut self, ready: Ready) {
        self.track_age(&ready, None);
        self.insert_ready(ready);
    }

    fn insert_ready(&mut self, ready: Ready) {
        if self.ready.back().is_none_or(|last| last.order < ready.order) {
            return self.ready.push_back(ready);
        }
        let place = self.ready.binary_search_by_key(&ready.order, |other| other.order);
        debug_assert!(place.is_err(), "completions are numbered once");
        self.ready.insert(place.unwrap_or_else(|place| place), ready);
    }

    fn place_of(&self, order: u64) -> Option<usize> {
        self.ready.binary_search_by_key(&order, |ready| ready.order).ok()
    }

    /// Marks a lane as in use by a job that is not in the queue; false when another job has it.
    pub(super) fn hold_lane(&mut self, lane: Lane) -> bool {
        let free = !self.lanes.contains_key(&lane);
        self.lanes.entry(lane).or_default();
        free
    }

    fn track_age(&mut self, ready: &Ready, lane: Option<&Lane>) {
        if self.timeout.is_some() {
            self.by_age.insert((ready.since, ready.order), lane.cloned());
        }
    }

    fn untrack_age(&mut self, ready: &Ready) {
        if self.timeout.is_some() {
            self.by_age.remove(&(ready.since, ready.order));
        }
    }

    /// Takes the next job if there is a slot for it, and takes the slot.
    pub(super) fn pop(&mut self) -> Option<JobIndex> {
        if !self.takes_jobs() || !self.has_slot() {
            return None;
        }
        let ready = self.ready.pop_front()?;
        self.untrack_age(&ready);
        self.running += 1;
        Some(ready.job)
    }

    /// Tells whether the job of this order is not behind another of its lane.
    pub(super) fn is_at_front(&self, order: u64) -> bool {
        self.place_of(order).is_some()
    }

    /// Takes the job of this order before all others, and takes a slot.
    pub(super) fn pop_this(&mut self, order: u64) -> Option<JobIndex> {
        let ready = self.ready.remove(self.place_of(order)?)?;
        self.untrack_age(&ready);
        self.running += 1;
        Some(ready.job)
    }

    /// Takes out a job that is to be given up.
    pub(super) fn take_to_bury(&mut self, job: JobIndex) -> Vec<Taken> {
        let taken = self.take(|other| other == job);
        self.burying += u32::try_from(taken.len()).unwrap_or(u32::MAX);
        taken
    }

    /// Gives a slot back.
    pub(super) fn free_slot(&mut self) {
        debug_assert!(self.running > 0, "a slot is given back once");
        self.running = self.running.saturating_sub(1);
    }

    /// Returns when the job that waits longest will have waited too long. `None` as well while as many as
    /// the agent has slots are being given up: their ends lead to the next.
    pub(super) fn overdue_at(&self) -> Option<Timestamp> {
        if !self.takes_jobs() || self.burying >= self.concurrency {
            return None;
        }
        let ((since, _), _) = self.by_age.first_key_value()?;
        Some((*since).max(self.timeouts_begin).after(self.timeout?))
    }

    /// Takes the job that waits longest if that is too long by now.
    pub(super) fn pop_overdue(&mut self, now: Timestamp) -> Option<Late> {
        self.overdue_at().filter(|at| *at <= now)?;
        let ((since, order), lane) = self.by_age.pop_first()?;
        let waited = now.since(since.max(self.timeouts_begin));
        self.burying += 1;
        if let Some(ready) = self.place_of(order).and_then(|place| self.ready.remove(place)) {
            return Some(Late { job: ready.job, waited, behind: None });
        }
        let lane = lane?;
        let behind = self.lanes.get_mut(&lane)?;
        let place = behind.iter().position(|ready| ready.order == order)?;
        self.behind -= 1;
        behind.remove(place).map(|ready| Late { job: ready.job, waited, behind: Some(lane.1) })
    }

    /// A job that was being given up has ended.
    pub(super) fn end_burial(&mut self) {
        debug_assert!(self.burying > 0, "a burial ends once");
        self.burying = self.burying.saturating_sub(1);
    }

    /// Lets every clock begin anew, because nothing could start until now.
    pub(super) fn restart_timeouts(&mut self, now: Timestamp) {
        self.timeouts_begin = now;
    }

    /// Ends a lane's current job, so that the next in it may start; returns the next.
    pub(super) fn leave_lane(&mut self, lane: &Lane) -> Option<JobIndex> {
        let Some(next) = self.lanes.get_mut(lane)?.pop_front() else {
            self.lanes.remove(lane);
            return None;
        };
        self.behind -= 1;
        self.insert_ready(next);
        Some(next.job)
    }

    /// The reason that keeps all jobs here from starting, if there is one.
    pub(super) fn closed_by(&self) -> WaitsFor {
        if self.paused { WaitsFor::Paused } else { WaitsFor::Quarantine }
    }

    /// Nothing here may start from now on.
    pub(super) fn close(&mut self, now: Timestamp) {
        self.closed_since = Some(now);
    }

    /// Jobs of this queue may start again, as far as the agent goes.
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
            _ if self.paused => Standing::Closed,
            Some(Quarantine { resumes_at: None, .. }) => Standing::Closed,
            Some(Quarantine { resumes_at: Some(_), .. }) => Standing::Reopens,
            None => Standing::Open,
        }
    }

    /// Tells whether jobs may start, or be given up, as far as it depends on the agent.
    pub(super) fn takes_jobs(&self) -> bool {
        self.standing() == Standing::Open
    }

    pub(super) fn has_slot(&self) -> bool {
        self.running < self.concurrency.saturating_add(self.ahead)
    }

    pub(super) fn set_ahead(&mut self, ahead: u32) {
        self.ahead = ahead;
    }

    pub(super) fn has_timeout(&self) -> bool {
        self.timeout.is_some()
    }

    /// How many of the jobs that the agent has wait for one of its slots.
    pub(super) fn excess(&self) -> u32 {
        self.running.saturating_sub(self.concurrency)
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

    /// Tells whether just what waits is timed; true without a timeout. For the audit.
    pub(super) fn ages_agree(&self) -> bool {
        let timed = |ready: &Ready| self.by_age.contains_key(&(ready.since, ready.order));
        self.timeout.is_none() || (self.waiting().all(timed) && self.waiting().count() == self.by_age.len())
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
        self.ready.iter().chain(self.lanes.values().flatten())
    }

    /// Jobs that could start now if there were a slot.
    pub(super) fn front(&self) -> impl Iterator<Item = &Ready> {
        self.ready.iter()
    }

    /// Jobs that wait behind others of their lane.
    pub(super) fn behind(&self) -> impl Iterator<Item = (&Lane, &Ready)> {
        self.lanes.iter().flat_map(|(lane, behind)| behind.iter().map(move |ready| (lane, ready)))
    }

    /// Takes out the jobs that `goes` picks.
    pub(super) fn take(&mut self, goes: impl Fn(JobIndex) -> bool) -> Vec<Taken> {
        let mut gone = Vec::new();
        let mut stays = |ready: &Ready, leads_lane: bool| {
            let goes = goes(ready.job);
            gone.extend(goes.then_some((*ready, leads_lane)));
            !goes
        };
        self.ready.retain(|ready| stays(ready, true));
        self.lanes.values_mut().for_each(|behind| behind.retain(|ready| stays(ready, false)));
        self.behind = self.lanes.values().map(VecDeque::len).sum();
        gone.iter().for_each(|(ready, _)| self.untrack_age(ready));
        gone.into_iter().map(|(ready, leads_lane)| Taken { job: ready.job, leads_lane }).collect()
    }
}
