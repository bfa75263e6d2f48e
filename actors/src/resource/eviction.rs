//! Eviction as a runtime sees it: resources of any type that give up what is idle.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Resource;

/// A value that was taken out and is yet to be dropped.
pub(crate) type Leftover = Box<dyn Any + Send>;

/// What became of a resource's values since the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evicted {
    /// Loads that gave a value.
    pub(crate) loaded: u64,
    /// Callers that were told of a failed load.
    pub(crate) failed: u64,
    /// Values that were taken out.
    pub(crate) evicted: u64,
}

/// A resource, whatever its values are.
pub(crate) trait Evict: fmt::Debug + Send + Sync {
    fn name(&self) -> &str;

    /// Takes out what has been idle for its time, for the caller to drop.
    fn take_idle(&self) -> Vec<Leftover>;

    /// Takes out everything. What is leased is dropped with its last lease.
    fn take_all(&self) -> Vec<Leftover>;

    /// Returns the counts since the last call.
    fn counts(&self) -> Evicted;
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
}

/// Drops values on the blocking pool: what a drop does is the user's, and may take long. Cancel safe; the drops go on.
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
