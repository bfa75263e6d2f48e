//! Lineage: what led to an artifact and what became of it; summaries of many.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::id::{JobId, Offset};
use crate::outcome::Outcome;

/// The causes of one artifact, and its outcome for every subscription that took it. One step up and one down;
/// from there it goes on by asking again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lineage {
    /// The artifact.
    pub artifact: Arc<Artifact>,
    /// The inputs of the job that published it, in input order, as far as the store still keeps them.
    pub causes: Vec<Arc<Artifact>>,
    /// Its outcomes, by subscription.
    pub fates: Vec<Fate>,
}

impl Lineage {
    /// Returns a lineage; for stores.
    #[must_use]
    pub fn new(artifact: Arc<Artifact>, causes: Vec<Arc<Artifact>>, mut fates: Vec<Fate>) -> Self {
        fates.sort_by(|a, b| a.subscription.cmp(&b.subscription).then(a.published.cmp(&b.published)));
        Self { artifact, causes, fates }
    }
}

/// The outcome of an artifact for one subscription; for a join of every pair, in one of its pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fate {
    /// The subscription's stable name: its agent and its number there, as in `settle/0`.
    pub subscription: String,
    /// How it ended and why; `None` while it is outstanding.
    pub outcome: Option<Outcome>,
    /// The job that took it, if one has.
    pub job: Option<JobId>,
    /// The artifacts that the job published, by place.
    pub published: Vec<Offset>,
}

impl Fate {
    /// Returns a fate; for stores.
    #[must_use]
    pub fn new(
        subscription: String,
        outcome: Option<Outcome>,
        job: Option<JobId>,
        published: Vec<Offset>,
    ) -> Self {
        Self { subscription, outcome, job, published }
    }
}

/// The key of a summary's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SummaryBy {
    /// Artifacts by the name of their kind.
    Kind,
    /// Artifacts by who published them, as [`Producer`](crate::Producer) is written.
    Producer,
    /// Claims on the artifacts by their outcome's name, `outstanding` for those without.
    Outcome,
}

/// How many of something there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// The key that was counted.
    pub name: String,
    /// How many.
    pub count: u64,
}

impl Summary {
    /// Returns counts sorted by name, without those of 0; for stores.
    #[must_use]
    pub fn sorted(counts: impl IntoIterator<Item = (String, u64)>) -> Vec<Self> {
        let some = counts.into_iter().filter(|(_, count)| *count > 0);
        let mut all: Vec<Self> = some.map(|(name, count)| Self { name, count }).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}
