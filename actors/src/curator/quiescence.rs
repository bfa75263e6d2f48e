//! Waiting: who is told when a run is quiescent, when nothing moves, or when an agent has room.
//!
//! The lists are in the ingress, so that they outlive the curator's lives.

use tokio::sync::oneshot;
use volery_blackboard::{RunId, Tally};

use super::actor::Curator;
use super::scope::Scope;
use super::step::{Action, reply};

impl Curator {
    /// Notes who waits. The commands before it reach the board with the next commit; a run is looked at after it.
    pub(super) fn add_waiter(&mut self, scope: Scope, answer: oneshot::Sender<Tally>) {
        let mut watch = self.parts.ingress.watch();
        match scope {
            Scope::Run(run) => {
                join(watch.runs.entry(run).or_default(), answer);
                drop(watch);
                self.plan(Action::Check(run));
            }
            Scope::Board => join(&mut watch.idle, answer),
            Scope::Jobs => join(&mut watch.jobs, answer),
            Scope::Attempts => join(&mut watch.attempts, answer),
            Scope::Window(agent) => watch.windows.push((agent, answer)),
        }
    }

    /// Tells who waits for these runs. All that the board had decided about them is committed.
    pub(super) fn tell_quiescent(&self, runs: Vec<(RunId, Tally)>) {
        if runs.is_empty() {
            return;
        }
        let mut watch = self.parts.ingress.watch();
        for (run, tally) in runs {
            // It may have been set in motion again by a later command of the same turn.
            if self.board.is_quiescent(run) {
                let tally = self.board.tally(run).unwrap_or(tally);
                watch.runs.remove(&run).into_iter().flatten().for_each(|waiter| reply(waiter, tally));
            }
        }
    }

    /// Tells who waits for the whole board. Everything is committed.
    pub(super) fn tell_waiters(&self) {
        let (idle, no_jobs) = (self.board.is_idle(), !self.board.is_at_work());
        let no_attempts = self.board.attempts() == 0;
        if !(idle || no_jobs || no_attempts) {
            return;
        }
        let mut watch = self.parts.ingress.watch();
        if idle {
            watch.idle.drain(..).for_each(|waiter| reply(waiter, Tally::default()));
        }
        if no_jobs {
            watch.jobs.drain(..).for_each(|waiter| reply(waiter, Tally::default()));
        }
        if no_attempts {
            watch.attempts.drain(..).for_each(|waiter| reply(waiter, Tally::default()));
        }
    }

    /// Tells who waits for room in the windows of agents. Each adds one job at most before it waits again.
    pub(super) fn tell_room(&self) {
        let mut watch = self.parts.ingress.watch();
        watch.windows.retain(|(_, answer)| !answer.is_closed());
        for (_, answer) in watch.windows.extract_if(.., |(agent, _)| self.board.has_room(*agent)) {
            reply(answer, Tally::default());
        }
    }
}

/// Adds a waiter, and forgets those who have gone.
fn join(waiting: &mut Vec<oneshot::Sender<Tally>>, answer: oneshot::Sender<Tally>) {
    waiting.retain(|waiter| !waiter.is_closed());
    waiting.push(answer);
}
