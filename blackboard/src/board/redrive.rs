//! Redrive: a job that had failed for good is unfinished again.
//!
//! From then on it is like a job that was read back: same path, failures counted from 0. Pure: no I/O, no clock.

use super::{Board, Effect, Resumed};
use crate::id::{Offset, RunId};

impl Board {
    /// Takes in the job of a dead letter. `dead` are those of its inputs that had been dead.
    ///
    /// In a run that was cancelled, and that the board still knows, it is cancelled like everything that comes later.
    pub(super) fn redrive(&mut self, resumed: Resumed, dead: &[Offset], effects: &mut Vec<Effect>) {
        if self.jobs.contains_key(&resumed.start.job) {
            return;
        }
        let index = resumed.start.subscription;
        // What a life before counted as dead is not in these counts; then it is matched anew.
        for input in resumed.inputs.iter().filter(|input| dead.contains(&input.offset)) {
            self.subscriptions[index.at()].tally.revive();
            if let Some(run) = self.runs.get_mut(&input.run) {
                run.tally.revive();
            }
        }
        let runs: Vec<RunId> = resumed.inputs.iter().map(|input| input.run).collect();
        self.resume_job(resumed, self.now);
        for run in runs {
            if self.runs.get(&run).is_some_and(|run| run.cancelled) {
                self.cancel_run(run, effects);
            }
            self.touched_runs.push(run);
        }
    }
}
