//! The backstop: a thread that reports a stop when no worker thread of the async runtime is left to do it.
//!
//! Engines that block their threads can block all of them, the keeper's and the timer's included. The thread waits, from
//! the request to stop to its end, and speaks only when the deadline has passed for good. It stops nothing; it says what
//! was stopped and who was in the way, and answers everybody who waits. It ends with the stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::phase::Phase;
use super::progress::Progress;
use super::report::{CutOff, PhaseReport, PhaseStatus, ShutdownReport, StopCause};
use crate::agent::Roll;
use crate::clock::Clock;
use crate::curator::Ingress;
use crate::feed::Feed;

/// How long after the deadline it speaks. The keeper needs a part of it to end the last steps; twice as much would make
/// the deadline a rough one.
const PATIENCE: Duration = Duration::from_millis(100);

/// Deadlines below this are for tests and for machines under load: the keeper may be late by this much without being stuck.
const SHORTEST: Duration = Duration::from_secs(1);

/// What the thread needs to know.
#[derive(Debug)]
pub(super) struct Backstop {
    pub(super) name: String,
    pub(super) within: Duration,
    pub(super) clock: Clock,
    pub(super) roll: Arc<Roll>,
    pub(super) ingress: Arc<Ingress>,
    pub(super) feed: Feed,
    pub(super) progress: Progress,
    pub(super) report: watch::Sender<Option<Arc<ShutdownReport>>>,
    pub(super) runtime: Handle,
    pub(super) started: AtomicBool,
}

impl Backstop {
    /// Notes the request and starts the thread, once.
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
                return self.speak();
            }
            // The clock is slower than this thread's: it is paused, or the machine slept.
            patience = (within - late).max(PATIENCE);
        }
    }

    fn speak(&self) {
        let report = self.report();
        tracing::error!(
            target: "volery::root", runtime = self.name, report = %report,
            "the deadline has passed and no worker thread is free: stopping is left to the end of the process"
        );
        self.publish(report);
        self.ingress.abandon();
        self.feed.end();
    }

    /// What can be said without asking anybody.
    fn report(&self) -> ShutdownReport {
        let now = self.clock.now();
        let cut_off: Vec<CutOff> =
            self.roll.call().iter().map(|entry| CutOff::of(entry, now).still_running()).collect();
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

/// Ends the thread when the keeper ends, in whatever way.
pub(super) struct Finishing(pub(super) Arc<Backstop>);

impl Drop for Finishing {
    fn drop(&mut self) {
        self.0.progress.finish();
    }
}
