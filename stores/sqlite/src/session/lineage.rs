//! Lineage: the causes and the consequences of an artifact.

use std::sync::Arc;

use rusqlite::OptionalExtension;
use volery_blackboard::store::{ClaimRecord, Lineage};
use volery_blackboard::{Artifact, ArtifactId, Offset, Outcome};

use super::Session;
use crate::fault::Fault;
use crate::row;

/// A claim with the file's id of its subscription.
struct Claimed {
    sub: i64,
    record: ClaimRecord,
}

impl Session<'_> {
    pub(crate) fn lineage(&self, id: ArtifactId) -> Result<Option<Lineage>, Fault> {
        let Some(artifact) = self.by_id(id)? else { return Ok(None) };
        let mut causes = Vec::with_capacity(artifact.causes().len());
        for cause in artifact.causes() {
            causes.extend(self.by_id(*cause)?);
        }
        let offset = artifact.offset();
        let mut claims = Vec::new();
        for claim in self.ended(offset)?.into_iter().chain(self.outstanding(offset)?) {
            let pairs = self.pairs_of(&claim, offset)?;
            if pairs.is_empty() {
                claims.push(claim.record);
            } else {
                claims.extend(pairs);
            }
        }
        Ok(Some(Lineage::new(artifact, causes, claims)))
    }

    fn by_id(&self, id: ArtifactId) -> Result<Option<Arc<Artifact>>, Fault> {
        let sql = format!("SELECT {} FROM artifact a WHERE a.id = ?1", row::ARTIFACT);
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([id.as_uuid().as_bytes()])?;
        rows.next()?.map(|row| row::artifact(self, row)).transpose()
    }

    fn ended(&self, offset: Offset) -> Result<Vec<Claimed>, Fault> {
        let mut statement = self.conn.prepare_cached(
            "SELECT o.sub, s.name, o.code, o.reason, o.job, o.first, o.count
             FROM outcome o JOIN subscription s ON s.id = o.sub WHERE o.seq = ?1",
        )?;
        let mut rows = statement.query([offset.get()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let outcome = Some(outcome(row.get(2)?, row.get::<_, Option<String>>(3)?)?);
            let job = if row.get_ref(4)?.as_blob_or_null().is_ok_and(|job| job.is_some()) {
                Some(row::job(row, 4)?)
            } else {
                None
            };
            let published = span(row.get(5)?, row.get(6)?);
            let record = ClaimRecord { subscription: row.get(1)?, outcome, job, published };
            found.push(Claimed { sub: row.get(0)?, record });
        }
        Ok(found)
    }

    fn outstanding(&self, offset: Offset) -> Result<Vec<Claimed>, Fault> {
        let mut statement = self.conn.prepare_cached(
            "SELECT s.id, s.name FROM subscription s
             WHERE EXISTS (SELECT 1 FROM claim c WHERE c.sub = s.id AND c.seq = ?1)",
        )?;
        let mut rows = statement.query([offset.get()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let sub: i64 = row.get(0)?;
            let mut started = self
                .conn
                .prepare_cached("SELECT job FROM started WHERE sub = ?1 AND seq = ?2 AND shared = 0")?;
            let job =
                started.query_row((sub, offset.get()), |row| Ok(row::job(row, 0))).optional()?.transpose()?;
            let record = ClaimRecord { subscription: row.get(1)?, outcome: None, job, published: Vec::new() };
            found.push(Claimed { sub, record });
        }
        Ok(found)
    }

    fn pairs_of(&self, claim: &Claimed, offset: Offset) -> Result<Vec<ClaimRecord>, Fault> {
        let mut statement = self.conn.prepare_cached(
            "SELECT p.job, p.first, p.count FROM pair_member m JOIN pair p ON p.number = m.number
             WHERE m.sub = ?1 AND m.seq = ?2 ORDER BY m.number",
        )?;
        let mut rows = statement.query((claim.sub, offset.get()))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let published = span(row.get(1)?, row.get(2)?);
            let job = Some(row::job(row, 0)?);
            found.push(ClaimRecord { job, published, ..claim.record.clone() });
        }
        Ok(found)
    }
}

fn span(first: Option<u64>, count: Option<u64>) -> Vec<Offset> {
    let (first, count) = (first.unwrap_or_default(), count.unwrap_or_default());
    (first..first + count).map(Offset::new).collect()
}

/// Reads an outcome: its number, and its reason if it has one.
fn outcome(code: i64, reason: Option<String>) -> Result<Outcome, Fault> {
    Ok(match (code, reason) {
        (_, Some(reason)) => serde_json::from_str(&reason)?,
        (1, None) => Outcome::Consumed,
        (4, None) => Outcome::Cancelled,
        (5, None) => Outcome::Dead,
        (other, None) => return Err(Fault::Damaged(None, format!("there is no outcome {other}"))),
    })
}
