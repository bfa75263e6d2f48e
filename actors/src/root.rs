//! The root: the order of the start, and of the stop.
//!
//! One list of phases, read forwards to start and backwards to stop:
//!
//! ```text
//! start ─► telemetry ─► store ─► board ─► flush ─► agents ─► upkeep ─► intake ─► notice      stop ◄─ the same, backwards
//! ```
//!
//! Notice and flush are for callbacks of the service in a stop: nothing starts there. The board phase is the
//! timekeeper and the curator; under the root supervisor they and the two phases behind them are
//! rest-for-one: if the curator dies, agents and upkeep restart after it, and the board is read back from the
//! store.

mod backstop;
mod callbacks;
mod deadlines;
mod draining;
mod exit_code;
mod handle;
mod parts;
mod phase;
mod progress;
mod report;
mod stopper;
mod telemetry;
mod urgency;

pub use exit_code::{
    EXIT_CODE_ESCALATED, EXIT_CODE_FAILED, EXIT_CODE_GAVE_UP, EXIT_CODE_INTERRUPTED, EXIT_CODE_STOPPED,
};
pub(crate) use handle::RootHandle;
pub(crate) use parts::Root;
pub use phase::Phase;
pub use report::{CallbackReport, CutOff, PhaseReport, PhaseStatus, ShutdownReport, StopCause};
pub(crate) use urgency::Stopping;
