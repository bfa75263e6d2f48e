//! The shelf: what the memory store holds, and what a write does to it.
//!
//! Plain data under one lock, which [`super::Memory`] owns. No I/O, no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::super::{
    Catalogue, Cursor, DeadLetter, Few, Finish, Group, GroupResult, JobEnd, Publish, StoreError, Stored,
    Unfinished,
};
use crate::artifact::Artifact;
use crate::effect::{PairVerdict, Published, Resumed, Settled, Start};
use crate::filter::{Filter, Page};
use crate::id::{ArtifactId, JobId, Offset, RunId, SubscriptionIndex, Tenant};
use crate::matching::Match;
use crate::outcome::{Outcome, Tally};
use crate::time::Timestamp;

mod pruning;

/// Dead letters kept; older ones are dropped first. Each holds its error texts.
const DEAD_LETTERS_MAX: usize = 10_000;

/// Lists of places are cleared of what is gone when they are this many times longer than what is left, and this much
/// more. Less would clear them all the time, more would only take memory.
const SPARSE_FACTOR: usize = 4;
const SLACK: usize = 4_096;

#[derive(Default)]
pub(super) struct Shelf {
    pub(super) catalogue: Catalogue,
    /// Artifacts by offset; the first slot's offset is `base + 1`.
    slots: VecDeque<Option<Slot>>,
    base: u64,
    /// Slots in use among them.
    live: usize,
    /// Artifacts at or before `base` that are still there: a few that are open for long must not keep the slots of all that
    /// came after them.
    old: BTreeMap<Offset, Slot>,
    ids: FxHashMap<ArtifactId, Offset>,
    idempotency: HashMap<(Tenant, Arc<str>), Offset>,
    runs: FxHashMap<RunId, RunRecord>,
    jobs: FxHashMap<JobId, JobRecord>,
    /// The same by number.
    numbers: BTreeMap<u64, JobId>,
    jobs_started: u64,
    pairs: FxHashMap<JobId, PairRecord>,
    /// The pairs that an input was part of.
    pairs_of: FxHashMap<(SubscriptionIndex, Offset), Vec<JobId>>,
    dead: VecDeque<DeadLetter>,
    dead_count: u64,
    /// Offsets of finished artifacts in the order in which they finished.
    finished: VecDeque<Offset>,
    pub(super) closed: bool,
}

pub(super) struct Slot {
    artifact: Arc<Artifact>,
    workflow: Arc<str>,
    matches: Arc<[Match]>,
    /// What became of each match, in the same order.
    claims: Few<Claim>,
    open: usize,
}

#[derive(Clone, Copy, Default)]
struct Claim {
    job: Option<JobId>,
    ended: bool,
}

#[derive(Default)]
struct RunRecord {
    tally: Tally,
    /// In log order; those that were dropped are skipped when read.
    offsets: Vec<Offset>,
    kept: usize,
}

struct JobRecord {
    number: u64,
    start: Arc<Start>,
    failures: u32,
    until: Option<Timestamp>,
}

struct PairRecord {
    subscription: SubscriptionIndex,
    verdict: PairVerdict,
}

impl Shelf {
    pub(super) fn write(&mut self, group: Group) -> GroupResult {
        match group {
            Group::Publish(artifacts) => {
                GroupResult::Done(artifacts.into_iter().map(|artifact| self.publish(artifact)).collect())
            }
            Group::Start(start) => {
                self.start(start);
                GroupResult::Done(Few::new())
            }
            Group::Retry { job, failures, until, error: _ } => match self.jobs.get_mut(&job) {
                Some(record) => {
                    (record.failures, record.until) = (failures, Some(until));
                    GroupResult::Done(Few::new())
                }
                None => refused(job),
            },
            Group::Finish(finish) => self.finish(finish),
            Group::Settle(settled) => {
                self.settle(&settled);
                GroupResult::Done(Few::new())
            }
        }
    }

