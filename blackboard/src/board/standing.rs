//! Whether an agent is given jobs: pause, quarantine, and what becomes of jobs that wait too long for a slot.
//!
//! Counting panics against an agent's intensity is not done here; the curator does that and tells the verdict. Pure: no
//! I/O, no clock.

use std::sync::Arc;
use std::time::Duration;

use super::queue::{Late, Queue, Standing};
use super::run::Runs;
use super::waits::Closed;
use super::{Board, Due, Effect, JobState};
use crate::id::{AgentIndex, JobId, Key};
use crate::job::WaitsFor;
use crate::outcome::{Burial, Overdue, Quarantine};
use crate::time::Timestamp;

impl Board {
    /// Lets jobs of an agent wait this long for a slot. Called before anything is on the board.
    ///
    /// The time counts from when the inputs were complete, or from the end of the back-off for a further attempt. It begins
    /// anew when the agent is resumed, and when the board starts jobs again after [`Input::Unhold`](crate::input::Input) or
    /// `StoreUp`.
    pub fn set_queue_timeout(&mut self, agent: AgentIndex, timeout: Duration) {
        self.agents[agent.at()].queue.set_patience(timeout);
    }

    pub(super) fn pause(&mut self, agent: AgentIndex) {
        self.change_standing(agent, |queue| queue.set_paused(true));
    }

    pub(super) fn resume(&mut self, agent: AgentIndex, effects: &mut Vec<Effect>) {
        self.agents[agent.at()].reading.unstick();
        self.change_standing(agent, |queue| queue.set_paused(false));
        self.lift_quarantine(agent, effects);
    }

    pub(super) fn quarantine(&mut self, agent: AgentIndex, quarantine: Quarantine) {
        let before = self.change_standing(agent, |queue| queue.set_quarantine(Some(quarantine)));
        self.disarm_quarantine(agent, before);
        if let Some(at) = quarantine.resumes_at {
            self.deadlines.insert((at, Due::Quarantine(agent)));
        }
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
            queue.restart_clocks(self.now);
            match (before, after) {
                (Standing::Open, _) => queue.close(self.now),
                (_, Standing::Open) => queue.reopen(why, self.now),
                (Standing::Resting | Standing::Shut, _) => {}
            }
            let queue = &self.agents[agent.at()].queue;
            let waiting: Vec<Runs> = queue.waiting().map(|ready| self.runs_of(ready)).collect();
            for run in waiting.iter().flat_map(Runs::iter) {
                self.uncount_waiting(run, before);
                self.count_waiting(run, after);
            }
        }
        self.touched_agents_push(agent);
        self.touch_runs_in_log();
        changed
    }

    /// Nothing at all may start from now on, unless that was so before.
    pub(super) fn halt(&mut self, why: WaitsFor) {
        self.halted.get_or_insert((self.now, why));
    }

    /// The last time that nothing of an agent could start; the present one if there is one.
    pub(super) fn closed(&self, agent: AgentIndex) -> Option<Closed> {
        let halted = self.halted.map(|(since, why)| Closed { since, until: self.now, why });
        halted.or_else(|| self.agents[agent.at()].queue.closed())
    }

    pub(super) fn may_start(&self) -> bool {
        !self.held && !self.store_down
    }

    /// Jobs may start again; until now nothing waited for a slot.
    pub(super) fn start_again(&mut self) {
        let halted = if self.may_start() { self.halted.take() } else { None };
        for agent in &mut self.agents {
            agent.queue.restart_clocks(self.now);
            if let Some((since, why)) = halted {
                agent.queue.note_closed(Closed { since, until: self.now, why });
            }
        }
        self.touched_agents.extend((0..).map(AgentIndex).take(self.agents.len()));
    }

    /// Takes out what waited too long for its agent, and arms the deadline of what will have.
    pub(super) fn bury_overdue(&mut self, agent: AgentIndex, effects: &mut Vec<Effect>) {
        while self.may_start()
            && let Some(Late { mut ready, waited, behind }) =
                self.agents[agent.at()].queue.pop_overdue(self.now)
        {
            if behind.is_some() {
                ready.come_to_front(self.now);
            }
            if behind.is_none()
                && let Some(lane) = self.lane_of(&ready)
            {
                self.agents[agent.at()].queue.leave_lane(&lane, self.now);
            }
            let why = Burial::Overdue(self.overdue(agent, waited, behind));
            if let Some(start) = self.start(agent, ready, JobState::Burying) {
                effects.push(Effect::Bury { start: Arc::new(start), why });
            }
        }
        let next = self.agents[agent.at()].queue.overdue_at().filter(|_| self.may_start());
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
}
