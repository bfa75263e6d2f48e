//! Resources: shared things with a lifetime, such as a loaded model or a pool: loaded once per key, leased,
//! evicted when idle.
//!
//! Loads run in the tasks of those that wait for them, and values are dropped outside of locks and of actors.
//! It decides nothing about when to look for idle values; the loop
//! `eviction` of a runtime does (`upkeep/eviction.rs`).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use volery_blackboard::Timestamp;

use crate::clock::Clock;
use crate::error::{Cause, Result};
use crate::fault::Fault;

mod eviction;
mod slot;

pub(crate) use eviction::{Evict, Evicted, Kept, let_go};
use slot::{Hold, Slot};

/// How long a value without a lease is kept by default: longer than the pauses of a busy service, shorter
/// than an operator would wait for its memory to come back.
const IDLE_AFTER_DEFAULT: Duration = Duration::from_secs(300);

/// Values of one resource that may be there at once by default. Keys may come from outside, and must not fill
/// the memory.
const VALUES_MAX_DEFAULT: usize = 1_024;

/// A shared thing with a lifetime, by key. Cheap to clone; all clones share the values.
///
/// Give a clone to every engine that needs it, and one to the builder, which has idle values evicted and
/// drops all values after the agents have stopped. Runtimes of one process may share a resource; the last of
/// them to stop drops the values. Without a runtime idle values stay until the last clone and lease are
/// dropped.
pub struct Resource<T>(Arc<Shelf<T>>);

/// Starts loading the value of a key.
type Load<T> = dyn Fn(String) -> BoxFuture<'static, Result<T, Fault>> + Send + Sync;

/// The state that all clones of a resource share.
struct Shelf<T> {
    name: Arc<str>,
    load: Arc<Load<T>>,
    idle_after: Duration,
    values_max: usize,
    clock: Clock,
    slots: Mutex<HashMap<Arc<str>, Arc<Slot<T>>>>,
    counts: Mutex<Evicted>,
    /// Runtimes that keep it.
    keepers: AtomicUsize,
}

