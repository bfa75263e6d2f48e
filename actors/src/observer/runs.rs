//! Runs that are open: their traces and counts, from the first publish until everything of them has an
//! outcome.
//!
//! A run is *held* by publishes on their way and by jobs over several runs, and it is *on the board* from its
//! first commit until it settles. It is over when neither holds. Every change is a step under one lock; spans
//! are made and ended outside of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustc_hash::FxHashMap;
use volery_blackboard::board::Board;
use volery_blackboard::input::Input;
use volery_blackboard::{JobId, RunId, Tally, Timestamp};
use volery_observability::metrics::Levels;
use volery_observability::trace::{Ending, RunEnd, RunStatus, RunTrace, Scope};

use super::Observer;

/// Locks that the runs are spread over, so that publishers and attempts seldom meet. A power of two; fewer
/// than the worker threads would be felt, more would not.
const SHARDS: usize = 16;

/// One open run.
#[derive(Debug)]
pub(super) struct OpenRun {
    pub(super) run: RunId,
    pub(super) workflow: Arc<str>,
    pub(super) begun: Timestamp,
    trace: OnceLock<RunTrace>,
    pub(super) published: AtomicU64,
    jobs_ok: AtomicU64,
    jobs_failed: AtomicU64,
    jobs_cancelled: AtomicU64,
    /// Something of it was on the board.
    boarded: AtomicBool,
    /// A publish in it was refused.
    pub(super) refused: AtomicBool,
    /// Since when everything of it has had an outcome, in microseconds; 0 when something has none. A handle
    /// may keep it open for long after.
    rests: AtomicI64,
}

impl OpenRun {
    pub(super) fn new(run: RunId, workflow: &Arc<str>, begun: Timestamp) -> Self {
        Self {
            run,
            workflow: Arc::clone(workflow),
            begun,
            trace: OnceLock::new(),
            published: AtomicU64::new(0),
            jobs_ok: AtomicU64::new(0),
            jobs_failed: AtomicU64::new(0),
            jobs_cancelled: AtomicU64::new(0),
            boarded: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            rests: AtomicI64::new(0),
        }
    }

    /// The run's trace. The first caller opens it; others wait for that one.
    pub(super) fn trace(&self, open: impl FnOnce() -> RunTrace) -> &RunTrace {
        self.trace.get_or_init(open)
    }

    /// Counts a job that ended.
    pub(super) fn count_job(&self, ending: &Ending<'_>) {
        let count = match ending {
            Ending::Ok => &self.jobs_ok,
            Ending::Cancelled("run") => &self.jobs_cancelled,
            Ending::Dead { .. } => &self.jobs_failed,
            _ => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) -> Option<&RunTrace> {
        self.trace.get()
    }
}

/// A run, and what keeps it open.
#[derive(Debug)]
struct Entry {
    open_run: Arc<OpenRun>,
    holds: u32,
    on_board: bool,
    /// Its trace has ended; it stays for handles that may publish again.
    over: bool,
}

impl Entry {
    const fn is_idle(&self) -> bool {
        self.holds == 0 && !self.on_board
    }
}

/// The open runs of a runtime.
#[derive(Debug, Default)]
pub(super) struct Runs([Mutex<FxHashMap<RunId, Entry>>; SHARDS]);

impl Runs {
    pub(super) fn find(&self, run: RunId) -> Option<Arc<OpenRun>> {
        self.shard(run).get(&run).map(|entry| Arc::clone(&entry.open_run))
    }

    /// Holds a run open; `make` is for one that is not. Says whether it began, or went on after it was over.
    pub(super) fn hold(&self, run: RunId, make: impl FnOnce() -> OpenRun) -> (Arc<OpenRun>, bool) {
        let mut shard = self.shard(run);
        let fresh = || Entry { open_run: Arc::new(make()), holds: 0, on_board: false, over: true };
        let entry = shard.entry(run).or_insert_with(fresh);
        entry.holds += 1;
        entry.open_run.rests.store(0, Ordering::Relaxed);
        (Arc::clone(&entry.open_run), std::mem::take(&mut entry.over))
    }

    /// Holds a run that is open.
    pub(super) fn hold_open(&self, run: RunId) -> Option<Arc<OpenRun>> {
        let mut shard = self.shard(run);
        let entry = shard.get_mut(&run).filter(|entry| !entry.over)?;
        entry.holds += 1;
        Some(Arc::clone(&entry.open_run))
    }

