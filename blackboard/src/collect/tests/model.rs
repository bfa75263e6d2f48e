//! A naive collector: flat lists, looked through from the beginning each time. No index, nothing kept in
//! step.

use std::time::Duration;

use super::super::*;
use crate::subscription::{Batch, JoinRule};

const ONE: Duration = Duration::from_micros(1);

pub(super) struct Model {
    needs: Vec<usize>,
    collecting: Collecting,
    batch: Option<Batch>,
    /// The first stage's state: key, entry, and how many had arrived with it.
    held: Vec<(Option<Key>, Entry, u64)>,
    arrived: u64,
    marks: Vec<Option<Timestamp>>,
    /// Open batches: key and groups.
    open: Vec<(Option<Key>, Vec<Group>)>,
}

impl Model {
    pub(super) fn new(subscription: &Subscription) -> Self {
        Self {
            needs: subscription.sides.iter().map(|side| side.need as usize).collect(),
            collecting: subscription.collecting.clone(),
            batch: subscription.batch.clone(),
            held: Vec::new(),
            arrived: 0,
            marks: vec![None; subscription.sides.len()],
            open: Vec::new(),
        }
    }

    pub(super) fn offer(&mut self, entry: Entry, key: Option<Key>, steps: &mut Vec<Step>) {
        match self.collecting.clone() {
            Collecting::Each => self.group(vec![entry], (key, None), false, steps),
            Collecting::AllOf => {
                self.hold(None, entry);
                if let Some(group) = self.first_of_each(None, |_| true) {
                    self.release(&group);
                    self.group(group, (None, None), false, steps);
                }
            }
            Collecting::Join(rule) => self.join(&rule, entry, key, steps),
        }
    }

    fn join(&mut self, rule: &JoinRule, entry: Entry, key: Option<Key>, steps: &mut Vec<Step>) {
        self.arrived += 1;
        if let Some(Window::Count(limit)) = rule.window {
            let arrived = self.arrived;
            while let Some(gone) = self.first_held(|_, number| arrived - number > limit, |e| e.offset.get()) {
                self.leave(rule, gone, Expiry::CountWindow, steps);
            }
        }
        self.due_in_window(rule, entry.at.before(ONE), steps);
        if rule.mode == JoinMode::EveryPair {
            let partners = self.held.iter().filter(|(other_key, other, _)| {
                *other_key == key && other.side != entry.side && self.near(rule, other, &entry)
            });
            let mut partners: Vec<Entry> = partners.map(|(_, other, _)| other.clone()).collect();
            partners.sort_by_key(|other| other.offset);
            for other in partners {
                let mut pair = vec![entry.clone(), other];
                pair.sort_by_key(|entry| entry.side);
                self.group(pair, (None, key.clone()), true, steps);
            }
            self.hold(key, entry.clone());
        } else {
            self.hold(key.clone(), entry.clone());
            if let Some(group) = self.earliest_group(rule, &key, &entry) {
                self.release(&group);
                self.group(group, (None, key), false, steps);
            }
        }
        if rule.event_time {
            let mark = &mut self.marks[usize::from(entry.side)];
            *mark = (*mark).max(Some(entry.time));
            while let Some(gone) = self.passed(rule) {
                self.leave(rule, gone, Expiry::Watermark, steps);
            }
        }
    }

    /// The group that `entry` completes: of all places in which the window begins with an input of this key
    /// and covers the entry, the earliest where every side has enough; there, the first of each side.
    fn earliest_group(&self, rule: &JoinRule, key: &Option<Key>, entry: &Entry) -> Option<Vec<Entry>> {
        let Some(Window::Time(window)) = rule.window else {
            return self.first_of_each(Some((key, entry)), |_| true);
        };
        let same_key = self.held.iter().filter(|(other_key, ..)| other_key == key);
        let mut starts: Vec<Timestamp> = same_key.map(|(_, other, _)| other.time).collect();
        starts.sort_unstable();
        starts.into_iter().find_map(|start| {
            let inside = |other: &Entry| start <= other.time && other.time <= start.after(window);
            inside(entry).then(|| self.first_of_each(Some((key, entry)), inside)).flatten()
        })
    }

    /// The first entries of every side in log order, as many as it needs; with a key, only those that have
    /// it, and the given entry among them.
    fn first_of_each(
        &self,
        with: Option<(&Option<Key>, &Entry)>,
        fits: impl Fn(&Entry) -> bool,
    ) -> Option<Vec<Entry>> {
        let mut group = Vec::new();
        for (side, need) in self.needs.iter().enumerate() {
            let own: Vec<Entry> = with
                .iter()
                .map(|(_, own)| (*own).clone())
                .filter(|own| usize::from(own.side) == side)
                .collect();
            let others = self.held.iter().filter(|(key, other, _)| {
                usize::from(other.side) == side
                    && fits(other)
                    && with.is_none_or(|(wanted, own)| key == wanted && other.offset != own.offset)
            });
            let mut chosen: Vec<Entry> = others.map(|(_, other, _)| other.clone()).collect();
            chosen.sort_by_key(|other| other.offset);
            chosen.truncate(need - own.len());
            chosen.extend(own);
            if chosen.len() < *need {
                return None;
            }
            chosen.sort_by_key(|other| other.offset);
            group.extend(chosen);
        }
        Some(group)
    }

