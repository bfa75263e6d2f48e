//! Outcomes: the only place where it is decided how a claim ends.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{Board, Effect, Outcome};
use crate::claim::Settled;
use crate::collect::{Entry, Partners};
use crate::id::{Offset, RunIndex, SubscriptionIndex};
use crate::outcome::Expiry;

/// A claim whose outcome is decided.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) offset: Offset,
    pub(super) run: RunIndex,
    pub(super) side: u16,
    pub(super) outcome: Outcome,
}

impl Decided {
    pub(super) fn of(entry: &Entry, outcome: Outcome) -> Self {
        Self { offset: entry.offset, run: entry.run, side: entry.side, outcome }
    }
}

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
            let run_of =
                |entry: &Entry| self.runs.get(entry.run).map(|run| (run.id, Arc::clone(&run.workflow)));
            effects.push(Effect::JoinExpired(Box::new(partners.into_expired(index, entry, run_of))));
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
            self.settle(index, Decided::of(entry, outcome), effects);
        } else if let Some(decided) = subscription.pairs.leave(entry, outcome) {
            self.settle(index, decided, effects);
        }
    }

    /// Counts an outcome that needs a record of its own.
    pub(super) fn settle(&mut self, index: SubscriptionIndex, decided: Decided, effects: &mut Vec<Effect>) {
        self.count_outcome(index, &decided);
        effects.extend(self.settled(index, decided).map(Effect::Settle));
    }

    /// Counts an outcome.
    pub(super) fn count_outcome(&mut self, index: SubscriptionIndex, decided: &Decided) {
        self.subscriptions[index.at()].tally.count(&decided.outcome);
        self.outstanding -= 1;
        if let Some(state) = self.runs.get_mut(decided.run) {
            state.count_outcome(&decided.outcome);
        }
        self.touch_run(decided.run);
    }

    /// An outcome as it is told. A run is on the board for as long as a claim of it is in memory.
    pub(super) fn settled(&self, subscription: SubscriptionIndex, decided: Decided) -> Option<Settled> {
        let Decided { offset, run, side, outcome } = decided;
        let run = self.runs.get(run)?.id;
        Some(Settled { subscription, offset, run, side, outcome })
    }
}

fn is_expiry(effect: &Effect) -> bool {
    matches!(effect, Effect::Settle(Settled { outcome: Outcome::Expired(_), .. }))
}
