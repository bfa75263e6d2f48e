//! Runs on the board: their counts, and when nothing of them moves any more.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use super::queue::Standing;
use super::{Board, Due, Effect, Outcome, RunId, Tally, Timestamp};
use crate::id::RunIndex;
use crate::outcome::CloseReason;

/// The board's record of one run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) workflow: Arc<str>,
    pub(super) tally: Tally,
    /// How much of it moves, or would move if its agent let it, by [`Motion`].
    motions: [u32; 5],
    /// A handle exists.
    pub(super) pinned: bool,
    /// No more input will come.
    finishing: bool,
    pub(super) cancelled: bool,
    /// When it is cancelled unless everything of it has an outcome.
    pub(super) deadline: Option<Timestamp>,
    /// `RunSettled` has been reported since the last change.
    pub(super) reported: bool,
    /// Claims that are in memory and have no outcome.
    pub(super) in_memory: u64,
    /// The tally is all that there is. If not, claims that the board has not counted may be in the log.
    pub(super) whole: bool,
    /// A recount that was asked for and that nothing has overtaken.
    pub(super) recount: Option<u64>,
    /// Its counts changed, and it is to be looked at.
    pub(super) is_touched: bool,
}

/// The parts of a run that may move without further input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    /// A job that waits for a slot, runs or backs off.
    Job,
    /// A job that waits for the end of a quarantine.
    Reopens,
    /// A job that waits for the resume of its agent. It does not move.
    Parked,
    /// An input on a timer: in a batch with a deadline, or in an outer join.
    Timed,
    /// An input that is not visible yet.
    Delayed,
}

impl Motion {
    /// How a job moves that waits in a queue.
    pub(super) fn queued(standing: Standing) -> Self {
        match standing {
            Standing::Open => Self::Job,
            Standing::Reopens => Self::Reopens,
            Standing::Closed => Self::Parked,
        }
    }
}
impl Run {
    pub(super) fn new(id: RunId, workflow: Arc<str>, tally: Tally, whole: bool) -> Self {
        Self {
            id,
            workflow,
            tally,
            motions: [0; 5],
            pinned: false,
            finishing: false,
            cancelled: false,
            deadline: None,
            reported: false,
            in_memory: 0,
            whole,
            recount: None,
            is_touched: false,
        }
    }

    /// Counts a claim that was just published and taken in.
    pub(super) fn count_claim(&mut self) {
        self.tally.matched += 1;
        self.in_memory += 1;
        self.recount = None;
    }

    /// Counts an outcome of a claim that was in memory.
    pub(super) fn count_outcome(&mut self, outcome: &Outcome) {
        self.tally.count(outcome);
        self.in_memory -= 1;
        self.recount = None;
    }

    /// Claims that are known to be in the log only.
    pub(super) fn spilled(&self) -> u64 {
        self.tally.outstanding() - self.in_memory
    }

    /// Tells whether it is remembered although nothing of it is in memory.
    pub(super) fn is_kept(&self) -> bool {
        self.pinned || self.finishing || self.cancelled || self.deadline.is_some()
    }

    fn count(&self, motion: Motion) -> u64 {
        u64::from(self.motions[motion as usize])
    }

    /// The count of what moves without further input.
    pub(super) fn moving(&self) -> u64 {
        self.motions.iter().copied().map(u64::from).sum::<u64>() - self.count(Motion::Parked)
    }

    /// The jobs among that.
    pub(super) fn working(&self) -> u64 {
        self.count(Motion::Job)
    }

    /// Tells whether collectors may flush what they hold of a finishing run: nothing can be added to it any
    /// more. Work that waits for a paused or quarantined agent could still add something; inputs on a timer
    /// cannot.
    pub(super) fn may_flush(&self) -> bool {
        let quiet = self.moving() + self.count(Motion::Parked) == self.count(Motion::Timed);
        self.finishing && quiet && self.tally.outstanding() > 0
    }

    fn is_settled(&self) -> bool {
        self.motions == [0; 5] && self.tally.outstanding() == 0
    }
}

impl Board {
    /// Returns where a run is, if the board knows it.
    pub(super) fn run_index(&self, run: RunId) -> Option<RunIndex> {
        self.run_indices.get(&run).copied()
    }

    pub(super) fn run(&self, run: RunId) -> Option<&Run> {
        self.runs.get(self.run_index(run)?)
    }

    pub(super) fn run_mut(&mut self, run: RunId) -> Option<&mut Run> {
        self.runs.get_mut(self.run_index(run)?)
    }

