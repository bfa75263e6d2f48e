//! History: questions about the past, and the removal of what is too old.
//!
//! The runtime's queries and its janitor ask; the board never does. Pure contract; implementations may do
//! I/O.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Answer, Log, Retained, Retention, StoreError};
use crate::artifact::Artifact;
use crate::filter::{Filter, Page};
use crate::id::{ArtifactId, JobId, Offset};
use crate::outcome::Outcome;
use crate::time::Timestamp;

/// The history of a store: artifacts found, counted, traced to their causes, and removed.
///
/// A store that implements none of it answers questions with [`StoreError::NotOffered`] and removes nothing.
/// The suite's part for this trait is `store::conformance::check_history` (feature `testing`).
#[expect(unused_variables, reason = "a store that offers no history needs no question")]
pub trait History: Log {
    /// Finds artifacts, one page at a time.
    fn find<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Page> {
        not_offered(self.name(), "queries")
    }

    /// Counts what a filter accepts; its cursor and limit have no meaning here.
    fn summary<'a>(&'a self, filter: &'a Filter, by: SummaryBy) -> Answer<'a, Vec<Summary>> {
        not_offered(self.name(), "summaries")
    }

    /// Returns what led to an artifact and what became of it; `None` when it is not there.
    fn lineage(&self, artifact: ArtifactId) -> Answer<'_, Option<Lineage>> {
        not_offered(self.name(), "lineage")
    }

    /// Removes what is finished and beyond the bounds of a policy: at most `limit` artifacts, the oldest
    /// first.
    ///
    /// Called at any time, also while a commit is under way. Never removes an artifact with a claim that has
    /// no outcome, nor an input of an unfinished job or of a pair that is remembered. Removed artifacts are
    /// not found any more, and their idempotency keys are free again. Dead letters stay, also without their
    /// inputs, unless the policy bounds them: then those that were discarded, or driven again and whose job
    /// has no unfinished record, go with their attempts, at most `limit` of them. Open ones never go, and no
    /// number is given twice. A call that is dropped has removed each artifact wholly or not at all. By
    /// default nothing is removed.
    fn retain<'a>(&'a self, policy: &'a Retention, now: Timestamp, limit: usize) -> Answer<'a, Retained> {
        Box::pin(std::future::ready(Ok(Retained::default())))
    }
}

/// Answers what a store does not offer.
pub(super) fn not_offered<'a, T: Send + 'a>(store: String, what: &'static str) -> Answer<'a, T> {
    Box::pin(std::future::ready(Err(StoreError::NotOffered { store, what })))
}

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
    pub claims: Vec<ClaimRecord>,
}

impl Lineage {
    /// Returns a lineage; for stores.
    #[must_use]
    pub fn new(artifact: Arc<Artifact>, causes: Vec<Arc<Artifact>>, mut claims: Vec<ClaimRecord>) -> Self {
        claims.sort_by(|a, b| a.subscription.cmp(&b.subscription).then(a.published.cmp(&b.published)));
        Self { artifact, causes, claims }
    }
}

/// The outcome of an artifact for one subscription; for a join of every pair, in one of its pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// The subscription's stable name: its agent and its number there, as in `settle/0`.
    pub subscription: String,
    /// How it ended and why; `None` while it is outstanding.
    pub outcome: Option<Outcome>,
    /// The job that took it, if one has.
    pub job: Option<JobId>,
    /// The artifacts that the job published, by place.
    pub published: Vec<Offset>,
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
