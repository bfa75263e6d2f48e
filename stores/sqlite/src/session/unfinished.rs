//! Unfinished work: claims in pages, their counts, pairs, and the inputs of jobs.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row};
use uuid::Uuid;
use volery_blackboard::claim::{Backlog, Claim, Claimed, LogEntry};
use volery_blackboard::job::{PairVerdict, Start};
use volery_blackboard::store::{Cursor, Unfinished};
use volery_blackboard::{Discard, Offset, RunId, SubscriptionIndex, Tally, Timestamp};

use super::Session;
use super::find::tally;
use crate::fault::Fault;
use crate::row;

/// That no unfinished job covers a claim. The jobs of pairs cover nothing.
const FREE: &str =
    "NOT EXISTS (SELECT 1 FROM started s WHERE s.sub = c.sub AND s.seq = c.seq AND s.shared = 0)";

impl Session<'_> {
    /// Returns the statement for a page of one subscription's claims: subscription, place, limit.
    pub(crate) fn claims_sql() -> String {
        format!(
            "SELECT c.seq, {}, a.run, a.at, r.workflow, r.matched, r.consumed, r.expired, r.discarded, r.cancelled, r.dead
             FROM claim c LEFT JOIN artifact a ON a.seq = c.seq LEFT JOIN run r ON r.run = a.run
             WHERE c.sub = ?1 AND c.seq > ?2 AND {FREE} ORDER BY c.seq LIMIT ?3",
            row::CLAIM
        )
    }

    /// Reads one page of claims, merged from the subscriptions' own orders.
    pub(crate) fn claims(
        &self,
        subscriptions: &[SubscriptionIndex],
        after: Option<Offset>,
        limit: usize,
    ) -> Result<Vec<Claimed>, Fault> {
        let map = self.shared.map();
        let mut found: BTreeMap<u64, (LogEntry, Tally, Vec<Claim>)> = BTreeMap::new();
        for index in subscriptions {
            let sub = map.subscription(*index)?;
            let mut statement = self.conn.prepare_cached(&Self::claims_sql())?;
            let mut rows = statement.query((sub, after.unwrap_or_default().get(), limit))?;
            while let Some(row) = rows.next()? {
                let seq: u64 = row.get(0)?;
                // Behind a full page nothing can come into it any more.
                if found.len() >= limit && found.last_key_value().is_some_and(|(last, _)| seq > *last) {
                    break;
                }
                let (published, tally, claim) = readable(row, (sub, seq), *index)?;
                found.entry(seq).or_insert_with(|| (published, tally, Vec::new())).2.push(claim);
            }
        }
        let first = found.into_values().take(limit);
        Ok(first
            .map(|(published, tally, mut claims)| {
                claims.sort_by_key(|claim| claim.subscription);
                Claimed { published: LogEntry { claims: claims.into(), ..published }, tally }
            })
            .collect())
    }

    /// Counts what [`Session::claims`] would read.
    pub(crate) fn backlog(&self) -> Result<Vec<Backlog>, Fault> {
        let mut all = Vec::new();
        for (subscription, sub) in self.shared.map().subscriptions() {
            let one = |sql: &str| -> Result<Option<u64>, Fault> {
                Ok(self.conn.prepare_cached(sql)?.query_row([sub], |row| row.get(0)).optional()?)
            };
            let claims = one("SELECT count(*) FROM claim WHERE sub = ?1")?.unwrap_or_default();
            let started =
                one("SELECT count(*) FROM started WHERE sub = ?1 AND shared = 0")?.unwrap_or_default();
            let end = |direction| {
                format!(
                    "SELECT c.seq FROM claim c WHERE c.sub = ?1 AND {FREE} ORDER BY c.seq {direction} LIMIT 1"
                )
            };
            if let (Some(first), Some(last)) = (one(&end("ASC"))?, one(&end("DESC"))?) {
                let (first, last) = (Offset::new(first), Offset::new(last));
                all.push(Backlog { subscription, count: claims.saturating_sub(started), first, last });
            }
        }
        Ok(all)
    }

    /// Reads the next slice of finished pairs.
    pub(crate) fn pairs(&self, after: u64, limit: usize) -> Result<(Vec<Unfinished>, Option<Cursor>), Fault> {
        let map = self.shared.map();
        let mut statement = self.conn.prepare_cached(
            "SELECT number, sub, inputs, dead FROM pair INDEXED BY pair_open
             WHERE open = 1 AND number > ?1 ORDER BY number LIMIT ?2",
        )?;
        let mut rows = statement.query((after, limit))?;
        let (mut pairs, mut next) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            next = Some(Cursor::Pairs(row.get(0)?));
            let pair = || -> Result<_, Fault> {
                let inputs: String = row.get(2)?;
                Ok((map.index_of(row.get(1)?), serde_json::from_str(&inputs)?, row.get(3)?))
            };
            match pair() {
                Ok((Some(subscription), inputs, dead)) => {
                    let verdict = if dead { PairVerdict::Dead } else { PairVerdict::Done };
                    pairs.push(Unfinished::Pair { subscription, inputs, verdict });
                }
                Ok((None, ..)) => {}
                // The pair forms again then, and what it publishes is there already, unless its id was
                // derived by an earlier build.
                Err(fault) => drop(fault.damage()?),
            }
        }
        Ok((pairs, next))
    }

    /// Reads the inputs of a job, with the job's claim on each.
    pub(crate) fn inputs(&self, start: &Start) -> Result<Vec<LogEntry>, Fault> {
        let sub = self.shared.map().subscription(start.subscription)?;
        let sql = format!(
            "SELECT {}, a.run, a.at, r.workflow
             FROM claim c LEFT JOIN artifact a ON a.seq = c.seq LEFT JOIN run r ON r.run = a.run
             WHERE c.sub = ?1 AND c.seq = ?2",
            row::CLAIM
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut inputs = Vec::with_capacity(start.members.len());
        for member in &start.members {
            let mut rows = statement.query((sub, member.offset.get()))?;
            if let Some(row) = rows.next()? {
                let (seq, subscription) = (member.offset.get(), start.subscription);
                let whole = row::claim(row, 0, (sub, seq), subscription)
                    .and_then(|claim| row::published(row, 9, seq, vec![claim]));
                // The job runs all the same: what its attempt cannot read either, it fails with.
                inputs.push(whole.or_else(|fault| damaged(row, 9, seq, subscription, fault))?);
            }
        }
        Ok(inputs)
    }
}

