//! Outcomes: how claims end, with a job and without, and which pairs are remembered.

use volery_blackboard::claim::Settled;
use volery_blackboard::job::Start;
use volery_blackboard::store::{Few, Stored};
use volery_blackboard::{JobId, Offset, Outcome, RunId, SubscriptionIndex, Tally};

use super::tables::Tables;
use crate::fault::Fault;

/// How outcomes are numbered in the file.
pub(super) const CONSUMED: i64 = 1;
pub(super) const EXPIRED: i64 = 2;
pub(super) const DISCARDED: i64 = 3;
pub(super) const CANCELLED: i64 = 4;
pub(super) const DEAD: i64 = 5;

/// How a claim ended.
pub(super) struct Ending {
    pub(super) code: i64,
    pub(super) reason: Option<String>,
    pub(super) job: Option<JobId>,
    pub(super) published: OffsetRange,
}

/// Artifacts that follow each other in the log.
#[derive(Clone, Copy, Default)]
pub(super) struct OffsetRange {
    first: u64,
    count: u64,
}

impl OffsetRange {
    pub(super) fn of(stored: &[Stored]) -> Self {
        let mut span = Self::default();
        for stored in stored {
            if let Stored::New(artifact) = stored {
                span.first = if span.count == 0 { artifact.offset().get() } else { span.first };
                span.count += 1;
            }
        }
        span
    }

    fn columns(self) -> (Option<u64>, Option<u64>) {
        if self.count == 0 { (None, None) } else { (Some(self.first), Some(self.count)) }
    }
}

/// That no unfinished job covers the claim `c`.
const FREE: &str = "NOT EXISTS (SELECT 1 FROM started s WHERE s.sub = ?1 AND s.seq = c.seq AND s.shared = 0)";

impl Tables<'_> {
    /// Ends a claim that has no outcome yet; tells whether it did.
    pub(super) fn end_claim(
        &mut self,
        sub: i64,
        seq: u64,
        run: RunId,
        ending: &Ending,
    ) -> Result<bool, Fault> {
        if self.run("DELETE FROM claim WHERE sub = ?1 AND seq = ?2", (sub, seq))? == 0 {
            return Ok(false);
        }
        let (first, count) = ending.published.columns();
        let job = ending.job.map(|job| *job.as_uuid().as_bytes());
        self.run(
            "INSERT INTO outcome VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (seq, sub, ending.code, &ending.reason, job, first, count),
        )?;
        self.index.pending.run_ended(run, |tally| *ended(tally, ending.code) += 1);
        Ok(true)
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
        let ending = Ending { code, reason, job: None, published: OffsetRange::default() };
        if self.end_claim(sub, seq, settled.run, &ending)? && self.index.last_pair > 0 {
            // A pair can form again only while both of its inputs are there.
            self.run(
                "UPDATE pair SET open = 0 WHERE open = 1
                     AND number IN (SELECT number FROM pair_member WHERE sub = ?1 AND seq = ?2)",
                (sub, seq),
            )?;
        }
        Ok(Few::new())
    }

    pub(super) fn remember_pair(&mut self, start: &Start, sub: i64, ending: &Ending) -> Result<(), Fault> {
        if ending.code == CANCELLED {
            return Ok(());
        }
        let (number, span) = (self.index.last_pair + 1, ending.published);
        let (job, dead) = (start.job.as_uuid(), ending.code == DEAD);
        let mut inputs: Vec<Offset> = start.members.iter().map(|member| member.offset).collect();
        inputs.sort_unstable();
        let inputs = serde_json::to_string(&inputs)?;
        self.run(
            "INSERT INTO pair VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7)",
            (number, sub, job.as_bytes(), dead, span.first, span.count, inputs),
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
            let id = run.as_uuid();
            let of_run = (sub, after.unwrap_or_default().get(), id.as_bytes());
            let cancelled = self.run(
                &format!(
                    "INSERT INTO outcome(seq, sub, code) SELECT c.seq, ?1, {CANCELLED}
                     FROM artifact a INDEXED BY artifact_run CROSS JOIN claim c ON c.sub = ?1 AND c.seq = a.seq
                     WHERE a.run = ?3 AND a.seq > ?2 AND {FREE}"
                ),
                of_run,
            )?;
            self.run(
                &format!(
                    "DELETE FROM claim AS c WHERE c.sub = ?1 AND {FREE} AND c.seq IN
                         (SELECT a.seq FROM artifact a INDEXED BY artifact_run WHERE a.run = ?3 AND a.seq > ?2)"
                ),
                of_run,
            )?;
            if cancelled > 0 && self.index.last_pair > 0 {
                self.run(
                    "UPDATE pair SET open = 0 WHERE open = 1 AND number IN (
                         SELECT m.number FROM artifact a INDEXED BY artifact_run
                         CROSS JOIN pair_member m ON m.sub = ?1 AND m.seq = a.seq WHERE a.run = ?3 AND a.seq > ?2
                     )",
                    of_run,
                )?;
            }
            let cancelled = cancelled as u64;
            self.index.pending.run_ended(run, |tally| tally.cancelled += cancelled);
            counts.push((*subscription, cancelled));
        }
        Ok(counts)
    }
}

/// The count of an outcome in a tally.
fn ended(tally: &mut Tally, code: i64) -> &mut u64 {
    match code {
        CONSUMED => &mut tally.consumed,
        EXPIRED => &mut tally.expired,
        DISCARDED => &mut tally.discarded,
        CANCELLED => &mut tally.cancelled,
        _ => &mut tally.dead,
    }
}
