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
use super::job::{Job, JobState, Recorded, latest, members};
use super::queue::{Late, Standing, Taken};
use super::ready::{Lane, Ready, Runs, Work, lane_in};
use super::run::Motion;
use super::waits::waits;
use super::{Board, Due, Effect};
use crate::collect::Group;
use crate::effect::RecordStart;
use crate::id::{AgentIndex, JobId, Key, SubscriptionIndex};
use crate::job::{Observed, Start};
use crate::outcome::{Burial, Overdue};
use crate::time::Timestamp;

/// The first back-off of a job whose start the store refuses; each one is twice the one before. A tenth would
/// fill the log; ten times as much would delay the start after the store has been mended.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);

/// How often it is doubled: up to a good four minutes. Longer, and a store that was mended would seem not to
/// be.
const DOUBLINGS_MAX: u32 = 8;

impl Board {
    /// Puts work into its agent's queue and counts it as moving, as far as the agent lets it move.
    pub(super) fn enqueue(&mut self, agent: AgentIndex, ready: Ready) {
        let runs = self.runs_of(&ready);
        let lane = self.lane_of(&ready);
        let queue = &mut self.agents[agent.at()].queue;
        let standing = queue.standing();
        queue.push(ready, lane);
        for run in runs.iter() {
            self.count(run, Motion::queued(standing), 1);
        }
        self.touch_agent(agent);
    }

    /// Starts what may start, for every agent that was touched.
    pub(super) fn start_jobs(&mut self, effects: &mut Vec<Effect>) {
        if !self.others_may_start(effects) {
            self.halt(HaltReason::RunsAlone);
            self.touched_agents.clear();
            return;
        }
        if self.halt.waits_for_lone_job() {
            self.end_halt(HaltReason::RunsAlone);
        }
        let mut touched = std::mem::take(&mut self.touched_agents);
        for agent in touched.drain(..) {
            while self.halt.lets_start()
                && let Some(ready) = self.agents[agent.at()].queue.pop()
            {
                self.start(agent, ready, effects);
            }
            self.bury_overdue(agent, effects);
        }
        self.touched_agents = touched;
    }

