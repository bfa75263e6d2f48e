//! Dead letters: jobs that failed for good, how to list them, and what may be done about them.
//!
//! [`Write::Redrive`](super::Write) and [`Write::Discard`](super::Write) change them. Pure contract;
//! implementations may do I/O.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::history::not_offered;
use super::{Answer, Log, NewArtifact};
use crate::artifact::Artifact;
use crate::claim::Claim;
use crate::id::{AgentName, JobId, Offset, RunId};
use crate::job::Start;
use crate::time::Timestamp;

/// The dead letters of a store.
///
/// A store that implements none of it answers with [`StoreError::NotOffered`](super::StoreError::NotOffered),
/// and refuses [`Write::Redrive`](super::Write::Redrive) and [`Write::Discard`](super::Write::Discard) with
/// it. The suite's part for this trait is `store::conformance::check_letters` (feature `testing`).
#[expect(unused_variables, reason = "a store that keeps no letters needs no question")]
pub trait Letters: Log {
    /// Lists dead letters, oldest first.
    fn dead_letters<'a>(&'a self, filter: &'a DeadFilter) -> Answer<'a, Vec<DeadLetter>> {
        not_offered(self.name(), "dead letters")
    }

    /// Returns all that is known of a dead letter; `None` when there is none with this number.
    fn dead_letter(&self, number: u64) -> Answer<'_, Option<Inspected>> {
        not_offered(self.name(), "dead letters")
    }
}

/// A job that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number in the list, counted from 1.
    pub number: u64,
    /// The job.
    pub job: JobId,
    /// The agent.
    pub agent: AgentName,
    /// The subscription's stable name: its agent and its number there, as in `settle/0`.
    pub subscription: String,
    /// The run of its outputs.
    pub run: RunId,
    /// Its inputs, in input order.
    pub inputs: Vec<Offset>,
    /// The kinds of its inputs, each once, in input order.
    pub kinds: Vec<String>,
    /// Attempts made.
    pub attempts: u32,
    /// Why the last one failed, root cause last.
    pub error: Vec<String>,
    /// When it was given up.
    pub at: Timestamp,
    /// The decision about it.
    pub state: DeadState,
}

/// The decision about a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeadState {
    /// Nothing yet.
    Open,
    /// Its job runs again, or has run; should it fail for good again, that is another letter.
    Redriven {
        /// When.
        at: Timestamp,
    },
    /// It was given up by a decision.
    Discarded {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// Its number, counted from 1 over all attempts of the job, also those that were handed back.
    pub number: u32,
    /// When it failed.
    pub at: Timestamp,
    /// Why, root cause last.
    pub error: Vec<String>,
}

/// All that is known of a dead letter.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The letter.
    pub letter: DeadLetter,
    /// Its inputs in input order, as far as the store still keeps them.
    pub inputs: Vec<Arc<Artifact>>,
    /// Its failed attempts, oldest first.
    pub failed: Vec<FailedAttempt>,
}

/// The most dead letters that one page holds.
const PAGE_MAX: usize = 1_000;

/// A filter of dead letters. All conditions must hold; the default is all letters, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct DeadFilter {
    /// The agent.
    pub agent: Option<AgentName>,
    /// The run.
    pub run: Option<RunId>,
    /// A kind among the inputs.
    pub kind: Option<String>,
    /// Given up at this time or later.
    pub since: Option<Timestamp>,
    /// Given up before this time.
    pub until: Option<Timestamp>,
    /// Nothing has been done about it.
    pub only_open: bool,
    /// The number behind which a page begins.
    pub after: u64,
    /// The number of letters on a page, unless it is more than 1,000.
    pub limit: Option<usize>,
}

impl DeadFilter {
    /// Accepts every dead letter.
    pub fn all() -> Self {
        Self::default()
    }

    /// Accepts the jobs of one agent.
    pub fn agent(mut self, agent: impl Into<AgentName>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Accepts one run.
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// Accepts jobs with an input of this kind.
    pub fn kind(mut self, name: impl Into<String>) -> Self {
        self.kind = Some(name.into());
        self
    }

    /// Accepts what was given up at this time or later.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Accepts what was given up before this time.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Accepts only letters that nothing has been done about.
    pub fn only_open(mut self) -> Self {
        self.only_open = true;
        self
    }

    /// Goes on behind this number.
    pub fn after(mut self, number: u64) -> Self {
        self.after = number;
        self
    }

    /// Gives at most this many, and never more than 1,000, which is the default.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Returns how many letters a page holds at most.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX)
    }

    /// Tells whether a letter meets every condition but the cursor.
    #[must_use]
    pub fn accepts(&self, letter: &DeadLetter) -> bool {
        self.agent.as_ref().is_none_or(|agent| letter.agent == *agent)
            && self.run.is_none_or(|run| letter.run == run)
            && self.kind.as_ref().is_none_or(|kind| letter.kinds.contains(kind))
            && self.since.is_none_or(|since| letter.at >= since)
            && self.until.is_none_or(|until| letter.at < until)
            && (!self.only_open || letter.state == DeadState::Open)
    }
}

impl Start {
    /// Returns the job as it runs again, with some of its inputs replaced: old place, new place, time of
    /// publication.
    ///
    /// With the same inputs it is the same job, and its attempts are counted on; with others it is another
    /// one, of the subscription named. Failures count anew.
    #[must_use]
    pub fn redriven(&self, subscription: &str, replaced: &[(Offset, Offset, Timestamp)]) -> Self {
        let mut start = Self { failures: 0, alone: false, ..self.clone() };
        if replaced.is_empty() {
            return start;
        }
        for member in &mut start.members {
            if let Some((_, new, _)) = replaced.iter().find(|(old, ..)| *old == member.offset) {
                member.offset = *new;
            }
        }
        start.at = replaced.iter().map(|(.., at)| *at).fold(start.at, Timestamp::max);
        start.job = JobId::derive(subscription, start.at, start.members.iter().map(|member| member.offset));
        start.attempt = 0;
        start
    }
}

/// Lets the job of a dead letter run again, with the same inputs or with some of them replaced.
#[derive(Debug)]
pub struct Redrive {
    /// The letter, by its number. It has to be open, and not of a pair of an every-pair join.
    pub letter: u64,
    /// When.
    pub at: Timestamp,
    /// Inputs to be replaced, by their places, each with the artifact that takes its place: published with
    /// it, in the same run, and claimed by the job's subscription alone.
    pub edits: Vec<(Offset, NewArtifact)>,
}

impl Redrive {
    /// Checks the edits against the job that is to run again; for stores.
    ///
    /// # Errors
    /// With what is wrong: a pair, a place that is no input, or an artifact that the job's subscription did
    /// not claim on the same side.
    pub fn check(&self, start: &Start) -> Result<(), String> {
        if start.shared {
            return Err("a pair of an every-pair join cannot run again; publish its inputs anew".to_owned());
        }
        for (index, (old, edit)) in self.edits.iter().enumerate() {
            let member = start.members.iter().find(|member| member.offset == *old);
            let Some(member) = member else { return Err(format!("offset {old} is no input of the job")) };
            if self.edits[..index].iter().any(|(other, _)| other == old) {
                return Err(format!("offset {old} is replaced twice"));
            }
            let claimed = |claim: &Claim| {
                (claim.subscription, claim.side) == (start.subscription, member.side)
                    && claim.refused.is_none()
            };
            if !matches!(&*edit.claims, [only] if claimed(only)) {
                return Err(format!("the agent does not take what is to replace offset {old}"));
            }
        }
        Ok(())
    }
}
