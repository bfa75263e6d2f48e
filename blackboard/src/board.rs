//! The board: decides what every artifact's claim leads to, and is the only place where an outcome is
//! decided.
//!
//! [`Board::handle`] takes one input and appends effects. It never awaits, reads no clock and logs nothing,
//! so that the hardest logic can be tested in microseconds. The unfinished part of the store, given to a new
//! board, makes it what it was. The curator is its only caller.
//!
//! An artifact takes this way through the files of `board/`:
//!
//! | step | file | next |
//! | --- | --- | --- |
//! | its claims are admitted, or stay in the log until there is room | `admission.rs`, `backlog.rs` | |
//! | a collector holds a claim until a group is complete | `subscription.rs`, `crate::collect` | `pairs.rs` for every pair |
//! | a group is a job in the queue of its agent | `job.rs`, `ready.rs`, `queue.rs` | |
//! | it starts when there is a slot, or is buried when it waited too long | `start.rs` | `poison.rs`, `halt.rs`, `agent.rs` |
//! | the attempt ends: the job is finished, or starts again | `job.rs` | |
//! | the claims of its inputs get an outcome | `outcome.rs` | |
//! | its run is quiescent or settled | `run.rs`, `log_counts.rs` | |
//!
//! Beside the way: `restore.rs` takes in jobs from before a restart, `cancellation.rs` ends a run,
//! `snapshot.rs` shows who waits and why, `audit.rs` checks the counts, `waits.rs` divides the wait of a job
//! for traces.
//!
//! The law that the board keeps, checked by [`Board::audit`]: for every subscription `matched = consumed +
//! expired + discarded + cancelled + dead + outstanding`, and everything outstanding either runs or has a
//! waiting reason. Pure: no I/O, no clock.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::collect::{Collector, Step};
use crate::effect::Effect;
use crate::id::{AgentIndex, AgentName, JobId, JobIndex, JobKey, Offset, RunId, RunIndex, SubscriptionIndex};
use crate::input::Input;
use crate::job::AttemptId;
use crate::outcome::{Outcome, Tally};
use crate::slab::Slab;
use crate::subscription::Subscription;
use crate::time::Timestamp;

mod admission;
mod agent;
mod audit;
mod backlog;
mod cancellation;
mod halt;
mod job;
mod log_counts;
mod outcome;
mod pace;
mod pairs;
mod poison;
mod queue;
mod ready;
mod restore;
mod run;
mod snapshot;
mod start;
mod subscription;
mod waits;

use admission::Delayed;
use agent::Agent;
use backlog::Reading;
use halt::{Halt, HaltReason};
use job::{Job, Recorded};
use log_counts::LogCounts;
use pace::Pace;
use pairs::Pairs;
use poison::PoisonJobs;
use queue::Queue;
use run::Run;
use subscription::SubscriptionState;

pub use snapshot::{AgentStanding, AgentStatus, InLog, RunningJob, RunningState, WaitingFilter};

/// The state machine of one blackboard.
#[derive(Debug, Default)]
pub struct Board {
    agents: Vec<Agent>,
    subscriptions: Vec<SubscriptionState>,
    runs: Slab<RunIndex, Run>,
    /// Where the runs are.
    run_indices: FxHashMap<RunId, RunIndex>,
    /// Complete sets of inputs, from when they are complete to their end.
    jobs: Slab<JobIndex, Job>,
    /// Claims whose visibility rule has a delay.
    delayed: FxHashMap<(SubscriptionIndex, Offset), Delayed>,
    deadlines: BTreeSet<(Timestamp, Due)>,
    /// The time of the input at hand.
    now: Timestamp,
    halt: Halt,
    /// Jobs and timed inputs that will move without further input, over all runs.
    moving: u64,
    /// The jobs among them: queued, running or backing off.
    working: u64,
    /// Claims without an outcome.
    outstanding: u64,
    /// Those of them that collectors hold.
    collected: u64,
    /// Complete groups so far: numbers them, so that work that is put back finds its place again.
    completed: u64,
    /// Jobs that an agent may have in memory before its claims stay in the log; `None` for any number.
    jobs_in_memory_max: Option<usize>,
    log_counts: LogCounts,
    /// Commits so far.
    commits: u64,
    poison: PoisonJobs,
    /// Agents that may have something to start, and runs whose counts changed, since the board concluded
    /// last.
    touched_agents: Vec<AgentIndex>,
    touched_runs: Vec<RunIndex>,
    /// Kept between inputs to save allocations.
    steps: Vec<Step>,
    is_observed: bool,
    tells_settled: bool,
}

