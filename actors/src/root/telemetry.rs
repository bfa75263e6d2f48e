//! The last phase: ends and sends the spans, so that a stop loses no span that had ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use volery_blackboard::Timestamp;
use volery_blackboard::store::{Response, Write};
use volery_observability::trace::ShutdownTrace;

use super::parts::Root;
use super::phase::Phase;
use super::report::{PhaseReport, PhaseStatus};

impl Root {
    /// Ends the open spans while the store is open, so that the notes of open spans are removed: the next
    /// process would end those spans again.
    pub(super) async fn close_observer(&self, within: Duration) {
        self.observer.close(self.clock.now());
        if !self.observer.has_notes() {
            return;
        }
        let observer = Arc::clone(&self.observer);
        let flushing = tokio::task::spawn_blocking(move || observer.flush_blocking(within));
        if timeout(within, flushing).await.is_err() {
            tracing::debug!(target: "volery::root", runtime = self.name, "open spans were not sent in time");
        }
        let writes: Vec<Write> = self.observer.last_notes().into_iter().map(Write::Note).collect();
        if writes.is_empty() {
            return;
        }
        let written = match self.store.commit(writes) {
            Response::Ready(written) => written,
            Response::Pending(written) => match timeout(within, written).await {
                Ok(written) => written,
                Err(_) => return,
            },
        };
        if let Err(error) = written {
            tracing::debug!(target: "volery::root", runtime = self.name, %error, "notes of open spans stay");
        }
    }

    /// Ends the open spans, and sends all that wait for an export, if the runtime was given a way to.
    ///
    /// A receiver that is not there takes no more than `within`.
    pub(super) async fn stop_telemetry(&self, trace: &ShutdownTrace, within: Duration) -> PhaseReport {
        let mut row = PhaseReport::new(Phase::Telemetry);
        let now = self.clock.now();
        self.observer.close(now);
        self.sentry.findings.close();
        trace.end(now.into());
        let observer = Arc::clone(&self.observer);
        let flushing = tokio::task::spawn_blocking(move || observer.flush_blocking(within));
        match timeout(within, flushing).await {
            Ok(Ok(None)) => row.status = PhaseStatus::Skipped("no exporter of this runtime's own".to_owned()),
            Ok(Ok(Some(report))) => {
                (row.initial, row.completed) = (report.exported + report.lost(), report.exported);
                row.remaining = report.lost();
                if !report.is_complete() {
                    row.status = PhaseStatus::Failed(report.to_string());
                }
            }
            Ok(Err(error)) => row.status = PhaseStatus::Failed(error.to_string()),
            Err(_) => row.status = PhaseStatus::TimedOut,
        }
        row
    }
}

/// Shows a phase that is over. The last one is not shown: its trace has ended and is being sent.
pub(super) fn show_phase(trace: &ShutdownTrace, row: &PhaseReport, since: Timestamp, now: Timestamp) {
    let status = match &row.status {
        PhaseStatus::Completed => "completed",
        PhaseStatus::TimedOut => "timed_out",
        PhaseStatus::Aborted => "aborted",
        PhaseStatus::Skipped(_) => "skipped",
        PhaseStatus::Failed(_) => "failed",
    };
    let failed = match &row.status {
        PhaseStatus::Failed(why) => Some(why.as_str()),
        PhaseStatus::TimedOut => Some("its time ran out"),
        PhaseStatus::Completed | PhaseStatus::Aborted | PhaseStatus::Skipped(_) => None,
    };
    trace.phase(row.phase.name(), status, failed, since.into(), now.into());
}
