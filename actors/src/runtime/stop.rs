//! How a service stops its runtime: calls, signals, callbacks, protected sections.
//!
//! Everything here only asks; `root/` does the stopping. `docs/semantics.md` has the order of a stop,
//! `docs/supervision.md` the exit codes.

use std::future::Future;
use std::sync::{Arc, PoisonError};

use super::Volery;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::hold::Protection;
use crate::root::{Phase, ShutdownReport, StopCause, Stopping};

impl Volery {
    /// Stops in order and reports: publishing is refused, agents drain until the deadline
    /// ([`Settings::shutdown_within`](crate::Settings)), what is left is cancelled, the store is closed.
    ///
    /// Called again, it returns the same report. Cancel safe; the stop goes on. The store is closed then:
    /// read what you need before, or in an [`on_flush`](Self::on_flush) callback.
    ///
    /// # Errors
    /// When the async runtime is ended under it.
    pub async fn shutdown(&self) -> Result<Arc<ShutdownReport>> {
        self.0.root.stop(Stopping::Drain, StopCause::Requested);
        self.stopped().await
    }

    /// Waits until the runtime has stopped for whatever reason: a call, a signal, or a part that failed too
    /// often (then the report says so). It does not ask for a stop. Cancel safe.
    ///
    /// # Errors
    /// When the async runtime is ended under it.
    pub async fn stopped(&self) -> Result<Arc<ShutdownReport>> {
        let gone = || Error::other("the async runtime was ended before the shutdown");
        self.0.root.report().await.ok_or_else(gone)
    }

    /// Waits until a stop has begun, by a call, a signal, or because a part failed too often. Cancel safe.
    pub async fn shutdown_requested(&self) {
        self.0.root.stop_requested().await;
    }

    /// Waits until a stop has begun, for whatever reason, and then until it is complete: the line that a
    /// service's `main` ends with.
    ///
    /// ```no_run
    /// # use volery_actors::{Result, Volery};
    /// # async fn service() -> Result<()> {
    /// let volery = Volery::builder("service").start().await?;
    /// volery.shutdown_on_signals()?;
    /// volery.wait_for_shutdown().await?.exit()
    /// # }
    /// ```
    ///
    /// Every caller gets the same report, at any time. Cancel safe; it asks for nothing, so dropping it
    /// changes nothing.
    ///
    /// # Errors
    /// When the async runtime is ended under it.
    pub async fn wait_for_shutdown(&self) -> Result<Arc<ShutdownReport>> {
        // The stopper stops everything by itself once it was asked to, or the tree gave up.
        self.stopped().await
    }

    /// Stops on SIGINT and SIGTERM: the first drains, the second aborts, the third exits the process with
    /// code [`EXIT_CODE_INTERRUPTED`](crate::EXIT_CODE_INTERRUPTED). Without this call no signal handler is
    /// installed.
    ///
    /// `main` awaits [`Volery::wait_for_shutdown`] and returns. From this call on the two signals do not end
    /// the process by themselves any more. They are heard by a thread of their own, also when engines block
    /// every worker thread. Called again, it changes nothing. Where there are no signals, Ctrl-C takes their
    /// place.
    ///
    /// # Errors
    /// When the system refuses the registration.
    pub fn shutdown_on_signals(&self) -> Result<()> {
        self.0.signals.lock().unwrap_or_else(PoisonError::into_inner).listen(&self.0)
    }

    /// Takes [`Volery::shutdown_on_signals`] back: the runtime does not act on signals any more, and from now
    /// on SIGINT and SIGTERM have their default effect again, which is to end the process.
    ///
    /// That holds for the whole process: other runtimes and handlers hear the signal, but the process ends.
    /// When the last handle is dropped without this call, the runtime stops listening and the signals have no
    /// effect at all, unless other code listens. Without signals (Windows), Ctrl-C has no effect after this
    /// call.
    pub fn ignore_signals(&self) {
        self.0.signals.lock().unwrap_or_else(PoisonError::into_inner).ignore();
    }

    /// Acts like one more signal: the first drains, the second aborts. Returns false when there is nothing
    /// left to escalate.
    pub fn interrupt(&self) -> bool {
        let next = match self.0.root.stopping() {
            Stopping::No => Stopping::Drain,
            Stopping::Drain => Stopping::Abort,
            Stopping::Abort => return false,
        };
        self.0.root.stop(next, StopCause::Interrupted);
        true
    }

    /// Registers what the service does first when a stop begins, before publishing is refused: leaving a load
    /// balancer, deregistering from discovery.
    ///
    /// Callbacks run one after the other, the last registered first, each in a task of its own and for at
    /// most [`Settings::callback_within`](crate::Settings); the time is that of the draining. A callback that
    /// fails, panics or takes too long is named in the report and stops nothing. A second interrupt cuts them
    /// short, and a stop that begins as one, as when the last handle is dropped, does not call them.
    ///
    /// A callback is given the cause of the stop. A callback that holds a handle to this runtime keeps it
    /// alive: it then stops on request, and not when all other handles are dropped.
    ///
    /// # Errors
    /// Of kind `Stop` once the stop has begun, of kind `FixInput` when 1,000 are registered.
    pub fn on_shutdown<F, Fut, E>(&self, name: impl Into<String>, callback: F) -> Result<()>
    where
        F: FnOnce(StopCause) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Fault>,
    {
        self.0.root.callbacks().register(Phase::Notice, self.name(), name.into(), callback)
    }

    /// Registers what the service does when the agents have ended and before the store is closed: writing its
    /// own buffers, reading what became of its runs.
    ///
    /// As for [`on_shutdown`](Self::on_shutdown), but in every stop and with the time that is left after the
    /// draining: [`Settings::closing_within`](crate::Settings) when the draining took all of its own, less
    /// what the cancelling took of it. Publishing is refused by then; reading and asking still work.
    ///
    /// # Errors
    /// Of kind `Stop` once that moment has come, of kind `FixInput` when 1,000 are registered.
    pub fn on_flush<F, Fut, E>(&self, name: impl Into<String>, callback: F) -> Result<()>
    where
        F: FnOnce(StopCause) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Fault>,
    {
        self.0.root.callbacks().register(Phase::Flush, self.name(), name.into(), callback)
    }

    /// Begins a critical section of the service, which ends when the result is dropped: a stop does not end
    /// the curator and close the store before. The deadline of the stop wins, and the report says so.
    ///
    /// Publishing is refused from the beginning of the stop, in a protected section as well; reading and
    /// asking still work. An engine has [`Context::protect`](crate::Context::protect).
    pub fn protect(&self) -> Protection {
        self.0.root.protect()
    }
}
