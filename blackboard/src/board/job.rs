//! A job on the board: its state, and what follows from the end of an attempt.
//!
//! Pure: no I/O, no clock.

use super::outcome::Decided;
use super::ready::{Lane, Ready, Runs, lane_in};
use super::run::Motion;
use super::{Board, Due, Effect, Outcome};
use crate::collect::{Entry, Group};
use crate::few::Few;
use crate::id::{AgentIndex, JobId, JobIndex, RunId, SubscriptionIndex};
use crate::job::{AttemptId, Member, PairVerdict, Verdict};
use crate::time::Timestamp;

/// A job, from when its inputs are complete to its end.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) agent: AgentIndex,
    pub(super) subscription: SubscriptionIndex,
    pub(super) group: Group,
    pub(super) runs: Runs,
    /// Derived when it starts for the first time.
    pub(super) ids: Option<JobIds>,
    /// Its place among all complete sets of inputs.
    pub(super) order: u64,
    pub(super) attempt: u32,
    pub(super) failures: u32,
    /// How often the store has refused its present start, and nothing else.
    pub(super) refusals: u32,
    pub(super) state: JobState,
    /// When its present state began.
    pub(super) since: Timestamp,
    /// When it came to the front of its lane, if it was behind others.
    pub(super) front: Option<Timestamp>,
    /// Since when it is being cancelled.
    pub(super) cancelling: Option<Timestamp>,
    pub(super) recorded: Recorded,
    /// The start of its present attempt is recorded, or is being recorded.
    pub(super) is_noted: bool,
}

/// Whether the store has a record of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    No,
    /// Its first record is being written, with the present attempt.
    Asked,
    Yes,
}

/// The id of a job, and the run of its outputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobIds {
    pub(super) job: JobId,
    pub(super) run: RunId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobState {
    /// Waits in its agent's queue for an attempt.
    Queued,
    /// An attempt is running.
    Running,
    /// It waited too long for a slot, and its failure is being written. It holds neither a slot nor a lane.
    Burying,
    /// The next attempt may start at this time.
    BackingOff(Timestamp),
}

impl Job {
    /// Returns a job that has not started, and whose inputs were complete as the `order`th, at `since`.
    pub(super) fn new(
        agent: AgentIndex,
        subscription: SubscriptionIndex,
        group: Group,
        (order, since): (u64, Timestamp),
    ) -> Self {
        Self {
            agent,
            subscription,
            runs: Runs::of(&group.entries),
            group,
            ids: None,
            order,
            attempt: 0,
            failures: 0,
            refusals: 0,
            state: JobState::Queued,
            since,
            front: None,
            cancelling: None,
            recorded: Recorded::No,
            is_noted: false,
        }
    }

    /// Its id; `None` before its first start.
    pub(super) fn id(&self) -> Option<JobId> {
        self.ids.map(|ids| ids.job)
    }

    /// Tells whether its agent has this attempt, to run it or to bury it.
    pub(super) fn runs_as(&self, attempt: &AttemptId) -> bool {
        self.is_out() && self.attempt == attempt.attempt && self.id() == Some(attempt.job)
    }

    /// The start of the present attempt is being recorded.
    pub(super) fn note_start(&mut self) {
        self.is_noted = true;
        if self.recorded == Recorded::No {
            self.recorded = Recorded::Asked;
        }
    }

    /// The start of the present attempt was not recorded.
    pub(super) fn forget_note(&mut self) {
        self.is_noted = false;
        if self.recorded == Recorded::Asked {
            self.recorded = Recorded::No;
        }
    }

    /// Tells whether its agent has it, to run it or to bury it.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.state, JobState::Running | JobState::Burying)
    }

    pub(super) fn lane(&self) -> Option<Lane> {
        lane_in(self.subscription, &self.group)
    }

    /// Its place in a queue.
    pub(super) fn ready(&self, index: JobIndex) -> Ready {
        Ready { job: index, order: self.order, since: self.since }
    }
}

impl Board {
    /// Finds the job of an attempt that is the present one.
    pub(super) fn job_at(&self, attempt: &AttemptId) -> Option<&Job> {
        self.jobs.get(attempt.index).filter(|job| job.runs_as(attempt))
    }

    pub(super) fn finish(
        &mut self,
        attempt: AttemptId,
        (verdict, is_short): (Verdict, bool),
        effects: &mut Vec<Effect>,
    ) {
        let index = attempt.index;
        let Some(job) = self.jobs.get_mut(index).filter(|job| job.runs_as(&attempt)) else { return };
        let (agent, state) = (job.agent, job.state);
        let cancelling = job.cancelling.is_some();
        job.refusals = 0;
        let was_asked = job.recorded == Recorded::Asked;
        if matches!(verdict, Verdict::Retry(_)) || was_asked {
            job.recorded = Recorded::Yes;
        }
        match verdict {
            Verdict::Retry(until) if !cancelling => {
                job.failures += 1;
                (job.state, job.since) = (JobState::BackingOff(until), self.now);
                self.begin_back_off(agent, index, until);
            }
            Verdict::Released if !cancelling => self.requeue(index),
            Verdict::Retry(_) | Verdict::Released => {
                self.stop_counting(index);
                self.drop_job(index, effects);
            }
            Verdict::Done => self.end(index, Some(PairVerdict::Done), &Outcome::Consumed, effects),
            Verdict::Dead => self.end(index, Some(PairVerdict::Dead), &Outcome::Dead, effects),
            Verdict::Cancelled => self.end(index, None, &Outcome::Cancelled, effects),
        }
        self.set_pace(agent, is_short);
        self.release_slot(agent, state);
    }

