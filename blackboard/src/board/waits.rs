//! The wait of a job before an attempt, in parts in order of time.
//!
//! The board knows what holds a job up now; of the past it keeps when the job came to the front of its key,
//! and the last time that nothing of its agent could start. The time before those counts as a wait for a
//! slot, or for the key. Pure: no I/O, no clock.

use crate::few::Few;
use crate::job::{Wait, WaitsFor};
use crate::time::Timestamp;

/// A time in which nothing could start, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) why: WaitsFor,
}

/// Divides the wait of a piece that waited from `since` until `now`, and came to the front of its key in
/// between if it was behind others.
pub(super) fn waits(
    since: Timestamp,
    front: Option<Timestamp>,
    closed: Option<Closed>,
    now: Timestamp,
) -> Few<Wait> {
    let (mut waits, mut at) = (Few::new(), since);
    let mut add = |what: WaitsFor, until: Timestamp| {
        if until > at {
            waits.push(Wait { what, until });
            at = until;
        }
    };
    if let Some(front) = front {
        add(WaitsFor::Partition, front);
    }
    if let Some(closed) = closed {
        add(WaitsFor::Concurrency, closed.since.min(closed.until));
        add(closed.why, closed.until);
    }
    add(WaitsFor::Concurrency, now);
    waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::tests::shapes::at;

    fn check(front: Option<i64>, closed: Option<(i64, i64)>, wanted: &[(WaitsFor, i64)]) {
        let closed =
            closed.map(|(since, until)| Closed { since: at(since), until: at(until), why: WaitsFor::Paused });
        let waits = waits(at(10), front.map(at), closed, at(50));
        let wanted: Vec<_> =
            wanted.iter().map(|(what, until)| Wait { what: *what, until: at(*until) }).collect();
        assert_eq!(waits.to_vec(), wanted);
    }

    #[test]
    fn a_wait_is_divided_in_order_of_time() {
        use WaitsFor::{Concurrency, Partition, Paused};
        check(None, None, &[(Concurrency, 50)]);
        check(Some(20), None, &[(Partition, 20), (Concurrency, 50)]);
        check(None, Some((20, 30)), &[(Concurrency, 20), (Paused, 30), (Concurrency, 50)]);
        check(Some(20), Some((5, 30)), &[(Partition, 20), (Paused, 30), (Concurrency, 50)]);
        check(Some(50), Some((20, 30)), &[(Partition, 50)]);
        check(None, Some((5, 50)), &[(Paused, 50)]);
    }

    #[test]
    fn what_was_over_before_is_no_part_of_a_wait() {
        check(None, Some((2, 9)), &[(WaitsFor::Concurrency, 50)]);
        assert!(waits(at(10), None, None, at(10)).is_empty());
    }
}
