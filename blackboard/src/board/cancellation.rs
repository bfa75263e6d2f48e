//! Cancellation of a run: of what collectors hold, of what waits or runs, and of what is in the log only.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use super::admission::Delayed;
use super::job::JobState;
use super::log_counts::Cancel;
use super::outcome::Decided;
use super::queue::Taken;
use super::run::Motion;
use super::{Board, Due, Effect, Outcome, RunId};
use crate::id::{RunIndex, SubscriptionIndex};
use crate::time::Timestamp;

impl Board {
    pub(super) fn set_deadline(&mut self, run: RunId, at: Timestamp) {
        let Some(index) = self.run_index(run) else { return };
        let Some(state) = self.runs.get_mut(index) else { return };
        if let Some(before) = state.deadline.replace(at) {
            self.deadlines.remove(&(before, Due::Run(index)));
        }
        self.deadlines.insert((at, Due::Run(index)));
    }

    /// Cancels a run whose time is over. Artifacts that are published in it later are cancelled, too.
    pub(super) fn end_deadline(&mut self, index: RunIndex, effects: &mut Vec<Effect>) {
        let Some(state) = self.runs.get_mut(index) else { return };
        let run = state.id;
        state.deadline = None;
        if state.tally.outstanding() > 0 && !state.cancelled {
            let workflow = Arc::clone(&state.workflow);
            effects.push(Effect::RunTimedOut { run, workflow });
        }
        self.cancel_run(run, effects);
    }

    pub(super) fn cancel_run(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        self.cancel_in_log(run, effects);
        let Some(index) = self.run_index(run) else { return };
        if let Some(state) = self.runs.get_mut(index) {
            state.cancelled = true;
        }
        self.touch_run(index);
        self.cancel_held(index, effects);
        self.cancel_queued(index, effects);
        self.cancel_jobs(index, effects);
    }

    fn cancel_held(&mut self, run: RunIndex, effects: &mut Vec<Effect>) {
        for index in self.subscription_indices() {
            let collector = &mut self.subscriptions[index.at()].collector;
            let (timed, batch_timed) = (collector.holds_timed(), collector.batches_timed());
            let (held, batched) = collector.withdraw(run);
            self.collected -= (held.len() + batched.len()) as u64;
            for entry in &held {
                if timed {
                    self.uncount(run, Motion::Timed, 1);
                }
                self.cancel_entry(index, entry, effects);
            }
            if batch_timed {
                self.uncount(run, Motion::Timed, u32::try_from(batched.len()).unwrap_or(u32::MAX));
            }
            for entry in &batched {
                self.settle(index, Decided::of(entry, Outcome::Cancelled), effects);
            }
            self.rearm(index);
        }
        let mut delayed: Vec<_> = self.delayed.extract_if(|_, held| held.entry.run == run).collect();
        // The map has no order; effects should have one.
        delayed.sort_unstable_by_key(|((index, offset), _)| (*index, *offset));
        for ((index, offset), Delayed { opens, entry, .. }) in delayed {
            self.deadlines.remove(&(opens, Due::Delayed(index, offset)));
            self.uncount(run, Motion::Delayed, 1);
            self.settle(index, Decided::of(&entry, Outcome::Cancelled), effects);
            self.drop_lost_pairs(index, effects);
        }
    }

    fn cancel_queued(&mut self, run: RunIndex, effects: &mut Vec<Effect>) {
        for agent in self.agent_indices() {
            let jobs = &self.jobs;
            let queue = &mut self.agents[agent.at()].queue;
            let standing = queue.standing();
            let taken = queue.take(|job| jobs.get(job).is_some_and(|job| job.runs.is_only(run)));
            if !taken.is_empty() {
                self.touch_agent(agent);
            }
            for Taken { job, leads_lane } in taken {
                if leads_lane {
                    self.leave_lane_of(job);
                }
                self.uncount(run, Motion::queued(standing), 1);
                self.drop_job(job, effects);
            }
        }
    }

    fn cancel_jobs(&mut self, run: RunIndex, effects: &mut Vec<Effect>) {
        let own = self.jobs.iter().filter(|(_, job)| job.runs.is_only(run));
        let mut own: Vec<_> = own.map(|(index, job)| (job.order, index)).collect();
        // Places are given again, so that they have no order; effects should have one.
        own.sort_unstable();
        let now = self.now;
        for (_, index) in own {
            let Some(job) = self.jobs.get_mut(index) else { continue };
            match job.state {
                JobState::Running | JobState::Burying if job.cancelling.is_some() => {}
                // Its failure is being written; no engine runs that could be stopped.
                JobState::Burying => job.cancelling = Some(now),
                JobState::Running => {
                    job.cancelling = Some(now);
                    effects.extend(job.id().map(|id| Effect::Cancel { agent: job.agent, job: id }));
                }
                JobState::BackingOff(until) => {
                    self.deadlines.remove(&(until, Due::Job(index)));
                    self.agents[job.agent.at()].backing_off -= 1;
                    self.uncount(run, Motion::Job, 1);
                    self.leave_lane_of(index);
                    self.drop_job(index, effects);
                }
                JobState::Queued => {}
            }
        }
    }

    /// Has the claims of a run that are in the log only cancelled there.
    pub(super) fn cancel_in_log(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        let none = self.run(run).is_some_and(|state| self.is_in_memory(state));
        if self.is_caught_up() || none || self.log_counts.cancels_run(run) {
            return;
        }
        self.log_counts.cancels.push((run, Cancel::Asked));
        self.agents.iter_mut().for_each(|agent| agent.reading.drop_page());
        let mut behind = Vec::new();
        for agent in self.agent_indices().filter(|agent| self.agents[agent.at()].reading.is_behind()) {
            let after = Some(self.agents[agent.at()].reading.taken());
            behind.extend(self.subscriptions_of(agent).map(|index| (index, after)));
        }
        effects.push(Effect::CancelSpilled { run, behind });
    }

    pub(super) fn spilled_cancelled(
        &mut self,
        run: RunId,
        cancelled: &[(SubscriptionIndex, u64)],
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.log_counts.end_cancel(run);
        for (index, count) in cancelled {
            let subscription = &mut self.subscriptions[index.at()];
            subscription.tally.cancelled += count;
            let agent = subscription.agent;
            self.outstanding -= count;
            let total = *count;
            if let Some(state) = self.run_mut(run) {
                state.tally.matched += total.saturating_sub(state.spilled());
                state.tally.cancelled += total;
                state.recount = None;
            }
            if total > 0 && self.uncount_spilled(*index, total) {
                self.resume_reading(agent, now, effects);
            }
        }
        if let Some(index) = self.run_index(run) {
            self.touch_run(index);
        }
    }

    pub(super) fn cancel_refused(&mut self, run: RunId) {
        self.log_counts.end_cancel(run);
        self.log_counts.cancels.push((run, Cancel::Refused));
    }

    pub(super) fn cancel_again(&mut self, effects: &mut Vec<Effect>) {
        let refused: Vec<_> =
            self.log_counts.cancels.extract_if(.., |(_, cancel)| *cancel == Cancel::Refused).collect();
        for (run, _) in refused {
            self.cancel_in_log(run, effects);
        }
    }
}
