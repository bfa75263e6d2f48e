//! Runs on the board: their counts, and when nothing of them moves any more.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use super::queue::Standing;
use super::{Board, Due, Effect, JobState, Outcome, Ready, RunId, Tally, Timestamp};
use crate::collect::Entry;
use crate::id::AgentIndex;
use crate::outcome::CloseReason;

/// What the board knows about one run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) workflow: Arc<str>,
    pub(super) tally: Tally,
    /// Jobs that wait for a slot, run or back off.
    jobs: u32,
    /// Jobs that wait for an agent which somebody has to resume.
    parked: u32,
    /// Jobs that wait for the end of a quarantine.
    resting: u32,
    /// Inputs on a timer: in a batch with a deadline, or in an outer join.
    timed: u32,
    /// Inputs that are not visible yet.
    delayed: u32,
    /// A handle exists.
    pub(super) pinned: bool,
    /// No more input will come.
    finishing: bool,
    pub(super) cancelled: bool,
    /// When it is cancelled unless everything of it has an outcome.
    deadline: Option<Timestamp>,
    /// `RunSettled` has been told since the last change.
    pub(super) told: bool,
    /// Claims that are in memory and have no outcome.
    pub(super) held: u64,
    /// The tally is all that there is. If not, claims that the board has not counted may be in the log.
    pub(super) whole: bool,
    /// A recount that was asked for and that nothing has overtaken.
    pub(super) recount: Option<u64>,
}

impl Run {
    pub(super) fn new(workflow: Arc<str>, tally: Tally, whole: bool) -> Self {
        Self {
            workflow,
            tally,
            jobs: 0,
            parked: 0,
            resting: 0,
            timed: 0,
            delayed: 0,
            pinned: false,
            finishing: false,
            cancelled: false,
            deadline: None,
            told: false,
            held: 0,
            whole,
            recount: None,
        }
    }

    /// Counts a claim that was just published and taken in.
    pub(super) fn hold_new(&mut self) {
        self.tally.matched += 1;
        self.held += 1;
        self.recount = None;
    }

    /// Counts an outcome of a claim that was in memory.
    pub(super) fn let_go(&mut self, outcome: &Outcome) {
        self.tally.count(outcome);
        self.held -= 1;
        self.recount = None;
    }

    /// Claims that are known to be in the log only.
    pub(super) fn spilled(&self) -> u64 {
        self.tally.outstanding() - self.held
    }

    /// Tells whether it is remembered although nothing of it is in memory.
    pub(super) fn is_kept(&self) -> bool {
        self.pinned || self.finishing || self.cancelled || self.deadline.is_some()
    }

    /// What moves without further input: jobs, and inputs on a timer or not visible yet.
    pub(super) fn moving(&self) -> u64 {
        u64::from(self.jobs) + u64::from(self.resting) + u64::from(self.timed) + u64::from(self.delayed)
    }

    /// Those of them that are jobs.
    pub(super) fn working(&self) -> u64 {
        u64::from(self.jobs)
    }

    pub(super) fn is_quiescent(&self) -> bool {
        self.moving() == 0
    }

    /// Tells whether whatever collectors hold of a finishing run may be let go: nothing can be added to it any more.
    /// Work that waits for a paused or quarantined agent could still add something; inputs on a timer cannot.
    pub(super) fn may_let_go(&self) -> bool {
        let quiet = self.jobs == 0 && self.parked == 0 && self.resting == 0 && self.delayed == 0;
        self.finishing && quiet && self.tally.outstanding() > 0
    }

    fn is_settled(&self) -> bool {
        self.is_quiescent() && self.parked == 0 && self.tally.outstanding() == 0
    }
}

/// The distinct runs among a job's inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    One(RunId),
    Many(Arc<[RunId]>),
}

impl Runs {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let first = entries.first().map_or(RunId::from_uuid(uuid::Uuid::nil()), |entry| entry.run);
        if entries.iter().all(|entry| entry.run == first) {
            return Self::One(first);
        }
        let mut runs: Vec<RunId> = entries.iter().map(|entry| entry.run).collect();
        runs.sort_unstable();
        runs.dedup();
        Self::Many(runs.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = RunId> + '_ {
        let (one, many) = match self {
            Self::One(run) => (Some(*run), &[][..]),
            Self::Many(runs) => (None, &**runs),
        };
        one.into_iter().chain(many.iter().copied())
    }

    fn is_only(&self, run: RunId) -> bool {
        *self == Self::One(run)
    }
}

impl Board {
    pub(super) fn runs_of(&self, ready: &Ready) -> Runs {
        match ready {
            Ready::New { runs, .. } => runs.clone(),
            Ready::Again { job, .. } => match self.jobs.get(job) {
                Some(job) => job.runs.clone(),
                None => Runs::Many(Arc::from([])),
            },
        }
    }

