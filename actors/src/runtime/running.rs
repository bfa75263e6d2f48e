//! What runs: the board's list of attempts, with what their engines said last.
//!
//! The board knows who runs and since when; the agents' actors know the pulse of each attempt. An agent that does not answer
//! in time leaves its attempts without one.

use std::time::Duration;

use futures_util::future::join_all;
use rustc_hash::FxHashMap;
use volery_blackboard::board::{RunningJob, RunningState};

use super::Runtime;
use crate::agent::AgentMessage;
use crate::curator::Question;
use crate::error::Result;

/// How long an agent may take to tell what its attempts are at. Its actor runs no code of the user, so that it answers in
/// microseconds; one that backs off answers in its next life, for which nobody should wait.
const LOOK_WITHIN: Duration = Duration::from_millis(200);

impl Runtime {
    /// Lists running attempts, the oldest first, with what their engines said last. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn running(&self) -> Result<Vec<RunningJob>> {
        let mut running = self.ingress().ask(Question::Running).await?;
        let busy = self.0.agents.iter().filter(|(name, _)| running.iter().any(|job| job.agent == *name));
        let looks = busy.map(|(_, agent)| agent.ask(AgentMessage::Look, LOOK_WITHIN));
        let mut beats = FxHashMap::default();
        for beat in join_all(looks).await.into_iter().flatten().flatten() {
            beats.insert((beat.job, beat.attempt), beat);
        }
        for job in &mut running {
            if let Some(beat) = beats.remove(&(job.job, job.attempt)) {
                job.last_progress = beat.last_progress;
                job.note = beat.note;
                if let (RunningState::Running, Some(since)) = (job.state, beat.cancelled_at) {
                    // Its time is over, or the runtime is stopping; the board knows neither.
                    job.state = RunningState::Cancelling { since };
                }
            }
        }
        Ok(running)
    }
}
