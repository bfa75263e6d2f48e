//! Holds: counts of users of a part, and a way to wait until there are none.
//!
//! A hold is counted, not locked: taking and giving back is one atomic step each, and nobody ever waits to
//! take one.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A count that can be waited for to come down to zero.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    held: AtomicUsize,
    freed: Notify,
}

impl Hold {
    /// Counts one more until the result is dropped.
    pub(crate) fn take(self: &Arc<Self>) -> Held {
        self.raise();
        Held(Arc::clone(self))
    }

    pub(crate) fn raise(&self) {
        self.held.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn lower(&self) {
        if self.held.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.freed.notify_waiters();
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Waits until nothing is held. Cancel safe.
    pub(crate) async fn free(&self) {
        loop {
            let mut freed = pin!(self.freed.notified());
            // Listens before it looks, so that the last release cannot fall in between.
            freed.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            freed.await;
        }
    }
}

/// One count of a [`Hold`], given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held(Arc<Hold>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lower();
    }
}

/// A critical section: while it exists, what it protects is not cut short. Dropping it ends the section.
///
/// Made by [`Context::protect`](crate::Context::protect), which says what it holds back for an engine, and by
/// the facade's `protect`, for sections of the service itself. The deadline of a shutdown wins over it.
#[must_use = "the section ends when this is dropped"]
pub struct Protection {
    _section: Option<Box<dyn Send + Sync>>,
}

impl Protection {
    /// Protects until it is dropped, and the section with it.
    pub(crate) fn of(section: impl Send + Sync + 'static) -> Self {
        Self { _section: Some(Box::new(section)) }
    }

    /// Protects nothing: what it was to protect has ended.
    pub(crate) fn none() -> Self {
        Self { _section: None }
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protection").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hold_is_free_when_the_last_of_it_is_given_back() {
        let hold = Arc::new(Hold::default());
        hold.free().await;
        let (one, two) = (hold.take(), hold.take());
        let mut free = pin!(hold.free());
        assert!(free.as_mut().now_or_never().is_none());
        drop(one);
        assert!(free.as_mut().now_or_never().is_none(), "one is left");
        drop(two);
        free.await;
    }
}
