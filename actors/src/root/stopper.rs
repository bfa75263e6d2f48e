//! The stopper: a task that owns the tree, waits for a request to stop, and stops the tree phase by phase.
//!
//! The request is a level that only rises: drain, then abort. The stopper also notices when the tree gives up
//! by itself. `draining.rs` stops the agents; `backstop.rs` reports when the stopper cannot.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use volery_blackboard::Timestamp;
use volery_blackboard::board::AgentStatus;
use volery_blackboard::board::Board;

use super::backstop::{Backstop, FinishOnDrop};
use super::callbacks::{Callbacks, Limits};
use super::deadlines::Deadlines;
use super::draining::LOG_EVERY;
use super::handle::RootHandle;
use super::parts::Root;
use super::phase::Phase;
use super::progress::StopProgress;
use super::report::{CutOff, PhaseReport, PhaseStatus, ShutdownReport, StopCause};
use super::telemetry::show_phase;
use super::urgency::{Stopping, raise};
use crate::hold::Hold;
use crate::resource::drop_values;
use crate::supervision::{Exit, SupervisorExit};
use volery_observability::trace::ShutdownTrace;

/// How long the curator may take to tell the states of the agents. It answers in microseconds unless it waits
/// for its store, and the answer is for the report only.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How long values of resources may take to be dropped, and the sentry's thread to end, before the stop goes
/// on without them. Both take microseconds unless code of the service blocks.
const CLEANUP_WITHIN: Duration = Duration::from_millis(500);

impl Root {
    /// Starts the stopper.
    pub(crate) fn start_stopper(self) -> RootHandle {
        let (stopping, level) = watch::channel(Stopping::No);
        let (report_sender, report) = watch::channel(None);
        let (cause, callbacks, service) = (Arc::default(), Arc::default(), Arc::default());
        let backstop = Arc::new(Backstop {
            name: self.name.clone(),
            within: self.settings.shutdown_within,
            clock: self.clock.clone(),
            attempts: self.attempts.clone(),
            ingress: Arc::clone(&self.ingress),
            feed: self.feed.clone(),
            progress: StopProgress::default(),
            report: report_sender,
            runtime: Handle::current(),
            started: AtomicBool::new(false),
        });
        let stopping = Arc::new(stopping);
        let handle = RootHandle {
            stopping: Arc::clone(&stopping),
            cause: Arc::clone(&cause),
            report,
            // Weak, so that the report is known to be missing when the async runtime has dropped the stopper.
            backstop: Arc::downgrade(&backstop),
            callbacks: Arc::clone(&callbacks),
            service: Arc::clone(&service),
        };
        let stopper = Stopper {
            root: self,
            stopping,
            backstop: Arc::clone(&backstop),
            callbacks,
            service,
            trace: OnceLock::new(),
        };
        let finishing = FinishOnDrop(backstop);
        // Ends by itself: when asked to stop, when the last handle is dropped (which asks), or when the tree
        // gives up.
        drop(tokio::spawn(async move {
            stopper.run(level, &cause).await;
            drop(finishing);
        }));
        handle
    }
}

/// The task that stops the tree.
struct Stopper {
    root: Root,
    stopping: Arc<watch::Sender<Stopping>>,
    backstop: Arc<Backstop>,
    callbacks: Arc<Callbacks>,
    service: Arc<Hold>,
    /// Opened when the stop begins.
    trace: OnceLock<ShutdownTrace>,
}

impl Stopper {
    async fn run(self, mut level: watch::Receiver<Stopping>, cause: &OnceLock<StopCause>) {
        let root = &self.root;
        let gave_up = tokio::select! {
            // Cannot fail: the stopper has a sender. The drop of the last handle asks for a stop.
            _ = level.wait_for(|level| *level > Stopping::No) => None,
            exit = root.supervisor.ended() => Some(exit),
            agent = root.ingress.escalated() => {
                tracing::error!(target: "volery::root", runtime = root.name, %agent, "an agent escalated");
                // Taken already by an earlier request.
                drop(cause.set(StopCause::Escalated { agent: agent.to_string() }));
                None
            }
        };
        let cause = match &gave_up {
            Some(exit) => StopCause::GaveUp(Exit::from(exit).to_string()),
            // A cause is named before the level is raised.
            None => cause.get().cloned().unwrap_or(StopCause::HandlesDropped),
        };
        self.backstop.begin(cause.clone());
        // Callers that wait for a stop to begin are woken as well.
        raise(&self.stopping, Stopping::Drain);
        let begun = self.backstop.progress.state().requested.unwrap_or_else(|| root.clock.now());
        let deadlines = Deadlines::new(begun, &root.settings);
        let report = self.stop(&mut level, gave_up, (cause, begun, &deadlines)).await;
        let within = CLEANUP_WITHIN.min(deadlines.left(root.clock.now()));
        if timeout(within, root.sentry.join()).await.is_err() {
            tracing::warn!(target: "volery::root", runtime = root.name, "the sentry's thread has not ended yet");
        }
        root.ingress.abandon();
        root.feed.end();
        if report.is_graceful() {
            tracing::info!(target: "volery::root", runtime = root.name, duration = ?report.duration, "stopped");
        } else {
            tracing::warn!(target: "volery::root", runtime = root.name, report = %report, "stopped");
        }
        self.backstop.publish(report);
    }

