//! Eviction as a runtime sees it: resources of any type that drop their idle values.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Resource;

/// A value that was removed and is yet to be dropped.
pub(crate) type RemovedValue = Box<dyn Any + Send>;

/// The counts of a resource's values since the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueCounts {
    /// Loads that gave a value.
    pub(crate) loaded: u64,
    /// Callers that got the error of a failed load.
    pub(crate) failed: u64,
    /// Values that were evicted.
    pub(crate) evicted: u64,
}

/// A resource, whatever its values are.
pub(crate) trait Evict: fmt::Debug + Send + Sync {
    fn name(&self) -> &str;

    /// Removes the values that have been idle for their time, for the caller to drop.
    fn take_idle(&self) -> Vec<RemovedValue>;

    /// Removes every value, for the caller to drop. A leased value is dropped with its last lease.
    fn take_all(&self) -> Vec<RemovedValue>;

    /// Returns the counts since the last call.
    fn counts(&self) -> ValueCounts;

    /// Counts a runtime that uses the resource.
    fn register(&self);

    /// Counts one less; returns whether none is left.
    fn unregister(&self) -> bool;
}

/// The registration of a resource with a runtime, until it ends or is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    resource: Arc<dyn Evict>,
    ended: AtomicBool,
}

impl Registration {
    pub(crate) fn new(resource: Arc<dyn Evict>) -> Self {
        resource.register();
        Self { resource, ended: AtomicBool::new(false) }
    }

    /// Ends it. The end of the last registration removes every value, for the caller to drop.
    pub(crate) fn end(&self) -> Vec<RemovedValue> {
        let is_last = !self.ended.swap(true, Ordering::AcqRel) && self.resource.unregister();
        if is_last { self.resource.take_all() } else { Vec::new() }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // A runtime that did not stop in order: its values stay with the resource.
        if !*self.ended.get_mut() {
            self.resource.unregister();
        }
    }
}

impl<T: Send + Sync + 'static> Evict for Resource<T> {
    fn name(&self) -> &str {
        self.name()
    }

    fn take_idle(&self) -> Vec<RemovedValue> {
        let (now, idle_after) = (self.0.now(), self.0.idle_after);
        let idle = self.0.take_idle(|value| now.since(value.idle_since()) >= idle_after);
        self.0.counts().evicted += idle.len() as u64;
        idle.into_iter().map(|value| Box::new(value) as RemovedValue).collect()
    }

    fn take_all(&self) -> Vec<RemovedValue> {
        let all = std::mem::take(&mut *self.0.lock());
        all.into_values().map(|value| Box::new(value) as RemovedValue).collect()
    }

    fn counts(&self) -> ValueCounts {
        std::mem::take(&mut *self.0.counts())
    }

    fn register(&self) {
        self.0.runtimes.fetch_add(1, Ordering::AcqRel);
    }

    fn unregister(&self) -> bool {
        self.0.runtimes.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Drops values on the blocking pool: their drop is code of the user, and may take long. Cancel safe; the
/// drops go on.
pub(crate) async fn drop_values(values: Vec<RemovedValue>) {
    if values.is_empty() {
        return;
    }
    let drops = tokio::task::spawn_blocking(move || {
        for value in values {
            if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
                tracing::warn!(target: "volery::resource", "a value panicked when it was dropped");
            }
        }
    });
    if let Err(error) = drops.await {
        tracing::warn!(target: "volery::resource", %error, "values may not have been dropped");
    }
}
