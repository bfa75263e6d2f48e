//! The agents' phase: drains them, cancels the rest at the deadline, cuts off attempts that ignore it, and
//! ends the actors.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use volery_blackboard::board::AgentStatus;
use volery_blackboard::input::Input;
use volery_blackboard::{CloseReason, Timestamp};

use super::deadlines::Deadlines;
use super::parts::Root;
use super::phase::Phase;
use super::report::{CutOff, PhaseReport, PhaseStatus};
use super::urgency::Stopping;
use crate::agent::Attempt;
use crate::error::Result;
use crate::ingress::{AttemptEnd, Ended, Until};
use crate::settings::Partial;

/// How long aborted attempts get to be dropped, all together, before they count as still running. It takes
/// microseconds.
const DROP_WITHIN: Duration = Duration::from_millis(25);

/// How often a stop logs the part that it waits for: long enough not to fill a log, short enough that an
/// operator who watches sees it move.
pub(super) const LOG_EVERY: Duration = Duration::from_secs(3);

/// Attempts named in one log record. More would not be read; the record has their number.
const NAMED_MAX: usize = 10;

impl Root {
    /// Drains the agents, cancels what is left at the deadline, and ends their actors.
    pub(super) async fn stop_agents(
        &self,
        deadlines: &Deadlines,
        level: &mut watch::Receiver<Stopping>,
        cut_off: &mut Vec<CutOff>,
    ) -> PhaseReport {
        let mut row = PhaseReport::new(Phase::Agents);
        let before = self.agents_now(deadlines).await;
        row.initial = before.iter().map(work).sum();
        let drain_until = deadlines.drain_from(self.clock.now());
        row.status = tokio::select! {
            drained = self.drain(deadlines) => match drained {
                Ok(()) => PhaseStatus::Completed,
                Err(error) => PhaseStatus::Failed(error.to_string()),
            },
            _ = level.wait_for(|level| *level >= Stopping::Abort) => PhaseStatus::Aborted,
            () = self.clock.sleep_until(drain_until) => PhaseStatus::TimedOut,
            never = self.log_progress(deadlines) => match never {},
        };
        let ended_before: u64 = before.iter().map(|agent| agent.ended).sum();
        let drained = self.agents_now(deadlines).await;
        row.completed = drained.iter().map(|agent| agent.ended).sum::<u64>().saturating_sub(ended_before);
        row.cancelled = drained.iter().map(|agent| u64::from(agent.running)).sum();
        row.names = names(&drained, |agent| u64::from(agent.running));
        self.release_attempts(deadlines).await;
        self.cut_off_attempts(cut_off).await;
        match timeout(deadlines.left(self.clock.now()), self.supervisor.stop_child("agents")).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => row.status = PhaseStatus::Failed(error.to_string()),
            Err(_) => {
                tracing::error!(target: "volery::root", runtime = self.name, "an agent blocks its thread and is left behind");
                row.status = PhaseStatus::TimedOut;
            }
        }
        let after = self.agents_now(deadlines).await;
        row.remaining = after.iter().map(work).sum();
        if row.cancelled == 0 {
            row.names = names(&after, work);
        }
        row
    }

    /// Waits for work, never for time: what is on a timer or not visible yet stays, like what waits for
    /// partners.
    async fn drain(&self, deadlines: &Deadlines) -> Result<()> {
        if !self.settings.drain_queued {
            self.flush_partial_batches();
            self.ingress.input(Input::Hold);
            return self.ingress.wait(Until::NoAttempts).await.map(drop);
        }
        let mut ended = None;
        loop {
            self.flush_partial_batches();
            self.ingress.wait(Until::NoJobs).await?;
            let ended_by_now =
                Some(self.agents_now(deadlines).await.iter().map(|agent| agent.ended).sum::<u64>());
            // Jobs that ended since the last look may have filled batches again.
            if ended == ended_by_now {
                return Ok(());
            }
            ended = ended_by_now;
        }
    }

    fn flush_partial_batches(&self) {
        let flush = match self.settings.partial_batches {
            Partial::ByStore => !self.store.outlives_process(),
            Partial::Flush => true,
            Partial::Keep => false,
        };
        if flush {
            self.ingress.input(Input::Flush(CloseReason::Shutdown));
        }
    }

    /// Logs every few seconds the agents and the attempts that still run.
    async fn log_progress(&self, deadlines: &Deadlines) -> Infallible {
        loop {
            tokio::time::sleep(LOG_EVERY).await;
            let left = names(&self.agents_now(deadlines).await, work).join(", ");
            let running = named(&self.attempts.all(), self.clock.now());
            tracing::info!(target: "volery::root", runtime = self.name, left, running, "still stopping");
        }
    }

    /// Starts nothing more, and gives running attempts a moment to be dropped; protected ones get more.
    async fn release_attempts(&self, deadlines: &Deadlines) {
        self.ingress.input(Input::Hold);
        for start in self.attempts.release() {
            self.ingress.ended(Ended::without_attempt(start, AttemptEnd::Released));
        }
        let protected = async {
            self.clock.sleep_until(deadlines.release_from(self.clock.now())).await;
            if self.attempts.has_protected() {
                self.attempts.none_protected().await;
                // Those that were protected until now have been cancelled long ago, and are dropped right
                // after.
                self.clock.sleep_until(deadlines.release_from(self.clock.now())).await;
            }
        };
        let empty = async {
            self.attempts.none().await;
            // All have sent their ends; the question to the curator comes after them in its queue.
            self.ingress.wait(Until::NoAttempts).await
        };
        tokio::select! {
            biased;
            _ = empty => {}
            () = protected => {}
            () = self.clock.sleep_until(deadlines.protected) => {}
        }
    }

    /// Aborts the attempts that are left, and lists them.
    async fn cut_off_attempts(&self, cut_off: &mut Vec<CutOff>) {
        let (attempts, now) = (self.attempts.all(), self.clock.now());
        self.attempts.cut_off();
        if attempts.is_empty() {
            return;
        }
        *cut_off = attempts.iter().map(|attempt| CutOff::of(attempt, now)).collect();
        if timeout(DROP_WITHIN, self.attempts.none()).await.is_err() {
            for (cut, attempt) in cut_off.iter_mut().zip(&attempts) {
                cut.still_running = attempt.is_present();
            }
        }
        for cut in cut_off {
            tracing::error!(
                target: "volery::root", runtime = self.name, agent = cut.agent, job = cut.job, attempt = cut.attempt,
                ran = ?cut.ran, protected = cut.protected, still_running = cut.still_running,
                "an attempt ignored its cancellation and was cut off"
            );
        }
    }
}