    fn near(&self, rule: &JoinRule, one: &Entry, other: &Entry) -> bool {
        match rule.window {
            Some(Window::Time(window)) => {
                one.time <= other.time.after(window) && other.time <= one.time.after(window)
            }
            _ => true,
        }
    }

    /// Takes out the held entry that `goes` and comes first by `order`.
    fn first_held<O: Ord>(
        &mut self,
        goes: impl Fn(&Entry, u64) -> bool,
        order: impl Fn(&Entry) -> O,
    ) -> Option<(Option<Key>, Entry)> {
        let going = self.held.iter().filter(|(_, entry, number)| goes(entry, *number));
        let first = going.map(|(_, entry, _)| entry).min_by_key(|entry| order(entry))?.offset;
        let index = self.held.iter().position(|(_, entry, _)| entry.offset == first)?;
        let (key, entry, _) = self.held.remove(index);
        Some((key, entry))
    }

    fn passed(&mut self, rule: &JoinRule) -> Option<(Option<Key>, Entry)> {
        let Some(Window::Time(window)) = rule.window else { return None };
        let marks = self.marks.clone();
        let unreachable = move |entry: &Entry, _| {
            let others = (0..marks.len()).filter(|side| *side != usize::from(entry.side));
            let seen: Option<Vec<Timestamp>> = others.map(|side| marks[side]).collect();
            let least = seen.and_then(|seen| seen.into_iter().min());
            least.is_some_and(|mark| entry.time.after(window) < mark.before(rule.lateness))
        };
        self.first_held(unreachable, |entry| (entry.time, entry.offset))
    }

    fn leave(
        &mut self,
        rule: &JoinRule,
        (key, entry): (Option<Key>, Entry),
        why: Expiry,
        steps: &mut Vec<Step>,
    ) {
        if rule.mode != JoinMode::Outer {
            steps.push(Step::Left(entry, why, None));
            return;
        }
        let mut group = vec![entry.clone()];
        for side in (0..self.needs.len()).filter(|side| *side != usize::from(entry.side)) {
            let fitting = self.held.iter().filter(|(other_key, other, _)| {
                *other_key == key
                    && usize::from(other.side) == side
                    && group.iter().all(|member| self.near(rule, member, other))
            });
            let first = fitting.map(|(_, other, _)| other.clone()).min_by_key(|other| other.offset);
            group.extend(first);
        }
        self.release(&group);
        group.sort_by_key(|entry| entry.side);
        self.group(group, (None, key), false, steps);
    }

    fn deadline(&self, rule: &JoinRule, entry: &Entry) -> Option<Timestamp> {
        match (rule.event_time, rule.window) {
            (true, _) => rule.patience.map(|patience| entry.at.after(patience)),
            (false, Some(Window::Time(window))) => Some(entry.at.after(window)),
            (false, _) => None,
        }
    }

    fn due_in_window(&mut self, rule: &JoinRule, now: Timestamp, steps: &mut Vec<Step>) {
        let why = if rule.event_time { Expiry::Patience } else { Expiry::TimeWindow };
        loop {
            let due: Vec<(Timestamp, Offset)> = self
                .held
                .iter()
                .filter_map(|(_, entry, _)| Some((self.deadline(rule, entry)?, entry.offset)))
                .filter(|(deadline, _)| *deadline <= now)
                .collect();
            let Some((_, first)) = due.into_iter().min() else { return };
            let gone = self.first_held(|entry, _| entry.offset == first, |_| 0).expect("it is held");
            self.leave(rule, gone, why, steps);
        }
    }

    pub(super) fn due(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        if let Collecting::Join(rule) = self.collecting.clone() {
            self.due_in_window(&rule, now, steps);
        }
        self.due_in_batches(now, steps);
    }

    pub(super) fn end_input(&mut self, run: RunIndex, steps: &mut Vec<Step>) {
        let rule = match self.collecting.clone() {
            Collecting::Join(rule) => rule,
            Collecting::Each | Collecting::AllOf => JoinRule::default(),
        };
        let all_of = matches!(self.collecting, Collecting::AllOf);
        let order = |entry: &Entry| (if all_of { entry.side } else { 0 }, entry.offset);
        while let Some(gone) = self.first_held(|entry, _| entry.run == run, order) {
            self.leave(&rule, gone, Expiry::EndOfInput, steps);
        }
    }

