//! The child table: the children of a supervisor in start order, each with its phase.
//!
//! Pure: no I/O, no clock. Data only; the rules are in `rules.rs`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::backoff::FailureStreak;
use super::exit::Exit;
use super::intensity::RestartWindow;
use super::report::{ChildInfo, ChildState, ChildStop};
use super::spec::{ChildId, Terms};

/// A child's place in the start order. Places are never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ChildIndex(u64);

/// How a child came to be under its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Part of the supervisor's spec.
    Static,
    /// Added while running.
    Dynamic,
}

/// The supervisor's last order for a child, and the last report about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChildPhase {
    /// No life; one is to come, now or with its round.
    Down,
    /// A life was ordered; its back-off or its start is under way.
    Starting,
    /// A life takes messages.
    Alive,
    /// A life was ordered to stop.
    Stopping,
    /// No life; none comes unless a round starts one.
    Ended,
}

impl ChildPhase {
    /// Says whether there may be a life, so that a report of its end is still to come.
    pub(super) fn is_running(self) -> bool {
        match self {
            Self::Starting | Self::Alive | Self::Stopping => true,
            Self::Down | Self::Ended => false,
        }
    }
}

/// One child, as the rules know it.
#[derive(Debug)]
pub(super) struct ChildEntry {
    pub(super) terms: Terms,
    pub(super) origin: Origin,
    pub(super) phase: ChildPhase,
    /// The number of the latest life ordered; 0 before the first.
    pub(super) life: u64,
    pub(super) restarts: u32,
    pub(super) has_been_alive: bool,
    pub(super) alive_since: Option<Duration>,
    pub(super) exit: Option<Exit>,
    pub(super) stop_ordered: Option<Duration>,
    /// From the order to stop until the end of the latest life.
    pub(super) stop_took: Duration,
    pub(super) overran: bool,
    /// To be removed once its life has ended.
    pub(super) to_remove: bool,
    pub(super) window: Option<RestartWindow>,
    pub(super) failures: FailureStreak,
}

impl ChildEntry {
    fn new(terms: Terms, origin: Origin) -> Self {
        Self {
            window: terms.intensity.map(RestartWindow::new),
            failures: FailureStreak::new(terms.backoff),
            terms,
            origin,
            phase: ChildPhase::Down,
            life: 0,
            restarts: 0,
            has_been_alive: false,
            alive_since: None,
            exit: None,
            stop_ordered: None,
            stop_took: Duration::ZERO,
            overran: false,
            to_remove: false,
        }
    }

    pub(super) fn info(&self, now: Duration) -> ChildInfo {
        let state = match self.phase {
            ChildPhase::Alive => ChildState::Alive,
            ChildPhase::Stopping => ChildState::Stopping,
            ChildPhase::Ended => ChildState::Ended,
            ChildPhase::Down | ChildPhase::Starting if self.has_been_alive => ChildState::Restarting,
            ChildPhase::Down | ChildPhase::Starting => ChildState::Starting,
        };
        ChildInfo {
            id: self.terms.id.clone(),
            state,
            life: self.life,
            restarts: self.restarts,
            last_exit: self.exit.clone(),
            alive_for: self.alive_since.map(|since| now.saturating_sub(since)),
        }
    }

    /// The line of a stop report; none for a child that never had a life.
    pub(super) fn stop_entry(&self) -> Option<ChildStop> {
        let exit = self.exit.clone()?;
        let (id, duration) = (self.terms.id.clone(), self.stop_took);
        Some(ChildStop { id, exit, duration, overran: self.overran })
    }
}

/// All children of one supervisor.
#[derive(Debug, Default)]
pub(super) struct ChildTable {
    entries: BTreeMap<ChildIndex, ChildEntry>,
    indexes: HashMap<ChildId, ChildIndex>,
    next: u64,
    dynamic: usize,
}

