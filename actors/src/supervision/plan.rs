//! Which children a failure affects, by strategy.
//!
//! Pure: no I/O, no clock. It names the affected children in start order; `engine.rs` stops them in reverse
//! and starts them forwards.

use super::roster::{Roster, Seat};

/// Says which siblings share the fate of a failed child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// None: only the failed child is restarted.
    #[default]
    OneForOne,
    /// Those started after it: they are stopped in reverse order, then it and they are started in order.
    RestForOne,
    /// All: they are stopped in reverse order, then all are started in order.
    OneForAll,
}

/// Names the children to be down and then started again because `failed` failed, in start order.
///
/// Siblings that are [`Restart::Temporary`](super::Restart::Temporary) are included: they are stopped with
/// the others, the engine leaves them out when starting. A transient sibling that had ended in good order is
/// included too and starts again, as in Erlang/OTP.
pub(super) fn affected(strategy: Strategy, roster: &Roster, failed: Seat) -> Vec<Seat> {
    match strategy {
        Strategy::OneForOne => vec![failed],
        Strategy::RestForOne => roster.seats().filter(|seat| *seat >= failed).collect(),
        Strategy::OneForAll => roster.seats().collect(),
    }
}
