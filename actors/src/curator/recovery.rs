//! Recovery: rebuilds a board from the unfinished part of the store.
//!
//! The same path for a restarted curator and a restarted process. Started jobs are read slice by slice, and the board is
//! held until they are there, so that they come first. Everything else is in the log only, as it is for an agent whose
//! window is full, and the board reads it in the same way.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use volery_blackboard::board::Board;
use volery_blackboard::effect::{Effect, Input};
use volery_blackboard::store::{Cursor, Store, StoreError, Unfinished};

use super::actor::CuratorParts;

/// Entries per slice: enough to make reads cheap, few enough to hold in memory.
const SLICE: usize = 1_000;

/// What a curator found unfinished when it began its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Runs that have a part in these jobs.
    pub runs: u64,
    /// Jobs that had been started, and are run again or back off.
    pub jobs: u64,
    /// Those of them whose last attempt was cut short by the death of the process.
    pub interrupted: u64,
    /// Inputs in the log that no such job takes, counted once per subscription. They are read as there is room.
    pub inputs: u64,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, jobs, interrupted, inputs } = self;
        write!(
            f,
            "resumed: {runs} runs, {jobs} jobs run again, {interrupted} interrupted, {inputs} inputs replayed"
        )
    }
}

/// Returns a board with everything unfinished on it, and what it wants done.
///
/// What handles and operators asked for before (pinned, finished and cancelled runs, deadlines, paused agents) holds again, and so do
/// quarantines.
pub(super) async fn restore(parts: &CuratorParts) -> Result<(Board, Vec<Effect>), StoreError> {
    let mut board = (parts.board)();
    let mut effects = Vec::new();
    let mut tell = |input| board.handle(input, parts.clock.now(), &mut effects);
    let (pins, paused, held, quarantines, deadlines) = {
        let watch = parts.ingress.watch();
        let quarantines = watch.restarts.quarantines();
        (watch.pins.clone(), watch.paused.clone(), watch.held, quarantines, watch.deadlines.clone())
    };
    tell(Input::Hold);
    let recovered = replay(parts.store.as_ref(), &mut tell).await?;
    for (run, pin) in &pins {
        let tally = Some(parts.store.tally(*run).await?);
        tell(Input::PinRun { run: *run, workflow: Arc::clone(&pin.workflow), tally });
    }
    paused.into_iter().for_each(|agent| tell(Input::Pause(agent)));
    for (agent, quarantine) in quarantines {
        tell(Input::Quarantine { agent, quarantine });
    }
    for (run, pin) in &pins {
        if pin.cancelled || pin.timed_out {
            tell(Input::CancelRun(*run));
        }
        if pin.finishing {
            tell(Input::FinishRun(*run));
        }
    }
    for (run, at) in deadlines {
        tell(Input::DeadlineRun { run, at });
    }
    if !held {
        tell(Input::Unhold);
    }
    if recovered != Recovered::default() {
        tracing::info!(target: "volery::curator", "{recovered}");
    }
    parts.ingress.watch().recovered = recovered;
    Ok((board, effects))
}

/// Feeds the jobs that are unfinished to a board, and tells it how much waits in the log: it reads that itself.
async fn replay(store: &dyn Store, tell: &mut (dyn FnMut(Input) + Send)) -> Result<Recovered, StoreError> {
    let (mut recovered, mut runs) = (Recovered::default(), HashSet::new());
    for backlog in store.backlog().await? {
        recovered.inputs += backlog.count;
        tell(Input::Backlog(backlog));
    }
    let mut cursor = Cursor::default();
    while !matches!(cursor, Cursor::Claims(_)) {
        let (slice, next) = store.unfinished(cursor, SLICE).await?;
        for unfinished in slice {
            tell(match unfinished {
                Unfinished::Job(resumed) => {
                    recovered.jobs += 1;
                    recovered.interrupted += u64::from(resumed.interruptions > 0);
                    runs.extend(resumed.inputs.iter().map(|input| input.run));
                    Input::Resumed(resumed)
                }
                Unfinished::Pair { subscription, job, verdict } => {
                    Input::PairFinished { subscription, job, verdict }
                }
                // The board pages them in.
                Unfinished::Claims(_) => continue,
            });
        }
        let Some(next) = next else { break };
        cursor = next;
    }
    for (subscription, marks) in store.marks().await? {
        tell(Input::Marks { subscription, marks });
    }
    recovered.runs = runs.len() as u64;
    Ok(recovered)
}
