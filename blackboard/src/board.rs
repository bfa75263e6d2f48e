//! The board: decides what every artifact's claim leads to, and is the only place where an outcome is decided.
//!
//! [`Board::handle`] takes one input and appends effects; it never awaits, reads no clock and logs nothing, so that the
//! hardest logic can be tested in microseconds. What it holds can be rebuilt by feeding it the unfinished part of the
//! store again. The curator is its only caller. Pure: no I/O, no clock.
//!
//! The law it keeps, checked by [`Board::audit`]: for every subscription
//! `matched = consumed + expired + discarded + cancelled + dead + outstanding`, and everything outstanding either runs
//! or has a waiting reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::claim::Settled;
use crate::collect::{Collector, Complete, Entry, Step};
use crate::effect::Effect;
use crate::id::{AgentIndex, AgentName, JobId, Key, Offset, RunId, SubscriptionIndex};
use crate::input::Input;
use crate::job::{Aside, PairVerdict, Resumed, Start, Verdict, WaitsFor};
use crate::marks::Marks;
use crate::outcome::{CloseReason, Outcome, Tally};
use crate::subscription::Subscription;
use crate::time::Timestamp;

mod alone;
mod audit;
mod deferring;
mod intake;
mod job;
mod ledger;
mod pairs;
mod queue;
mod redrive;
mod run;
mod snapshot;
mod standing;
mod waits;
mod window;

use alone::Suspects;
use job::{Job, JobState};
use ledger::Ledger;
use pairs::Uses;
use queue::{Queue, Ready};
use run::{Run, Runs};
use window::Reading;

pub use snapshot::{AgentStanding, AgentStatus, RunningJob, RunningState, WaitingFilter};
pub use window::InLog;

/// The state machine of one blackboard.
#[derive(Debug, Default)]
pub struct Board {
    agents: Vec<Agent>,
    subscriptions: Vec<Collecting>,
    runs: FxHashMap<RunId, Run>,
    jobs: FxHashMap<JobId, Job>,
    /// Claims whose visibility rule has a delay.
    delayed: BTreeMap<(Timestamp, SubscriptionIndex, Offset), (Entry, Option<Key>)>,
    deadlines: BTreeSet<(Timestamp, Due)>,
    /// The time of the input at hand.
    now: Timestamp,
    held: bool,
    store_down: bool,
    /// Since when nothing at all may start, and why.
    halted: Option<(Timestamp, WaitsFor)>,
    /// Jobs and timed inputs that will move without further input, over all runs.
    moving: u64,
    /// The jobs among them: queued, running or backing off.
    working: u64,
    /// Claims without an outcome.
    outstanding: u64,
    /// Those of them that collectors hold.
    collected: u64,
    /// Complete sets of inputs so far: numbers them, so that one that is handed back finds its place again.
    completed: u64,
    /// Jobs that an agent may have in memory before its claims stay in the log; `None` for any number.
    window: Option<usize>,
    ledger: Ledger,
    suspects: Suspects,
    /// Agents that may have something to start, and runs whose counts changed, within one input.
    touched_agents: Vec<AgentIndex>,
    touched_runs: Vec<RunId>,
    /// Kept between inputs to save allocations.
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Agent {
    name: AgentName,
    queue: Queue,
    /// Jobs that ended.
    ended: u64,
    /// Engines that panicked.
    restarts: u64,
    /// When the piece that waits longest will have waited too long, as far as a deadline stands for it.
    armed: Option<Timestamp>,
    /// Jobs that back off.
    backing_off: usize,
    reading: Reading,
}

/// One subscription's collector and counts.
#[derive(Debug)]
struct Collecting {
    agent: AgentIndex,
    /// Which of the agent's subscriptions, counted from 0.
    ordinal: u32,
    /// Stable name: part of every job's identity.
    name: Arc<str>,
    collector: Collector,
    by_event_time: bool,
    tally: Tally,
    uses: Uses,
    armed: Option<Timestamp>,
    /// Claims that are in the log only.
    spilled: u64,
    /// How far the log had come before a restart, kept until the agent is level with it.
    marks: Option<Marks>,
}

/// What a deadline belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Subscription(SubscriptionIndex),
    Job(JobId),
    Delayed,
    /// The end of a quarantine.
    Quarantine(AgentIndex),
    /// The end of the patience of what waits for the agent.
    Queue(AgentIndex),
    /// The end of a run's time.
    Run(RunId),
    /// An agent that was away is tried again.
    Return(AgentIndex),
}

