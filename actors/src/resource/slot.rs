//! A slot: the value of one key, its leases, and its load while there is one.
//!
//! A slot is in the map of its resource as long as it can be leased. Taken out, it lives on in its leases.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use volery_blackboard::Timestamp;

use super::Shelf;
use crate::fault::{Fault, take_text};

/// Why a load failed, for all who waited for it.
pub(super) type SharedFault = Arc<dyn std::error::Error + Send + Sync>;

/// A load that several callers wait for; each poll of any of them drives it.
type Loading = BoxFuture<'static, Result<(), SharedFault>>;

/// The value of one key.
pub(super) struct Slot<T> {
    key: Arc<str>,
    value: OnceLock<T>,
    /// Leases, and callers that wait for the load. Raised under the shelf's lock only.
    holds: AtomicUsize,
    /// When the last hold ended, in microseconds since the epoch.
    idle_since: AtomicI64,
    /// Weak, so that the load is dropped with the last who waits for it.
    loading: Mutex<Option<WeakShared<Loading>>>,
}

impl<T: Send + Sync + 'static> Slot<T> {
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
        let slot = Arc::clone(self);
        let fresh: Loading = Box::pin(async move {
            let loaded = AssertUnwindSafe(work).catch_unwind().await;
            let loaded =
                loaded.unwrap_or_else(|panic| Err(format!("the load panicked: {}", take_text(panic)).into()));
            // Nobody else loads this slot, so the value is not there yet.
            loaded.map(|value| drop(slot.value.set(value))).map_err(SharedFault::from)
        });
        let fresh = fresh.shared();
        *loading = fresh.downgrade();
        drop(loading);
        drop(failed);
        Some(fresh)
    }
}

impl<T> Slot<T> {
    pub(super) fn new(key: Arc<str>) -> Self {
        Self {
            key,
            value: OnceLock::new(),
            holds: AtomicUsize::new(0),
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

    pub(super) fn value(&self) -> Option<&T> {
        self.value.get()
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.value.get().is_some()
    }

    pub(super) fn holds(&self) -> usize {
        self.holds.load(Ordering::Acquire)
    }

    pub(super) fn idle_since(&self) -> Timestamp {
        Timestamp::from_micros_since_epoch(self.idle_since.load(Ordering::Acquire))
    }
}

/// Keeps a slot from being evicted.
pub(super) struct Hold<T> {
    slot: Arc<Slot<T>>,
    shelf: Arc<Shelf<T>>,
}

impl<T> Hold<T> {
    /// Takes hold. To be called under the shelf's lock.
    pub(super) fn new(slot: Arc<Slot<T>>, shelf: Arc<Shelf<T>>) -> Self {
        slot.holds.fetch_add(1, Ordering::AcqRel);
        Self { slot, shelf }
    }

    pub(super) fn slot(&self) -> &Arc<Slot<T>> {
        &self.slot
    }
}

impl<T> Drop for Hold<T> {
    fn drop(&mut self) {
        // Before the count: a reader that sees no lease sees since when.
        self.slot.idle_since.store(self.shelf.now().as_micros_since_epoch(), Ordering::Release);
        let last = self.slot.holds.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && !self.slot.is_loaded() {
            self.shelf.forget(&self.slot);
        }
    }
}
