//! Work: the start, the retries and the end of jobs.

use std::sync::Arc;

use volery_blackboard::job::Start;
use volery_blackboard::store::{Few, Finish, JobEnd, StoreError, Stored};
use volery_blackboard::{JobId, Timestamp};

use super::index::OpenJob;
use super::outcome::{CANCELLED, CONSUMED, DEAD, Ending, OffsetRange};
use super::tables::Tables;
use crate::fault::Fault;
use crate::row::JobParts;

impl Tables<'_> {
    pub(super) fn start(&mut self, start: &Arc<Start>) -> Result<Few<Stored>, Fault> {
        let sub = self.session.shared.map().subscription(start.subscription)?;
        let Some(open) = self.index.jobs.get_mut(&start.job) else {
            self.open_job(start, true)?;
            return Ok(Few::new());
        };
        (open.start, open.until) = (Arc::clone(start), None);
        self.run(
            "UPDATE started SET running = 1, until = NULL, attempt = ?3, failed = ?4, alone = ?5
             WHERE sub = ?1 AND job = ?2 AND number IS NOT NULL AND seq = ?6",
            (sub, start.job.as_uuid().as_bytes(), start.attempt, start.failures, start.alone, first(start)),
        )?;
        Ok(Few::new())
    }

    /// Adds a job. The row of its first input carries what belongs to the job.
    pub(super) fn open_job(&mut self, start: &Arc<Start>, running: bool) -> Result<(), Fault> {
        let map = self.session.shared.map();
        let (sub, agent) = (map.subscription(start.subscription)?, map.agent(start.agent)?);
        let number = self.index.last_job + 1;
        let job = start.job.as_uuid();
        for (order, member) in start.members.iter().enumerate() {
            let place = (member.offset.get(), member.side, member.group);
            if order > 0 {
                self.run(
                    "INSERT INTO started(sub, seq, job, ord, side, grp, shared) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    (sub, place.0, job.as_bytes(), order, place.1, place.2, start.shared),
                )?;
                continue;
            }
            let closed = start.closed.map(|closed| serde_json::to_string(&closed)).transpose()?;
            let parts = JobParts { owners: (sub, agent), number, start, closed: closed.as_deref() };
            let crc = parts.checksum();
            self.run(
                "INSERT INTO started VALUES
                     (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0, NULL, ?15, ?16, 0, 0, ?17)",
                rusqlite::params![
                    sub,
                    place.0,
                    job.as_bytes(),
                    place.1,
                    place.2,
                    start.shared,
                    number,
                    agent,
                    start.run.as_uuid().as_bytes(),
                    start.opens_run,
                    start.at.as_micros_since_epoch(),
                    closed,
                    start.attempt,
                    start.failures,
                    running,
                    start.alone,
                    crc,
                ],
            )?;
        }
        self.index.last_job = number;
        self.index.numbers.insert(number, start.job);
        let (start, failures, until) = (Arc::clone(start), 0, None);
        let open = OpenJob { number, start, failures, until, interruptions: 0, deaths_alone: 0 };
        self.index.jobs.insert(open.start.job, open);
        Ok(())
    }

    fn known(&mut self, job: JobId) -> Result<&mut OpenJob, Fault> {
        let unknown = || Fault::Refused(format!("job {job} is not open"));
        self.index.jobs.get_mut(&job).ok_or_else(unknown)
    }

    pub(super) fn retry(
        &mut self,
        job: JobId,
        failures: u32,
        until: Timestamp,
        (at, error): (Timestamp, &[String]),
    ) -> Result<Few<Stored>, Fault> {
        let open = self.known(job)?;
        (open.failures, open.until) = (failures, Some(until));
        let start = Arc::clone(&open.start);
        let sub = self.session.shared.map().subscription(start.subscription)?;
        self.run(
            "UPDATE started SET running = 0, failures = ?4, until = ?5, attempt = ?6
             WHERE sub = ?1 AND seq = ?2 AND job = ?3",
            (
                sub,
                first(&start),
                job.as_uuid().as_bytes(),
                failures,
                until.as_micros_since_epoch(),
                start.attempt,
            ),
        )?;
        self.record_attempt(&start, at, error)?;
        Ok(Few::new())
    }

    pub(super) fn record_attempt(&self, start: &Start, at: Timestamp, error: &[String]) -> Result<(), Fault> {
        self.run(
            "INSERT INTO attempt VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET at = excluded.at, error = excluded.error",
            (
                start.job.as_uuid().as_bytes(),
                start.attempt,
                at.as_micros_since_epoch(),
                serde_json::to_string(error)?,
            ),
        )?;
        Ok(())
    }

    pub(super) fn release(&mut self, job: JobId) -> Result<Few<Stored>, Fault> {
        let start = Arc::clone(&self.known(job)?.start);
        let sub = self.session.shared.map().subscription(start.subscription)?;
        self.run(
            "UPDATE started SET running = 0 WHERE sub = ?1 AND seq = ?2 AND job = ?3",
            (sub, first(&start), job.as_uuid().as_bytes()),
        )?;
        Ok(Few::new())
    }

    pub(super) fn finish(&mut self, finish: &mut Finish) -> Result<Few<Stored>, Fault> {
        let open = self.index.jobs.get(&finish.job);
        let record = open.map(|open| (open.number, open.failures > 0));
        let recorded = open.map(|open| &open.start);
        let Some(start) = finish.start.as_ref().or(recorded).cloned() else {
            return Err(Fault::Refused(format!("job {} is not open", finish.job)));
        };
        let sub = self.session.shared.map().subscription(start.subscription)?;
        let code = match &finish.end {
            JobEnd::Done => CONSUMED,
            JobEnd::Dead(_) => DEAD,
            JobEnd::Cancelled => CANCELLED,
        };
        if let JobEnd::Dead(death) = &finish.end {
            self.add_letter(&start, death)?;
        } else if record.is_some_and(|(_, failed)| failed) {
            // A letter of the job, from before it was driven again, keeps its attempts.
            self.run(
                "DELETE FROM attempt WHERE job = ?1 AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.job = ?1)",
                [start.job.as_uuid().as_bytes()],
            )?;
        }
        let stored: Few<Stored> =
            finish.outputs.iter_mut().map(|output| self.publish(output)).collect::<Result<_, _>>()?;
        let ending = Ending { code, reason: None, job: Some(start.job), published: OffsetRange::of(&stored) };
        if start.shared {
            self.remember_pair(&start, sub, &ending)?;
        }
        for member in &start.members {
            let seq = member.offset.get();
            if !start.shared {
                // All inputs are of the job's run, unless it opened one of its own.
                let run = if start.opens_run { self.run_of(seq)? } else { start.run };
                self.end_claim(sub, seq, run, &ending)?;
            }
            if record.is_some() {
                self.run(
                    "DELETE FROM started WHERE sub = ?1 AND seq = ?2 AND job = ?3",
                    (sub, seq, start.job.as_uuid().as_bytes()),
                )?;
            }
        }
        if let Some((number, _)) = record {
            self.index.jobs.remove(&start.job);
            self.index.numbers.remove(&number);
        }
        Ok(stored)
    }

    /// The run of an artifact.
    pub(super) fn run_of(&self, seq: u64) -> Result<volery_blackboard::RunId, Fault> {
        let mut statement = self.session.conn.prepare_cached("SELECT run FROM artifact WHERE seq = ?1")?;
        let mut rows = statement.query([seq])?;
        match rows.next()? {
            Some(row) => crate::row::run(row, 0),
            None => {
                let offset = volery_blackboard::Offset::new(seq);
                Err(StoreError::Missing { store: self.session.shared.place.name(), offset }.into())
            }
        }
    }
}

/// The place of a job's first input, whose row carries what belongs to the job.
fn first(start: &Start) -> u64 {
    start.members.first().map_or(0, |member| member.offset.get())
}
