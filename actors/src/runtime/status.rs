//! The status of a runtime: agents, running jobs, waiting artifacts, loops, findings.
//!
//! The board is asked about agents and jobs, the slots about the progress of attempts, and the store about
//! artifacts that wait in the log only. It is read page by page in the caller's task.

use rustc_hash::FxHashMap;
use volery_blackboard::board::Board;
use volery_blackboard::board::{AgentStatus, InLog, RunningJob, RunningState, WaitingFilter};
use volery_blackboard::store::Store;
use volery_blackboard::{RunId, SubscriptionIndex, Waiting};

use super::Volery;
use crate::error::Result;
use crate::finding::Finding;
use crate::ingress::Recovered;
use crate::upkeep::LoopStatus;

/// Waiting artifacts in one answer. Their number can be that of the backlog; nobody reads more at once.
const WAITING_MAX: usize = 1_000;

/// Artifacts per page: as many as the curator reads at a time, for the same reason.
const PAGE: usize = 1_000;

impl Volery {
    /// Lists up to 1,000 artifacts that wait, and why. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn waiting(&self) -> Result<Vec<Waiting>> {
        self.waiting_in(None, None).await
    }

    /// Lists up to 1,000 artifacts that wait for one agent, and why. Cancel safe.
    ///
    /// # Errors
    /// When there is no such agent; of kind `Stop` when the runtime has stopped, of kind `Retry` when the
    /// curator died before it answered.
    pub async fn waiting_for(&self, agent: &str) -> Result<Vec<Waiting>> {
        self.waiting_in(None, Some(agent)).await
    }

    /// Lists those of one run or agent, or of all. Those that are in memory come first; for the others the
    /// log is read.
    pub(super) async fn waiting_in(&self, run: Option<RunId>, agent: Option<&str>) -> Result<Vec<Waiting>> {
        let mut filter = WaitingFilter::default();
        (filter.run, filter.limit) = (run, Some(WAITING_MAX));
        filter.agent = agent.map(|agent| self.agent(agent)).transpose()?;
        let asked = filter.clone();
        let look = move |board: &Board| (board.waiting(&asked), board.in_log());
        let (mut found, in_log) = self.ingress().ask(look).await?;
        add_from_log(self.0.services.store.as_ref(), &in_log, &filter, &mut found).await?;
        Ok(found)
    }

    /// Lists the attempts that are running, the oldest first: since when, what their engines said last, and
    /// whether they are being cancelled. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn running(&self) -> Result<Vec<RunningJob>> {
        let mut running = self.ingress().ask(Board::running).await?;
        let present = self.0.attempts.pick(|_| true);
        let present: FxHashMap<_, _> =
            present.iter().map(|attempt| ((attempt.start.job, attempt.start.attempt), attempt)).collect();
        running.retain_mut(|job| {
            // A job that no slot has taken yet waits for one.
            let Some(attempt) = present.get(&(job.job, job.attempt)) else { return false };
            let status = attempt.status();
            job.last_progress = status.last_progress;
            job.note = status.note;
            if let (RunningState::Running, Some(since)) = (job.state, status.cancelled_at) {
                // Its time is over, or the runtime is stopping; the board knows neither.
                job.state = RunningState::Cancelling { since };
            }
            true
        });
        Ok(running)
    }

    /// Tells how every agent stands: running, queued, ended, outcomes. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn agents(&self) -> Result<Vec<AgentStatus>> {
        self.ingress().ask(Board::agents).await
    }

    /// Tells what was found unfinished at the start, or when the curator was last restarted: jobs that run
    /// again, and inputs that are read from the log as there is room.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.ingress().status().recovered
    }

    /// Tells how every background loop stands: ticks, errors, the last tick and the next. Counts begin with
    /// the runtime and outlive restarts of the loops.
    #[must_use]
    pub fn loops(&self) -> Vec<LoopStatus> {
        self.0.loops.status()
    }

    /// Has a background loop tick now instead of at its next time: `volery.nudge("janitor")`. Several nudges
    /// before it does so make one tick. A schedule fires nothing before its time.
    ///
    /// # Errors
    /// When there is no such loop; of kind `Stop` when the runtime has stopped.
    pub fn nudge(&self, name: &str) -> Result<()> {
        self.0.loops.nudge(name)
    }

    /// Lists what the lookout finds at present: blocked worker threads, overdue attempts, agents whose jobs
    /// wait for long. The feed tells when each begins and is over. Once the runtime has stopped, the list is
    /// what it was at the end.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.0.findings.all()
    }
}

/// Adds what agents have in the log only, up to the limit. A filter by run may have to read all of it.
async fn add_from_log(
    store: &dyn Store,
    agents: &[InLog],
    filter: &WaitingFilter,
    found: &mut Vec<Waiting>,
) -> Result<()> {
    let limit = filter.limit.unwrap_or(usize::MAX);
    for agent in agents.iter().filter(|agent| filter.agent.is_none_or(|wanted| agent.agent == wanted)) {
        let subscriptions: Vec<SubscriptionIndex> =
            agent.subscriptions.iter().map(|(index, _)| *index).collect();
        let (mut after, mut behind) = (Some(agent.after), agent.jobs);
        while found.len() < limit {
            let page = store.claims(&subscriptions, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.published.offset);
            for waiting in page.iter().flat_map(|claimed| agent.waiting(&claimed.published)) {
                let wanted = filter.run.is_none_or(|run| waiting.run == run) && found.len() < limit;
                found.extend(wanted.then(|| waiting.behind(behind)));
                behind += 1;
            }
        }
    }
    Ok(())
}