    /// Ends a job whose end is committed: its inputs get their outcome.
    fn end(
        &mut self,
        index: JobIndex,
        pair: Option<PairVerdict>,
        outcome: &Outcome,
        effects: &mut Vec<Effect>,
    ) {
        self.stop_counting(index);
        let Some(job) = self.jobs.remove(index) else { return };
        self.agents[job.agent.at()].ended += 1;
        self.settle_inputs(&job, pair, outcome, effects);
    }

    /// Gives the inputs of a job their outcome, which is committed together with the end of the job.
    fn settle_inputs(
        &mut self,
        job: &Job,
        pair: Option<PairVerdict>,
        outcome: &Outcome,
        effects: &mut Vec<Effect>,
    ) {
        for entry in &job.group.entries {
            if job.group.shared {
                self.end_pair_input(job.subscription, entry.offset, pair, effects);
            } else {
                let decided = Decided::of(entry, outcome.clone());
                self.count_outcome(job.subscription, &decided);
                if self.tells_settled {
                    effects.extend(self.settled(job.subscription, decided).map(Effect::Settled));
                }
            }
        }
    }

    /// Ends a job that does not run, because its run was cancelled.
    pub(super) fn drop_job(&mut self, index: JobIndex, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.remove(index) else { return };
        match job.id().filter(|_| job.recorded != Recorded::No) {
            Some(id) => {
                self.agents[job.agent.at()].ended += 1;
                effects.push(Effect::Drop(id));
                self.settle_inputs(&job, None, &Outcome::Cancelled, effects);
            }
            // The store knows its inputs only.
            None => self.cancel_group(job.subscription, &job.group, effects),
        }
    }

    /// Cancels a group of which the store knows no job.
    fn cancel_group(&mut self, index: SubscriptionIndex, group: &Group, effects: &mut Vec<Effect>) {
        for entry in &group.entries {
            if group.shared {
                self.end_pair_input(index, entry.offset, None, effects);
            } else {
                self.settle(index, Decided::of(entry, Outcome::Cancelled), effects);
            }
        }
    }

    /// Changes whether the start of an attempt is recorded.
    pub(super) fn change_note(&mut self, attempt: AttemptId, change: fn(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(attempt.index).filter(|job| job.runs_as(&attempt)) {
            change(job);
        }
    }

    /// Notes that a job backs off.
    pub(super) fn begin_back_off(&mut self, agent: AgentIndex, index: JobIndex, until: Timestamp) {
        self.agents[agent.at()].backing_off += 1;
        self.deadlines.insert((until, Due::Job(index)));
    }

    pub(super) fn end_back_off(&mut self, index: JobIndex) {
        if let Some(job) = self.jobs.get(index) {
            self.agents[job.agent.at()].backing_off -= 1;
        }
        self.requeue(index);
    }

    /// Gives back what a job that was out had taken of its agent.
    pub(super) fn release_slot(&mut self, agent: AgentIndex, state: JobState) {
        let queue = &mut self.agents[agent.at()].queue;
        match state {
            JobState::Burying => queue.end_burial(),
            JobState::Running | JobState::Queued | JobState::BackingOff(_) => queue.free_slot(),
        }
        self.touch_agent(agent);
    }

    /// A job that moved is about to end: it counts no more, and its lane is free.
    pub(super) fn stop_counting(&mut self, index: JobIndex) {
        let Some(job) = self.jobs.get(index) else { return };
        for run in job.runs.clone().iter() {
            self.uncount(run, Motion::Job, 1);
        }
        self.leave_lane_of(index);
    }
}

/// When the last input of a group was published.
pub(super) fn latest(entries: &[Entry]) -> Timestamp {
    entries.iter().map(|entry| entry.at).max().unwrap_or_default()
}

pub(super) fn members(group: &Group) -> Few<Member> {
    let mut cuts = group.cuts.iter().copied().peekable();
    let mut number = 0;
    let member = |(index, entry): (u32, &Entry)| {
        if cuts.next_if_eq(&index).is_some() {
            number += 1;
        }
        Member { offset: entry.offset, side: entry.side, group: number }
    };
    (0_u32..).zip(&group.entries).map(member).collect()
}

/// The inverse of [`members`]: where each group but the last ends.
pub(super) fn cuts(members: &[Member]) -> Box<[u32]> {
    let pairs = (1_u32..).zip(members.windows(2));
    pairs.filter(|(_, pair)| pair[0].group != pair[1].group).map(|(index, _)| index).collect()
}
