//! Damage: records of unfinished jobs that are not what was written. They are set aside when the store is
//! opened.
//!
//! A job whose record is damaged ends: its inputs become claims that are damaged, and are read and discarded
//! like any of these. A pair of an every-pair join forms again instead, because its inputs may be part of
//! others.

use std::collections::BTreeSet;

use volery_blackboard::Discard;
use volery_blackboard::store::Damage;

use super::tables::Tables;
use crate::fault::Fault;

/// A job whose record is damaged.
pub(super) struct Broken {
    /// The file's id of its subscription.
    pub(super) sub: i64,
    /// Its id in hexadecimal digits, whatever stands there.
    pub(super) job: String,
    pub(super) cause: String,
}

impl Tables<'_> {
    /// Ends the jobs whose records are damaged, and notes whatever else was found damaged.
    pub(super) fn set_aside(&mut self) -> Result<(), Fault> {
        let mut broken = std::mem::take(&mut self.index.broken);
        broken.extend(self.headless(&broken)?);
        let (mut damage, marks) = (self.session.all_notes()?.1, self.session.all_marks()?.1);
        damage.extend(marks);
        for job in broken {
            damage.push(self.set_job_aside(&job)?);
        }
        self.session.shared.set_damage(damage);
        Ok(())
    }

    /// Inputs of jobs whose first one, with what belongs to the job, is not there.
    fn headless(&self, known: &[Broken]) -> Result<Vec<Broken>, Fault> {
        let map = self.session.shared.map();
        let mut statement =
            self.session.conn.prepare("SELECT sub, hex(job), number IS NOT NULL FROM started")?;
        let mut rows = statement.query([])?;
        let (mut all, mut whole) = (BTreeSet::new(), BTreeSet::new());
        while let Some(row) = rows.next()? {
            let (sub, job, is_first): (i64, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if map.index_of(sub).is_none() {
                continue;
            }
            if is_first {
                whole.insert((sub, job.clone()));
            }
            all.insert((sub, job));
        }
        let is_known =
            |sub: i64, job: &str| known.iter().any(|other| (other.sub, other.job.as_str()) == (sub, job));
        let lost = all.difference(&whole).filter(|(sub, job)| !is_known(*sub, job));
        let cause = || "its first input is missing".to_owned();
        Ok(lost.map(|(sub, job)| Broken { sub: *sub, job: job.clone(), cause: cause() }).collect())
    }

    fn set_job_aside(&self, Broken { sub, job, cause }: &Broken) -> Result<Damage, Fault> {
        let what = format!("the record of job {}", job.to_lowercase());
        let shared = "SELECT max(shared) FROM started WHERE sub = ?1 AND hex(job) = ?2";
        let shared: Option<i64> = self.session.conn.query_row(shared, (sub, job), |row| row.get(0))?;
        let is_pair = shared.is_some_and(|shared| shared != 0);
        if !is_pair {
            let refused = Discard::Damaged(format!("{what}, which took it, is damaged: {cause}"));
            self.run(
                "UPDATE claim SET refused = ?3, crc = NULL WHERE sub = ?1
                     AND seq IN (SELECT seq FROM started WHERE sub = ?1 AND hex(job) = ?2)",
                (sub, job, serde_json::to_string(&refused)?),
            )?;
        }
        self.run("DELETE FROM started WHERE sub = ?1 AND hex(job) = ?2", (sub, job))?;
        let done =
            if is_pair { "the pair forms again" } else { "the job is over and its inputs are discarded" };
        Ok(Damage { what, cause: cause.clone(), done: done.to_owned() })
    }
}
