//! The artifact: an immutable, typed fact on the blackboard, with everything that is known about it.
//!
//! An artifact is written once. Its place in the log is given by the store when it is committed.
//! Pure: no I/O, no clock.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::body::{Body, Shared};
use crate::error::BlackboardError;
use crate::few::Few;
use crate::id::{AgentName, ArtifactId, Key, Offset, RunId, Tenant};
use crate::kind::{Kind, Payload};
use crate::time::Timestamp;
use crate::trace::TraceContext;
use crate::visibility::Visibility;

/// The publisher of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Producer {
    /// The embedding service, through a publish call.
    External,
    /// An agent, as the output of a job.
    Agent(AgentName),
    /// The runtime itself: failure artifacts.
    Runtime,
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External => f.write_str("external"),
            Self::Agent(name) => name.fmt(f),
            Self::Runtime => f.write_str("runtime"),
        }
    }
}

/// An immutable typed fact.
#[derive(Clone, Debug)]
pub struct Artifact {
    id: ArtifactId,
    offset: Offset,
    kind: Kind,
    body: Body,
    run: RunId,
    at: Timestamp,
    producer: Producer,
    causes: Causes,
    /// Its place in a trace: one value for all artifacts of a run that is not recorded.
    trace: Option<Arc<TraceContext>>,
    /// Rarely used parts, kept apart so that a plain artifact stays small.
    extra: Option<Box<Extra>>,
    generation: u32,
}

/// The artifacts that caused another, in order; all outputs of a job share them.
#[derive(Clone, Debug, Default)]
pub struct Causes(CauseList);

/// Nearly always there is one.
#[derive(Clone, Debug, Default)]
enum CauseList {
    #[default]
    None,
    One(ArtifactId),
    Many(Arc<[ArtifactId]>),
}

impl Causes {
    fn as_slice(&self) -> &[ArtifactId] {
        match &self.0 {
            CauseList::None => &[],
            CauseList::One(cause) => std::slice::from_ref(cause),
            CauseList::Many(causes) => causes,
        }
    }
}

impl From<Vec<ArtifactId>> for Causes {
    fn from(causes: Vec<ArtifactId>) -> Self {
        causes.into_iter().collect()
    }
}

impl FromIterator<ArtifactId> for Causes {
    fn from_iter<I: IntoIterator<Item = ArtifactId>>(causes: I) -> Self {
        let causes: Few<ArtifactId> = causes.into_iter().collect();
        Self(match causes[..] {
            [] => CauseList::None,
            [cause] => CauseList::One(cause),
            _ => CauseList::Many(causes.into_vec().into()),
        })
    }
}

#[derive(Clone, Debug, Default)]
struct Extra {
    /// Unless it is the default one.
    tenant: Option<Tenant>,
    tags: BTreeSet<String>,
    visibility: Visibility,
    partition: Option<Key>,
    idempotency_key: Option<Arc<str>>,
}

impl Artifact {
    /// Returns a public, untagged artifact of the default tenant without causes.
    #[must_use]
    pub fn new(id: ArtifactId, kind: Kind, body: Body, run: RunId, at: Timestamp) -> Self {
        Self {
            id,
            offset: Offset::START,
            kind,
            body,
            run,
            at,
            producer: Producer::External,
            causes: Causes::default(),
            trace: None,
            extra: None,
            generation: 0,
        }
    }

    /// Names the producer and the artifacts that caused this one.
    ///
    /// `generation` counts the jobs between the external publish and this artifact.
    #[must_use]
    pub fn caused_by(mut self, producer: Producer, causes: impl Into<Causes>, generation: u32) -> Self {
        self.producer = producer;
        self.causes = causes.into();
        self.generation = generation;
        self
    }

