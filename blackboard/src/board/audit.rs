//! The conservation law, as a function.
//!
//! Property tests and simulations call it after every input, the test kit before a runtime is shut down, and
//! the curator whenever it rests, in builds with debug assertions. Pure: no I/O, no clock.

use std::collections::BTreeSet;

use super::Board;
use super::job::JobState;
use crate::id::Offset;

/// Up to so many runs, claims and jobs the curator audits the board. Eight times as many make tests of full
/// queues take twice as long; with a tenth, joins and batches of several inputs would go without.
const AUDITED_MAX: usize = 32;

impl Board {
    /// As [`Board::audit`], unless more is on the board than can be visited at every turn.
    ///
    /// # Errors
    /// As [`Board::audit`].
    pub fn audit_if_small(&self) -> Result<(), String> {
        let held = self.outstanding.try_into().unwrap_or(usize::MAX);
        if self.runs.len().max(self.jobs.len()).max(held) > AUDITED_MAX { Ok(()) } else { self.audit() }
    }

    /// Checks that nothing was lost or counted twice.
    ///
    /// For every subscription, what matched and has no outcome must be exactly what waits with a reason or
    /// runs; and the count of what moves must agree with the runs. Visits everything that is held: for tests.
    ///
    /// # Errors
    /// A description of the first difference found.
    pub fn audit(&self) -> Result<(), String> {
        let mut present = vec![BTreeSet::<Offset>::new(); self.subscriptions.len()];
        self.visit_waiting(&mut |index, entry, _| {
            present[index.at()].insert(entry.offset);
        });
        for job in self.jobs.values().filter(|job| job.is_out()) {
            present[job.subscription.at()].extend(job.group.entries.iter().map(|entry| entry.offset));
        }
        for (subscription, present) in self.subscriptions.iter().zip(&mut present) {
            present.extend(subscription.pairs.pending());
            let outstanding = subscription.tally.outstanding();
            if outstanding != present.len() as u64 + subscription.spilled {
                return Err(format!(
                    "subscription {}/{} has {outstanding} outstanding, but {} are in the log and {} wait or run: {present:?}",
                    self.agents[subscription.agent.at()].name,
                    subscription.ordinal,
                    subscription.spilled,
                    present.len()
                ));
            }
        }
        let mut collected = vec![BTreeSet::<Offset>::new(); self.subscriptions.len()];
        for (subscription, collected) in self.subscriptions.iter().zip(&mut collected) {
            subscription.collector.visit_waiting(&mut |entry, _| {
                collected.insert(entry.offset);
            });
        }
        let collected: usize = collected.iter().map(BTreeSet::len).sum();
        if collected as u64 != self.collected {
            return Err(format!("collectors hold {collected} inputs, but {} are counted", self.collected));
        }
        for agent in &self.agents {
            let count = |state| {
                let jobs = self.jobs.values().filter(|job| self.agents[job.agent.at()].name == agent.name);
                jobs.filter(|job| job.state == state).count()
            };
            if count(JobState::Running) != agent.queue.running() as usize {
                return Err(format!("agent {} has a slot that no running job holds", agent.name));
            }
            if count(JobState::Burying) != agent.queue.burying() as usize {
                return Err(format!("agent {} counts burials that no job has", agent.name));
            }
            if !agent.queue.ages_agree() {
                return Err(format!("agent {} times others than those that wait for it", agent.name));
            }
        }
        let outstanding: u64 = self.subscriptions.iter().map(|s| s.tally.outstanding()).sum();
        if outstanding != self.outstanding {
            return Err(format!("{} claims are counted as open, but {outstanding} are", self.outstanding));
        }
        self.audit_runs()?;
        let moving: u64 = self.runs.values().map(super::run::Run::moving).sum();
        if moving != self.moving {
            return Err(format!("{} jobs and timed inputs move, but the runs count {moving}", self.moving));
        }
        let working: u64 = self.runs.values().map(super::run::Run::working).sum();
        if working != self.working {
            return Err(format!("{} jobs are at work, but the runs count {working}", self.working));
        }
        Ok(())
    }

    /// Claims in the log only are counted alike by subscriptions, agents and runs.
    fn audit_runs(&self) -> Result<(), String> {
        for agent in self.agent_indices() {
            let own = self.subscriptions_of(agent).map(|index| self.subscriptions[index.at()].spilled);
            let (own, counted): (u64, u64) = (own.sum(), self.agents[agent.at()].reading.spilled());
            if own != counted {
                return Err(format!(
                    "{own} claims of {agent:?} are in the log only, but {counted} are counted"
                ));
            }
            let waiting = self.agents[agent.at()].queue.waiting().count();
            let backs_off = |job: &&super::Job| matches!(job.state, JobState::BackingOff(_));
            let backing_off = self.jobs.values().filter(|job| job.agent == agent).filter(backs_off).count();
            if waiting + backing_off != self.jobs_in_memory(agent) {
                return Err(format!("{agent:?} has {waiting} jobs waiting and {backing_off} backing off"));
            }
        }
        let held: u64 = self.runs.values().map(|state| state.in_memory).sum();
        let spilled: u64 = self.subscriptions.iter().map(|state| state.spilled).sum();
        if held + spilled != self.outstanding {
            return Err(format!("runs hold {held}, and {spilled} are in the log, of {}", self.outstanding));
        }
        let over = |state: &&super::Run| state.tally.outstanding() < state.in_memory;
        let under = |state: &&super::Run| self.is_caught_up() && state.spilled() > 0;
        if let Some(run) = self.runs.values().find(|state| over(state) || under(state)) {
            return Err(format!("a run counts wrongly what it has in memory: {run:?}"));
        }
        Ok(())
    }
}
