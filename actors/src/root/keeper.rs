//! The root's keeper: a task that owns the tree, waits for the word to stop, and stops it phase by phase.
//!
//! The word is a level that only rises: drain, then abort. It also notices when the tree gives up by itself.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use volery_blackboard::board::AgentStatus;
use volery_blackboard::effect::Input;
use volery_blackboard::{AgentName, CloseReason, Store, Timestamp};

use super::phase::Phase;
use super::report::{PhaseReport, PhaseStatus, ShutdownReport, StopCause};
use crate::agent::AgentMessage;
use crate::clock::Clock;
use crate::curator::{Ingress, Question, Scope};
use crate::error::Result;
use crate::feed::Feed;
use crate::runtime::{Partial, Settings};
use crate::supervision::{Address, Supervisor, SupervisorExit};

/// How long cancelled attempts get to be dropped before their agents are ended. Dropping a future takes microseconds; a
/// blocked thread would not end in any time.
const RELEASE_WITHIN: Duration = Duration::from_millis(500);

/// How urgently the runtime is to stop. The order matters: it only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stopping {
    /// Not at all.
    No,
    /// Finish what runs, within the deadline.
    Drain,
    /// At once.
    Abort,
}

/// What other tasks hold of the keeper.
#[derive(Debug)]
pub(crate) struct RootHandle {
    stopping: watch::Sender<Stopping>,
    cause: Arc<OnceLock<StopCause>>,
    report: watch::Receiver<Option<Arc<ShutdownReport>>>,
}

impl RootHandle {
    /// Asks for a stop at least this urgent. Asking again changes nothing unless it is more urgent; the first cause is
    /// the one that is reported.
    pub(crate) fn stop(&self, level: Stopping, cause: StopCause) {
        // Taken already: somebody asked before.
        drop(self.cause.set(cause));
        self.stopping.send_if_modified(|current| {
            let raised = level > *current;
            *current = (*current).max(level);
            raised
        });
    }

    /// Returns how urgently the runtime is stopping.
    pub(crate) fn stopping(&self) -> Stopping {
        *self.stopping.borrow()
    }

    /// Waits until a stop has been asked for. Cancel safe.
    pub(crate) async fn stop_requested(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender is in `self`, so it cannot be gone.
        drop(stopping.wait_for(|level| *level > Stopping::No).await);
    }

    /// Waits for the end and returns the report. Cancel safe. `None` if the async runtime ended the keeper.
    pub(crate) async fn report(&self) -> Option<Arc<ShutdownReport>> {
        let mut report = self.report.clone();
        report.wait_for(Option::is_some).await.ok().and_then(|report| report.clone())
    }
}

/// Everything the keeper needs to stop the tree.
pub(crate) struct Root {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) supervisor: Supervisor,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) feed: Feed,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) agents: Vec<(AgentName, Address<AgentMessage>)>,
}

impl Root {
    /// Starts the keeper.
    pub(crate) fn keep(self) -> RootHandle {
        let (stopping, level) = watch::channel(Stopping::No);
        let (tell, report) = watch::channel(None);
        let cause = Arc::new(OnceLock::new());
        let told = Arc::clone(&cause);
        // Ends by itself: when asked to stop, when the last handle is dropped (which asks), or when the tree gives up.
        drop(tokio::spawn(async move {
            let report = self.run(level, &told).await;
            tell.send_replace(Some(Arc::new(report)));
        }));
        RootHandle { stopping, cause, report }
    }

    async fn run(self, mut level: watch::Receiver<Stopping>, cause: &OnceLock<StopCause>) -> ShutdownReport {
        let gave_up = tokio::select! {
            // An error means that every handle is gone.
            _ = level.wait_for(|level| *level > Stopping::No) => None,
            exit = self.supervisor.ended() => Some(exit),
        };
        let cause = match &gave_up {
            Some(exit) => StopCause::GaveUp(format!("{exit:?}")),
            // Whoever raises the level has named a cause before.
            None => cause.get().cloned().unwrap_or(StopCause::HandlesDropped),
        };
        let report = self.stop(&mut level, gave_up, cause).await;
        self.ingress.abandon();
        self.feed.end();
        if report.is_graceful() {
            tracing::info!(target: "volery::root", runtime = self.name, duration = ?report.duration, "stopped");
        } else {
            tracing::warn!(target: "volery::root", runtime = self.name, report = %report, "stopped");
        }
        report
    }

