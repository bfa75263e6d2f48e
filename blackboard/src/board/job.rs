//! Jobs: how a complete set of inputs becomes one, and what follows from each of its attempts.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use super::alone::Care;
use super::pairs;
use super::queue::{Lane, Ready, Standing};
use super::run::Runs;
use super::waits::waits;
use super::{Aside, Board, Due, Effect, Outcome, PairVerdict, Resumed, Start, Verdict};
use crate::collect::{Complete, Entry};
use crate::few::Few;
use crate::id::{AgentIndex, JobId, RunId, SubscriptionIndex};
use crate::job::{Member, Wait};
use crate::time::Timestamp;

/// A job from its first start to its end.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) agent: AgentIndex,
    pub(super) subscription: SubscriptionIndex,
    pub(super) complete: Complete,
    pub(super) runs: Runs,
    /// Its place among all complete sets of inputs; 0 for a job from before a restart, which is never new again.
    pub(super) order: u64,
    pub(super) attempt: u32,
    failures: u32,
    /// How often the store has refused its present start, and nothing else.
    pub(super) refusals: u32,
    pub(super) state: JobState,
    /// When its present state began.
    pub(super) since: Timestamp,
    /// Since when it is being cancelled.
    pub(super) cancelling: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobState {
    /// Waits in its agent's queue for another attempt.
    Queued,
    /// An attempt is running.
    Running,
    /// It waited too long for a slot, and its failure is being written. It holds neither a slot nor a lane.
    Burying,
    /// The next attempt may start at this time.
    BackingOff(Timestamp),
}

impl Job {
    pub(super) fn is_running(&self, attempt: u32) -> bool {
        self.is_out() && self.attempt == attempt
    }

    /// Tells whether its agent has it, to run it or to bury it.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.state, JobState::Running | JobState::Burying)
    }
}

impl Board {
    /// Turns work that has just been given a slot, or that waited too long for one, into the start of an attempt.
    ///
    /// `None` when there is nothing to start after all; the slot is free again then.
    pub(super) fn start(&mut self, agent: AgentIndex, ready: Ready, state: JobState) -> Option<Start> {
        let (waits_since, since) = (ready.since(), self.now);
        let waits = waits(waits_since, ready.front(), self.closed(agent), since);
        match ready {
            Ready::New { subscription, complete, runs, order, .. } => {
                let id = self.job_id(subscription, &complete);
                let job = Job {
                    agent,
                    subscription,
                    complete,
                    runs,
                    order,
                    attempt: 1,
                    failures: 0,
                    refusals: 0,
                    state,
                    since,
                    cancelling: None,
                };
                self.jobs.insert(id, job);
                self.start_of(id, waits_since, waits)
            }
            Ready::Again { job: id, .. } => {
                let job = self.jobs.get_mut(&id)?;
                job.attempt += 1;
                (job.state, job.since) = (state, since);
                self.start_of(id, waits_since, waits)
            }
        }
    }

    pub(super) fn job_id(&self, subscription: SubscriptionIndex, complete: &Complete) -> JobId {
        let offsets = complete.entries.iter().map(|entry| entry.offset);
        JobId::derive(&self.subscriptions[subscription.at()].name, latest(&complete.entries), offsets)
    }

    fn start_of(&self, id: JobId, since: Timestamp, waits: Few<Wait>) -> Option<Start> {
        let job = self.jobs.get(&id)?;
        let at = latest(&job.complete.entries);
        let (run, opens_run) = (self.run_of(id)?, matches!(job.runs, Runs::Many(_)));
        Some(Start {
            job: id,
            agent: job.agent,
            subscription: job.subscription,
            members: members(&job.complete),
            attempt: job.attempt,
            failures: job.failures,
            run,
            opens_run,
            at,
            closed: job.complete.closed,
            shared: job.complete.shared,
            alone: self.suspects.runs_alone(id),
            aside: Aside {
                since,
                first: job.complete.entries.iter().map(|entry| entry.since).min().unwrap_or(since),
                waits,
                key: job.complete.key.clone(),
                workflow: self.runs.get(&run).map(|state| Arc::clone(&state.workflow)),
            },
        })
    }

    /// The run of a job's outputs.
    pub(super) fn run_of(&self, id: JobId) -> Option<RunId> {
        self.jobs.get(&id).map(|job| match &job.runs {
            Runs::One(run) => *run,
            Runs::Many(_) => id.run(latest(&job.complete.entries)),
        })
    }

