//! Retention: the finished artifacts, and the dead letters that are over, beyond the bounds of a policy. The
//! writer removes them.
//!
//! The search runs beside the writer, so that it holds up nobody; the writer looks again at each one.

use rusqlite::params_from_iter;
use rusqlite::types::Value;
use volery_blackboard::Timestamp;
use volery_blackboard::store::{Bounds, Retention};

use super::Session;
use crate::block::Claims;
use crate::fault::Fault;
use crate::row;

/// That nothing about an artifact is outstanding. A job, or a pair that may form again, leaves a claim on
/// each input.
pub(crate) fn finished() -> String {
    format!("NOT EXISTS (SELECT 1 FROM subscription s CROSS JOIN claim c ON {})", Claims::OF_ARTIFACT)
}

/// Artifacts under the same bounds, as a condition.
struct Share {
    kinds: String,
    values: Vec<Value>,
    bounds: Bounds,
}

/// Returns the places of at most `limit` artifacts that are to go, oldest first, and whether there are more.
pub(crate) fn doomed(
    session: &Session,
    policy: &Retention,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<u64>, bool), Fault> {
    let mut found = Vec::new();
    for share in session.shares(policy)? {
        let bounds = share.bounds;
        if let Some(age) = bounds.age_max {
            let before = now.before(age).as_micros_since_epoch();
            found.extend(session.oldest(&share, Some(before), limit + 1)?);
        }
        let excess = session.excess(&share)?;
        if excess > 0 {
            let some = usize::try_from(excess).unwrap_or(usize::MAX).min(limit + 1);
            found.extend(session.oldest(&share, None, some)?);
        }
    }
    found.sort_unstable();
    found.dedup();
    let more = found.len() > limit;
    found.truncate(limit);
    Ok((found, more))
}

/// Returns the numbers of at most `limit` dead letters that are to go, those decided first first, and whether
/// there are more.
pub(crate) fn doomed_letters(
    session: &Session,
    policy: &Retention,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<u64>, bool), Fault> {
    if policy.keeps_letters() {
        return Ok((Vec::new(), false));
    }
    let (open, before) = (session.open_jobs()?, policy.letters_age_max.map(|age| now.before(age)));
    let sql = "SELECT number, decided, job FROM dead INDEXED BY dead_decided WHERE state <> 0 ORDER BY decided, number";
    let mut statement = session.conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut over = Vec::new();
    while let Some(row) = rows.next()? {
        // The job of a letter that was driven again may be under way; with inputs replaced it is another job.
        if !row::job(row, 2).is_ok_and(|job| open.contains(&job)) {
            over.push((row.get(0)?, Timestamp::from_micros_since_epoch(row.get(1)?)));
        }
    }
    let excess = policy.letters_count_max.map_or(0, |max| (over.len() as u64).saturating_sub(max));
    let is_old = |decided| before.is_some_and(|before| decided < before);
    let doomed = (0..).zip(over).filter(|(order, (_, decided))| *order < excess || is_old(*decided));
    let mut doomed: Vec<u64> = doomed.map(|(_, (number, _))| number).take(limit + 1).collect();
    let more = doomed.len() > limit;
    doomed.truncate(limit);
    Ok((doomed, more))
}

impl Session<'_> {
    /// Every kind with bounds of its own, then all others together; those without a bound are left out.
    fn shares(&self, policy: &Retention) -> Result<Vec<Share>, Fault> {
        let mut shares = Vec::new();
        let mut own = Vec::new();
        for (kind, bounds) in &policy.per_kind {
            let Some(id) = self.name_id(kind)? else { continue };
            own.push(Value::from(id));
            shares.push(Share { kinds: "a.kind = ?".to_owned(), values: vec![id.into()], bounds: *bounds });
        }
        let places = vec!["?"; own.len()].join(", ");
        let kinds = format!("a.kind NOT IN ({places})");
        shares.push(Share { kinds, values: own, bounds: policy.general() });
        shares.retain(|share| !share.bounds.is_none());
        Ok(shares)
    }

    /// The oldest finished artifacts of a share.
    fn oldest(&self, share: &Share, before: Option<i64>, limit: usize) -> Result<Vec<u64>, Fault> {
        let mut values = share.values.clone();
        let aged = if let Some(before) = before {
            values.push(before.into());
            "AND a.at < ?"
        } else {
            ""
        };
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let sql = format!(
            "SELECT a.seq FROM artifact a NOT INDEXED WHERE {} {aged} AND {} ORDER BY a.seq LIMIT ?",
            share.kinds,
            finished()
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        Ok(statement.query_map(params_from_iter(values), |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// How many finished artifacts of a share are too many, by number or by bytes.
    fn excess(&self, share: &Share) -> Result<u64, Fault> {
        let one = |select: &str| -> Result<u64, Fault> {
            let sql = format!("SELECT {select} FROM artifact a WHERE {} AND {}", share.kinds, finished());
            let mut statement = self.conn.prepare_cached(&sql)?;
            Ok(statement.query_row(params_from_iter(share.values.iter()), |row| row.get(0))?)
        };
        let mut excess = 0;
        if let Some(count_max) = share.bounds.count_max {
            excess = one("count(*)")?.saturating_sub(count_max);
        }
        if let Some(bytes_max) = share.bounds.bytes_max {
            excess = excess.max(self.excess_by_bytes(share, bytes_max)?);
        }
        Ok(excess)
    }

    /// Walks from the newest back until the bytes are used up; what is older is too much.
    fn excess_by_bytes(&self, share: &Share, bytes_max: u64) -> Result<u64, Fault> {
        let sql = format!(
            "SELECT octet_length(a.payload) FROM artifact a NOT INDEXED WHERE {} AND {} ORDER BY a.seq DESC",
            share.kinds,
            finished()
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(share.values.iter()))?;
        let (mut bytes, mut excess) = (0_u64, 0);
        while let Some(row) = rows.next()? {
            bytes = bytes.saturating_add(row.get::<_, u64>(0)?);
            excess += u64::from(bytes > bytes_max);
        }
        Ok(excess)
    }
}
