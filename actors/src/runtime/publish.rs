//! A publish on its way: the artifact's particulars first, then `.await`.
//!
//! Matching runs here, in the caller's task; the curator commits.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde::Serialize;
use volery_blackboard::store::{NewArtifact, Stored};
use volery_blackboard::{
    Artifact, ArtifactId, BlackboardError, Body, Key, Kind, Offset, Payload, RunId, Tenant, Timestamp,
    TraceContext, Visibility,
};

use super::Volery;
use crate::agent::{Output, Outputs};
use crate::error::{Cause, Error, Result};
use crate::ingress::PublishCall;
use crate::observer::{OfRun, Origin, Source, from_outside};

/// An artifact to be published, before it has a place.
#[derive(Debug)]
struct Draft {
    artifact: Artifact,
    workflow: Arc<str>,
    /// Whether the run was made for this publish, so that nobody else publishes in it.
    fresh: bool,
    origin: Option<Box<Origin>>,
}

/// Where a published artifact stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The artifact's id.
    pub id: ArtifactId,
    /// Its place in the log.
    pub offset: Offset,
    /// Its run.
    pub run: RunId,
    /// Whether the idempotency key was known: then this is the first artifact, and nothing was published.
    pub repeat: bool,
}

/// A publish that happens when it is awaited.
///
/// It resolves once the artifact is committed, and waits while too many artifacts are outstanding. Dropped
/// while it waits, nothing is published; dropped while it is being committed, the artifact may or may not be.
///
/// Awaiting it fails when the runtime is shutting down or overloaded, the store refused, another type has the
/// name of the payload's kind, or the store writes payloads and this one cannot be turned into JSON; see
/// [`ErrorKind`](crate::ErrorKind).
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct Publishing {
    volery: Volery,
    draft: Result<Draft>,
    /// Hidden until then; put around the visibility at the end, so that the order of the calls does not
    /// matter.
    opens: Option<Timestamp>,
}

impl Publishing {
    /// Tags the artifact.
    pub fn tagged(self, tag: impl Into<String>) -> Self {
        let tag = tag.into();
        self.map(|artifact| {
            let tags = artifact.tags().map(str::to_owned).chain([tag]).collect();
            artifact.with_tags(tags)
        })
    }

    /// Sets the agents that may see it. Default: every agent.
    pub fn visible_to(self, visibility: Visibility) -> Self {
        self.map(|artifact| artifact.with_visibility(visibility))
    }

    /// Makes it part of a tenant. Default: the tenant `default`.
    pub fn tenant(self, tenant: impl Into<Tenant>) -> Self {
        let tenant = tenant.into();
        self.map(|artifact| artifact.with_tenant(tenant))
    }

    /// Publishes at most one artifact per tenant and key: a repeat returns where the first one stands.
    pub fn idempotency_key(self, key: impl Into<Arc<str>>) -> Self {
        let key = key.into();
        self.map(|artifact| artifact.with_idempotency_key(key))
    }

    /// Gives it a partition key: anything that serialises. It is kept with the artifact and changes neither
    /// matching nor order.
    pub fn partitioned_by(self, key: &impl Serialize) -> Self {
        match serde_json::to_string(key) {
            Ok(text) => self.map(|artifact| artifact.with_partition(Key::from(text))),
            Err(error) => Self { draft: Err(Error::other(error)), ..self },
        }
    }

    /// Names the caller's place in a trace by its W3C `traceparent` header; a space and the `tracestate`
    /// header may follow.
    ///
    /// If this publish begins its run, the run's trace becomes a part of the caller's, and is recorded if
    /// that is. In a run that has begun it changes nothing. Awaiting fails with kind
    /// [`FixInput`](crate::ErrorKind::FixInput) when the text is malformed.
    pub fn traceparent(self, header: impl AsRef<str>) -> Self {
        match header.as_ref().parse::<TraceContext>() {
            Ok(parent) => self.from(|origin| origin.parent = Some(from_outside(parent))),
            Err(error) => Self { draft: self.draft.and(Err(error.into())), ..self },
        }
    }

    /// Names the caller's W3C `baggage` header. Keys that the trace settings allow are passed on to engines
    /// of the run, if this publish begins it; the others are dropped.
    pub fn baggage(self, header: impl Into<String>) -> Self {
        let header = header.into();
        self.from(|origin| origin.baggage = Some(header))
    }

    /// Names what the service groups runs by, such as a conversation: `session.id` of the run's trace, if
    /// this publish begins it.
    pub fn session(self, session: impl Into<String>) -> Self {
        let session = session.into();
        self.from(|origin| origin.session = Some(session))
    }

    /// Hides it from every agent until then.
    pub fn not_before(self, time: Timestamp) -> Self {
        Self { opens: Some(time), ..self }
    }

    /// Refuses an artifact that the agent would not take.
    pub(super) fn check_taken(self, agent: &str) -> Result<Self> {
        let draft = self.draft?;
        self.volery.check_taken(&draft.artifact, agent)?;
        Ok(Self { draft: Ok(draft), ..self })
    }

    fn begin(self) -> Result<(Volery, PublishCall)> {
        let mut draft = self.draft?;
        if let Some(opens) = self.opens {
            draft.artifact = hidden_until(opens, draft.artifact);
        }
        let call = self.volery.begin_publish([draft])?;
        Ok((self.volery, call))
    }

    fn map(self, change: impl FnOnce(Artifact) -> Artifact) -> Self {
        let changed = |draft: Draft| Draft { artifact: change(draft.artifact), ..draft };
        Self { draft: self.draft.map(changed), ..self }
    }

