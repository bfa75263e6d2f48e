//! Admission: publishers wait for room in the backlog and in the queue, or are refused.
//!
//! The backlog is counted by the curator: claims that wait for an agent or run, and claims that collectors
//! hold.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, Semaphore};

use crate::error::{Cause, Error, Result};
use crate::settings::Overflow;

/// Publishes that may be in the queue. Enough for two full commits: one being written, one being gathered.
/// Twice as many would only add to the time a publisher waits.
const PUBLISHES_MAX: usize = 2_048;

/// How much may wait before publishers are held back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) queued_max: u64,
    pub(crate) collected_max: u64,
    pub(crate) overflow: Overflow,
}

/// The room for publishes, and the limits of the backlog.
#[derive(Debug)]
pub(super) struct Admission {
    runtime: String,
    limits: Limits,
    room: Semaphore,
    open: AtomicBool,
    /// Claims that wait for an agent or run, as the curator last counted them.
    queued: AtomicU64,
    /// Claims that collectors hold.
    collected: AtomicU64,
    room_freed: Notify,
}

impl Admission {
    pub(super) fn new(runtime: String, limits: Limits) -> Self {
        Self {
            runtime,
            limits,
            room: Semaphore::new(PUBLISHES_MAX),
            open: AtomicBool::new(true),
            queued: AtomicU64::new(0),
            collected: AtomicU64::new(0),
            room_freed: Notify::new(),
        }
    }

    /// Takes room for one command that adds work, if there is some at once.
    pub(super) fn try_enter(&self) -> bool {
        if !self.is_open() || !self.backlog_has_room() {
            return false;
        }
        match self.room.try_acquire() {
            Ok(room) => {
                room.forget();
                true
            }
            Err(_) => false,
        }
    }

    /// Waits for room for one command that adds work. Cancel safe.
    pub(super) async fn enter(&self) -> Result<()> {
        let room = loop {
            self.wait_for_backlog().await?;
            let Ok(room) = self.room.acquire().await else { return Err(self.shut()) };
            // The backlog may have grown while it waited for its place in the queue.
            if self.backlog_has_room() {
                break room;
            }
        };
        if !self.is_open() {
            return Err(self.shut());
        }
        room.forget();
        Ok(())
    }

    /// Waits until the backlog has room, or refuses.
    async fn wait_for_backlog(&self) -> Result<()> {
        loop {
            if !self.is_open() {
                return Err(self.shut());
            }
            let collected = self.collected.load(Ordering::Acquire);
            if collected >= self.limits.collected_max {
                // Waiting could wait for ever: what collectors hold may be waiting for this very publish.
                return Err(Cause::Overloaded { what: "collected", count: collected }.into());
            }
            if self.queued.load(Ordering::Acquire) < self.limits.queued_max {
                return Ok(());
            }
            // Listens before it looks again, so that neither the room nor the end in between is missed.
            let room_freed = self.room_freed.notified();
            if !self.is_open() {
                return Err(self.shut());
            }
            let queued = self.queued.load(Ordering::Acquire);
            if queued < self.limits.queued_max {
                return Ok(());
            }
            match self.limits.overflow {
                Overflow::Refuse => return Err(Cause::Overloaded { what: "queued", count: queued }.into()),
                Overflow::Wait => room_freed.await,
            }
        }
    }

    fn backlog_has_room(&self) -> bool {
        self.queued.load(Ordering::Acquire) < self.limits.queued_max
            && self.collected.load(Ordering::Acquire) < self.limits.collected_max
    }

    /// So many commands that had entered have left the queue.
    pub(super) fn leave(&self, entered: usize) {
        if entered > 0 && self.is_open() {
            self.room.add_permits(entered);
        }
    }

    /// Refuses every further publish, the waiting ones included.
    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Release);
        self.room.close();
        self.room_freed.notify_waiters();
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Takes the count of the backlog, and lets publishers in again when there is room.
    pub(super) fn count_backlog(&self, queued: u64, collected: u64) {
        self.collected.store(collected, Ordering::Release);
        let before = self.queued.swap(queued, Ordering::AcqRel);
        if before >= self.limits.queued_max && queued < self.limits.queued_max {
            self.room_freed.notify_waiters();
        }
    }

    /// How much waits, its limit, and in what way.
    pub(super) fn backlog(&self) -> [(u64, u64, &'static str); 2] {
        let (queued, collected) =
            (self.queued.load(Ordering::Acquire), self.collected.load(Ordering::Acquire));
        [(queued, self.limits.queued_max, "queued"), (collected, self.limits.collected_max, "collected")]
    }

    pub(super) fn shut(&self) -> Error {
        Cause::ShuttingDown(self.runtime.clone()).into()
    }
}
