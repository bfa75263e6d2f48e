//! Orders severities and decides the severity of a line.
//!
//! In this order: the level the line itself gives; the HTTP status of an access line (500 and above is an
//! error, 400 and above a warning, else information); the strongest keyword of the message; else information.
//!
//! Keywords, whole words in any case:
//! * critical: `fatal`, `critical`, `panic`, `panicked`, `emergency`, `segfault`, and `out of memory`;
//! * error: `error`, `errors`, `err`, `fail`, `fails`, `failed`, `failure`, `failures`, `exception`,
//!   `traceback`, `abort`, `aborted`, `crash`, `crashed`, `refused`, `denied`, and words ending in `Error` or
//!   `Exception`;
//! * warning: `warn`, `warning`, `warnings`, `deprecated`, `retry`, `retrying`, `timeout`;
//! * debug: `debug`, `trace`.
//!
//! Words joined by `-`, `_` or `/` are one word, so that package and file names say nothing. A keyword does
//! not count after `no`, `without`, `zero` or `0`, or before `0` (`failed=0`). Pure: no I/O, no clock.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a line is; later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// For developers.
    Debug,
    /// Normal operation; syslog's `notice` as well.
    Info,
    /// Unusual, still working.
    Warning,
    /// Something failed.
    Error,
    /// The program or the machine cannot go on; syslog's `alert` and `emerg` as well.
    Critical,
}

impl Severity {
    /// Reads a level word in any case: `WARN`, `err`, `Fatal`.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        lookup(&LEVELS, word)
    }

    /// Reads a syslog priority, 0 (emergency) to 7 (debug); the facility part is dropped.
    pub(crate) fn from_syslog(priority: u16) -> Self {
        match priority & 7 {
            0..=2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 | 6 => Self::Info,
            _ => Self::Debug,
        }
    }

    /// Reads a numeric level of JSON logs: syslog priorities below 8, the steps of 10 of bunyan and pino from
    /// 10 on.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        match number {
            0..=7 => Some(Self::from_syslog(number as u16)),
            10..30 => Some(Self::Debug),
            30..40 => Some(Self::Info),
            40..50 => Some(Self::Warning),
            50..60 => Some(Self::Error),
            60..70 => Some(Self::Critical),
            _ => None,
        }
    }

    /// Returns the lower-case name, as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Decides the severity of a line from its own level, its HTTP status and its message.
pub(crate) fn classify(level: Option<Severity>, status: Option<u16>, message: &str) -> Severity {
    match (level, status) {
        (Some(level), _) => level,
        (None, Some(500..)) => Severity::Error,
        (None, Some(400..500)) => Severity::Warning,
        (None, Some(_)) => Severity::Info,
        (None, None) => from_keywords(message).unwrap_or(Severity::Info),
    }
}

const LEVELS: [(&str, Severity); 20] = [
    ("trace", Severity::Debug),
    ("debug", Severity::Debug),
    ("dbg", Severity::Debug),
    ("info", Severity::Info),
    ("information", Severity::Info),
    ("informational", Severity::Info),
    ("notice", Severity::Info),
    ("warn", Severity::Warning),
    ("warning", Severity::Warning),
    ("err", Severity::Error),
    ("error", Severity::Error),
    ("severe", Severity::Error),
    ("crit", Severity::Critical),
    ("critical", Severity::Critical),
    ("fatal", Severity::Critical),
    ("alert", Severity::Critical),
    ("emerg", Severity::Critical),
    ("emergency", Severity::Critical),
    ("panic", Severity::Critical),
    ("log", Severity::Info),
];

