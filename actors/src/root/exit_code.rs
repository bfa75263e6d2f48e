//! Exit codes of a process that embeds a runtime. Pure: no I/O, no clock.
//!
//! The numbers are those of `sysexits.h` and of shells. `docs/supervision.md` has the table.

use std::process::ExitCode;

use super::phase::Phase;
use super::report::{PhaseStatus, ShutdownReport, StopCause};

/// The exit code after an orderly stop, also when unfinished work was handed back.
pub const EXIT_CODE_STOPPED: u8 = 0;

/// The exit code of an error: before or at the start, or because a phase of the stop failed.
pub const EXIT_CODE_FAILED: u8 = 1;

/// The exit code when the supervision tree gave up: a part failed more often than its supervisor allows.
/// `EX_SOFTWARE`.
pub const EXIT_CODE_GAVE_UP: u8 = 70;

/// The exit code when an agent escalated: a restart of the process may help. `EX_TEMPFAIL`.
pub const EXIT_CODE_ESCALATED: u8 = 75;

/// The exit code of a process that a third signal ends: 128 + SIGINT, as shells expect it.
pub const EXIT_CODE_INTERRUPTED: i32 = 130;

impl ShutdownReport {
    /// Returns the exit code that `main` should end with: see the constants named `EXIT_CODE_…`.
    ///
    /// The cause decides; a stop that was asked for, and in which a phase of its own failed (not a callback,
    /// and not the last export of spans), is an error. A phase whose time ran out has not failed: what it
    /// left is in the report, and was handed back.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match &self.cause {
            StopCause::GaveUp(_) => EXIT_CODE_GAVE_UP,
            StopCause::Escalated { .. } => EXIT_CODE_ESCALATED,
            StopCause::Requested | StopCause::Interrupted | StopCause::HandlesDropped => {
                // Callbacks are the service's own, and a collector that is away is nobody's reason for a
                // restart: both are in the report, and ended no work.
                let own = |phase: Phase| !matches!(phase, Phase::Notice | Phase::Flush | Phase::Telemetry);
                let failed = |row: &&super::PhaseReport| matches!(row.status, PhaseStatus::Failed(_));
                let failed = self.phases.iter().filter(failed).any(|row| own(row.phase));
                if failed { EXIT_CODE_FAILED } else { EXIT_CODE_STOPPED }
            }
        }
    }

    /// Returns [`exit_status`](Self::exit_status) in the form that `main` returns.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit_status())
    }

    /// Ends the process with [`exit_status`](Self::exit_status), at once and for good.
    ///
    /// A `main` that returns drops its tokio runtime, and that waits for every thread: with an engine that
    /// blocks its thread it waits for ever. This does not wait. Nothing of the process is dropped, so do
    /// everything else before; a runtime that has reported has nothing left to write.
    pub fn exit(&self) -> ! {
        std::process::exit(self.exit_status().into())
    }
}
