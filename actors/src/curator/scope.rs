//! Scopes: what somebody waits for on the board. Pure: no I/O, no clock.

use volery_blackboard::{AgentIndex, RunId};

/// Where it is to be quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing of this run moves.
    Run(RunId),
    /// Nothing moves at all.
    Board,
    /// No job waits for a slot, runs or backs off; inputs on a timer do not count.
    Jobs,
    /// No attempt is running.
    Attempts,
    /// This agent has room in its window.
    Window(AgentIndex),
}
