//! Dead letters: listing them, looking at one, driving it again (edited, or as it is), giving it up.
//!
//! Handles and builders only; the curator decides, and the store judges.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use volery_blackboard::store::{DeadFilter, DeadLetter, DeadState, FailedAttempt, Inspected};
use volery_blackboard::{AgentName, Artifact, JobId, Payload, RunId, Timestamp};

use self::redrive::Edit;
use super::Volery;
use crate::error::{Cause, Error, Result};

mod redrive;
mod redrive_all;

pub use redrive_all::{RedriveAll, Redriven};

type Awaited<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

impl Volery {
    /// Lists jobs that failed for good, oldest first:
    /// `volery.dead_letters().agent("settle").only_open().await?`.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters { volery: self.clone(), filter: DeadFilter::all() }
    }

    /// Returns all that is known of a dead letter: its inputs with their payloads, every attempt, the chain
    /// of causes. Cancel safe.
    ///
    /// # Errors
    /// Of kind `FixInput` when there is none with this number; when the store cannot be read.
    pub async fn dead_letter(&self, number: u64) -> Result<Letter> {
        let known = self.inspected(number).await?;
        Ok(Letter { volery: self.clone(), known })
    }

    async fn inspected(&self, number: u64) -> Result<Inspected> {
        let found = self.0.services.store.dead_letter(number).await?;
        found.ok_or_else(|| Cause::NoSuchLetter(number).into())
    }

    /// Reads one page.
    async fn list_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>> {
        Ok(self.0.services.store.dead_letters(filter).await?)
    }

    /// Drives every open dead letter that a filter accepts again:
    /// `volery.redrive(DeadFilter::all().agent("settle")).per_second(50).await?`.
    pub fn redrive(&self, filter: DeadFilter) -> RedriveAll {
        RedriveAll::new(self.clone(), filter)
    }
}

/// A list of dead letters to be read, or driven again. Made by [`Volery::dead_letters`]; all conditions must
/// hold.
///
/// Awaiting it gives a page of at most 1,000; the next one is read with [`after`](Self::after) the last
/// number. It fails when the store cannot be read, or is closed after a shutdown. Cancel safe.
#[derive(Clone, Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct DeadLetters {
    volery: Volery,
    filter: DeadFilter,
}

impl DeadLetters {
    /// Accepts the jobs of one agent.
    pub fn agent(self, agent: impl Into<AgentName>) -> Self {
        self.map(|filter| filter.agent(agent))
    }

    /// Accepts one run.
    pub fn run(self, run: RunId) -> Self {
        self.map(|filter| filter.run(run))
    }

    /// Accepts jobs with an input of this kind.
    pub fn kind(self, name: impl Into<String>) -> Self {
        self.map(|filter| filter.kind(name))
    }

    /// Accepts what was given up at this time or later.
    pub fn since(self, time: Timestamp) -> Self {
        self.map(|filter| filter.since(time))
    }

    /// Accepts what was given up before this time.
    pub fn until(self, time: Timestamp) -> Self {
        self.map(|filter| filter.until(time))
    }

    /// Accepts only letters that nothing has been done about.
    pub fn only_open(self) -> Self {
        self.map(DeadFilter::only_open)
    }

    /// Goes on behind this number.
    pub fn after(self, number: u64) -> Self {
        self.map(|filter| filter.after(number))
    }

    /// Gives at most this many, and never more than 1,000, which is the default.
    pub fn limit(self, limit: usize) -> Self {
        self.map(|filter| filter.limit(limit))
    }

    /// Drives all of these that are open again; see [`RedriveAll`].
    pub fn redrive(self) -> RedriveAll {
        RedriveAll::new(self.volery, self.filter)
    }

    fn map(self, change: impl FnOnce(DeadFilter) -> DeadFilter) -> Self {
        Self { filter: change(self.filter), ..self }
    }
}

impl IntoFuture for DeadLetters {
    type Output = Result<Vec<DeadLetter>>;
    type IntoFuture = Awaited<Vec<DeadLetter>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.volery.list_letters(&self.filter).await })
    }
}

/// A dead letter with all that is known of it, as it was when it was read. Dereferences to the
/// [`DeadLetter`].
#[derive(Clone, Debug)]
pub struct Letter {
    volery: Volery,
    known: Inspected,
}

impl Letter {
    /// Returns the inputs of the job in input order, as far as the store still keeps them.
    #[must_use]
    pub fn artifacts(&self) -> &[Arc<Artifact>] {
        &self.known.inputs
    }

    /// Returns the failed attempts, oldest first, each with its time and its chain of causes.
    #[must_use]
    pub fn failed(&self) -> &[FailedAttempt] {
        &self.known.failed
    }

    /// Lets the job run again, with fresh attempts and the same inputs.
    pub fn redrive(&self) -> Redriving {
        Redriving { volery: self.volery.clone(), letter: self.known.clone(), edits: Ok(Vec::new()) }
    }

