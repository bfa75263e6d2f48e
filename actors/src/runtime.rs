//! The runtime: one value that owns everything, and the handle that reaches it.
//!
//! Handles stay valid whatever restarts behind them. When the last one is dropped without a shutdown, the
//! runtime stops at once: attempts are cut off and nothing stays behind.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;
use volery_blackboard::board::Board;
use volery_blackboard::input::Input;
use volery_blackboard::{
    AgentIndex, AgentName, Artifact, Filter, Offset, Page, Payload, RunId, Timestamp, Visibility,
};

use crate::agent::{AgentMessage, Attempts, IntoOutputs, Outputs, Services};
use crate::error::{Cause, Result};
use crate::feed::{Feed, FeedReader};
use crate::health::FirstSeen;
use crate::ingress::{Ingress, Until};
use crate::root::{RootHandle, StopCause, Stopping};
use crate::supervision::{Address, Supervisor};
use crate::upkeep::{Findings, Loops};

mod builder;
mod inspection;
mod letters;
mod lineage;
mod plan;
mod publish;
mod query;
mod run;
mod signal;
mod status;
mod stop;
#[cfg(unix)]
mod systemd;
#[cfg(test)]
mod tests {
    mod between_lives;
}
mod tree;

pub use builder::Builder;
pub use letters::{DeadLetters, Letter, RedriveAll, Redriven, Redriving};
pub use lineage::{CauseTree, ClaimTree, LineageQuery, LineageTree, ResultTree};
pub use publish::{PublishFuture, Published, Publishing};
pub use query::{Pages, Query};
pub use run::{Run, RunPublishing, RunReport, RunStart};
#[cfg(unix)]
pub use systemd::Systemd;
pub use tree::{Tree, TreeNode};

/// A handle to a running runtime. Cheap to clone.
///
/// Several runtimes may live in one process. When the last handle (runs included) is dropped without
/// [`Volery::shutdown`], the runtime stops at once: running attempts are cut off, nothing stays behind.
#[derive(Clone, Debug)]
#[must_use = "the runtime stops when its last handle is dropped"]
pub struct Volery(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    name: String,
    services: Arc<Services>,
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
    attempts: Attempts,
}

impl Volery {
    /// Begins a runtime. The name appears in logs and reports; several runtimes of one process may share it.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// Returns the runtime's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the runtime's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.services.clock.now()
    }

    /// Publishes an artifact in a run of its own, named after its kind.
    pub fn publish<T: Payload>(&self, payload: T) -> Publishing {
        let now = self.now();
        self.publishing(payload, self.0.services.clock.run_id(now), None, now)
    }

    /// Publishes several artifacts in one run, all or nothing: a `Vec<T>`, a tuple of `Publish(x)`, options
    /// and lists, or [`Outputs`] for kinds and particulars of all sorts.
    ///
    /// # Errors
    /// As for a single publish; nothing is published then. Dropped while it waits for room, nothing is
    /// published; dropped later, the artifacts may or may not be.
    pub fn publish_all(
        &self,
        payloads: impl IntoOutputs,
    ) -> impl Future<Output = Result<Vec<Published>>> + Send {
        self.publish_outputs(Outputs::of(payloads), self.new_run(), None)
    }

    /// Begins a run of the named workflow.
    pub fn run(&self, workflow: impl Into<Arc<str>>) -> RunStart {
        RunStart::new(self.clone(), workflow.into())
    }

    /// Returns a handle to a run known by its id.
    #[must_use]
    pub fn attach(&self, run: RunId, workflow: impl Into<Arc<str>>) -> Run {
        Run::new(self.clone(), run, workflow.into())
    }

    /// Gives one agent an input that no other agent sees, and waits until nothing of the run so begun moves.
    ///
    /// How it went is in the run: its tally counts a job that failed as dead, and what a paused agent was
    /// given stays outstanding. Dropped, the input may have been published all the same.
    ///
    /// # Errors
    /// When there is no such agent, or it does not take the input; else as for a publish.
    pub fn invoke<T: Payload>(&self, agent: &str, input: T) -> impl Future<Output = Result<Run>> + Send {
        let run = self.run(agent).open();
        let publishing = run.publish(input).visible_to(Visibility::only([agent])).check_taken(agent);
        async move {
            publishing?.await?;
            run.settled().await?;
            Ok(run)
        }
    }

    /// Waits until nothing moves: no job waits for a slot, runs or backs off, no batch or outer join is on a
    /// timer, and nothing is still to become visible. Jobs of paused agents and inputs that wait for partners
    /// do not count. Cancel safe.
    ///
    /// # Errors
    /// When the runtime stops first.
    pub async fn until_idle(&self) -> Result<()> {
        self.ingress().wait(Until::Idle).await.map(drop)
    }

    /// Waits until `holds` answers true. It looks at once, then after every event of the feed (a pause is
    /// none, nor is anything outside the runtime). Returns false when the runtime stopped first. Cancel safe.
    ///
    /// # Errors
    /// The first error of `holds`.
    pub async fn until<F, Fut>(&self, mut holds: F) -> Result<bool>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<bool>>,
    {
        let mut feed = self.feed();
        let looking = async {
            loop {
                if holds().await? {
                    return Ok(true);
                }
                match feed.next().await {
                    // Events that came while it looked lead to one further look; a skip is news too.
                    Some(_) => while feed.try_next().is_some() {},
                    None => return Ok(false),
                }
            }
        };
        tokio::select! {
            held = looking => held,
            stopped = self.stopped() => stopped.map(|_| false),
        }
    }

    /// Finds artifacts, one page at a time. Cancel safe.
    ///
    /// # Errors
    /// When the store cannot be read, or is closed after a shutdown.
    pub async fn artifacts(&self, filter: &Filter) -> Result<Page> {
        Ok(self.0.services.store.find(filter).await?)
    }

    /// Reads artifacts by their places in the log, in the order asked for: those that a waiting list, a dead
    /// letter or an event names.
    ///
    /// # Errors
    /// When one of them was never written or is not kept any more, or the store cannot be read.
    pub async fn read(&self, offsets: &[Offset]) -> Result<Vec<Arc<Artifact>>> {
        Ok(self.0.services.store.read(offsets).wait().await?.into_vec())
    }

    /// Starts no jobs of an agent until it is resumed; running ones finish.
    ///
    /// It returns before that is written. With a durable store the agent is still paused in the next life of
    /// the process.
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

    /// Cancels everything of a run that has not finished.
    pub fn cancel(&self, run: RunId) {
        self.ingress().input(Input::CancelRun(run));
    }

    /// Tells when the board has something to do next by itself: a batch that closes, a join that expires, a
    /// back-off or a delay that ends. `None` when nothing is on a timer. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn next_deadline(&self) -> Result<Option<Timestamp>> {
        self.ingress().ask(Board::next_deadline).await
    }

    /// Audits the board: the inner error says which count is wrong.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    #[cfg(feature = "testing")]
    pub async fn audit(&self) -> Result<std::result::Result<(), String>> {
        self.ingress().ask(Board::audit).await
    }

    /// Reads the events from now on. Slow readers miss events and learn how many.
    pub fn feed(&self) -> FeedReader {
        self.0.feed.read()
    }

    fn new_run(&self) -> RunId {
        self.0.services.clock.run_id(self.now())
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.0.supervisor
    }

    #[cfg(test)]
    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.0.services
    }

    fn ingress(&self) -> &Ingress {
        &self.0.services.ingress
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
