//! Queries: finding artifacts page by page, counting them.
//!
//! Builders only; the store answers. `lineage.rs` tells where one artifact came from and what became of it.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use serde::Serialize;
use volery_blackboard::store::{Summary, SummaryBy};
use volery_blackboard::{
    AgentName, Filter, Key, Kind, Offset, Page, Payload, Producer, RunId, Tenant, Timestamp, Visibility,
};

use super::Volery;
use crate::error::{Error, Result};

impl Volery {
    /// Begins a question about artifacts:
    /// `volery.query().kind_of::<Order>().tagged("urgent").newest_first().await?`.
    pub fn query(&self) -> Query {
        Query { volery: self.clone(), filter: Ok(Filter::all()) }
    }
}

/// A question about artifacts. All conditions must hold; without any it is about everything of the tenant
/// `default`, oldest first.
///
/// Awaiting it gives one [`Page`] of at most 1,000; [`pages`](Self::pages) goes on, and
/// [`summary`](Self::summary) counts. These fail when the store cannot be read, or is closed after a
/// shutdown. Cancel safe.
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct Query {
    volery: Volery,
    filter: Result<Filter>,
}

impl Query {
    /// Accepts one kind, by name.
    pub fn kind(self, name: impl Into<String>) -> Self {
        self.map(|filter| filter.kind(name))
    }

    /// Accepts the kind of a type.
    pub fn kind_of<T: Payload>(self) -> Self {
        self.kind(Kind::of::<T>().name())
    }

    /// Accepts what one agent published.
    pub fn by_agent(self, agent: impl Into<AgentName>) -> Self {
        self.produced_by(Producer::Agent(agent.into()))
    }

    /// Accepts one producer: an agent, the outside, or the runtime itself.
    pub fn produced_by(self, producer: Producer) -> Self {
        self.map(|filter| filter.producer(producer))
    }

    /// Accepts one run.
    pub fn run(self, run: RunId) -> Self {
        self.map(|filter| filter.run(run))
    }

    /// Accepts what carries this tag, besides the tags named before in this way.
    pub fn tagged(self, tag: impl Into<String>) -> Self {
        self.map(|filter| filter.tagged(tag))
    }

    /// Accepts what carries this tag or another one named in this way.
    pub fn tagged_any(self, tag: impl Into<String>) -> Self {
        self.map(|filter| filter.tagged_any(tag))
    }

    /// Accepts one partition: the key given to `partitioned_by`. A key that cannot be written as JSON is an
    /// error when it is awaited.
    pub fn partition(self, key: &impl Serialize) -> Self {
        match serde_json::to_string(key) {
            Ok(text) => self.map(|filter| filter.partition(Key::from(text))),
            Err(error) => Self { filter: self.filter.and(Err(Error::other(error))), ..self },
        }
    }

    /// Accepts artifacts with exactly this rule.
    pub fn visibility(self, visibility: Visibility) -> Self {
        self.map(|filter| filter.visibility(visibility))
    }

    /// Accepts one tenant. Default: the tenant `default`.
    pub fn tenant(self, tenant: impl Into<Tenant>) -> Self {
        self.map(|filter| filter.tenant(tenant))
    }

    /// Accepts every tenant.
    pub fn any_tenant(self) -> Self {
        self.map(Filter::any_tenant)
    }

    /// Accepts what was published at this time or later.
    pub fn since(self, time: Timestamp) -> Self {
        self.map(|filter| filter.since(time))
    }

    /// Accepts what was published before this time.
    pub fn until(self, time: Timestamp) -> Self {
        self.map(|filter| filter.until(time))
    }

    /// Accepts this place in the log and those behind it.
    pub fn from_offset(self, offset: Offset) -> Self {
        self.map(|filter| filter.from_offset(offset))
    }

    /// Accepts places in the log before this one.
    pub fn to_offset(self, offset: Offset) -> Self {
        self.map(|filter| filter.to_offset(offset))
    }

    /// Lists the newest first.
    pub fn newest_first(self) -> Self {
        self.map(Filter::newest_first)
    }

    /// Goes on behind this place; see [`Page::next`].
    pub fn after(self, offset: Offset) -> Self {
        self.map(|filter| filter.after(offset))
    }

    /// Gives at most this many per page, and never more than 1,000, which is the default.
    pub fn limit(self, limit: usize) -> Self {
        self.map(|filter| filter.limit(limit))
    }

    /// Counts what the question is about, by kind, producer or outcome, sorted by name. Cursor and limit have
    /// no meaning here.
    ///
    /// # Errors
    /// When the store cannot be read, or is closed after a shutdown; when the partition was no key.
    pub async fn summary(self, by: SummaryBy) -> Result<Vec<Summary>> {
        Ok(self.volery.0.services.store.summary(&self.filter?, by).await?)
    }

    /// Reads page after page.
    pub fn pages(self) -> Pages {
        Pages { volery: self.volery, filter: Some(self.filter) }
    }

    fn map(self, change: impl FnOnce(Filter) -> Filter) -> Self {
        Self { filter: self.filter.map(change), ..self }
    }
}

impl IntoFuture for Query {
    type Output = Result<Page>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.volery.artifacts(&self.filter?).await })
    }
}

/// The pages of a [`Query`], in its order. One page is held at a time.
#[derive(Debug)]
#[must_use = "nothing is read until `next` is called"]
pub struct Pages {
    volery: Volery,
    /// `None` once the last page was given.
    filter: Option<Result<Filter>>,
}

impl Pages {
    /// Reads the next page; `None` behind the last one, and after an error of the question itself. Cancel
    /// safe: dropped, the page is read by the next call.
    ///
    /// # Errors
    /// As for awaiting the [`Query`]; where the store could not be read, the next call tries the same page
    /// again.
    pub async fn next(&mut self) -> Result<Option<Page>> {
        let filter = match &self.filter {
            None => return Ok(None),
            Some(Ok(filter)) => filter.clone(),
            Some(Err(_)) => return self.filter.take().transpose().map(|_| None),
        };
        let page = self.volery.artifacts(&filter).await?;
        self.filter = page.next.map(|next| Ok(filter.after(next)));
        Ok(Some(page))
    }
}