/// The owner of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Subscription(SubscriptionIndex),
    Job(JobIndex),
    /// A claim becomes visible.
    Delayed(SubscriptionIndex, Offset),
    /// The end of a quarantine.
    Quarantine(AgentIndex),
    /// The queue time-out of the work that waits longest for the agent.
    Queue(AgentIndex),
    /// The end of a run's time.
    Run(RunIndex),
}

impl Board {
    /// Returns an empty board without agents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has starts carry facts for an observer, and joins that expired reported.
    pub fn observe(&mut self) {
        self.is_observed = true;
    }

    /// Has outcomes told that are committed with their jobs, for as long as somebody listens.
    pub fn tell_settled(&mut self, tells: bool) {
        self.tells_settled = tells;
    }

    /// Adds an agent that may run `concurrency` jobs at a time.
    pub fn add_agent(&mut self, name: AgentName, concurrency: u32) -> AgentIndex {
        let index = AgentIndex(u32::try_from(self.agents.len()).unwrap_or(u32::MAX));
        let queue = Queue::new(concurrency);
        let reading = Reading::default();
        self.agents.push(Agent {
            name,
            queue,
            ended: 0,
            restarts: 0,
            armed: None,
            backing_off: 0,
            reading,
            pace: Pace::default(),
            recorded_first: 0,
            is_touched: false,
        });
        index
    }

    /// Adds a subscription of an agent.
    pub fn add_subscription(&mut self, agent: AgentIndex, subscription: &Subscription) -> SubscriptionIndex {
        let index = SubscriptionIndex(u32::try_from(self.subscriptions.len()).unwrap_or(u32::MAX));
        let ordinal = self.subscriptions.iter().filter(|other| other.agent == agent).count();
        let ordinal = u32::try_from(ordinal).unwrap_or(u32::MAX);
        self.subscriptions.push(SubscriptionState {
            agent,
            ordinal,
            job_key: JobKey::of(&format!("{}/{ordinal}", self.agents[agent.at()].name)),
            collector: Collector::new(subscription),
            by_event_time: subscription.runs_by_event_time(),
            tally: Tally::default(),
            pairs: Pairs::default(),
            armed: None,
            spilled: 0,
            marks: None,
        });
        index
    }

    /// Takes one input at `now` and appends what is to be done about it.
    pub fn handle(&mut self, input: Input, now: Timestamp, effects: &mut Vec<Effect>) {
        self.take(input, now, effects);
        self.conclude(effects);
    }

    /// Appends what follows from the inputs that [`Board::take`] took: what their runs have come to, which
    /// jobs start, and what is to be read.
    pub fn conclude(&mut self, effects: &mut Vec<Effect>) {
        self.settle_runs(effects);
        self.start_jobs(effects);
        self.request_pages(effects);
    }

    /// Takes one input of several that came together. Part of what is to be done about them is told by
    /// [`Board::conclude`] only, once for all of them.
    pub fn take(&mut self, input: Input, now: Timestamp, effects: &mut Vec<Effect>) {
        self.now = now;
        match input {
            Input::Published(published) => self.publish(&published, now, effects),
            Input::Resumed(resumed) => self.resume_job(*resumed, now),
            Input::Redriven { resumed, dead } => self.redrive(*resumed, &dead, effects),
            Input::PairFinished { subscription, inputs, verdict } => {
                self.subscriptions[subscription.at()].pairs.remember(inputs, verdict);
            }
            Input::Marks { subscription, marks } => self.restore_marks(subscription, marks, effects),
            Input::Finished { attempt, verdict, is_short } => {
                self.finish(attempt, (verdict, is_short), effects);
            }
            Input::StartNoted(attempt) => self.change_note(attempt, Job::note_start),
            Input::NoteRefused(attempt) => self.change_note(attempt, Job::forget_note),
            Input::StartRefused(attempt) => self.undo_start(attempt, effects),
            Input::StartDeferred(attempt) => self.defer(attempt, effects),
            Input::Tick => {
                self.retry_reading(effects);
                self.tick(now, effects);
            }
            Input::PinRun { run, workflow, tally } => self.pin_run(run, &workflow, tally),
            Input::ReleaseRun(run) => self.release_run(run),
            Input::FinishRun(run) => self.finish_run(run),
            Input::CancelRun(run) => self.cancel_run(run, effects),
            Input::DeadlineRun { run, at } => self.set_deadline(run, at),
            Input::Pause(agent) => self.pause(agent, effects),
            Input::Resume(agent) => self.resume(agent, effects),
            Input::Restarted(agent) => self.agents[agent.at()].restarts += 1,
            Input::Quarantine { agent, quarantine } => self.quarantine(agent, quarantine, effects),
            Input::StoreDown => {
                self.halt_and_recall(HaltReason::StoreDown, effects);
                self.record_first_starts();
            }
            Input::StoreUp => self.end_halt(HaltReason::StoreDown),
            Input::Hold => self.halt_and_recall(HaltReason::Held, effects),
            Input::Unhold => self.end_halt(HaltReason::Held),
            Input::Flush(reason) => self.flush_all(reason, effects),
            Input::Backlog(backlog) => self.count_backlog(backlog),
            Input::PageLoaded { agent, ticket, claims } => {
                self.load_page(agent, ticket, claims, now, effects)
            }
            Input::PageFailed { agent, ticket } => self.fail_page(agent, ticket),
            Input::PageDamaged { agent, ticket } => self.suspend_reading(agent, ticket),
            Input::Recounted { run, ticket, tally } => self.recounted(run, ticket, tally),
            Input::SpilledCancelled { run, cancelled } => {
                self.spilled_cancelled(run, &cancelled, now, effects);
            }
            Input::CancelRefused(run) => self.cancel_refused(run),
        }
    }

