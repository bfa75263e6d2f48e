//! A publish on its way: particulars first, then `.await`.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use volery_actors::runtime::Runtime;
use volery_actors::{Draft, Published, Result};
use volery_blackboard::{Key, Tenant, Timestamp, Visibility};

/// A publish that happens when it is awaited.
///
/// It resolves once the artifact is committed, and waits while too many artifacts are outstanding. Dropped while it
/// waits, nothing is published; dropped while it is being committed, the artifact may or may not be.
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct Publishing {
    runtime: Runtime,
    draft: Result<Draft>,
    /// Hidden until then; put around the visibility at the end, so that the order of the calls does not matter.
    opens: Option<Timestamp>,
}

impl Publishing {
    pub(crate) fn new(runtime: Runtime, draft: Result<Draft>) -> Self {
        Self { runtime, draft, opens: None }
    }

    /// Tags the artifact.
    pub fn tagged(self, tag: impl Into<String>) -> Self {
        let tag = tag.into();
        self.map(|artifact| {
            let tags = artifact.tags().map(str::to_owned).chain([tag]).collect();
            artifact.with_tags(tags)
        })
    }

    /// Says who may see it. Default: everybody.
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

    /// Gives it a partition key: anything that serialises. It is kept with the artifact and changes neither matching nor
    /// order.
    pub fn partitioned_by(self, key: &impl Serialize) -> Self {
        match serde_json::to_string(key) {
            Ok(text) => self.map(|artifact| artifact.with_partition(Key::from(text))),
            Err(error) => Self { draft: Err(volery_actors::Error::other(error)), ..self },
        }
    }

    /// Names the caller's place in a trace by its W3C `traceparent` header; a space and the `tracestate` header may follow.
    ///
    /// If this publish begins its run, the run's trace becomes a part of the caller's, and is recorded if that is. In a run
    /// that has begun it changes nothing. Awaiting fails with kind [`FixInput`](crate::ErrorKind::FixInput) when the text is
    /// malformed.
    pub fn traceparent(self, header: impl AsRef<str>) -> Self {
        Self { draft: self.draft.and_then(|draft| draft.within(header.as_ref())), ..self }
    }

    /// Names the caller's W3C `baggage` header. Keys that the trace settings allow are passed on to engines of the run, if
    /// this publish begins it; the others are dropped.
    pub fn baggage(self, header: impl Into<String>) -> Self {
        Self { draft: self.draft.map(|draft| draft.with_baggage(header.into())), ..self }
    }

    /// Names what the service groups runs by, such as a conversation: `session.id` of the run's trace, if this publish
    /// begins it.
    pub fn session(self, session: impl Into<String>) -> Self {
        Self { draft: self.draft.map(|draft| draft.in_session(session.into())), ..self }
    }

    /// Hides it from everybody until then.
    pub fn not_before(self, time: Timestamp) -> Self {
        Self { opens: Some(time), ..self }
    }

    /// Refuses what the agent would not take.
    pub(crate) fn check_taken(self, agent: &str) -> Result<Self> {
        let draft = self.draft?;
        self.runtime.check_taken(&draft, agent)?;
        Ok(Self { draft: Ok(draft), ..self })
    }

    fn finished(self) -> (Runtime, Result<Draft>) {
        let Some(opens) = self.opens else { return (self.runtime, self.draft) };
        let hidden = self.map(|artifact| {
            let delay = opens.since(artifact.published_at());
            let then = Box::new(artifact.visibility().clone());
            artifact.with_visibility(Visibility::After { delay, then })
        });
        (hidden.runtime, hidden.draft)
    }

    fn map(self, change: impl FnOnce(volery_blackboard::Artifact) -> volery_blackboard::Artifact) -> Self {
        Self { draft: self.draft.map(|draft| draft.map(change)), ..self }
    }
}

impl IntoFuture for Publishing {
    type Output = Result<Published>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (runtime, draft) = self.finished();
            let mut published = runtime.publish([draft?]).await?;
            published
                .pop()
                .ok_or_else(|| volery_actors::Error::other("the store did not say where the artifact is"))
        })
    }
}