    /// Lets one hold go of a run that something else keeps open.
    pub(super) fn drop_hold(&self, run: RunId) {
        if let Some(entry) = self.shard(run).get_mut(&run) {
            entry.holds = entry.holds.saturating_sub(1);
        }
    }

    /// An artifact of the run is on the board.
    fn board(&self, run: RunId) {
        if let Some(entry) = self.shard(run).get_mut(&run) {
            entry.on_board = true;
            entry.open_run.boarded.store(true, Ordering::Relaxed);
        }
    }

    /// Lets one hold go. Returns the run if that ended it.
    fn release(&self, run: RunId, has_handle: impl FnOnce() -> bool) -> Option<Arc<OpenRun>> {
        let mut shard = self.shard(run);
        let entry = shard.get_mut(&run)?;
        entry.holds = entry.holds.saturating_sub(1);
        // Asked under the lock: the last handle is dropped either before, or by a caller that finds the run
        // idle.
        if !entry.is_idle() || has_handle() {
            return None;
        }
        shard.remove(&run).map(|entry| entry.open_run)
    }

    /// The board is done with the run. Returns it if nothing else holds it.
    fn settle(&self, run: RunId, has_handle: bool) -> Option<Arc<OpenRun>> {
        let mut shard = self.shard(run);
        let entry = shard.get_mut(&run)?;
        entry.on_board = false;
        if entry.holds > 0 {
            return None;
        }
        if has_handle {
            entry.over = true;
            return Some(Arc::clone(&entry.open_run));
        }
        shard.remove(&run).map(|entry| entry.open_run)
    }

    /// Takes the run out if nothing keeps it open; `gone` says so for one on the board.
    fn take_idle(&self, run: RunId, gone: bool) -> Option<Arc<OpenRun>> {
        let mut shard = self.shard(run);
        let entry = shard.get_mut(&run)?;
        entry.on_board &= !gone;
        if !entry.is_idle() {
            return None;
        }
        shard.remove(&run).filter(|entry| !entry.over).map(|entry| entry.open_run)
    }

    /// The runs on the board, or that nothing keeps open.
    fn listed(&self) -> Vec<RunId> {
        let mut listed = Vec::new();
        for shard in &self.0 {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            listed.extend(shard.iter().filter(|(_, entry)| entry.holds == 0).map(|(run, _)| *run));
        }
        listed
    }

    fn take_all(&self) -> Vec<Arc<OpenRun>> {
        let mut all = Vec::new();
        for shard in &self.0 {
            let taken = std::mem::take(&mut *shard.lock().unwrap_or_else(PoisonError::into_inner));
            all.extend(taken.into_values().filter(|entry| !entry.over).map(|entry| entry.open_run));
        }
        all
    }

