//! Ends of attempts: the curator reports each once it is committed, refused, or passed over.
//!
//! Spans of outputs, of the attempt and of its job end with the commit, in this order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use volery_blackboard::claim::Settled;
use volery_blackboard::job::{Start, Verdict};
use volery_blackboard::outcome::Outcome;
use volery_blackboard::store::{StoreError, Stored};
use volery_blackboard::{Artifact, JobId, Producer, SubscriptionIndex, Timestamp};
use volery_observability::trace::{DeadLetter, Ending, Failure, JobTrace, Restart};

use super::attempts::{AttemptSpans, How, ObservedAttempt, OpenAttempt};
use super::jobs::IdleJob;
use super::runs::OpenRun;
use super::{Committed, Observer};
use crate::error::class_of_store;

/// An end that is committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) verdict: Verdict,
    /// The error and its causes, the root cause last.
    pub(crate) error: &'a [String],
    /// The artifacts that were published with it.
    pub(crate) stored: &'a [Stored],
    pub(crate) committed: Committed,
}

impl ObservedAttempt {
    /// The end of an attempt is committed. Called before the board handles it.
    pub(crate) fn ended(mut self, observer: &Observer, start: &Start, end: &End<'_>) {
        let Some(open) = &mut self.0 else { return observer.ended_unseen(start, end) };
        open.is_ended = true;
        open.count(end);
        match open.spans.take() {
            Some(spans) => open.end_spans(spans, end),
            None => open.end_count(end),
        }
    }

    /// The engine is made anew, with so many restarts of the agent in its window.
    pub(crate) fn restarted(&self, count: u32, cause: &str, at: Timestamp) {
        let Some(spans) = self.0.as_ref().and_then(|open| open.spans.as_ref()) else { return };
        let restart = Restart { count, strategy: "one_for_one", backoff: Duration::ZERO, cause };
        spans.job.agent_restarted(&restart, at.into());
        if let Some(attempt) = &spans.attempt {
            attempt.agent_restarted(&restart, at.into());
        }
    }

    /// Says who ended it, if it did not end by itself: `shutdown` or `restart`.
    pub(crate) fn released_by(&mut self, by: &'static str) {
        if let Some(open) = &mut self.0 {
            open.by = by;
        }
    }
}

impl OpenAttempt {
    fn end_spans(&mut self, mut spans: AttemptSpans, end: &End<'_>) {
        let (observer, at) = (Arc::clone(&self.observer), end.committed.done);
        let commit = observer.commit(end.committed);
        if end.verdict != Verdict::Done {
            spans.fail_outputs(at);
        }
        if spans.outputs.is_empty() {
            spans.job.commit(&commit);
        }
        for output in std::mem::take(&mut spans.outputs) {
            output.commit(&commit);
            output.end(commit.end);
        }
        let open_run = Arc::clone(&spans.open_run);
        let job = self.end_attempt(spans, &self.ending(end), at);
        let published = new(end.stored).count() as u64;
        open_run.published.fetch_add(published, Ordering::Relaxed);
        if self.start.opens_run && published > 0 {
            observer.on_board(self.start.run);
        }
        let failure = Failure { class: self.how.class(), causes: end.error };
        let Some(ending) = job_ending(end.verdict, self.reason, failure) else {
            let until = if let Verdict::Retry(until) = end.verdict { Some(until) } else { None };
            if let Some(until) = until {
                job.retry_scheduled(self.start.attempt + 1, until.since(at), &failure, at.into());
            }
            return self.keep(job, at, until);
        };
        open_run.count_job(&ending);
        if end.verdict == Verdict::Dead {
            self.show_dead_letter(&open_run, end);
        }
        job.end(&ending, at.into());
        if self.start.opens_run {
            observer.release(self.start.run, at);
        }
    }

    /// Ends the spans of the attempt; outputs that are still open were not committed. The job's goes on.
    fn end_attempt(&self, mut spans: AttemptSpans, ending: &Ending<'_>, at: Timestamp) -> JobTrace {
        self.show_waits(&spans);
        spans.fail_outputs(at);
        if let Some(evaluate) = spans.evaluate {
            evaluate.end(ending, at.into());
        }
        if let Some(attempt) = spans.attempt {
            attempt.end(ending, at.into());
        }
        spans.job
    }

