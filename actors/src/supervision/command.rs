//! The commands of a supervisor's rules to its shell, and the shell's reports about a life.
//!
//! Pure: no I/O, no clock. Only data: `rules.rs` gives the commands, `shell.rs` performs them, `keeper.rs`
//! reports.

use std::time::Duration;

use super::children::ChildIndex;
use super::event::LifeEvent;
use super::exit::Exit;
use super::report::{ChildStop, StartError, StopReport, SupervisorExit};

/// The commands for the shell, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// Begin a life after a wait; report `Started` or `StartFailed`, then its end.
    Start { index: ChildIndex, life: u64, after: Duration },
    /// Ask the life to stop, in its child's way; its end is reported.
    Stop { index: ChildIndex },
    /// Kill the life; its end is reported.
    Kill { index: ChildIndex },
    /// The child ended for good: refuse its messages. `forget` also drops what the shell holds of it.
    Retire { index: ChildIndex, forget: bool },
    /// Log the event and show it to the observer.
    Announce(LifeEvent),
    /// The first start of all static children is complete.
    Ready,
    /// A child added while running is alive, or could not be started.
    Added { index: ChildIndex, result: Result<(), StartError> },
    /// A child is stopped, for those who asked for that.
    Removed { index: ChildIndex, stop: ChildStop },
    /// All children are down: end.
    Finish { exit: SupervisorExit, report: StopReport },
}

/// The report of a child's keeper about one life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// The life takes messages.
    Started,
    /// It could not be started and nothing of it is left.
    StartFailed { exit: Exit },
    /// It was asked to stop before it had started, and nothing of it is left.
    NotStarted,
    /// Its time to stop ran out; it is being killed.
    Overran { after: Duration },
    /// It has fully ended. `cleanup` tells of a clean-up that failed after a failure.
    Ended { exit: Exit, cleanup: Option<Exit> },
}
