//! The gauges: reads the levels that a meter shows, from time to time.
//!
//! Between two readings the meter shows what was last read. Without a meter there is no such loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use volery_blackboard::Timestamp;

use super::periodic::{Loop, Next};
use crate::agent::Workshop;
use crate::curator::Question;
use crate::feed::Feed;
use crate::supervision::Fault;

/// How long the curator may take to say how agents stand. What is read late is read at the next tick.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The loop that reads them.
pub(super) struct Gauges {
    pub(super) period: Duration,
    pub(super) workshop: Arc<Workshop>,
    pub(super) feed: Feed,
}

impl Loop for Gauges {
    fn next(&self, _: Timestamp) -> Next {
        Next::Every(self.period)
    }

    async fn tick(&mut self) -> Result<(), Fault> {
        let ingress = &self.workshop.ingress;
        let agents = timeout(ANSWER_WITHIN, ingress.ask(Question::Agents)).await??;
        self.workshop.seen.show_levels(&agents, ingress.waiting_commands(), self.feed.lag());
        Ok(())
    }
}
