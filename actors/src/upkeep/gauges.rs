//! The gauges: reads the levels of a runtime for its meter, from time to time.
//!
//! Between two readings the meter shows the last one. Without a meter there is no such loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use volery_blackboard::board::AgentStatus;
use volery_blackboard::board::Board;
use volery_blackboard::{AgentName, Timestamp};

use super::periodic::{Loop, NextTick};
use crate::agent::{AgentMessage, Services};
use crate::curator::TimekeeperMessage;
use crate::fault::Fault;
use crate::feed::Feed;
use crate::ingress::Wake;
use crate::supervision::Address;

/// How long the curator may take to say how agents stand. A late answer is read at the next tick.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The loop that reads them.
pub(super) struct Gauges {
    pub(super) period: Duration,
    pub(super) services: Arc<Services>,
    pub(super) feed: Feed,
    pub(super) mailboxes: Mailboxes,
    /// As they last stood.
    pub(super) agents: Vec<AgentStatus>,
}

/// The mailboxes whose depth is shown, by the names of their actors.
#[derive(Clone)]
pub(crate) struct Mailboxes(Arc<[(Arc<str>, Depth)]>);

type Depth = Box<dyn Fn() -> usize + Send + Sync>;

impl Mailboxes {
    pub(crate) fn of(
        agents: &[(AgentName, Address<AgentMessage>)],
        timekeeper: &Address<TimekeeperMessage>,
        curator: &Address<Wake>,
    ) -> Self {
        let agents = agents.iter().map(|(name, address)| (Arc::from(name.as_str()), depth_of(address)));
        let others = [("timekeeper", depth_of(timekeeper)), ("curator", depth_of(curator))];
        Self(agents.chain(others.map(|(name, depth)| (Arc::from(name), depth))).collect())
    }

    /// How many messages wait in each.
    fn depths(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.0.iter().map(|(name, depth)| (name, depth()))
    }
}

fn depth_of<M: Send + 'static>(address: &Address<M>) -> Depth {
    let address = address.clone();
    Box::new(move || address.waiting())
}

impl Loop for Gauges {
    fn next(&self, _: Timestamp) -> NextTick {
        NextTick::Every(self.period)
    }

    async fn tick(&mut self) -> Result<(), Fault> {
        let ingress = &self.services.ingress;
        let asked = timeout(ANSWER_WITHIN, ingress.ask(Board::agents)).await;
        let answered: Result<(), Fault> = match asked {
            Ok(Ok(agents)) => {
                self.agents = agents;
                Ok(())
            }
            Ok(Err(error)) => Err(error.into()),
            Err(elapsed) => Err(elapsed.into()),
        };
        // A curator that waits for a commit does not answer, and then it counts what waits for it.
        let waiting = (ingress.waiting_commands(), self.feed.lag());
        self.services.observer.show_levels(&self.agents, waiting, self.mailboxes.depths());
        answered
    }
}
