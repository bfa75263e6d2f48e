//! Outcomes: the only place where it is decided how a claim ends.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{Board, Effect, Outcome};
use crate::claim::Settled;
use crate::collect::{Entry, Partners};
use crate::id::{Offset, SubscriptionIndex};
use crate::outcome::Expiry;

impl Board {
    /// A claim expired, with this partners if it is a join's. Claims that leave together are reported
    /// together: `reported` are those that have been.
    pub(super) fn expire(
        &mut self,
        index: SubscriptionIndex,
        entry: &Entry,
        (expiry, partners): (Expiry, Option<Partners>),
        reported: &mut FxHashSet<Offset>,
        effects: &mut Vec<Effect>,
    ) {
        let decided = effects.len();
        self.leave(index, entry, Outcome::Expired(expiry), effects);
        let expired = effects[decided..].iter().any(is_expiry);
        if let Some(partners) =
            partners.filter(|_| self.is_observed && expired && !reported.contains(&entry.offset))
        {
            reported.extend(partners.entries.iter().map(|partner| partner.offset));
            let workflow_of = |run| self.runs.get(&run).map(|run| Arc::clone(&run.workflow));
            effects.push(Effect::JoinExpired(Box::new(partners.into_expired(index, entry, workflow_of))));
        }
    }

    /// Cancels a claim that a collector held.
    pub(super) fn cancel_entry(
        &mut self,
        index: SubscriptionIndex,
        entry: &Entry,
        effects: &mut Vec<Effect>,
    ) {
        self.leave(index, entry, Outcome::Cancelled, effects);
    }

    /// A claim left its collector without being used up.
    fn leave(
        &mut self,
        index: SubscriptionIndex,
        entry: &Entry,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let subscription = &mut self.subscriptions[index.at()];
        if !subscription.collector.is_shared() {
            self.settle(entry.settled(index, outcome), effects);
        } else if let Some(settled) = subscription.pairs.leave(index, entry, outcome) {
            self.settle(settled, effects);
        }
    }

    /// Counts an outcome that needs a record of its own.
    pub(super) fn settle(&mut self, settled: Settled, effects: &mut Vec<Effect>) {
        self.count_outcome(&settled);
        effects.push(Effect::Settle(settled));
    }

    /// Counts an outcome.
    pub(super) fn count_outcome(&mut self, settled: &Settled) {
        let Settled { subscription, run, outcome, .. } = settled;
        self.subscriptions[subscription.at()].tally.count(outcome);
        self.outstanding -= 1;
        if let Some(state) = self.runs.get_mut(run) {
            state.count_outcome(outcome);
        }
        self.touch_run(*run);
    }
}

fn is_expiry(effect: &Effect) -> bool {
    matches!(effect, Effect::Settle(Settled { outcome: Outcome::Expired(_), .. }))
}
