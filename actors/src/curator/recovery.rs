//! Recovery: feeds the unfinished part of the store to a new board, slice by slice.
//!
//! The same path for a restarted curator and a restarted process. Nothing is loaded but what is unfinished.

use volery_blackboard::effect::Input;
use volery_blackboard::store::{Cursor, Store, StoreError, Unfinished};

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

/// Feeds what is unfinished to the board, which the caller holds until all of it is there, so that jobs start in order.
pub(crate) async fn replay(
    store: &dyn Store,
    tell: &mut (dyn FnMut(Input) + Send),
) -> Result<Recovered, StoreError> {
    let mut recovered = Recovered::default();
    let mut cursor = Cursor::default();
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
            tell(input);
        }
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    Ok(recovered)
}
