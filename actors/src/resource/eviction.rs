//! Eviction as a runtime sees it: resources of any type that drop their idle values.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Resource;

/// A value that was taken out and is yet to be dropped.
pub(crate) type Leftover = Box<dyn Any + Send>;

/// The counts of a resource's values since the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evicted {
    /// Loads that gave a value.
    pub(crate) loaded: u64,
    /// Callers that got the error of a failed load.
    pub(crate) failed: u64,
    /// Values that were taken out.
    pub(crate) evicted: u64,
}

/// A resource, whatever its values are.
pub(crate) trait Evict: fmt::Debug + Send + Sync {
    fn name(&self) -> &str;

    /// Takes out what has been idle for its time, for the caller to drop.
    fn take_idle(&self) -> Vec<Leftover>;

    /// Takes out every value. A leased value is dropped with its last lease.
    fn take_all(&self) -> Vec<Leftover>;

    /// Returns the counts since the last call.
    fn counts(&self) -> Evicted;

    /// Counts one more runtime that keeps the resource.
    fn join(&self);

    /// Counts one less; tells whether none is left.
    fn leave(&self) -> bool;
}

/// A resource that a runtime keeps, until it gives it up or is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    resource: Arc<dyn Evict>,
    given_up: AtomicBool,
}

impl Kept {
    pub(crate) fn new(resource: Arc<dyn Evict>) -> Self {
        resource.join();
        Self { resource, given_up: AtomicBool::new(false) }
    }

    /// Keeps it no more. The last runtime that does so takes everything out, for the caller to drop.
    pub(crate) fn give_up(&self) -> Vec<Leftover> {
        let is_last = !self.given_up.swap(true, Ordering::AcqRel) && self.resource.leave();
        if is_last { self.resource.take_all() } else { Vec::new() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // A runtime that did not stop in order: its values stay with the resource.
        if !*self.given_up.get_mut() {
            self.resource.leave();
        }
    }
}

impl<T: Send + Sync + 'static> Evict for Resource<T> {
    fn name(&self) -> &str {
        self.name()
    }

    fn take_idle(&self) -> Vec<Leftover> {
        let (now, idle_after) = (self.0.now(), self.0.idle_after);
        let idle = self.0.take_idle(|slot| now.since(slot.idle_since()) >= idle_after);
        self.0.counts().evicted += idle.len() as u64;
        idle.into_iter().map(|slot| Box::new(slot) as Leftover).collect()
    }

    fn take_all(&self) -> Vec<Leftover> {
        let all = std::mem::take(&mut *self.0.slots());
        all.into_values().map(|slot| Box::new(slot) as Leftover).collect()
    }

    fn counts(&self) -> Evicted {
        std::mem::take(&mut *self.0.counts())
    }

    fn join(&self) {
        self.0.keepers.fetch_add(1, Ordering::AcqRel);
    }

    fn leave(&self) -> bool {
        self.0.keepers.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Drops values on the blocking pool: what a drop does is the user's, and may take long. Cancel safe; the
/// drops go on.
pub(crate) async fn let_go(values: Vec<Leftover>) {
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
