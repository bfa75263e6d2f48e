//! Collecting: holding artifacts until a job is complete.
//!
//! A collector is two stages: one that forms groups (each artifact, all of, join) and an optional batch of
//! groups. Both learn of time only through deadlines: their entries and deadlines are plain values, so that
//! replaying the same artifacts gives the same jobs. They know neither agents nor runs' fates; the board
//! does. Pure: no I/O, no clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::effect::{JoinExpired, JoinInput};
use crate::few::Few;
use crate::id::{Key, Offset, RunId, RunIndex, SubscriptionIndex};
use crate::marks::Marks;
use crate::outcome::{CloseReason, Expiry, WaitingReason};
use crate::subscription::{Collecting, JoinMode, Subscription, Window};
use crate::time::Timestamp;

mod all_of;
mod batch;
mod join;
mod window;

use all_of::AllOf;
use batch::Batches;
use join::Join;

/// The smallest step of time. Inputs exactly one window, or one wait, apart still belong together; an arrival
/// ends only what was due this much before it.
pub(crate) const INSTANT: Duration = Duration::from_micros(1);

/// An artifact as a collector sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: Offset,
    pub(crate) run: RunIndex,
    /// Time of publication.
    pub(crate) at: Timestamp,
    /// The time that windows judge by: event time, or `at`.
    pub(crate) time: Timestamp,
    /// When the board took it in, which is after its commit.
    pub(crate) since: Timestamp,
    pub(crate) side: u16,
    pub(crate) weight: u32,
    pub(crate) lane: Option<Key>,
}

/// A complete group of inputs, not yet a job, or a batch of such groups: entries group by group, each group
/// side by side in log order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) entries: Few<Entry>,
    /// Where each group but the last ends; empty without a batch.
    pub(crate) cuts: Box<[u32]>,
    /// Why the batch closed, if it is one.
    pub(crate) closed: Option<CloseReason>,
    /// Whether the collector still holds the entries (every pair).
    pub(crate) shared: bool,
    /// The key of the join or of the batch.
    pub(crate) key: Option<Key>,
}

impl Group {
    pub(crate) fn single(entries: impl Into<Few<Entry>>, shared: bool) -> Self {
        Self { entries: entries.into(), cuts: Box::default(), closed: None, shared, key: None }
    }

    fn with_key(self, key: &Key) -> Self {
        Self { key: Some(key.clone()), ..self }
    }
}

/// The steps that a collector yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A job's inputs are complete.
    Complete(Group),
    /// An entry went into a batch.
    Batched { run: RunIndex },
    /// An entry left the collector: it expired, or (every pair) its window closed. A join names the entries
    /// that waited with it.
    Left(Entry, Expiry, Option<Partners>),
}

/// With whom an entry of a join waited: the partners that would have gone with it, had the others come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partners {
    pub(crate) key: Key,
    pub(crate) entries: Vec<Entry>,
}

impl Partners {
    /// The report of an entry that left with its window, and of those that it waited with.
    pub(crate) fn into_expired(
        self,
        subscription: SubscriptionIndex,
        left: &Entry,
        run_of: impl Fn(&Entry) -> Option<(RunId, Arc<str>)>,
    ) -> JoinExpired {
        let mut all: Vec<&Entry> = self.entries.iter().chain([left]).collect();
        all.sort_unstable_by_key(|entry| (entry.side, entry.offset));
        JoinExpired {
            subscription,
            inputs: all
                .iter()
                .filter_map(|entry| {
                    let (run, _) = run_of(entry)?;
                    Some(JoinInput { offset: entry.offset, side: entry.side, run })
                })
                .collect(),
            first: all.iter().map(|entry| entry.at).min().unwrap_or(left.at),
            workflow: all.first().and_then(|entry| run_of(entry)).map(|(_, workflow)| workflow),
            key: self.key,
        }
    }
}

/// Holds what one subscription has been given and not yet used.
#[derive(Debug)]
pub(crate) struct Collector {
    stage: Stage,
    batches: Option<Batches>,
    holds_timed: bool,
    batches_timed: bool,
    shared: bool,
}

#[derive(Debug)]
enum Stage {
    Each,
    AllOf(AllOf),
    Join(Box<Join>),
}

impl Collector {
    pub(crate) fn new(subscription: &Subscription) -> Self {
        let needs: Vec<u32> = subscription.sides.iter().map(|side| side.need).collect();
        let names = subscription.sides.iter().map(|side| side.kind.name().to_owned()).collect();
        let (stage, mode) = match &subscription.collecting {
            Collecting::Each => (Stage::Each, JoinMode::Once),
            Collecting::AllOf => (Stage::AllOf(AllOf::new(needs, names)), JoinMode::Once),
            Collecting::Join(rule) => {
                (Stage::Join(Box::new(Join::new(needs, names, rule.clone()))), rule.mode)
            }
        };
        let windowed = matches!(
            &subscription.collecting,
            Collecting::Join(rule) if matches!(rule.window, Some(Window::Time(_)))
        );
        Self {
            stage,
            batches: subscription.batch.clone().map(Batches::new),
            holds_timed: mode == JoinMode::Outer && windowed,
            batches_timed: subscription.batch.as_ref().is_some_and(|batch| batch.wait.is_some()),
            shared: mode == JoinMode::EveryPair,
        }
    }

    /// Tells whether entries of the first stage fire without further input (outer join with a time window).
    pub(crate) fn holds_timed(&self) -> bool {
        self.holds_timed
    }

    /// Tells whether entries of the batch stage fire without further input (batch with a deadline).
    pub(crate) fn batches_timed(&self) -> bool {
        self.batches_timed
    }

