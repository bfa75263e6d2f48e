//! The phases, as data. Pure: no I/O, no clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One step of the ordered start, and of the ordered stop in reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// The exports of the service; last to stop, so that everything before can still be seen.
    Telemetry,
    /// The log.
    Store,
    /// The curator and its timekeeper.
    Board,
    /// The service's `on_flush` callbacks and the end of its protected sections: after the last agent and
    /// before the store closes.
    Flush,
    /// The agents.
    Agents,
    /// The sweeps.
    Upkeep,
    /// Publishing from outside.
    Intake,
    /// The service's `on_shutdown` callbacks.
    Notice,
}

impl Phase {
    /// Every phase in start order.
    pub const ALL: [Self; 8] = [
        Self::Telemetry,
        Self::Store,
        Self::Board,
        Self::Flush,
        Self::Agents,
        Self::Upkeep,
        Self::Intake,
        Self::Notice,
    ];

    /// Returns the phase's name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Store => "store",
            Self::Board => "board",
            Self::Flush => "flush",
            Self::Agents => "agents",
            Self::Upkeep => "upkeep",
            Self::Intake => "intake",
            Self::Notice => "notice",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
