//! The ledger: what the board counts of runs some of whose claims are in the log only.
//!
//! A run is in memory while a handle to it exists or a claim of it is held, so that a million runs that wait in the log
//! cost nothing. When it is taken up again, its counts come from the store. A run that the board meets while something
//! is in the log may have claims there which the board cannot know of; it is recounted before anything is said about
//! its end. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{Board, Effect, Run, RunId};
use crate::claim::LogEntry;
use crate::id::SubscriptionIndex;
use crate::outcome::Tally;
use crate::time::Timestamp;

/// What is known about the log as a whole.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Agents that have something in the log only.
    behind: usize,
    /// Numbers questions.
    tickets: u64,
    /// Runs whose claims in the log are being cancelled. Nothing is read meanwhile: it could be one of them.
    cancels: BTreeMap<RunId, Cancel>,
    /// Runs that were forgotten after an outcome that may not be written yet; what the store counts for them is stale.
    forgotten: FxHashSet<RunId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    Asked,
    Refused,
}

impl Ledger {
    pub(super) fn fall_behind(&mut self) {
        self.behind += 1;
    }

    pub(super) fn come_level(&mut self) {
        self.behind -= 1;
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn is_cancelling(&self) -> bool {
        !self.cancels.is_empty()
    }
}

impl Board {
    /// Notes that everything which effects given so far wanted written is written, or will never be. Called after every
    /// commit, before the board is told what follows from it.
    pub fn written(&mut self) {
        self.ledger.forgotten.clear();
    }

    /// Tells whether anything is kept about a run: a count, a decision, or a cancellation under way in the log.
    #[must_use]
    pub fn knows(&self, run: RunId) -> bool {
        self.runs.contains_key(&run) || self.ledger.cancels.contains_key(&run)
    }

    /// Tells whether nothing is in the log only.
    pub(super) fn is_level(&self) -> bool {
        self.ledger.behind == 0
    }

    /// Returns a run's state, which may change now. `whole` tells of a new one whether nothing of it can be elsewhere.
    pub(super) fn run_known(&mut self, run: RunId, workflow: &Arc<str>, whole: bool) -> &mut Run {
        let fresh = || Run::new(Arc::clone(workflow), Tally::default(), whole);
        let state = self.runs.entry(run).or_insert_with(fresh);
        state.told = false;
        state
    }

    pub(super) fn pin_run(&mut self, run: RunId, workflow: &Arc<str>, tally: Option<Tally>) {
        let level = self.is_level();
        let state = self.run_known(run, workflow, level);
        state.pinned = true;
        if let Some(tally) = tally {
            (state.tally, state.whole) = (tally, true);
        }
        if !level {
            self.touched_runs.push(run);
        }
    }

    /// Counts a claim that was read from the log; tells whether its run is cancelled.
    pub(super) fn take_up(&mut self, published: &LogEntry, stored: Tally) -> bool {
        let whole = !self.ledger.forgotten.contains(&published.run);
        let fresh = || {
            let tally = if whole { stored } else { Tally::default() };
            Run::new(Arc::clone(&published.workflow), tally, whole)
        };
        let state = self.runs.entry(published.run).or_insert_with(fresh);
        (state.told, state.recount) = (false, None);
        if state.spilled() == 0 {
            state.tally.matched += 1;
        }
        state.held += 1;
        state.cancelled
    }

    /// Tells whether nothing of a run moves, as far as can be known.
    pub(super) fn is_at_rest(&self, state: &Run) -> bool {
        let counted = self.is_level() || state.whole;
        state.is_quiescent() && counted && (state.spilled() == 0 || !self.reads_log())
    }

    /// Tells whether everything of a run is in memory.
    pub(super) fn is_in_memory(&self, state: &Run) -> bool {
        (self.is_level() || state.whole) && state.spilled() == 0
    }