    /// Sets the tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: Tenant) -> Self {
        self.extra_mut().tenant = (tenant.as_str() != Tenant::DEFAULT).then_some(tenant);
        self
    }

    /// Sets the tags.
    #[must_use]
    pub fn with_tags(mut self, tags: BTreeSet<String>) -> Self {
        self.extra_mut().tags = tags;
        self
    }

    /// Sets who may see it.
    #[must_use]
    pub fn with_visibility(mut self, visibility: Visibility) -> Self {
        self.extra_mut().visibility = visibility;
        self
    }

    /// Sets the partition key.
    #[must_use]
    pub fn with_partition(mut self, partition: Key) -> Self {
        self.extra_mut().partition = Some(partition);
        self
    }

    /// Sets the trace context.
    #[must_use]
    pub fn with_trace(mut self, trace: impl Into<Arc<TraceContext>>) -> Self {
        self.trace = Some(trace.into());
        self
    }

    /// Sets the idempotency key: one artifact per tenant and key.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: Arc<str>) -> Self {
        self.extra_mut().idempotency_key = Some(key);
        self
    }

    /// Gives the artifact its place in the log; for stores, at commit.
    #[must_use]
    pub fn at_offset(mut artifact: Arc<Self>, offset: Offset) -> Arc<Self> {
        Arc::make_mut(&mut artifact).offset = offset;
        artifact
    }

    /// Gives the artifact its place in the log, in place; for stores that may have to write it again.
    pub fn put_at_offset(artifact: &mut Arc<Self>, offset: Offset) {
        Arc::make_mut(artifact).offset = offset;
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> ArtifactId {
        self.id
    }

    /// Returns the place in the log; [`Offset::START`] before it is committed.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the run it belongs to.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Returns the time of publication.
    #[must_use]
    pub fn published_at(&self) -> Timestamp {
        self.at
    }

    /// Returns who published it.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Returns the inputs of the job that published it, in input order.
    #[must_use]
    pub fn causes(&self) -> &[ArtifactId] {
        self.causes.as_slice()
    }

    /// Returns how many jobs lie between the external publish and this artifact.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns the tenant.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        self.own_tenant().cloned().unwrap_or_default()
    }

    /// Returns the tenant, unless it is the default one.
    #[must_use]
    pub fn own_tenant(&self) -> Option<&Tenant> {
        self.extra.as_ref().and_then(|extra| extra.tenant.as_ref())
    }

    /// Returns the name of the tenant.
    #[must_use]
    pub fn tenant_name(&self) -> &str {
        self.own_tenant().map_or(Tenant::DEFAULT, Tenant::as_str)
    }

    /// Tells whether it is this tenant's.
    #[must_use]
    pub fn is_of(&self, tenant: &Tenant) -> bool {
        self.tenant_name() == tenant.as_str()
    }

    /// Tells whether it carries a tag.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.tags.contains(tag))
    }

    /// Returns the tags in order.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.extra.iter().flat_map(|extra| extra.tags.iter().map(String::as_str))
    }

    /// Returns who may see it.
    #[must_use]
    pub fn visibility(&self) -> &Visibility {
        self.extra.as_ref().map_or(&Visibility::Public, |extra| &extra.visibility)
    }

    /// Returns the partition key.
    #[must_use]
    pub fn partition(&self) -> Option<&Key> {
        self.extra.as_ref().and_then(|extra| extra.partition.as_ref())
    }

    /// Returns the trace context.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_deref()
    }

    /// Returns the trace context to hand on: artifacts with the same one share it.
    #[must_use]
    pub fn shared_trace(&self) -> Option<&Arc<TraceContext>> {
        self.trace.as_ref()
    }

    /// Returns the idempotency key.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&Arc<str>> {
        self.extra.as_ref().and_then(|extra| extra.idempotency_key.as_ref())
    }

    /// Returns the payload, shared.
    ///
    /// # Errors
    /// [`BlackboardError::Decode`] when `T` is not the kind's type, or stored JSON does not fit it.
    pub fn payload<T: Payload>(&self) -> Result<Shared<T>, BlackboardError> {
        if self.kind.is_foreign() && T::schema_name() == self.kind.name() {
            // Not kept: the body keeps one value only, and others may ask for it as JSON.
            let parsed = Kind::of::<T>().parse::<T>(&self.json()?)?;
            return Ok(Shared(Arc::new(parsed)));
        }
        self.body.value(&self.kind).map(Shared)
    }

    /// Returns the payload as JSON text.
    ///
    /// # Errors
    /// [`BlackboardError::Encode`] when the payload's `Serialize` fails.
    pub fn json(&self) -> Result<Arc<str>, BlackboardError> {
        self.body.text(&self.kind)
    }

    fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }
}
