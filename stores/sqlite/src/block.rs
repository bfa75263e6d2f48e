//! Blocks: the claims, the outcomes and the runs of 32 places in the log, or 32 unfinished jobs, side by side
//! in one row.
//!
//! A commit makes and ends hundreds of claims on neighbouring places; a row for each of them would cost more
//! than their artifacts. A block of claims or outcomes begins with a byte for each place, which SQL can read,
//! and goes on with an entry for each that needs more. Pure: no I/O, no clock.

use std::borrow::Cow;

mod bytes;
mod claims;
mod entries;
mod jobs;
mod outcomes;
mod runs;

pub(super) use claims::Claims;
pub(super) use jobs::{Found, Inputs, JobRecord, Jobs, Progress};
pub(super) use outcomes::{OffsetRange, Outcomes, SUBSCRIPTIONS_MAX, Taken};
pub(super) use runs::{Run, Runs};

/// Places in a block. With half of them, a commit writes twice as many rows; with twice as many, one claim
/// that ends alone has twice as much written.
pub(super) const PLACES: u64 = 32;

/// The bytes for SQL.
const HEAD: usize = 32;

/// The row of a block in its table.
pub(super) trait Block: Default {
    /// The table.
    const TABLE: &'static str;

    /// Reads the block with a key, as far as it is what was written.
    fn read(key: i64, bytes: Vec<u8>) -> Self;

    fn bytes(&self) -> Cow<'_, [u8]>;

    fn is_empty(&self) -> bool;
}

/// A place within its block.
fn slot(seq: u64) -> u8 {
    u8::try_from(seq % PLACES).unwrap_or_default()
}

