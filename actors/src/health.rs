//! Health: whether a runtime is live and ready, and the reasons against it. Pure: no I/O, no clock.
//!
//! `runtime/inspection.rs` finds the reasons. `docs/supervision.md` has the table of their effects.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use volery_blackboard::Timestamp;

/// How a runtime is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// The runtime's name.
    pub runtime: String,
    /// When this was found.
    pub at: Timestamp,
    /// Whether it works at all; if not for long, only a new process helps.
    pub live: bool,
    /// Whether it should be given work. A runtime that is not live is not ready.
    pub ready: bool,
    /// The reasons, the worst first. None for a runtime in perfect health.
    pub reasons: Vec<Reason>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reason {
    /// Which part of the runtime: an actor by its name, `store`, `backlog`, `runtime`.
    pub part: String,
    /// The reason in words.
    pub what: String,
    /// Its effect.
    pub severity: Severity,
    /// Since when, as exactly as it is known: else since the first look that found it.
    pub since: Timestamp,
}

/// The effect of a reason, in the order of gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Neither; it is worth knowing.
    Degraded,
    /// Readiness.
    NotReady,
    /// Liveness, and so readiness as well.
    NotLive,
}

/// The result of an inspection.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

#[derive(Debug)]
struct Finding {
    part: String,
    /// The kind of the reason: the same over several looks, while the text may change.
    kind: &'static str,
    what: String,
    severity: Severity,
    since: Option<Timestamp>,
}

/// When each finding was first seen. It forgets what is over.
#[derive(Debug, Default)]
pub(crate) struct FirstSeen(BTreeMap<(String, &'static str), Timestamp>);

impl Findings {
    /// Adds a finding whose beginning is not known.
    pub(crate) fn add(
        &mut self,
        severity: Severity,
        part: &str,
        kind: &'static str,
        what: impl Into<String>,
    ) {
        self.0.push(Finding { part: part.to_owned(), kind, what: what.into(), severity, since: None });
    }

    /// Adds a finding whose beginning is known.
    pub(crate) fn add_since(
        &mut self,
        severity: Severity,
        part: &str,
        kind: &'static str,
        (what, since): (String, Timestamp),
    ) {
        self.0.push(Finding { part: part.to_owned(), kind, what, severity, since: Some(since) });
    }

    /// Tells whether a part has been found so.
    pub(crate) fn has(&self, part: &str, kind: &str) -> bool {
        self.0.iter().any(|finding| finding.part == part && finding.kind == kind)
    }

    /// Draws the conclusion.
    pub(crate) fn conclude(self, runtime: &str, at: Timestamp, seen: &mut FirstSeen) -> Health {
        let mut now_seen = BTreeMap::new();
        let mut reasons = Vec::with_capacity(self.0.len());
        for Finding { part, kind, what, severity, since } in self.0 {
            let key = (part.clone(), kind);
            let first = seen.0.get(&key).copied().unwrap_or(at);
            now_seen.insert(key, first);
            reasons.push(Reason { part, what, severity, since: since.unwrap_or(first) });
        }
        seen.0 = now_seen;
        // Stable: what is equally grave stays in the order of finding.
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
        let worst = reasons.first().map(|reason| reason.severity);
        Health {
            runtime: runtime.to_owned(),
            at,
            live: worst < Some(Severity::NotLive),
            ready: worst < Some(Severity::NotReady),
            reasons,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.live, self.ready) {
            (_, true) => "ready",
            (true, false) => "live, not ready",
            (false, false) => "not live",
        };
        write!(f, "{} is {state}", self.runtime)?;
        for reason in &self.reasons {
            write!(f, "\n  {reason} for {:.1?}", self.at.since(reason.since))?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.part, self.what, self.severity)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Degraded => "degraded",
            Self::NotReady => "not ready",
            Self::NotLive => "not live",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u32) -> Timestamp {
        Timestamp::from_millis_since_epoch(i64::from(ms))
    }

    #[test]
    fn the_gravest_reason_decides_and_stands_first() {
        let cases: [(&[Severity], (bool, bool)); 4] = [
            (&[], (true, true)),
            (&[Severity::Degraded], (true, true)),
            (&[Severity::Degraded, Severity::NotReady], (true, false)),
            (&[Severity::NotReady, Severity::NotLive, Severity::Degraded], (false, false)),
        ];
        for (severities, expected) in cases {
            let mut findings = Findings::default();
            severities.iter().for_each(|severity| findings.add(*severity, "part", "kind", "what"));
            let health = findings.conclude("t", at(0), &mut FirstSeen::default());
            assert_eq!((health.live, health.ready), expected, "{severities:?}");
            let gravest = health.reasons.first().map(|reason| reason.severity);
            assert_eq!(gravest, severities.iter().copied().max());
        }
    }

    #[test]
    fn a_reason_keeps_its_beginning_until_it_is_over() {
        let mut seen = FirstSeen::default();
        let mut look = |found: bool, ms| {
            let mut findings = Findings::default();
            if found {
                findings.add(Severity::Degraded, "agent", "paused", format!("text of {ms}"));
            }
            let health = findings.conclude("t", at(ms), &mut seen);
            health.reasons.first().map(|reason| reason.since)
        };
        assert_eq!(look(true, 1), Some(at(1)));
        assert_eq!(look(true, 2), Some(at(1)));
        assert_eq!(look(false, 3), None);
        assert_eq!(look(true, 4), Some(at(4)));
    }
}