    /// Lets the job run again with the one input of the payload's kind replaced; of several,
    /// [`Redriving::replace`] names one.
    pub fn redrive_with<T: Payload>(&self, payload: T) -> Redriving {
        let mut redriving = self.redrive();
        redriving.edits = self.only(&T::schema_name()).map(|input| vec![Edit::typed(input, payload)]);
        redriving
    }

    /// Lets the job run again with the one input of this kind replaced by what JSON text says; the text has
    /// to fit the kind.
    pub fn redrive_with_json(&self, kind: &str, json: impl Into<String>) -> Redriving {
        let mut redriving = self.redrive();
        redriving.edits = self.only(kind).map(|input| vec![Edit::json(input, json)]);
        redriving
    }

    /// Gives the letter up, with a reason. It stays in the list.
    ///
    /// # Errors
    /// Of kind `FixInput` when something has been done about it already; else as for a publish.
    pub async fn discard(&self, reason: impl Into<String>) -> Result<()> {
        self.volery.discard_letter(self.known.letter.number, reason.into()).await
    }

    /// The place among the inputs of the only one that is of a kind.
    fn only(&self, kind: &str) -> Result<usize> {
        let of_kind = self.artifacts().iter().filter(|artifact| artifact.kind().name() == kind);
        let places: Vec<_> = of_kind.map(|artifact| artifact.offset()).collect();
        let [only] = places[..] else {
            return Err(Error::misuse(
                "the dead letter has no input of that kind, or several; name one with `redrive().replace(..)`",
            ));
        };
        let place = self.known.letter.inputs.iter().position(|offset| *offset == only);
        place.ok_or_else(|| Error::misuse("the input is none of the dead letter's"))
    }
}

impl Deref for Letter {
    type Target = DeadLetter;

    fn deref(&self) -> &DeadLetter {
        &self.known.letter
    }
}

impl fmt::Display for Letter {
    /// Writes all of it, on several lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeadLetter { number, subscription, run, attempts, at, .. } = &self.known.letter;
        let tries = if *attempts == 1 { "attempt" } else { "attempts" };
        write!(
            f,
            "dead letter {number}: {subscription} gave up at {at} after {attempts} {tries}, run {run}, "
        )?;
        match &self.known.letter.state {
            DeadState::Open => f.write_str("open")?,
            DeadState::Redriven { at } => write!(f, "driven again at {at}")?,
            DeadState::Discarded { at, reason } => write!(f, "discarded at {at}: {reason}")?,
            other => write!(f, "{other:?}")?,
        }
        for (place, offset) in self.known.letter.inputs.iter().enumerate() {
            let kept = self.artifacts().iter().find(|artifact| artifact.offset() == *offset);
            match kept.map(|artifact| (artifact.kind().name(), artifact.json())) {
                Some((kind, Ok(json))) => write!(f, "\n  input {place}: {kind} {json}")?,
                Some((kind, Err(error))) => write!(f, "\n  input {place}: {kind} ({error})")?,
                None => write!(f, "\n  input {place}: not kept any more")?,
            }
        }
        for attempt in self.failed() {
            let error = attempt.error.join(": ");
            write!(f, "\n  attempt {} failed at {}: {error}", attempt.number, attempt.at)?;
        }
        Ok(())
    }
}

/// A dead letter that is to be driven again; awaiting it gives the job.
///
/// With the same inputs it is the same job, in the same run, and its attempts are counted on; with others it
/// is another one. Either way failures count anew. An input that replaces another is published from outside,
/// caused by the other, with its run, tags, visibility, tenant and partition, and no other agent is given it.
///
/// Awaiting it fails with kind `FixInput` when something has been done about the letter already, an edit does
/// not fit its kind, the agent does not take it, an input is not kept any more, or the job is a pair of an
/// every-pair join; else as a publish does. Dropped while it waits for room, nothing is done; dropped later,
/// the job may run again or not.
#[derive(Debug)]
#[must_use = "nothing is driven again until it is awaited"]
pub struct Redriving {
    volery: Volery,
    letter: Inspected,
    edits: Result<Vec<Edit>>,
}

impl Redriving {
    /// Replaces one input, counted from 0 in input order, by a payload of the same kind.
    pub fn replace<T: Payload>(self, input: usize, payload: T) -> Self {
        self.with(Edit::typed(input, payload))
    }

    /// Replaces one input by what JSON text says; the text has to fit the input's kind.
    pub fn replace_json(self, input: usize, json: impl Into<String>) -> Self {
        self.with(Edit::json(input, json))
    }

    fn with(mut self, edit: Edit) -> Self {
        if let Ok(edits) = &mut self.edits {
            edits.push(edit);
        }
        self
    }
}

impl IntoFuture for Redriving {
    type Output = Result<JobId>;
    type IntoFuture = Awaited<JobId>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.volery.redrive_letter(&self.letter, self.edits?).await })
    }
}
