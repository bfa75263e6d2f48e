//! A run: one workflow, everything caused by what is published in it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::input::Input;
use volery_blackboard::shape::Take;
use volery_blackboard::{Artifact, Filter, Kind, Payload, RunId, Tally, Waiting};

use super::Volery;
use super::publish::{Published, Publishing};
use crate::agent::{IntoOutputs, Outputs};
use crate::error::Result;
use crate::ingress::Until;

/// A run that has not begun. Made by [`Volery::run`](Volery::run).
#[derive(Debug)]
#[must_use = "the run begins when something is published in it"]
pub struct RunStart {
    volery: Volery,
    workflow: Arc<str>,
    deadline: Option<Duration>,
}

impl RunStart {
    pub(crate) fn new(volery: Volery, workflow: Arc<str>) -> Self {
        Self { volery, workflow, deadline: None }
    }

    /// Cancels the run this long after it began, unless everything of it has an outcome by then. It begins
    /// with the call of [`publish`](Self::publish) or [`open`](Self::open). Its report says that it timed
    /// out.
    ///
    /// The deadline outlives the handles to the run, a restart of the curator and, with a durable store, the
    /// process. Nothing waits for it: a run that waits for further input is settled all the same. An artifact
    /// that is published in the run after its deadline is cancelled, as long as a handle exists.
    pub fn deadline(self, within: Duration) -> Self {
        Self { deadline: Some(within), ..self }
    }

    /// Begins the run by publishing its first artifact; awaiting it gives the [`Run`].
    pub fn publish<T: Payload>(self, payload: T) -> RunPublishing {
        let run = self.open();
        let publishing = run.publish(payload);
        RunPublishing { run, publishing }
    }

    /// Begins the run without publishing anything yet.
    pub fn open(self) -> Run {
        let run = self.volery.new_run();
        let at = self.deadline.map(|within| self.volery.now().after(within));
        let handle = Run::new(self.volery, run, self.workflow);
        if let Some(at) = at {
            handle.0.volery.ingress().input(Input::DeadlineRun { run, at });
        }
        handle
    }
}

/// The first publish of a run; awaiting it gives the [`Run`].
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct RunPublishing {
    run: Run,
    publishing: Publishing,
}

impl RunPublishing {
    /// Sets particulars of the artifact: `.with(|publishing| publishing.tagged("urgent"))`.
    pub fn with(self, change: impl FnOnce(Publishing) -> Publishing) -> Self {
        Self { publishing: change(self.publishing), ..self }
    }
}

impl IntoFuture for RunPublishing {
    type Output = Result<Run>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.publishing.await?;
            Ok(self.run)
        })
    }
}

/// A handle to a run. The runtime keeps the run's counts while a handle exists. Cheap to clone.
#[derive(Clone)]
pub struct Run(Arc<Parts>);

struct Parts {
    volery: Volery,
    id: RunId,
    workflow: Arc<str>,
}

impl Run {
    pub(crate) fn new(volery: Volery, id: RunId, workflow: Arc<str>) -> Self {
        volery.ingress().add_handle(id, &workflow);
        Self(Arc::new(Parts { volery, id, workflow }))
    }

