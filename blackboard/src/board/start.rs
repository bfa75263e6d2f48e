//! Starts: which work starts now, which waited too long and is buried, and what becomes of a start that was
//! refused.
//!
//! A refused start holds up nobody else. When the store refuses the start of one job by itself, the job backs
//! off, and its agent goes on with others. The back-off is in memory only, because there is nothing that the
//! store would note. A store that refuses everything halts the board: see `Input::StoreDown`. Pure: no I/O,
//! no clock.

use std::sync::Arc;
use std::time::Duration;

use super::halt::HaltReason;
use super::job::{Job, JobIds, JobState, Recorded, latest, members};
use super::queue::{Late, Standing, Taken};
use super::ready::Runs;
use super::run::Motion;
use super::waits::waits;
use super::{Board, Due, Effect};
use crate::effect::RecordStart;
use crate::id::{AgentIndex, JobId, JobIndex, Key, RunId};
use crate::job::{AttemptId, Observed, Start};
use crate::outcome::{Burial, Overdue};
use crate::time::Timestamp;

/// The first back-off of a job whose start the store refuses; each one is twice the one before. A tenth would
/// fill the log; ten times as much would delay the start after the store has been mended.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);

/// How often it is doubled: up to a good four minutes. Longer, and a store that was mended would seem not to
/// be.
const DOUBLINGS_MAX: u32 = 8;

impl Board {
    /// Puts a job into its agent's queue and counts it as moving, as far as the agent lets it move.
    pub(super) fn enqueue(&mut self, index: JobIndex) {
        let Some(job) = self.jobs.get(index) else { return };
        let (agent, runs) = (job.agent, job.runs.clone());
        let queue = &mut self.agents[agent.at()].queue;
        let standing = queue.standing();
        queue.push(job.ready(index), job.lane());
        for run in runs.iter() {
            self.count(run, Motion::queued(standing), 1);
        }
        self.touch_agent(agent);
    }

    /// Starts what may start, for every agent that was touched.
    pub(super) fn start_jobs(&mut self, effects: &mut Vec<Effect>) {
        if !self.others_may_start(effects) {
            self.halt(HaltReason::RunsAlone);
            self.touched_agents.drain(..).for_each(|agent| self.agents[agent.at()].is_touched = false);
            return;
        }
        if self.halt.waits_for_lone_job() {
            self.end_halt(HaltReason::RunsAlone);
        }
        // A burial may let another job of its agent start, which is touched anew.
        let mut next = 0;
        while let Some(agent) = self.touched_agents.get(next).copied() {
            next += 1;
            self.agents[agent.at()].is_touched = false;
            while self.halt.lets_start()
                && let Some(job) = self.agents[agent.at()].queue.pop()
            {
                self.start(job, effects);
            }
            self.bury_overdue(agent, effects);
        }
        self.touched_agents.clear();
    }

    /// Buries jobs that waited too long for its agent, and arms the deadline of the next.
    fn bury_overdue(&mut self, agent: AgentIndex, effects: &mut Vec<Effect>) {
        while self.halt.lets_start()
            && let Some(Late { job, waited, behind }) = self.agents[agent.at()].queue.pop_overdue(self.now)
        {
            let taken = Taken { job, leads_lane: behind.is_none() };
            let why = Burial::Overdue(self.overdue(agent, waited, behind));
            self.bury(taken, why, effects);
        }
        let next = self.agents[agent.at()].queue.overdue_at().filter(|_| self.halt.lets_start());
        let armed = std::mem::replace(&mut self.agents[agent.at()].armed, next);
        if armed != next {
            armed.map(|at| self.deadlines.remove(&(at, Due::Queue(agent))));
            next.map(|at| self.deadlines.insert((at, Due::Queue(agent))));
        }
    }