/// Jobs that run or wait for a slot.
fn work(agent: &AgentStatus) -> u64 {
    u64::from(agent.running) + agent.queued as u64 + agent.spilled
}

/// Attempts as a log record names them.
fn named(attempts: &[Arc<Attempt>], now: Timestamp) -> String {
    let named = attempts.iter().take(NAMED_MAX).map(|attempt| {
        let (agent, start, ran) = (attempt.agent(), &attempt.start, now.since(attempt.began));
        format!("{agent}: job {}, attempt {}, for {ran:.1?}", start.job, start.attempt)
    });
    let mut named: Vec<String> = named.collect();
    if attempts.len() > NAMED_MAX {
        named.push(format!("and {} more", attempts.len() - NAMED_MAX));
    }
    named.join("; ")
}

fn names(agents: &[AgentStatus], count: impl Fn(&AgentStatus) -> u64) -> Vec<String> {
    let counted = agents.iter().map(|agent| (agent, count(agent))).filter(|(_, count)| *count > 0);
    counted.map(|(agent, count)| format!("{} × {count}", agent.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Attempts, Present, job};

    #[tokio::test(start_paused = true)]
    async fn a_record_of_who_is_left_names_agent_job_and_attempt_and_is_bounded() {
        let attempts = Attempts::of_one_agent();
        let begin = |number| Present::begin(&attempts, job(number));
        let mut present = vec![begin(0)];
        let (began, later) = (Timestamp::default(), Timestamp::default().after(Duration::from_millis(1_500)));
        let one = named(&attempts.all(), later);
        assert_eq!(one, format!("agent: job {}, attempt 1, for 1.5s", job(0)));
        present.extend((1..12).map(begin));
        assert!(named(&attempts.all(), began).ends_with("; and 2 more"));
        present.truncate(1);
        assert_eq!(named(&attempts.all(), later), one, "whoever has ended is not named");
        drop(present);
        assert_eq!(named(&attempts.all(), began), "");
    }
}
