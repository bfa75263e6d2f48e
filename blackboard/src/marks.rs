//! Marks: how far the log had come for one subscription, as the clocks of a join see it.
//!
//! A join's count window counts arrivals, and its watermark is the largest event time seen. Both depend on
//! artifacts that were used up long ago, so a store keeps them beside the claims. The rule stands here once,
//! for every store. Pure: no I/O, no clock.

use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::time::Timestamp;

/// How far the log had come for one subscription: arrivals, and the largest event time of each side.
///
/// A refused claim counts for nothing, and neither does one that is not visible at once: a collector meets it
/// later, at a moment that no log knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Artifacts that came, over all sides.
    pub arrivals: u64,
    /// The largest event time seen, by side; sides at the end of which nothing was seen are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_times: Vec<Option<Timestamp>>,
}

impl Marks {
    /// Counts one claim.
    pub fn note(&mut self, claim: &Claim) {
        if claim.refused.is_some() || claim.visible_at.is_some() {
            return;
        }
        self.arrivals += 1;
        if let Some(time) = claim.event_time {
            self.note_time(usize::from(claim.side), time);
        }
    }

    /// Moves on to whatever is further in `other`.
    pub fn advance_to(&mut self, other: &Self) {
        self.arrivals = self.arrivals.max(other.arrivals);
        for (side, time) in other.event_times.iter().enumerate() {
            if let Some(time) = time {
                self.note_time(side, *time);
            }
        }
    }

    fn note_time(&mut self, side: usize, time: Timestamp) {
        if self.event_times.len() <= side {
            self.event_times.resize(side + 1, None);
        }
        let mark = &mut self.event_times[side];
        *mark = Some(mark.map_or(time, |seen| seen.max(time)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Discard;

    #[test]
    fn marks_count_what_a_collector_meets_at_once() {
        let claim = crate::board::tests::shapes::claim(0, 1);
        let time = |micros| Some(Timestamp::from_micros_since_epoch(micros));
        let mut marks = Marks::default();
        marks.note(&Claim { event_time: time(7), ..claim.clone() });
        marks.note(&Claim { event_time: time(3), ..claim.clone() });
        marks.note(&Claim { visible_at: time(9), event_time: time(9), ..claim.clone() });
        marks.note(&Claim { refused: Some(Box::new(Discard::LoopGuard)), event_time: time(9), ..claim });
        assert_eq!(marks, Marks { arrivals: 2, event_times: vec![None, time(7)] });
        let mut behind = Marks { arrivals: 1, event_times: vec![time(5)] };
        behind.advance_to(&marks);
        assert_eq!(behind, Marks { arrivals: 2, event_times: vec![time(5), time(7)] });
    }
}