    fn overdue(&self, agent: AgentIndex, waited: Duration, behind: Option<Key>) -> Overdue {
        let queue = &self.agents[agent.at()].queue;
        let running = |job: &Job| {
            let runs = job.agent == agent && job.state == JobState::Running;
            job.id().filter(|_| runs).map(|id| (job.since, id))
        };
        let mut jobs: Vec<(Timestamp, JobId)> = self.jobs.values().filter_map(running).collect();
        jobs.sort_unstable();
        jobs.truncate(Overdue::JOBS_MAX);
        Overdue {
            waited,
            taken: queue.running(),
            slots: queue.slots(),
            jobs: jobs.into_iter().map(|(_, id)| id).collect(),
            behind,
        }
    }

    /// Starts an attempt of a job that has just been given a slot.
    pub(super) fn start(&mut self, job: JobIndex, effects: &mut Vec<Effect>) {
        if let Some(start) = self.begin_attempt(job, JobState::Running) {
            let record = self.when_to_record(&start);
            effects.push(Effect::Start { start, record });
        }
    }

    /// Gives up a job that was taken from the queue of its agent.
    pub(super) fn bury(&mut self, taken: Taken, why: Burial, effects: &mut Vec<Effect>) {
        let Taken { job: index, leads_lane } = taken;
        if leads_lane {
            self.leave_lane_of(index);
        } else if let Some(job) = self.jobs.get_mut(index) {
            job.front = Some(self.now);
        }
        if let Some(start) = self.begin_attempt(index, JobState::Burying) {
            self.change_note(start.id(), Job::note_start);
            effects.push(Effect::Bury { start, why: Box::new(why) });
        }
    }

    /// Decides when the start of a job is recorded.
    ///
    /// The inputs of a batch or a join are the board's decision, and the job's identity: recorded before an
    /// engine sees them, they are the same after a restart. One input forms the same job again. Before an
    /// attempt that might end the process, its start is recorded as well.
    fn when_to_record(&mut self, start: &Start) -> RecordStart {
        let early = &mut self.agents[start.agent.at()].recorded_first;
        let is_early = *early > 0;
        *early -= u32::from(is_early);
        let was_formed = !self.subscriptions[start.subscription.at()].collector.is_plain();
        if is_early || start.alone || (was_formed && !self.has_record(start.index)) {
            self.change_note(start.id(), Job::note_start);
            return RecordStart::First;
        }
        RecordStart::Later
    }

    fn has_record(&self, job: JobIndex) -> bool {
        self.jobs.get(job).is_some_and(|job| job.recorded == Recorded::Yes)
    }

    fn begin_attempt(&mut self, index: JobIndex, state: JobState) -> Option<Arc<Start>> {
        let job = self.jobs.get_mut(index)?;
        let waited = (job.since, job.front.take());
        job.attempt += 1;
        job.is_noted = false;
        (job.state, job.since) = (state, self.now);
        if job.ids.is_none() {
            let (at, key) = (latest(&job.group.entries), self.subscriptions[job.subscription.at()].job_key);
            let id = key.job(at, job.group.entries.iter().map(|entry| entry.offset));
            let run = match &job.runs {
                Runs::One(run) => self.runs.get(*run)?.id,
                Runs::Many(_) => id.run(at),
            };
            job.ids = Some(JobIds { job: id, run });
        }
        self.start_of(index, waited)
    }

    fn start_of(&self, index: JobIndex, waited: (Timestamp, Option<Timestamp>)) -> Option<Arc<Start>> {
        let job = self.jobs.get(index)?;
        let JobIds { job: id, run } = job.ids?;
        Some(Arc::new(Start {
            job: id,
            agent: job.agent,
            subscription: job.subscription,
            members: members(&job.group),
            attempt: job.attempt,
            failures: job.failures,
            run,
            opens_run: matches!(job.runs, Runs::Many(_)),
            at: latest(&job.group.entries),
            closed: job.group.closed,
            shared: job.group.shared,
            alone: self.poison.runs_alone(id),
            index,
            observed: self.is_observed.then(|| Box::new(self.observed(job, run, waited))),
        }))
    }

