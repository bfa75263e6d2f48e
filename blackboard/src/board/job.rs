//! Jobs: how a complete set of inputs becomes one, and what follows from each of its attempts.
//!
//! Pure: no I/O, no clock.

use super::queue::{Lane, Ready};
use super::run::Runs;
use super::{Board, Due, Effect, Outcome, PairVerdict, Resumed, Start, Verdict};
use crate::collect::{Complete, Entry};
use crate::id::{AgentIndex, JobId, SubscriptionIndex};
use crate::shape::Member;
use crate::time::Timestamp;

/// A job from its first start to its end.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) agent: AgentIndex,
    pub(super) subscription: SubscriptionIndex,
    pub(super) complete: Complete,
    pub(super) runs: Runs,
    attempt: u32,
    pub(super) state: JobState,
    pub(super) cancelling: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobState {
    /// Waits in its agent's queue for another attempt.
    Queued,
    /// An attempt is running.
    Running,
    /// The next attempt may start at this time.
    BackingOff(Timestamp),
}

impl Job {
    pub(super) fn is_running(&self, attempt: u32) -> bool {
        self.state == JobState::Running && self.attempt == attempt
    }
}

impl Board {
    /// Turns work that has just been given a slot into the start of an attempt.
    ///
    /// `None` when there is nothing to start after all; the slot is free again then.
    pub(super) fn start(&mut self, agent: AgentIndex, ready: Ready) -> Option<Start> {
        match ready {
            Ready::New { subscription, complete, runs } => {
                self.start_new(agent, subscription, complete, runs)
            }
            Ready::Again(id) => {
                let job = self.jobs.get_mut(&id)?;
                job.attempt += 1;
                job.state = JobState::Running;
                self.start_of(id)
            }
        }
    }

    fn start_new(
        &mut self,
        agent: AgentIndex,
        subscription: SubscriptionIndex,
        complete: Complete,
        runs: Runs,
    ) -> Option<Start> {
        let source = &mut self.subscriptions[subscription.at()];
        let at = latest(&complete.entries);
        let id = JobId::derive(&source.name, at, complete.entries.iter().map(|entry| entry.offset));
        let mut job = Job {
            agent,
            subscription,
            complete,
            runs,
            attempt: 1,
            state: JobState::Running,
            cancelling: false,
        };
        if job.complete.shared {
            if let Some(verdict) = source.uses.take_finished(id) {
                self.skip_finished(job, verdict);
                return None;
            }
            if let Some((attempts, until)) = source.uses.take_resumed(id) {
                job.attempt = attempts + 1;
                if let Some(until) = until {
                    job.attempt = attempts;
                    job.state = JobState::BackingOff(until);
                    self.deadlines.insert((until, Due::Job(id)));
                    self.agents[agent.at()].queue.free_slot();
                }
            }
        }
        let running = job.state == JobState::Running;
        self.jobs.insert(id, job);
        if running { self.start_of(id) } else { None }
    }

    /// A pair that was finished before a restart was formed again: it counts, and does not run.
    fn skip_finished(&mut self, job: Job, verdict: PairVerdict) {
        let agent = job.agent;
        self.agents[agent.at()].queue.free_slot();
        self.touched_agents_push(agent);
        for run in job.runs.iter() {
            self.uncount_job(run);
        }
        for entry in &job.complete.entries {
            let open = self.subscriptions[job.subscription.at()].uses.end(entry.offset, Some(verdict));
            debug_assert!(open.is_none(), "a pair is skipped while its inputs are still in the window");
        }
    }

    fn start_of(&self, id: JobId) -> Option<Start> {
        let job = self.jobs.get(&id)?;
        let at = latest(&job.complete.entries);
        let (run, opens_run) = match &job.runs {
            Runs::One(run) => (*run, false),
            Runs::Many(_) => (id.run(at), true),
        };
        Some(Start {
            job: id,
            agent: job.agent,
            subscription: job.subscription,
            members: members(&job.complete),
            attempt: job.attempt,
            run,
            opens_run,
            at,
            closed: job.complete.closed,
            shared: job.complete.shared,
        })
    }

