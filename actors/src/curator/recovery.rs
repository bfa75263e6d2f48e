//! Recovery: feeds the unfinished part of the store to a new board, slice by slice.
//!
//! The same path for a restarted curator and a restarted process. Nothing is loaded but what is unfinished.

use volery_blackboard::board::Board;
use volery_blackboard::effect::{Effect, Input};
use volery_blackboard::store::{Cursor, Store, StoreError, Unfinished};

use crate::clock::Clock;

/// Entries per slice: enough to make reads cheap, few enough to hold in memory.
const SLICE: usize = 1_000;

/// What recovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Jobs that had been started.
    pub(crate) jobs: u64,
    /// Artifacts with claims that no job covers.
    pub(crate) artifacts: u64,
}

/// Feeds what is unfinished to the board. The board is held until all of it is there, so that jobs start in order.
pub(crate) async fn replay(
    store: &dyn Store,
    clock: &Clock,
    board: &mut Board,
    effects: &mut Vec<Effect>,
) -> Result<Recovered, StoreError> {
    let mut recovered = Recovered::default();
    let mut cursor = Cursor::default();
    board.handle(Input::Hold, clock.now(), effects);
    loop {
        let (slice, next) = store.unfinished(cursor, SLICE).await?;
        for unfinished in slice {
            let input = match unfinished {
                Unfinished::Job(resumed) => {
                    recovered.jobs += 1;
                    Input::Resumed(resumed)
                }
                Unfinished::Pair { subscription, job, verdict } => {
                    Input::PairFinished { subscription, job, verdict }
                }
                Unfinished::Claims(published) => {
                    recovered.artifacts += 1;
                    Input::Published(published)
                }
            };
            board.handle(input, clock.now(), effects);
        }
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    board.handle(Input::Unhold, clock.now(), effects);
    Ok(recovered)
}
