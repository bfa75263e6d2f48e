//! Restart: whether another life follows a life that ended by itself.
//!
//! Pure: no I/O, no clock. It does not say which siblings are affected (`strategy.rs`) or when
//! (`backoff.rs`).

use super::exit::Exit;

/// Says whether a child that ended by itself gets another life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only after an end that was not orderly ([`Exit::is_orderly`]).
    Transient,
    /// Never. When a sibling's failure stops it, it stays stopped too.
    Temporary,
}

impl Restart {
    /// Decides whether a life that ended by itself with `exit` is followed by another.
    pub(super) fn follows(self, exit: &Exit) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => !exit.is_orderly(),
            Self::Temporary => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(restart: Restart, after_orderly: bool, after_failure: bool) {
        let text = || "boom".to_owned();
        for exit in [Exit::Stopped, Exit::Finished] {
            assert_eq!(restart.follows(&exit), after_orderly, "{restart:?} {exit}");
        }
        for exit in [
            Exit::Killed,
            Exit::PanickedInStart(text()),
            Exit::PanickedInHandle(text()),
            Exit::PanickedInCleanup(text()),
            Exit::Failed(text()),
            Exit::StartFailed(text()),
            Exit::CleanupOverran,
            Exit::GaveUp(text()),
            Exit::Aborted,
        ] {
            assert_eq!(restart.follows(&exit), after_failure, "{restart:?} {exit}");
        }
    }

    #[test]
    fn permanent_always_gets_another_life() {
        check(Restart::Permanent, true, true);
    }

    #[test]
    fn transient_gets_another_life_after_failures_only() {
        check(Restart::Transient, false, true);
    }

    #[test]
    fn temporary_never_gets_another_life() {
        check(Restart::Temporary, false, false);
    }
}
