//! The runtime: one value that owns everything, and the handles that reach it.
//!
//! Handles stay valid whatever restarts behind them. When the last one is dropped without a shutdown, the runtime stops
//! at once: attempts are cut off and nothing stays behind.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;
use volery_blackboard::board::{AgentStatus, WaitingFilter};
use volery_blackboard::input::Input;
use volery_blackboard::store::{Few, Publish, Stored};
use volery_blackboard::{
    AgentIndex, AgentName, Artifact, ArtifactId, Body, Filter, Offset, Page, Payload, RunId, Tally,
    Timestamp, TraceContext, Waiting,
};

use crate::agent::{AgentMessage, IntoOutputs, Output, Outputs, Workshop};
use crate::curator::{Ingress, Question, Recovered, Scope};
use crate::error::{Cause, Result};
use crate::feed::{Feed, FeedReader};
use crate::finding::Finding;
use crate::health::FirstSeen;
use crate::root::{RootHandle, StopCause, Stopping};
use crate::seen::{OfRun, Origin, Source, from_outside};
use crate::supervision::{Address, Supervisor};
use crate::upkeep::{Findings, LoopStatus, Loops};

mod builder;
mod inspection;
mod letters;
mod querying;
mod redriving;
mod running;
mod signal;
mod stopping;
#[cfg(unix)]
mod systemd;
#[cfg(test)]
mod tests;
mod tree;
mod waiting;

pub use builder::RuntimeBuilder;
pub use letters::Edit;
pub use redriving::Redriven;
#[cfg(unix)]
pub use systemd::Systemd;
pub use tree::{Tree, TreeNode};

/// A handle to a running runtime. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    name: String,
    workshop: Arc<Workshop>,
    feed: Feed,
    root: RootHandle,
    agents: Vec<(AgentName, Address<AgentMessage>)>,
    supervisor: Supervisor,
    signals: Mutex<signal::Signals>,
    /// The task that tells systemd.
    notifier: Mutex<Option<AbortHandle>>,
    first_seen: Mutex<FirstSeen>,
    loops: Loops,
    findings: Arc<Findings>,
}

/// An artifact to be published, before it has an id and a place.
#[derive(Debug)]
#[must_use]
pub struct Draft {
    artifact: Artifact,
    workflow: Arc<str>,
    /// Whether the run was made for this publish, so that nobody else publishes in it.
    fresh: bool,
    origin: Option<Box<Origin>>,
}

/// Where a published artifact stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The artifact's id.
    pub id: ArtifactId,
    /// Its place in the log.
    pub offset: Offset,
    /// Its run.
    pub run: RunId,
    /// Whether the idempotency key was known: then this is the first artifact, and nothing was published.
    pub repeat: bool,
}

impl Draft {
    /// Changes the artifact that will be published.
    pub fn map(self, change: impl FnOnce(Artifact) -> Artifact) -> Self {
        Self { artifact: change(self.artifact), ..self }
    }

    /// Names the caller's place in a trace, by its W3C `traceparent`; a space and the `tracestate` may follow. If the
    /// publish begins a run, the run's trace is a part of that one and is recorded if that is.
    ///
    /// # Errors
    /// When the text is malformed.
    pub fn within(mut self, traceparent: &str) -> Result<Self> {
        let parent: TraceContext = traceparent.parse()?;
        self.origin.get_or_insert_default().parent = Some(from_outside(parent));
        Ok(self)
    }

    /// Names the caller's W3C `baggage`; the keys that the trace settings allow are passed on to engines of the run, if
    /// the publish begins one.
    pub fn with_baggage(mut self, header: String) -> Self {
        self.origin.get_or_insert_default().baggage = Some(header);
        self
    }

    /// Names what the service groups runs by, for traces, if the publish begins a run.
    pub fn in_session(mut self, session: String) -> Self {
        self.origin.get_or_insert_default().session = Some(session);
        self
    }
}

impl Runtime {
    /// Returns the runtime's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Makes a run id.
    #[must_use]
    pub fn new_run(&self) -> RunId {
        self.0.workshop.clock.run_id()
    }

