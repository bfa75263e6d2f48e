//! Lineage: the causes and the consequences of an artifact.

use std::sync::Arc;

use rusqlite::OptionalExtension;
use volery_blackboard::job::Start;
use volery_blackboard::store::{ClaimRecord, Lineage};
use volery_blackboard::{Artifact, ArtifactId, JobId, Offset, Outcome};

use super::Session;
use crate::block::{Claims, Found, JobRecord, OffsetRange, Outcomes};
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
        let seq = offset.get();
        let mut found = Vec::new();
        for key in self.outcome_keys(seq)? {
            let (outcomes, sub): (Outcomes, _) = (self.block(key)?, Outcomes::subscription(key));
            let code = outcomes.code(seq);
            if code == 0 {
                continue;
            }
            let mut reason =
                self.conn.prepare_cached("SELECT value FROM reason WHERE seq = ?1 AND sub = ?2")?;
            let reason = reason.query_row((seq, sub), |row| row.get::<_, String>(0)).optional()?;
            let taken = outcomes.taken(seq);
            let record = ClaimRecord {
                subscription: self.subscription(sub)?,
                outcome: Some(outcome(code, reason)?),
                job: taken.map(|taken| taken.job),
                published: taken.into_iter().flat_map(|taken| taken.published.offsets()).collect(),
            };
            found.push(Claimed { sub, record });
        }
        Ok(found)
    }

    fn outstanding(&self, offset: Offset) -> Result<Vec<Claimed>, Fault> {
        let seq = offset.get();
        let mut statement = self.conn.prepare_cached("SELECT id, name FROM subscription")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let sub: i64 = row.get(0)?;
            if self.block::<Claims>(Claims::key(sub, seq))?.has(seq) {
                let (subscription, job) = (row.get(1)?, self.job_of(sub, offset)?);
                let record = ClaimRecord { subscription, outcome: None, job, published: Vec::new() };
                found.push(Claimed { sub, record });
            }
        }
        Ok(found)
    }

    /// The unfinished job that covers a claim.
    fn job_of(&self, sub: i64, offset: Offset) -> Result<Option<JobId>, Fault> {
        let mut found = None;
        self.each_job(|_, job| {
            let covers = |job: &JobRecord<Start>| {
                job.sub == sub
                    && !job.start.shared
                    && job.start.members.iter().any(|member| member.offset == offset)
            };
            if let Found::Job(_, job) = job {
                found = found.or(Some(job).filter(covers).map(|job| job.start.job));
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn subscription(&self, id: i64) -> Result<String, Fault> {
        let mut statement = self.conn.prepare_cached("SELECT name FROM subscription WHERE id = ?1")?;
        Ok(statement.query_row([id], |row| row.get(0))?)
    }

    fn pairs_of(&self, claim: &Claimed, offset: Offset) -> Result<Vec<ClaimRecord>, Fault> {
        let mut statement = self.conn.prepare_cached(
            "SELECT p.job, p.first, p.count FROM pair_member m JOIN pair p ON p.number = m.number
             WHERE m.sub = ?1 AND m.seq = ?2 ORDER BY m.number",
        )?;
        let mut rows = statement.query((claim.sub, offset.get()))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let published = OffsetRange { first: row.get(1)?, count: row.get(2)? }.offsets().collect();
            let job = Some(row::job(row, 0)?);
            found.push(ClaimRecord { job, published, ..claim.record.clone() });
        }
        Ok(found)
    }
}

/// Reads an outcome: its number, and its reason if it has one.
fn outcome(code: u8, reason: Option<String>) -> Result<Outcome, Fault> {
    Ok(match (code, reason) {
        (_, Some(reason)) => serde_json::from_str(&reason)?,
        (1, None) => Outcome::Consumed,
        (4, None) => Outcome::Cancelled,
        (5, None) => Outcome::Dead,
        (other, None) => return Err(Fault::Damaged(None, format!("there is no outcome {other}"))),
    })
}