    pub(super) fn finish(&mut self, id: JobId, attempt: u32, verdict: Verdict, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_running(attempt)) else { return };
        let agent = job.agent;
        let cancelling = job.cancelling;
        match verdict {
            Verdict::Retry(until) if !cancelling => {
                job.state = JobState::BackingOff(until);
                self.deadlines.insert((until, Due::Job(id)));
            }
            Verdict::Released if !cancelling => {
                job.state = JobState::Queued;
                self.requeue(id);
            }
            Verdict::Retry(_) | Verdict::Released => {
                self.uncount_job_of(id);
                self.leave_lane_of(id);
                self.drop_job(id, effects);
            }
            Verdict::Done => self.end(id, Some(PairVerdict::Done), &Outcome::Consumed, effects),
            Verdict::Dead => self.end(id, Some(PairVerdict::Dead), &Outcome::Dead, effects),
            Verdict::Cancelled => self.end(id, None, &Outcome::Cancelled, effects),
        }
        self.agents[agent.at()].queue.free_slot();
        self.touched_agents_push(agent);
    }

    /// Ends a job whose end is committed: its inputs get their outcome.
    fn end(&mut self, id: JobId, pair: Option<PairVerdict>, outcome: &Outcome, effects: &mut Vec<Effect>) {
        self.uncount_job_of(id);
        self.leave_lane_of(id);
        let Some(job) = self.jobs.remove(&id) else { return };
        for entry in &job.complete.entries {
            if job.complete.shared {
                self.end_use(job.subscription, entry.offset, pair, effects);
            } else {
                let settled = self.count_outcome(job.subscription, entry.offset, entry.run, outcome.clone());
                effects.push(Effect::Settled(settled));
            }
        }
    }

    /// Ends a job that does not run, because its run was cancelled.
    pub(super) fn drop_job(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.remove(&id) else { return };
        effects.push(Effect::Drop(id));
        for entry in &job.complete.entries {
            if job.complete.shared {
                self.end_use(job.subscription, entry.offset, None, effects);
            } else {
                let settled =
                    self.count_outcome(job.subscription, entry.offset, entry.run, Outcome::Cancelled);
                effects.push(Effect::Settled(settled));
            }
        }
    }

    /// Cancels inputs that never were a job.
    pub(super) fn cancel_inputs(
        &mut self,
        index: SubscriptionIndex,
        entries: &[Entry],
        shared: bool,
        effects: &mut Vec<Effect>,
    ) {
        for entry in entries {
            if shared {
                self.end_use(index, entry.offset, None, effects);
            } else {
                self.settle(index, entry, Outcome::Cancelled, effects);
            }
        }
    }

    /// Takes back a job whose start could not be committed.
    pub(super) fn hand_back(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == JobState::Running) else { return };
        let agent = job.agent;
        job.attempt -= 1;
        if job.attempt > 0 {
            job.state = JobState::Queued;
            self.requeue(id);
        } else if let Some(job) = self.jobs.remove(&id) {
            let runs = job.runs.clone();
            let ready = Ready::New { subscription: job.subscription, complete: job.complete, runs: job.runs };
            self.push_front(agent, ready, &runs);
        }
        self.agents[agent.at()].queue.free_slot();
        self.touched_agents_push(agent);
    }

    pub(super) fn end_back_off(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.state = JobState::Queued;
        self.requeue(id);
    }

    /// Puts a job back in front of its agent's queue for another attempt.
    fn requeue(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (agent, runs) = (job.agent, job.runs.clone());
        self.push_front(agent, Ready::Again(id), &runs);
    }

    /// Queues work that counts as moving already.
    fn push_front(&mut self, agent: AgentIndex, ready: Ready, runs: &Runs) {
        let queue = &mut self.agents[agent.at()].queue;
        queue.push_front(ready);
        if queue.is_paused() {
            for run in runs.iter() {
                self.uncount_job(run);
                self.park(run);
            }
        }
        self.touched_agents_push(agent);
    }

    /// Takes in a job that was started before a restart.
    pub(super) fn resume_job(&mut self, resumed: Resumed, now: Timestamp) {
        let Resumed { start, inputs, failures: _, until } = resumed;
        let until = until.filter(|until| *until > now);
        let index = start.subscription;
        if start.shared {
            self.subscriptions[index.at()].uses.resume(start.job, start.attempt, until);
            return;
        }
        let mut entries = Vec::with_capacity(inputs.len());
        for input in &inputs {
            self.subscriptions[index.at()].tally.matched += 1;
            self.run_mut(input.run, &input.workflow).tally.matched += 1;
            if let Some(claim) = input.matches.first() {
                entries.push(self.entry(input.offset, input.run, input.at, claim));
            }
        }
        let complete = Complete { entries, cuts: cuts(&start.members), closed: start.closed, shared: false };
        let runs = Runs::of(&complete.entries);
        let state = until.map_or(JobState::Queued, JobState::BackingOff);
        let (id, agent) = (start.job, start.agent);
        let job = Job {
            agent,
            subscription: index,
            complete,
            runs: runs.clone(),
            attempt: start.attempt,
            state,
            cancelling: false,
        };
        self.jobs.insert(id, job);
        match until {
            None => self.enqueue(agent, Ready::Again(id)),
            Some(until) => {
                self.deadlines.insert((until, Due::Job(id)));
                if let Some(lane) = self.lane_of(&Ready::Again(id)) {
                    self.agents[agent.at()].queue.hold_lane(lane);
                }
                for run in runs.iter() {
                    self.count_job(run);
                }
            }
        }
    }

    pub(super) fn lane_of(&self, ready: &Ready) -> Option<Lane> {
        let (subscription, complete) = match ready {
            Ready::New { subscription, complete, .. } => (*subscription, complete),
            Ready::Again(id) => self.jobs.get(id).map(|job| (job.subscription, &job.complete))?,
        };
        let key = complete.entries.iter().find_map(|entry| entry.lane.clone())?;
        Some((subscription, key))
    }

    pub(super) fn leave_lane_of(&mut self, id: JobId) {
        let Some(lane) = self.lane_of(&Ready::Again(id)) else { return };
        if let Some(job) = self.jobs.get(&id) {
            let agent = job.agent;
            self.agents[agent.at()].queue.leave_lane(&lane);
            self.touched_agents_push(agent);
        }
    }

    fn uncount_job_of(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(&id) {
            let runs = job.runs.clone();
            for run in runs.iter() {
                self.uncount_job(run);
            }
        }
    }

    pub(super) fn touched_agents_push(&mut self, agent: AgentIndex) {
        if self.touched_agents.last() != Some(&agent) {
            self.touched_agents.push(agent);
        }
    }
}

fn latest(entries: &[Entry]) -> Timestamp {
    entries.iter().map(|entry| entry.at).max().unwrap_or_default()
}

fn members(complete: &Complete) -> Box<[Member]> {
    let mut cuts = complete.cuts.iter().copied().peekable();
    let mut group = 0;
    let number = |(index, entry): (u32, &Entry)| {
        if cuts.next_if_eq(&index).is_some() {
            group += 1;
        }
        Member { offset: entry.offset, side: entry.side, group }
    };
    (0_u32..).zip(&complete.entries).map(number).collect()
}

/// The inverse of [`members`]: where each group but the last ends.
fn cuts(members: &[Member]) -> Vec<u32> {
    let pairs = (1_u32..).zip(members.windows(2));
    pairs.filter(|(_, pair)| pair[0].group != pair[1].group).map(|(index, _)| index).collect()
}
