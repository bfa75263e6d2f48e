//! Decisions about one dead letter: its job runs again, or it is discarded.
//!
//! Code of the user (predicates, `Deserialize`) runs here, in the caller's task; the curator commits.

use std::fmt;
use std::sync::Arc;

use volery_blackboard::store::{DeadState, Inspected, NewArtifact, Redrive, StoreError};
use volery_blackboard::{
    Artifact, Body, JobId, Kind, Offset, Payload, Producer, SubscriptionIndex, Timestamp, Visibility,
};

use super::Volery;
use crate::error::{Cause, Error, Result};
use crate::ingress::LetterDecision;
use crate::kinds::KindTable;

type MakePayload = Box<dyn FnOnce(&KindTable, &Kind) -> std::result::Result<(Kind, Body), String> + Send>;

/// The replacement of an input of a dead letter's job.
pub(super) struct Edit {
    /// Which input, counted from 0 in input order.
    input: usize,
    /// Makes the payload, given the kind of the input that it replaces.
    payload: MakePayload,
}

impl Edit {
    /// Replaces the input by a payload of the same kind.
    pub(super) fn typed<T: Payload>(input: usize, payload: T) -> Self {
        let make = move |kinds: &KindTable, was: &Kind| {
            let kind = kinds.kind_of::<T>().map_err(|error| error.to_string())?;
            if kind.name() != was.name() {
                return Err(format!("input {input} is of kind `{}`, not `{}`", was.name(), kind.name()));
            }
            Ok((kind, Body::typed(Arc::new(payload))))
        };
        Self { input, payload: Box::new(make) }
    }

    /// Replaces the input by what JSON text says; the text has to fit the input's kind.
    pub(super) fn json(input: usize, text: impl Into<String>) -> Self {
        let text = text.into();
        let make = move |_: &KindTable, was: &Kind| {
            let body = Body::checked(was, &text).map_err(|error| error.to_string())?;
            Ok((was.clone(), body))
        };
        Self { input, payload: Box::new(make) }
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit").field("input", &self.input).finish_non_exhaustive()
    }
}

impl Volery {
    /// Lets the job of a dead letter run again; see [`Redriving`](super::Redriving).
    pub(super) async fn redrive_letter(&self, letter: &Inspected, edits: Vec<Edit>) -> Result<JobId> {
        let number = letter.letter.number;
        let edits = self.edited(letter, edits)?;
        let inputs = letter.letter.inputs.clone();
        let redrive = Redrive { letter: number, at: Timestamp::default(), edits };
        let decided =
            self.ingress().decide_letter(|answer| LetterDecision::Redrive { redrive, inputs, answer }).await;
        match decided {
            Ok(Some(job)) => Ok(job),
            Ok(None) => Err(Cause::Unanswered.into()),
            Err(error) => Err(self.why_refused(number, error).await),
        }
    }

    pub(super) async fn discard_letter(&self, number: u64, reason: String) -> Result<()> {
        let decide = |answer| LetterDecision::Discard { letter: number, reason, answer };
        match self.ingress().decide_letter(decide).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.why_refused(number, error).await),
        }
    }

    /// Says what it is about a letter that makes the store refuse a decision.
    async fn why_refused(&self, number: u64, error: Error) -> Error {
        let Some(refused) = error.refused_by_store() else { return error };
        match self.inspected(number).await {
            Ok(found) => match found.letter.state {
                DeadState::Redriven { .. } => Cause::LetterRedriven(number).into(),
                DeadState::Discarded { reason, .. } => Cause::LetterDiscarded(number, reason).into(),
                _ => Cause::LetterRefused(number, refused).into(),
            },
            Err(error) => error,
        }
    }

    fn edited(&self, letter: &Inspected, edits: Vec<Edit>) -> Result<Vec<(Offset, NewArtifact)>> {
        if edits.is_empty() {
            return Ok(Vec::new());
        }
        let Inspected { letter, inputs, .. } = letter;
        let misfit = |what: String| Error::from(Cause::LetterEdit { letter: letter.number, what });
        let subscription = self.0.feed.subscription(&letter.subscription);
        let subscription =
            subscription.ok_or_else(|| misfit(format!("there is no agent `{}` here", letter.agent)))?;
        let edit = |Edit { input, payload }: Edit| {
            let offset = letter.inputs.get(input);
            let old = inputs.iter().find(|artifact| Some(&artifact.offset()) == offset);
            let old = old.ok_or_else(|| misfit(format!("it has no input {input}, or not any more")))?;
            let (kind, body) = payload(&self.0.services.kinds, old.kind()).map_err(misfit)?;
            let publish = self.replacing(old, subscription, kind, body)?;
            if publish.claims.first().is_none_or(|claim| claim.refused.is_some()) {
                let (agent, kind) = (letter.agent.to_string(), old.kind().name().to_owned());
                return Err(Cause::NotTaken { agent, kind }.into());
            }
            Ok((old.offset(), publish))
        };
        edits.into_iter().map(edit).collect()
    }

    /// Makes the artifact that takes the place of another one: from outside, caused by it, in its run, for
    /// the job's subscription alone, and otherwise with all its particulars but the idempotency key and a
    /// delay.
    fn replacing(
        &self,
        old: &Artifact,
        subscription: SubscriptionIndex,
        kind: Kind,
        body: Body,
    ) -> Result<NewArtifact> {
        let services = &self.0.services;
        let now = services.clock.now();
        let adorn = |mut artifact: Artifact| {
            artifact = artifact
                .with_tenant(old.tenant())
                .with_tags(old.tags().map(str::to_owned).collect())
                .with_visibility(at_once(old.visibility()).clone());
            if let Some(partition) = old.partition() {
                artifact = artifact.with_partition(partition.clone());
            }
            match old.trace() {
                Some(trace) => artifact.with_trace(trace.clone()),
                None => artifact,
            }
        };
        let artifact = adorn(Artifact::new(services.clock.artifact_id(now), kind, body, old.run(), now));
        if services.store.writes_payloads() {
            artifact.json()?;
        }
        let by = |producer| artifact.clone().caused_by(producer, vec![old.id()], old.generation());
        // A subscription that takes from certain agents only takes what replaces their artifacts as well.
        let claims = services.matcher.claims(&by(old.producer().clone()));
        let own = claims.iter().find(|claim| claim.subscription == subscription);
        Ok(NewArtifact {
            claims: own.into_iter().cloned().collect(),
            artifact: Arc::new(by(Producer::External)),
            workflow: Arc::from(old.kind().name()),
        })
    }
}

/// The rule that holds once every delay is over.
fn at_once(visibility: &Visibility) -> &Visibility {
    match visibility {
        Visibility::After { then, .. } => at_once(then),
        other => other,
    }
}

impl Error {
    /// The store's reason, if it refused a write for what it says.
    fn refused_by_store(&self) -> Option<StoreError> {
        match self.cause() {
            Cause::Store(error @ (StoreError::Conflict { .. } | StoreError::Missing { .. })) => {
                Some(error.clone())
            }
            _ => None,
        }
    }
}
