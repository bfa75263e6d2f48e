//! What runs: the board's list of attempts, with what their engines said last.
//!
//! The board knows who runs and since when; the roll knows the pulse of each attempt, and is read without asking anybody.

use rustc_hash::FxHashMap;
use volery_blackboard::board::{RunningJob, RunningState};

use super::Runtime;
use crate::curator::Question;
use crate::error::Result;

impl Runtime {
    /// Lists running attempts, the oldest first, with what their engines said last. Cancel safe.
    ///
    /// # Errors
    /// Of kind `Stop` when the runtime has stopped, of kind `Retry` when the curator died before it answered.
    pub async fn running(&self) -> Result<Vec<RunningJob>> {
        let mut running = self.ingress().ask(Question::Running).await?;
        let entered = self.0.workshop.roll.pick(|_| true);
        let mut entered: FxHashMap<_, _> =
            entered.iter().map(|entry| ((entry.job, entry.attempt), entry)).collect();
        for job in &mut running {
            if let Some(entry) = entered.remove(&(job.job, job.attempt)) {
                let beat = entry.beat();
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