    /// Buries work that waited too long for its agent, and arms the deadline of the next.
    fn bury_overdue(&mut self, agent: AgentIndex, effects: &mut Vec<Effect>) {
        while self.halt.lets_start()
            && let Some(Late { ready, waited, behind }) = self.agents[agent.at()].queue.pop_overdue(self.now)
        {
            let taken = Taken { ready, leads_lane: behind.is_none() };
            let why = Burial::Overdue(self.overdue(agent, waited, behind));
            self.bury(agent, taken, why, effects);
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
        let running = |(id, job): (&JobId, &super::Job)| {
            (job.agent == agent && job.state == JobState::Running).then_some((job.since, *id))
        };
        let mut jobs: Vec<(Timestamp, JobId)> = self.jobs.iter().filter_map(running).collect();
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

    /// Starts an attempt with work that has just been given a slot.
    pub(super) fn start(&mut self, agent: AgentIndex, ready: Ready, effects: &mut Vec<Effect>) {
        if let Some(start) = self.begin_attempt(agent, ready, JobState::Running) {
            let record = self.when_to_record(&start);
            effects.push(Effect::Start { start: Arc::new(start), record });
        }
    }

    /// Gives up work that was taken from the queue of an agent.
    pub(super) fn bury(&mut self, agent: AgentIndex, taken: Taken, why: Burial, effects: &mut Vec<Effect>) {
        let Taken { mut ready, leads_lane } = taken;
        if !leads_lane {
            ready.front = Some(self.now);
        } else if let Some(lane) = self.lane_of(&ready) {
            self.agents[agent.at()].queue.leave_lane(&lane, self.now);
        }
        if let Some(start) = self.begin_attempt(agent, ready, JobState::Burying) {
            self.change_note(start.job, Job::note_start);
            effects.push(Effect::Bury { start: Arc::new(start), why: Box::new(why) });
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
        if is_early || start.alone || (was_formed && !self.has_record(start.job)) {
            self.change_note(start.job, Job::note_start);
            return RecordStart::First;
        }
        RecordStart::Later
    }

    fn has_record(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.recorded == Recorded::Yes)
    }

    fn begin_attempt(&mut self, agent: AgentIndex, ready: Ready, state: JobState) -> Option<Start> {
        let (since, waited) = (self.now, (ready.since, ready.front));
        let id = match ready.work {
            Work::New { subscription, group, runs } => {
                let id = self.job_id(subscription, &group);
                let run = match &runs {
                    Runs::One(run) => *run,
                    Runs::Many(_) => id.run(latest(&group.entries)),
                };
                let job = Job {
                    agent,
                    subscription,
                    group,
                    runs,
                    run,
                    order: ready.order,
                    attempt: 1,
                    failures: 0,
                    refusals: 0,
                    state,
                    since,
                    cancelling: None,
                    recorded: Recorded::No,
                    is_noted: false,
                };
                self.jobs.insert(id, job);
                id
            }
            Work::Again(id) => {
                let job = self.jobs.get_mut(&id)?;
                job.attempt += 1;
                job.is_noted = false;
                (job.state, job.since) = (state, since);
                id
            }
        };
        self.start_of(id, waited)
    }

    fn start_of(&self, id: JobId, waited: (Timestamp, Option<Timestamp>)) -> Option<Start> {
        let job = self.jobs.get(&id)?;
        let at = latest(&job.group.entries);
        Some(Start {
            job: id,
            agent: job.agent,
            subscription: job.subscription,
            members: members(&job.group),
            attempt: job.attempt,
            failures: job.failures,
            run: job.run,
            opens_run: matches!(job.runs, Runs::Many(_)),
            at,
            closed: job.group.closed,
            shared: job.group.shared,
            alone: self.poison.runs_alone(id),
            observed: self.is_observed.then(|| Box::new(self.observed(job, waited))),
        })
    }

    /// The facts for an observer of a job that has waited since, and came to the front of its key later.
    fn observed(&self, job: &Job, (since, front): (Timestamp, Option<Timestamp>)) -> Observed {
        Observed {
            since,
            first: job.group.entries.iter().map(|entry| entry.since).min().unwrap_or(since),
            waits: waits(since, front, self.closed(job.agent), self.now),
            key: job.group.key.clone(),
            workflow: self.runs.get(&job.run).map(|state| Arc::clone(&state.workflow)),
        }
    }

    fn job_id(&self, subscription: SubscriptionIndex, group: &Group) -> JobId {
        let offsets = group.entries.iter().map(|entry| entry.offset);
        self.subscriptions[subscription.at()].job_key.job(latest(&group.entries), offsets)
    }

    /// Takes back a job whose start could not be committed.
    pub(super) fn undo_start(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.is_out()) else { return };
        let (agent, state) = (job.agent, job.state);
        job.attempt -= 1;
        job.forget_note();
        let was_started = job.attempt > 0 || job.recorded == Recorded::Yes;
        let cancelling = job.cancelling.is_some();
        if cancelling {
            self.stop_counting(id);
        }
        if was_started && cancelling {
            self.drop_job(id, effects);
        } else if was_started {
            self.requeue(id);
        } else if let Some(job) = self.jobs.remove(&id) {
            let Job { subscription, group, runs, order, .. } = job;
            if cancelling {
                self.cancel_group(subscription, &group, effects);
            } else {
                let work = Work::New { subscription, group, runs: runs.clone() };
                self.put_back(agent, Ready::new(work, order, self.now), state);
                self.recount_waiting(agent, &runs);
            }
        }
        self.release_slot(agent, state);
    }

    /// Takes back a job whose start, and nothing else, was refused; it is tried again later.
    pub(super) fn defer(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let now = self.now;
        let runs = |job: &&mut super::Job| job.state == JobState::Running && job.cancelling.is_none();
        let Some(job) = self.jobs.get_mut(&id).filter(runs) else {
            // A cancelled job ends. A job that waited too long waits for the queue time-out anew.
            return self.undo_start(id, effects);
        };
        let until = now.after(BACK_OFF_FIRST.saturating_mul(1 << job.refusals.min(DOUBLINGS_MAX)));
        job.attempt -= 1;
        job.refusals += 1;
        job.forget_note();
        (job.state, job.since) = (JobState::BackingOff(until), now);
        let agent = job.agent;
        self.begin_back_off(agent, id, until);
        self.release_slot(agent, JobState::Running);
    }

    /// Puts a job back in front of its agent's queue for another attempt.
    pub(super) fn requeue(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (state, since) = (std::mem::replace(&mut job.state, JobState::Queued), self.now);
        job.since = since;
        let (agent, runs, order) = (job.agent, job.runs.clone(), job.order);
        self.put_back(agent, Ready::new(Work::Again(id), order, since), state);
        self.recount_waiting(agent, &runs);
        self.touch_agent(agent);
    }

    /// Puts work that its agent had back in its place in the queue. It still holds its lane, unless it was to
    /// be buried.
    fn put_back(&mut self, agent: AgentIndex, ready: Ready, state: JobState) {
        if state == JobState::Burying {
            let lane = self.lane_of(&ready);
            self.agents[agent.at()].queue.push(ready, lane);
        } else {
            self.agents[agent.at()].queue.put_back(ready);
        }
    }

    /// Counts work that was put back as moving only as far as its agent lets it move.
    fn recount_waiting(&mut self, agent: AgentIndex, runs: &Runs) {
        let standing = self.agents[agent.at()].queue.standing();
        for run in runs.iter().filter(|_| standing != Standing::Open) {
            self.uncount(run, Motion::Job, 1);
            self.count(run, Motion::queued(standing), 1);
        }
    }

    pub(super) fn runs_of(&self, ready: &Ready) -> Runs {
        match &ready.work {
            Work::New { runs, .. } => runs.clone(),
            Work::Again(job) => match self.jobs.get(job) {
                Some(job) => job.runs.clone(),
                None => Runs::Many(Arc::from([])),
            },
        }
    }

    pub(super) fn lane_of(&self, ready: &Ready) -> Option<Lane> {
        match &ready.work {
            Work::New { subscription, group, .. } => lane_in(*subscription, group),
            Work::Again(job) => self.lane_of_job(*job),
        }
    }

    pub(super) fn lane_of_job(&self, id: JobId) -> Option<Lane> {
        self.jobs.get(&id).and_then(|job| lane_in(job.subscription, &job.group))
    }

    pub(super) fn leave_lane_of(&mut self, id: JobId) {
        let Some(lane) = self.lane_of_job(id) else { return };
        if let Some(job) = self.jobs.get(&id).filter(|job| job.state != JobState::Burying) {
            let agent = job.agent;
            self.agents[agent.at()].queue.leave_lane(&lane, self.now);
            self.touch_agent(agent);
        }
    }
}
