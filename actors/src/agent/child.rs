//! Child tasks: tasks that an engine starts, and that end with its attempt.
//!
//! They are the last branch of the one cancellation tree: runtime > run > job > attempt > child. An attempt's
//! end is sent only when its children are gone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use volery_blackboard::panic::panic_text;

/// A task that an engine started with [`Context::spawn`](super::Context::spawn). Awaiting it gives its
/// result, once.
///
/// Dropping the handle leaves the task to itself until the attempt ends.
#[derive(Debug)]
pub struct ChildTask<T> {
    /// `None` for one that came too late, or whose result was given.
    task: Option<JoinHandle<Option<T>>>,
}

/// Why a child task has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// It panicked; the text is the panic's.
    #[error("child task panicked: {0}")]
    Panicked(String),
    /// It was cut off: by [`ChildTask::abort`], or because its attempt had ended.
    #[error("child task was cut off")]
    CutOff,
}

impl<T> ChildTask<T> {
    /// A task that came too late to be started.
    pub(super) fn cut_off() -> Self {
        Self { task: None }
    }

    /// Cuts the task off at its next await.
    pub fn abort(&self) {
        self.task.iter().for_each(JoinHandle::abort);
    }

    /// Tells whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl<T> Future for ChildTask<T> {
    type Output = Result<T, ChildError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let Some(running) = &mut self.task else { return Poll::Ready(Err(ChildError::CutOff)) };
        let Poll::Ready(ended) = Pin::new(running).poll(task) else { return Poll::Pending };
        self.task = None;
        Poll::Ready(match ended {
            Ok(Some(result)) => Ok(result),
            Err(ended) if ended.is_panic() => {
                Err(ChildError::Panicked(panic_text(ended.into_panic().as_ref())))
            }
            Ok(None) | Err(_) => Err(ChildError::CutOff),
        })
    }
}

/// The children of one attempt.
pub(super) struct Children {
    own: TaskTracker,
    /// Those of the whole agent, so that its life can wait for the children of attempts that were cut off.
    all: TaskTracker,
    end: CancellationToken,
}

impl Children {
    pub(super) fn new(all: &TaskTracker) -> Self {
        Self { own: TaskTracker::new(), all: all.clone(), end: CancellationToken::new() }
    }

    pub(super) fn spawn<F>(&self, future: F) -> ChildTask<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let end = self.end.clone();
        let limited = async move {
            tokio::select! {
                biased;
                () = end.cancelled() => None,
                result = future => Some(result),
            }
        };
        ChildTask { task: Some(self.own.spawn(self.all.track_future(limited))) }
    }

    /// Spawns a child that ends by itself soon after `end`, and may have something to await then.
    #[cfg(feature = "process")]
    pub(super) fn spawn_until<F>(&self, make: impl FnOnce(CancellationToken) -> F) -> ChildTask<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let until = make(self.end.clone());
        ChildTask { task: Some(self.own.spawn(self.all.track_future(async move { Some(until.await) }))) }
    }

    /// Cuts off what still runs, without waiting for it.
    pub(super) fn cut_off(&self) {
        self.end.cancel();
    }

    /// Cuts off what still runs, and waits until it is gone.
    pub(super) async fn end(&self) {
        self.cut_off();
        self.own.close();
        self.own.wait().await;
    }
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("running", &self.own.len()).finish_non_exhaustive()
    }
}
