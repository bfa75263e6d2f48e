//! The status of the curator, and the report of its recovery. Data only.

use std::fmt;

use volery_blackboard::Timestamp;

/// The state of the curator, as it last reported it.
#[derive(Debug, Default)]
pub(crate) struct CuratorStatus {
    /// Since when, and why, the store refuses writes and nothing is started.
    pub(crate) store_trouble: Option<(Timestamp, String)>,
    /// Since when it has been waiting for a commit.
    pub(crate) committing: Option<Timestamp>,
    /// The unfinished work that its latest life found.
    pub(crate) recovered: Recovered,
}

/// The unfinished work that a curator found when it began its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Runs that have a part in these jobs.
    pub runs: u64,
    /// Jobs that had been started and have no end.
    pub jobs_replayed: u64,
    /// Those of them whose last attempt has no end, and that run again. The others wait for the end of their
    /// back-off.
    pub jobs_rerun: u64,
    /// Those of them that the death of the process has ever cut short.
    pub interrupted: u64,
    /// Inputs in the log that no such job takes, counted once per subscription. They are read as there is
    /// room.
    pub inputs: u64,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, jobs_replayed, jobs_rerun, inputs, .. } = self;
        write!(f, "resumed: {runs} runs, {jobs_replayed} jobs replayed, {jobs_rerun} re-run")?;
        if *inputs > 0 { write!(f, "; {inputs} inputs wait in the log") } else { Ok(()) }
    }
}
