//! The window of a join: what waits, by key, and when it has waited long enough.
//!
//! Four clocks can end the waiting: publication time, event time (by the other sides' watermarks), wall time
//! when event time decides (patience), and a count of later arrivals. Entries expire one at a time, so that
//! the next one to expire can still be the partner of the one before. It does not pair anything;
//! [`super::join`] does. Pure: no I/O, no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::{Entry, insert_in_log_order};
use crate::id::{Key, Offset, RunIndex};
use crate::marks::Marks;
use crate::outcome::Expiry;
use crate::subscription::{JoinRule, Window};
use crate::time::Timestamp;

/// How long an input may wait in wall time when event time decides and nothing else was said. Half would drop
/// inputs of sources that report hourly; twice would hold a dead source's partners for longer than most
/// services live.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(3_600);

/// An entry that has waited long enough, with its key and why.
pub(crate) type Leaving = (Key, Entry, Expiry);

/// The entries of one key, side by side in log order.
pub(crate) type Held = Vec<VecDeque<Entry>>;

/// Everything a join holds.
#[derive(Debug)]
pub(crate) struct Pool {
    sides: usize,
    rule: JoinRule,
    by_key: HashMap<Key, Held>,
    /// Wall-clock deadlines: end of a publication-time window, or of patience.
    deadlines: BTreeMap<(Timestamp, Offset), WindowKey>,
    /// Event times, per side, for expiry by watermark.
    event_times: Vec<BTreeMap<(Timestamp, Offset), WindowKey>>,
    /// Largest event time seen, per side.
    marks: Vec<Option<Timestamp>>,
    /// Arrival numbers, for count windows. Entries that left early are skipped when their turn comes.
    arrivals: VecDeque<(u64, Offset, WindowKey)>,
    arrived: u64,
    held: usize,
}

#[derive(Clone, Debug)]
struct WindowKey {
    key: Key,
    side: u16,
}

impl Pool {
    pub(crate) fn new(sides: usize, rule: JoinRule) -> Self {
        Self {
            sides,
            rule,
            by_key: HashMap::new(),
            deadlines: BTreeMap::new(),
            event_times: vec![BTreeMap::new(); sides],
            marks: vec![None; sides],
            arrivals: VecDeque::new(),
            arrived: 0,
            held: 0,
        }
    }

    /// Returns the entries with a key.
    pub(crate) fn held(&self, key: &Key) -> Option<&Held> {
        self.by_key.get(key)
    }

