//! Trouble: why the program ends without a whole report, and the exit code for it.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | the report is whole |
//! | 1 | an input broke off and the report lacks the rest; or the report could not be made or written |
//! | 2 | the arguments or an input cannot be used; nothing was written |
//! | 130 | interrupted; nothing was written |

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use volery::ErrorKind;
use volery::report::EXIT_CODE_INTERRUPTED;

use super::source::SourceError;

/// The exit code when an input broke off.
pub(crate) const CUT_SHORT: u8 = 1;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// An input cannot be used.
    #[error(transparent)]
    Input(#[from] SourceError),
    /// The machine has no log that can be read; with the reasons.
    #[error("no log of this machine can be read; name one{}", .0.iter().map(|why| format!("\n  {why}")).collect::<String>())]
    NoLog(Vec<String>),
    /// The build cannot export.
    #[error("--otlp needs the feature `otlp`: cargo run -p volery-triage --features otlp -- --otlp …")]
    #[cfg(not(feature = "otlp"))]
    NoExport,
    /// A signal came.
    #[error("interrupted; no report was written")]
    Interrupted,
    /// The runtime failed.
    #[error("the runtime failed: {0}")]
    Runtime(volery::Error),
    /// Lines were left without an outcome.
    #[error("the run ended early: {0}")]
    Unfinished(String),
    /// A report could not be written.
    #[error("{}: the report cannot be written: {cause}", path.display())]
    Report {
        /// Where to.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
}

impl Trouble {
    /// Returns the exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Input(_) | Self::NoLog(_) => ExitCode::from(2),
            #[cfg(not(feature = "otlp"))]
            Self::NoExport => ExitCode::from(2),
            Self::Interrupted => ExitCode::from(u8::try_from(EXIT_CODE_INTERRUPTED).unwrap_or(u8::MAX)),
            Self::Runtime(_) | Self::Unfinished(_) | Self::Report { .. } => ExitCode::FAILURE,
        }
    }
}

impl From<volery::Error> for Trouble {
    /// Nothing in this program stops the runtime before its end but a signal.
    fn from(error: volery::Error) -> Self {
        if error.kind() == ErrorKind::Stop { Self::Interrupted } else { Self::Runtime(error) }
    }
}
