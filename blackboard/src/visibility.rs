//! Visibility: who may see an artifact.
//!
//! Enforced when matching, and only there; queries, the feed and waiting lists do not look at it. Pure: no
//! I/O, no clock.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{AgentName, Tenant};
use crate::time::Timestamp;

/// The agents that may see an artifact.
///
/// ```
/// use std::time::Duration;
///
/// use volery_blackboard::visibility::Admission;
/// use volery_blackboard::{Timestamp, Viewer, Visibility};
///
/// let auditor = Viewer { name: "auditor".into(), ..Viewer::default() };
/// let published = Timestamp::default();
/// let admits = |visibility: Visibility| visibility.admits(&auditor, published);
/// assert_eq!(admits(Visibility::Public), Admission::Now);
/// assert_eq!(admits(Visibility::only(["planner"])), Admission::Never);
/// assert_eq!(admits(Visibility::labelled(["finance"])), Admission::Never);
/// let hour = Duration::from_secs(3_600);
/// assert_eq!(admits(Visibility::after(hour)), Admission::From(published.after(hour)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Visibility {
    /// Everybody.
    #[default]
    Public,
    /// The named agents only; nobody when the set is empty.
    Private(BTreeSet<AgentName>),
    /// Agents that carry all of these labels.
    Labelled(BTreeSet<String>),
    /// Agents of this tenant.
    Tenant(Tenant),
    /// No agent until the artifact is this old; from then on, the agents that `then` admits.
    After {
        /// Time from publication.
        delay: Duration,
        /// The rule from then on.
        then: Box<Visibility>,
    },
}

impl Visibility {
    /// Admits the named agents only.
    pub fn only<N: Into<AgentName>>(agents: impl IntoIterator<Item = N>) -> Self {
        Self::Private(agents.into_iter().map(Into::into).collect())
    }

    /// Admits agents that carry all of these labels.
    pub fn labelled<L: Into<String>>(labels: impl IntoIterator<Item = L>) -> Self {
        Self::Labelled(labels.into_iter().map(Into::into).collect())
    }

    /// Admits no agent until the artifact is `delay` old, then every agent.
    #[must_use]
    pub fn after(delay: Duration) -> Self {
        Self::After { delay, then: Box::new(Self::Public) }
    }

    /// Decides for one viewer: not at all, or from which time on.
    #[must_use]
    pub fn admits(&self, viewer: &Viewer, published: Timestamp) -> Admission {
        let allowed = match self {
            Self::Public => true,
            Self::Private(agents) => agents.contains(&viewer.name),
            Self::Labelled(labels) => labels.is_subset(&viewer.labels),
            Self::Tenant(tenant) => *tenant == viewer.tenant,
            Self::After { delay, then } => {
                let opens = published.after(*delay);
                return match then.admits(viewer, published) {
                    Admission::From(later) => Admission::From(opens.max(later)),
                    Admission::Now => Admission::From(opens),
                    Admission::Never => Admission::Never,
                };
            }
        };
        if allowed { Admission::Now } else { Admission::Never }
    }
}

/// A viewer: an agent with its labels and tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Viewer {
    /// The agent's name.
    pub name: AgentName,
    /// The agent's labels.
    pub labels: BTreeSet<String>,
    /// The agent's tenant.
    pub tenant: Tenant,
}

impl Default for AgentName {
    fn default() -> Self {
        Self::from("")
    }
}

/// The answer of a visibility rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The viewer may see it.
    Now,
    /// The viewer may see it from this time on.
    From(Timestamp),
    /// The viewer may not see it.
    Never,
}

impl Admission {
    /// Tells whether the viewer may see it at `now`.
    #[must_use]
    pub fn at(self, now: Timestamp) -> bool {
        match self {
            Self::Now => true,
            Self::From(opens) => opens <= now,
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer() -> Viewer {
        Viewer { name: "audit".into(), labels: BTreeSet::from(["eu".to_owned()]), tenant: Tenant::default() }
    }

    #[test]
    fn every_rule_admits_whom_it_names() {
        let published = Timestamp::from_millis_since_epoch(1_000);
        let hour = Duration::from_secs(3_600);
        for (rule, answer) in [
            (Visibility::Public, Admission::Now),
            (Visibility::only(["audit"]), Admission::Now),
            (Visibility::only(["other"]), Admission::Never),
            (Visibility::only::<AgentName>([]), Admission::Never),
            (Visibility::labelled(["eu"]), Admission::Now),
            (Visibility::labelled(["eu", "pii"]), Admission::Never),
            (Visibility::Tenant(Tenant::from("acme")), Admission::Never),
            (Visibility::after(hour), Admission::From(published.after(hour))),
            (
                Visibility::After { delay: hour, then: Box::new(Visibility::only(["other"])) },
                Admission::Never,
            ),
        ] {
            assert_eq!(rule.admits(&viewer(), published), answer, "{rule:?}");
        }
    }
}
