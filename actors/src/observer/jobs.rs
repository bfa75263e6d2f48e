//! Jobs that are open and have no attempt running: their spans wait here for the next one.
//!
//! Only recorded jobs are kept. A span is taken out by the next attempt, or ended with its job.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use volery_blackboard::{AgentIndex, JobId, RunId, Timestamp};
use volery_observability::trace::JobTrace;

/// Locks that the jobs are spread over; see `runs.rs`.
const SHARDS: usize = 16;

/// A job between two attempts.
#[derive(Debug)]
pub(super) struct IdleJob {
    /// None for one that is only counted.
    pub(super) trace: Option<JobTrace>,
    pub(super) agent: AgentIndex,
    pub(super) run: RunId,
    /// When its inputs were complete.
    pub(super) complete: Timestamp,
    /// When its last attempt ended.
    pub(super) idle_since: Timestamp,
    /// When its back-off is over, if it is backing off.
    pub(super) until: Option<Timestamp>,
    /// Whether it opened its run and holds it: a job over several runs.
    pub(super) shared: bool,
}

/// The jobs of a runtime that have no attempt running.
#[derive(Debug, Default)]
pub(super) struct Jobs([Mutex<FxHashMap<JobId, IdleJob>>; SHARDS]);

impl Jobs {
    pub(super) fn keep(&self, job: JobId, idle: IdleJob) {
        let before = self.shard(job).insert(job, idle);
        debug_assert!(before.is_none(), "a job has one attempt at a time");
    }

    pub(super) fn take(&self, job: JobId) -> Option<IdleJob> {
        self.shard(job).remove(&job)
    }

    pub(super) fn take_unless(&self, stays: impl Fn(JobId) -> bool) -> Vec<IdleJob> {
        let mut taken = Vec::new();
        for shard in &self.0 {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let gone: Vec<JobId> = shard.keys().copied().filter(|job| !stays(*job)).collect();
            taken.extend(gone.iter().filter_map(|job| shard.remove(job)));
        }
        taken
    }

    fn shard(&self, job: JobId) -> MutexGuard<'_, FxHashMap<JobId, IdleJob>> {
        let index = usize::try_from(job.as_uuid().as_u128() % SHARDS as u128).unwrap_or_default();
        // Every change to the map is a single step; a panic cannot leave it half-changed.
        self.0[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