    async fn stop(
        &self,
        level: &mut watch::Receiver<Stopping>,
        gave_up: Option<SupervisorExit>,
        cause: StopCause,
    ) -> ShutdownReport {
        let begun = self.clock.now();
        let deadline = begun.after(self.settings.shutdown_within);
        let mut phases = Vec::with_capacity(Phase::ALL.len());
        let mut done = |mut row: PhaseReport, since: Timestamp| {
            row.duration = self.clock.now().since(since);
            tracing::debug!(target: "volery::root", runtime = self.name, phase = %row, "phase stopped");
            phases.push(row);
            self.clock.now()
        };
        let mut since = done(self.stop_intake(), begun);
        if let Some(exit) = gave_up {
            tracing::error!(target: "volery::root", runtime = self.name, ?exit, "the supervision tree gave up");
            for phase in [Phase::Upkeep, Phase::Agents, Phase::Board] {
                let status = PhaseStatus::Failed(format!("{exit:?}"));
                since = done(PhaseReport { status, ..PhaseReport::new(phase) }, since);
            }
        } else {
            since = done(self.stop_upkeep().await, since);
            since = done(self.stop_agents(deadline, level).await, since);
            since = done(self.stop_board().await, since);
        }
        since = done(self.stop_store(deadline).await, since);
        let none = PhaseStatus::Skipped("no exporter of this runtime's own".to_owned());
        done(PhaseReport { status: none, ..PhaseReport::new(Phase::Telemetry) }, since);
        ShutdownReport { runtime: self.name.clone(), cause, phases, duration: self.clock.now().since(begun) }
    }

    fn stop_intake(&self) -> PhaseReport {
        self.ingress.close();
        PhaseReport::new(Phase::Intake)
    }

    async fn stop_upkeep(&self) -> PhaseReport {
        let mut row = PhaseReport::new(Phase::Upkeep);
        let sweeps = match self.supervisor.subtree("upkeep").await {
            Some(upkeep) => upkeep.children().await.len() as u64,
            None => 0,
        };
        row.initial = sweeps;
        match self.supervisor.stop_child("upkeep").await {
            Ok(stopped) if stopped.overran => (row.status, row.remaining) = (PhaseStatus::TimedOut, sweeps),
            Ok(_) => row.completed = sweeps,
            Err(error) => row.status = PhaseStatus::Failed(error.to_string()),
        }
        row
    }

    /// Drains the agents, cancels what is left at the deadline, and ends their actors.
    async fn stop_agents(&self, deadline: Timestamp, level: &mut watch::Receiver<Stopping>) -> PhaseReport {
        let mut row = PhaseReport::new(Phase::Agents);
        let before = self.agents_now().await;
        row.initial = before.iter().map(work).sum();
        // Time to cancel, and to stop what comes after the agents, is taken off the end, but never all of it.
        let reserve = (RELEASE_WITHIN * 2).min(self.settings.shutdown_within / 2);
        let drain_until = deadline.before(reserve);
        row.status = tokio::select! {
            drained = self.drain() => match drained {
                Ok(()) => PhaseStatus::Completed,
                Err(error) => PhaseStatus::Failed(error.to_string()),
            },
            _ = level.wait_for(|level| *level >= Stopping::Abort) => PhaseStatus::Aborted,
            () = self.clock.sleep_until(drain_until) => PhaseStatus::TimedOut,
            never = self.report_who_is_left() => match never {},
        };
        let ended_before: u64 = before.iter().map(|agent| agent.ended).sum();
        let drained = self.agents_now().await;
        row.completed = drained.iter().map(|agent| agent.ended).sum::<u64>().saturating_sub(ended_before);
        row.cancelled = drained.iter().map(|agent| u64::from(agent.running)).sum();
        row.names = names(&drained, |agent| u64::from(agent.running));
        self.release_attempts().await;
        if let Err(error) = self.supervisor.stop_child("agents").await {
            row.status = PhaseStatus::Failed(error.to_string());
        }
        let after = self.agents_now().await;
        row.remaining = after.iter().map(work).sum();
        if row.cancelled == 0 {
            row.names = names(&after, work);
        }
        row
    }

