//! Pruning: the finished artifacts of the store that a retention policy removes.
//!
//! One pass over what is finished, in the order in which it finished. No I/O, no clock.

use std::collections::{BTreeMap, VecDeque};

use super::{Entry, State};
use crate::id::Offset;
use crate::store::retention::{Bounds, Retention};
use crate::time::Timestamp;

/// The bounds of one group of kinds, and how many artifacts are beyond its count.
struct Allowance {
    bounds: Bounds,
    excess: u64,
}

impl State {
    /// Takes out at most `limit` artifacts for the caller to drop outside of the lock, and tells whether more
    /// are to go.
    pub(in crate::store::memory) fn prune(
        &mut self,
        policy: &Retention,
        now: Timestamp,
        limit: usize,
    ) -> (Vec<Entry>, bool) {
        let mut allowances = self.allowances(policy);
        let (mut gone, mut more) = (Vec::new(), false);
        let mut kept = VecDeque::with_capacity(self.finished.len());
        for offset in std::mem::take(&mut self.finished) {
            let goes = self.goes(offset, policy, now, &mut allowances);
            if goes && gone.len() < limit {
                gone.extend(self.forget(offset));
            } else {
                more |= goes;
                kept.push_back(offset);
            }
        }
        self.finished = kept;
        self.entries.shift();
        (gone, more)
    }

    /// Counts what is finished against the bounds: under `None` the kinds that have none of their own.
    fn allowances<'a>(&self, policy: &'a Retention) -> BTreeMap<Option<&'a str>, Allowance> {
        let own = policy.per_kind.iter().map(|(kind, bounds)| (Some(kind.as_str()), *bounds));
        let all = own.chain([(None, policy.general())]);
        let mut allowances: BTreeMap<_, _> =
            all.map(|(group, bounds)| (group, Allowance { bounds, excess: 0 })).collect();
        for offset in &self.finished {
            if let Some(allowance) = self.group(*offset, policy).and_then(|group| allowances.get_mut(&group))
            {
                allowance.excess += 1;
            }
        }
        for allowance in allowances.values_mut() {
            let kept = allowance.bounds.count_max.unwrap_or(u64::MAX);
            allowance.excess = allowance.excess.saturating_sub(kept);
        }
        allowances
    }

    fn group<'a>(&self, offset: Offset, policy: &'a Retention) -> Option<Option<&'a str>> {
        let name = self.entries.get(offset)?.artifact.kind().name();
        Some(policy.per_kind.get_key_value(name).map(|(kind, _)| kind.as_str()))
    }

    fn goes<'a>(
        &self,
        offset: Offset,
        policy: &'a Retention,
        now: Timestamp,
        allowances: &mut BTreeMap<Option<&'a str>, Allowance>,
    ) -> bool {
        let (Some(entry), Some(group)) = (self.entries.get(offset), self.group(offset, policy)) else {
            return false;
        };
        let Some(allowance) = allowances.get_mut(&group) else { return false };
        let published = entry.artifact.published_at();
        let old = allowance.bounds.age_max.is_some_and(|age| published < now.before(age));
        let beyond = allowance.excess > 0;
        if old || beyond {
            allowance.excess = allowance.excess.saturating_sub(1);
        }
        old || beyond
    }
}
