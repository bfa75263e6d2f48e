//! Join: pairs what the window holds, by key, once per group or for every pair.
//!
//! A group must fit into the window: its oldest and newest input lie at most the window apart. When a new
//! entry completes several groups, the window is laid as early as it can be, beginning with an input and
//! covering the entry, and of what lies in it the first inputs in log order are taken. Pure: no I/O, no
//! clock.

use super::window::{Held, Leaving, Pool};
use super::{Entry, Group, INSTANT, Partners, Step, missing, sort_by_side};
use crate::id::{Key, Offset, RunIndex};
use crate::marks::Marks;
use crate::outcome::{Expiry, WaitingReason};
use crate::subscription::{JoinMode, JoinRule};
use crate::time::Timestamp;

/// A join's rules over its window.
#[derive(Debug)]
pub(crate) struct Join {
    needs: Vec<u32>,
    names: Vec<String>,
    mode: JoinMode,
    event_time: bool,
    pool: Pool,
}

impl Join {
    pub(crate) fn new(needs: Vec<u32>, names: Vec<String>, rule: JoinRule) -> Self {
        let (mode, event_time) = (rule.mode, rule.event_time);
        let pool = Pool::new(needs.len(), rule);
        Self { needs, names, mode, event_time, pool }
    }

    pub(crate) fn offer(&mut self, entry: Entry, key: Option<Key>, steps: &mut Vec<Step>) {
        self.pool.arrive();
        while let Some(gone) = self.pool.next_overrun() {
            self.leave(gone, steps);
        }
        // An entry that was due before this one came does not meet it, even when the tick is late or was
        // missed.
        self.due(entry.at.before(INSTANT), steps);
        // Matching never takes an artifact without a key for a join; an empty key keeps that rule harmless
        // here.
        let key = key.unwrap_or_else(|| Key::from("null"));
        let (side, time) = (entry.side, entry.time);
        match self.mode {
            JoinMode::Once | JoinMode::Outer => self.complete_once(entry, &key, steps),
            JoinMode::EveryPair => self.complete_pairs(entry, &key, steps),
        }
        if self.event_time {
            self.pool.advance(side, time);
            self.expire_passed(steps);
        }
    }

    /// Takes over marks that are further than its own, and lets go what they end.
    ///
    /// After a restart, what came before an entry may have been used up, and still counts: an entry is
    /// offered behind the marks that it met when it was published, so that it meets the same entries again.
    pub(crate) fn advance_marks(&mut self, marks: &Marks, steps: &mut Vec<Step>) {
        self.pool.advance_marks(marks);
        while let Some(gone) = self.pool.next_overrun() {
            self.leave(gone, steps);
        }
        if self.event_time {
            self.expire_passed(steps);
        }
    }

    fn expire_passed(&mut self, steps: &mut Vec<Step>) {
        while let Some(gone) = self.pool.next_passed() {
            self.leave(gone, steps);
        }
    }

    pub(crate) fn keys(&self) -> usize {
        self.pool.len()
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.pool.next_deadline()
    }

    pub(crate) fn due(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        while let Some(gone) = self.pool.next_due(now) {
            self.leave(gone, steps);
        }
    }

    pub(crate) fn end_input(&mut self, run: RunIndex, steps: &mut Vec<Step>) {
        for (key, side, offset) in self.pool.of_run(run) {
            // A partial group fired just before may have taken it along.
            if let Some(entry) = self.pool.remove(&key, side, offset) {
                self.leave((key, entry, Expiry::EndOfInput), steps);
            }
        }
    }

    pub(crate) fn withdraw(&mut self, run: RunIndex) -> Vec<Entry> {
        let places = self.pool.of_run(run);
        places.iter().filter_map(|(key, side, offset)| self.pool.remove(key, *side, *offset)).collect()
    }

    pub(crate) fn visit_waiting(&self, visit: &mut dyn FnMut(&Entry, WaitingReason)) {
        for (key, held) in self.pool.keys() {
            let lacking = missing(&self.needs, &self.names, |side| held[side].len());
            for entry in held.iter().flatten() {
                let reason = if self.mode == JoinMode::EveryPair {
                    WaitingReason::WindowOpen { key: key.clone() }
                } else {
                    WaitingReason::JoinMissing { key: key.clone(), missing: lacking.clone() }
                };
                visit(entry, reason);
            }
        }
    }

