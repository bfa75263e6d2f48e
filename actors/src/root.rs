//! The root: what starts before what, and how it all stops.
//!
//! One list of phases, read forwards to start and backwards to stop:
//!
//! ```text
//! start ─► telemetry ─► store ─► board ─► agents ─► upkeep ─► intake        stop ◄─ the same, backwards
//! ```
//!
//! The board phase is the timekeeper and the curator; under the root supervisor they and the two phases behind them are
//! rest-for-one: if the curator dies, agents and upkeep restart after it, and the board is read back from the store.

mod keeper;
mod phase;
mod report;

pub(crate) use keeper::{Root, RootHandle, Stopping};
pub use phase::Phase;
pub use report::{PhaseReport, PhaseStatus, ShutdownReport, StopCause};