/// Reads a claim with its artifact. A damaged claim is refused for that, so that it keeps nobody from reading
/// what comes after it.
fn readable(
    row: &Row<'_>,
    (sub, seq): (i64, u64),
    subscription: SubscriptionIndex,
) -> Result<(LogEntry, Tally, Claim), Fault> {
    let whole = || {
        let claim = row::claim(row, 1, (sub, seq), subscription)?;
        Ok((row::published(row, 10, seq, Vec::new())?, tally(row, 13)?, claim))
    };
    whole().or_else(|fault| {
        let published = damaged(row, 10, seq, subscription, fault)?;
        let refused = published.claims[0].clone();
        // The counts of a run that is still known stay as they are.
        Ok((published, tally(row, 13).unwrap_or_default(), refused))
    })
}

/// The readable part of an artifact whose claim, or whose own row, is not as it was written. Its run, time
/// and workflow begin at column `first`. Any other fault stays one.
fn damaged(
    row: &Row<'_>,
    first: usize,
    seq: u64,
    subscription: SubscriptionIndex,
    fault: Fault,
) -> Result<LogEntry, Fault> {
    let cause = fault.damage()?;
    let run = row::run(row, first).unwrap_or_else(|_| RunId::from_uuid(Uuid::nil()));
    let at = row.get(first + 1).map(Timestamp::from_micros_since_epoch).unwrap_or_default();
    let workflow: String = row.get(first + 2).unwrap_or_default();
    let refused = Claim {
        subscription,
        side: 0,
        weight: 0,
        key: None,
        lane: None,
        event_time: None,
        visible_at: None,
        refused: Some(Box::new(Discard::Damaged(cause))),
        marks: None,
    };
    let offset = Offset::new(seq);
    Ok(LogEntry { offset, run, workflow: workflow.into(), at, claims: [refused].into() })
}
