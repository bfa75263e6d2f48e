//! Intake: what a published artifact's claims lead to at once, whether they come from a publisher or from the log.
//!
//! Pure: no I/O, no clock.

use super::{Board, Due, Effect, Outcome};
use crate::claim::{Claim, LogEntry};
use crate::collect::Entry;
use crate::id::{Key, SubscriptionIndex};
use crate::outcome::Discard;
use crate::time::Timestamp;

impl Board {
    pub(super) fn publish(&mut self, published: &LogEntry, now: Timestamp, effects: &mut Vec<Effect>) {
        let LogEntry { offset, run, workflow, claims, .. } = published;
        let whole = self.is_level();
        let mut in_log = 0;
        for claim in claims.iter() {
            let index = claim.subscription;
            let subscription = &mut self.subscriptions[index.at()];
            subscription.tally.matched += 1;
            let agent = subscription.agent;
            self.outstanding += 1;
            if self.stays_in_log(agent, *offset) {
                self.spill(index, *offset);
                in_log += 1;
            } else {
                let state = self.run_known(*run, workflow, whole);
                state.hold_new();
                let cancelled = state.cancelled;
                self.take_in(published, claim, cancelled, now, effects);
            }
        }
        if in_log > 0 && !self.runs.contains_key(run) {
            // It costs no memory until its claims are read.
            return;
        }
        if in_log > 0 || claims.is_empty() {
            let state = self.run_known(*run, workflow, whole);
            state.tally.matched += in_log;
            state.recount = None;
        }
        self.touched_runs.push(*run);
    }

    /// Takes a claim into memory, or settles it on the spot.
    pub(super) fn take_in(
        &mut self,
        published: &LogEntry,
        claim: &Claim,
        cancelled: bool,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let (index, run) = (claim.subscription, published.run);
        let entry = self.entry(published, claim);
        if cancelled {
            self.settle(index, &entry, Outcome::Cancelled, effects);
        } else if let Some(reason) = &claim.refused {
            self.settle(index, &entry, Outcome::Discarded(Discard::clone(reason)), effects);
        } else if let Some(opens) = claim.visible_at.filter(|opens| *opens > now) {
            self.count_delayed(run);
            self.delayed.insert((opens, index, entry.offset), (entry, claim.key.clone()));
            self.deadlines.insert((opens, Due::Delayed));
        } else {
            if let Some(marks) = &claim.marks {
                self.catch_up(index, marks, effects);
            }
            self.offer(index, entry, claim.key.clone(), effects);
        }
    }

    pub(super) fn entry(&self, published: &LogEntry, claim: &Claim) -> Entry {
        let by_event_time = self.subscriptions[claim.subscription.at()].by_event_time;
        let LogEntry { offset, run, at, .. } = *published;
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

    pub(super) fn offer(
        &mut self,
        index: SubscriptionIndex,
        entry: Entry,
        key: Option<Key>,
        effects: &mut Vec<Effect>,
    ) {
        let mut steps = std::mem::take(&mut self.steps);
        self.collected += 1;
        let subscription = &mut self.subscriptions[index.at()];
        if subscription.collector.holds_timed() {
            let run = entry.run;
            subscription.collector.offer(entry, key, &mut steps);
            self.count_moving(run, 1);
        } else {
            subscription.collector.offer(entry, key, &mut steps);
        }
        self.take_steps(index, &mut steps, effects);
        self.steps = steps;
    }
}
