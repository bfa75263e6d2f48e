//! Values that all threads of a store share.
//!
//! The file's place, the kinds that are known, the cache, and the map between the program's numbers and the
//! file's.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use volery_blackboard::store::{Catalogue, Damage, StoreError};
use volery_blackboard::{AgentIndex, Kind, SubscriptionIndex};

use super::cache::Cache;
use super::fault::{Fault, Place};
use super::options::Options;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) options: Options,
    pub(super) cache: Cache,
    kinds: RwLock<HashMap<Arc<str>, Kind>>,
    map: RwLock<Arc<Map>>,
    /// Records that were set aside when the store was opened.
    damage: Mutex<Vec<Damage>>,
}

/// The file's ids of the program's agents and subscriptions, which may stand in another order with every
/// start.
#[derive(Debug, Default)]
pub(super) struct Map {
    subscriptions: Vec<(i64, String)>,
    subscription_index: HashMap<i64, SubscriptionIndex>,
    agents: Vec<i64>,
    agent_index: HashMap<i64, AgentIndex>,
    marked: HashSet<i64>,
}

impl Shared {
    pub(super) fn new(place: Place, options: Options) -> Self {
        let cache = Cache::new(options.cache_artifacts, options.cache_bytes);
        let (kinds, map, damage) = (RwLock::default(), RwLock::default(), Mutex::default());
        Self { place, options, cache, kinds, map, damage }
    }

    pub(super) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_map(&self, map: Map) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    pub(super) fn damage(&self) -> Vec<Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_damage(&self, damage: Vec<Damage>) {
        *self.damage.lock().unwrap_or_else(PoisonError::into_inner) = damage;
    }

    /// Remembers a kind, so that what is read back later has it.
    pub(super) fn learn(&self, kind: &Kind) {
        if kind.is_foreign() {
            return;
        }
        let known = self.kinds.read().unwrap_or_else(PoisonError::into_inner).contains_key(kind.name());
        if !known {
            let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
            kinds.insert(kind.shared_name(), kind.clone());
        }
    }

    pub(super) fn kind(&self, name: &str, version: u32) -> Kind {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.get(name).cloned().unwrap_or_else(|| Kind::foreign(name, version))
    }

    pub(super) fn error(&self, fault: Fault) -> StoreError {
        self.place.store_error(fault)
    }
}

impl Map {
    /// Builds the map from a catalogue and the ids of its names, in its order.
    pub(super) fn new(catalogue: &Catalogue, subscriptions: Vec<i64>, agents: Vec<i64>) -> Self {
        let marked = catalogue.marked.iter().filter_map(|index| subscriptions.get(index.at()).copied());
        Self {
            marked: marked.collect(),
            subscription_index: subscriptions.iter().copied().zip((0..).map(SubscriptionIndex)).collect(),
            agent_index: agents.iter().copied().zip((0..).map(AgentIndex)).collect(),
            subscriptions: subscriptions.into_iter().zip(catalogue.subscriptions.iter().cloned()).collect(),
            agents,
        }
    }

    /// Returns the file's id of a subscription.
    pub(super) fn subscription(&self, index: SubscriptionIndex) -> Result<i64, Fault> {
        let unknown = || Fault::Refused(format!("subscription {} is not in the catalogue", index.0));
        self.subscriptions.get(index.at()).map(|(id, _)| *id).ok_or_else(unknown)
    }

    pub(super) fn subscription_name(&self, index: SubscriptionIndex) -> &str {
        self.subscriptions.get(index.at()).map_or("", |(_, name)| name)
    }

    /// Returns the program's number of a subscription; `None` when the program has it no more.
    pub(super) fn index_of(&self, id: i64) -> Option<SubscriptionIndex> {
        self.subscription_index.get(&id).copied()
    }

    /// Every subscription of the program with the file's id, in the program's order.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (SubscriptionIndex, i64)> + '_ {
        (0..).map(SubscriptionIndex).zip(self.subscriptions.iter().map(|(id, _)| *id))
    }

    pub(super) fn agent(&self, index: AgentIndex) -> Result<i64, Fault> {
        let unknown = || Fault::Refused(format!("agent {} is not in the catalogue", index.0));
        self.agents.get(index.at()).copied().ok_or_else(unknown)
    }

    pub(super) fn agent_of(&self, id: i64) -> Option<AgentIndex> {
        self.agent_index.get(&id).copied()
    }

    pub(super) fn keeps_marks(&self, subscription: i64) -> bool {
        self.marked.contains(&subscription)
    }
}