    fn from(mut self, change: impl FnOnce(&mut Origin)) -> Self {
        if let Ok(draft) = &mut self.draft {
            change(draft.origin.get_or_insert_default());
        }
        self
    }
}

impl IntoFuture for Publishing {
    type Output = Result<Published>;
    type IntoFuture = PublishFuture;

    fn into_future(self) -> PublishFuture {
        PublishFuture(PublishState::Drafted(self))
    }
}

/// A publish that is under way: the future of a [`Publishing`], which says when it resolves and fails.
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct PublishFuture(PublishState);

#[derive(Debug)]
enum PublishState {
    Drafted(Publishing),
    Called(Volery, PublishCall),
    Over,
}

impl Future for PublishFuture {
    type Output = Result<Published>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        if matches!(self.0, PublishState::Drafted(_))
            && let PublishState::Drafted(publishing) = std::mem::replace(&mut self.0, PublishState::Over)
        {
            let (volery, call) = publishing.begin()?;
            self.0 = PublishState::Called(volery, call);
        }
        let PublishState::Called(volery, call) = &mut self.0 else {
            return Poll::Ready(Err(Error::other("a publish was polled after it had returned")));
        };
        let stored = ready!(call.poll(&volery.0.services.ingress, task));
        self.0 = PublishState::Over;
        let missing = || Error::other("the store did not say where the artifact is");
        Poll::Ready(stored.and_then(|stored| stored.first().map(published).ok_or_else(missing)))
    }
}

impl Volery {
    /// Begins a publish. Without a workflow name the run is named after the payload's kind.
    pub(super) fn publishing<T: Payload>(
        &self,
        payload: T,
        run: RunId,
        workflow: Option<&Arc<str>>,
        now: Timestamp,
    ) -> Publishing {
        let kind = self.0.services.kinds.kind_of::<T>();
        let draft = self.draft(kind, Body::typed(Arc::new(payload)), (run, now), workflow);
        Publishing { volery: self.clone(), draft, opens: None }
    }

    fn draft(
        &self,
        kind: Result<Kind, BlackboardError>,
        body: Body,
        (run, now): (RunId, Timestamp),
        workflow: Option<&Arc<str>>,
    ) -> Result<Draft> {
        let (kind, clock) = (kind?, &self.0.services.clock);
        let fresh = workflow.is_none();
        let workflow = workflow.map_or_else(|| kind.shared_name(), Arc::clone);
        let artifact = Artifact::new(clock.artifact_id(now), kind, body, run, now);
        Ok(Draft { artifact, workflow, fresh, origin: None })
    }

    /// Publishes outputs of one run, all or nothing.
    pub(super) async fn publish_outputs(
        &self,
        outputs: Outputs,
        run: RunId,
        workflow: Option<&Arc<str>>,
    ) -> Result<Vec<Published>> {
        let services = &self.0.services;
        let now = services.clock.now();
        let fresh = workflow.is_none();
        let draft = |output: Output| {
            let kind = services.kinds.kind(output.type_id, output.kind)?;
            let workflow = workflow.map_or_else(|| kind.shared_name(), Arc::clone);
            let id = services.clock.artifact_id(now);
            let mut artifact = output.adorn(Artifact::new(id, kind, output.body.clone(), run, now));
            if let Some(key) = output.idempotency_key() {
                artifact = artifact.with_idempotency_key(key);
            }
            Ok(Draft { artifact, workflow, fresh, origin: None })
        };
        let drafts = outputs.items.into_iter().map(draft).collect::<Result<Vec<_>>>()?;
        let mut call = self.begin_publish(drafts)?;
        let stored = poll_fn(|task| call.poll(&self.0.services.ingress, task)).await?;
        Ok(stored.iter().map(published).collect())
    }

    /// Begins to publish drafts, all or nothing.
    fn begin_publish(&self, drafts: impl IntoIterator<Item = Draft>) -> Result<PublishCall> {
        let services = &self.0.services;
        let mut observed = services.observer.publish(Source::External);
        let prepare = |Draft { artifact, workflow, fresh, origin }: Draft| {
            if services.store.writes_payloads() {
                artifact.json()?;
            }
            let claims = services.matcher.claims(&artifact);
            let of = OfRun { workflow: &workflow, fresh, origin: origin.as_deref() };
            let artifact = Arc::new(observed.artifact(artifact, of));
            Ok(NewArtifact { claims, artifact, workflow })
        };
        let artifacts = drafts.into_iter().map(prepare).collect::<Result<_>>()?;
        Ok(PublishCall::new(artifacts, observed))
    }

    fn check_taken(&self, artifact: &Artifact, agent: &str) -> Result<()> {
        let index = self.agent(agent)?;
        let claims = self.0.services.matcher.claims(artifact);
        if claims.iter().any(|claim| self.0.feed.owner(claim.subscription) == Some(index)) {
            return Ok(());
        }
        let kind = artifact.kind().name().to_owned();
        Err(Cause::NotTaken { agent: agent.to_owned(), kind }.into())
    }
}

fn hidden_until(opens: Timestamp, artifact: Artifact) -> Artifact {
    let delay = opens.since(artifact.published_at());
    let then = Box::new(artifact.visibility().clone());
    artifact.with_visibility(Visibility::After { delay, then })
}

fn published(stored: &Stored) -> Published {
    match stored {
        Stored::New(artifact) => {
            Published { id: artifact.id(), offset: artifact.offset(), run: artifact.run(), repeat: false }
        }
        Stored::Repeat(first) => {
            Published { id: first.id, offset: first.offset, run: first.run, repeat: true }
        }
    }
}
