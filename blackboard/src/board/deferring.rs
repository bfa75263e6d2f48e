//! Starts that did not come about although the store works: of one job, or of all jobs of one agent.
//!
//! Neither holds up anybody else. A job whose start the store refuses by itself backs off, and its agent goes on with
//! others; an agent that cannot be given a job is given none for a while. Both are in memory only, for there is nothing
//! that the store would note. A store that refuses everything is not dealt with here: see `Input::StoreDown`. Pure: no
//! I/O, no clock.

use std::time::Duration;

use super::{Board, Due, Effect, JobState};
use crate::id::{AgentIndex, JobId};
use crate::time::Timestamp;

/// The first back-off of a job whose start the store refuses; each one is twice the one before. A tenth would fill the
/// log; ten times as much would be felt by whoever mends the store.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);

/// How often it is doubled: up to a good four minutes. Longer, and a store that was mended would seem not to be.
const DOUBLINGS_MAX: u32 = 8;

impl Board {
    /// Takes back a job whose start, and nothing else, was refused; it is tried again later.
    pub(super) fn defer(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let now = self.now;
        let runs = |job: &&mut super::Job| job.state == JobState::Running && job.cancelling.is_none();
        let Some(job) = self.jobs.get_mut(&id).filter(runs) else {
            // A cancelled one ends. One that waited too long waits anew, as long as its agent lets it.
            return self.hand_back(id, effects);
        };
        let until = now.after(BACK_OFF_FIRST.saturating_mul(1 << job.refusals.min(DOUBLINGS_MAX)));
        job.attempt -= 1;
        job.refusals += 1;
        (job.state, job.since) = (JobState::BackingOff(until), now);
        let agent = job.agent;
        self.agents[agent.at()].backing_off += 1;
        self.deadlines.insert((until, Due::Job(id)));
        self.give_back(agent, JobState::Running);
    }

    /// Starts nothing of an agent for a while.
    pub(super) fn send_away(&mut self, agent: AgentIndex, until: Timestamp) {
        let queue = &mut self.agents[agent.at()].queue;
        if !queue.is_away() {
            queue.set_away(Some(until));
            self.deadlines.insert((until, Due::Return(agent)));
        }
        self.touched_agents_push(agent);
    }

    /// Tries an agent again that was away; until now nothing of it waited for a slot.
    pub(super) fn let_return(&mut self, agent: AgentIndex) {
        let queue = &mut self.agents[agent.at()].queue;
        queue.set_away(None);
        queue.restart_clocks(self.now);
        self.touched_agents_push(agent);
    }
}
