//! Uses of inputs that take part in many jobs (every pair): an input's outcome is decided when its window has closed
//! and its last job has ended.
//!
//! Consumed if any of its jobs finished, dead if any failed for good and none finished, otherwise whatever closed the
//! window. Pure: no I/O, no clock.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::alone::Care;
use super::{Board, Effect, Outcome, PairVerdict};
use crate::claim::Settled;
use crate::collect::{Company, Complete, Entry};
use crate::id::{JobId, Offset, RunId, SubscriptionIndex};
use crate::outcome::Expiry;
use crate::time::Timestamp;

/// The inputs of one every-pair subscription that are in use.
#[derive(Debug, Default)]
pub(super) struct Uses {
    open: FxHashMap<Offset, Use>,
    /// Pairs that were finished before a restart.
    finished: FxHashMap<JobId, PairVerdict>,
    /// Pairs that were started but not finished before a restart.
    resumed: FxHashMap<JobId, Progress>,
}

/// How far a pair had come before a restart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) attempts: u32,
    pub(super) failures: u32,
    /// When the next attempt may start.
    pub(super) until: Option<Timestamp>,
    /// What it went through.
    pub(super) care: Care,
}

#[derive(Debug)]
struct Use {
    run: RunId,
    side: u16,
    /// Jobs, or groups in batches, that have it as input and have not ended.
    pending: u32,
    consumed: bool,
    dead: bool,
    /// What its window closed with.
    left: Option<Outcome>,
}

/// An input's run, its side, and its outcome.
type Decided = (RunId, u16, Outcome);

impl Uses {
    /// Counts a job, or a group on its way to one.
    pub(super) fn begin(&mut self, Entry { offset, run, side, .. }: &Entry) {
        let fresh = || Use { run: *run, side: *side, pending: 0, consumed: false, dead: false, left: None };
        self.open.entry(*offset).or_insert_with(fresh).pending += 1;
    }

    /// Ends one use; returns the input's outcome if that decided it.
    pub(super) fn end(&mut self, offset: Offset, verdict: Option<PairVerdict>) -> Option<Decided> {
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

    pub(super) fn remember(&mut self, job: JobId, verdict: PairVerdict) {
        self.finished.insert(job, verdict);
    }

    pub(super) fn resume(&mut self, job: JobId, progress: Progress) {
        self.resumed.insert(job, progress);
    }

    /// Forgets pairs from before a restart, and returns those that were started.
    fn give_up(&mut self) -> Vec<JobId> {
        self.finished.clear();
        let mut started: Vec<JobId> = std::mem::take(&mut self.resumed).into_keys().collect();
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
        Some((input.run, input.side, outcome))
    }
}

impl Board {
    /// Remembers that a pair is finished, so that a restart does not run it again.
    pub(super) fn remember_pair(
        &mut self,
        subscription: SubscriptionIndex,
        job: JobId,
        verdict: PairVerdict,
    ) {
        self.subscriptions[subscription.at()].uses.remember(job, verdict);
    }

    /// Recognises pairs from before a restart, and gives back what is new: a finished pair counts and does not run, a
    /// started one goes on.
    pub(super) fn recognise(
        &mut self,
        index: SubscriptionIndex,
        complete: Complete,
        effects: &mut Vec<Effect>,
    ) -> Option<Complete> {
        if !complete.shared || !self.subscriptions[index.at()].uses.expects_pairs() {
            return Some(complete);
        }
        let id = self.job_id(index, &complete);
        let uses = &mut self.subscriptions[index.at()].uses;
        if let Some(verdict) = uses.finished.remove(&id) {
            for entry in &complete.entries {
                self.end_use(index, entry.offset, Some(verdict), effects);
            }
            return None;
        }
        let Some(progress) = uses.resumed.remove(&id) else { return Some(complete) };
        self.go_on(id, index, complete, progress);
        None
    }

    /// Drops pairs from before a restart that will not form again, because they have lost an input: its run was cancelled
    /// while it was in the log. To be asked whenever the last input may have been read, or have become visible.
    pub(super) fn drop_lost_pairs(&mut self, index: SubscriptionIndex, effects: &mut Vec<Effect>) {
        let subscription = &self.subscriptions[index.at()];
        let read = !self.agents[subscription.agent.at()].reading.is_behind();
        let expects = read && subscription.uses.expects_pairs();
        // One that is not visible yet may still form them.
        if expects && !self.delayed.keys().any(|(_, of, _)| *of == index) {
            let lost = self.subscriptions[index.at()].uses.give_up();
            effects.extend(lost.into_iter().map(Effect::Drop));
        }
    }

    pub(super) fn end_use(
        &mut self,
        index: SubscriptionIndex,
        offset: Offset,
        verdict: Option<PairVerdict>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some((run, side, outcome)) = self.subscriptions[index.at()].uses.end(offset, verdict) {
            effects.push(Effect::Settle(self.count_outcome(index, (offset, side), run, outcome)));
        }
    }

    /// An input waited in vain, with this company if it is a join's. Those that leave together are told of together: `told`
    /// are those that have been.
    pub(super) fn expire(
        &mut self,
        index: SubscriptionIndex,
        entry: &Entry,
        (expiry, company): (Expiry, Option<Company>),
        told: &mut FxHashSet<Offset>,
        effects: &mut Vec<Effect>,
    ) {
        let decided = effects.len();
        self.leave(index, entry, Outcome::Expired(expiry), effects);
        let expired = effects[decided..].iter().any(is_expiry);
        if let Some(company) = company.filter(|_| expired && !told.contains(&entry.offset)) {
            told.extend(company.partners.iter().map(|partner| partner.offset));
            let workflow_of = |run| self.runs.get(&run).map(|run| Arc::clone(&run.workflow));
            effects.push(Effect::JoinExpired(company.into_expired(index, entry, workflow_of)));
        }
    }

    pub(super) fn cancel_entry(
        &mut self,
        index: SubscriptionIndex,
        entry: &Entry,
        effects: &mut Vec<Effect>,
    ) {
        self.leave(index, entry, Outcome::Cancelled, effects);
    }

    /// An input left its collector without being used up.
    fn leave(
        &mut self,
        index: SubscriptionIndex,
        entry: &Entry,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let subscription = &mut self.subscriptions[index.at()];
        if !subscription.collector.is_shared() {
            self.settle(index, entry, outcome, effects);
        } else if let Some((run, side, outcome)) = subscription.uses.leave(entry, outcome) {
            effects.push(Effect::Settle(self.count_outcome(index, (entry.offset, side), run, outcome)));
        }
    }
}

fn is_expiry(effect: &Effect) -> bool {
    matches!(effect, Effect::Settle(Settled { outcome: Outcome::Expired(_), .. }))
}
