//! All-of: waits until every side has what it needs, then takes the oldest of each.
//!
//! Surplus stays for the next group. Pure: no I/O, no clock.

use std::collections::VecDeque;

use super::{Entry, Group, Step, insert_in_log_order, missing};
use crate::few::Few;
use crate::id::RunIndex;
use crate::outcome::WaitingReason;

/// One waiting line per side.
#[derive(Debug)]
pub(crate) struct AllOf {
    needs: Vec<u32>,
    names: Vec<String>,
    sides: Vec<VecDeque<Entry>>,
}

impl AllOf {
    pub(crate) fn new(needs: Vec<u32>, names: Vec<String>) -> Self {
        let sides = needs.iter().map(|_| VecDeque::new()).collect();
        Self { needs, names, sides }
    }

    pub(crate) fn offer(&mut self, entry: Entry, steps: &mut Vec<Step>) {
        insert_in_log_order(&mut self.sides[usize::from(entry.side)], entry);
        if self.is_complete() {
            let take =
                |(side, need): (&mut VecDeque<Entry>, &u32)| side.drain(..*need as usize).collect::<Vec<_>>();
            let entries: Few<Entry> = self.sides.iter_mut().zip(&self.needs).flat_map(take).collect();
            steps.push(Step::Complete(Group::single(entries, false)));
        }
        debug_assert!(!self.is_complete(), "one entry completes at most one group");
    }

    pub(crate) fn withdraw(&mut self, run: RunIndex) -> Vec<Entry> {
        let mut left = Vec::new();
        for side in &mut self.sides {
            let (out, stay) = side.drain(..).partition(|entry: &Entry| entry.run == run);
            *side = stay;
            left.extend::<VecDeque<Entry>>(out);
        }
        left
    }

    pub(crate) fn visit_waiting(&self, visit: &mut dyn FnMut(&Entry, WaitingReason)) {
        let lacking = missing(&self.needs, &self.names, |side| self.sides[side].len());
        for entry in self.sides.iter().flatten() {
            visit(entry, WaitingReason::AllOfMissing(lacking.clone()));
        }
    }

    fn is_complete(&self) -> bool {
        self.sides.iter().zip(&self.needs).all(|(side, need)| side.len() >= *need as usize)
    }
}
