//! Pairs an incident with the changes that came shortly before it.
//!
//! A suspect is a change of the same component (see `package.rs`), at the time of the incident's first line
//! or at most the window before. Time is event time. Pure: no I/O, no clock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::changes::Change;
use super::incident::Incident;
use super::package::same_component;

/// A change that came before an incident of its component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Suspect {
    /// The change.
    pub(crate) change: Change,
    /// How long before the first line of the incident, in microseconds.
    pub(crate) micros_before: i64,
}

/// Returns the change as a suspect, if it is one; `window` is in microseconds.
pub(crate) fn suspect(incident: &Incident, change: &Change, window: i64) -> Option<Suspect> {
    let micros_before = incident.cluster.first.checked_sub(change.at)?;
    let near = (0..=window).contains(&micros_before);
    (near && same_component(&incident.component, change))
        .then(|| Suspect { change: change.clone(), micros_before })
}

#[cfg(test)]
mod tests {
    use super::super::incident::{Cluster, Sample};
    use super::super::severity::Severity;
    use super::*;

    fn incident(first: i64) -> Incident {
        let sample = Sample { at: first, source: "log".into(), number: 1, text: "x".into() };
        let cluster = Cluster { first, last: first, count: 3, severity: Severity::Error, sample };
        Incident { component: "sshd".into(), fingerprint: "x".into(), cluster }
    }

    fn change(at: i64, component: &str) -> Change {
        let (source, summary) = ("dpkg.log".into(), "install".into());
        Change { source, at, component: component.into(), summary, package: true }
    }

    #[test]
    fn the_window_includes_both_its_ends() {
        let before = |at| suspect(&incident(100), &change(at, "openssh-server"), 10).map(|s| s.micros_before);
        assert_eq!([89, 90, 100, 101].map(before), [None, Some(10), Some(0), None]);
    }

    #[test]
    fn another_component_is_no_suspect() {
        assert_eq!(suspect(&incident(100), &change(95, "nginx"), 10), None);
        assert_eq!(suspect(&incident(i64::MIN), &change(i64::MAX, "sshd"), 10), None);
    }
}