    async fn stop(
        &self,
        level: &mut watch::Receiver<Stopping>,
        gave_up: Option<SupervisorExit>,
        (cause, begun, deadlines): (StopCause, Timestamp, &Deadlines),
    ) -> ShutdownReport {
        let root = &self.root;
        let trace = self.trace.get_or_init(|| root.observer.spans().shutdown(&root.name, begun.into()));
        self.phase(Phase::Notice, self.notice(&cause, deadlines, level)).await;
        self.phase(Phase::Intake, async { root.stop_intake() }).await;
        let cut_off = if let Some(exit) = gave_up {
            tracing::error!(target: "volery::root", runtime = root.name, ?exit, "the supervision tree gave up");
            let failed = |phase| PhaseReport {
                status: PhaseStatus::Failed(format!("{exit:?}")),
                ..PhaseReport::new(phase)
            };
            self.phase(Phase::Upkeep, async { failed(Phase::Upkeep) }).await;
            self.phase(Phase::Agents, async { failed(Phase::Agents) }).await;
            self.phase(Phase::Flush, self.flush(&cause, deadlines)).await;
            self.phase(Phase::Board, async { failed(Phase::Board) }).await;
            let now = root.clock.now();
            root.attempts.all().iter().map(|attempt| CutOff::of(attempt, now).still_running()).collect()
        } else {
            let mut cut_off = Vec::new();
            self.phase(Phase::Upkeep, root.stop_upkeep(deadlines)).await;
            self.phase(Phase::Agents, root.stop_agents(deadlines, level, &mut cut_off)).await;
            self.phase(Phase::Flush, self.flush(&cause, deadlines)).await;
            self.phase(Phase::Board, root.stop_board(deadlines)).await;
            cut_off
        };
        root.drop_resources(deadlines).await;
        self.phase(Phase::Store, root.stop_store(deadlines)).await;
        root.ingress.abandon();
        self.phase(Phase::Telemetry, root.stop_telemetry(trace, deadlines.left(root.clock.now()))).await;
        let state = self.backstop.progress.state();
        ShutdownReport {
            runtime: root.name.clone(),
            cause,
            phases: state.phases.clone(),
            cut_off,
            callbacks: state.callbacks.clone(),
            duration: root.clock.now().since(begun),
        }
    }

    /// Stops one phase, and adds its row to the progress, which the backstop reads.
    async fn phase(&self, phase: Phase, stop: impl Future<Output = PhaseReport>) {
        let since = self.root.clock.now();
        self.backstop.progress.state().current = Some((phase, since));
        let mut row = tokio::select! {
            biased;
            row = stop => row,
            never = self.log_progress(phase, since) => match never {},
        };
        let now = self.root.clock.now();
        row.duration = now.since(since);
        if let Some(trace) = self.trace.get() {
            show_phase(trace, &row, since, now);
        }
        tracing::debug!(target: "volery::root", runtime = self.root.name, phase = %row, "phase stopped");
        let mut state = self.backstop.progress.state();
        state.phases.push(row);
        state.current = None;
    }

    /// Logs every few seconds which phase is stopping. The phase of the agents logs its running attempts
    /// itself.
    async fn log_progress(&self, phase: Phase, since: Timestamp) -> Infallible {
        let root = &self.root;
        loop {
            tokio::time::sleep(LOG_EVERY).await;
            if phase != Phase::Agents {
                let took = root.clock.now().since(since);
                tracing::info!(target: "volery::root", runtime = root.name, %phase, ?took, "still stopping");
            }
        }
    }

    async fn notice(
        &self,
        cause: &StopCause,
        deadlines: &Deadlines,
        level: &mut watch::Receiver<Stopping>,
    ) -> PhaseReport {
        let within = self.root.settings.callback_within;
        self.call(Phase::Notice, cause, Limits { within, until: deadlines.drain, level: Some(level) }).await
    }

    /// Calls the callbacks of the flush, and waits for the service's protected sections.
    async fn flush(&self, cause: &StopCause, deadlines: &Deadlines) -> PhaseReport {
        let within = self.root.settings.callback_within;
        let until = deadlines.flush_from(self.root.clock.now());
        let mut row = self.call(Phase::Flush, cause, Limits { within, until, level: None }).await;
        let held = self.service.count();
        if held > 0 {
            tokio::select! {
                biased;
                () = self.service.free() => {}
                () = self.root.clock.sleep_until(until) => {}
            }
            if matches!(row.status, PhaseStatus::Skipped(_)) {
                row.status = PhaseStatus::Completed;
            }
            let left = self.service.count();
            if left > 0 {
                tracing::error!(target: "volery::root", runtime = self.root.name, left, "protected sections of the service were cut off");
                row.status = PhaseStatus::TimedOut;
                row.names.push(format!("protected section × {left}"));
            }
        }
        row
    }

