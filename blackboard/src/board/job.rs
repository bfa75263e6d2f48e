//! A job on the board: its state, and what follows from the end of an attempt.
//!
//! Pure: no I/O, no clock.

use super::ready::Runs;
use super::run::Motion;
use super::{Board, Due, Effect, Outcome};
use crate::collect::{Entry, Group};
use crate::few::Few;
use crate::id::{AgentIndex, JobId, RunId, SubscriptionIndex};
use crate::job::{Member, PairVerdict, Verdict};
use crate::time::Timestamp;

/// A job from its first start to its end.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) agent: AgentIndex,
    pub(super) subscription: SubscriptionIndex,
    pub(super) group: Group,
    pub(super) runs: Runs,
    /// The run of its outputs.
    pub(super) run: RunId,
    /// Its place among all complete sets of inputs; 0 for a job from before a restart, which is never new
    /// again.
    pub(super) order: u64,
    pub(super) attempt: u32,
    pub(super) failures: u32,
    /// How often the store has refused its present start, and nothing else.
    pub(super) refusals: u32,
    pub(super) state: JobState,
    /// When its present state began.
    pub(super) since: Timestamp,
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
}

impl Board {
    pub(super) fn finish(
        &mut self,
        id: JobId,
        attempt: u32,
        (verdict, is_short): (Verdict, bool),
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_running(attempt)) else { return };
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
                job.state = JobState::BackingOff(until);
                self.begin_back_off(agent, id, until);
            }
            Verdict::Released if !cancelling => self.requeue(id),
            Verdict::Retry(_) | Verdict::Released => {
                self.stop_counting(id);
                self.drop_job(id, effects);
            }
            Verdict::Done => self.end(id, Some(PairVerdict::Done), &Outcome::Consumed, effects),
            Verdict::Dead => self.end(id, Some(PairVerdict::Dead), &Outcome::Dead, effects),
            Verdict::Cancelled => self.end(id, None, &Outcome::Cancelled, effects),
        }
        self.set_pace(agent, is_short);
        self.release_slot(agent, state);
    }

    /// Ends a job whose end is committed: its inputs get their outcome.
    fn end(&mut self, id: JobId, pair: Option<PairVerdict>, outcome: &Outcome, effects: &mut Vec<Effect>) {
        self.stop_counting(id);
        let Some(job) = self.jobs.remove(&id) else { return };
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
                let settled = entry.settled(job.subscription, outcome.clone());
                self.count_outcome(&settled);
                effects.push(Effect::Settled(settled));
            }
        }
    }

    /// Ends a job that does not run, because its run was cancelled.
    pub(super) fn drop_job(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.remove(&id) else { return };
        if job.recorded == Recorded::No {
            // The store knows its inputs only.
            return self.cancel_group(job.subscription, &job.group, effects);
        }
        self.agents[job.agent.at()].ended += 1;
        effects.push(Effect::Drop(id));
        self.settle_inputs(&job, None, &Outcome::Cancelled, effects);
    }

    /// Cancels a group that never was a job.
    pub(super) fn cancel_group(
        &mut self,
        index: SubscriptionIndex,
        group: &Group,
        effects: &mut Vec<Effect>,
    ) {
        for entry in &group.entries {
            if group.shared {
                self.end_pair_input(index, entry.offset, None, effects);
            } else {
                self.settle(entry.settled(index, Outcome::Cancelled), effects);
            }
        }
    }

    /// Changes whether the start of a job's present attempt is recorded.
    pub(super) fn change_note(&mut self, id: JobId, change: fn(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_out()) {
            change(job);
        }
    }

    /// Notes that a job backs off.
    pub(super) fn begin_back_off(&mut self, agent: AgentIndex, id: JobId, until: Timestamp) {
        self.agents[agent.at()].backing_off += 1;
        self.deadlines.insert((until, Due::Job(id)));
    }

    pub(super) fn end_back_off(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(&id) {
            self.agents[job.agent.at()].backing_off -= 1;
        }
        self.requeue(id);
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
    pub(super) fn stop_counting(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(&id) {
            let runs = job.runs.clone();
            for run in runs.iter() {
                self.uncount(run, Motion::Job, 1);
            }
        }
        self.leave_lane_of(id);
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
pub(super) fn cuts(members: &[Member]) -> Vec<u32> {
    let pairs = (1_u32..).zip(members.windows(2));
    pairs.filter(|(_, pair)| pair[0].group != pair[1].group).map(|(index, _)| index).collect()
}
