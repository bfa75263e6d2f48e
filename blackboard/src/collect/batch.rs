//! Batch: collects groups until there are enough, they are heavy enough, or the first has waited long enough.
//!
//! A batch records why it closed. Its deadline counts from the publication of its first group, so that a
//! batch that is rebuilt after a restart closes when the original would have. Pure: no I/O, no clock.

use std::collections::{BTreeSet, HashMap};

use super::{Entry, Group, INSTANT, Step};
use crate::few::Few;
use crate::id::{Key, Offset, RunIndex};
use crate::outcome::{CloseReason, WaitingReason};
use crate::subscription::Batch;
use crate::time::Timestamp;

/// The open batches of one subscription: one, or one per key.
#[derive(Debug)]
pub(crate) struct Batches {
    rule: Batch,
    open: HashMap<Option<Key>, Open>,
    deadlines: BTreeSet<(Timestamp, Offset, Option<Key>)>,
}

#[derive(Debug)]
struct Open {
    groups: Vec<Group>,
    weight: u64,
    opened: Timestamp,
    /// First input's place in the log: tells batches apart and puts them in order.
    first: Offset,
}

impl Batches {
    pub(crate) fn new(rule: Batch) -> Self {
        Self { rule, open: HashMap::new(), deadlines: BTreeSet::new() }
    }

    pub(crate) fn offer(&mut self, group: Group, key: Option<Key>, steps: &mut Vec<Step>) {
        let opened = opened(&group);
        // An artifact that was published after a batch's deadline is not in it, even when the tick is late or
        // was missed.
        self.due(opened.before(INSTANT), steps);
        let weight: u64 = group.entries.iter().map(|entry| u64::from(entry.weight)).sum();
        let heavy = |rule: &Batch, total: u64| rule.weight.is_some_and(|limit| total > limit);
        if self.open.get(&key).is_some_and(|open| heavy(&self.rule, open.weight + weight)) {
            self.close(&key, CloseReason::Weight, steps);
        }
        let first = first(&group);
        if !self.open.contains_key(&key)
            && let Some(wait) = self.rule.wait
        {
            self.deadlines.insert((opened.after(wait), first, key.clone()));
        }
        let open = self.open.entry(key.clone()).or_insert_with(|| Open {
            groups: Vec::new(),
            weight: 0,
            opened,
            first,
        });
        open.groups.push(group);
        open.weight += weight;
        let full = self.rule.size.is_some_and(|size| open.groups.len() >= size as usize);
        let heavy = self.rule.weight.is_some_and(|limit| open.weight >= limit);
        if full {
            self.close(&key, CloseReason::Size, steps);
        } else if heavy {
            self.close(&key, CloseReason::Weight, steps);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, ..)| *deadline)
    }

    pub(crate) fn due(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        while let Some((deadline, _, key)) = self.deadlines.first() {
            if *deadline > now {
                break;
            }
            let key = key.clone();
            self.close(&key, CloseReason::Deadline, steps);
        }
    }

    pub(crate) fn flush(&mut self, run: Option<RunIndex>, reason: CloseReason, steps: &mut Vec<Step>) {
        let holds = |open: &Open| {
            run.is_none_or(|run| open.groups.iter().flat_map(|g| &g.entries).any(|entry| entry.run == run))
        };
        let mut keys: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| holds(open))
            .map(|(key, open)| (open.first, key.clone()))
            .collect();
        // The map has no order; the log has.
        keys.sort();
        for (_, key) in keys {
            self.close(&key, reason, steps);
        }
    }

    /// Takes out groups that belong to one run alone. Groups that other runs have a part in stay.
    pub(crate) fn withdraw(&mut self, run: RunIndex) -> Vec<Entry> {
        let mut left = Vec::new();
        let mut changed = Vec::new();
        for (key, open) in &mut self.open {
            let (out, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut open.groups)
                .into_iter()
                .partition(|group| group.entries.iter().all(|entry| entry.run == run));
            open.groups = stay;
            let out: Vec<Entry> = out.into_iter().flat_map(|group| group.entries).collect();
            open.weight -= out.iter().map(|entry| u64::from(entry.weight)).sum::<u64>();
            if !out.is_empty() {
                changed.push(key.clone());
            }
            left.extend(out);
        }
        for key in changed {
            self.reopen(key);
        }
        left.sort_unstable_by_key(|entry| entry.offset);
        left
    }

    pub(crate) fn visit_waiting(&self, visit: &mut dyn FnMut(&Entry, WaitingReason)) {
        for (key, open) in &self.open {
            let reason = WaitingReason::BatchFilling {
                have: u32::try_from(open.groups.len()).unwrap_or(u32::MAX),
                size: self.rule.size,
                closes_at: self.rule.wait.map(|wait| open.opened.after(wait)),
                key: key.clone(),
            };
            for entry in open.groups.iter().flat_map(|group| &group.entries) {
                visit(entry, reason.clone());
            }
        }
    }

    fn close(&mut self, key: &Option<Key>, reason: CloseReason, steps: &mut Vec<Step>) {
        let Some(open) = self.forget(key) else { return };
        // Pairs of an every-pair join, which share their inputs, are not batched.
        let (mut entries, mut cuts) = (Few::new(), Vec::new());
        for group in open.groups {
            if !entries.is_empty() {
                cuts.push(u32::try_from(entries.len()).unwrap_or(u32::MAX));
            }
            entries.extend(group.entries);
        }
        let (cuts, closed, key) = (cuts.into(), Some(reason), key.clone());
        steps.push(Step::Complete(Group { entries, cuts, closed, shared: false, key }));
    }

    /// Counts a batch that lost groups from its first group again, or forgets it when none is left.
    fn reopen(&mut self, key: Option<Key>) {
        let Some(mut open) = self.forget(&key) else { return };
        let Some(group) = open.groups.first() else { return };
        (open.opened, open.first) = (opened(group), first(group));
        if let Some(wait) = self.rule.wait {
            self.deadlines.insert((open.opened.after(wait), open.first, key.clone()));
        }
        self.open.insert(key, open);
    }

    fn forget(&mut self, key: &Option<Key>) -> Option<Open> {
        let open = self.open.remove(key)?;
        if let Some(wait) = self.rule.wait {
            self.deadlines.remove(&(open.opened.after(wait), open.first, key.clone()));
        }
        Some(open)
    }
}

/// When a group was complete: the publication of its last input.
fn opened(group: &Group) -> Timestamp {
    group.entries.iter().map(|entry| entry.at).max().unwrap_or_default()
}

fn first(group: &Group) -> Offset {
    group.entries.first().map_or(Offset::START, |entry| entry.offset)
}
