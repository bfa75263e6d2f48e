//! The plan: the agents of a runtime, checked against each other before anything starts.
//!
//! It numbers agents and subscriptions in registration order; it starts nothing.

use std::collections::HashSet;

use volery_blackboard::board::Board;
use volery_blackboard::store::Catalogue;
use volery_blackboard::{AgentIndex, Kinds, Subscription, SubscriptionIndex};

use crate::agent::{Agent, AgentParts, Failure};
use crate::error::{Cause, Result};

/// The agents, checked.
pub(super) struct Plan {
    pub(super) agents: Vec<AgentParts>,
    pub(super) kinds: Kinds,
}

impl Plan {
    pub(super) fn new(agents: Vec<Agent>) -> Result<Self> {
        let mut kinds = Kinds::new();
        kinds.register::<Failure>()?;
        let mut names = HashSet::new();
        let agents: Vec<AgentParts> = agents.into_iter().map(Agent::into_parts).collect();
        for agent in &agents {
            let name = agent.viewer.name.as_str();
            if !names.insert(name) {
                return Err(Cause::AgentTwice(name.to_owned()).into());
            }
            if agent.subscriptions.is_empty() {
                return Err(Cause::NoSubscription(name.to_owned()).into());
            }
            agent.validate()?;
            for (subscription, _) in &agent.subscriptions {
                subscription.validate(name)?;
                for kind in subscription.kinds() {
                    kinds.insert(kind.clone())?;
                }
            }
            for register in &agent.outputs {
                register(&mut kinds)?;
            }
        }
        Ok(Self { agents, kinds })
    }

    /// Every subscription with its agent, numbered in registration order.
    pub(super) fn subscriptions(
        &self,
    ) -> impl Iterator<Item = (AgentIndex, SubscriptionIndex, &Subscription)> {
        let agents = (0..).map(AgentIndex).zip(&self.agents);
        let all =
            agents.flat_map(|(agent, parts)| parts.subscriptions.iter().map(move |(sub, _)| (agent, sub)));
        (0..)
            .map(SubscriptionIndex)
            .zip(all)
            .map(|(index, (agent, subscription))| (agent, index, subscription))
    }

    pub(super) fn catalogue(&self) -> Catalogue {
        let agents = self.agents.iter().map(|agent| agent.viewer.name.clone());
        let named = self.agents.iter().flat_map(|agent| {
            let name = &agent.viewer.name;
            (0..agent.subscriptions.len()).map(move |ordinal| format!("{name}/{ordinal}"))
        });
        let marked = self.subscriptions().filter(|(.., subscription)| subscription.keeps_marks());
        Catalogue {
            kinds: self.kinds.clone(),
            agents: agents.collect(),
            subscriptions: named.collect(),
            marked: marked.map(|(_, index, _)| index).collect(),
        }
    }

    /// Returns what makes an empty board with every agent and subscription.
    pub(super) fn board(
        &self,
        window: u32,
        is_observed: bool,
        outlives_process: bool,
    ) -> Box<dyn Fn() -> Board + Send + Sync> {
        let described =
            |agent: &AgentParts| (agent.viewer.name.clone(), agent.concurrency, agent.timeouts.queue);
        let agents: Vec<_> = self.agents.iter().map(described).collect();
        let subscriptions: Vec<(AgentIndex, Subscription)> =
            self.subscriptions().map(|(agent, _, subscription)| (agent, subscription.clone())).collect();
        Box::new(move || {
            let mut board = Board::new();
            board.set_jobs_in_memory_max(window as usize);
            if is_observed {
                board.observe();
            }
            for (name, concurrency, queue_timeout) in &agents {
                let agent = board.add_agent(name.clone(), *concurrency);
                if let Some(timeout) = queue_timeout {
                    board.set_queue_timeout(agent, *timeout);
                }
            }
            for (agent, subscription) in &subscriptions {
                board.add_subscription(*agent, subscription);
            }
            if outlives_process {
                board.record_first_starts();
            }
            board
        })
    }
}
