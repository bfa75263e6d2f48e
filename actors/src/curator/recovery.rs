//! Recovery: rebuilds a board from the unfinished part of the store.
//!
//! The same path for a restarted curator and a restarted process. Started jobs are read slice by slice, and
//! the board is held until they are there, so that they come first. Everything else is in the log only, as it
//! is for an agent whose memory window is full, and the board reads it in the same way.

use std::collections::HashSet;
use std::sync::Arc;

use volery_blackboard::board::Board;
use volery_blackboard::effect::Effect;
use volery_blackboard::input::Input;
use volery_blackboard::store::{Cursor, Log, Note, StoreError, Unfinished};
use volery_blackboard::{AgentIndex, RunId, Timestamp};

use super::parts::CuratorParts;
use crate::ingress::{Recovered, RunDecision};

/// Entries per slice: enough to make reads cheap, few enough to hold in memory.
const SLICE: usize = 1_000;

/// The state at the begin of a life.
pub(super) struct Recovery {
    /// With everything unfinished on it.
    pub(super) board: Board,
    /// The effects of reading it back.
    pub(super) effects: Vec<Effect>,
    /// Notes that the store lacks.
    pub(super) notes: Vec<Note>,
}

/// Ends what is shown as open and is neither on the board nor in the log: a life before ended before it could
/// tell.
pub(super) async fn end_runs_gone(
    parts: &CuratorParts,
    board: &Board,
    now: Timestamp,
) -> Result<(), StoreError> {
    for run in parts.observer.begin_life(board, now) {
        let tally = parts.store.tally(run).await?;
        if tally.outstanding() == 0 {
            parts.observer.run_gone(run, &tally, now);
        }
    }
    Ok(())
}

/// Reads a board back.
///
/// The requests of handles and operators hold again (handles, finished and cancelled runs, deadlines,
/// paused agents), and so do quarantines: in this process by the ingress, over processes by the store's
/// notes.
pub(super) async fn restore(parts: &CuratorParts) -> Result<Recovery, StoreError> {
    let (mut board, mut effects) = ((parts.board)(), Vec::new());
    let agents = (0..).map(AgentIndex).take(parts.agents.len());
    let names: Vec<_> = agents.map(|agent| parts.feed.name(agent)).collect();
    let noted = parts.store.notes().await?;
    parts.observer.begin_process(&noted);
    let (mut notes, handles, paused, held, quarantines, runs) = {
        let mut decisions = parts.ingress.decisions();
        let notes = decisions.reconcile(noted, &names);
        let quarantines = decisions.panics.quarantines();
        let (handles, runs) = (decisions.handles.clone(), decisions.runs.clone());
        (notes, handles, decisions.paused.clone(), decisions.held, quarantines, runs)
    };
    let mut tell = |input| board.handle(input, parts.clock.now(), &mut effects);
    tell(Input::Hold);
    let recovered = replay(parts.store.as_ref(), &mut tell).await?;
    for (run, of_run) in &handles {
        let tally = Some(parts.store.tally(*run).await?);
        tell(Input::PinRun { run: *run, workflow: Arc::clone(&of_run.workflow), tally });
    }
    paused.into_iter().for_each(|agent| tell(Input::Pause(agent)));
    for (agent, quarantine) in quarantines {
        tell(Input::Quarantine { agent, quarantine });
    }
    for (run, of_run) in &handles {
        let (cancelled, finishing) = (of_run.cancelled || of_run.timed_out, of_run.finishing);
        decide(*run, RunDecision { cancelled, finishing, ..RunDecision::default() }, &mut tell);
    }
    for (run, decided) in runs {
        if handles.contains_key(&run) {
            decide(run, decided, &mut tell);
        } else if let Some(workflow) = parts.store.workflow(run).await? {
            // Kept by what was decided, although no handle to it is left, and all of it may be in the log.
            let tally = Some(parts.store.tally(run).await?);
            tell(Input::PinRun { run, workflow, tally });
            decide(run, decided, &mut tell);
            tell(Input::ReleaseRun(run));
        } else {
            parts.ingress.decisions().runs.remove(&run);
            notes.push(Note::RunSettled(run));
        }
    }
    if !held {
        tell(Input::Unhold);
    }
    if recovered != Recovered::default() {
        tracing::info!(target: "volery::curator", "{recovered}");
    }
    parts.ingress.status().recovered = recovered;
    Ok(Recovery { board, effects, notes })
}

fn decide(run: RunId, decided: RunDecision, tell: &mut (dyn FnMut(Input) + Send)) {
    if decided.cancelled {
        tell(Input::CancelRun(run));
    }
    if decided.finishing {
        tell(Input::FinishRun(run));
    }
    if let Some(at) = decided.deadline {
        tell(Input::DeadlineRun { run, at });
    }
}

/// Feeds the jobs that are unfinished to a board, and tells it how much waits in the log: it reads that
/// itself.
async fn replay(store: &dyn Log, tell: &mut (dyn FnMut(Input) + Send)) -> Result<Recovered, StoreError> {
    let (mut recovered, mut runs) = (Recovered::default(), HashSet::new());
    for backlog in store.backlog().await? {
        recovered.inputs += backlog.count;
        tell(Input::Backlog(backlog));
    }
    let mut cursor = Some(Cursor::default());
    while let Some(after) = cursor {
        let (slice, next) = store.unfinished(after, SLICE).await?;
        for unfinished in slice {
            tell(match unfinished {
                Unfinished::Job(resumed) => {
                    recovered.jobs_replayed += 1;
                    recovered.jobs_rerun += u64::from(resumed.until.is_none());
                    recovered.interrupted += u64::from(resumed.interruptions > 0);
                    runs.extend(resumed.inputs.iter().map(|input| input.run));
                    Input::Resumed(Box::new(resumed))
                }
                Unfinished::Pair { subscription, inputs, verdict } => {
                    Input::PairFinished { subscription, inputs, verdict }
                }
            });
        }
        cursor = next;
    }
    for (subscription, marks) in store.marks().await? {
        tell(Input::Marks { subscription, marks });
    }
    recovered.runs = runs.len() as u64;
    Ok(recovered)
}
