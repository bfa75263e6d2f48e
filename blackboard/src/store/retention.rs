//! Retention: the bounds of finished artifacts and dead letters in a store, as data.
//!
//! It removes nothing; [`History::retain`](super::History::retain) does, when the runtime's janitor asks for
//! it. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much of what is finished is kept. The default sets no bound: then nothing is removed.
///
/// An artifact is finished when every claim on it has an outcome and no unfinished job or pair needs it. An
/// artifact that is not finished is kept whatever the bounds say, and counts for none of them. A kind that is
/// named in `per_kind` is judged by its own bounds alone; all other kinds share the general ones. An artifact
/// goes as soon as one bound is passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Retention {
    /// Finished artifacts go when they were published longer ago than this.
    pub age_max: Option<Duration>,
    /// At most this many finished artifacts are kept; the oldest go first.
    pub count_max: Option<u64>,
    /// Finished artifacts take at most this many bytes; the oldest go first. For stores that write payloads
    /// down: the memory store, which does not know how large a value is, ignores it.
    pub bytes_max: Option<u64>,
    /// Kinds with bounds of their own, by name.
    pub per_kind: BTreeMap<String, Bounds>,
    /// Dead letters that were discarded, or driven again and have ended, go when that was decided longer ago
    /// than this. Default: they are kept. Open letters are never removed.
    pub letters_age_max: Option<Duration>,
    /// At most this many of such dead letters are kept; those decided first go first. Default: any number.
    pub letters_count_max: Option<u64>,
}

/// The bounds of one kind; see [`Retention`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Bounds {
    /// As [`Retention::age_max`].
    pub age_max: Option<Duration>,
    /// As [`Retention::count_max`].
    pub count_max: Option<u64>,
    /// As [`Retention::bytes_max`].
    pub bytes_max: Option<u64>,
}

/// The result of one call of [`History::retain`](super::History::retain).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Artifacts that were removed.
    pub removed: u64,
    /// Dead letters that were removed.
    pub letters: u64,
    /// Whether the call stopped at its limit, and another one would remove more.
    pub more: bool,
}

impl Retention {
    /// Returns the bounds of all kinds that have none of their own.
    #[must_use]
    pub fn general(&self) -> Bounds {
        Bounds { age_max: self.age_max, count_max: self.count_max, bytes_max: self.bytes_max }
    }

    /// Returns the bounds that a kind is judged by.
    #[must_use]
    pub fn bounds_of(&self, kind: &str) -> Bounds {
        self.per_kind.get(kind).copied().unwrap_or_else(|| self.general())
    }

    /// Sets or replaces the bounds of one kind, by its name.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<String>, bounds: Bounds) -> Self {
        self.per_kind.insert(kind.into(), bounds);
        self
    }

    /// Tells whether there is no bound at all: then nothing is ever removed.
    #[must_use]
    pub fn keeps_everything(&self) -> bool {
        self.general().is_none() && self.per_kind.values().all(Bounds::is_none) && self.keeps_letters()
    }

    /// Tells whether no dead letter is ever removed.
    #[must_use]
    pub fn keeps_letters(&self) -> bool {
        self.letters_age_max.is_none() && self.letters_count_max.is_none()
    }
}

impl Bounds {
    /// Returns bounds that keep what was published at most this long ago.
    #[must_use]
    pub fn age(age_max: Duration) -> Self {
        Self { age_max: Some(age_max), ..Self::default() }
    }

    /// Returns bounds that keep at most this many.
    #[must_use]
    pub fn count(count_max: u64) -> Self {
        Self { count_max: Some(count_max), ..Self::default() }
    }

    /// Tells whether there is no bound.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_with_bounds_of_its_own_is_judged_by_them_alone() {
        let policy = Retention { count_max: Some(5), ..Retention::default() };
        assert!(!policy.keeps_everything());
        let policy = policy.with_kind("audit", Bounds::default());
        assert_eq!(policy.bounds_of("order"), Bounds::count(5));
        assert!(policy.bounds_of("audit").is_none(), "the general bounds do not hold for it");
    }

    #[test]
    fn without_bounds_everything_is_kept() {
        assert!(Retention::default().keeps_everything());
        let letters = Retention { letters_count_max: Some(0), ..Retention::default() };
        assert!(!letters.keeps_everything() && !letters.keeps_letters());
        let policy = Retention::default().with_kind("tick", Bounds::age(Duration::from_secs(1)));
        assert!(!policy.keeps_everything());
    }

    #[test]
    fn a_policy_is_read_from_text_with_any_of_its_fields() {
        let text = r#"{"count_max": 9, "per_kind": {"tick": {"age_max": {"secs": 1, "nanos": 0}}}}"#;
        let policy: Retention = serde_json::from_str(text).expect("the fields are known");
        let tick = Bounds::age(Duration::from_secs(1));
        assert_eq!(policy, Retention { count_max: Some(9), ..Retention::default() }.with_kind("tick", tick));
        assert!(serde_json::from_str::<Retention>(r#"{"count": 9}"#).is_err(), "a misspelt field is refused");
    }
}
