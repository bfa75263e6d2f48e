//! Lineage: what led to an artifact, and what became of it.

use std::sync::Arc;

use rusqlite::OptionalExtension;
use volery_blackboard::store::{Fate, Lineage};
use volery_blackboard::{Artifact, ArtifactId, Offset, Outcome};

use super::Session;
use crate::fault::Fault;
use crate::row;

/// An ended claim as stored: subscription and its name, how it ended, and the pairs that it took part in.
struct Ended {
    sub: i64,
    name: String,
    outcome: Option<Outcome>,
    fate: Fate,
}

impl Session {
    pub(crate) fn lineage(&self, id: ArtifactId) -> Result<Option<Lineage>, Fault> {
        let Some(artifact) = self.by_id(id)? else { return Ok(None) };
        let mut causes = Vec::with_capacity(artifact.causes().len());
        for cause in artifact.causes() {
            causes.extend(self.by_id(*cause)?);
        }
        let offset = artifact.offset();
        let mut fates = Vec::new();
        for claim in self.ended(offset)?.into_iter().chain(self.outstanding(offset)?) {
            let pairs = self.pairs_of(&claim, offset)?;
            if pairs.is_empty() {
                fates.push(claim.fate);
            } else {
                fates.extend(pairs);
            }
        }
        Ok(Some(Lineage::new(artifact, causes, fates)))
    }

    fn by_id(&self, id: ArtifactId) -> Result<Option<Arc<Artifact>>, Fault> {
        let sql = format!("SELECT {} FROM artifact a WHERE a.id = ?1", row::ARTIFACT);
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([id.as_uuid().as_bytes()])?;
        rows.next()?.map(|row| row::artifact(self, row)).transpose()
    }

    fn ended(&self, offset: Offset) -> Result<Vec<Ended>, Fault> {
        let mut statement = self.conn.prepare_cached(
            "SELECT o.sub, s.name, o.code, o.reason, o.job, o.first, o.count
             FROM outcome o JOIN subscription s ON s.id = o.sub WHERE o.seq = ?1",
        )?;
        let mut rows = statement.query([offset.get()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(1)?;
            let outcome = Some(outcome(row.get(2)?, row.get::<_, Option<String>>(3)?)?);
            let job = if row.get_ref(4)?.as_blob_or_null().is_ok_and(|job| job.is_some()) {
                Some(row::job(row, 4)?)
            } else {
                None
            };
            let published = span(row.get(5)?, row.get(6)?);
            let fate = Fate::new(name.clone(), outcome.clone(), job, published);
            found.push(Ended { sub: row.get(0)?, name, outcome, fate });
        }
        Ok(found)
    }

    fn outstanding(&self, offset: Offset) -> Result<Vec<Ended>, Fault> {
        let mut statement = self.conn.prepare_cached(
            "SELECT s.id, s.name FROM subscription s
             WHERE EXISTS (SELECT 1 FROM claim c WHERE c.sub = s.id AND c.seq = ?1)",
        )?;
        let mut rows = statement.query([offset.get()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (sub, name): (i64, String) = (row.get(0)?, row.get(1)?);
            let mut started = self
                .conn
                .prepare_cached("SELECT job FROM started WHERE sub = ?1 AND seq = ?2 AND shared = 0")?;
            let job =
                started.query_row((sub, offset.get()), |row| Ok(row::job(row, 0))).optional()?.transpose()?;
            let fate = Fate::new(name.clone(), None, job, Vec::new());
            found.push(Ended { sub, name, outcome: None, fate });
        }
        Ok(found)
    }

    fn pairs_of(&self, claim: &Ended, offset: Offset) -> Result<Vec<Fate>, Fault> {
        let mut statement = self.conn.prepare_cached(
            "SELECT p.job, p.first, p.count FROM pair_member m JOIN pair p ON p.number = m.number
             WHERE m.sub = ?1 AND m.seq = ?2 ORDER BY m.number",
        )?;
        let mut rows = statement.query((claim.sub, offset.get()))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let published = span(row.get(1)?, row.get(2)?);
            let job = Some(row::job(row, 0)?);
            found.push(Fate::new(claim.name.clone(), claim.outcome.clone(), job, published));
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