    async fn call(&self, phase: Phase, cause: &StopCause, limits: Limits<'_>) -> PhaseReport {
        let reports = self.callbacks.run(phase, cause, &self.root.clock, limits).await;
        let mut row = PhaseReport::new(phase);
        if reports.is_empty() {
            row.status = PhaseStatus::Skipped("nothing was registered".to_owned());
            return row;
        }
        row.initial = reports.len() as u64;
        for report in &reports {
            if report.status == PhaseStatus::Completed {
                row.completed += 1;
            } else {
                row.names.push(report.name.clone());
                // The first callback that did not end well is the status of the phase.
                if row.status == PhaseStatus::Completed {
                    row.status = report.status.clone();
                }
            }
        }
        self.backstop.progress.state().callbacks.extend(reports);
        row
    }
}

impl Root {
    fn stop_intake(&self) -> PhaseReport {
        self.ingress.close();
        PhaseReport::new(Phase::Intake)
    }

    async fn stop_upkeep(&self, deadlines: &Deadlines) -> PhaseReport {
        let mut row = PhaseReport::new(Phase::Upkeep);
        let sweeps = match self.supervisor.subtree("upkeep").await {
            Some(upkeep) => upkeep.children().await.len() as u64,
            None => 0,
        };
        row.initial = sweeps;
        let within = deadlines.upkeep_from(self.clock.now());
        match timeout(within, self.supervisor.stop_child("upkeep")).await {
            Ok(Ok(stopped)) if !stopped.overran => row.completed = sweeps,
            Ok(Ok(_)) | Err(_) => (row.status, row.remaining) = (PhaseStatus::TimedOut, sweeps),
            Ok(Err(error)) => row.status = PhaseStatus::Failed(error.to_string()),
        }
        row
    }

    /// Drops the values of resources, unless another runtime uses them as well. No part of this one leases
    /// any more.
    async fn drop_resources(&self, deadlines: &Deadlines) {
        let values = self.resources.iter().flat_map(|resource| resource.end()).collect();
        let within = CLEANUP_WITHIN.min(deadlines.left(self.clock.now()));
        if timeout(within, drop_values(values)).await.is_err() {
            tracing::warn!(target: "volery::root", runtime = self.name, "values of resources are still being dropped");
        }
    }

    async fn stop_board(&self, deadlines: &Deadlines) -> PhaseReport {
        let mut row = PhaseReport::new(Phase::Board);
        let outstanding: u64 =
            self.agents_now(deadlines).await.iter().map(|agent| agent.tally.outstanding()).sum();
        (row.initial, row.remaining) = (outstanding, outstanding);
        match timeout(deadlines.left(self.clock.now()), self.supervisor.stop()).await {
            Ok(report) => {
                if let Some(child) = report.children.iter().find(|child| child.overran) {
                    row.status = PhaseStatus::TimedOut;
                    row.names.push(child.id.to_string());
                }
            }
            Err(_) => {
                tracing::error!(
                    target: "volery::root", runtime = self.name,
                    "an actor blocks its thread and cannot be stopped; it is left behind"
                );
                row.status = PhaseStatus::TimedOut;
            }
        }
        row
    }

    async fn stop_store(&self, deadlines: &Deadlines) -> PhaseReport {
        let mut row = PhaseReport::new(Phase::Store);
        self.close_observer(deadlines.left(self.clock.now())).await;
        // A store that is slow to close gets what is left, and a moment in any case.
        row.status = match timeout(deadlines.left(self.clock.now()), self.store.close()).await {
            Ok(Ok(())) => PhaseStatus::Completed,
            Ok(Err(error)) => PhaseStatus::Failed(error.to_string()),
            Err(_) => PhaseStatus::TimedOut,
        };
        row
    }

    /// The agents' states; empty when the curator gives no answer. A curator that has given no answer is not
    /// asked again in this stop.
    pub(super) async fn agents_now(&self, deadlines: &Deadlines) -> Vec<AgentStatus> {
        if self.silent.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let within = ANSWER_WITHIN.min(deadlines.left(self.clock.now()));
        match timeout(within, self.ingress.ask(Board::agents)).await {
            Ok(Ok(agents)) => agents,
            Ok(Err(_)) => Vec::new(),
            Err(_) => {
                tracing::warn!(target: "volery::root", runtime = self.name, "the curator gives no answer; the report goes without");
                self.silent.store(true, Ordering::Relaxed);
                Vec::new()
            }
        }
    }
}
