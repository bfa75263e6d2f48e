//! Pairs of inputs that take part in many jobs (every pair): an input's outcome is decided when its window
//! has closed and its last job has ended.
//!
//! Consumed if any of its jobs finished, dead if any failed for good and none finished, otherwise whatever
//! closed the window. Pure: no I/O, no clock.

use rustc_hash::FxHashMap;

use super::job::JobIds;
use super::outcome::Decided;
use super::poison::Precaution;
use super::{Board, Effect, Outcome};
use crate::collect::{Entry, Group};
use crate::id::{JobId, Offset, RunIndex, SubscriptionIndex};
use crate::job::PairVerdict;
use crate::time::Timestamp;

/// The inputs of one every-pair subscription that are in use.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    open: FxHashMap<Offset, Use>,
    /// Pairs that were finished before a restart, by their inputs in ascending order: a store may hold one
    /// under an id that is derived in another way.
    finished: FxHashMap<Vec<Offset>, PairVerdict>,
    /// Pairs that were started but not finished before a restart.
    resumed: FxHashMap<Vec<Offset>, Progress>,
}

/// How far a job had come before a restart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) ids: JobIds,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    /// When the next attempt may start.
    pub(super) until: Option<Timestamp>,
    /// The job's history.
    pub(super) precaution: Precaution,
}

#[derive(Debug)]
struct Use {
    run: RunIndex,
    side: u16,
    /// Jobs that have it as input and have not ended.
    pending: u32,
    consumed: bool,
    dead: bool,
    /// The outcome with which its window closed.
    left: Option<Outcome>,
}

impl Pairs {
    /// Counts a job, or a group on its way to one.
    pub(super) fn begin(&mut self, Entry { offset, run, side, .. }: &Entry) {
        let fresh = || Use { run: *run, side: *side, pending: 0, consumed: false, dead: false, left: None };
        self.open.entry(*offset).or_insert_with(fresh).pending += 1;
    }

    /// Ends one use; returns the input's outcome if that decided it.
    fn end(&mut self, offset: Offset, verdict: Option<PairVerdict>) -> Option<Decided> {
        let input = self.open.get_mut(&offset)?;
        input.pending = input.pending.saturating_sub(1);
        input.consumed |= verdict == Some(PairVerdict::Done);
        input.dead |= verdict == Some(PairVerdict::Dead);
        self.decide(offset)
    }

    /// Notes that an input's window closed; returns its outcome if that decided it.
    pub(super) fn leave(&mut self, entry: &Entry, fallback: Outcome) -> Option<Decided> {
        let (run, side) = (entry.run, entry.side);
        let fresh = || Use { run, side, pending: 0, consumed: false, dead: false, left: None };
        self.open.entry(entry.offset).or_insert_with(fresh).left = Some(fallback);
        self.decide(entry.offset)
    }

    /// Remembers that a pair was finished before a restart, so that it does not run again.
    pub(super) fn remember(&mut self, inputs: Vec<Offset>, verdict: PairVerdict) {
        self.finished.insert(inputs, verdict);
    }

    pub(super) fn resume(&mut self, mut inputs: Vec<Offset>, progress: Progress) {
        inputs.sort_unstable();
        self.resumed.insert(inputs, progress);
    }

    /// Forgets pairs from before a restart, and returns those that were started.
    fn give_up(&mut self) -> Vec<JobId> {
        self.finished.clear();
        let resumed = std::mem::take(&mut self.resumed).into_values();
        let mut started: Vec<JobId> = resumed.map(|progress| progress.ids.job).collect();
        // The map has no order; effects should have one.
        started.sort_unstable();
        started
    }

    /// Tells whether pairs from before a restart may still form again.
    fn expects_pairs(&self) -> bool {
        !(self.finished.is_empty() && self.resumed.is_empty())
    }

    /// Inputs that have no outcome yet because jobs of theirs have not ended.
    pub(super) fn pending(&self) -> impl Iterator<Item = Offset> + '_ {
        self.open.iter().filter(|(_, input)| input.pending > 0).map(|(offset, _)| *offset)
    }

    fn decide(&mut self, offset: Offset) -> Option<Decided> {
        let input = self.open.get(&offset)?;
        if input.pending > 0 || input.left.is_none() {
            return None;
        }
        let input = self.open.remove(&offset)?;
        let outcome = match input.left? {
            _ if input.consumed => Outcome::Consumed,
            _ if input.dead => Outcome::Dead,
            left => left,
        };
        Some(Decided { offset, run: input.run, side: input.side, outcome })
    }
}

impl Board {
    /// Recognises a pair from before a restart; a new one is given back. A finished pair counts and does not
    /// run, and a started one is restored.
    pub(super) fn recognise(
        &mut self,
        index: SubscriptionIndex,
        group: Group,
        effects: &mut Vec<Effect>,
    ) -> Option<Group> {
        if !group.shared || !self.subscriptions[index.at()].pairs.expects_pairs() {
            return Some(group);
        }
        let mut inputs: Vec<Offset> = group.entries.iter().map(|entry| entry.offset).collect();
        inputs.sort_unstable();
        let pairs = &mut self.subscriptions[index.at()].pairs;
        if let Some(verdict) = pairs.finished.remove(&inputs) {
            for entry in &group.entries {
                self.end_pair_input(index, entry.offset, Some(verdict), effects);
            }
            return None;
        }
        let Some(progress) = pairs.resumed.remove(&inputs) else { return Some(group) };
        self.restore_job(index, group, progress);
        None
    }

    /// Drops pairs from before a restart that will not form again, because they have lost an input: its run
    /// was cancelled while it was in the log. To be asked whenever the last input may have been read, or have
    /// become visible.
    pub(super) fn drop_lost_pairs(&mut self, index: SubscriptionIndex, effects: &mut Vec<Effect>) {
        let subscription = &self.subscriptions[index.at()];
        let read = !self.agents[subscription.agent.at()].reading.is_behind();
        let expects = read && subscription.pairs.expects_pairs();
        // An input that is not visible yet may still form them.
        if expects && !self.delayed.keys().any(|(of, _)| *of == index) {
            let lost = self.subscriptions[index.at()].pairs.give_up();
            effects.extend(lost.into_iter().map(Effect::Drop));
        }
    }

    /// Ends one use of an input of a pair.
    pub(super) fn end_pair_input(
        &mut self,
        index: SubscriptionIndex,
        offset: Offset,
        verdict: Option<PairVerdict>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(decided) = self.subscriptions[index.at()].pairs.end(offset, verdict) {
            self.settle(index, decided, effects);
        }
    }
}