    fn publish(&mut self, publish: Publish) -> Stored {
        let Publish { artifact, workflow, matches } = publish;
        let key = artifact.idempotency_key().map(|key| (artifact.tenant(), Arc::clone(key)));
        let first = self.ids.get(&artifact.id()).or_else(|| self.idempotency.get(key.as_ref()?));
        if let Some(first) = first.and_then(|offset| self.slot(*offset)) {
            let first = &first.artifact;
            return Stored::Repeat { id: first.id(), offset: first.offset(), run: first.run() };
        }
        let offset = Offset::new(self.base + self.slots.len() as u64 + 1);
        let artifact = Artifact::at_offset(artifact, offset);
        self.ids.insert(artifact.id(), offset);
        if let Some(key) = key {
            self.idempotency.insert(key, offset);
        }
        let run = self.runs.entry(artifact.run()).or_default();
        run.tally.matched += matches.len() as u64;
        run.offsets.push(offset);
        run.kept += 1;
        let open = matches.len();
        let claims = smallvec::smallvec![Claim::default(); open];
        let slot = Slot { artifact: Arc::clone(&artifact), workflow, matches, claims, open };
        self.slots.push_back(Some(slot));
        self.live += 1;
        if open == 0 {
            self.finished.push_back(offset);
        }
        Stored::New(artifact)
    }

    fn start(&mut self, start: Arc<Start>) {
        if let Some(record) = self.jobs.get_mut(&start.job) {
            record.start = start;
            record.until = None;
            return;
        }
        if !start.shared {
            for member in &start.members {
                if let Some(claim) = self.claim(start.subscription, member.offset) {
                    claim.job = Some(start.job);
                }
            }
        }
        self.jobs_started += 1;
        self.numbers.insert(self.jobs_started, start.job);
        let record = JobRecord { number: self.jobs_started, failures: 0, until: None, start };
        self.jobs.insert(record.start.job, record);
    }

    fn finish(&mut self, finish: Finish) -> GroupResult {
        let Some(JobRecord { start, number, .. }) = self.jobs.remove(&finish.job) else {
            return refused(finish.job);
        };
        self.numbers.remove(&number);
        let outcome = match &finish.end {
            JobEnd::Done => Outcome::Consumed,
            JobEnd::Dead { .. } => Outcome::Dead,
            JobEnd::Cancelled => Outcome::Cancelled,
        };
        if start.shared {
            self.remember_pair(&start, &outcome);
        } else {
            for member in &start.members {
                self.end_claim(start.subscription, member.offset, &outcome);
            }
        }
        if let JobEnd::Dead { attempts, error, at } = finish.end {
            self.bury(&start, attempts, error, at);
        }
        GroupResult::Done(finish.outputs.into_iter().map(|output| self.publish(output)).collect())
    }

    pub(super) fn tally(&self, run: RunId) -> Tally {
        self.runs.get(&run).map(|run| run.tally).unwrap_or_default()
    }

    pub(super) fn dead_letters(&self, after: u64, limit: usize) -> Vec<DeadLetter> {
        self.dead.iter().filter(|letter| letter.number > after).take(limit).cloned().collect()
    }

    /// Entries of the lists that are kept per place in the log.
    #[cfg(test)]
    pub(super) fn places_held(&self) -> usize {
        self.slots.len() + self.old.len() + self.runs.values().map(|run| run.offsets.len()).sum::<usize>()
    }

    fn remember_pair(&mut self, start: &Start, outcome: &Outcome) {
        let verdict = match outcome {
            Outcome::Consumed => PairVerdict::Done,
            Outcome::Dead => PairVerdict::Dead,
            _ => return,
        };
        for member in &start.members {
            self.pairs_of.entry((start.subscription, member.offset)).or_default().push(start.job);
        }
        self.pairs.insert(start.job, PairRecord { subscription: start.subscription, verdict });
    }

    fn bury(&mut self, start: &Start, attempts: u32, error: Vec<String>, at: Timestamp) {
        self.dead_count += 1;
        if self.dead.len() == DEAD_LETTERS_MAX {
            self.dead.pop_front();
        }
        self.dead.push_back(DeadLetter {
            number: self.dead_count,
            job: start.job,
            agent: self.catalogue.agents.get(start.agent.at()).cloned().unwrap_or_default(),
            run: start.run,
            inputs: start.members.iter().map(|member| member.offset).collect(),
            attempts,
            error,
            at,
        });
    }

    fn settle(&mut self, settled: &Settled) {
        self.end_claim(settled.subscription, settled.offset, &settled.outcome);
        // A pair is remembered only while both of its inputs may be formed into it again.
        for pair in self.pairs_of.remove(&(settled.subscription, settled.offset)).into_iter().flatten() {
            self.pairs.remove(&pair);
        }
    }

