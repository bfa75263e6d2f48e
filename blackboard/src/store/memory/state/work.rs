//! Work in the memory store: jobs from their start to their end, pairs, and outcomes outside of jobs.
//!
//! No I/O, no clock.

use std::sync::Arc;

use super::{ClaimState, Entry, OffsetRange, State, conflict};
use crate::claim::Settled;
use crate::id::{JobId, Offset, RunId, SubscriptionIndex};
use crate::job::{PairVerdict, Start};
use crate::outcome::Outcome;
use crate::store::{FailedAttempt, Few, Finish, JobEnd, StoreError, Stored};
use crate::time::Timestamp;

/// A job that has no end.
pub(super) struct JobRecord {
    pub(super) number: u64,
    pub(super) start: Arc<Start>,
    pub(super) failures: u32,
    pub(super) until: Option<Timestamp>,
    /// An attempt was started and has not ended.
    pub(super) running: bool,
    pub(super) interruptions: u32,
    pub(super) deaths_alone: u32,
    pub(super) failed: Vec<FailedAttempt>,
}

/// A finished pair.
pub(super) struct PairRecord {
    pub(super) number: u64,
    pub(super) subscription: SubscriptionIndex,
    /// In ascending order.
    pub(super) inputs: Vec<Offset>,
    pub(super) verdict: PairVerdict,
    pub(super) published: OffsetRange,
    /// Whether it may form again: all of its inputs are open.
    pub(super) open: bool,
}

impl State {
    pub(super) fn start(&mut self, start: Arc<Start>) {
        if let Some(record) = self.jobs.get_mut(&start.job) {
            record.start = start;
            record.until = None;
            record.running = true;
            return;
        }
        self.open_job(start, true);
    }

    /// Adds a job, and hides its claims behind it.
    pub(super) fn open_job(&mut self, start: Arc<Start>, running: bool) {
        if !start.shared {
            for member in &start.members {
                let entry = self.entries.get_mut(member.offset);
                if let Some(claim) = entry.and_then(|entry| entry.claim_mut(start.subscription)) {
                    claim.job = Some(start.job);
                }
            }
        }
        self.jobs_started += 1;
        let record = JobRecord {
            number: self.jobs_started,
            failures: 0,
            until: None,
            start,
            running,
            interruptions: 0,
            deaths_alone: 0,
            failed: Vec::new(),
        };
        self.jobs.insert(record.start.job, record);
    }

    pub(super) fn retry(
        &mut self,
        job: JobId,
        failures: u32,
        until: Timestamp,
        failed: FailedAttempt,
    ) -> Result<Few<Stored>, StoreError> {
        let record = self.jobs.get_mut(&job).ok_or_else(|| not_open(job))?;
        (record.failures, record.until, record.running) = (failures, Some(until), false);
        record.failed.push(FailedAttempt { number: record.start.attempt, ..failed });
        Ok(Few::new())
    }

    pub(super) fn release(&mut self, job: JobId) -> Result<Few<Stored>, StoreError> {
        let record = self.jobs.get_mut(&job).ok_or_else(|| not_open(job))?;
        record.running = false;
        Ok(Few::new())
    }

    pub(super) fn interrupt_running(&mut self) {
        for record in self.jobs.values_mut().filter(|record| record.running) {
            record.running = false;
            record.interruptions += 1;
            record.deaths_alone += u32::from(record.start.alone);
        }
    }

    pub(super) fn finish(&mut self, finish: Finish) -> Result<Few<Stored>, StoreError> {
        let record = self.jobs.remove(&finish.job);
        let recorded = record.as_ref().map(|record| &record.start);
        let Some(start) = finish.start.or_else(|| recorded.cloned()) else {
            return Err(not_open(finish.job));
        };
        let outcome = match &finish.end {
            JobEnd::Done => Outcome::Consumed,
            JobEnd::Dead(_) => Outcome::Dead,
            JobEnd::Cancelled => Outcome::Cancelled,
        };
        if let JobEnd::Dead(death) = finish.end {
            self.add_letter(&start, record, *death);
        }
        let stored: Few<Stored> = finish.outputs.into_iter().map(|output| self.publish(output)).collect();
        let published = OffsetRange::of(&stored);
        if start.shared {
            self.remember_pair(&start, &outcome, published);
        } else {
            for member in &start.members {
                let by = Some((start.job, published));
                self.end_claim(start.subscription, member.offset, outcome.clone(), by);
            }
        }
        Ok(stored)
    }