impl Board {
    /// Returns an empty board without agents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an agent that may run `concurrency` jobs at a time.
    pub fn add_agent(&mut self, name: AgentName, concurrency: u32) -> AgentIndex {
        let index = AgentIndex(u32::try_from(self.agents.len()).unwrap_or(u32::MAX));
        let queue = Queue::new(concurrency);
        let reading = Reading::default();
        self.agents.push(Agent { name, queue, ended: 0, restarts: 0, armed: None, backing_off: 0, reading });
        index
    }

    /// Adds a subscription of an agent.
    pub fn add_subscription(&mut self, agent: AgentIndex, subscription: &Subscription) -> SubscriptionIndex {
        let index = SubscriptionIndex(u32::try_from(self.subscriptions.len()).unwrap_or(u32::MAX));
        let ordinal = self.subscriptions.iter().filter(|other| other.agent == agent).count();
        let ordinal = u32::try_from(ordinal).unwrap_or(u32::MAX);
        self.subscriptions.push(Collecting {
            agent,
            ordinal,
            name: Arc::from(format!("{}/{ordinal}", self.agents[agent.at()].name)),
            collector: Collector::new(subscription),
            by_event_time: subscription.runs_by_event_time(),
            tally: Tally::default(),
            uses: Uses::default(),
            armed: None,
            spilled: 0,
            marks: None,
        });
        index
    }

    /// Takes one input at `now` and appends what is to be done about it.
    pub fn handle(&mut self, input: Input, now: Timestamp, effects: &mut Vec<Effect>) {
        self.now = now;
        match input {
            Input::Published(published) => self.publish(&published, now, effects),
            Input::Resumed(resumed) => self.resume_job(resumed, now),
            Input::Redriven { resumed, dead } => self.redrive(resumed, &dead, effects),
            Input::PairFinished { subscription, job, verdict } => {
                self.remember_pair(subscription, job, verdict);
            }
            Input::Marks { subscription, marks } => self.meet_marks(subscription, marks, effects),
            Input::Finished { job, attempt, verdict } => self.finish(job, attempt, verdict, effects),
            Input::StartRefused(job) => self.hand_back(job, effects),
            Input::StartDeferred(job) => self.defer(job, effects),
            Input::AgentUnavailable { agent, until } => self.send_away(agent, until),
            Input::Tick => {
                self.read_again(effects);
                self.tick(now, effects);
            }
            Input::PinRun { run, workflow, tally } => self.pin_run(run, &workflow, tally),
            Input::ReleaseRun(run) => self.release_run(run),
            Input::FinishRun(run) => self.finish_run(run),
            Input::CancelRun(run) => self.cancel_run(run, effects),
            Input::DeadlineRun { run, at } => self.set_deadline(run, at),
            Input::Pause(agent) => self.pause(agent),
            Input::Resume(agent) => self.resume(agent, effects),
            Input::Restarted(agent) => self.agents[agent.at()].restarts += 1,
            Input::Quarantine { agent, quarantine } => self.quarantine(agent, quarantine),
            Input::StoreDown => {
                self.store_down = true;
                self.halt(WaitsFor::Store);
            }
            Input::StoreUp => {
                self.store_down = false;
                self.start_again();
            }
            Input::Hold => {
                self.held = true;
                self.halt(WaitsFor::Store);
            }
            Input::Unhold => {
                self.held = false;
                self.start_again();
            }
            Input::Flush(reason) => self.flush_all(reason, effects),
            Input::Backlog(backlog) => self.meet_backlog(backlog),
            Input::PageLoaded { agent, ticket, claims } => self.page_in(agent, ticket, claims, now, effects),
            Input::PageFailed { agent, ticket } => self.fail_page(agent, ticket),
            Input::PageDamaged { agent, ticket } => self.hold_page(agent, ticket),
            Input::Recounted { run, ticket, tally } => self.recounted(run, ticket, tally),
            Input::SpilledCancelled { run, cancelled } => {
                self.spilled_cancelled(run, &cancelled, now, effects);
            }
            Input::CancelRefused(run) => self.cancel_refused(run),
        }
        self.settle_runs(effects);
        self.start_jobs(effects);
        self.ask_pages(effects);
    }