    fn complete_once(&mut self, entry: Entry, key: &Key, steps: &mut Vec<Step>) {
        let chosen = self.choose(&entry, key);
        let (side, offset) = (entry.side, entry.offset);
        self.pool.insert(key, entry);
        let Some(others) = chosen else { return };
        let mut group: Vec<Entry> =
            others.into_iter().filter_map(|(side, offset)| self.pool.remove(key, side, offset)).collect();
        group.extend(self.pool.remove(key, side, offset));
        sort_by_side(&mut group);
        steps.push(Step::Complete(Group::single(group, false).with_key(key)));
    }

    /// The entries that form a group together with `entry`, if they are all there.
    fn choose(&self, entry: &Entry, key: &Key) -> Option<Vec<(u16, Offset)>> {
        let mut needs = self.needs.clone();
        needs[usize::from(entry.side)] -= 1;
        let empty = Held::new();
        let held = self.pool.held(key).unwrap_or(&empty);
        // The common case of a key whose partners are not there yet, without looking at each of its inputs.
        if needs
            .iter()
            .enumerate()
            .any(|(side, need)| held.get(side).map_or(0, |line| line.len()) < *need as usize)
        {
            return None;
        }
        let Some(window) = self.pool.time_window() else {
            return pick(held, &needs, |_| true);
        };
        let reach =
            |other: &&Entry| other.time <= entry.time.after(window) && entry.time <= other.time.after(window);
        let mut starts: Vec<Timestamp> =
            held.iter().flatten().filter(reach).map(|other| other.time).filter(|t| *t < entry.time).collect();
        starts.push(entry.time);
        starts.sort_unstable();
        starts.dedup();
        starts.into_iter().find_map(|start| {
            pick(held, &needs, |other| start <= other.time && other.time <= start.after(window))
        })
    }

    fn complete_pairs(&mut self, entry: Entry, key: &Key, steps: &mut Vec<Step>) {
        let other_side = usize::from(entry.side == 0);
        let window = self.pool.time_window();
        let partners = self.pool.held(key).map(|held| held[other_side].iter()).into_iter().flatten();
        let reachable = partners.filter(|other| {
            window.is_none_or(|window| {
                other.time <= entry.time.after(window) && entry.time <= other.time.after(window)
            })
        });
        for other in reachable {
            let pair =
                if entry.side == 0 { [entry.clone(), other.clone()] } else { [other.clone(), entry.clone()] };
            steps.push(Step::Complete(Group::single(pair.to_vec(), true).with_key(key)));
        }
        self.pool.insert(key, entry);
    }

    /// Lets an entry go: an outer join fires with what is there, the others expire it.
    fn leave(&mut self, (key, entry, reason): Leaving, steps: &mut Vec<Step>) {
        if self.mode != JoinMode::Outer {
            // A pair's partners have all been met.
            let pairs = self.mode == JoinMode::EveryPair;
            let entries = if pairs { Vec::new() } else { self.partners_of(&key, &entry) };
            steps.push(Step::Left(entry, reason, Some(Partners { key, entries })));
            return;
        }
        let mut group = self.partners_of(&key, &entry);
        for other in &group {
            self.pool.remove(&key, other.side, other.offset);
        }
        group.push(entry);
        sort_by_side(&mut group);
        steps.push(Step::Complete(Group::single(group, false).with_key(&key)));
    }

    /// Chooses the partners of an entry that leaves: the first of every other side that fit into its window.
    fn partners_of(&self, key: &Key, entry: &Entry) -> Vec<Entry> {
        let mut chosen: Vec<Entry> = Vec::new();
        let Some(held) = self.pool.held(key) else { return chosen };
        for (side, line) in held.iter().enumerate() {
            let mut need = self.needs[side] as usize - usize::from(side == usize::from(entry.side));
            for other in line {
                if need == 0 {
                    break;
                }
                if self.fits(&chosen, entry, other) {
                    chosen.push(other.clone());
                    need -= 1;
                }
            }
        }
        chosen
    }

    fn fits(&self, group: &[Entry], entry: &Entry, other: &Entry) -> bool {
        self.pool.time_window().is_none_or(|window| {
            group.iter().chain([entry]).all(|member| {
                member.time <= other.time.after(window) && other.time <= member.time.after(window)
            })
        })
    }
}

/// Picks the first `needs` entries of every side that `fits`, or nothing when a side lacks some.
fn pick(held: &Held, needs: &[u32], fits: impl Fn(&Entry) -> bool) -> Option<Vec<(u16, Offset)>> {
    let mut picked = Vec::new();
    for (side, need) in needs.iter().enumerate() {
        let before = picked.len();
        let line = held.get(side).into_iter().flatten();
        picked.extend(
            line.filter(|entry| fits(entry)).take(*need as usize).map(|entry| (entry.side, entry.offset)),
        );
        if picked.len() - before < *need as usize {
            return None;
        }
    }
    Some(picked)
}