const KEYWORDS: [(&str, Severity); 31] = [
    ("fatal", Severity::Critical),
    ("critical", Severity::Critical),
    ("panic", Severity::Critical),
    ("panicked", Severity::Critical),
    ("emergency", Severity::Critical),
    ("segfault", Severity::Critical),
    ("error", Severity::Error),
    ("errors", Severity::Error),
    ("err", Severity::Error),
    ("fail", Severity::Error),
    ("fails", Severity::Error),
    ("failed", Severity::Error),
    ("failure", Severity::Error),
    ("failures", Severity::Error),
    ("exception", Severity::Error),
    ("traceback", Severity::Error),
    ("abort", Severity::Error),
    ("aborted", Severity::Error),
    ("crash", Severity::Error),
    ("crashed", Severity::Error),
    ("refused", Severity::Error),
    ("denied", Severity::Error),
    ("warn", Severity::Warning),
    ("warning", Severity::Warning),
    ("warnings", Severity::Warning),
    ("deprecated", Severity::Warning),
    ("retry", Severity::Warning),
    ("retrying", Severity::Warning),
    ("timeout", Severity::Warning),
    ("debug", Severity::Debug),
    ("trace", Severity::Debug),
];

fn lookup(table: &[(&str, Severity)], word: &str) -> Option<Severity> {
    table.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, severity)| *severity)
}

fn from_keywords(message: &str) -> Option<Severity> {
    let mut strongest = None;
    let mut pending = None;
    let (mut before, mut last) = ("", "");
    for word in words(message) {
        if word != "0" {
            strongest = strongest.max(pending);
        }
        pending = if is_out_of_memory([before, last, word]) {
            Some(Severity::Critical)
        } else {
            keyword(word).filter(|_| !negates(last))
        };
        (before, last) = (last, word);
    }
    strongest.max(pending)
}

/// Words joined by `-`, `_` or `/` are one, so that `libgpg-error-dev` and `/var/log/error.log` say nothing.
fn words(message: &str) -> impl Iterator<Item = &str> {
    let joins = ['-', '_', '/'];
    message
        .split(move |c: char| !c.is_alphanumeric() && !joins.contains(&c))
        .map(move |word| word.trim_matches(joins))
        .filter(|word| !word.is_empty())
}

fn keyword(word: &str) -> Option<Severity> {
    let compound = word.ends_with("Error") || word.ends_with("Exception");
    lookup(&KEYWORDS, word).or(compound.then_some(Severity::Error))
}

fn is_out_of_memory(words: [&str; 3]) -> bool {
    ["out", "of", "memory"].into_iter().zip(words).all(|(name, word)| name.eq_ignore_ascii_case(word))
}

fn negates(word: &str) -> bool {
    ["no", "without", "zero", "0"].into_iter().any(|name| name.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered() {
        let order = [Severity::Debug, Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];
        assert!(order.is_sorted());
    }

    #[test]
    fn the_level_wins_over_status_and_keywords() {
        assert_eq!(classify(Some(Severity::Info), Some(500), "fatal error"), Severity::Info);
        assert_eq!(classify(None, Some(503), "fine"), Severity::Error);
        assert_eq!(classify(None, Some(404), "error"), Severity::Warning);
        assert_eq!(classify(None, Some(200), "error"), Severity::Info);
    }

    #[test]
    fn the_strongest_keyword_counts() {
        let check = |message, expected| assert_eq!(classify(None, None, message), expected, "{message}");
        check("warning: retry failed", Severity::Error);
        check("kernel: Out of memory: killed process 7", Severity::Critical);
        check("java.lang.NullPointerException at x", Severity::Error);
        check("ConnectionError", Severity::Error);
        check("terror in the mirror", Severity::Info);
        check("status installed libgpg-error-dev:amd64", Severity::Info);
        check("rotated /var/log/error.log, error_code=0", Severity::Info);
        check("finished with 0 errors", Severity::Info);
        check("no error, without warnings", Severity::Info);
        check("ok=3 failed=0", Severity::Info);
        check("ok=3 failed=2", Severity::Error);
        check("DEBUG dump", Severity::Debug);
        check("", Severity::Info);
    }

    #[test]
    fn numbers_are_syslog_or_pino_levels() {
        assert_eq!(Severity::from_number(3), Some(Severity::Error));
        assert_eq!(Severity::from_number(50), Some(Severity::Error));
        assert_eq!(Severity::from_number(8), None);
        assert_eq!(Severity::from_syslog(34), Severity::Critical);
        assert_eq!(Severity::from_word("Notice"), Some(Severity::Info));
    }
}