    /// Visits every key with its entries.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&Key, &Held)> {
        self.by_key.iter()
    }

    /// Returns how many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Returns the time window, if there is one.
    pub(crate) fn time_window(&self) -> Option<Duration> {
        match self.rule.window {
            Some(Window::Time(window)) => Some(window),
            Some(Window::Count(_)) | None => None,
        }
    }

    /// Counts an arrival.
    pub(crate) fn arrive(&mut self) {
        self.arrived += 1;
    }

    /// Takes over marks that are further than its own.
    pub(crate) fn advance_marks(&mut self, marks: &Marks) {
        self.arrived = self.arrived.max(marks.arrivals);
        for (side, time) in (0..).zip(&marks.event_times).take(self.sides) {
            if let Some(time) = time {
                self.advance(side, *time);
            }
        }
    }

    /// Takes out the next entry whose count window the arrivals have ended.
    pub(crate) fn next_overrun(&mut self) -> Option<Leaving> {
        let Some(Window::Count(limit)) = self.rule.window else { return None };
        loop {
            let (number, ..) = self.arrivals.front()?;
            if self.arrived - number <= limit {
                return None;
            }
            let (_, offset, place) = self.arrivals.pop_front()?;
            if let Some(taken) = self.take(&place, offset, Expiry::CountWindow) {
                return Some(taken);
            }
        }
    }

    /// Takes out the next entry whose wall-clock deadline has come.
    pub(crate) fn next_due(&mut self, now: Timestamp) -> Option<Leaving> {
        let reason = if self.rule.event_time { Expiry::Patience } else { Expiry::TimeWindow };
        let ((deadline, offset), place) = self.deadlines.first_key_value()?;
        if *deadline > now {
            return None;
        }
        let (place, offset) = (place.clone(), *offset);
        self.take(&place, offset, reason)
    }

    /// Takes out the entry with the earliest event time among those that no partner can reach any more.
    pub(crate) fn next_passed(&mut self) -> Option<Leaving> {
        let window = self.time_window()?;
        let passed = |side: usize| {
            let watermark = self.watermark_against(side)?;
            let ((time, offset), place) = self.event_times[side].first_key_value()?;
            (time.after(window) < watermark).then(|| (*time, *offset, place.clone()))
        };
        let first = (0..self.sides).filter_map(passed).min_by_key(|(time, offset, _)| (*time, *offset));
        let (_, offset, place) = first?;
        self.take(&place, offset, Expiry::Watermark)
    }

    /// Holds an entry.
    pub(crate) fn insert(&mut self, key: &Key, entry: Entry) {
        let place = WindowKey { key: key.clone(), side: entry.side };
        if let Some(deadline) = self.deadline_of(&entry) {
            self.deadlines.insert((deadline, entry.offset), place.clone());
        }
        if self.rule.event_time {
            self.event_times[usize::from(entry.side)].insert((entry.time, entry.offset), place.clone());
        }
        if matches!(self.rule.window, Some(Window::Count(_))) {
            self.arrivals.push_back((self.arrived, entry.offset, place));
        }
        let held = self.by_key.entry(key.clone()).or_insert_with(|| vec![VecDeque::new(); self.sides]);
        insert_in_log_order(&mut held[usize::from(entry.side)], entry);
        self.held += 1;
    }

    /// Takes one entry out.
    pub(crate) fn remove(&mut self, key: &Key, side: u16, offset: Offset) -> Option<Entry> {
        let held = self.by_key.get_mut(key)?;
        let line = &mut held[usize::from(side)];
        let index = line.iter().position(|entry| entry.offset == offset)?;
        let entry = line.remove(index)?;
        if held.iter().all(VecDeque::is_empty) {
            self.by_key.remove(key);
        }
        if let Some(deadline) = self.deadline_of(&entry) {
            self.deadlines.remove(&(deadline, offset));
        }
        if self.rule.event_time {
            self.event_times[usize::from(side)].remove(&(entry.time, offset));
        }
        self.held -= 1;
        if self.held == 0 {
            self.arrivals.clear();
        }
        Some(entry)
    }

    /// Notes an event time.
    pub(crate) fn advance(&mut self, side: u16, time: Timestamp) {
        let mark = &mut self.marks[usize::from(side)];
        *mark = Some(mark.map_or(time, |seen| seen.max(time)));
    }

    /// Returns when the next entry is due by wall time.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Lists one run's entries in log order.
    pub(crate) fn of_run(&self, run: RunIndex) -> Vec<(Key, u16, Offset)> {
        let mut found: Vec<_> = self
            .by_key
            .iter()
            .flat_map(|(key, held)| held.iter().flatten().map(move |entry| (key, entry)))
            .filter(|(_, entry)| entry.run == run)
            .map(|(key, entry)| (key.clone(), entry.side, entry.offset))
            .collect();
        found.sort_by_key(|(_, _, offset)| *offset);
        found
    }

    /// The earliest watermark among the other sides: nothing older than it is expected from any of them.
    fn watermark_against(&self, side: usize) -> Option<Timestamp> {
        let others = (0..self.sides).filter(|other| *other != side);
        let marks: Option<Vec<Timestamp>> = others.map(|other| self.marks[other]).collect();
        marks?.into_iter().min().map(|mark| mark.before(self.rule.lateness))
    }

    fn deadline_of(&self, entry: &Entry) -> Option<Timestamp> {
        if self.rule.event_time {
            return Some(entry.at.after(self.rule.patience.unwrap_or(PATIENCE_DEFAULT)));
        }
        self.time_window().map(|window| entry.at.after(window))
    }

    fn take(&mut self, place: &WindowKey, offset: Offset, reason: Expiry) -> Option<Leaving> {
        self.remove(&place.key, place.side, offset).map(|entry| (place.key.clone(), entry, reason))
    }
}
