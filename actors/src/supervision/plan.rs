//! Which children a failure affects, by strategy.
//!
//! Pure: no I/O, no clock. It names the affected children in start order; `engine.rs` stops them in reverse
//! and starts them forwards.

use super::roster::{Roster, Seat};

/// Says which siblings share the fate of a failed child.
///
/// Siblings that are [`Restart::Temporary`](super::Restart::Temporary) are stopped with the others and stay
/// stopped. A transient sibling that had already ended in good order starts again, as in Erlang/OTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// None: only the failed child is restarted.
    #[default]
    OneForOne,
    /// Those started after it: they are stopped in reverse order, then it and they are started in order.
    RestForOne,
    /// All: they are stopped in reverse order, then all are started in order.
    OneForAll,
}

/// Names the children to be down and then started again because `failed` failed, in start order.
///
/// Temporary siblings are included; the engine leaves them out when starting.
pub(super) fn affected(strategy: Strategy, roster: &Roster, failed: Seat) -> Vec<Seat> {
    match strategy {
        Strategy::OneForOne => vec![failed],
        Strategy::RestForOne => roster.seats().filter(|seat| *seat >= failed).collect(),
        Strategy::OneForAll => roster.seats().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Strategy;
    use super::*;
    use crate::supervision::roster::Origin;
    use crate::supervision::spec::{ChildId, Terms};

    /// Children `0..count`, some of them gone again.
    fn roster(count: usize, gone: &[usize]) -> (Roster, Vec<Seat>) {
        let mut roster = Roster::default();
        let seats: Vec<Seat> = (0..count)
            .map(|number| Terms::new(ChildId::from(number.to_string())))
            .filter_map(|terms| roster.add(terms, Origin::Static).ok())
            .collect();
        for number in gone {
            roster.remove(seats[*number]);
        }
        (roster, seats)
    }

    fn check(strategy: Strategy, failed: usize, expected: &[usize]) {
        let (roster, seats) = roster(4, &[2]);
        let expected: Vec<Seat> = expected.iter().map(|number| seats[*number]).collect();
        assert_eq!(affected(strategy, &roster, seats[failed]), expected);
    }

    #[test]
    fn each_strategy_names_its_children_in_start_order() {
        check(Strategy::OneForOne, 1, &[1]);
        check(Strategy::RestForOne, 1, &[1, 3]);
        check(Strategy::OneForAll, 1, &[0, 1, 3]);
    }

    proptest! {
        #[test]
        fn wider_strategies_include_narrower_ones(count in 1usize..20, failed in any::<prop::sample::Index>()) {
            let (roster, seats) = roster(count, &[]);
            let failed = seats[failed.index(count)];
            let [one, rest, all] = [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll]
                .map(|strategy| affected(strategy, &roster, failed));
            prop_assert_eq!(&one, &[failed]);
            prop_assert!(all.ends_with(&rest) && rest.starts_with(&one));
            prop_assert_eq!(all, seats);
        }
    }
}
