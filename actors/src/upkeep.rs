//! Upkeep: the loops beside the data path.
//!
//! The timekeeper finds everything that is due by an armed deadline. The sweeps look again at fixed periods, as a
//! safety net: should a deadline ever be missed, what it was for is late by a period and not for ever.

mod sweep;
mod timekeeper;

pub(crate) use sweep::Sweep;
pub(crate) use timekeeper::{Timekeeper, TimekeeperMessage};