    /// Tells whether each entry is a group of its own, at once: what it makes of entries needs no record.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.stage, Stage::Each) && self.batches.is_none()
    }

    /// Tells whether an entry may take part in many groups (every pair).
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Takes an entry in. `key` is the join key or the batch's key.
    pub(crate) fn offer(&mut self, entry: Entry, key: Option<Key>, steps: &mut Vec<Step>) {
        let first = steps.len();
        let batch_key = match &mut self.stage {
            Stage::Each => {
                steps.push(Step::Complete(Group::single([entry], false)));
                key
            }
            Stage::AllOf(all_of) => {
                all_of.offer(entry, steps);
                None
            }
            Stage::Join(join) => {
                join.offer(entry, key, steps);
                None
            }
        };
        self.pass_on(batch_key, first, steps);
    }

    /// Lets the first stage know how far the log has come, as far as it has not met that itself.
    pub(crate) fn advance_marks(&mut self, marks: &Marks, steps: &mut Vec<Step>) {
        let first = steps.len();
        if let Stage::Join(join) = &mut self.stage {
            join.advance_marks(marks, steps);
        }
        self.pass_on(None, first, steps);
    }

    /// Returns under how many keys inputs of a join wait; `None` for what is no join.
    pub(crate) fn joins(&self) -> Option<usize> {
        match &self.stage {
            Stage::Each | Stage::AllOf(_) => None,
            Stage::Join(join) => Some(join.keys()),
        }
    }

    /// Returns when something is due next.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let stage = match &self.stage {
            Stage::Each | Stage::AllOf(_) => None,
            Stage::Join(join) => join.next_deadline(),
        };
        let batch = self.batches.as_ref().and_then(Batches::next_deadline);
        [stage, batch].into_iter().flatten().min()
    }

    /// Yields whatever is due at `now`.
    pub(crate) fn due(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let first = steps.len();
        if let Stage::Join(join) = &mut self.stage {
            join.due(now, steps);
        }
        self.pass_on(None, first, steps);
        if let Some(batches) = &mut self.batches {
            batches.due(now, steps);
        }
    }

    /// Closes every batch, or those that hold inputs of one run.
    pub(crate) fn flush(&mut self, run: Option<RunIndex>, reason: CloseReason, steps: &mut Vec<Step>) {
        if let Some(batches) = &mut self.batches {
            batches.flush(run, reason, steps);
        }
    }

    /// Ends the waiting of one run's inputs in the first stage: they expire, or fire partially (outer join).
    pub(crate) fn end_input(&mut self, run: RunIndex, steps: &mut Vec<Step>) {
        let first = steps.len();
        match &mut self.stage {
            Stage::Each => {}
            Stage::AllOf(all_of) => {
                let left = all_of.withdraw(run);
                steps.extend(left.into_iter().map(|entry| Step::Left(entry, Expiry::EndOfInput, None)));
            }
            Stage::Join(join) => join.end_input(run, steps),
        }
        self.pass_on(None, first, steps);
    }

    /// Takes one run's entries out, to be cancelled: those of the first stage, and those in batches.
    pub(crate) fn withdraw(&mut self, run: RunIndex) -> (Vec<Entry>, Vec<Entry>) {
        let held = match &mut self.stage {
            Stage::Each => Vec::new(),
            Stage::AllOf(all_of) => all_of.withdraw(run),
            Stage::Join(join) => join.withdraw(run),
        };
        let batched = self.batches.as_mut().map(|batches| batches.withdraw(run)).unwrap_or_default();
        (held, batched)
    }

    /// Visits every entry that the first stage holds, with the reason why it waits.
    pub(crate) fn visit_waiting(&self, visit: &mut dyn FnMut(&Entry, WaitingReason)) {
        match &self.stage {
            Stage::Each => {}
            Stage::AllOf(all_of) => all_of.visit_waiting(visit),
            Stage::Join(join) => join.visit_waiting(visit),
        }
        if let Some(batches) = &self.batches {
            batches.visit_waiting(visit);
        }
    }

    /// Sends groups that were completed since `first` through the batch stage.
    fn pass_on(&mut self, key: Option<Key>, first: usize, steps: &mut Vec<Step>) {
        let Some(batches) = &mut self.batches else { return };
        for step in steps.split_off(first) {
            match step {
                Step::Complete(group) => {
                    steps.extend(group.entries.iter().map(|entry| Step::Batched { run: entry.run }));
                    batches.offer(group, key.clone(), steps);
                }
                other @ (Step::Left(..) | Step::Batched { .. }) => steps.push(other),
            }
        }
    }
}

/// Puts an entry into its line. One whose visibility was delayed comes after artifacts that were published
/// later.
fn insert_in_log_order(line: &mut VecDeque<Entry>, entry: Entry) {
    let place = line.partition_point(|other| other.offset < entry.offset);
    line.insert(place, entry);
}

/// Puts entries in the order in which an engine gets them: side by side in log order. Here once, because a
/// sort is a lot of code for each place that has one.
fn sort_by_side(entries: &mut [Entry]) {
    entries.sort_unstable_by_key(|entry| (entry.side, entry.offset));
}

/// Kind and missing count of every side that lacks something.
fn missing(needs: &[u32], names: &[String], have: impl Fn(usize) -> usize) -> Vec<(String, u32)> {
    let lacking = needs
        .iter()
        .enumerate()
        .map(|(side, need)| (side, need.saturating_sub(u32::try_from(have(side)).unwrap_or(u32::MAX))));
    lacking.filter(|(_, count)| *count > 0).map(|(side, count)| (names[side].clone(), count)).collect()
}

#[cfg(test)]
mod tests;
