//! Writes: the change of one caller, all or nothing, and its result.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use super::{Note, Redrive, StoreError};
use crate::artifact::Artifact;
use crate::claim::{Claim, Settled};
use crate::few::Few;
use crate::id::{ArtifactId, JobId, Offset, RunId, SubscriptionIndex};
use crate::job::{Resumed, Start};
use crate::time::Timestamp;

/// The write of one caller, all or nothing.
#[derive(Debug)]
pub enum Write {
    /// New artifacts.
    Publish(Few<NewArtifact>),
    /// A job's start. A job may end without: then its end tells the start.
    Start(Arc<Start>),
    /// A job's end: its inputs' outcome and its outputs.
    Finish(Finish),
    /// A failed attempt, another one is to follow.
    Retry {
        /// The job.
        job: JobId,
        /// Its start, as in [`Finish`].
        start: Option<Arc<Start>>,
        /// Failed attempts so far.
        failures: u32,
        /// When the next may start.
        until: Timestamp,
        /// When this one failed.
        at: Timestamp,
        /// Why it failed, root cause last.
        error: Vec<String>,
    },
    /// An attempt was handed back at an orderly stop: it neither failed nor was it interrupted.
    Release(JobId),
    /// An outcome outside of any job.
    Settle(Settled),
    /// A note.
    Note(Note),
    /// Ends, as cancelled, all claims of a run that no unfinished job covers, for some subscriptions and
    /// behind a place of each.
    CancelClaims {
        /// The run.
        run: RunId,
        /// Subscriptions, and the place behind which claims end; `None` for all.
        behind: Vec<(SubscriptionIndex, Option<Offset>)>,
    },
    /// Lets the job of a dead letter run again.
    Redrive(Redrive),
    /// Gives a dead letter up. It stays in the list.
    Discard {
        /// The letter, by its number. It has to be open.
        letter: u64,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}

/// A new artifact with the claims on it.
#[derive(Debug)]
pub struct NewArtifact {
    /// The artifact; the store gives it its place.
    pub artifact: Arc<Artifact>,
    /// The workflow's name, for the run's record.
    pub workflow: Arc<str>,
    /// The claims on it, sorted by subscription.
    pub claims: Arc<[Claim]>,
}

/// A job's end.
#[derive(Debug)]
pub struct Finish {
    /// The job.
    pub job: JobId,
    /// The start of the attempt, unless it is recorded for sure. The store may have no record of the job.
    pub start: Option<Arc<Start>>,
    /// How it ended.
    pub end: JobEnd,
    /// The artifacts that it published: its outputs, or its failure.
    pub outputs: Few<NewArtifact>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Its inputs are consumed.
    Done,
    /// It failed for good.
    Dead(Box<Death>),
    /// Its run was cancelled.
    Cancelled,
}

/// How a job failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Attempts made.
    pub attempts: u32,
    /// Why the last one failed, root cause last.
    pub error: Vec<String>,
    /// When.
    pub at: Timestamp,
}

/// The result of one write.
#[derive(Debug)]
pub enum Written {
    /// Committed; for a write that publishes, the artifacts with their places, in order.
    Done(Few<Stored>),
    /// Committed: how many claims a [`Write::CancelClaims`] ended, in the order in which subscriptions were
    /// named.
    Cancelled(Vec<(SubscriptionIndex, u64)>),
    /// Committed: the job of a [`Write::Redrive`], unfinished again, for
    /// [`Input::Redriven`](crate::input::Input::Redriven). Its first attempt is yet to be started; failures
    /// count from 0.
    Redriven(Box<Resumed>),
    /// This write alone was refused; nothing of it is stored.
    Refused(StoreError),
}

/// The result of one published artifact.
#[derive(Clone, Debug)]
pub enum Stored {
    /// It is new.
    New(Arc<Artifact>),
    /// The tenant's idempotency key, or the id, is taken. Nothing was written.
    Repeat(Box<First>),
}

/// The first artifact of a [`Stored::Repeat`].
#[derive(Clone, Debug)]
pub struct First {
    /// The artifact.
    pub id: ArtifactId,
    /// Its place in the log.
    pub offset: Offset,
    /// Its run.
    pub run: RunId,
}
