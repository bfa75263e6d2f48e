//! Sets of labels, made once: from the values of an event to the attributes that the meter takes.
//!
//! Finding a set again allocates nothing. There may be so many sets per instrument; what comes later is
//! counted under `other`, so that names that a service makes up cannot fill the memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::KeyValue;

use crate::trace::cut;

/// Most sets of labels per instrument. The SDK's own limit is 2,000; ours comes first and says so by a value.
pub(super) const SETS_MAX: usize = 1_000;

/// Longest value of a label, in bytes; a longer one is cut.
const VALUE_MAX: usize = 256;

/// The value of every label beyond the limit.
pub(super) const OTHER: &str = "other";

/// The label sets of one instrument.
#[derive(Debug)]
pub(super) struct LabelSets {
    keys: &'static [&'static str],
    /// On every set.
    common: Vec<KeyValue>,
    known: RwLock<Known>,
    other: Arc<[KeyValue]>,
}

#[derive(Debug, Default)]
struct Known {
    root: Branch,
    sets: usize,
}

/// One step per label, so that a set is found by borrowed values.
#[derive(Debug, Default)]
struct Branch {
    next: HashMap<Box<str>, Branch>,
    set: Option<Arc<[KeyValue]>>,
}

impl LabelSets {
    pub(super) fn new(keys: &'static [&'static str], common: &[KeyValue]) -> Self {
        let others = keys.iter().map(|key| KeyValue::new(*key, OTHER));
        let other = common.iter().cloned().chain(others).collect();
        Self { keys, common: common.to_vec(), known: RwLock::default(), other }
    }

    /// The attributes for values in the order of the keys. An empty value means that the label is absent.
    pub(super) fn of(&self, values: &[&str]) -> Arc<[KeyValue]> {
        debug_assert_eq!(values.len(), self.keys.len(), "one value per label");
        if values.iter().any(|value| value.len() > VALUE_MAX) {
            let cut: Vec<_> = values.iter().map(|value| cut(value, VALUE_MAX)).collect();
            return self.of(&cut.iter().map(|value| &**value).collect::<Vec<_>>());
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = known.root.find(values) {
            return Arc::clone(set);
        }
        // Made-up names must not hold up those that are not.
        if known.sets == SETS_MAX {
            return Arc::clone(&self.other);
        }
        drop(known);
        self.learn(values)
    }

    fn learn(&self, values: &[&str]) -> Arc<[KeyValue]> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = known.root.find(values) {
            return Arc::clone(set);
        }
        if known.sets == SETS_MAX {
            return Arc::clone(&self.other);
        }
        let labelled = self.keys.iter().zip(values).filter(|(_, value)| !value.is_empty());
        let own = labelled.map(|(key, value)| KeyValue::new(*key, (*value).to_owned()));
        let set: Arc<[KeyValue]> = self.common.iter().cloned().chain(own).collect();
        known.sets += 1;
        let mut branch = &mut known.root;
        for value in values {
            branch = branch.next.entry((*value).into()).or_default();
        }
        branch.set = Some(Arc::clone(&set));
        set
    }
}

impl Branch {
    fn find(&self, values: &[&str]) -> Option<&Arc<[KeyValue]>> {
        let mut branch = self;
        for value in values {
            branch = branch.next.get(*value)?;
        }
        branch.set.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_set_is_the_same_one() {
        let sets = LabelSets::new(&["agent", "outcome"], &[]);
        assert!(Arc::ptr_eq(&sets.of(&["a", "ok"]), &sets.of(&["a", "ok"])));
        assert!(!Arc::ptr_eq(&sets.of(&["a", "ok"]), &sets.of(&["a", "failed"])));
        assert_eq!(sets.of(&["a", ""]).len(), 1, "a label without a value is absent");
    }

    #[test]
    fn sets_beyond_the_limit_are_one() {
        let sets = LabelSets::new(&["kind"], &[]);
        for number in 0..SETS_MAX {
            assert_eq!(sets.of(&[&number.to_string()])[0].value.as_str(), number.to_string());
        }
        assert_eq!(sets.of(&["one too many"])[0].value.as_str(), OTHER);
        assert_eq!(sets.of(&["7"])[0].value.as_str(), "7", "what is known stays known");
    }

    #[test]
    fn a_set_beyond_the_limit_keeps_nobody_waiting() {
        let sets = LabelSets::new(&["kind"], &[]);
        for number in 0..SETS_MAX {
            sets.of(&[&number.to_string()]);
        }
        std::thread::scope(|scope| {
            let reading = sets.known.read().expect("no test panics with it");
            let (done, wait) = std::sync::mpsc::channel();
            let sets = &sets;
            scope.spawn(move || done.send(sets.of(&["one too many"])));
            let found = wait.recv_timeout(std::time::Duration::from_secs(30));
            drop(reading);
            assert_eq!(found.expect("it does not write")[0].value.as_str(), OTHER);
        });
    }

    #[test]
    fn a_long_value_is_cut() {
        let sets = LabelSets::new(&["kind"], &[]);
        let long = "x".repeat(10_000);
        assert_eq!(sets.of(&[&long])[0].value.as_str().len(), VALUE_MAX);
        assert!(Arc::ptr_eq(&sets.of(&[&long]), &sets.of(&[&long])));
    }
}