    /// Forgets a run of which no claim is in memory.
    pub(super) fn forget_run(&mut self, run: RunIndex) {
        let Some(state) = self.runs.get(run) else { return };
        self.run_indices.remove(&state.id);
        state.deadline.map(|at| self.deadlines.remove(&(at, Due::Run(run))));
        self.runs.discard(run);
    }

    /// Counts so many jobs or inputs of a run.
    pub(super) fn count(&mut self, run: RunIndex, motion: Motion, many: u32) {
        match motion {
            Motion::Parked => {}
            Motion::Job => {
                self.moving += u64::from(many);
                self.working += u64::from(many);
            }
            Motion::Reopens | Motion::Timed | Motion::Delayed => self.moving += u64::from(many),
        }
        if let Some(state) = self.runs.get_mut(run) {
            state.motions[motion as usize] += many;
        }
    }

    /// Takes back what [`Board::count`] counted.
    pub(super) fn uncount(&mut self, run: RunIndex, motion: Motion, many: u32) {
        match motion {
            Motion::Parked => {}
            Motion::Job => {
                self.moving -= u64::from(many);
                self.working -= u64::from(many);
            }
            Motion::Reopens | Motion::Timed | Motion::Delayed => self.moving -= u64::from(many),
        }
        if let Some(state) = self.runs.get_mut(run) {
            state.motions[motion as usize] -= many;
        }
        self.touch_run(run);
    }

    /// Notes that the counts of a run changed.
    pub(super) fn touch_run(&mut self, run: RunIndex) {
        if let Some(state) = self.runs.get_mut(run)
            && !std::mem::replace(&mut state.is_touched, true)
        {
            self.touched_runs.push(run);
        }
    }

    pub(super) fn release_run(&mut self, run: RunId) {
        let Some(index) = self.run_index(run) else { return };
        if let Some(state) = self.runs.get_mut(index) {
            state.pinned = false;
        }
        self.touch_run(index);
    }

    pub(super) fn finish_run(&mut self, run: RunId) {
        let Some(index) = self.run_index(run) else { return };
        if let Some(state) = self.runs.get_mut(index) {
            state.finishing = true;
        }
        self.touch_run(index);
    }

    /// Looks at every run whose counts changed: flushes what collectors hold of a finishing run, and reports
    /// runs that are quiescent or settled.
    pub(super) fn settle_runs(&mut self, effects: &mut Vec<Effect>) {
        let mut next = 0;
        while let Some(run) = self.touched_runs.get(next).copied() {
            while self.advance_finishing(run, effects) {}
            next += 1;
        }
        let mut touched = std::mem::take(&mut self.touched_runs);
        for run in touched.drain(..) {
            self.settle_run(run, effects);
        }
        debug_assert!(self.touched_runs.is_empty(), "a report changes no count");
        self.touched_runs = touched;
    }

    /// Reports a run that is quiescent, and forgets it when it is settled and no handle to it is left.
    fn settle_run(&mut self, index: RunIndex, effects: &mut Vec<Effect>) {
        if let Some(state) = self.runs.get_mut(index) {
            state.is_touched = false;
        }
        if !self.check_quiescent(index, effects) {
            return;
        }
        let Some(state) = self.runs.get_mut(index) else { return };
        let run = state.id;
        if state.pinned {
            effects.push(Effect::Quiescent { run, tally: state.tally });
        }
        if state.is_settled() {
            if !state.reported && (!state.pinned || state.finishing) {
                state.reported = true;
                let workflow = Arc::clone(&state.workflow);
                effects.push(Effect::RunSettled { run, workflow, tally: state.tally });
            }
            if !state.pinned {
                self.forget_run(index);
            }
        }
    }

    /// Flushes the first collector that still holds inputs of a finishing run; tells whether there was one.
    ///
    /// One collector at a time, in registration order, and only while nothing else of the run moves: a
    /// flushed input may end up in a later collector, which must then see all of them together.
    fn advance_finishing(&mut self, run: RunIndex, effects: &mut Vec<Effect>) -> bool {
        if !self.runs.get(run).is_some_and(|state| state.may_flush() && self.is_in_memory(state)) {
            return false;
        }
        for index in self.subscription_indices() {
            let flushed = self.collect(index, effects, |collector, steps| {
                collector.end_input(run, steps);
                collector.flush(Some(run), CloseReason::EndOfInput, steps);
            });
            if flushed {
                return true;
            }
        }
        false
    }
}