    /// Returns when the board wants an [`Input::Tick`] next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Tells whether this attempt of the job is the one that runs, so that its end may be committed.
    #[must_use]
    pub fn is_current(&self, job: JobId, attempt: u32) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.is_running(attempt))
    }

    /// Tells whether the job is on the board: it was started and has not ended.
    #[must_use]
    pub fn has_job(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    /// Tells whether nothing moves: no job waits for a slot, runs or backs off, and no batch is on a timer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.moving == 0 && !self.reads_log()
    }

    /// Tells whether a job waits for a slot, runs or backs off. Unlike [`Board::is_idle`] it does not count inputs on a
    /// timer: a stop waits for work, not for time to pass.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.working > 0 || self.works_on_log()
    }

    /// Tells whether nothing of the run moves: see [`Effect::Quiescent`]. True for a run that the board does not know.
    #[must_use]
    pub fn is_quiescent(&self, run: RunId) -> bool {
        self.runs.get(&run).is_none_or(|state| self.is_at_rest(state))
    }

    /// Returns how many claims collectors hold: they wait for other input, or for time to pass.
    #[must_use]
    pub fn collected(&self) -> u64 {
        self.collected
    }

    /// Returns how many claims wait for an agent, run, back off, are not visible yet, or wait in the log only.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.outstanding - self.collected
    }

    /// Returns how many claims have no outcome, over all subscriptions.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Carries out what a collector yielded, and re-arms its deadline.
    fn take_steps(&mut self, index: SubscriptionIndex, steps: &mut Vec<Step>, effects: &mut Vec<Effect>) {
        let mut told = FxHashSet::default();
        for step in steps.drain(..) {
            match step {
                Step::Complete(complete) => self.complete(index, complete, effects),
                Step::Batched { run } => self.enter_batch(index, run),
                Step::Left(entry, expiry, company) => {
                    self.collected -= 1;
                    if self.subscriptions[index.at()].collector.holds_timed() {
                        self.uncount_moving(entry.run, 1);
                    }
                    self.expire(index, &entry, (expiry, company), &mut told, effects);
                }
            }
        }
        self.rearm(index);
    }

    fn enter_batch(&mut self, index: SubscriptionIndex, run: RunId) {
        let collector = &self.subscriptions[index.at()].collector;
        match (collector.holds_timed(), collector.batches_timed()) {
            (true, false) => self.uncount_moving(run, 1),
            (false, true) => self.count_moving(run, 1),
            (true, true) | (false, false) => {}
        }
    }

    /// Queues a complete set of inputs as a job to come.
    fn complete(&mut self, index: SubscriptionIndex, complete: Complete, effects: &mut Vec<Effect>) {
        if !complete.shared {
            self.collected -= complete.entries.len() as u64;
        }
        let subscription = &mut self.subscriptions[index.at()];
        let collector = &subscription.collector;
        let batched = complete.closed.is_some();
        let timed = if batched { collector.batches_timed() } else { collector.holds_timed() };
        if complete.shared {
            for entry in &complete.entries {
                subscription.uses.begin(entry);
            }
        }
        let agent = subscription.agent;
        if timed {
            for entry in &complete.entries {
                self.uncount_moving(entry.run, 1);
            }
        }
        let Some(complete) = self.recognise(index, complete, effects) else { return };
        let runs = Runs::of(&complete.entries);
        self.completed += 1;
        self.enqueue(
            agent,
            Ready::New {
                subscription: index,
                complete,
                runs,
                order: self.completed,
                since: self.now,
                front: None,
            },
        );
    }

    /// Puts work into its agent's queue and counts it as moving, as far as the agent lets it move.
    fn enqueue(&mut self, agent: AgentIndex, ready: Ready) {
        let runs = self.runs_of(&ready);
        let lane = self.lane_of(&ready);
        let queue = &mut self.agents[agent.at()].queue;
        let standing = queue.standing();
        queue.push(ready, lane);
        for run in runs.iter() {
            self.count_waiting(run, standing);
        }
        self.touched_agents_push(agent);
    }

    fn start_jobs(&mut self, effects: &mut Vec<Effect>) {
        if !self.others_may_start(effects) {
            self.suspects.shut = true;
            self.halt(WaitsFor::Alone);
            self.touched_agents.clear();
            return;
        }
        if std::mem::take(&mut self.suspects.shut) {
            self.start_again();
        }
        let mut touched = std::mem::take(&mut self.touched_agents);
        for agent in touched.drain(..) {
            while self.may_start()
                && let Some(ready) = self.agents[agent.at()].queue.pop()
            {
                let start = self.start(agent, ready, JobState::Running);
                if let Some(start) = start {
                    effects.push(Effect::Start(Arc::new(start)));
                }
            }
            self.bury_overdue(agent, effects);
        }
        self.touched_agents = touched;
    }

    fn rearm(&mut self, index: SubscriptionIndex) {
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

    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some((deadline, due)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(deadline, due));
            match due {
                Due::Subscription(index) => {
                    self.subscriptions[index.at()].armed = None;
                    self.let_due_go(index, now, effects);
                }
                Due::Job(job) => self.end_back_off(job),
                Due::Delayed => self.reveal(now, effects),
                Due::Quarantine(agent) => self.lift_quarantine(agent, effects),
                Due::Queue(agent) => {
                    self.agents[agent.at()].armed = None;
                    self.touched_agents_push(agent);
                }
                Due::Run(run) => self.end_deadline(run, effects),
                Due::Return(agent) => self.let_return(agent),
            }
        }
    }

    fn let_due_go(&mut self, index: SubscriptionIndex, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut steps = std::mem::take(&mut self.steps);
        self.subscriptions[index.at()].collector.due(now, &mut steps);
        self.take_steps(index, &mut steps, effects);
        self.steps = steps;
    }

    /// Offers what has become visible.
    fn reveal(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some(first) = self.delayed.first_entry() {
            let (opens, index, _) = *first.key();
            if opens > now {
                break;
            }
            let (entry, key) = first.remove();
            let run = entry.run;
            self.offer(index, entry, key, effects);
            self.uncount_delayed(run);
            self.drop_lost_pairs(index, effects);
        }
    }

    fn flush_all(&mut self, reason: CloseReason, effects: &mut Vec<Effect>) {
        for index in self.subscription_indices() {
            let mut steps = std::mem::take(&mut self.steps);
            self.subscriptions[index.at()].collector.flush(None, reason, &mut steps);
            self.take_steps(index, &mut steps, effects);
            self.steps = steps;
        }
    }

    fn subscription_indices(&self) -> impl Iterator<Item = SubscriptionIndex> + use<> {
        (0..u32::try_from(self.subscriptions.len()).unwrap_or(u32::MAX)).map(SubscriptionIndex)
    }

    /// Decides an outcome that needs a record of its own.
    fn settle(
        &mut self,
        index: SubscriptionIndex,
        entry: &Entry,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let settled = self.count_outcome(index, (entry.offset, entry.side), entry.run, outcome);
        effects.push(Effect::Settle(settled));
    }

    fn count_outcome(
        &mut self,
        index: SubscriptionIndex,
        (offset, side): (Offset, u16),
        run: RunId,
        outcome: Outcome,
    ) -> Settled {
        self.subscriptions[index.at()].tally.count(&outcome);
        self.outstanding -= 1;
        if let Some(state) = self.runs.get_mut(&run) {
            state.let_go(&outcome);
        }
        self.touched_runs.push(run);
        Settled { subscription: index, offset, run, side, outcome }
    }
}

#[cfg(test)]
pub(crate) mod tests;
