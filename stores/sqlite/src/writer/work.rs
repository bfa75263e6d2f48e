//! Work: the start, the retries and the end of jobs.

use std::sync::Arc;

use volery_blackboard::job::Start;
use volery_blackboard::store::{Few, Finish, JobEnd, Stored};
use volery_blackboard::{JobId, Timestamp};

use super::index::OpenJob;
use super::outcome::{CANCELLED, CONSUMED, DEAD, Ending, published};
use super::tables::Tables;
use crate::block::{Jobs, PLACES, Progress, Taken};
use crate::fault::Fault;

/// Inputs of a job in a block with others. A job with more has a block of its own, which is not written again
/// whenever another one ends.
const MEMBERS_MAX: usize = 64;

impl Tables<'_> {
    pub(super) fn start(&mut self, start: &Arc<Start>) -> Result<Few<Stored>, Fault> {
        self.session.shared.map().subscription(start.subscription)?;
        if !self.index.jobs.contains_key(&start.job) {
            self.open_job(start, true)?;
            return Ok(Few::new());
        }
        let open = self.change_job(start.job)?;
        open.start = Arc::clone(start);
        (open.progress.until, open.progress.is_running) = (None, true);
        Ok(Few::new())
    }

    /// Adds a job. Its record is written at the end of the transaction, if the job is still open then.
    pub(super) fn open_job(&mut self, start: &Arc<Start>, is_running: bool) -> Result<(), Fault> {
        let map = self.session.shared.map();
        map.subscription(start.subscription).and_then(|_| map.agent(start.agent))?;
        let mut number = self.index.last_job + 1;
        self.index.last_job = number;
        if start.members.len() > MEMBERS_MAX {
            number = number.next_multiple_of(PLACES);
            self.index.last_job = number + PLACES - 1;
        }
        let (start, progress) = (Arc::clone(start), Progress { is_running, ..Progress::default() });
        let open = OpenJob { number, start, progress, is_stored: false, is_changed: false };
        let job = open.start.job;
        self.index.jobs.insert(job, open);
        self.change_job(job)?;
        Ok(())
    }

    /// Returns an open job, whose record is written anew at the end of the transaction.
    fn change_job(&mut self, job: JobId) -> Result<&mut OpenJob, Fault> {
        let unknown = || Fault::Refused(format!("job {job} is not open"));
        let open = self.index.jobs.get_mut(&job).ok_or_else(unknown)?;
        self.touched.set(true);
        if !std::mem::replace(&mut open.is_changed, true) {
            self.index.pending.jobs.push(job);
        }
        Ok(open)
    }

    pub(super) fn retry(
        &mut self,
        job: JobId,
        failures: u32,
        until: Timestamp,
        (at, error): (Timestamp, &[String]),
    ) -> Result<Few<Stored>, Fault> {
        let open = self.change_job(job)?;
        open.progress = Progress { failures, until: Some(until), is_running: false, ..open.progress };
        let start = Arc::clone(&open.start);
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
        self.change_job(job)?.progress.is_running = false;
        Ok(Few::new())
    }

    pub(super) fn finish(&mut self, finish: &mut Finish) -> Result<Few<Stored>, Fault> {
        let open = self.index.jobs.get(&finish.job);
        let has_failed = open.is_some_and(|open| open.progress.failures > 0);
        let start = finish.start.as_ref().or(open.map(|open| &open.start)).cloned();
        let start = start.ok_or_else(|| Fault::Refused(format!("job {} is not open", finish.job)))?;
        let sub = self.session.shared.map().subscription(start.subscription)?;
        let code = match &finish.end {
            JobEnd::Done => CONSUMED,
            JobEnd::Dead(_) => DEAD,
            JobEnd::Cancelled => CANCELLED,
        };
        if let JobEnd::Dead(death) = &finish.end {
            self.add_letter(&start, death)?;
        } else if has_failed {
            // A letter of the job, from before it was driven again, keeps its attempts.
            self.run(
                "DELETE FROM attempt WHERE job = ?1 AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.job = ?1)",
                [start.job.as_uuid().as_bytes()],
            )?;
        }
        let stored: Few<Stored> =
            finish.outputs.iter_mut().map(|output| self.publish(output)).collect::<Result<_, _>>()?;
        let published = published(&stored);
        if start.shared {
            self.remember_pair(&start, sub, code, published)?;
        } else {
            let taken = Some(Taken { job: start.job, published });
            let ending = Ending { code, reason: None, taken };
            // All inputs are of the job's run, unless it opened one of its own.
            let run = (!start.opens_run).then_some(start.run);
            for member in &start.members {
                self.end_claim(sub, member.offset.get(), run, &ending)?;
            }
        }
        self.touched.set(true);
        if let Some(open) = self.index.jobs.remove(&start.job)
            && open.is_stored
        {
            self.index.started.change(&self.session.conn, Jobs::key(open.number))?.take(open.number);
        }
        Ok(stored)
    }
}