impl<T: Send + Sync + 'static> Resource<T> {
    /// Names a resource and says how the value of a key is loaded.
    pub fn new<F, Fut, E>(name: impl Into<Arc<str>>, load: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<Fault>,
    {
        let load = Arc::new(load);
        let load: Arc<Load<T>> = Arc::new(move |key| {
            let load = Arc::clone(&load);
            // The call itself happens inside the future, so that a panic of it is a failed load.
            Box::pin(async move { load(key).await.map_err(Into::into) })
        });
        Self(Arc::new(Shelf {
            name: name.into(),
            load,
            idle_after: IDLE_AFTER_DEFAULT,
            values_max: VALUES_MAX_DEFAULT,
            clock: Clock::system(),
            slots: Mutex::default(),
            counts: Mutex::default(),
            keepers: AtomicUsize::new(0),
        }))
    }

    /// Keeps a value this long after its last lease. Default 5 minutes. To be called before the first clone.
    #[must_use]
    pub fn idle_after(self, idle: Duration) -> Self {
        self.change(|shelf| shelf.idle_after = idle)
    }

    /// Holds at most this many values, those being loaded included. Default 1,024; 0 counts as 1. When all
    /// are leased, a lease of another key is refused; else the value that is idle longest is dropped. To be
    /// called before the first clone.
    #[must_use]
    pub fn values_max(self, values: usize) -> Self {
        self.change(|shelf| shelf.values_max = values.max(1))
    }

    /// Settles a knob. A resource that is shared already keeps its knobs, and gets a shelf of its own here.
    fn change(self, change: impl FnOnce(&mut Shelf<T>)) -> Self {
        let shelf = &*self.0;
        let mut fresh = Shelf {
            name: Arc::clone(&shelf.name),
            load: Arc::clone(&shelf.load),
            idle_after: shelf.idle_after,
            values_max: shelf.values_max,
            clock: shelf.clock.clone(),
            slots: Mutex::default(),
            counts: Mutex::default(),
            keepers: AtomicUsize::new(0),
        };
        change(&mut fresh);
        Self(Arc::new(fresh))
    }

    /// Returns the resource's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Leases the value of a key, loading it if it is not there. Concurrent leases of one key load once.
    ///
    /// Cancel safe: the load goes on as long as one caller waits for it, and is dropped with the last.
    ///
    /// # Errors
    /// When the load fails or panics: for all who wait for it; the next lease tries again. Of kind
    /// [`Retry`](crate::ErrorKind::Retry) when there are too many values, all of them leased.
    pub async fn lease(&self, key: &str) -> Result<Lease<T>> {
        let hold = self.hold(key)?;
        if !hold.slot().is_loaded() {
            let loading = hold.slot().loading(|key| self.load(key));
            if let Some(loading) = loading
                && let Err(source) = loading.await
            {
                self.0.counts().failed += 1;
                let (resource, key) = (self.0.name.to_string(), key.to_owned());
                return Err(Cause::Load { resource, key, source }.into());
            }
        }
        Ok(Lease(hold))
    }

    /// Lists the values that are there or being loaded, by key.
    #[must_use]
    pub fn loaded(&self) -> Vec<Loaded> {
        let told = |slot: &Arc<Slot<T>>| Loaded {
            key: slot.key().to_owned(),
            leases: slot.holds(),
            ready: slot.is_loaded(),
        };
        let mut all: Vec<Loaded> = self.0.slots().values().map(told).collect();
        all.sort_by(|left, right| left.key.cmp(&right.key));
        all
    }

    fn load(&self, key: String) -> BoxFuture<'static, Result<T, Fault>> {
        let shelf = Arc::clone(&self.0);
        Box::pin(async move {
            let loaded = (shelf.load)(key).await;
            shelf.counts().loaded += u64::from(loaded.is_ok());
            loaded
        })
    }

    /// Takes hold of a key's slot, making one if there is none and room for it.
    fn hold(&self, key: &str) -> Result<Hold<T>> {
        let (hold, evicted) = {
            let mut slots = self.0.slots();
            let mut evicted = None;
            if !slots.contains_key(key) && slots.len() >= self.0.values_max {
                let idlest =
                    slots.values().filter(|slot| slot.holds() == 0).min_by_key(|slot| slot.idle_since());
                let Some(idlest) = idlest.map(|slot| Arc::clone(slot.shared_key())) else {
                    let count = slots.len() as u64;
                    return Err(Cause::Overloaded { what: "values of a resource, all leased", count }.into());
                };
                evicted = slots.remove(&idlest);
            }
            let slot = slots.entry(key.into()).or_insert_with_key(|key| Arc::new(Slot::new(Arc::clone(key))));
            (Hold::new(Arc::clone(slot), Arc::clone(&self.0)), evicted)
        };
        if let Some(evicted) = evicted {
            self.0.counts().evicted += 1;
            // The drop is the user's; should it panic, the one who leases another value is not to blame.
            drop(catch_unwind(AssertUnwindSafe(|| drop(evicted))));
        }
        Ok(hold)
    }
}

impl<T> Shelf<T> {
    fn slots(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Slot<T>>>> {
        // No code of others runs under the lock.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Evicted> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what `picks` takes of what nobody holds, for the caller to drop outside of the lock.
    fn take_idle(&self, picks: impl Fn(&Slot<T>) -> bool) -> Vec<Arc<Slot<T>>> {
        let mut slots = self.slots();
        let idle = slots.values().filter(|slot| slot.holds() == 0 && picks(slot));
        let keys: Vec<Arc<str>> = idle.map(|slot| Arc::clone(slot.shared_key())).collect();
        keys.iter().filter_map(|key| slots.remove(key)).collect()
    }

    /// Forgets a slot that nobody holds and that has no value.
    fn forget(&self, empty: &Arc<Slot<T>>) {
        let mut slots = self.slots();
        let is_there = slots.get(empty.key()).is_some_and(|slot| Arc::ptr_eq(slot, empty));
        if is_there && empty.holds() == 0 && !empty.is_loaded() {
            slots.remove(empty.key());
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl<T> Clone for Resource<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Resource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("name", &self.0.name)
            .field("idle_after", &self.0.idle_after)
            .field("values", &self.0.slots().len())
            .finish_non_exhaustive()
    }
}

/// A value that is being used. While one lease of it lives, it is not evicted.
#[must_use = "the value may be evicted when its last lease is dropped"]
pub struct Lease<T>(Hold<T>);

impl<T> Lease<T> {
    /// Returns the key that it was leased by.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.slot().key()
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.slot().value().expect("a lease is made after the load")
    }
}

impl<T> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("key", &self.key()).finish_non_exhaustive()
    }
}

/// One value of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Its key.
    pub key: String,
    /// Leases that live, and callers that wait for its load.
    pub leases: usize,
    /// Whether it is loaded; else it is being loaded.
    pub ready: bool,
}
