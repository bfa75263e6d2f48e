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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use volery_blackboard::Timestamp;

use crate::clock::Clock;
use crate::error::{Cause, Result};
use crate::fault::Fault;

mod eviction;
mod value;

pub(crate) use eviction::{Evict, Registration, ValueCounts, drop_values};
use value::Value;

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
pub struct Resource<T>(Arc<ResourceState<T>>);

/// Starts loading the value of a key.
type Load<T> = dyn Fn(String) -> BoxFuture<'static, Result<T, Fault>> + Send + Sync;

/// The state that all clones of a resource share.
struct ResourceState<T> {
    name: Arc<str>,
    load: Arc<Load<T>>,
    idle_after: Duration,
    values_max: usize,
    clock: Clock,
    values: Mutex<HashMap<Arc<str>, Arc<Value<T>>>>,
    counts: Mutex<ValueCounts>,
    /// Runtimes that it is registered with.
    runtimes: AtomicUsize,
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
        Self(Arc::new(ResourceState {
            name: name.into(),
            load,
            idle_after: IDLE_AFTER_DEFAULT,
            values_max: VALUES_MAX_DEFAULT,
            clock: Clock::system(),
            values: Mutex::default(),
            counts: Mutex::default(),
            runtimes: AtomicUsize::new(0),
        }))
    }

    /// Keeps a value this long after its last lease. Default 5 minutes. To be called before the first clone.
    #[must_use]
    pub fn idle_after(self, idle: Duration) -> Self {
        self.change(|state| state.idle_after = idle)
    }

    /// Holds at most this many values, those being loaded included. Default 1,024; 0 counts as 1. When all
    /// are leased, a lease of another key is refused; else the value that is idle longest is dropped. To be
    /// called before the first clone.
    #[must_use]
    pub fn values_max(self, values: usize) -> Self {
        self.change(|state| state.values_max = values.max(1))
    }

    /// Changes a setting. A resource that is shared already keeps its settings, and gets a state of its own
    /// here.
    fn change(self, change: impl FnOnce(&mut ResourceState<T>)) -> Self {
        let state = &*self.0;
        let mut fresh = ResourceState {
            name: Arc::clone(&state.name),
            load: Arc::clone(&state.load),
            idle_after: state.idle_after,
            values_max: state.values_max,
            clock: state.clock.clone(),
            values: Mutex::default(),
            counts: Mutex::default(),
            runtimes: AtomicUsize::new(0),
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
        let lease = self.count_lease(key)?;
        if !lease.value.is_loaded() {
            let loading = lease.value.loading(|key| self.load(key));
            if let Some(loading) = loading
                && let Err(source) = loading.await
            {
                self.0.counts().failed += 1;
                let (resource, key) = (self.0.name.to_string(), key.to_owned());
                return Err(Cause::Load { resource, key, source }.into());
            }
        }
        Ok(lease)
    }

    /// Lists the values that are there or being loaded, by key.
    #[must_use]
    pub fn loaded(&self) -> Vec<Loaded> {
        let describe = |value: &Arc<Value<T>>| Loaded {
            key: value.key().to_owned(),
            leases: value.leases(),
            ready: value.is_loaded(),
        };
        let mut all: Vec<Loaded> = self.0.lock().values().map(describe).collect();
        all.sort_by(|left, right| left.key.cmp(&right.key));
        all
    }

    fn load(&self, key: String) -> BoxFuture<'static, Result<T, Fault>> {
        let state = Arc::clone(&self.0);
        Box::pin(async move {
            let loaded = (state.load)(key).await;
            state.counts().loaded += u64::from(loaded.is_ok());
            loaded
        })
    }

    /// Counts a lease of a key, whose value may be yet to be loaded. Evicts another value if there are too
    /// many.
    fn count_lease(&self, key: &str) -> Result<Lease<T>> {
        let (lease, evicted) = {
            let mut values = self.0.lock();
            let mut evicted = None;
            if !values.contains_key(key) && values.len() >= self.0.values_max {
                let longest_idle = values
                    .values()
                    .filter(|value| value.leases() == 0)
                    .min_by_key(|value| value.idle_since());
                let Some(longest_idle) = longest_idle.map(|value| Arc::clone(value.shared_key())) else {
                    let count = values.len() as u64;
                    return Err(Cause::Overloaded { what: "values of a resource, all leased", count }.into());
                };
                evicted = values.remove(&longest_idle);
            }
            let value =
                values.entry(key.into()).or_insert_with_key(|key| Arc::new(Value::new(Arc::clone(key))));
            (Lease::new(Arc::clone(value), Arc::clone(&self.0)), evicted)
        };
        if let Some(evicted) = evicted {
            self.0.counts().evicted += 1;
            // The drop is code of the user: a panic of it is not an error of this lease.
            drop(catch_unwind(AssertUnwindSafe(|| drop(evicted))));
        }
        Ok(lease)
    }
}

impl<T> ResourceState<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Value<T>>>> {
        // No code of others runs under the lock.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, ValueCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the values without a lease that `picks` accepts, for the caller to drop outside of the lock.
    fn take_idle(&self, picks: impl Fn(&Value<T>) -> bool) -> Vec<Arc<Value<T>>> {
        let mut values = self.lock();
        let idle = values.values().filter(|value| value.leases() == 0 && picks(value));
        let keys: Vec<Arc<str>> = idle.map(|value| Arc::clone(value.shared_key())).collect();
        keys.iter().filter_map(|key| values.remove(key)).collect()
    }

    /// Removes a key whose load has ended without a value, if nobody leases it.
    fn remove_empty(&self, empty: &Arc<Value<T>>) {
        let mut values = self.lock();
        let is_there = values.get(empty.key()).is_some_and(|value| Arc::ptr_eq(value, empty));
        if is_there && empty.leases() == 0 && !empty.is_loaded() {
            values.remove(empty.key());
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
            .field("values", &self.0.lock().len())
            .finish_non_exhaustive()
    }
}

/// A value that is being used. While one lease of it lives, it is not evicted.
#[must_use = "the value may be evicted when its last lease is dropped"]
pub struct Lease<T> {
    value: Arc<Value<T>>,
    resource: Arc<ResourceState<T>>,
}

impl<T> Lease<T> {
    /// To be called under the lock of the values.
    fn new(value: Arc<Value<T>>, resource: Arc<ResourceState<T>>) -> Self {
        value.leases.fetch_add(1, Ordering::AcqRel);
        Self { value, resource }
    }

    /// Returns the key that it was leased by.
    #[must_use]
    pub fn key(&self) -> &str {
        self.value.key()
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.loaded().expect("a lease is returned after the load")
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        // Before the count: a reader that sees no lease sees since when.
        self.value.idle_since.store(self.resource.now().as_micros_since_epoch(), Ordering::Release);
        let last = self.value.leases.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && !self.value.is_loaded() {
            self.resource.remove_empty(&self.value);
        }
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
