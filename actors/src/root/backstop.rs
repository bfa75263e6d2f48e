//! The backstop: a thread that reports a stop when the stopper cannot.
//!
//! Engines that block their threads can block all of them, the stopper's and the timer's included; a store,
//! or a callback, that blocks its thread can block the stopper alone. The thread waits from the request to
//! stop to its end, and reports only when the deadline has passed for good. It stops nothing; it names the
//! phases that stopped and the one that did not, and answers every caller that waits. It ends with the stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::phase::Phase;
use super::progress::StopProgress;
use super::report::{CutOff, PhaseReport, PhaseStatus, ShutdownReport, StopCause};
use crate::agent::Attempts;
use crate::clock::Clock;
use crate::feed::Feed;
use crate::ingress::Ingress;

/// How long after the deadline it reports. The stopper needs a part of it to end the last steps; twice as
/// much would make the deadline a rough one.
const PATIENCE: Duration = Duration::from_millis(100);

/// Deadlines below this are for tests and for machines under load: the stopper may be late by this much
/// without being stuck.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long a worker thread may take to answer. A free one does so in microseconds; much longer would delay
/// the report.
const ANSWER_WITHIN: Duration = Duration::from_millis(25);

/// The parts that the thread needs.
#[derive(Debug)]
pub(super) struct Backstop {
    pub(super) name: String,
    pub(super) within: Duration,
    pub(super) clock: Clock,
    pub(super) attempts: Attempts,
    pub(super) ingress: Arc<Ingress>,
    pub(super) feed: Feed,
    pub(super) progress: StopProgress,
    pub(super) report: watch::Sender<Option<Arc<ShutdownReport>>>,
    pub(super) runtime: Handle,
    pub(super) started: AtomicBool,
}

impl Backstop {
    /// Records the request and starts the thread, once.
    pub(super) fn begin(self: &Arc<Self>, cause: StopCause) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        {
            // The clock is the async runtime's, and the caller may be a thread that it does not know.
            let _inside = self.runtime.enter();
            let mut state = self.progress.state();
            (state.requested, state.cause) = (Some(self.clock.now()), Some(cause));
        }
        let backstop = Arc::clone(self);
        let thread = std::thread::Builder::new().name("volery-backstop".to_owned());
        if let Err(error) = thread.spawn(move || backstop.wait()) {
            tracing::error!(target: "volery::root", runtime = self.name, %error, "the stop goes on without its backstop");
        }
    }

    /// Publishes the report, unless there is one already.
    pub(super) fn publish(&self, report: ShutdownReport) {
        let report = Arc::new(report);
        let first = self.report.send_if_modified(|published| {
            let first = published.is_none();
            published.get_or_insert(report);
            first
        });
        if !first {
            tracing::warn!(target: "volery::root", runtime = self.name, "stopped at last; the report was given before");
        }
    }

    fn wait(&self) {
        let within = self.within.max(SHORTEST).saturating_add(PATIENCE);
        let mut patience = within;
        while !self.progress.wait(patience) {
            let _inside = self.runtime.enter();
            let requested = self.progress.state().requested.unwrap_or_default();
            let late = self.clock.now().since(requested);
            if late >= within {
                return self.publish_late();
            }
            // The clock is slower than this thread's: it is paused, or the machine slept.
            patience = (within - late).max(PATIENCE);
        }
    }

    fn publish_late(&self) {
        let report = self.report();
        let (now, current) = (self.clock.now(), self.progress.state().current);
        let waiting_for = waited_for(current.map(|(phase, since)| (phase, now.since(since))));
        let workers = if self.has_free_worker() { "some are free" } else { "none is free" };
        tracing::error!(
            target: "volery::root", runtime = self.name, waiting_for, workers, report = %report,
            "the deadline has passed: stopping is left to the end of the process"
        );
        self.publish(report);
        self.ingress.abandon();
        self.feed.end();
    }

    /// Tells whether the async runtime takes up a task that is ready.
    fn has_free_worker(&self) -> bool {
        let (answer, answered) = mpsc::channel();
        // Ends by itself at once, if it is run at all.
        drop(self.runtime.spawn(async move { answer.send(()) }));
        answered.recv_timeout(ANSWER_WITHIN).is_ok()
    }

    /// Makes a report without an answer of the curator or the stopper.
    fn report(&self) -> ShutdownReport {
        let now = self.clock.now();
        let cut_off: Vec<CutOff> =
            self.attempts.all().iter().map(|attempt| CutOff::of(attempt, now).still_running()).collect();
        let state = self.progress.state();
        let mut phases = state.phases.clone();
        for phase in Phase::ALL.into_iter().rev().skip(phases.len()) {
            let mut row = PhaseReport::new(phase);
            match state.current {
                Some((current, since)) if current == phase => {
                    (row.status, row.duration) = (PhaseStatus::TimedOut, now.since(since));
                }
                _ => row.status = PhaseStatus::TimedOut,
            }
            if phase == Phase::Agents {
                (row.status, row.cancelled) = (PhaseStatus::TimedOut, cut_off.len() as u64);
                row.names = CutOff::counted(&cut_off);
            }
            phases.push(row);
        }
        ShutdownReport {
            runtime: self.name.clone(),
            cause: state.cause.clone().unwrap_or(StopCause::Requested),
            phases,
            cut_off,
            callbacks: state.callbacks.clone(),
            duration: now.since(state.requested.unwrap_or(now)),
        }
    }
}

/// Says what a stop waits for, from the phase that is stopping and how long it has been.
fn waited_for(current: Option<(Phase, Duration)>) -> String {
    let Some((phase, took)) = current else { return "the stopper, between two phases".to_owned() };
    let what = match phase {
        Phase::Notice | Phase::Flush => "callbacks or protected sections of the service",
        Phase::Intake => "publishers",
        Phase::Upkeep => "loops of upkeep",
        Phase::Agents => "attempts",
        Phase::Board => "the curator, or the store that it waits for",
        Phase::Store => "the store",
        Phase::Telemetry => "the export of what was seen",
    };
    format!("phase {phase} ({what}), for {took:.1?}")
}

/// Ends the thread when the stopper ends, in whatever way.
pub(super) struct FinishOnDrop(pub(super) Arc<Backstop>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        self.0.progress.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backstop_says_which_phase_it_waits_for_and_blames_nobody_else() {
        let said = |phase| waited_for(Some((phase, Duration::from_millis(2_500))));
        assert_eq!(said(Phase::Store), "phase store (the store), for 2.5s");
        assert_eq!(said(Phase::Agents), "phase agents (attempts), for 2.5s");
        assert_eq!(
            said(Phase::Flush),
            "phase flush (callbacks or protected sections of the service), for 2.5s"
        );
        assert_eq!(waited_for(None), "the stopper, between two phases");
    }
}
