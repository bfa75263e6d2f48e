//! An agent on the board: whether it is given jobs. It may be paused or quarantined.
//!
//! The curator counts panics against the intensity of an agent, and tells the board the verdict. Pure: no
//! I/O, no clock.

use std::time::Duration;

use super::backlog::Reading;
use super::pace::{AHEAD_MAX, Pace};
use super::queue::{Queue, Standing};
use super::ready::Runs;
use super::run::Motion;
use super::{Board, Due, Effect};
use crate::id::{AgentIndex, AgentName};
use crate::outcome::Quarantine;
use crate::time::Timestamp;

/// The state of one agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) name: AgentName,
    pub(super) queue: Queue,
    /// Jobs that ended.
    pub(super) ended: u64,
    /// Engines that panicked.
    pub(super) restarts: u64,
    /// When the work that waits longest will have waited too long, as far as a deadline stands for it.
    pub(super) armed: Option<Timestamp>,
    /// Jobs that back off.
    pub(super) backing_off: usize,
    pub(super) reading: Reading,
    pub(super) pace: Pace,
    /// How many of the next starts are recorded before their jobs go to the agent.
    pub(super) recorded_first: u32,
    /// It may have something to start.
    pub(super) is_touched: bool,
}

impl Board {
    /// Lets jobs of an agent wait this long for a slot. Called before anything is on the board.
    ///
    /// The time counts from when the inputs were complete, or from the end of the back-off for a further
    /// attempt. It begins anew when the agent is resumed, and when the board starts jobs again after
    /// [`Input::Unhold`](crate::input::Input) or `StoreUp`.
    pub fn set_queue_timeout(&mut self, agent: AgentIndex, timeout: Duration) {
        self.agents[agent.at()].queue.set_timeout(timeout);
    }

    /// Has the next starts of every agent recorded before their jobs go to it: as many as can have been under
    /// way, without a record, when the process before died. So the board learns of a job that the process
    /// dies of; and after a time in which the store refused writes, one is tried before an engine is called.
    /// Called after the agents were added.
    pub fn record_first_starts(&mut self) {
        for agent in &mut self.agents {
            agent.recorded_first = agent.queue.slots().saturating_add(AHEAD_MAX);
        }
    }

    pub(super) fn pause(&mut self, agent: AgentIndex, effects: &mut Vec<Effect>) {
        self.change_standing(agent, |queue| queue.set_paused(true));
        self.recall(agent, effects);
    }

    /// Takes back what an agent was given beyond its slots.
    pub(super) fn recall(&mut self, agent: AgentIndex, effects: &mut Vec<Effect>) {
        if self.agents[agent.at()].queue.excess() > 0 {
            effects.push(Effect::Recall(agent));
        }
    }

    /// Counts an end of the agent, and gives it as many jobs beyond its slots as its pace asks for. None when
    /// jobs may wait for so long only: those would wait unseen.
    pub(super) fn set_pace(&mut self, agent: AgentIndex, is_short: bool) {
        let commits = self.commits;
        let Agent { queue, pace, .. } = &mut self.agents[agent.at()];
        let ahead = pace.count(commits, is_short);
        queue.set_ahead(if queue.has_timeout() { 0 } else { ahead });
    }

    pub(super) fn resume(&mut self, agent: AgentIndex, effects: &mut Vec<Effect>) {
        self.agents[agent.at()].reading.unstick();
        self.change_standing(agent, |queue| queue.set_paused(false));
        self.lift_quarantine(agent, effects);
    }

    pub(super) fn quarantine(
        &mut self,
        agent: AgentIndex,
        quarantine: Quarantine,
        effects: &mut Vec<Effect>,
    ) {
        let before = self.change_standing(agent, |queue| queue.set_quarantine(Some(quarantine)));
        self.disarm_quarantine(agent, before);
        if let Some(at) = quarantine.resumes_at {
            self.deadlines.insert((at, Due::Quarantine(agent)));
        }
        self.recall(agent, effects);
    }

    pub(super) fn lift_quarantine(&mut self, agent: AgentIndex, effects: &mut Vec<Effect>) {
        let before = self.change_standing(agent, |queue| queue.set_quarantine(None));
        if before.is_some() {
            self.disarm_quarantine(agent, before);
            effects.push(Effect::QuarantineLifted(agent));
        }
    }

    fn disarm_quarantine(&mut self, agent: AgentIndex, quarantine: Option<Quarantine>) {
        if let Some(at) = quarantine.and_then(|quarantine| quarantine.resumes_at) {
            self.deadlines.remove(&(at, Due::Quarantine(agent)));
        }
    }

    /// Changes whether an agent is given jobs, and counts what waits for it accordingly.
    fn change_standing<T>(&mut self, agent: AgentIndex, change: impl FnOnce(&mut Queue) -> T) -> T {
        let queue = &mut self.agents[agent.at()].queue;
        let (before, why) = (queue.standing(), queue.closed_by());
        let changed = change(queue);
        let after = queue.standing();
        if before != after {
            queue.restart_timeouts(self.now);
            match (before, after) {
                (Standing::Open, _) => queue.close(self.now),
                (_, Standing::Open) => queue.reopen(why, self.now),
                (Standing::Reopens | Standing::Closed, _) => {}
            }
            let queue = &self.agents[agent.at()].queue;
            let waiting = queue.waiting().filter_map(|ready| self.jobs.get(ready.job));
            let waiting: Vec<Runs> = waiting.map(|job| job.runs.clone()).collect();
            for run in waiting.iter().flat_map(Runs::iter) {
                self.uncount(run, Motion::queued(before), 1);
                self.count(run, Motion::queued(after), 1);
            }
        }
        self.touch_agent(agent);
        self.touch_runs_in_log();
        changed
    }
}