    fn end_claim(&mut self, subscription: SubscriptionIndex, offset: Offset, outcome: &Outcome) {
        let Some(claim) = self.claim(subscription, offset) else { return };
        if std::mem::replace(&mut claim.ended, true) {
            return;
        }
        claim.job = None;
        let Some(slot) = self.slot_mut(offset) else { return };
        slot.open -= 1;
        let (open, run) = (slot.open, slot.artifact.run());
        if open == 0 {
            self.finished.push_back(offset);
        }
        if let Some(run) = self.runs.get_mut(&run) {
            run.tally.count(outcome);
        }
    }

    /// Takes out what is finished and beyond the limit, for the caller to drop outside of the lock.
    pub(super) fn forget_beyond(&mut self, keep: usize) -> Vec<Slot> {
        let mut gone = Vec::new();
        while self.finished.len() > keep {
            let Some(offset) = self.finished.pop_front() else { break };
            gone.extend(self.forget(offset));
        }
        self.shift();
        gone
    }

    /// Takes out one artifact that is finished.
    fn forget(&mut self, offset: Offset) -> Option<Slot> {
        let slot = self.take_slot(offset)?;
        self.ids.remove(&slot.artifact.id());
        if let Some(key) = slot.artifact.idempotency_key() {
            self.idempotency.remove(&(slot.artifact.tenant(), Arc::clone(key)));
        }
        self.forget_in_run(slot.artifact.run());
        Some(slot)
    }

    /// Gives back the places at the front that nothing is left of.
    fn shift(&mut self) {
        while let Some(front) = self.slots.front() {
            let sparse = self.slots.len() > SPARSE_FACTOR * self.live + SLACK;
            if front.is_some() && !sparse {
                break;
            }
            self.base += 1;
            if let Some(slot) = self.slots.pop_front().flatten() {
                self.live -= 1;
                self.old.insert(Offset::new(self.base), slot);
            }
        }
    }

    fn forget_in_run(&mut self, run: RunId) {
        let Some(record) = self.runs.get_mut(&run) else { return };
        record.kept -= 1;
        if record.kept == 0 {
            self.runs.remove(&run);
        } else if record.offsets.len() > SPARSE_FACTOR * record.kept + SLACK {
            let mut offsets = std::mem::take(&mut record.offsets);
            offsets.retain(|offset| self.slot(*offset).is_some());
            if let Some(record) = self.runs.get_mut(&run) {
                record.offsets = offsets;
            }
        }
    }

    fn take_slot(&mut self, offset: Offset) -> Option<Slot> {
        let Some(index) = self.index(offset) else { return self.old.remove(&offset) };
        let slot = self.slots.get_mut(index)?.take()?;
        self.live -= 1;
        Some(slot)
    }

    /// Every place that may hold an artifact, after one place.
    fn places(&self, after: Offset) -> impl DoubleEndedIterator<Item = Offset> {
        let from = after.get().max(self.base) + 1;
        let recent = (from..=self.base + self.slots.len() as u64).map(Offset::new);
        self.old.range(after.next()..).map(|(offset, _)| *offset).chain(recent)
    }

    pub(super) fn artifact(&self, offset: Offset) -> Result<Arc<Artifact>, StoreError> {
        let missing = || StoreError::Missing { store: "memory".to_owned(), offset };
        self.slot(offset).map(|slot| Arc::clone(&slot.artifact)).ok_or_else(missing)
    }

    pub(super) fn find(&self, filter: &Filter) -> Page {
        let after = filter.after.map(Offset::get);
        let wanted = |offset: &Offset| match (filter.newest_first, after) {
            (_, None) => true,
            (false, Some(after)) => offset.get() > after,
            (true, Some(after)) => offset.get() < after,
        };
        let of_run = filter.run.map(|run| self.runs.get(&run).map_or(&[][..], |run| &run.offsets));
        let from = if filter.newest_first { None } else { filter.after };
        let mut all = self.places(from.unwrap_or_default());
        let mut listed = of_run.unwrap_or_default().iter().copied();
        let offsets: &mut dyn DoubleEndedIterator<Item = Offset> =
            if of_run.is_some() { &mut listed } else { &mut all };
        let accepted = |offset: Offset| {
            let artifact = &self.slot(offset)?.artifact;
            filter.accepts(artifact).then(|| Arc::clone(artifact))
        };
        let limit = filter.page_size();
        let mut found: Vec<Arc<Artifact>> = if filter.newest_first {
            offsets.rev().filter(wanted).filter_map(accepted).take(limit + 1).collect()
        } else {
            offsets.filter(wanted).filter_map(accepted).take(limit + 1).collect()
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.offset());
        Page::new(found, next)
    }

