//! Outcomes: how claims end, with a job and without, and which pairs are remembered.

use std::collections::HashSet;

use volery_blackboard::claim::Settled;
use volery_blackboard::job::Start;
use volery_blackboard::store::{Few, Stored};
use volery_blackboard::{Offset, Outcome, RunId, SubscriptionIndex, Tally};

use super::tables::Tables;
use crate::block::{Claims, OffsetRange, Outcomes, Runs, Taken};
use crate::fault::Fault;

/// How outcomes are numbered in the file.
pub(super) const CONSUMED: u8 = 1;
pub(super) const EXPIRED: u8 = 2;
pub(super) const DISCARDED: u8 = 3;
pub(super) const CANCELLED: u8 = 4;
pub(super) const DEAD: u8 = 5;

/// How a claim ended.
pub(super) struct Ending {
    pub(super) code: u8,
    pub(super) reason: Option<String>,
    pub(super) taken: Option<Taken>,
}

/// The artifacts among results that are new.
pub(super) fn published(stored: &[Stored]) -> OffsetRange {
    let mut range = OffsetRange::default();
    for stored in stored {
        if let Stored::New(artifact) = stored {
            range.first = if range.count == 0 { artifact.offset().get() } else { range.first };
            range.count += 1;
        }
    }
    range
}

impl Tables<'_> {
    /// Ends a claim that has no outcome yet; tells whether it did.
    pub(super) fn end_claim(
        &mut self,
        sub: i64,
        seq: u64,
        run: Option<RunId>,
        ending: &Ending,
    ) -> Result<bool, Fault> {
        self.touched.set(true);
        let conn = &self.session.conn;
        if !self.index.claims.change(conn, Claims::key(sub, seq))?.take(seq) {
            return Ok(false);
        }
        self.index.outcomes.change(conn, Outcomes::key(sub, seq))?.put(seq, ending.code, ending.taken);
        if let Some(reason) = &ending.reason {
            self.run("INSERT INTO reason VALUES (?1, ?2, ?3)", (seq, sub, reason))?;
        }
        self.count(seq, run, |tally| *ended(tally, ending.code) += 1)?;
        Ok(true)
    }

    /// Changes the counts of an artifact's run, which is looked up if it is not known. A run whose counts are
    /// damaged stays as it is.
    pub(super) fn count(
        &mut self,
        seq: u64,
        run: Option<RunId>,
        change: impl FnOnce(&mut Tally),
    ) -> Result<(), Fault> {
        let conn = &self.session.conn;
        // Most runs begin with the very artifact.
        let number = if self.index.runs.look(conn, Runs::key(seq))?.get(seq).is_some() {
            Some(seq)
        } else {
            let run = run.map_or_else(|| self.session.run_of(seq), Ok)?;
            self.run_number(run)?
        };
        let Some(number) = number else { return Ok(()) };
        if let Some(run) = self.index.runs.change(&self.session.conn, Runs::key(number))?.get_mut(number) {
            change(&mut run.tally);
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, settled: &Settled) -> Result<Few<Stored>, Fault> {
        let sub = self.session.shared.map().subscription(settled.subscription)?;
        let seq = settled.offset.get();
        let reason = || serde_json::to_string(&settled.outcome).map(Some);
        let (code, reason) = match &settled.outcome {
            Outcome::Consumed => (CONSUMED, None),
            Outcome::Expired(_) => (EXPIRED, reason()?),
            Outcome::Discarded(_) => (DISCARDED, reason()?),
            Outcome::Cancelled => (CANCELLED, None),
            Outcome::Dead => (DEAD, None),
            _ => return Err(Fault::Refused("this store does not know the outcome".to_owned())),
        };
        let ending = Ending { code, reason, taken: None };
        self.end_for_good(sub, seq, settled.run, &ending)?;
        Ok(Few::new())
    }

    /// Ends a claim outside of a job, and with it the pairs of its artifact: one can form again only while
    /// both of its inputs are there.
    fn end_for_good(&mut self, sub: i64, seq: u64, run: RunId, ending: &Ending) -> Result<bool, Fault> {
        let has_ended = self.end_claim(sub, seq, Some(run), ending)?;
        if has_ended && self.index.last_pair > 0 {
            self.run(
                "UPDATE pair SET open = 0 WHERE open = 1
                     AND number IN (SELECT number FROM pair_member WHERE sub = ?1 AND seq = ?2)",
                (sub, seq),
            )?;
        }
        Ok(has_ended)
    }

    pub(super) fn remember_pair(
        &mut self,
        start: &Start,
        sub: i64,
        code: u8,
        published: OffsetRange,
    ) -> Result<(), Fault> {
        if code == CANCELLED {
            return Ok(());
        }
        let (number, job) = (self.index.last_pair + 1, start.job.as_uuid());
        let mut inputs: Vec<Offset> = start.members.iter().map(|member| member.offset).collect();
        inputs.sort_unstable();
        let inputs = serde_json::to_string(&inputs)?;
        self.run(
            "INSERT INTO pair VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7)",
            (number, sub, job.as_bytes(), code == DEAD, published.first, published.count, inputs),
        )?;
        for member in &start.members {
            self.run("INSERT INTO pair_member VALUES (?1, ?2, ?3)", (sub, member.offset.get(), number))?;
        }
        self.index.last_pair = number;
        Ok(())
    }

    pub(super) fn cancel_claims(
        &mut self,
        run: RunId,
        behind: &[(SubscriptionIndex, Option<Offset>)],
    ) -> Result<Vec<(SubscriptionIndex, u64)>, Fault> {
        let map = self.session.shared.map();
        let mut counts = Vec::with_capacity(behind.len());
        for (subscription, after) in behind {
            let sub = map.subscription(*subscription)?;
            let jobs = self.index.jobs.values().map(|open| &open.start);
            let jobs = jobs.filter(|start| start.subscription == *subscription && !start.shared);
            let covered: HashSet<u64> =
                jobs.flat_map(|start| start.members.iter().map(|member| member.offset.get())).collect();
            let mut count = 0;
            for seq in self.session.places_of(run, after.unwrap_or_default())? {
                let ending = Ending { code: CANCELLED, reason: None, taken: None };
                count += u64::from(!covered.contains(&seq) && self.end_for_good(sub, seq, run, &ending)?);
            }
            counts.push((*subscription, count));
        }
        Ok(counts)
    }
}

/// The count of an outcome in a tally.
fn ended(tally: &mut Tally, code: u8) -> &mut u64 {
    match code {
        CONSUMED => &mut tally.consumed,
        EXPIRED => &mut tally.expired,
        DISCARDED => &mut tally.discarded,
        CANCELLED => &mut tally.cancelled,
        _ => &mut tally.dead,
    }
}
