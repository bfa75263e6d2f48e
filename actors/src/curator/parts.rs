//! The parts of a runtime that every life of the curator works with. Data only.

use std::sync::Arc;

use volery_blackboard::board::Board;
use volery_blackboard::store::Log;

use super::timekeeper::TimekeeperMessage;
use crate::agent::{AgentMessage, Slots};
use crate::clock::Clock;
use crate::feed::Feed;
use crate::ingress::Ingress;
use crate::observer::Observer;
use crate::supervision::Address;

/// The parts of the runtime that every life of the curator uses.
pub(crate) struct CuratorParts {
    pub(crate) store: Arc<dyn Log>,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) clock: Clock,
    pub(crate) feed: Feed,
    pub(crate) agents: Vec<AgentHandle>,
    pub(crate) timekeeper: Address<TimekeeperMessage>,
    pub(crate) observer: Arc<Observer>,
    /// Returns a board with every agent and subscription, and nothing on it.
    pub(crate) board: Box<dyn Fn() -> Board + Send + Sync>,
}

/// The way to an agent.
pub(crate) struct AgentHandle {
    /// Jobs go here.
    pub(crate) slots: Arc<Slots>,
    /// It opens slots.
    pub(crate) actor: Address<AgentMessage>,
}
