//! Waiters: callers that wait until a run is quiescent, nothing moves, or an agent has room.
//!
//! The lists outlive the curator's lives, so that the next life answers every caller.

use std::collections::HashMap;

use tokio::sync::oneshot;
use volery_blackboard::board::Board;
use volery_blackboard::{AgentIndex, RunId, Tally};

use super::command::reply;

/// The condition of a caller that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Nothing of this run moves.
    Quiescent(RunId),
    /// Nothing moves at all.
    Idle,
    /// No job waits for a slot, runs or backs off; inputs on a timer do not count.
    NoJobs,
    /// No attempt is running.
    NoAttempts,
    /// This agent has room in its window.
    Room(AgentIndex),
}

/// The callers that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    runs: HashMap<RunId, Vec<oneshot::Sender<Tally>>>,
    idle: Vec<oneshot::Sender<Tally>>,
    no_jobs: Vec<oneshot::Sender<Tally>>,
    no_attempts: Vec<oneshot::Sender<Tally>>,
    room: Vec<(AgentIndex, oneshot::Sender<Tally>)>,
}

impl Waiters {
    /// Adds a caller, and forgets those who have gone.
    pub(crate) fn add(&mut self, until: Until, answer: oneshot::Sender<Tally>) {
        let waiting = match until {
            Until::Quiescent(run) => self.runs.entry(run).or_default(),
            Until::Idle => &mut self.idle,
            Until::NoJobs => &mut self.no_jobs,
            Until::NoAttempts => &mut self.no_attempts,
            Until::Room(agent) => return self.room.push((agent, answer)),
        };
        waiting.retain(|waiter| !waiter.is_closed());
        waiting.push(answer);
    }

    /// Lists the runs that callers wait for.
    pub(crate) fn runs(&self) -> impl Iterator<Item = RunId> + '_ {
        self.runs.keys().copied()
    }

    /// Tells who waits for these runs, unless a later command set one in motion again.
    pub(crate) fn answer_quiescent(&mut self, board: &Board, runs: Vec<(RunId, Tally)>) {
        for (run, tally) in runs.into_iter().filter(|(run, _)| board.is_quiescent(*run)) {
            let tally = board.tally(run).unwrap_or(tally);
            self.runs.remove(&run).into_iter().flatten().for_each(|waiter| reply(waiter, tally));
        }
    }

    /// Tells who waits for the whole board, if it has come so far.
    pub(crate) fn answer_idle(&mut self, board: &Board) {
        if board.is_idle() {
            answer_all(&mut self.idle);
        }
        if !board.is_at_work() {
            answer_all(&mut self.no_jobs);
        }
        if board.attempts() == 0 {
            answer_all(&mut self.no_attempts);
        }
    }

    /// Tells those whose agent has room. Each adds one job at most before it waits again.
    pub(crate) fn answer_room(&mut self, board: &Board) {
        self.room.retain(|(_, waiter)| !waiter.is_closed());
        for (_, waiter) in self.room.extract_if(.., |(agent, _)| board.has_room(*agent)) {
            reply(waiter, Tally::default());
        }
    }

    /// The last handle to a run is gone: forgets who waited for it with one.
    pub(super) fn forget_gone(&mut self, run: RunId) {
        if self.runs.get(&run).is_some_and(|waiting| waiting.iter().all(oneshot::Sender::is_closed)) {
            self.runs.remove(&run);
        }
    }
}

fn answer_all(waiting: &mut Vec<oneshot::Sender<Tally>>) {
    waiting.drain(..).for_each(|waiter| reply(waiter, Tally::default()));
}