    fn shard(&self, run: RunId) -> MutexGuard<'_, FxHashMap<RunId, Entry>> {
        // The last bits of an id are drawn at random.
        let index = usize::try_from(run.as_uuid().as_u128() % SHARDS as u128).unwrap_or_default();
        // Every change to the map is a single step; a panic cannot leave it half-changed.
        self.0[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer {
    /// An artifact of the run is on the board.
    pub(super) fn on_board(&self, run: RunId) {
        self.runs.board(run);
    }

    /// The last holder of the run released it with nothing on the board.
    pub(super) fn release(&self, run: RunId, at: Timestamp) {
        if let Some(open_run) = self.runs.release(run, || self.has_handle(run)) {
            self.end_run(&open_run, None, at);
        }
    }

    /// Everything of a run has an outcome.
    pub(crate) fn run_settled(&self, run: RunId, tally: &Tally, at: Timestamp) {
        if !self.is_on() || self.runs.find(run).is_none() {
            return;
        }
        let has_handle = self.has_handle(run);
        if let Some(open_run) = self.runs.settle(run, has_handle) {
            self.end_run(&open_run, Some(status_of(tally)), at);
        }
    }

    /// Nothing of a run moves that a handle keeps. If all of it has an outcome, it ends here, whenever the
    /// handle is let go.
    pub(crate) fn run_rests(&self, run: RunId, tally: &Tally, at: Timestamp) {
        if self.is_on()
            && tally.outstanding() == 0
            && let Some(open_run) = self.runs.find(run)
        {
            open_run.rests.store(at.as_micros_since_epoch(), Ordering::Relaxed);
        }
    }

    /// The board is about to be given an input that needs no record.
    pub(crate) fn input(&self, input: &Input, at: Timestamp) {
        match input {
            Input::CancelRun(run) => self.cancel_requested(*run, "caller", at),
            // The last handle is gone. Claims on the board settle by themselves.
            Input::ReleaseRun(run) if self.is_on() => {
                if let Some(open_run) = self.runs.take_idle(*run, false) {
                    self.end_run(&open_run, None, at);
                }
            }
            _ => {}
        }
    }

    /// Somebody asked for the end of a run: `caller` or `deadline`.
    pub(crate) fn cancel_requested(&self, run: RunId, by: &str, at: Timestamp) {
        if self.spans.is_on()
            && let Some(open_run) = self.runs.find(run)
            && let Some(trace) = open_run.opened()
        {
            trace.cancel_requested(by, at.into());
        }
    }

    /// The place of a run, for log lines about it.
    pub(crate) fn scope_of(&self, run: RunId) -> Scope {
        let open_run = self.runs.find(run).filter(|_| self.spans.is_on());
        open_run.as_ref().and_then(|open_run| open_run.opened()).map(RunTrace::scope).unwrap_or_default()
    }

    /// A life of the curator begins: jobs that its board does not know ended with the life before. Returns
    /// the runs that it does not know.
    pub(crate) fn begin_life(&self, board: &Board, at: Timestamp) -> Vec<RunId> {
        if !self.is_on() {
            return Vec::new();
        }
        let known: HashSet<JobId> = board.jobs().collect();
        self.end_jobs_unless(|job| known.contains(&job), at);
        let mut unknown = self.runs.listed();
        unknown.retain(|run| board.tally(*run).is_none());
        unknown
    }

    /// A run ended with a life of the curator that could not tell.
    pub(crate) fn run_gone(&self, run: RunId, tally: &Tally, at: Timestamp) {
        if let Some(open_run) = self.runs.take_idle(run, true) {
            self.end_run(&open_run, Some(status_of(tally)), at);
        }
    }

    /// The runtime has stopped: ends what is still open.
    pub(crate) fn close(&self, at: Timestamp) {
        self.end_jobs_unless(|_| false, at);
        for open_run in self.runs.take_all() {
            self.end_run(&open_run, Some(RunStatus::Interrupted), at);
        }
        // Handles keep this; the gauges would go on with what was read last.
        self.metrics.set_levels(Levels::default());
    }

    /// Ends a run's trace; the status is that of its jobs unless one is given.
    fn end_run(&self, open_run: &OpenRun, status: Option<RunStatus>, at: Timestamp) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let at = match open_run.rests.load(Ordering::Relaxed) {
            0 => at,
            rests => Timestamp::from_micros_since_epoch(rests),
        };
        let (failed, cancelled) = (count(&open_run.jobs_failed), count(&open_run.jobs_cancelled));
        let boarded = open_run.boarded.load(Ordering::Relaxed);
        let status = status.unwrap_or(match (failed, cancelled) {
            (0, 0) if !boarded && open_run.refused.load(Ordering::Relaxed) => RunStatus::Failed,
            (0, 0) => RunStatus::Completed,
            (0, _) => RunStatus::Cancelled,
            _ => RunStatus::Failed,
        });
        // Where nothing was published there was no run: a flood of refused publishes is no flood of runs.
        self.metrics.run_ended(&open_run.workflow, status, boarded.then(|| at.since(open_run.begun)));
        if let Some(trace) = open_run.opened() {
            if trace.is_sampled() {
                self.forget_resumed(open_run.run);
            }
            trace.end(RunEnd {
                status,
                published: count(&open_run.published),
                jobs_ok: count(&open_run.jobs_ok),
                jobs_failed: failed,
                jobs_cancelled: cancelled,
                at: at.into(),
            });
        }
    }
}

const fn status_of(tally: &Tally) -> RunStatus {
    match (tally.dead, tally.cancelled) {
        (0, 0) => RunStatus::Completed,
        (0, _) => RunStatus::Cancelled,
        _ => RunStatus::Failed,
    }
}
