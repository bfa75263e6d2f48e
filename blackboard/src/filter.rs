//! Filters: which artifacts a query is after, and its pages.
//!
//! All conditions must hold. Pure: no I/O, no clock.

use std::sync::Arc;

use crate::artifact::{Artifact, Producer};
use crate::id::{Key, Offset, RunId, Tenant};
use crate::time::Timestamp;
use crate::visibility::Visibility;

/// The most artifacts that one page holds.
pub const PAGE_MAX: usize = 1_000;

/// Which artifacts a query is after. The default is: everything of the default tenant, oldest first.
///
/// ```
/// use volery_blackboard::Filter;
///
/// // The last ten orders that are tagged as urgent.
/// let urgent = Filter::all().kind("Order").tagged("urgent").newest_first().limit(10);
/// # let _ = urgent;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Filter {
    /// The tenant, unless every one is asked for.
    pub tenant: Tenant,
    /// Artifacts of every tenant.
    pub any_tenant: bool,
    /// The kind's name.
    pub kind: Option<String>,
    /// The run.
    pub run: Option<RunId>,
    /// The producer.
    pub producer: Option<Producer>,
    /// Tags that are all there.
    pub tags_all: Vec<String>,
    /// Tags of which one is there, unless the list is empty.
    pub tags_any: Vec<String>,
    /// The partition key.
    pub partition: Option<Key>,
    /// The visibility rule.
    pub visibility: Option<Visibility>,
    /// This place in the log, or behind it.
    pub from: Option<Offset>,
    /// Before this place in the log.
    pub to: Option<Offset>,
    /// Published at this time or later.
    pub since: Option<Timestamp>,
    /// Published before this time.
    pub until: Option<Timestamp>,
    /// The newest come first.
    pub newest_first: bool,
    /// Behind this place, in the order asked for.
    pub after: Option<Offset>,
    /// The number of artifacts on a page, unless it is more than [`PAGE_MAX`].
    pub limit: Option<usize>,
}

impl Filter {
    /// Accepts everything of the tenant `default`.
    pub fn all() -> Self {
        Self::default()
    }

    /// Accepts one kind.
    pub fn kind(mut self, name: impl Into<String>) -> Self {
        self.kind = Some(name.into());
        self
    }

    /// Accepts one run.
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// Accepts one producer.
    pub fn producer(mut self, producer: Producer) -> Self {
        self.producer = Some(producer);
        self
    }

    /// Accepts what carries this tag, besides the tags named before.
    pub fn tagged(mut self, tag: impl Into<String>) -> Self {
        self.tags_all.push(tag.into());
        self
    }

    /// Accepts what carries this tag or another one named in this way.
    pub fn tagged_any(mut self, tag: impl Into<String>) -> Self {
        self.tags_any.push(tag.into());
        self
    }

    /// Accepts one partition.
    pub fn partition(mut self, partition: Key) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Accepts artifacts with exactly this rule.
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = Some(visibility);
        self
    }

    /// Accepts this place in the log and those behind it.
    pub fn from_offset(mut self, offset: Offset) -> Self {
        self.from = Some(offset);
        self
    }

    /// Accepts places in the log before this one.
    pub fn to_offset(mut self, offset: Offset) -> Self {
        self.to = Some(offset);
        self
    }

    /// Accepts one tenant. Default: the tenant `default`.
    pub fn tenant(mut self, tenant: impl Into<Tenant>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Accepts every tenant.
    pub fn any_tenant(mut self) -> Self {
        self.any_tenant = true;
        self
    }

    /// Accepts what was published at this time or later.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Accepts what was published before this time.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Lists the newest first.
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// Goes on behind this place; see [`Page::next`].
    pub fn after(mut self, offset: Offset) -> Self {
        self.after = Some(offset);
        self
    }

    /// Gives at most this many per page; never more than [`PAGE_MAX`], which is the default.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Returns how many artifacts a page holds at most.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX)
    }

    /// Tells whether an artifact meets every condition but the cursor.
    #[must_use]
    pub fn accepts(&self, artifact: &Artifact) -> bool {
        (self.any_tenant || artifact.is_of(&self.tenant))
            && self.kind.as_ref().is_none_or(|kind| artifact.kind().name() == kind)
            && self.run.is_none_or(|run| artifact.run() == run)
            && self.producer.as_ref().is_none_or(|producer| artifact.producer() == producer)
            && self.tags_all.iter().all(|tag| artifact.has_tag(tag))
            && (self.tags_any.is_empty() || self.tags_any.iter().any(|tag| artifact.has_tag(tag)))
            && self.partition.as_ref().is_none_or(|partition| artifact.partition() == Some(partition))
            && self.visibility.as_ref().is_none_or(|visibility| artifact.visibility() == visibility)
            && self.from.is_none_or(|from| artifact.offset() >= from)
            && self.to.is_none_or(|to| artifact.offset() < to)
            && self.since.is_none_or(|since| artifact.published_at() >= since)
            && self.until.is_none_or(|until| artifact.published_at() < until)
    }
}

/// One page of artifacts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The artifacts, in the order asked for.
    pub artifacts: Vec<Arc<Artifact>>,
    /// Where the next page begins, for [`Filter::after`]; `None` at the end.
    pub next: Option<Offset>,
}

impl Page {
    /// Returns a page; for stores.
    #[must_use]
    pub fn new(artifacts: Vec<Arc<Artifact>>, next: Option<Offset>) -> Self {
        Self { artifacts, next }
    }
}