    fn remember_pair(&mut self, start: &Start, outcome: &Outcome, published: OffsetRange) {
        let verdict = match outcome {
            Outcome::Consumed => PairVerdict::Done,
            Outcome::Dead => PairVerdict::Dead,
            _ => return,
        };
        for member in &start.members {
            self.pairs_of.entry((start.subscription, member.offset)).or_default().push(start.job);
        }
        self.pairs_finished += 1;
        let number = self.pairs_finished;
        let mut inputs: Vec<Offset> = start.members.iter().map(|member| member.offset).collect();
        inputs.sort_unstable();
        let (subscription, open) = (start.subscription, true);
        let record = PairRecord { number, subscription, inputs, verdict, published, open };
        self.pairs.insert(start.job, record);
    }

    pub(super) fn settle(&mut self, settled: Settled) {
        let Settled { subscription, offset, outcome, .. } = settled;
        self.end_claim(subscription, offset, outcome, None);
        // A pair can form again only while both of its inputs are there.
        if let Some(jobs) = self.pairs_of.get(&(subscription, offset)) {
            for job in jobs {
                if let Some(pair) = self.pairs.get_mut(job) {
                    pair.open = false;
                }
            }
        }
    }

    pub(super) fn forget_pairs(&mut self, entry: &Entry) {
        if self.pairs_of.is_empty() {
            return;
        }
        for claim in entry.claims.iter() {
            let of_claim = self.pairs_of.remove(&(claim.subscription, entry.artifact.offset()));
            for pair in of_claim.into_iter().flatten() {
                self.pairs.remove(&pair);
            }
        }
    }

    /// Gives a claim its outcome; `by` is the job that did it, with what it published.
    fn end_claim(
        &mut self,
        subscription: SubscriptionIndex,
        offset: Offset,
        outcome: Outcome,
        by: Option<(JobId, OffsetRange)>,
    ) {
        let Some(entry) = self.entries.get_mut(offset) else { return };
        let run = entry.run;
        let open = |claim: &&mut ClaimState| claim.outcome.is_none();
        let Some(claim) = entry.claim_mut(subscription).filter(open) else { return };
        if let Some(run) = self.runs.get_mut(run) {
            run.tally.count(&outcome);
        }
        claim.outcome = Some(outcome);
        if let Some((job, published)) = by {
            (claim.job, claim.published) = (Some(job), published);
        }
        entry.open -= 1;
        if entry.open == 0 {
            self.finished.push_back(offset);
        }
    }

    pub(super) fn cancel_claims(
        &mut self,
        run: RunId,
        behind: &[(SubscriptionIndex, Option<Offset>)],
    ) -> Vec<(SubscriptionIndex, u64)> {
        let offsets: Vec<Offset> = self.run(run).into_iter().flat_map(|run| run.offsets()).collect();
        let mut counts = Vec::with_capacity(behind.len());
        for (subscription, after) in behind {
            let mut count = 0;
            for offset in offsets.iter().filter(|offset| after.is_none_or(|after| **offset > after)) {
                let entry = self.entries.get_mut(*offset);
                let claim = entry.and_then(|entry| entry.claim_mut(*subscription));
                if claim.is_some_and(|claim| claim.is_free()) {
                    let (subscription, outcome) = (*subscription, Outcome::Cancelled);
                    self.settle(Settled { subscription, offset: *offset, run, side: 0, outcome });
                    count += 1;
                }
            }
            counts.push((*subscription, count));
        }
        counts
    }
}

fn not_open(job: JobId) -> StoreError {
    conflict(format!("job {job} is not open"))
}