    /// Looks at a run whose counts changed: tells whether it is at rest. Forgets one of which nothing is in memory, and
    /// has one recounted of which something may be in the log.
    pub(super) fn comes_to_rest(&mut self, run: RunId, effects: &mut Vec<Effect>) -> bool {
        let Some(state) = self.runs.get(&run) else { return false };
        if state.cancelled && state.spilled() > 0 {
            self.cancel_in_log(run, effects);
        }
        let Some(state) = self.runs.get(&run) else { return false };
        if !state.is_quiescent() && !state.may_let_go() {
            return false;
        }
        if state.spilled() > 0 && state.held == 0 && !state.is_kept() {
            self.runs.remove(&run);
            self.ledger.forgotten.insert(run);
            return false;
        }
        if self.is_level() || state.whole {
            return self.is_at_rest(state);
        }
        let reads = state.spilled() > 0 && self.reads_log();
        if !reads && state.recount.is_none() && (state.is_kept() || state.held == 0) {
            let ticket = self.ledger.ticket();
            if let Some(state) = self.runs.get_mut(&run) {
                state.recount = Some(ticket);
            }
            effects.push(Effect::Recount { run, ticket });
        }
        false
    }

    pub(super) fn recounted(&mut self, run: RunId, ticket: u64, tally: Tally) {
        let Some(state) = self.runs.get_mut(&run).filter(|state| state.recount == Some(ticket)) else {
            return;
        };
        (state.tally, state.whole, state.recount) = (tally, true, None);
        self.touched_runs.push(run);
    }

    /// Looks again at every run that waits for the log, if nothing of the log moves any more.
    pub(super) fn touch_runs_in_log(&mut self) {
        if self.reads_log() {
            return;
        }
        let level = self.is_level();
        for (run, state) in &mut self.runs {
            if state.spilled() > 0 || !state.whole {
                state.whole |= level;
                self.touched_runs.push(*run);
            }
        }
    }

    /// Has whatever a run has in the log cancelled there.
    pub(super) fn cancel_in_log(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        let none = self.runs.get(&run).is_some_and(|state| self.is_in_memory(state));
        if self.is_level() || none || self.ledger.cancels.contains_key(&run) {
            return;
        }
        self.ledger.cancels.insert(run, Cancel::Asked);
        self.agents.iter_mut().for_each(|agent| agent.reading.drop_page());
        let mut behind = Vec::new();
        for agent in self.agent_indices().filter(|agent| self.agents[agent.at()].reading.is_behind()) {
            let after = Some(self.agents[agent.at()].reading.taken());
            behind.extend(self.subscriptions_of(agent).map(|index| (index, after)));
        }
        effects.push(Effect::CancelSpilled { run, behind });
    }

    pub(super) fn spilled_cancelled(
        &mut self,
        run: RunId,
        cancelled: &[(SubscriptionIndex, u64)],
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.ledger.cancels.remove(&run);
        for (index, count) in cancelled {
            let subscription = &mut self.subscriptions[index.at()];
            subscription.tally.cancelled += count;
            let agent = subscription.agent;
            self.outstanding -= count;
            let total = *count;
            if let Some(state) = self.runs.get_mut(&run) {
                state.tally.matched += total.saturating_sub(state.spilled());
                state.tally.cancelled += total;
                state.recount = None;
            }
            if total > 0 && self.uncount_spilled(*index, total) {
                self.read_on(agent, now, effects);
            }
        }
        self.touched_runs.push(run);
    }

    pub(super) fn cancel_refused(&mut self, run: RunId) {
        self.ledger.cancels.insert(run, Cancel::Refused);
    }

    pub(super) fn cancel_again(&mut self, effects: &mut Vec<Effect>) {
        let refused = self.ledger.cancels.iter().filter(|(_, cancel)| **cancel == Cancel::Refused);
        let refused: Vec<RunId> = refused.map(|(run, _)| *run).collect();
        for run in refused {
            self.ledger.cancels.remove(&run);
            self.cancel_in_log(run, effects);
        }
    }
}
