//! The environment of attempts: the runtime's services, and the limits of their agent. Data only.

use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::AgentName;
use volery_blackboard::matching::Matcher;
use volery_blackboard::store::Store;

use super::retry::Retry;
use super::slots::Slots;
use super::timeout::Timeouts;
use crate::clock::Clock;
use crate::ingress::{AttemptEnd, Ingress};
use crate::kinds::KindTable;
use crate::observer::Observer;

/// The services of a runtime, which its attempts, loops and handles share.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) matcher: Matcher,
    pub(crate) kinds: KindTable,
    pub(crate) clock: Clock,
    pub(crate) observer: Arc<Observer>,
}

/// The parts that all attempts of an agent need. Engines do not reach them.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The agent's name, for runs that its jobs open.
    pub(crate) workflow: Arc<str>,
    pub(crate) retry: Retry,
    pub(crate) cancel_grace: Duration,
    pub(crate) timeouts: Timeouts,
    pub(crate) slots: Arc<Slots>,
    pub(crate) services: Arc<Services>,
}

impl Environment {
    pub(super) fn agent(&self) -> &AgentName {
        &self.slots.agent
    }

    /// The end of an attempt that was called off.
    pub(super) fn called_off(&self) -> AttemptEnd {
        if self.slots.is_stopping() { AttemptEnd::Released } else { AttemptEnd::Cancelled }
    }
}
