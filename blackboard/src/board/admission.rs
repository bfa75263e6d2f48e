//! Admission: a claim comes to the board, from a publisher or from the log, and is collected, delayed or
//! settled at once.
//!
//! Pure: no I/O, no clock.

use super::outcome::Decided;
use super::run::Motion;
use super::{Board, Due, Effect, Outcome};
use crate::claim::{Claim, LogEntry};
use crate::collect::Entry;
use crate::id::{Key, Offset, RunIndex, SubscriptionIndex};
use crate::outcome::Discard;
use crate::time::Timestamp;

/// A claim whose artifact the subscriber may not see yet.
#[derive(Debug)]
pub(super) struct Delayed {
    pub(super) opens: Timestamp,
    pub(super) entry: Entry,
    pub(super) key: Option<Key>,
}

impl Board {
    /// Admits the claims on an artifact that was committed, or leaves them in the log.
    pub(super) fn publish(&mut self, published: &LogEntry, now: Timestamp, effects: &mut Vec<Effect>) {
        let LogEntry { offset, run: id, workflow, claims, .. } = published;
        let whole = self.is_caught_up();
        let (mut run, mut in_log) = (None, 0);
        for claim in claims.iter() {
            let subscription = &mut self.subscriptions[claim.subscription.at()];
            subscription.tally.matched += 1;
            let agent = subscription.agent;
            self.outstanding += 1;
            if self.stays_in_log(agent, *offset, effects) {
                self.spill(claim.subscription, *offset);
                in_log += 1;
                continue;
            }
            let index = *run.get_or_insert_with(|| self.run_known(*id, workflow, whole));
            let Some(state) = self.runs.get_mut(index) else { continue };
            state.count_claim();
            let cancelled = state.cancelled;
            self.admit(published, claim, (index, cancelled), now, effects);
        }
        if in_log > 0 && run.is_none() && self.run_index(*id).is_none() {
            // The run costs no memory until its claims are read.
            return;
        }
        let run = run.unwrap_or_else(|| self.run_known(*id, workflow, whole));
        if (in_log > 0 || claims.is_empty())
            && let Some(state) = self.runs.get_mut(run)
        {
            state.tally.matched += in_log;
            state.recount = None;
        }
        self.touch_run(run);
    }

    /// Takes a claim into memory, or settles it on the spot.
    pub(super) fn admit(
        &mut self,
        published: &LogEntry,
        claim: &Claim,
        (run, cancelled): (RunIndex, bool),
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let index = claim.subscription;
        let entry = self.entry(published, claim, run);
        if cancelled {
            self.settle(index, Decided::of(&entry, Outcome::Cancelled), effects);
        } else if let Some(reason) = &claim.refused {
            let outcome = Outcome::Discarded(Discard::clone(reason));
            self.settle(index, Decided::of(&entry, outcome), effects);
        } else if let Some(opens) = claim.visible_at.filter(|opens| *opens > now) {
            self.count(run, Motion::Delayed, 1);
            let place = (index, entry.offset);
            self.deadlines.insert((opens, Due::Delayed(index, entry.offset)));
            self.delayed.insert(place, Delayed { opens, entry, key: claim.key.clone() });
        } else {
            if let Some(marks) = &claim.marks {
                self.advance_marks(index, marks, effects);
            }
            self.offer(index, entry, claim.key.clone(), effects);
        }
    }

    pub(super) fn entry(&self, published: &LogEntry, claim: &Claim, run: RunIndex) -> Entry {
        let by_event_time = self.subscriptions[claim.subscription.at()].by_event_time;
        let LogEntry { offset, at, .. } = *published;
        let time = if by_event_time { claim.event_time.unwrap_or(at) } else { at };
        let since = self.now;
        Entry {
            offset,
            run,
            at,
            time,
            since,
            side: claim.side,
            weight: claim.weight,
            lane: claim.lane.clone(),
        }
    }

    /// Offers a claim that has become visible.
    pub(super) fn reveal(&mut self, index: SubscriptionIndex, offset: Offset, effects: &mut Vec<Effect>) {
        let Some(Delayed { entry, key, .. }) = self.delayed.remove(&(index, offset)) else { return };
        let run = entry.run;
        self.offer(index, entry, key, effects);
        self.uncount(run, Motion::Delayed, 1);
        self.drop_lost_pairs(index, effects);
    }
}
