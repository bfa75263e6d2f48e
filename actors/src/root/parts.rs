//! The parts of a runtime that its stop needs. Data only.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use volery_blackboard::store::Log;

use crate::agent::Attempts;
use crate::clock::Clock;
use crate::feed::Feed;
use crate::ingress::Ingress;
use crate::observer::Observer;
use crate::resource::Registration;
use crate::settings::Settings;
use crate::supervision::Supervisor;
use crate::upkeep::SentryParts;

/// Everything the stopper needs to stop the tree.
pub(crate) struct Root {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) supervisor: Supervisor,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) feed: Feed,
    pub(crate) store: Arc<dyn Log>,
    pub(crate) attempts: Attempts,
    pub(crate) resources: Vec<Registration>,
    pub(crate) sentry: Arc<SentryParts>,
    /// The curator left a question of this stop without an answer.
    pub(crate) silent: AtomicBool,
    pub(crate) observer: Arc<Observer>,
}
