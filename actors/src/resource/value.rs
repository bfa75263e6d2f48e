//! The value of one key, its leases, and its load while there is one.
//!
//! It is in the map of its resource as long as it can be leased. Evicted, it lives on in its leases.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use volery_blackboard::Timestamp;

use crate::fault::{Fault, take_text};

/// Why a load failed, for all who waited for it.
pub(super) type SharedFault = Arc<dyn std::error::Error + Send + Sync>;

/// A load that several callers wait for; each poll of any of them drives it.
type Loading = BoxFuture<'static, Result<(), SharedFault>>;

/// The value of one key.
pub(super) struct Value<T> {
    key: Arc<str>,
    loaded: OnceLock<T>,
    /// Leases, and callers that wait for the load. Raised under the lock of the resource's values only.
    pub(super) leases: AtomicUsize,
    /// When the last lease ended, in microseconds since the epoch.
    pub(super) idle_since: AtomicI64,
    /// Weak, so that the load is dropped with the last caller that waits for it.
    loading: Mutex<Option<WeakShared<Loading>>>,
}

impl<T: Send + Sync + 'static> Value<T> {
    /// Returns the load that is under way, or begins one; `None` when the value is there.
    pub(super) fn loading(
        self: &Arc<Self>,
        load: impl FnOnce(String) -> BoxFuture<'static, Result<T, Fault>>,
    ) -> Option<Shared<Loading>> {
        // Dropped after the lock: it may be the last to hold an error of the user.
        let failed;
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        match loading.as_ref().and_then(WeakShared::upgrade) {
            // A load that has failed is not under way any more, though some callers may not have polled it
            // yet.
            Some(load) if matches!(load.peek(), Some(Err(_))) => failed = Some(load),
            Some(load) => return Some(load),
            None => failed = None,
        }
        // A load whose waiters have all gone has set the value before they went.
        if self.is_loaded() {
            return None;
        }
        let work = load(self.key.as_ref().to_owned());
        let entry = Arc::clone(self);
        let fresh: Loading = Box::pin(async move {
            let loaded = AssertUnwindSafe(work).catch_unwind().await;
            let loaded =
                loaded.unwrap_or_else(|panic| Err(format!("the load panicked: {}", take_text(panic)).into()));
            // No other load of this key is under way, so the value is not there yet.
            loaded.map(|value| drop(entry.loaded.set(value))).map_err(SharedFault::from)
        });
        let fresh = fresh.shared();
        *loading = fresh.downgrade();
        drop(loading);
        drop(failed);
        Some(fresh)
    }
}

impl<T> Value<T> {
    pub(super) fn new(key: Arc<str>) -> Self {
        Self {
            key,
            loaded: OnceLock::new(),
            leases: AtomicUsize::new(0),
            idle_since: AtomicI64::new(0),
            loading: Mutex::default(),
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn shared_key(&self) -> &Arc<str> {
        &self.key
    }

    pub(super) fn loaded(&self) -> Option<&T> {
        self.loaded.get()
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.get().is_some()
    }

    pub(super) fn leases(&self) -> usize {
        self.leases.load(Ordering::Acquire)
    }

    pub(super) fn idle_since(&self) -> Timestamp {
        Timestamp::from_micros_since_epoch(self.idle_since.load(Ordering::Acquire))
    }
}