    fn ending<'a>(&self, end: &End<'a>) -> Ending<'a> {
        match (&self.how, end.verdict) {
            (How::Released, _) | (_, Verdict::Released) => Ending::Cancelled(self.by),
            (how, _) => how.ending(end.error),
        }
    }

    fn show_dead_letter(&self, open_run: &OpenRun, end: &End<'_>) {
        let letter = new(end.stored).find(|artifact| *artifact.producer() == Producer::Runtime);
        let (Some(letter), Some(trace)) = (letter, open_run.opened()) else { return };
        let id = letter.id();
        trace.dead_letter(DeadLetter {
            agent: self.observer.agent(self.start.agent),
            kind: letter.kind().name(),
            id: &id,
            reason: self.reason,
            start: end.committed.begun.into(),
            end: end.committed.done.into(),
        });
    }

    /// Keeps the job for its next attempt.
    fn keep(&self, trace: impl Into<Option<JobTrace>>, idle_since: Timestamp, until: Option<Timestamp>) {
        let Start { agent, run, opens_run: shared, job, .. } = *self.start;
        let (trace, complete) = (trace.into(), self.complete);
        self.observer.jobs.keep(job, IdleJob { trace, agent, run, complete, idle_since, until, shared });
    }

    /// Ends an attempt without spans: keeps what numbers need of its job, or lets its run go.
    fn end_count(&self, end: &End<'_>) {
        let (run, at) = (self.start.run, end.committed.done);
        if !self.observer.metrics.is_on() {
            return;
        }
        if matches!(end.verdict, Verdict::Retry(_) | Verdict::Released) {
            return self.keep(None, at, None);
        }
        if self.start.opens_run {
            if new(end.stored).next().is_some() {
                self.observer.on_board(run);
            }
            self.observer.release(run, at);
        }
    }

    /// Ends the spans of outputs that are not committed.
    pub(super) fn fail_outputs(&mut self, at: Timestamp) {
        if let Some(spans) = &mut self.spans {
            spans.fail_outputs(at);
        }
    }

    fn count(&self, end: &End<'_>) {
        let metrics = &self.observer.metrics;
        if !metrics.is_on() {
            return;
        }
        let (agent, ending, at) =
            (self.observer.agent(self.start.agent), self.ending(end), end.committed.done);
        for artifact in new(end.stored) {
            let source = if *artifact.producer() == Producer::Runtime { "failure" } else { "agent" };
            metrics.artifact_published(artifact.kind().name(), source);
        }
        if self.is_attempt {
            metrics.attempt_ended(agent, &ending, self.ended.unwrap_or(at).since(self.begun));
        }
        let failure = Failure { class: self.how.class(), causes: end.error };
        if let Some(ending) = job_ending(end.verdict, self.reason, failure) {
            metrics.job_ended(agent, &ending, at.since(self.complete));
        } else if end.verdict != Verdict::Released {
            metrics.retried(agent, failure.class);
        }
    }
}

impl Drop for OpenAttempt {
    /// The curator died, or passed the end over: the job goes on with another attempt, or is reported as
    /// over.
    fn drop(&mut self) {
        let at = self.observer.clock.now();
        if let Some(spans) = self.spans.take() {
            let job = self.end_attempt(spans, &Ending::Cancelled(self.by), at);
            self.keep(job, at, None);
        } else if !self.is_ended && self.observer.metrics.is_on() {
            self.keep(None, at, None);
        }
    }
}

impl AttemptSpans {
    fn fail_outputs(&mut self, at: Timestamp) {
        for output in std::mem::take(&mut self.outputs) {
            output.fail("not_committed", at.into());
        }
    }
}

impl Observer {
    /// A job ended whose last attempt was over before its inputs were read, or whose other ends the store
    /// refused.
    fn ended_unseen(&self, start: &Start, end: &End<'_>) {
        let failure = Failure { class: "_OTHER", causes: end.error };
        let Some(ending) = job_ending(end.verdict, "end_refused", failure) else { return };
        let at = end.committed.done;
        if !self.job_over(start.job, &ending, at) {
            self.metrics.job_ended(
                self.agent(start.agent),
                &ending,
                at.since(super::attempts::waits_since(start)),
            );
        }
    }