    /// Returns the runtime's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.workshop.clock.now()
    }

    /// Drafts an artifact of a run. Without a workflow name the run is named after the payload's kind.
    ///
    /// # Errors
    /// When another type has the name of the payload's kind.
    pub fn draft<T: Payload>(&self, payload: T, run: RunId, workflow: Option<&Arc<str>>) -> Result<Draft> {
        let workshop = &self.0.workshop;
        let kind = workshop.kinds.kind_of::<T>()?;
        let now = workshop.clock.now();
        let fresh = workflow.is_none();
        let workflow = workflow.map_or_else(|| kind.shared_name(), Arc::clone);
        let artifact =
            Artifact::new(workshop.clock.artifact_id(now), kind, Body::typed(Arc::new(payload)), run, now);
        Ok(Draft { artifact, workflow, fresh, origin: None })
    }

    /// Drafts any number of artifacts of one run, given in the forms in which engines return outputs.
    ///
    /// # Errors
    /// When another type has the name of a payload's kind.
    pub fn drafts(
        &self,
        payloads: impl IntoOutputs,
        run: RunId,
        workflow: Option<&Arc<str>>,
    ) -> Result<Vec<Draft>> {
        let workshop = &self.0.workshop;
        let now = workshop.clock.now();
        let mut outputs = Outputs::none();
        payloads.add_to(&mut outputs);
        let fresh = workflow.is_none();
        let draft = |output: Output| {
            let kind = workshop.kinds.kind(output.type_id, output.kind)?;
            let workflow = workflow.map_or_else(|| kind.shared_name(), Arc::clone);
            let id = workshop.clock.artifact_id(now);
            let mut artifact = output.adorn(Artifact::new(id, kind, output.body.clone(), run, now));
            if let Some(key) = output.idempotency_key {
                artifact = artifact.with_idempotency_key(key);
            }
            Ok(Draft { artifact, workflow, fresh, origin: None })
        };
        outputs.items.into_iter().map(draft).collect()
    }

    /// Publishes drafts, all or nothing, and returns once they are committed.
    ///
    /// # Errors
    /// Shutting down, overloaded, the store refused, or it writes payloads and one cannot be turned into JSON; see
    /// [`ErrorKind`](crate::ErrorKind).
    ///
    /// Cancel safe in this sense: dropped while it waits for room, nothing is published; dropped later, the artifacts
    /// may or may not be.
    pub async fn publish(&self, drafts: impl IntoIterator<Item = Draft>) -> Result<Few<Published>> {
        let workshop = &self.0.workshop;
        let mut seen = workshop.seen.publish(Source::External);
        let prepare = |Draft { artifact, workflow, fresh, origin }: Draft| {
            if workshop.store.writes_payloads() {
                artifact.json()?;
            }
            let claims = workshop.matcher.claims(&artifact);
            let of = OfRun { workflow: &workflow, fresh, origin: origin.as_deref() };
            let artifact = Arc::new(seen.artifact(artifact, of));
            Ok(Publish { claims, artifact, workflow })
        };
        let artifacts = drafts.into_iter().map(prepare).collect::<Result<_>>()?;
        let stored = workshop.ingress.publish(artifacts, seen).await?;
        Ok(stored.iter().map(published).collect())
    }

    /// Checks that an agent takes what a draft for it alone will be.
    ///
    /// # Errors
    /// When there is no such agent, or none of its subscriptions takes the artifact.
    pub fn check_taken(&self, draft: &Draft, agent: &str) -> Result<()> {
        let index = self.agent(agent)?;
        let claims = self.0.workshop.matcher.claims(&draft.artifact);
        if claims.iter().any(|claim| self.0.feed.owner(claim.subscription) == Some(index)) {
            return Ok(());
        }
        let kind = draft.artifact.kind().name().to_owned();
        Err(Cause::NotTaken { agent: agent.to_owned(), kind }.into())
    }

    /// Keeps a run's counts until [`Runtime::release`] has been called as often.
    pub fn pin(&self, run: RunId, workflow: &Arc<str>) {
        self.ingress().pin(run, workflow);
    }

    /// Ends one [`Runtime::pin`].
    pub fn release(&self, run: RunId) {
        self.ingress().release(run);
    }

    /// Waits until nothing of a run moves, and returns its outcomes so far. Cancel safe.
    ///
    /// # Errors
    /// When the runtime stops first.
    pub async fn settled(&self, run: RunId) -> Result<Tally> {
        let tally = self.ingress().when_quiet(Scope::Run(run)).await?;
        self.or_stored(run, tally).await
    }

    /// Waits until nothing moves at all. Cancel safe.
    ///
    /// # Errors
    /// When the runtime stops first.
    pub async fn until_idle(&self) -> Result<()> {
        self.ingress().when_quiet(Scope::Board).await.map(drop)
    }

    /// Declares that no more input comes for a run: what its batches hold is flushed, what waits in vain expires.
    pub fn finish(&self, run: RunId) {
        self.ingress().input(Input::FinishRun(run));
    }

    /// Cancels everything of a run that has not finished.
    pub fn cancel(&self, run: RunId) {
        self.ingress().input(Input::CancelRun(run));
    }

    /// Cancels a run at this time, unless everything of it has an outcome by then. The run has a handle ([`Runtime::pin`]).
    /// What is published in it later is cancelled. A later call replaces an earlier one.
    pub fn end_run_at(&self, run: RunId, at: Timestamp) {
        self.ingress().input(Input::DeadlineRun { run, at });
    }

    /// Tells whether a run that has a handle was cancelled by its deadline.
    #[must_use]
    pub fn has_timed_out(&self, run: RunId) -> bool {
        self.ingress().has_timed_out(run)
    }

    /// Starts no jobs of an agent until it is resumed. Running ones finish.
    ///
    /// It returns before that is written. With a durable store the agent is still paused in the next life of the process.
    ///
    /// # Errors
    /// When there is no such agent.
    pub fn pause(&self, agent: &str) -> Result<()> {
        self.ingress().input(Input::Pause(self.agent(agent)?));
        Ok(())
    }

    /// Starts jobs of an agent again that is paused, in quarantine, or both. Its count of panics begins anew.
    ///
    /// # Errors
    /// When there is no such agent.
    pub fn resume(&self, agent: &str) -> Result<()> {
        self.ingress().input(Input::Resume(self.agent(agent)?));
        Ok(())
    }

    /// Finds artifacts, one page at a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn find(&self, filter: &Filter) -> Result<Page> {
        Ok(self.0.workshop.store.find(filter).await?)
    }

    /// Reads artifacts by their places in the log, in the order asked for.
    ///
    /// # Errors
    /// When one of them was never written or is not kept any more, or the store cannot be read.
    pub async fn read(&self, offsets: &[Offset]) -> Result<Arc<[Arc<Artifact>]>> {
        Ok(self.0.workshop.store.read(offsets).wait().await?)
    }

    /// Lists artifacts that wait, and why: at most `limit`, of one run or agent or of all. Those that are in memory come
    /// first; for the others the log is read.
    ///
    /// # Errors
    /// When there is no such agent, the runtime has stopped, or the log cannot be read.
    pub async fn waiting(
        &self,
        run: Option<RunId>,
        agent: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Waiting>> {
        let mut filter = WaitingFilter::default();
        (filter.run, filter.limit) = (run, Some(limit));
        filter.agent = agent.map(|agent| self.agent(agent)).transpose()?;
        let (mut found, in_log) =
            self.ingress().ask(|answer| Question::Waiting(filter.clone(), answer)).await?;
        waiting::in_log(self.0.workshop.store.as_ref(), &in_log, &filter, &mut found).await?;
        Ok(found)
    }

    /// Tells how every agent stands.
    ///
    /// # Errors
    /// When the runtime has stopped.
    pub async fn agents(&self) -> Result<Vec<AgentStatus>> {
        self.ingress().ask(Question::Agents).await
    }

    /// Tells when the board has something to do next by itself: a batch that closes, a join that expires, a back-off or a
    /// delay that ends. `None` when nothing is on a timer.
    ///
    /// # Errors
    /// When the runtime has stopped.
    pub async fn next_deadline(&self) -> Result<Option<Timestamp>> {
        self.ingress().ask(Question::NextDeadline).await
    }

    /// Tells what was found unfinished when the curator began its present life: at the start, or after a restart of it.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.ingress().watch().recovered
    }

    /// Returns a run's outcomes so far: from the board while it knows the run, else from the store.
    ///
    /// # Errors
    /// When the runtime has stopped, or the store cannot be read.
    pub async fn tally(&self, run: RunId) -> Result<Tally> {
        match self.ingress().ask(|answer| Question::Tally(run, answer)).await? {
            Some(tally) => self.or_stored(run, tally).await,
            None => Ok(self.0.workshop.store.tally(run).await?),
        }
    }

    /// A board that has met nothing of a run may have forgotten it; the store has not.
    async fn or_stored(&self, run: RunId, tally: Tally) -> Result<Tally> {
        if tally.matched > 0 { Ok(tally) } else { Ok(self.0.workshop.store.tally(run).await?) }
    }

    /// Tells how every background loop stands.
    #[must_use]
    pub fn loops(&self) -> Vec<LoopStatus> {
        self.0.loops.status()
    }

    /// Has a background loop tick now instead of at its next time.
    ///
    /// # Errors
    /// When there is no such loop, or the runtime has stopped.
    pub fn nudge(&self, name: &str) -> Result<()> {
        self.0.loops.nudge(name)
    }

    /// Lists what the lookout finds at present.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.0.findings.all()
    }

    /// Reads the feed from now on.
    pub fn feed(&self) -> FeedReader {
        self.0.feed.read()
    }

    /// Returns the root supervisor, for tests and inspection.
    pub fn supervisor(&self) -> &Supervisor {
        &self.0.supervisor
    }

    #[cfg(test)]
    pub(crate) fn workshop(&self) -> &Arc<Workshop> {
        &self.0.workshop
    }

    fn ingress(&self) -> &Ingress {
        &self.0.workshop.ingress
    }

    fn agent(&self, name: &str) -> Result<AgentIndex> {
        let found = (0..).zip(&self.0.agents).find(|(_, (agent, _))| agent.as_str() == name);
        found.map(|(index, _)| AgentIndex(index)).ok_or_else(|| Cause::NoSuchAgent(name.to_owned()).into())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.root.stop(Stopping::Abort, StopCause::HandlesDropped);
        if let Some(notifier) = self.notifier.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            notifier.abort();
        }
        self.signals.get_mut().unwrap_or_else(PoisonError::into_inner).close();
    }
}

fn published(stored: &Stored) -> Published {
    match stored {
        Stored::New(artifact) => {
            Published { id: artifact.id(), offset: artifact.offset(), run: artifact.run(), repeat: false }
        }
        Stored::Repeat { id, offset, run } => Published { id: *id, offset: *offset, run: *run, repeat: true },
    }
}