    pub(super) fn unfinished(&self, after: Cursor, limit: usize) -> (Vec<Unfinished>, Option<Cursor>) {
        if after.claims.is_none() {
            let later = self.numbers.range(after.jobs + 1..).take(limit);
            let jobs: Vec<&JobRecord> = later.filter_map(|(_, job)| self.jobs.get(job)).collect();
            if let Some(last) = jobs.last() {
                let cursor = Cursor { jobs: last.number, claims: None };
                return (jobs.into_iter().map(|job| self.resumed(job)).collect(), Some(cursor));
            }
            let pairs = self.pairs.iter().map(|(job, pair)| Unfinished::Pair {
                subscription: pair.subscription,
                job: *job,
                verdict: pair.verdict,
            });
            let cursor = Cursor { jobs: after.jobs, claims: Some(Offset::START) };
            return (pairs.collect(), Some(cursor));
        }
        let places = self.places(after.claims.unwrap_or_default());
        let found: Vec<Published> =
            places.filter_map(|offset| self.open_claims(offset)).take(limit).collect();
        let cursor = found.last().map(|last| Cursor { jobs: after.jobs, claims: Some(last.offset) });
        (found.into_iter().map(Unfinished::Claims).collect(), cursor)
    }

    /// The claims on an artifact that have no outcome and that no unfinished job covers.
    fn open_claims(&self, offset: Offset) -> Option<Published> {
        let slot = self.slot(offset)?;
        let both = slot.matches.iter().zip(&slot.claims);
        let matches: Vec<Match> = both
            .filter(|(_, state)| !state.ended && state.job.is_none())
            .map(|(claim, _)| claim.clone())
            .collect();
        (!matches.is_empty()).then(|| published(slot, matches.into()))
    }

    fn resumed(&self, job: &JobRecord) -> Unfinished {
        let subscription = job.start.subscription;
        let input = |offset: Offset| {
            let slot = self.slot(offset)?;
            let claim = slot.matches.iter().find(|claim| claim.subscription == subscription)?;
            Some(published(slot, Arc::from([claim.clone()])))
        };
        Unfinished::Job(Resumed {
            inputs: job.start.members.iter().filter_map(|member| input(member.offset)).collect(),
            start: Start::clone(&job.start),
            failures: job.failures,
            until: job.until,
        })
    }

    fn claim(&mut self, subscription: SubscriptionIndex, offset: Offset) -> Option<&mut Claim> {
        let slot = self.slot_mut(offset)?;
        let index = slot.matches.binary_search_by_key(&subscription, |claim| claim.subscription).ok()?;
        slot.claims.get_mut(index)
    }

    fn index(&self, offset: Offset) -> Option<usize> {
        usize::try_from(offset.get().checked_sub(self.base + 1)?).ok()
    }

    fn slot(&self, offset: Offset) -> Option<&Slot> {
        match self.index(offset) {
            Some(index) => self.slots.get(index)?.as_ref(),
            None => self.old.get(&offset),
        }
    }

    fn slot_mut(&mut self, offset: Offset) -> Option<&mut Slot> {
        match self.index(offset) {
            Some(index) => self.slots.get_mut(index)?.as_mut(),
            None => self.old.get_mut(&offset),
        }
    }
}

fn published(slot: &Slot, matches: Arc<[Match]>) -> Published {
    Published {
        offset: slot.artifact.offset(),
        run: slot.artifact.run(),
        workflow: Arc::clone(&slot.workflow),
        at: slot.artifact.published_at(),
        matches,
    }
}

fn refused(job: JobId) -> GroupResult {
    GroupResult::Refused(StoreError::Conflict {
        store: "memory".to_owned(),
        cause: format!("job {job} is not open"),
    })
}
