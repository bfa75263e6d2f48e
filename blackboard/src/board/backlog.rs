//! The backlog: which claims of an agent are in the log only, and how they are read in their turn.
//!
//! An agent has at most so many jobs in memory. A claim that comes while there is no room stays in the log,
//! and so do all that follow, until the agent has read them: an agent reads its claims in log order, as if it
//! had met them then. Time stands still for it at the place that it has read up to, so that nothing expires,
//! and no batch closes, before every artifact that was published earlier is there. Claims in collectors, and
//! claims that are not visible yet, do not count: one side of a join could take all the room, with the other
//! side behind it in the log. Pure: no I/O, no clock.

use super::agent::Agent;
use super::queue::Standing;
use super::{Board, Effect};
use crate::claim::{Backlog, Claimed};
use crate::collect::INSTANT;
use crate::effect::PageRequest;
use crate::id::{AgentIndex, Offset, SubscriptionIndex};
use crate::time::Timestamp;

/// Artifacts that are read at a time. A tenth would read ten times as often; ten times as many would hold up
/// all other inputs of the board for several milliseconds.
const PAGE_MAX: usize = 1_000;

/// Jobs that cannot start before something else has happened, because they back off or are behind another of
/// their lane, for one that counts like a job that can. At 1 a busy key, or a partner that is down, would
/// soon keep everything else of the agent in the log; the memory that an agent may take grows with it.
const STUCK_JOBS: usize = 4;

/// How far an agent has read the log.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Claims up to this place have been taken into memory.
    taken: Offset,
    /// The last place of which it is known that a claim is in the log only.
    last: Offset,
    /// Claims that are in the log only, over all of its subscriptions.
    spilled: u64,
    /// The number of the question that is being answered.
    page: Option<u64>,
    /// The log could not be read; wait for a tick.
    failed: bool,
    /// The log is damaged where it would go on; wait for a resume.
    damaged: bool,
    /// When the newest artifact that was read was published.
    time: Option<Timestamp>,
}

impl Reading {
    /// Tells whether something is in the log only.
    pub(super) fn is_behind(&self) -> bool {
        self.spilled > 0
    }

    pub(super) fn spilled(&self) -> u64 {
        self.spilled
    }

    pub(super) fn taken(&self) -> Offset {
        self.taken
    }

    /// Tells whether it cannot go on, although something is left.
    pub(super) fn is_stuck(&self) -> bool {
        self.damaged && self.is_behind()
    }

    /// Lets it try again.
    pub(super) fn unstick(&mut self) {
        self.damaged = false;
    }

    /// Makes whatever answer is under way worthless.
    pub(super) fn drop_page(&mut self) {
        self.page = None;
    }
}

impl Board {
    /// Lets every agent have so many jobs in memory; further claims stay in the log until they are read. Jobs
    /// that run do not count; of those that back off, or are behind another of their lane, four count like
    /// one. So there are never more than four times as many, a page, and as many as ran and back off now.
    /// Default: any number. Called before anything is on the board.
    pub fn set_jobs_in_memory_max(&mut self, jobs: usize) {
        self.jobs_in_memory_max = Some(jobs.max(1));
    }

    /// Tells whether an agent has room for another job in memory.
    #[must_use]
    pub fn has_room(&self, agent: AgentIndex) -> bool {
        self.jobs_in_memory_max.is_none_or(|max| self.load(agent) < max)
    }

    /// Decides about a claim at this place, which is the next of the agent's or one that comes again.
    pub(super) fn stays_in_log(
        &mut self,
        agent: AgentIndex,
        offset: Offset,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let reading = &self.agents[agent.at()].reading;
        if offset <= reading.taken {
            return false;
        }
        if reading.is_behind() {
            return true;
        }
        if !self.has_room(agent) {
            // Inputs before this one may have made jobs that can start.
            self.start_jobs(effects);
            if !self.has_room(agent) {
                return true;
            }
        }
        self.agents[agent.at()].reading.taken = offset;
        false
    }

    /// Leaves a claim in the log.
    pub(super) fn spill(&mut self, index: SubscriptionIndex, offset: Offset) {
        self.subscriptions[index.at()].spilled += 1;
        self.count_spilled(self.subscriptions[index.at()].agent, 1, offset);
    }

    /// Takes note of claims that were there before the board.
    pub(super) fn count_backlog(&mut self, backlog: Backlog) {
        let Backlog { subscription, count, last, .. } = backlog;
        let state = &mut self.subscriptions[subscription.at()];
        state.tally.matched += count;
        state.spilled += count;
        self.outstanding += count;
        self.count_spilled(self.subscriptions[subscription.at()].agent, count, last);
    }

    fn count_spilled(&mut self, agent: AgentIndex, count: u64, last: Offset) {
        let reading = &mut self.agents[agent.at()].reading;
        let was_behind = reading.is_behind();
        reading.spilled += count;
        reading.last = reading.last.max(last);
        if !was_behind && count > 0 {
            self.log_counts.lag();
            self.subscriptions_of(agent).for_each(|index| self.rearm(index));
        }
    }

    /// Counts claims that are not in the log only any more; true when the agent has none left.
    pub(super) fn uncount_spilled(&mut self, index: SubscriptionIndex, count: u64) -> bool {
        let subscription = &mut self.subscriptions[index.at()];
        subscription.spilled -= count;
        let reading = &mut self.agents[subscription.agent.at()].reading;
        reading.spilled -= count;
        !reading.is_behind()
    }