impl ChildTable {
    /// Gives a child the last place in the start order, or returns the index of the child that has its id.
    pub(super) fn add(&mut self, terms: Terms, origin: Origin) -> Result<ChildIndex, ChildIndex> {
        if let Some(index) = self.indexes.get(&terms.id) {
            return Err(*index);
        }
        let index = ChildIndex(self.next);
        self.next += 1;
        self.dynamic += usize::from(origin == Origin::Dynamic);
        self.indexes.insert(terms.id.clone(), index);
        self.entries.insert(index, ChildEntry::new(terms, origin));
        debug_assert!(self.is_consistent());
        Ok(index)
    }

    pub(super) fn remove(&mut self, index: ChildIndex) -> Option<ChildEntry> {
        let entry = self.entries.remove(&index)?;
        self.indexes.remove(&entry.terms.id);
        self.dynamic -= usize::from(entry.origin == Origin::Dynamic);
        Some(entry)
    }

    pub(super) fn find(&self, id: &ChildId) -> Option<ChildIndex> {
        self.indexes.get(id).copied()
    }

    pub(super) fn entry(&self, index: ChildIndex) -> Option<&ChildEntry> {
        self.entries.get(&index)
    }

    pub(super) fn entry_mut(&mut self, index: ChildIndex) -> Option<&mut ChildEntry> {
        self.entries.get_mut(&index)
    }

    pub(super) fn is_running(&self, index: ChildIndex) -> bool {
        self.entry(index).is_some_and(|entry| entry.phase.is_running())
    }

    /// All indexes in start order.
    pub(super) fn indexes(&self) -> impl DoubleEndedIterator<Item = ChildIndex> + '_ {
        self.entries.keys().copied()
    }

    /// All entries in start order.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = (ChildIndex, &ChildEntry)> + '_ {
        self.entries.iter().map(|(index, entry)| (*index, entry))
    }

    pub(super) fn dynamic_count(&self) -> usize {
        self.dynamic
    }

    /// Both indexes agree. Linear only in what it can check cheaply, so that debug builds stay usable.
    fn is_consistent(&self) -> bool {
        self.entries.len() == self.indexes.len() && self.dynamic <= self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(id: &str) -> Terms {
        Terms::new(ChildId::from(id))
    }

    #[test]
    fn an_id_already_present_is_refused_and_changes_nothing() {
        let mut children = ChildTable::default();
        let index = children.add(terms("a"), Origin::Static).expect("new");
        assert_eq!(children.add(terms("a"), Origin::Dynamic), Err(index));
        assert_eq!(children.dynamic_count(), 0);
        assert_eq!(children.indexes().count(), 1);
    }

    #[test]
    fn an_id_given_up_gets_a_new_place_at_the_end() {
        let mut children = ChildTable::default();
        let first = children.add(terms("a"), Origin::Static).expect("new");
        let second = children.add(terms("b"), Origin::Static).expect("new");
        children.remove(first);
        let third = children.add(terms("a"), Origin::Dynamic).expect("free again");
        assert!(second < third);
        assert_eq!(children.find(&ChildId::from("a")), Some(third));
    }

    proptest! {
        #[test]
        fn seats_keep_the_order_of_adding(steps in proptest::collection::vec((0u8..8, any::<bool>()), 0..80)) {
            let mut children = ChildTable::default();
            let mut model: Vec<String> = Vec::new();
            for (name, add) in steps {
                let id = format!("c{name}");
                if add {
                    let added = children.add(terms(&id), Origin::Dynamic).is_ok();
                    prop_assert_eq!(added, !model.contains(&id));
                    if added {
                        model.push(id);
                    }
                } else {
                    let removed = children.find(&ChildId::from(id.as_str())).and_then(|index| children.remove(index));
                    prop_assert_eq!(removed.is_some(), model.contains(&id));
                    model.retain(|kept| *kept != id);
                }
                let ids: Vec<&str> = children.entries().map(|(_, entry)| entry.terms.id.as_str()).collect();
                prop_assert_eq!(ids, model.iter().map(String::as_str).collect::<Vec<_>>());
                prop_assert_eq!(children.dynamic_count(), model.len());
            }
        }
    }
}