    pub(super) fn withdraw(&mut self, run: RunIndex) -> (Vec<Entry>, Vec<Entry>) {
        let (mut held, mut batched) = (Vec::new(), Vec::new());
        while let Some((_, entry)) = self.first_held(|entry, _| entry.run == run, |entry| entry.offset) {
            held.push(entry);
        }
        for (_, groups) in &mut self.open {
            groups.retain(|group| {
                let own = group.entries.iter().all(|entry| entry.run == run);
                if own {
                    batched.extend(group.entries.clone());
                }
                !own
            });
        }
        self.open.retain(|(_, groups)| !groups.is_empty());
        batched.sort_by_key(|entry| entry.offset);
        (held, batched)
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let windows = self.held.iter().filter_map(|(_, entry, _)| match &self.collecting {
            Collecting::Join(rule) => self.deadline(rule, entry),
            Collecting::Each | Collecting::AllOf => None,
        });
        let batches = self.open.iter().filter_map(|(_, groups)| self.closes(groups));
        windows.chain(batches).min()
    }

    pub(super) fn waiting(&self) -> Vec<Offset> {
        let held = self.held.iter().map(|(_, entry, _)| entry.offset);
        let groups = self.open.iter().flat_map(|(_, groups)| groups);
        let batched = groups.flat_map(|group| group.entries.iter().map(|entry| entry.offset));
        let mut all: Vec<Offset> = held.chain(batched).collect();
        all.sort_unstable();
        all
    }

    fn hold(&mut self, key: Option<Key>, entry: Entry) {
        self.held.push((key, entry, self.arrived));
    }

    fn release(&mut self, group: &[Entry]) {
        self.held.retain(|(_, entry, _)| group.iter().all(|member| member.offset != entry.offset));
    }

    /// A group is complete: it is a job, or goes into the batch of a key; it may have a key of its own.
    fn group(
        &mut self,
        entries: Vec<Entry>,
        (key, own): (Option<Key>, Option<Key>),
        shared: bool,
        steps: &mut Vec<Step>,
    ) {
        let group = Group { entries: entries.into(), cuts: Box::default(), closed: None, shared, key: own };
        let Some(rule) = self.batch.clone() else {
            steps.push(Step::Complete(group));
            return;
        };
        for entry in &group.entries {
            steps.push(Step::Batched { run: entry.run });
        }
        self.due_in_batches(published(&group).before(ONE), steps);
        let heavier =
            |groups: &[Group], limit: u64| weight(groups) + weight(std::slice::from_ref(&group)) > limit;
        let index = self.open.iter().position(|(other, _)| *other == key);
        if let (Some(index), Some(limit)) = (index, rule.weight)
            && heavier(&self.open[index].1, limit)
        {
            self.close(index, CloseReason::Weight, steps);
        }
        let index = self.open.iter().position(|(other, _)| *other == key).unwrap_or_else(|| {
            self.open.push((key, Vec::new()));
            self.open.len() - 1
        });
        self.open[index].1.push(group);
        let groups = &self.open[index].1;
        if rule.size.is_some_and(|size| groups.len() == size as usize) {
            self.close(index, CloseReason::Size, steps);
        } else if rule.weight.is_some_and(|limit| weight(groups) >= limit) {
            self.close(index, CloseReason::Weight, steps);
        }
    }

    fn closes(&self, groups: &[Group]) -> Option<Timestamp> {
        let wait = self.batch.as_ref()?.wait?;
        groups.first().map(|group| published(group).after(wait))
    }

    fn due_in_batches(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        loop {
            let open = self.open.iter().enumerate();
            let due = open.filter_map(|(index, (key, groups))| {
                let first = groups.first()?.entries.first()?.offset;
                Some((self.closes(groups).filter(|closes| *closes <= now)?, first, key.clone(), index))
            });
            let Some((.., index)) = due.min() else { return };
            self.close(index, CloseReason::Deadline, steps);
        }
    }

    pub(super) fn flush(&mut self, run: Option<RunIndex>, reason: CloseReason, steps: &mut Vec<Step>) {
        loop {
            let open = self.open.iter().enumerate().filter(|(_, (_, groups))| {
                let mut entries = groups.iter().flat_map(|group| &group.entries);
                run.is_none_or(|run| entries.any(|entry| entry.run == run))
            });
            let first = open.min_by_key(|(_, (key, groups))| (groups[0].entries[0].offset, key.clone()));
            let Some((index, _)) = first else { return };
            self.close(index, reason, steps);
        }
    }

    fn close(&mut self, index: usize, reason: CloseReason, steps: &mut Vec<Step>) {
        let (key, groups) = self.open.remove(index);
        let ends = groups.iter().scan(0, |end, group| {
            *end += u32::try_from(group.entries.len()).expect("few entries");
            Some(*end)
        });
        let mut cuts: Vec<u32> = ends.collect();
        cuts.pop();
        let cuts = cuts.into();
        let shared = groups[0].shared;
        let entries = groups.into_iter().flat_map(|group| group.entries).collect();
        steps.push(Step::Complete(Group { entries, cuts, closed: Some(reason), shared, key }));
    }
}

fn published(group: &Group) -> Timestamp {
    group.entries.iter().map(|entry| entry.at).max().unwrap_or_default()
}

fn weight(groups: &[Group]) -> u64 {
    groups.iter().flat_map(|group| &group.entries).map(|entry| u64::from(entry.weight)).sum()
}
