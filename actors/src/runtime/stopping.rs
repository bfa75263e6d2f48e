//! How a runtime is stopped, and what a service has to say about it: calls, signals, callbacks, protected sections.
//!
//! Everything here only asks; `root/` does the stopping.

use std::future::Future;
use std::sync::{Arc, PoisonError};

use super::Runtime;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::hold::Protection;
use crate::root::{Phase, ShutdownReport, StopCause, Stopping};

impl Runtime {
    /// Stops in order and reports. Calling it again returns the same report. Cancel safe; the stop goes on.
    ///
    /// # Errors
    /// When the async runtime was ended under it.
    pub async fn shutdown(&self) -> Result<Arc<ShutdownReport>> {
        self.0.root.stop(Stopping::Drain, StopCause::Requested);
        self.stopped().await
    }

    /// Waits until the runtime has stopped, for whatever reason, and returns the report. Cancel safe.
    ///
    /// # Errors
    /// When the async runtime was ended under it.
    pub async fn stopped(&self) -> Result<Arc<ShutdownReport>> {
        let gone = || Error::other("the async runtime was ended before the shutdown");
        self.0.root.report().await.ok_or_else(gone)
    }

    /// Waits until a stop has begun: asked for by a call or a signal, or because a part gave up. Cancel safe.
    pub async fn shutdown_requested(&self) {
        self.0.root.stop_requested().await;
    }

    /// Acts like one more signal: the first drains, the second aborts. Returns whether there is anything left to
    /// escalate; after the second there is not, and a signal handler ends the process.
    #[must_use]
    pub fn interrupt(&self) -> bool {
        let next = match self.0.root.stopping() {
            Stopping::No => Stopping::Drain,
            Stopping::Drain => Stopping::Abort,
            Stopping::Abort => return false,
        };
        self.0.root.stop(next, StopCause::Interrupted);
        true
    }

    /// Stops on SIGINT and SIGTERM: the first drains, the second aborts, the third exits the process with code 130.
    ///
    /// Installs nothing unless called; called again, it changes nothing.
    ///
    /// # Errors
    /// When the system refuses the registration.
    pub fn shutdown_on_signals(&self) -> Result<()> {
        self.0.signals.lock().unwrap_or_else(PoisonError::into_inner).listen(&self.0)
    }

    /// Takes [`Runtime::shutdown_on_signals`] back; see the facade's method of this name.
    pub fn ignore_signals(&self) {
        self.0.signals.lock().unwrap_or_else(PoisonError::into_inner).ignore();
    }

    /// Registers a callback for the beginning of a stop; see the facade's method of this name.
    ///
    /// # Errors
    /// When the stop has begun, or there are 1,000 already.
    pub fn on_shutdown<F, Fut, E>(&self, name: impl Into<String>, callback: F) -> Result<()>
    where
        F: FnOnce(StopCause) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Fault>,
    {
        self.0.root.callbacks().register(Phase::Notice, self.name(), name.into(), callback)
    }

    /// Registers a callback for the moment after the agents; see the facade's method of this name.
    ///
    /// # Errors
    /// When that moment has come, or there are 1,000 already.
    pub fn on_flush<F, Fut, E>(&self, name: impl Into<String>, callback: F) -> Result<()>
    where
        F: FnOnce(StopCause) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Fault>,
    {
        self.0.root.callbacks().register(Phase::Flush, self.name(), name.into(), callback)
    }

    /// Begins a protected section of the service; see the facade's method of this name.
    pub fn protect(&self) -> Protection {
        self.0.root.protect()
    }
}
