//! A part of the facade for synchronous programs: every call blocks its thread.
//!
//! Calling it inside an async runtime is an error, not a hang.

use std::future::{Future, IntoFuture};
use std::sync::Arc;

use tokio::runtime::{Handle, Runtime};
use volery_actors::{Error, Health, IntoOutputs, Published, Result, ShutdownReport};
use volery_blackboard::shape::Take;
use volery_blackboard::{Filter, Page, Payload, RunId, Waiting};

use crate::Builder;
use crate::report::RunReport;

/// A runtime with an async runtime of its own.
#[derive(Debug)]
pub struct Volery {
    inner: crate::Volery,
    tokio: Arc<Runtime>,
}

impl Volery {
    /// Starts what the builder describes.
    ///
    /// # Errors
    /// Inside an async runtime; when threads cannot be started; as for [`Builder::start`].
    pub fn start(builder: Builder) -> Result<Self> {
        refuse_async()?;
        let tokio = Arc::new(tokio::runtime::Builder::new_multi_thread().enable_all().build()?);
        let inner = tokio.block_on(builder.start())?;
        Ok(Self { inner, tokio })
    }

    /// Publishes an artifact in a run of its own.
    ///
    /// # Errors
    /// Inside an async runtime, or as for [`crate::Volery::publish`].
    pub fn publish<T: Payload>(&self, payload: T) -> Result<Published> {
        self.wait(self.inner.publish(payload).into_future())
    }

    /// Publishes several artifacts in one run, all or nothing.
    ///
    /// # Errors
    /// Inside an async runtime, or as for [`crate::Volery::publish_all`].
    pub fn publish_all(&self, payloads: impl IntoOutputs) -> Result<Vec<Published>> {
        self.wait(self.inner.publish_all(payloads))
    }

    /// Begins a run.
    #[must_use]
    pub fn run(&self, workflow: &str) -> Run {
        Run { inner: self.inner.run(workflow).open(), tokio: Arc::clone(&self.tokio) }
    }

    /// Waits until nothing moves.
    ///
    /// # Errors
    /// Inside an async runtime, or when the runtime stops first.
    pub fn until_idle(&self) -> Result<()> {
        self.wait(self.inner.until_idle())
    }

    /// Finds artifacts, one page at a time.
    ///
    /// # Errors
    /// Inside an async runtime, or when the store cannot be read.
    pub fn artifacts(&self, filter: &Filter) -> Result<Page> {
        self.wait(self.inner.artifacts(filter))
    }

    /// Lists up to 1,000 artifacts that wait, and why.
    ///
    /// # Errors
    /// Inside an async runtime, or when the runtime has stopped.
    pub fn waiting(&self) -> Result<Vec<Waiting>> {
        self.wait(self.inner.waiting())
    }

    /// Asks anything that the async facade answers, and waits:
    /// `volery.ask(|volery| volery.dead_letters().limit(9))?`.
    ///
    /// A result is that of the async facade, such as a letter; its own async methods are awaited here as
    /// well: `volery.ask(|_| letter.redrive())?`.
    ///
    /// # Errors
    /// Inside an async runtime, or as for what is asked.
    pub fn ask<'a, T, F>(&'a self, question: impl FnOnce(&'a crate::Volery) -> F) -> Result<T>
    where
        F: IntoFuture<Output = Result<T>>,
    {
        self.wait(async { question(&self.inner).await })
    }

    /// Inspects the runtime.
    ///
    /// # Errors
    /// Inside an async runtime.
    pub fn health(&self) -> Result<Health> {
        self.wait(async { Ok(self.inner.health().await) })
    }

    /// Returns the facade for asynchronous programs: for what does not wait, such as pausing an agent or
    /// cancelling a run.
    pub fn inner(&self) -> &crate::Volery {
        &self.inner
    }

    /// Stops in order and reports.
    ///
    /// # Errors
    /// Inside an async runtime.
    pub fn shutdown(&self) -> Result<Arc<ShutdownReport>> {
        self.wait(self.inner.shutdown())
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        refuse_async()?;
        self.tokio.block_on(future)
    }
}

/// A run of a blocking runtime.
#[derive(Debug)]
pub struct Run {
    inner: crate::Run,
    tokio: Arc<Runtime>,
}

impl Run {
    /// Returns the run's id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.inner.id()
    }

    /// Publishes an artifact in this run.
    ///
    /// # Errors
    /// Inside an async runtime, or as for [`crate::Run::publish`].
    pub fn publish<T: Payload>(&self, payload: T) -> Result<Published> {
        self.wait(self.inner.publish(payload).into_future())
    }

    /// Asks anything that a run of the async facade answers, and waits: `run.ask(|run| run.tally())?`.
    ///
    /// # Errors
    /// Inside an async runtime, or as for what is asked.
    pub fn ask<'a, T, F>(&'a self, question: impl FnOnce(&'a crate::Run) -> F) -> Result<T>
    where
        F: IntoFuture<Output = Result<T>>,
    {
        self.wait(async { question(&self.inner).await })
    }

    /// Waits until nothing of the run moves.
    ///
    /// # Errors
    /// Inside an async runtime, or when the runtime stops first.
    pub fn settled(&self) -> Result<RunReport> {
        self.wait(self.inner.settled())
    }

    /// Declares that no more input comes, and waits until everything of the run has its outcome.
    ///
    /// # Errors
    /// Inside an async runtime, or when the runtime stops first.
    pub fn finish(&self) -> Result<RunReport> {
        self.wait(self.inner.finish())
    }

    /// Returns every payload of one kind in this run, oldest first.
    ///
    /// # Errors
    /// Inside an async runtime, or when the store cannot be read.
    pub fn artifacts<T: Take>(&self) -> Result<Vec<T>> {
        self.wait(self.inner.artifacts())
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        refuse_async()?;
        self.tokio.block_on(future)
    }
}

fn refuse_async() -> Result<()> {
    match Handle::try_current() {
        Ok(_) => Err(Error::misuse(
            "volery::blocking was called inside an async runtime, where it would block a worker; use volery::Volery there",
        )),
        Err(_) => Ok(()),
    }
}