    pub(super) fn finish(&mut self, id: JobId, attempt: u32, verdict: Verdict, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_running(attempt)) else { return };
        let (agent, state) = (job.agent, job.state);
        let cancelling = job.cancelling.is_some();
        job.refusals = 0;
        match verdict {
            Verdict::Retry(until)
                if !cancelling && matches!(state, JobState::Running | JobState::Burying) =>
            {
                job.failures += 1;
                job.state = JobState::BackingOff(until);
                self.agents[agent.at()].backing_off += 1;
                self.deadlines.insert((until, Due::Job(id)));
            }
            Verdict::Retry(_) | Verdict::Released if !cancelling => self.requeue(id),
            Verdict::Retry(_) | Verdict::Released => {
                self.uncount_job_of(id);
                self.leave_lane_of(id);
                self.drop_job(id, effects);
            }
            Verdict::Done => self.end(id, Some(PairVerdict::Done), &Outcome::Consumed, effects),
            Verdict::Dead => self.end(id, Some(PairVerdict::Dead), &Outcome::Dead, effects),
            Verdict::Cancelled => self.end(id, None, &Outcome::Cancelled, effects),
        }
        self.give_back(agent, state);
    }

    /// Gives back what a job that was out had taken of its agent.
    pub(super) fn give_back(&mut self, agent: AgentIndex, state: JobState) {
        let queue = &mut self.agents[agent.at()].queue;
        match state {
            JobState::Burying => queue.end_burial(),
            JobState::Running | JobState::Queued | JobState::BackingOff(_) => queue.free_slot(),
        }
        self.touched_agents_push(agent);
    }

    /// Ends a job whose end is committed: its inputs get their outcome.
    fn end(&mut self, id: JobId, pair: Option<PairVerdict>, outcome: &Outcome, effects: &mut Vec<Effect>) {
        self.uncount_job_of(id);
        self.leave_lane_of(id);
        let Some(job) = self.jobs.remove(&id) else { return };
        self.agents[job.agent.at()].ended += 1;
        for entry in &job.complete.entries {
            if job.complete.shared {
                self.end_use(job.subscription, entry.offset, pair, effects);
            } else {
                let settled = self.count_outcome(
                    job.subscription,
                    (entry.offset, entry.side),
                    entry.run,
                    outcome.clone(),
                );
                effects.push(Effect::Settled(settled));
            }
        }
    }

    /// Ends a job that does not run, because its run was cancelled.
    pub(super) fn drop_job(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.remove(&id) else { return };
        if job.attempt == 0 {
            // Its first start was never committed: the store knows its inputs only.
            return self.cancel_inputs(job.subscription, &job.complete.entries, job.complete.shared, effects);
        }
        self.agents[job.agent.at()].ended += 1;
        effects.push(Effect::Drop(id));
        for entry in &job.complete.entries {
            if job.complete.shared {
                self.end_use(job.subscription, entry.offset, None, effects);
            } else {
                let settled = self.count_outcome(
                    job.subscription,
                    (entry.offset, entry.side),
                    entry.run,
                    Outcome::Cancelled,
                );
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
    pub(super) fn hand_back(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_out()) else { return };
        let (agent, state) = (job.agent, job.state);
        job.attempt -= 1;
        let (was_started, cancelling) = (job.attempt > 0, job.cancelling.is_some());
        if cancelling {
            self.uncount_job_of(id);
            self.leave_lane_of(id);
        }
        if was_started && cancelling {
            self.drop_job(id, effects);
        } else if was_started {
            self.requeue(id);
        } else if let Some(job) = self.jobs.remove(&id) {
            let Job { subscription, complete, runs, order, .. } = job;
            if cancelling {
                self.cancel_inputs(subscription, &complete.entries, complete.shared, effects);
            } else {
                let (again, since) = (runs.clone(), self.now);
                let ready = Ready::New { subscription, complete, runs: again, order, since, front: None };
                self.line_up(agent, ready, state);
                self.stand_in_line(agent, &runs);
            }
        }
        self.give_back(agent, state);
    }

    /// Puts a piece that is out back in its place; a lane that it held, it holds still.
    fn line_up(&mut self, agent: AgentIndex, ready: Ready, state: JobState) {
        if state == JobState::Burying {
            let lane = self.lane_of(&ready);
            self.agents[agent.at()].queue.push(ready, lane);
        } else {
            self.agents[agent.at()].queue.put_back(ready);
        }
    }

    pub(super) fn end_back_off(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(&id) {
            self.agents[job.agent.at()].backing_off -= 1;
        }
        self.requeue(id);
    }

    /// Puts a job back in front of its agent's queue for another attempt.
    fn requeue(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (state, since) = (std::mem::replace(&mut job.state, JobState::Queued), self.now);
        job.since = since;
        let (agent, runs, order) = (job.agent, job.runs.clone(), job.order);
        self.line_up(agent, Ready::Again { job: id, order, since, front: None }, state);
        self.stand_in_line(agent, &runs);
        self.touched_agents_push(agent);
    }

    /// Work that counts as moving was queued: it moves no more than its agent lets it.
    fn stand_in_line(&mut self, agent: AgentIndex, runs: &Runs) {
        let standing = self.agents[agent.at()].queue.standing();
        for run in runs.iter().filter(|_| standing != Standing::Open) {
            self.uncount_job(run);
            self.count_waiting(run, standing);
        }
    }

    /// Takes in a job that was started before a restart.
    pub(super) fn resume_job(&mut self, resumed: Resumed, now: Timestamp) {
        let Resumed { start, inputs, failures, until, interruptions, deaths_alone } = resumed;
        let until = until.filter(|until| *until > now);
        let care = Care::after(interruptions, deaths_alone);
        let progress = pairs::Progress { attempts: start.attempt, failures, until, care };
        let index = start.subscription;
        if start.shared {
            self.subscriptions[index.at()].uses.resume(start.job, progress);
            return;
        }
        let mut entries = Vec::with_capacity(inputs.len());
        for input in &inputs {
            self.subscriptions[index.at()].tally.matched += 1;
            self.outstanding += 1;
            // Others of the run may be in the log.
            self.run_known(input.run, &input.workflow, false).hold_new();
            if let Some(claim) = input.claims.first() {
                entries.push(self.entry(input, claim));
            }
        }
        let complete = Complete {
            entries: entries.into(),
            cuts: cuts(&start.members),
            closed: start.closed,
            shared: false,
            key: start.aside.key,
        };
        self.go_on(start.job, index, complete, progress);
    }

    /// Queues a job that was started before a restart, or lets it back off on.
    pub(super) fn go_on(
        &mut self,
        id: JobId,
        subscription: SubscriptionIndex,
        complete: Complete,
        progress: pairs::Progress,
    ) {
        let agent = self.subscriptions[subscription.at()].agent;
        let runs = Runs::of(&complete.entries);
        self.completed += 1;
        let job = Job {
            agent,
            subscription,
            complete,
            runs: runs.clone(),
            order: self.completed,
            attempt: progress.attempts,
            failures: progress.failures,
            refusals: 0,
            state: progress.until.map_or(JobState::Queued, JobState::BackingOff),
            since: self.now,
            cancelling: None,
        };
        self.jobs.insert(id, job);
        self.suspects.add(id, progress.care);
        let Some(until) = progress.until else { return self.queue_again(id) };
        let lane = self.lane_of_job(id);
        if lane.is_some_and(|lane| !self.agents[agent.at()].queue.hold_lane(lane)) {
            // Pairs may form in another order than before when the visibility of an input was delayed; then one that
            // is new has taken the lane, and this one waits behind it instead of for its time.
            return self.queue_again(id);
        }
        self.agents[agent.at()].backing_off += 1;
        self.deadlines.insert((until, Due::Job(id)));
        for run in runs.iter() {
            self.count_job(run);
        }
    }

    fn queue_again(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = JobState::Queued;
            let (agent, order) = (job.agent, job.order);
            self.enqueue(agent, Ready::Again { job: id, order, since: self.now, front: None });
        }
    }

    pub(super) fn lane_of(&self, ready: &Ready) -> Option<Lane> {
        match ready {
            Ready::New { subscription, complete, .. } => lane_in(*subscription, complete),
            Ready::Again { job, .. } => self.lane_of_job(*job),
        }
    }

    fn lane_of_job(&self, id: JobId) -> Option<Lane> {
        self.jobs.get(&id).and_then(|job| lane_in(job.subscription, &job.complete))
    }

    pub(super) fn leave_lane_of(&mut self, id: JobId) {
        let Some(lane) = self.lane_of_job(id) else { return };
        if let Some(job) = self.jobs.get(&id).filter(|job| job.state != JobState::Burying) {
            let agent = job.agent;
            self.agents[agent.at()].queue.leave_lane(&lane, self.now);
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

fn lane_in(subscription: SubscriptionIndex, complete: &Complete) -> Option<Lane> {
    let key = complete.entries.iter().find_map(|entry| entry.lane.clone())?;
    Some((subscription, key))
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
