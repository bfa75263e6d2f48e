//! A subscription on the board: its collector, its counts, and what each step of the collector leads to.
//!
//! Pure: no I/O, no clock.

use rustc_hash::FxHashSet;

use super::job::Job;
use super::pairs::Pairs;
use super::run::Motion;
use super::{Board, Due, Effect};
use crate::collect::{Collector, Entry, Group, Step};
use crate::id::{AgentIndex, JobKey, Key, RunIndex, SubscriptionIndex};
use crate::marks::Marks;
use crate::outcome::{CloseReason, Tally};
use crate::time::Timestamp;

/// The board's record of one subscription.
#[derive(Debug)]
pub(super) struct SubscriptionState {
    pub(super) agent: AgentIndex,
    /// Which of the agent's subscriptions, counted from 0.
    pub(super) ordinal: u32,
    /// Its part in the ids of its jobs.
    pub(super) job_key: JobKey,
    pub(super) collector: Collector,
    pub(super) by_event_time: bool,
    pub(super) tally: Tally,
    pub(super) pairs: Pairs,
    pub(super) armed: Option<Timestamp>,
    /// Claims that are in the log only.
    pub(super) spilled: u64,
    /// How far the log had come before a restart, kept until the agent has caught up with it.
    pub(super) marks: Option<Marks>,
}

impl Board {
    /// Offers a claim to its collector.
    pub(super) fn offer(
        &mut self,
        index: SubscriptionIndex,
        entry: Entry,
        key: Option<Key>,
        effects: &mut Vec<Effect>,
    ) {
        if self.subscriptions[index.at()].collector.is_plain() {
            return self.add_job(index, Group::single([entry], false));
        }
        self.collected += 1;
        let (run, timed) = (entry.run, self.subscriptions[index.at()].collector.holds_timed());
        if timed {
            self.count(run, Motion::Timed, 1);
        }
        self.collect(index, effects, |collector, steps| collector.offer(entry, key, steps));
    }

    /// Yields what is due at this time.
    pub(super) fn fire_due(&mut self, index: SubscriptionIndex, now: Timestamp, effects: &mut Vec<Effect>) {
        self.collect(index, effects, |collector, steps| collector.due(now, steps));
    }

    /// Closes every open batch.
    pub(super) fn flush_all(&mut self, reason: CloseReason, effects: &mut Vec<Effect>) {
        for index in self.subscription_indices() {
            self.collect(index, effects, |collector, steps| collector.flush(None, reason, steps));
        }
    }

    /// Takes over the marks of a subscription, once its agent has caught up with the log.
    pub(super) fn restore_marks(
        &mut self,
        index: SubscriptionIndex,
        marks: Marks,
        effects: &mut Vec<Effect>,
    ) {
        let subscription = &mut self.subscriptions[index.at()];
        if self.agents[subscription.agent.at()].reading.is_behind() {
            subscription.marks = Some(marks);
        } else {
            self.advance_marks(index, &marks, effects);
        }
    }

    /// Lets a collector know how far the log has come, as far as it has not met that itself.
    pub(super) fn advance_marks(
        &mut self,
        index: SubscriptionIndex,
        marks: &Marks,
        effects: &mut Vec<Effect>,
    ) {
        self.collect(index, effects, |collector, steps| collector.advance_marks(marks, steps));
    }

    /// Has a collector do something, and carries out its steps; tells whether there were any.
    pub(super) fn collect(
        &mut self,
        index: SubscriptionIndex,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Collector, &mut Vec<Step>),
    ) -> bool {
        let mut steps = std::mem::take(&mut self.steps);
        act(&mut self.subscriptions[index.at()].collector, &mut steps);
        let any = !steps.is_empty();
        self.take_steps(index, &mut steps, effects);
        self.steps = steps;
        any
    }

    /// Carries out what a collector yielded, and arms its next deadline.
    fn take_steps(&mut self, index: SubscriptionIndex, steps: &mut Vec<Step>, effects: &mut Vec<Effect>) {
        // Inputs of a join that expire together are reported together.
        let mut reported = FxHashSet::default();
        for step in steps.drain(..) {
            match step {
                Step::Complete(group) => self.complete(index, group, effects),
                Step::Batched { run } => self.enter_batch(index, run),
                Step::Left(entry, expiry, partners) => {
                    self.collected -= 1;
                    if self.subscriptions[index.at()].collector.holds_timed() {
                        self.uncount(entry.run, Motion::Timed, 1);
                    }
                    self.expire(index, &entry, (expiry, partners), &mut reported, effects);
                }
            }
        }
        self.rearm(index);
    }

    fn enter_batch(&mut self, index: SubscriptionIndex, run: RunIndex) {
        let collector = &self.subscriptions[index.at()].collector;
        match (collector.holds_timed(), collector.batches_timed()) {
            (true, false) => self.uncount(run, Motion::Timed, 1),
            (false, true) => self.count(run, Motion::Timed, 1),
            (true, true) | (false, false) => {}
        }
    }

    /// Makes a job of a group that a collector has completed.
    fn complete(&mut self, index: SubscriptionIndex, group: Group, effects: &mut Vec<Effect>) {
        if !group.shared {
            self.collected -= group.entries.len() as u64;
        }
        let subscription = &mut self.subscriptions[index.at()];
        let collector = &subscription.collector;
        let batched = group.closed.is_some();
        let timed = if batched { collector.batches_timed() } else { collector.holds_timed() };
        if group.shared {
            group.entries.iter().for_each(|entry| subscription.pairs.begin(entry));
        }
        if timed {
            for entry in &group.entries {
                self.uncount(entry.run, Motion::Timed, 1);
            }
        }
        if let Some(group) = self.recognise(index, group, effects) {
            self.add_job(index, group);
        }
    }

    /// Queues a job that has not started.
    fn add_job(&mut self, index: SubscriptionIndex, group: Group) {
        let agent = self.subscriptions[index.at()].agent;
        self.completed += 1;
        let job = self.jobs.insert(Job::new(agent, index, group, (self.completed, self.now)));
        self.enqueue(job);
    }

    /// Arms the next deadline of a collector.
    pub(super) fn rearm(&mut self, index: SubscriptionIndex) {
        let subscription = &mut self.subscriptions[index.at()];
        // Time stands still for an agent that is behind: what is due waits for what was published before.
        let behind = self.agents[subscription.agent.at()].reading.is_behind();
        let next = subscription.collector.next_deadline().filter(|_| !behind);
        if next == subscription.armed {
            return;
        }
        if let Some(armed) = subscription.armed {
            self.deadlines.remove(&(armed, Due::Subscription(index)));
        }
        if let Some(next) = next {
            self.deadlines.insert((next, Due::Subscription(index)));
        }
        subscription.armed = next;
    }
}