    pub(super) fn count_job(&mut self, run: RunId) {
        self.moving += 1;
        self.working += 1;
        if let Some(state) = self.runs.get_mut(&run) {
            state.jobs += 1;
        }
    }

    pub(super) fn uncount_job(&mut self, run: RunId) {
        self.moving -= 1;
        self.working -= 1;
        if let Some(state) = self.runs.get_mut(&run) {
            state.jobs -= 1;
        }
        self.touched_runs.push(run);
    }

    /// Counts a job that stands in a queue.
    pub(super) fn count_waiting(&mut self, run: RunId, standing: Standing) {
        match standing {
            Standing::Open => return self.count_job(run),
            Standing::Resting => self.moving += 1,
            Standing::Shut => {}
        }
        if let Some(state) = self.runs.get_mut(&run) {
            let (resting, parked) = if standing == Standing::Resting { (1, 0) } else { (0, 1) };
            state.resting += resting;
            state.parked += parked;
        }
    }

    /// Takes back one [`Board::count_waiting`].
    pub(super) fn uncount_waiting(&mut self, run: RunId, standing: Standing) {
        match standing {
            Standing::Open => return self.uncount_job(run),
            Standing::Resting => self.moving -= 1,
            Standing::Shut => {}
        }
        if let Some(state) = self.runs.get_mut(&run) {
            let (resting, parked) = if standing == Standing::Resting { (1, 0) } else { (0, 1) };
            state.resting -= resting;
            state.parked -= parked;
        }
        self.touched_runs.push(run);
    }

    pub(super) fn count_moving(&mut self, run: RunId, inputs: u32) {
        self.moving += u64::from(inputs);
        if let Some(state) = self.runs.get_mut(&run) {
            state.timed += inputs;
        }
    }

    pub(super) fn uncount_moving(&mut self, run: RunId, inputs: u32) {
        self.moving -= u64::from(inputs);
        if let Some(state) = self.runs.get_mut(&run) {
            state.timed -= inputs;
        }
        self.touched_runs.push(run);
    }

    pub(super) fn count_delayed(&mut self, run: RunId) {
        self.moving += 1;
        if let Some(state) = self.runs.get_mut(&run) {
            state.delayed += 1;
        }
    }

    pub(super) fn uncount_delayed(&mut self, run: RunId) {
        self.moving -= 1;
        if let Some(state) = self.runs.get_mut(&run) {
            state.delayed -= 1;
        }
        self.touched_runs.push(run);
    }

    pub(super) fn release_run(&mut self, run: RunId) {
        if let Some(state) = self.runs.get_mut(&run) {
            state.pinned = false;
            self.touched_runs.push(run);
        }
    }

    pub(super) fn finish_run(&mut self, run: RunId) {
        if let Some(state) = self.runs.get_mut(&run) {
            state.finishing = true;
            self.touched_runs.push(run);
        }
    }

    /// Looks at every run whose counts changed: flushes what a finishing run still holds, tells who came to rest.
    pub(super) fn settle_runs(&mut self, effects: &mut Vec<Effect>) {
        let mut next = 0;
        while let Some(run) = self.touched_runs.get(next).copied() {
            while self.advance_finishing(run, effects) {}
            next += 1;
        }
        let mut touched = std::mem::take(&mut self.touched_runs);
        // One input may touch a run many times; it is told of once.
        touched.sort_unstable();
        touched.dedup();
        for run in touched.drain(..) {
            self.tell_rest(run, effects);
        }
        self.touched_runs = touched;
    }

    /// Tells of a run that came to rest, and forgets it when it is settled and no handle to it is left.
    fn tell_rest(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        if !self.comes_to_rest(run, effects) {
            return;
        }
        let Some(state) = self.runs.get_mut(&run) else { return };
        if state.pinned {
            effects.push(Effect::Quiescent { run, tally: state.tally });
        }
        if state.is_settled() {
            if !state.told && (!state.pinned || state.finishing) {
                state.told = true;
                let workflow = Arc::clone(&state.workflow);
                effects.push(Effect::RunSettled { run, workflow, tally: state.tally });
            }
            if !state.pinned {
                let deadline = self.runs.remove(&run).and_then(|state| state.deadline);
                deadline.map(|at| self.deadlines.remove(&(at, Due::Run(run))));
            }
        }
    }