/// A block that lost its beginning says nothing for the rest of it.
fn with_head(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().max(HEAD), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use volery_blackboard::claim::Claim;
    use volery_blackboard::job::{Member, Start};
    use volery_blackboard::{
        AgentIndex, Discard, JobId, Key, Marks, Offset, RunId, SubscriptionIndex, Tally, Timestamp,
    };

    use super::*;

    const SUB: i64 = 3;
    const SEQ: u64 = 70;

    fn claims() -> (Claims, [Claim; 2]) {
        let plain = Claim {
            subscription: SubscriptionIndex(0),
            side: 0,
            weight: 1,
            key: None,
            lane: None,
            event_time: None,
            visible_at: None,
            refused: None,
            marks: None,
        };
        let time = |micros| Some(Timestamp::from_micros_since_epoch(micros));
        let whole = Claim {
            side: 300,
            weight: 0,
            key: Some(Key::from("k".repeat(200))),
            lane: Some(Key::from("")),
            event_time: time(-7),
            visible_at: time(i64::MAX),
            refused: Some(Box::new(Discard::LoopGuard)),
            marks: Some(Box::new(Marks { arrivals: 4, event_times: vec![None, time(5)] })),
            ..plain.clone()
        };
        let mut claims = Claims::default();
        for (seq, claim) in (SEQ..).zip([&plain, &whole]) {
            claims.put((SUB, seq), claim, claim.marks.as_deref()).expect("it is the first");
        }
        (claims, [plain, whole])
    }

    fn start() -> Start {
        let member = |number| Member { offset: Offset::new(number), side: 1, group: 200 };
        Start {
            job: JobId::from_uuid(Uuid::from_u128(5)),
            agent: AgentIndex(0),
            subscription: SubscriptionIndex(0),
            members: [SEQ, 3_000_000].into_iter().map(member).collect(),
            attempt: 2,
            failures: 1,
            run: RunId::from_uuid(Uuid::from_u128(6)),
            opens_run: true,
            at: Timestamp::from_micros_since_epoch(-1),
            closed: Some(volery_blackboard::CloseReason::Weight),
            shared: false,
            alone: true,
            index: volery_blackboard::JobIndex::default(),
            observed: None,
        }
    }

    /// Every way to flip one bit.
    fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        (0..bytes.len() * 8).map(|bit| {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        })
    }

    fn read(claims: &Claims, seq: u64) -> Option<String> {
        claims.claim(seq, SubscriptionIndex(0)).ok().map(|claim| format!("{claim:?}"))
    }

    #[test]
    fn claims_are_read_as_they_were_written_or_not_at_all() {
        let (claims, written) = claims();
        let wanted = written.map(|claim| Some(format!("{claim:?}")));
        let key = Claims::key(SUB, SEQ);
        let found = |claims: &Claims| [read(claims, SEQ), read(claims, SEQ + 1)];
        assert_eq!(found(&Claims::read(key, claims.bytes().into())), wanted);
        for bytes in flipped(&claims.bytes()) {
            let damaged = Claims::read(key, bytes);
            assert!(damaged.has(SEQ) && damaged.has(SEQ + 1), "none is lost in silence");
            for (found, wanted) in found(&damaged).into_iter().zip(&wanted) {
                assert!(found.is_none() || found == *wanted, "{found:?}");
            }
            let others = damaged.places(key).filter(|seq| !(SEQ..SEQ + 2).contains(seq));
            assert_eq!(others.filter_map(|seq| read(&damaged, seq)).next(), None);
        }
    }

    #[test]
    fn jobs_are_read_as_they_were_written_or_are_lost() {
        let (start, number) = (start(), 33);
        let progress = Progress { failures: 1, is_running: true, interruptions: 2, ..Progress::default() };
        let mut jobs = Jobs::default();
        jobs.put(number, &JobRecord { sub: SUB, agent: 4, start: &start, progress }).expect("it is data");
        let key = Jobs::key(number);
        let written = |found: &Found| match found {
            Found::Job(found, record) => {
                let parts = (*found, record.sub, record.agent, &record.start, record.progress);
                assert_eq!(parts, (number, SUB, 4, &start, progress));
                true
            }
            Found::Lost(inputs) => {
                let sound = |inputs: &Inputs| (inputs.sub, &inputs.members) == (SUB, &start.members);
                assert!(inputs.as_ref().is_none_or(sound), "{inputs:?}");
                false
            }
        };
        let whole = jobs.bytes().into_owned();
        let found: Vec<Found> = Jobs::read(key, whole.clone()).all(key).collect();
        assert!(found.len() == 1 && written(&found[0]));
        for bytes in flipped(&whole) {
            let found: Vec<Found> = Jobs::read(key, bytes).all(key).collect();
            assert!(!found.is_empty() && !found.iter().any(written), "{found:?}");
        }
    }

    #[test]
    fn damaged_outcomes_and_runs_are_no_panic() {
        let taken = Taken { job: start().job, published: OffsetRange { first: 300, count: 2 } };
        let mut outcomes = Outcomes::default();
        outcomes.put(SEQ, 1, Some(taken));
        outcomes.put(SEQ + 1, 4, None);
        let run = Run { workflow: 7, tally: Tally { matched: 900, consumed: 1, ..Tally::default() } };
        let mut runs = Runs::default();
        runs.put(SEQ, run);
        let of_outcomes = Outcomes::read(0, outcomes.bytes().into());
        assert_eq!([SEQ, SEQ + 1, SEQ + 2].map(|seq| of_outcomes.code(seq)), [1, 4, 0]);
        assert_eq!([SEQ, SEQ + 1].map(|seq| of_outcomes.taken(seq)), [Some(taken), None]);
        assert_eq!(Runs::read(0, runs.bytes().into()).get(SEQ), Some(&run));
        for bytes in flipped(&outcomes.bytes()) {
            let mut outcomes = Outcomes::read(0, bytes);
            outcomes.remove(SEQ);
            assert_eq!((outcomes.code(SEQ), outcomes.taken(SEQ)), (0, None));
        }
        for bytes in flipped(&runs.bytes()) {
            let mut runs = Runs::read(0, bytes);
            runs.put(SEQ + 1, run);
            assert!(Runs::read(0, runs.bytes().into()).get(SEQ + 1).is_some(), "others can be added");
        }
    }
}