    /// Returns when the board wants an [`Input::Tick`] next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Tells whether this attempt is the one of its job that runs, so that its end may be committed.
    #[must_use]
    pub fn is_current(&self, attempt: AttemptId) -> bool {
        self.job_at(&attempt).is_some()
    }

    /// Tells whether the start of this attempt is recorded, or is being recorded. If so, a release of it has
    /// to be recorded as well.
    #[must_use]
    pub fn is_start_noted(&self, attempt: AttemptId) -> bool {
        self.job_at(&attempt).is_some_and(|job| job.is_noted)
    }

    /// Tells whether the start of this attempt is recorded for sure. If not, the end of the attempt has to
    /// tell the start.
    #[must_use]
    pub fn is_start_recorded(&self, attempt: AttemptId) -> bool {
        self.job_at(&attempt).is_some_and(|job| job.is_noted && job.recorded == Recorded::Yes)
    }

    /// Lists the jobs that were started and have not ended.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.values().filter_map(Job::id)
    }

    /// Tells whether nothing moves: no job waits for a slot, runs or backs off, and no batch is on a timer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.moving == 0 && !self.reads_log()
    }

    /// Tells whether a job waits for a slot, runs or backs off. Unlike [`Board::is_idle`] it does not count
    /// inputs on a timer: a stop waits for work, not for time to pass.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.working > 0 || self.works_on_log()
    }

    /// Tells whether nothing of the run moves: see [`Effect::Quiescent`]. True for a run that the board does
    /// not know.
    #[must_use]
    pub fn is_quiescent(&self, run: RunId) -> bool {
        self.run(run).is_none_or(|state| self.is_run_quiescent(state))
    }

    /// Returns how many claims collectors hold: they wait for other input, or for time to pass.
    #[must_use]
    pub fn collected(&self) -> u64 {
        self.collected
    }

    /// Returns how many claims wait for an agent, run, back off, are not visible yet, or wait in the log
    /// only.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.outstanding - self.collected
    }

    /// Returns how many claims have no outcome, over all subscriptions.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some((deadline, due)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(deadline, due));
            match due {
                Due::Subscription(index) => {
                    self.subscriptions[index.at()].armed = None;
                    self.fire_due(index, now, effects);
                }
                Due::Job(job) => self.end_back_off(job),
                Due::Delayed(index, offset) => self.reveal(index, offset, effects),
                Due::Quarantine(agent) => self.lift_quarantine(agent, effects),
                Due::Queue(agent) => {
                    self.agents[agent.at()].armed = None;
                    self.touch_agent(agent);
                }
                Due::Run(run) => self.end_deadline(run, effects),
            }
        }
    }

    fn agent_indices(&self) -> impl Iterator<Item = AgentIndex> + use<> {
        (0..u32::try_from(self.agents.len()).unwrap_or(u32::MAX)).map(AgentIndex)
    }

    fn subscription_indices(&self) -> impl Iterator<Item = SubscriptionIndex> + use<> {
        (0..u32::try_from(self.subscriptions.len()).unwrap_or(u32::MAX)).map(SubscriptionIndex)
    }

    fn subscriptions_of(&self, agent: AgentIndex) -> impl Iterator<Item = SubscriptionIndex> + use<> {
        let all = (0..).map(SubscriptionIndex).zip(&self.subscriptions);
        let own: Vec<_> = all.filter(|(_, state)| state.agent == agent).map(|(index, _)| index).collect();
        own.into_iter()
    }

    /// Notes that an agent may have something to start.
    fn touch_agent(&mut self, agent: AgentIndex) {
        if !std::mem::replace(&mut self.agents[agent.at()].is_touched, true) {
            self.touched_agents.push(agent);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