    /// Lets the first collector that still holds inputs of a finishing run go; tells whether one did.
    ///
    /// One collector at a time, in registration order, and only while nothing else of the run moves: what a collector
    /// releases may end up in a later one, which must then see all of it together.
    fn advance_finishing(&mut self, run: RunId, effects: &mut Vec<Effect>) -> bool {
        if !self.runs.get(&run).is_some_and(|state| state.may_let_go() && self.is_in_memory(state)) {
            return false;
        }
        for index in self.subscription_indices() {
            let mut steps = std::mem::take(&mut self.steps);
            let collector = &mut self.subscriptions[index.at()].collector;
            collector.end_input(run, &mut steps);
            collector.flush(Some(run), CloseReason::EndOfInput, &mut steps);
            let released = !steps.is_empty();
            self.take_steps(index, &mut steps, effects);
            self.steps = steps;
            if released {
                return true;
            }
        }
        false
    }

    pub(super) fn cancel_run(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        self.cancel_in_log(run, effects);
        let Some(state) = self.runs.get_mut(&run) else { return };
        state.cancelled = true;
        self.touched_runs.push(run);
        self.cancel_held(run, effects);
        self.cancel_queued(run, effects);
        self.cancel_jobs(run, effects);
    }

    pub(super) fn set_deadline(&mut self, run: RunId, at: Timestamp) {
        let Some(state) = self.runs.get_mut(&run) else { return };
        if let Some(before) = state.deadline.replace(at) {
            self.deadlines.remove(&(before, Due::Run(run)));
        }
        self.deadlines.insert((at, Due::Run(run)));
    }

    /// Cancels a run whose time is over. What is published in it later is cancelled, too.
    pub(super) fn end_deadline(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        let Some(state) = self.runs.get_mut(&run) else { return };
        state.deadline = None;
        if state.tally.outstanding() > 0 && !state.cancelled {
            let workflow = Arc::clone(&state.workflow);
            effects.push(Effect::RunTimedOut { run, workflow });
        }
        self.cancel_run(run, effects);
    }

    fn cancel_held(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        for index in self.subscription_indices() {
            let collector = &mut self.subscriptions[index.at()].collector;
            let (timed, batch_timed) = (collector.holds_timed(), collector.batches_timed());
            let (held, batched) = collector.withdraw(run);
            self.collected -= (held.len() + batched.len()) as u64;
            for entry in &held {
                if timed {
                    self.uncount_moving(run, 1);
                }
                self.cancel_entry(index, entry, effects);
            }
            if batch_timed {
                self.uncount_moving(run, u32::try_from(batched.len()).unwrap_or(u32::MAX));
            }
            self.cancel_inputs(index, &batched, false, effects);
            self.rearm(index);
        }
        let delayed: Vec<_> =
            self.delayed.iter().filter(|(_, (entry, _))| entry.run == run).map(|(key, _)| *key).collect();
        for key in delayed {
            if let Some((entry, _)) = self.delayed.remove(&key) {
                self.uncount_delayed(run);
                self.settle(key.1, &entry, Outcome::Cancelled, effects);
                self.drop_lost_pairs(key.1, effects);
            }
        }
    }

    fn cancel_queued(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        for agent in 0..self.agents.len() {
            let jobs = &self.jobs;
            let queue = &mut self.agents[agent].queue;
            let standing = queue.standing();
            let taken = queue.take(|ready| match ready {
                Ready::New { runs, .. } => runs.is_only(run),
                Ready::Again { job, .. } => jobs.get(job).is_some_and(|job| job.runs.is_only(run)),
            });
            if !taken.is_empty() {
                self.touched_agents.push(AgentIndex(u32::try_from(agent).unwrap_or(u32::MAX)));
            }
            for (ready, leads_lane) in taken {
                if leads_lane && let Some(lane) = self.lane_of(&ready) {
                    self.agents[agent].queue.leave_lane(&lane, self.now);
                }
                self.uncount_waiting(run, standing);
                match ready {
                    Ready::New { subscription, complete, .. } => {
                        self.cancel_inputs(subscription, &complete.entries, complete.shared, effects);
                    }
                    Ready::Again { job, .. } => self.drop_job(job, effects),
                }
            }
        }
    }

    fn cancel_jobs(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        let mut ids: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.runs.is_only(run)).map(|(id, _)| *id).collect();
        // The map has no order; effects should have one.
        ids.sort_unstable();
        let now = self.now;
        for id in ids {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            match job.state {
                JobState::Running | JobState::Burying if job.cancelling.is_some() => {}
                // Its death is being written; nothing runs that could be stopped.
                JobState::Burying => job.cancelling = Some(now),
                JobState::Running => {
                    job.cancelling = Some(now);
                    effects.push(Effect::Cancel { agent: job.agent, job: id });
                }
                JobState::BackingOff(until) => {
                    self.deadlines.remove(&(until, Due::Job(id)));
                    self.agents[job.agent.at()].backing_off -= 1;
                    self.uncount_job(run);
                    self.leave_lane_of(id);
                    self.drop_job(id, effects);
                }
                JobState::Queued => {}
            }
        }
    }
}
