//! The window of a join: what waits, by key, and when it has waited long enough.
//!
//! Four clocks can end the waiting: publication time, event time (by the other sides' watermarks), wall time when
//! event time decides (patience), and a count of later arrivals. It does not pair anything; [`super::join`] does.
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::Entry;
use crate::id::{Key, Offset, RunId};
use crate::outcome::Expiry;
use crate::subscription::{JoinRule, Window};
use crate::time::Timestamp;

/// How long an input may wait in wall time when event time decides and nothing else was said. Half would drop inputs
/// of sources that report hourly; twice would hold a dead source's partners for longer than most services live.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(3_600);

/// The entries of one key, side by side in log order.
pub(crate) type Held = Vec<VecDeque<Entry>>;

/// Everything a join holds.
#[derive(Debug)]
pub(crate) struct Pool {
    sides: usize,
    rule: JoinRule,
    by_key: HashMap<Key, Held>,
    /// Wall-clock deadlines: end of a publication-time window, or of patience.
    deadlines: BTreeMap<(Timestamp, Offset), Place>,
    /// Event times, per side, for expiry by watermark.
    event_times: Vec<BTreeMap<(Timestamp, Offset), Key>>,
    /// Largest event time seen, per side.
    marks: Vec<Option<Timestamp>>,
    /// Arrival numbers, for count windows. Entries that left early are skipped when their turn comes.
    arrivals: VecDeque<(u64, Offset, Place)>,
    arrived: u64,
    held: usize,
}

#[derive(Clone, Debug)]
struct Place {
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

    /// Returns the time window, if there is one.
    pub(crate) fn time_window(&self) -> Option<Duration> {
        match self.rule.window {
            Some(Window::Time(window)) => Some(window),
            Some(Window::Count(_)) | None => None,
        }
    }

    /// Counts an arrival and yields what it pushes out: entries whose count window it ends, entries whose
    /// publication-time window ended before it.
    pub(crate) fn arrive(&mut self, entry: &Entry) -> Vec<(Key, Entry, Expiry)> {
        self.arrived += 1;
        let mut out = Vec::new();
        if let Some(Window::Count(limit)) = self.rule.window {
            while let Some((number, ..)) = self.arrivals.front() {
                if self.arrived - number <= limit {
                    break;
                }
                let Some((_, offset, place)) = self.arrivals.pop_front() else { break };
                out.extend(self.take(&place, offset, Expiry::CountWindow));
            }
        }
        if !self.rule.event_time && self.time_window().is_some() {
            // Strictly before: what lies exactly one window apart still belongs together.
            self.take_due(entry.at.before(Duration::from_micros(1)), &mut out);
        }
        out
    }

    /// Holds an entry.
    pub(crate) fn insert(&mut self, key: &Key, entry: Entry) {
        let place = Place { key: key.clone(), side: entry.side };
        if let Some(deadline) = self.deadline_of(&entry) {
            self.deadlines.insert((deadline, entry.offset), place.clone());
        }
        if self.rule.event_time {
            self.event_times[usize::from(entry.side)].insert((entry.time, entry.offset), key.clone());
        }
        if matches!(self.rule.window, Some(Window::Count(_))) {
            self.arrivals.push_back((self.arrived, entry.offset, place));
        }
        let held = self.by_key.entry(key.clone()).or_insert_with(|| vec![VecDeque::new(); self.sides]);
        held[usize::from(entry.side)].push_back(entry);
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

    /// Notes an event time and yields the entries that no partner can reach any more.
    pub(crate) fn advance(&mut self, side: u16, time: Timestamp) -> Vec<(Key, Entry, Expiry)> {
        let mark = &mut self.marks[usize::from(side)];
        *mark = Some(mark.map_or(time, |seen| seen.max(time)));
        let Some(window) = self.time_window() else { return Vec::new() };
        let mut out = Vec::new();
        for side in 0..self.sides {
            let Some(watermark) = self.watermark_against(side) else { continue };
            while let Some(((time, offset), key)) = self.event_times[side].first_key_value() {
                if time.after(window) >= watermark {
                    break;
                }
                let place = Place { key: key.clone(), side: u16::try_from(side).unwrap_or(u16::MAX) };
                let offset = *offset;
                out.extend(self.take(&place, offset, Expiry::Watermark));
            }
        }
        out
    }

    /// Returns when the next entry is due by wall time.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Yields what is due by wall time.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<(Key, Entry, Expiry)> {
        let mut out = Vec::new();
        self.take_due(now, &mut out);
        out
    }

    /// Lists one run's entries in log order.
    pub(crate) fn of_run(&self, run: RunId) -> Vec<(Key, u16, Offset)> {
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

    fn take_due(&mut self, now: Timestamp, out: &mut Vec<(Key, Entry, Expiry)>) {
        let reason = if self.rule.event_time { Expiry::Patience } else { Expiry::TimeWindow };
        while let Some(((deadline, offset), place)) = self.deadlines.first_key_value() {
            if *deadline > now {
                break;
            }
            let (place, offset) = (place.clone(), *offset);
            let taken = self.take(&place, offset, reason);
            debug_assert!(taken.is_some(), "a deadline belongs to a held entry");
            if taken.is_none() {
                self.deadlines.pop_first();
            }
            out.extend(taken);
        }
    }

    fn take(&mut self, place: &Place, offset: Offset, reason: Expiry) -> Option<(Key, Entry, Expiry)> {
        self.remove(&place.key, place.side, offset).map(|entry| (place.key.clone(), entry, reason))
    }
}