    /// The facts for an observer of a job that has waited since, and came to the front of its key later.
    fn observed(&self, job: &Job, run: RunId, (since, front): (Timestamp, Option<Timestamp>)) -> Observed {
        Observed {
            since,
            first: job.group.entries.iter().map(|entry| entry.since).min().unwrap_or(since),
            waits: waits(since, front, self.closed(job.agent), self.now),
            key: job.group.key.clone(),
            workflow: self.run(run).map(|state| Arc::clone(&state.workflow)),
        }
    }

    /// Takes back a job whose start could not be committed.
    pub(super) fn undo_start(&mut self, attempt: AttemptId, effects: &mut Vec<Effect>) {
        let index = attempt.index;
        let Some(job) = self.jobs.get_mut(index).filter(|job| job.runs_as(&attempt)) else { return };
        let (agent, state) = (job.agent, job.state);
        job.attempt -= 1;
        job.forget_note();
        if job.cancelling.is_some() {
            self.stop_counting(index);
            self.drop_job(index, effects);
        } else {
            self.requeue(index);
        }
        self.release_slot(agent, state);
    }

    /// Takes back a job whose start, and nothing else, was refused; it is tried again later.
    pub(super) fn defer(&mut self, attempt: AttemptId, effects: &mut Vec<Effect>) {
        let (index, now) = (attempt.index, self.now);
        let runs = |job: &&mut Job| {
            job.runs_as(&attempt) && job.state == JobState::Running && job.cancelling.is_none()
        };
        let Some(job) = self.jobs.get_mut(index).filter(runs) else {
            // A cancelled job ends. A job that waited too long waits for the queue time-out anew.
            return self.undo_start(attempt, effects);
        };
        let until = now.after(BACK_OFF_FIRST.saturating_mul(1 << job.refusals.min(DOUBLINGS_MAX)));
        job.attempt -= 1;
        job.refusals += 1;
        job.forget_note();
        (job.state, job.since) = (JobState::BackingOff(until), now);
        let agent = job.agent;
        self.begin_back_off(agent, index, until);
        self.release_slot(agent, JobState::Running);
    }

    /// Puts a job back in front of its agent's queue for another attempt. It still holds its lane, unless it
    /// was to be buried.
    pub(super) fn requeue(&mut self, index: JobIndex) {
        let Some(job) = self.jobs.get_mut(index) else { return };
        let state = std::mem::replace(&mut job.state, JobState::Queued);
        job.since = self.now;
        let (agent, runs, ready) = (job.agent, job.runs.clone(), job.ready(index));
        let queue = &mut self.agents[agent.at()].queue;
        match state {
            JobState::Burying => queue.push(ready, job.lane()),
            JobState::Running | JobState::Queued | JobState::BackingOff(_) => queue.put_back(ready),
        }
        self.recount_waiting(agent, &runs);
        self.touch_agent(agent);
    }

    /// Counts work that was put back as moving only as far as its agent lets it move.
    fn recount_waiting(&mut self, agent: AgentIndex, runs: &Runs) {
        let standing = self.agents[agent.at()].queue.standing();
        for run in runs.iter().filter(|_| standing != Standing::Open) {
            self.uncount(run, Motion::Job, 1);
            self.count(run, Motion::queued(standing), 1);
        }
    }

    /// Frees the lane of a job for the next in it.
    pub(super) fn leave_lane_of(&mut self, index: JobIndex) {
        let Some(job) = self.jobs.get(index).filter(|job| job.state != JobState::Burying) else { return };
        let Some(lane) = job.lane() else { return };
        let agent = job.agent;
        if let Some(next) = self.agents[agent.at()].queue.leave_lane(&lane)
            && let Some(next) = self.jobs.get_mut(next)
        {
            next.front = Some(self.now);
        }
        self.touch_agent(agent);
    }
}
