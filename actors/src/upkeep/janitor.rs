//! The janitor: removes artifacts and dead letters beyond the bounds of the retention policy from the store.
//!
//! It knows no artifact; the policy is data and the store does the work, in slices, so that commits come in
//! between.

use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::Timestamp;
use volery_blackboard::store::{History, Retention, StoreError};
use volery_observability::Metrics;

use super::periodic::{Loop, NextTick};
use crate::clock::Clock;
use crate::fault::Fault;

/// Artifacts per call of the store: a few milliseconds of work. A tenth would make a large clean-up a long
/// row of transactions; ten times as many would make publishers wait for one.
const SLICE: usize = 1_000;

/// The parts that the janitor needs.
pub(super) struct Janitor {
    pub(super) period: Duration,
    pub(super) policy: Retention,
    pub(super) store: Arc<dyn History>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
}

impl Janitor {
    async fn slice(&self) -> Result<bool, StoreError> {
        let retained = self.store.retain(&self.policy, self.clock.now(), SLICE).await?;
        self.metrics.removed(retained.removed);
        let removed = retained.removed + retained.letters;
        if removed > 0 {
            tracing::debug!(target: "volery::upkeep", removed, letters = retained.letters, "retention");
        }
        // A store that removes nothing and says that there is more would be asked for ever.
        Ok(retained.more && removed > 0)
    }
}

impl Loop for Janitor {
    fn next(&self, _: Timestamp) -> NextTick {
        NextTick::Every(self.period)
    }

    async fn tick(&mut self) -> Result<(), Fault> {
        if self.policy.keeps_everything() {
            return Ok(());
        }
        while self.slice().await? {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
