//! The handle to a running runtime: everything that a service asks of it.

use std::future::Future;
use std::sync::Arc;

use volery_actors::runtime::Runtime;
use volery_actors::{FeedReader, Finding, IntoOutputs, LoopStatus, Published, Recovered, Result, Tree};
use volery_blackboard::board::{AgentStatus, RunningJob};
use volery_blackboard::{Artifact, Filter, Offset, Page, Payload, RunId, Visibility, Waiting};

use crate::builder::Builder;
use crate::condition::until;
use crate::publishing::Publishing;
use crate::run::{Run, RunStart};

/// Waiting artifacts in one answer. Their number can be that of the backlog; nobody reads more at once.
pub(crate) const WAITING_MAX: usize = 1_000;

/// A handle to a running runtime. Cheap to clone.
///
/// Several runtimes may live in one process. When the last handle (runs included) is dropped without
/// [`Volery::shutdown`], the runtime stops at once: running attempts are cut off, nothing stays behind.
#[derive(Clone, Debug)]
#[must_use = "the runtime stops when its last handle is dropped"]
pub struct Volery(Runtime);

impl Volery {
    /// Begins a runtime. The name appears in logs and reports.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name)
    }

    pub(crate) fn new(runtime: Runtime) -> Self {
        Self(runtime)
    }

    /// The runtime beneath, for the other files of the facade.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.0
    }

    /// Returns the runtime's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Publishes an artifact in a run of its own, named after its kind.
    pub fn publish<T: Payload>(&self, payload: T) -> Publishing {
        let draft = self.0.draft(payload, self.0.new_run(), None);
        Publishing::new(self.0.clone(), draft)
    }

    /// Publishes several artifacts in one run, all or nothing: a `Vec<T>`, a tuple of `Publish(x)`, options and lists, or
    /// [`Outputs`](crate::Outputs) for kinds and particulars of all sorts.
    ///
    /// # Errors
    /// As for a single publish; nothing is published then. Dropped while it waits for room, nothing is published; dropped
    /// later, the artifacts may or may not be.
    pub async fn publish_all(&self, payloads: impl IntoOutputs) -> Result<Vec<Published>> {
        let drafts = self.0.drafts(payloads, self.0.new_run(), None)?;
        Ok(self.0.publish(drafts).await?.into_vec())
    }

    /// Begins a run of the named workflow.
    pub fn run(&self, workflow: impl Into<Arc<str>>) -> RunStart {
        RunStart::new(self.0.clone(), workflow.into())
    }

    /// Returns a handle to a run known by its id.
    #[must_use]
    pub fn attach(&self, run: RunId, workflow: impl Into<Arc<str>>) -> Run {
        Run::new(self.0.clone(), run, workflow.into())
    }

    /// Gives one agent an input that no other agent sees, and waits until nothing of the run so begun moves.
    ///
    /// How it went is in the run: its tally counts a job that failed as dead, and what a paused agent was given stays
    /// outstanding. Dropped, the input may have been published all the same.
    ///
    /// # Errors
    /// When there is no such agent, or it does not take the input; else as for a publish.
    pub async fn invoke<T: Payload>(&self, agent: &str, input: T) -> Result<Run> {
        let run = self.run(agent).open();
        let publishing = run.publish(input).visible_to(Visibility::only([agent]));
        publishing.check_taken(agent)?.await?;
        run.settled().await?;
        Ok(run)
    }

    /// Waits until nothing moves: no job waits for a slot, runs or backs off, no batch or outer join is on a timer, and
    /// nothing is still to become visible. Jobs of paused agents and inputs that wait for partners do not count. Cancel
    /// safe.
    ///
    /// # Errors
    /// When the runtime stops first.
    pub async fn until_idle(&self) -> Result<()> {
        self.0.until_idle().await
    }

    /// Waits until `holds` answers true, looking again after each event of the feed (a pause is none, nor is anything outside
    /// the runtime). Returns false when the runtime
    /// stopped first. Cancel safe.
    ///
    /// # Errors
    /// The first error of `holds`.
    pub async fn until<F, Fut>(&self, holds: F) -> Result<bool>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<bool>>,
    {
        let feed = self.0.feed();
        tokio::select! {
            held = until(feed, holds) => held,
            stopped = self.0.stopped() => stopped.map(|_| false),
        }
    }

    /// Finds artifacts, one page at a time. Cancel safe.
    ///
    /// # Errors
    /// When the store cannot be read, or is closed after a shutdown.
    pub async fn artifacts(&self, filter: &Filter) -> Result<Page> {
        self.0.find(filter).await
    }

    /// Reads artifacts by their places in the log, in the order asked for: those that a waiting list, a dead letter or an
    /// event names.
    ///
    /// # Errors
    /// When one of them was never written or is not kept any more, or the store cannot be read.
    pub async fn read(&self, offsets: &[Offset]) -> Result<Arc<[Arc<Artifact>]>> {
        self.0.read(offsets).await
    }

    /// Lists up to 1,000 artifacts that wait, and why. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn waiting(&self) -> Result<Vec<Waiting>> {
        self.0.waiting(None, None, WAITING_MAX).await
    }

    /// Lists up to 1,000 artifacts that wait for one agent, and why. Cancel safe.
    ///
    /// # Errors
    /// When there is no such agent; of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before
    /// it answered.
    pub async fn waiting_for(&self, agent: &str) -> Result<Vec<Waiting>> {
        self.0.waiting(None, Some(agent), WAITING_MAX).await
    }

    /// Lists the attempts that are running, the oldest first: since when, what their engines said last, and whether they are
    /// being cancelled. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn running(&self) -> Result<Vec<RunningJob>> {
        self.0.running().await
    }

    /// Tells how every agent stands: running, queued, ended, outcomes. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn agents(&self) -> Result<Vec<AgentStatus>> {
        self.0.agents().await
    }

    /// Tells what was found unfinished at the start, or when the curator was last restarted: jobs that run again, and inputs
    /// that are read from the log as there is room.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.0.recovered()
    }

    /// Starts no jobs of an agent until it is resumed; running ones finish.
    ///
    /// It returns before that is written. With a durable store the agent is still paused in the next life of the process.
    ///
    /// # Errors
    /// When there is no such agent.
    pub fn pause(&self, agent: &str) -> Result<()> {
        self.0.pause(agent)
    }

    /// Starts jobs of an agent again that is paused, in quarantine, or both. Its count of panics begins anew.
    ///
    /// # Errors
    /// When there is no such agent.
    pub fn resume(&self, agent: &str) -> Result<()> {
        self.0.resume(agent)
    }

    /// Cancels everything of a run that has not finished.
    pub fn cancel(&self, run: RunId) {
        self.0.cancel(run);
    }

    /// Tells how every background loop stands: ticks, errors, the last tick and the next. Counts begin with the runtime and
    /// outlive restarts of the loops.
    #[must_use]
    pub fn loops(&self) -> Vec<LoopStatus> {
        self.0.loops()
    }

    /// Has a background loop tick now instead of at its next time: `volery.nudge("janitor")`. Several nudges before it
    /// does so make one tick. A schedule fires nothing before its time.
    ///
    /// # Errors
    /// When there is no such loop; of kind `Stop` when the runtime has stopped.
    pub fn nudge(&self, name: &str) -> Result<()> {
        self.0.nudge(name)
    }

    /// Lists what the lookout finds at present: blocked worker threads, overdue attempts, agents whose jobs wait for long.
    /// The feed tells when each begins and is over. Once the runtime has stopped, the list is what it was at the end.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.0.findings()
    }

    /// Reads what happens from now on. Slow readers miss events and are told how many.
    pub fn feed(&self) -> FeedReader {
        self.0.feed()
    }

    /// Tells how every actor of the supervision tree stands: `println!("{}", volery.tree().await)` draws it. Cancel safe.
    pub async fn tree(&self) -> Tree {
        self.0.tree().await
    }

    /// Kills an actor by its name in the [`tree`](Self::tree), as a fault would: for drills. Returns before it has died.
    ///
    /// Nothing committed is lost. Effects of engines outside of the board may repeat, as after any death.
    ///
    /// # Errors
    /// When no actor has that name.
    pub async fn kill(&self, actor: &str) -> Result<()> {
        self.0.kill(actor).await
    }
}
