//! Recovery: rebuilds a board from the unfinished part of the store, slice by slice.
//!
//! The same path for a restarted curator and a restarted process. Nothing is loaded but what is unfinished. The board
//! is held until all of it is there, so that jobs start in order.

use std::sync::Arc;

use volery_blackboard::board::Board;
use volery_blackboard::effect::{Effect, Input};
use volery_blackboard::store::{Cursor, Store, StoreError, Unfinished};

use super::actor::CuratorParts;

/// Entries per slice: enough to make reads cheap, few enough to hold in memory.
const SLICE: usize = 1_000;

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
    for (run, pin) in &pins {
        let mut ended = parts.store.tally(*run).await?;
        // What has no outcome is read back, and counted then.
        ended.matched -= ended.outstanding();
        tell(Input::PinRun { run: *run, workflow: Arc::clone(&pin.workflow), ended });
    }
    replay(parts.store.as_ref(), &mut tell).await?;
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
    Ok((board, effects))
}

/// Feeds what is unfinished to a board.
async fn replay(store: &dyn Store, tell: &mut (dyn FnMut(Input) + Send)) -> Result<(), StoreError> {
    let (mut jobs, mut artifacts) = (0_u64, 0_u64);
    let mut cursor = Some(Cursor::default());
    while let Some(after) = cursor {
        let (slice, next) = store.unfinished(after, SLICE).await?;
        for unfinished in slice {
            tell(match unfinished {
                Unfinished::Job(resumed) => {
                    jobs += 1;
                    Input::Resumed(resumed)
                }
                Unfinished::Pair { subscription, job, verdict } => {
                    Input::PairFinished { subscription, job, verdict }
                }
                Unfinished::Claims(published) => {
                    artifacts += 1;
                    Input::Published(published)
                }
            });
        }
        cursor = next;
    }
    for (subscription, marks) in store.marks().await? {
        tell(Input::Marks { subscription, marks });
    }
    if jobs + artifacts > 0 {
        tracing::info!(target: "volery::curator", jobs, artifacts, "resumed unfinished work");
    }
    Ok(())
}
