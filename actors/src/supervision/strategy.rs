//! The strategy: the children that a failure affects.
//!
//! Pure: no I/O, no clock. It names the affected children in start order; `rules.rs` stops them in reverse
//! and starts them forwards.

use super::children::{ChildIndex, ChildTable};

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
/// Temporary siblings are included; the rules leave them out when starting.
pub(super) fn affected(strategy: Strategy, children: &ChildTable, failed: ChildIndex) -> Vec<ChildIndex> {
    match strategy {
        Strategy::OneForOne => vec![failed],
        Strategy::RestForOne => children.indexes().filter(|index| *index >= failed).collect(),
        Strategy::OneForAll => children.indexes().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Strategy;
    use super::*;
    use crate::supervision::children::Origin;
    use crate::supervision::spec::{ChildId, Terms};

    /// Children `0..count`, some of them gone again.
    fn children(count: usize, gone: &[usize]) -> (ChildTable, Vec<ChildIndex>) {
        let mut children = ChildTable::default();
        let indexes: Vec<ChildIndex> = (0..count)
            .map(|number| Terms::new(ChildId::from(number.to_string())))
            .filter_map(|terms| children.add(terms, Origin::Static).ok())
            .collect();
        for number in gone {
            children.remove(indexes[*number]);
        }
        (children, indexes)
    }

    fn check(strategy: Strategy, failed: usize, expected: &[usize]) {
        let (children, indexes) = children(4, &[2]);
        let expected: Vec<ChildIndex> = expected.iter().map(|number| indexes[*number]).collect();
        assert_eq!(affected(strategy, &children, indexes[failed]), expected);
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
            let (children, indexes) = children(count, &[]);
            let failed = indexes[failed.index(count)];
            let [one, rest, all] = [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll]
                .map(|strategy| affected(strategy, &children, failed));
            prop_assert_eq!(&one, &[failed]);
            prop_assert!(all.ends_with(&rest) && rest.starts_with(&one));
            prop_assert_eq!(all, indexes);
        }
    }
}
