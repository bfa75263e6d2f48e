//! Levels: what is waiting and running now, for the gauges.

use std::sync::Arc;

use volery_blackboard::board::AgentStatus;
use volery_observability::metrics::{AgentLevels, Levels, NamedLevel};

use super::Seen;

impl Seen {
    /// Takes over how the agents stand, how many commands wait for the curator, and how far the slowest reader of the feed
    /// is behind.
    pub(crate) fn show_levels(&self, agents: &[AgentStatus], commands: usize, lag: usize) {
        let now = self.clock.now();
        let agents = agents.iter().zip(&self.slots).map(|(agent, slots)| AgentLevels {
            agent: Arc::from(agent.name.as_str()),
            queued: agent.queued as u64,
            oldest: agent.oldest_queued.map(|since| now.since(since)).unwrap_or_default(),
            in_flight: u64::from(agent.running),
            limit: u64::from(*slots),
            joins: None,
        });
        let named = |name: &str, level: usize| vec![NamedLevel { name: name.into(), level: level as u64 }];
        self.metrics.set_levels(Levels {
            agents: agents.collect(),
            mailboxes: Vec::new(),
            feeds: named("feed", lag),
            store_backlog: named(self.store, commands),
            store_spilled: Vec::new(),
        });
    }
}