    /// Asks for what comes next for every agent that is behind and has room.
    pub(super) fn request_pages(&mut self, effects: &mut Vec<Effect>) {
        if self.is_caught_up() || !self.halt.lets_start() || self.log_counts.is_cancelling() {
            return;
        }
        for agent in self.agent_indices() {
            let (load, max) = (self.load(agent), self.jobs_in_memory_max.unwrap_or(usize::MAX));
            let reading = &self.agents[agent.at()].reading;
            let may_ask = !reading.failed && !reading.damaged;
            let asks = reading.is_behind() && reading.page.is_none() && may_ask;
            // Not before half of the room is free, so that pages are worth their price.
            if !asks || load > max / 2 {
                continue;
            }
            let (after, ticket) = (reading.taken, self.log_counts.ticket());
            let subscriptions = self.subscriptions_of(agent).collect();
            let limit = (max - load).clamp(1, PAGE_MAX);
            self.agents[agent.at()].reading.page = Some(ticket);
            let request = PageRequest { agent, ticket, subscriptions, after, limit };
            effects.push(Effect::LoadPage(Box::new(request)));
        }
    }

    /// Takes in what was read, in its place and at its time.
    pub(super) fn load_page(
        &mut self,
        agent: AgentIndex,
        ticket: u64,
        claims: Vec<Claimed>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.agents[agent.at()].reading.page != Some(ticket) {
            return;
        }
        debug_assert!(!claims.is_empty(), "what is in the log can be read");
        let reading = &mut self.agents[agent.at()].reading;
        reading.page = None;
        // Nothing is asked for again at once if it did not help.
        reading.failed = claims.is_empty();
        for Claimed { published, tally } in claims {
            let reading = &mut self.agents[agent.at()].reading;
            reading.taken = reading.taken.max(published.offset);
            reading.time = reading.time.max(Some(published.at));
            for claim in published.claims.iter() {
                self.uncount_spilled(claim.subscription, 1);
                let run = self.count_loaded(&published, tally);
                self.admit(&published, claim, run, now, effects);
                self.touch_run(run.0);
            }
        }
        self.resume_reading(agent, now, effects);
    }

    /// Lets time pass for an agent as far as it has read, or on from now when it is level with the log.
    pub(super) fn resume_reading(&mut self, agent: AgentIndex, now: Timestamp, effects: &mut Vec<Effect>) {
        let reading = &mut self.agents[agent.at()].reading;
        if !reading.is_behind() {
            return self.caught_up(agent, effects);
        }
        let Some(time) = reading.time.map(|time| time.before(INSTANT).min(now)) else { return };
        for index in self.subscriptions_of(agent) {
            self.fire_due(index, time, effects);
        }
    }

    /// Everything of an agent is in memory again.
    fn caught_up(&mut self, agent: AgentIndex, effects: &mut Vec<Effect>) {
        let reading = &mut self.agents[agent.at()].reading;
        reading.taken = reading.taken.max(reading.last);
        (reading.page, reading.time, reading.failed) = (None, None, false);
        self.log_counts.caught_up();
        for index in self.subscriptions_of(agent) {
            if let Some(marks) = self.subscriptions[index.at()].marks.take() {
                self.advance_marks(index, &marks, effects);
            }
            self.drop_lost_pairs(index, effects);
            self.rearm(index);
        }
        self.touch_runs_in_log();
    }

    pub(super) fn fail_page(&mut self, agent: AgentIndex, ticket: u64) {
        let reading = &mut self.agents[agent.at()].reading;
        if reading.page == Some(ticket) {
            (reading.page, reading.failed) = (None, true);
        }
    }

    /// Leaves what an agent has in the log there, until it is resumed. Nothing of it moves until then.
    pub(super) fn suspend_reading(&mut self, agent: AgentIndex, ticket: u64) {
        let reading = &mut self.agents[agent.at()].reading;
        if reading.page == Some(ticket) {
            (reading.page, reading.damaged) = (None, true);
            self.touch_runs_in_log();
        }
    }

    /// Asks again for what could not be read or written before.
    pub(super) fn retry_reading(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_caught_up() {
            self.agents.iter_mut().for_each(|agent| agent.reading.failed = false);
            self.cancel_again(effects);
        }
    }

    /// Jobs of an agent that wait or back off.
    pub(super) fn jobs_in_memory(&self, agent: AgentIndex) -> usize {
        let agent = &self.agents[agent.at()];
        agent.queue.len() + agent.backing_off
    }

    /// How much of its room the jobs of an agent take that wait or back off.
    fn load(&self, agent: AgentIndex) -> usize {
        let Agent { queue, backing_off, .. } = &self.agents[agent.at()];
        let stuck = queue.len_behind() + backing_off;
        queue.len() - queue.len_behind() + stuck / STUCK_JOBS
    }

    /// Tells whether something in the log will be read without further input.
    pub(super) fn reads_log(&self) -> bool {
        self.is_behind_for(|standing| standing != Standing::Closed)
    }

    /// Tells whether something in the log is read, and may start, as soon as there is room.
    pub(super) fn works_on_log(&self) -> bool {
        self.is_behind_for(|standing| standing == Standing::Open)
    }

    fn is_behind_for(&self, wanted: impl Fn(Standing) -> bool) -> bool {
        let behind = |agent: &Agent| {
            agent.reading.is_behind() && !agent.reading.is_stuck() && wanted(agent.queue.standing())
        };
        !self.is_caught_up() && self.agents.iter().any(behind)
    }
}
