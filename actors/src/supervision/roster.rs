//! The roster: the children of a supervisor in start order, each with its phase.
//!
//! Pure: no I/O, no clock. Data only; the rules are in `engine.rs`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::backoff::Row;
use super::exit::Exit;
use super::intensity::Window;
use super::report::{ChildInfo, ChildState, ChildStop};
use super::spec::{ChildId, Terms};

/// A child's place in the start order. Places are never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Seat(u64);

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
pub(super) enum Phase {
    /// No life; one is to come, now or with its round.
    Down,
    /// A life was ordered; its back-off or its start is under way.
    Starting,
    /// A life takes messages.
    Alive,
    /// A life was ordered to stop.
    Stopping,
    /// No life, and none to come by the child's own doing.
    Ended,
}

impl Phase {
    /// Says whether there may be a life, so that a report of its end is still to come.
    pub(super) fn is_running(self) -> bool {
        match self {
            Self::Starting | Self::Alive | Self::Stopping => true,
            Self::Down | Self::Ended => false,
        }
    }
}

/// The books of one child.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) terms: Terms,
    pub(super) origin: Origin,
    pub(super) phase: Phase,
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
    pub(super) leaving: bool,
    pub(super) window: Option<Window>,
    pub(super) row: Row,
}

impl Entry {
    fn new(terms: Terms, origin: Origin) -> Self {
        Self {
            window: terms.intensity.map(Window::new),
            row: Row::new(terms.backoff),
            terms,
            origin,
            phase: Phase::Down,
            life: 0,
            restarts: 0,
            has_been_alive: false,
            alive_since: None,
            exit: None,
            stop_ordered: None,
            stop_took: Duration::ZERO,
            overran: false,
            leaving: false,
        }
    }

    pub(super) fn info(&self, now: Duration) -> ChildInfo {
        let state = match self.phase {
            Phase::Alive => ChildState::Alive,
            Phase::Stopping => ChildState::Stopping,
            Phase::Ended => ChildState::Ended,
            Phase::Down | Phase::Starting if self.has_been_alive => ChildState::Restarting,
            Phase::Down | Phase::Starting => ChildState::Starting,
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

    /// The row of a stop report; none for a child that never had a life.
    pub(super) fn stop_row(&self) -> Option<ChildStop> {
        let exit = self.exit.clone()?;
        let (id, duration) = (self.terms.id.clone(), self.stop_took);
        Some(ChildStop { id, exit, duration, overran: self.overran })
    }
}

/// All children of one supervisor.
#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: BTreeMap<Seat, Entry>,
    seats: HashMap<ChildId, Seat>,
    next: u64,
    dynamic: usize,
}

impl Roster {
    /// Gives a child the last place in the start order, or returns the seat of the child that has its id.
    pub(super) fn add(&mut self, terms: Terms, origin: Origin) -> Result<Seat, Seat> {
        if let Some(seat) = self.seats.get(&terms.id) {
            return Err(*seat);
        }
        let seat = Seat(self.next);
        self.next += 1;
        self.dynamic += usize::from(origin == Origin::Dynamic);
        self.seats.insert(terms.id.clone(), seat);
        self.entries.insert(seat, Entry::new(terms, origin));
        debug_assert!(self.is_consistent());
        Ok(seat)
    }

    pub(super) fn remove(&mut self, seat: Seat) -> Option<Entry> {
        let entry = self.entries.remove(&seat)?;
        self.seats.remove(&entry.terms.id);
        self.dynamic -= usize::from(entry.origin == Origin::Dynamic);
        Some(entry)
    }

    pub(super) fn find(&self, id: &ChildId) -> Option<Seat> {
        self.seats.get(id).copied()
    }

    pub(super) fn entry(&self, seat: Seat) -> Option<&Entry> {
        self.entries.get(&seat)
    }

    pub(super) fn entry_mut(&mut self, seat: Seat) -> Option<&mut Entry> {
        self.entries.get_mut(&seat)
    }

    pub(super) fn is_running(&self, seat: Seat) -> bool {
        self.entry(seat).is_some_and(|entry| entry.phase.is_running())
    }

    /// All seats in start order.
    pub(super) fn seats(&self) -> impl DoubleEndedIterator<Item = Seat> + '_ {
        self.entries.keys().copied()
    }

    /// All entries in start order.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = (Seat, &Entry)> + '_ {
        self.entries.iter().map(|(seat, entry)| (*seat, entry))
    }

    pub(super) fn dynamic_count(&self) -> usize {
        self.dynamic
    }

    /// Both indexes agree. Linear only in what it can check cheaply, so that debug builds stay usable.
    fn is_consistent(&self) -> bool {
        self.entries.len() == self.seats.len() && self.dynamic <= self.entries.len()
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
        let mut roster = Roster::default();
        let seat = roster.add(terms("a"), Origin::Static).expect("new");
        assert_eq!(roster.add(terms("a"), Origin::Dynamic), Err(seat));
        assert_eq!(roster.dynamic_count(), 0);
        assert_eq!(roster.seats().count(), 1);
    }

    #[test]
    fn an_id_given_up_gets_a_new_place_at_the_end() {
        let mut roster = Roster::default();
        let first = roster.add(terms("a"), Origin::Static).expect("new");
        let second = roster.add(terms("b"), Origin::Static).expect("new");
        roster.remove(first);
        let third = roster.add(terms("a"), Origin::Dynamic).expect("free again");
        assert!(second < third);
        assert_eq!(roster.find(&ChildId::from("a")), Some(third));
    }

    proptest! {
        #[test]
        fn seats_keep_the_order_of_adding(steps in proptest::collection::vec((0u8..8, any::<bool>()), 0..80)) {
            let mut roster = Roster::default();
            let mut model: Vec<String> = Vec::new();
            for (name, add) in steps {
                let id = format!("c{name}");
                if add {
                    let added = roster.add(terms(&id), Origin::Dynamic).is_ok();
                    prop_assert_eq!(added, !model.contains(&id));
                    if added {
                        model.push(id);
                    }
                } else {
                    let removed = roster.find(&ChildId::from(id.as_str())).and_then(|seat| roster.remove(seat));
                    prop_assert_eq!(removed.is_some(), model.contains(&id));
                    model.retain(|kept| *kept != id);
                }
                let ids: Vec<&str> = roster.entries().map(|(_, entry)| entry.terms.id.as_str()).collect();
                prop_assert_eq!(ids, model.iter().map(String::as_str).collect::<Vec<_>>());
                prop_assert_eq!(roster.dynamic_count(), model.len());
            }
        }
    }
}