    /// Returns the run's id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.0.id
    }

    /// Returns the workflow's name.
    #[must_use]
    pub fn workflow(&self) -> &str {
        &self.0.workflow
    }

    /// Publishes an artifact in this run.
    pub fn publish<T: Payload>(&self, payload: T) -> Publishing {
        self.0.volery.publishing(payload, self.0.id, Some(&self.0.workflow), self.0.volery.now())
    }

    /// Publishes several artifacts in this run, all or nothing. See
    /// [`Volery::publish_all`](Volery::publish_all).
    ///
    /// # Errors
    /// As for a single publish; nothing is published then. Dropped while it waits for room, nothing is
    /// published; dropped later, the artifacts may or may not be.
    pub fn publish_all(
        &self,
        payloads: impl IntoOutputs,
    ) -> impl Future<Output = Result<Vec<Published>>> + Send {
        self.0.volery.publish_outputs(Outputs::of(payloads), self.0.id, Some(&self.0.workflow))
    }

    /// Waits until nothing of the run moves: no job of it waits for a slot, runs or backs off, no batch or
    /// outer join with its inputs is on a timer, and nothing of it is still to become visible. An input that
    /// is still outstanding then waits for further input or for a person, and is counted in the report.
    /// Cancel safe.
    ///
    /// # Errors
    /// When the runtime stops first.
    pub async fn settled(&self) -> Result<RunReport> {
        let tally = self.0.volery.ingress().wait(Until::Quiescent(self.0.id)).await?;
        let tally = self.or_stored(tally).await?;
        let timed_out = self.0.volery.ingress().has_timed_out(self.0.id);
        Ok(RunReport { run: self.0.id, workflow: self.0.workflow.to_string(), tally, timed_out })
    }

    /// Declares that no more input comes, and waits until everything of the run has its outcome; what waits
    /// for a paused agent is left, and the report says so.
    ///
    /// Collectors are closed one after the other, agents in registration order, each time nothing else of the
    /// run moves: batches with inputs of the run close, inputs that wait for partners expire (or fire
    /// partially, in an outer join). The declaration stands once this has been polled; dropping it ends the
    /// waiting only.
    ///
    /// # Errors
    /// When the runtime stops first.
    pub async fn finish(&self) -> Result<RunReport> {
        self.0.volery.ingress().input(Input::FinishRun(self.0.id));
        self.settled().await
    }

    /// Cancels everything of the run that has not finished. A finished job stays finished.
    pub fn cancel(&self) {
        self.0.volery.cancel(self.0.id);
    }

    /// Returns the payloads of one kind in this run, oldest first, as far as the store keeps them: the memory
    /// store drops all but the newest 10,000 finished artifacts of the whole runtime (`Memory::keep` changes
    /// that). Cancel safe.
    ///
    /// Reads page by page into one list; for runs of unknown size, page through
    /// [`Volery::artifacts`](Volery::artifacts).
    ///
    /// # Errors
    /// When the store cannot be read, or stored JSON does not fit the type.
    pub fn artifacts<T: Take>(&self) -> impl Future<Output = Result<Vec<T>>> + Send {
        let kind = Kind::of::<T::Payload>();
        async move {
            let mut found = Vec::new();
            self.read_kind(&kind, &mut |artifact| {
                found.push(T::take(artifact)?);
                Ok(())
            })
            .await?;
            Ok(found)
        }
    }

    /// Reads the artifacts of one kind page by page. Not generic, so that it is compiled once.
    async fn read_kind(
        &self,
        kind: &Kind,
        take: &mut (dyn FnMut(&Artifact) -> Result<()> + Send),
    ) -> Result<()> {
        let mut filter = Filter::all().any_tenant().run(self.0.id).kind(kind.name());
        loop {
            let page = self.0.volery.artifacts(&filter).await?;
            for artifact in &page.artifacts {
                take(artifact)?;
            }
            match page.next {
                Some(next) => filter = filter.after(next),
                None => return Ok(()),
            }
        }
    }

    /// Lists up to 1,000 artifacts of the run that wait, and why. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn waiting(&self) -> Result<Vec<Waiting>> {
        self.0.volery.waiting_in(Some(self.0.id), None).await
    }

    /// Returns the run's outcomes so far. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn tally(&self) -> Result<Tally> {
        let run = self.0.id;
        let asked = self.0.volery.ingress().ask(move |board| board.tally(run)).await?;
        self.or_stored(asked.unwrap_or_default()).await
    }

    /// A board that has met nothing of a run may have forgotten it; the store has not.
    async fn or_stored(&self, tally: Tally) -> Result<Tally> {
        if tally.matched > 0 {
            return Ok(tally);
        }
        Ok(self.0.volery.0.services.store.tally(self.0.id).await?)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.volery.ingress().drop_handle(self.id);
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.0.id)
            .field("workflow", &self.0.workflow)
            .finish_non_exhaustive()
    }
}

/// The report of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// The workflow's name.
    pub workflow: String,
    /// How its artifacts ended, counted once per subscription that took them.
    pub tally: Tally,
    /// Whether the run was cancelled because its deadline came before its end.
    pub timed_out: bool,
}

impl RunReport {
    /// Tells whether everything of the run has an outcome.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tally.outstanding() == 0
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.workflow, self.tally)?;
        if self.timed_out { f.write_str(", timed out") } else { Ok(()) }
    }
}