    /// Waits for work, never for time: what is on a timer or not visible yet stays, like what waits for partners.
    async fn drain(&self) -> Result<()> {
        if !self.settings.drain_queued {
            self.flush_partial_batches();
            self.ingress.input(Input::Hold);
            return self.ingress.when_quiet(Scope::Attempts).await.map(drop);
        }
        let mut ended = None;
        loop {
            self.flush_partial_batches();
            self.ingress.when_quiet(Scope::Jobs).await?;
            let ended_by_now = Some(self.agents_now().await.iter().map(|agent| agent.ended).sum::<u64>());
            // What ended since the last look may have filled batches again.
            if ended == ended_by_now {
                return Ok(());
            }
            ended = ended_by_now;
        }
    }

    fn flush_partial_batches(&self) {
        if self.settings.partial_batches == Partial::Flush {
            self.ingress.input(Input::Flush(CloseReason::Shutdown));
        }
    }

    /// Says every few seconds who is still running, for as long as it is asked to.
    async fn report_who_is_left(&self) -> Infallible {
        /// Long enough not to fill a log, short enough that an operator who watches sees it move.
        const EVERY: Duration = Duration::from_secs(3);
        loop {
            tokio::time::sleep(EVERY).await;
            let left = names(&self.agents_now().await, work);
            tracing::info!(target: "volery::root", runtime = self.name, left = left.join(", "), "still stopping");
        }
    }

    /// Starts nothing more, and gives running attempts a moment to be dropped.
    async fn release_attempts(&self) {
        self.ingress.input(Input::Hold);
        for (name, agent) in &self.agents {
            if let Err(error) = agent.send(AgentMessage::ReleaseAll) {
                tracing::debug!(target: "volery::root", agent = %name, reason = %error.reason, "agent has ended already");
            }
        }
        if timeout(RELEASE_WITHIN, self.ingress.when_quiet(Scope::Attempts)).await.is_err() {
            tracing::warn!(target: "volery::root", runtime = self.name, "attempts ignore cancellation and are cut off");
        }
    }

    async fn stop_board(&self) -> PhaseReport {
        let mut row = PhaseReport::new(Phase::Board);
        let outstanding: u64 = self.agents_now().await.iter().map(|agent| agent.tally.outstanding()).sum();
        (row.initial, row.remaining) = (outstanding, outstanding);
        let report = self.supervisor.stop().await;
        if let Some(child) = report.children.iter().find(|child| child.overran) {
            row.status = PhaseStatus::TimedOut;
            row.names.push(child.id.to_string());
        }
        row
    }

    async fn stop_store(&self, deadline: Timestamp) -> PhaseReport {
        let mut row = PhaseReport::new(Phase::Store);
        // A store that is slow to close gets what is left, and a moment in any case.
        let within = deadline.since(self.clock.now()).max(RELEASE_WITHIN);
        row.status = match timeout(within, self.store.close()).await {
            Ok(Ok(())) => PhaseStatus::Completed,
            Ok(Err(error)) => PhaseStatus::Failed(error.to_string()),
            Err(_) => PhaseStatus::TimedOut,
        };
        row
    }

    /// How the agents stand; empty when the curator is not there to tell.
    async fn agents_now(&self) -> Vec<AgentStatus> {
        match timeout(RELEASE_WITHIN, self.ingress.ask(Question::Agents)).await {
            Ok(Ok(agents)) => agents,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }
}

/// Jobs that run or wait for a slot.
fn work(agent: &AgentStatus) -> u64 {
    u64::from(agent.running) + agent.queued as u64
}

fn names(agents: &[AgentStatus], count: impl Fn(&AgentStatus) -> u64) -> Vec<String> {
    let counted = agents.iter().map(|agent| (agent, count(agent))).filter(|(_, count)| *count > 0);
    counted.map(|(agent, count)| format!("{} × {count}", agent.name)).collect()
}
