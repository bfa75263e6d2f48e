//! Levels: the counts of waiting and running work, for the gauges.

use std::sync::Arc;

use volery_blackboard::board::AgentStatus;
use volery_observability::metrics::{AgentLevels, Levels, NamedLevel};

use super::Observer;

impl Observer {
    /// Takes over how the agents stand, how many commands wait for the curator, how far the slowest reader of
    /// the feed is behind, and how deep mailboxes are.
    pub(crate) fn show_levels<'a>(
        &self,
        agents: &[AgentStatus],
        (commands, lag): (usize, usize),
        mailboxes: impl Iterator<Item = (&'a Arc<str>, usize)>,
    ) {
        let now = self.clock.now();
        let spilled = agents.iter().map(|agent| agent.spilled).sum();
        let agents = agents.iter().zip(&self.agents).map(|(agent, facts)| AgentLevels {
            agent: Arc::clone(&facts.label),
            queued: agent.queued as u64,
            oldest: agent.oldest_queued.map(|since| now.since(since)).unwrap_or_default(),
            in_flight: u64::from(agent.running),
            limit: u64::from(facts.slots),
            joins: agent.joins,
        });
        let named = |name: &str, level: u64| vec![NamedLevel { name: name.into(), level }];
        let mailbox =
            |(name, depth): (&Arc<str>, usize)| NamedLevel { name: Arc::clone(name), level: depth as u64 };
        self.metrics.set_levels(Levels {
            agents: agents.collect(),
            mailboxes: mailboxes.map(mailbox).collect(),
            feeds: named("feed", lag as u64),
            store_backlog: named(self.store, commands as u64),
            store_spilled: named(self.store, spilled),
        });
    }
}
