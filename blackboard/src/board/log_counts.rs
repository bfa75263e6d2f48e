//! Log counts: the counts of runs with claims that are in the log only.
//!
//! A run is in memory while a handle to it exists or a claim of it is in memory, so that a million runs that
//! wait in the log cost nothing. When a claim of it is loaded, its counts come from the store. A run that the
//! board meets while something is in the log may have claims there which the board cannot know of; it is
//! recounted before anything is said about its end. Pure: no I/O, no clock.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::run::Run;
use super::{Board, Effect, RunId};
use crate::claim::LogEntry;
use crate::id::RunIndex;
use crate::outcome::Tally;

/// The counts of the log as a whole.
#[derive(Debug, Default)]
pub(super) struct LogCounts {
    /// Agents that have something in the log only.
    behind: usize,
    /// Numbers questions.
    tickets: u64,
    /// Runs whose claims in the log are being cancelled. Nothing is read meanwhile: it could be one of them.
    pub(super) cancels: Vec<(RunId, Cancel)>,
    /// Runs that were forgotten after an outcome that may not be written yet; what the store counts for them
    /// is stale.
    forgotten: FxHashSet<RunId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    Asked,
    Refused,
}

impl LogCounts {
    pub(super) fn lag(&mut self) {
        self.behind += 1;
    }

    pub(super) fn caught_up(&mut self) {
        self.behind -= 1;
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn cancels_run(&self, run: RunId) -> bool {
        self.cancels.iter().any(|(other, _)| *other == run)
    }

    pub(super) fn end_cancel(&mut self, run: RunId) {
        self.cancels.retain(|(other, _)| *other != run);
    }

    pub(super) fn is_cancelling(&self) -> bool {
        !self.cancels.is_empty()
    }
}

impl Board {
    /// Notes that everything which effects given so far wanted written is written, or will never be. Called
    /// after every commit, before the board handles its inputs.
    pub fn written(&mut self) {
        self.commits += 1;
        self.log_counts.forgotten.clear();
    }

    /// Tells whether anything is kept about a run: a count, a decision, or a cancellation under way in the
    /// log.
    #[must_use]
    pub fn knows(&self, run: RunId) -> bool {
        self.run_index(run).is_some() || self.log_counts.cancels_run(run)
    }

    pub(super) fn pin_run(&mut self, run: RunId, workflow: &Arc<str>, tally: Option<Tally>) {
        let level = self.is_caught_up();
        let index = self.run_known(run, workflow, level);
        let Some(state) = self.runs.get_mut(index) else { return };
        state.pinned = true;
        if let Some(tally) = tally {
            (state.tally, state.whole) = (tally, true);
        }
        if !level {
            self.touch_run(index);
        }
    }

    /// Returns where a run is, whose state may change now. `whole` tells of a new one whether nothing of it
    /// can be elsewhere.
    pub(super) fn run_known(&mut self, run: RunId, workflow: &Arc<str>, whole: bool) -> RunIndex {
        let fresh = || self.runs.insert(Run::new(run, Arc::clone(workflow), Tally::default(), whole));
        let index = *self.run_indices.entry(run).or_insert_with(fresh);
        if let Some(state) = self.runs.get_mut(index) {
            state.reported = false;
        }
        index
    }

    /// Counts a claim that was read from the log; tells where its run is, and whether that is cancelled.
    pub(super) fn count_loaded(&mut self, published: &LogEntry, stored: Tally) -> (RunIndex, bool) {
        let run = published.run;
        let whole = !self.log_counts.forgotten.contains(&run);
        let fresh = || {
            let tally = if whole { stored } else { Tally::default() };
            self.runs.insert(Run::new(run, Arc::clone(&published.workflow), tally, whole))
        };
        let index = *self.run_indices.entry(run).or_insert_with(fresh);
        let Some(state) = self.runs.get_mut(index) else { return (index, false) };
        (state.reported, state.recount) = (false, None);
        if state.spilled() == 0 {
            state.tally.matched += 1;
        }
        state.in_memory += 1;
        (index, state.cancelled)
    }

    /// Looks at a run whose counts changed: tells whether nothing of it moves. Forgets one of which nothing
    /// is in memory, and has one recounted of which something may be in the log.
    pub(super) fn check_quiescent(&mut self, index: RunIndex, effects: &mut Vec<Effect>) -> bool {
        let Some(state) = self.runs.get(index) else { return false };
        let run = state.id;
        if state.cancelled && state.spilled() > 0 {
            self.cancel_in_log(run, effects);
        }
        let Some(state) = self.runs.get(index) else { return false };
        if state.moving() > 0 && !state.may_flush() {
            return false;
        }
        if state.spilled() > 0 && state.in_memory == 0 && !state.is_kept() {
            self.forget_run(index);
            self.log_counts.forgotten.insert(run);
            return false;
        }
        if self.is_caught_up() || state.whole {
            return self.is_run_quiescent(state);
        }
        let reads = state.spilled() > 0 && self.reads_log();
        if !reads && state.recount.is_none() && (state.is_kept() || state.in_memory == 0) {
            let ticket = self.log_counts.ticket();
            if let Some(state) = self.runs.get_mut(index) {
                state.recount = Some(ticket);
            }
            effects.push(Effect::Recount { run, ticket });
        }
        false
    }

    /// Tells whether nothing of a run moves, as far as can be known.
    pub(super) fn is_run_quiescent(&self, state: &Run) -> bool {
        let counted = self.is_caught_up() || state.whole;
        state.moving() == 0 && counted && (state.spilled() == 0 || !self.reads_log())
    }

    /// Tells whether everything of a run is in memory.
    pub(super) fn is_in_memory(&self, state: &Run) -> bool {
        (self.is_caught_up() || state.whole) && state.spilled() == 0
    }

    pub(super) fn recounted(&mut self, run: RunId, ticket: u64, tally: Tally) {
        let Some(index) = self.run_index(run) else { return };
        let Some(state) = self.runs.get_mut(index).filter(|state| state.recount == Some(ticket)) else {
            return;
        };
        (state.tally, state.whole, state.recount) = (tally, true, None);
        self.touch_run(index);
    }

    /// Looks again at every run that waits for the log, if nothing of the log moves any more.
    pub(super) fn touch_runs_in_log(&mut self) {
        if self.reads_log() {
            return;
        }
        let level = self.is_caught_up();
        for (run, state) in self.runs.iter_mut().filter(|(_, state)| state.spilled() > 0 || !state.whole) {
            state.whole |= level;
            if !std::mem::replace(&mut state.is_touched, true) {
                self.touched_runs.push(run);
            }
        }
    }

    /// Tells whether nothing is in the log only.
    pub(super) fn is_caught_up(&self) -> bool {
        self.log_counts.behind == 0
    }
}