    /// A job that was not running ended with its run's cancellation.
    pub(crate) fn job_dropped(&self, job: JobId, at: Timestamp) {
        self.job_over(job, &Ending::Cancelled("run"), at);
    }

    /// Counts a job as ended, and ends what is kept of it; `false` when nothing is.
    pub(super) fn job_over(&self, job: JobId, ending: &Ending<'_>, at: Timestamp) -> bool {
        if !self.is_on() {
            return false;
        }
        let Some(idle) = self.jobs.take(job) else { return false };
        self.metrics.job_ended(self.agent(idle.agent), ending, at.since(idle.complete));
        self.end_idle(idle, ending, at);
        true
    }

    /// Ends jobs that nobody will go on with.
    pub(super) fn end_jobs_unless(&self, stays: impl Fn(JobId) -> bool, at: Timestamp) {
        for idle in self.jobs.take_unless(stays) {
            self.end_idle(idle, &Ending::Cancelled("shutdown"), at);
        }
    }

    fn end_idle(&self, idle: IdleJob, ending: &Ending<'_>, at: Timestamp) {
        if let Some(open_run) = self.runs.find(idle.run) {
            open_run.count_job(ending);
        }
        if let Some(trace) = idle.trace {
            trace.end(ending, at.into());
        }
        if idle.shared {
            self.release(idle.run, at);
        }
    }

    /// An artifact got its outcome for one subscription.
    pub(crate) fn settled(&self, settled: &Settled) {
        let Some(facts) = self.facts(settled.subscription).filter(|_| self.metrics.is_on()) else { return };
        let kind = facts.kinds.get(usize::from(settled.side)).map_or("", |kind| &**kind);
        let outcome = match settled.outcome {
            Outcome::Consumed => "consumed",
            Outcome::Expired(_) => "expired",
            Outcome::Discarded(_) => "discarded",
            Outcome::Cancelled => "cancelled",
            Outcome::Dead => "dead",
            _ => "other",
        };
        self.metrics.artifacts_ended(kind, outcome, 1);
    }

    /// So many claims of subscriptions were cancelled where they were in the log only. There, nobody counts
    /// by kind.
    pub(crate) fn cancelled_in_log(&self, cancelled: &[(SubscriptionIndex, u64)]) {
        for (subscription, count) in cancelled.iter().filter(|(_, count)| *count > 0) {
            let kind = match self.facts(*subscription).map(|facts| &*facts.kinds) {
                Some([only]) => only,
                _ => "several",
            };
            self.metrics.artifacts_ended(kind, "cancelled", *count);
        }
    }

    /// A commit is done, or failed with an error of this class.
    pub(crate) fn store_answered(&self, committed: Committed, error: Option<&StoreError>) {
        match error.map(class_of_store) {
            None => {
                let took = committed.done.since(committed.begun);
                self.metrics.committed(self.store, committed.changes, took);
            }
            Some(class) => self.metrics.store_failed(self.store, class),
        }
    }
}

impl How {
    /// The class of the error.
    pub(super) const fn class(&self) -> &'static str {
        match self {
            Self::Failed(class) => class,
            Self::Panicked => "panic",
            Self::TimedOut(_) => "timeout",
            Self::Released | Self::Done | Self::Cancelled => "_OTHER",
        }
    }
}

/// How a job ended by a verdict; `None` for one that goes on.
const fn job_ending<'a>(verdict: Verdict, reason: &'a str, failure: Failure<'a>) -> Option<Ending<'a>> {
    match verdict {
        Verdict::Retry(_) | Verdict::Released => None,
        Verdict::Done => Some(Ending::Ok),
        Verdict::Dead => Some(Ending::Dead { reason, failure }),
        Verdict::Cancelled => Some(Ending::Cancelled("run")),
    }
}

/// The artifacts that are new.
fn new(stored: &[Stored]) -> impl Iterator<Item = &Arc<Artifact>> {
    stored.iter().filter_map(|stored| match stored {
        Stored::New(artifact) => Some(artifact),
        Stored::Repeat(_) => None,
    })
}
