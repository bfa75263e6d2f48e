//! The in-memory store: the reference for what a store means, and the choice when nothing needs to survive.
//!
//! Everything is lost with the process. It survives the curator, so that a restarted board replays from it. Finished
//! artifacts beyond a limit are dropped, oldest first. No I/O, no clock.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use super::{
    Answer, Batch, Catalogue, Commit, Cursor, DeadLetter, Few, Finish, Group, GroupResult, JobEnd, Publish,
    Read, Store, StoreError, Stored, Unfinished,
};
use crate::artifact::Artifact;
use crate::effect::{PairVerdict, Published, Resumed, Settled, Start};
use crate::filter::{Filter, Page};
use crate::id::{ArtifactId, JobId, Offset, RunId, SubscriptionIndex, Tenant};
use crate::matching::Match;
use crate::outcome::{Outcome, Tally};
use crate::time::Timestamp;

/// How many finished artifacts are kept unless told otherwise: about 10 MiB of small ones, which a processor's cache
/// still covers in good part. A tenth would make queries forget at once; ten times as many cost every publish half as
/// much again in cache misses.
const KEEP_DEFAULT: usize = 10_000;

/// Dead letters kept; older ones are dropped first. Each holds its error texts.
const DEAD_LETTERS_MAX: usize = 10_000;

/// Places of dropped artifacts that a run's list may hold before it is cleared of them. Large enough to make clearing
/// rare, small enough not to matter.
const OFFSETS_SLACK: usize = 4_096;

/// A store in memory.
pub struct Memory {
    shelf: Mutex<Shelf>,
    keep: usize,
}

impl Memory {
    /// Returns an empty store that keeps the newest 10,000 finished artifacts.
    #[must_use]
    pub fn new() -> Self {
        Self { shelf: Mutex::new(Shelf::default()), keep: KEEP_DEFAULT }
    }

    /// Keeps this many finished artifacts. Unfinished ones are always kept.
    #[must_use]
    pub fn keep(self, finished: usize) -> Self {
        Self { keep: finished, ..self }
    }

    fn shelf(&self) -> Result<MutexGuard<'_, Shelf>, StoreError> {
        // A panic while the lock was held would be a bug in this file; the data is plain and every write is complete
        // before the next begins, so it stays readable.
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.closed { Err(StoreError::Closed { store: self.name() }) } else { Ok(shelf) }
    }

    fn answer<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Shelf) -> Result<T, StoreError>,
    ) -> Answer<'_, T> {
        let result = self.shelf().and_then(|mut shelf| read(&mut shelf));
        Box::pin(ready(result))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Store for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn open(&self, catalogue: Catalogue) -> Answer<'_, ()> {
        self.answer(|shelf| {
            shelf.catalogue = catalogue;
            Ok(())
        })
    }

    fn commit(&self, batch: Batch) -> Commit {
        Commit::Done(self.shelf().map(|mut shelf| {
            let results = batch.groups.into_iter().map(|group| shelf.write(group)).collect();
            shelf.forget_beyond(self.keep);
            results
        }))
    }

    fn read(&self, offsets: &[Offset]) -> Read {
        Read::Done(self.shelf().and_then(|shelf| match offsets {
            [only] => shelf.artifact(*only).map(|artifact| Arc::from([artifact])),
            several => several.iter().map(|offset| shelf.artifact(*offset)).collect(),
        }))
    }

    fn find<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Page> {
        self.answer(|shelf| Ok(shelf.find(filter)))
    }

    fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)> {
        self.answer(|shelf| Ok(shelf.unfinished(after, limit)))
    }

    fn tally(&self, run: RunId) -> Answer<'_, Tally> {
        self.answer(|shelf| Ok(shelf.runs.get(&run).map(|run| run.tally).unwrap_or_default()))
    }

    fn dead_letters(&self, after: u64, limit: usize) -> Answer<'_, Vec<DeadLetter>> {
        self.answer(|shelf| {
            Ok(shelf.dead.iter().filter(|letter| letter.number > after).take(limit).cloned().collect())
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        self.answer(|shelf| {
            shelf.closed = true;
            Ok(())
        })
    }
}

#[derive(Default)]
struct Shelf {
    catalogue: Catalogue,
    /// Artifacts by offset; the first slot's offset is `base + 1`.
    /// Boxed, so that an empty one behind an artifact that is held for long takes eight bytes.
    slots: VecDeque<Option<Box<Slot>>>,
    base: u64,
    ids: FxHashMap<ArtifactId, Offset>,
    idempotency: HashMap<(Tenant, Arc<str>), Offset>,
    runs: FxHashMap<RunId, RunRecord>,
    jobs: FxHashMap<JobId, JobRecord>,
    jobs_started: u64,
    pairs: FxHashMap<JobId, PairRecord>,
    /// The pairs that an input was part of.
    pairs_of: FxHashMap<(SubscriptionIndex, Offset), Vec<JobId>>,
    dead: VecDeque<DeadLetter>,
    dead_count: u64,
    /// Offsets of finished artifacts in the order in which they finished.
    finished: VecDeque<Offset>,
    closed: bool,
}

struct Slot {
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
    fn write(&mut self, group: Group) -> GroupResult {
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
        self.slots.push_back(Some(Box::new(slot)));
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
        let record = JobRecord { number: self.jobs_started, failures: 0, until: None, start };
        self.jobs.insert(record.start.job, record);
    }

    fn finish(&mut self, finish: Finish) -> GroupResult {
        let Some(JobRecord { start, .. }) = self.jobs.remove(&finish.job) else {
            return refused(finish.job);
        };
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

    fn forget_beyond(&mut self, keep: usize) {
        while self.finished.len() > keep {
            let Some(offset) = self.finished.pop_front() else { break };
            let index = self.index(offset);
            let Some(slot) = index.and_then(|index| self.slots.get_mut(index)).and_then(Option::take) else {
                continue;
            };
            self.ids.remove(&slot.artifact.id());
            if let Some(key) = slot.artifact.idempotency_key() {
                self.idempotency.remove(&(slot.artifact.tenant(), Arc::clone(key)));
            }
            if let Some(run) = self.runs.get_mut(&slot.artifact.run()) {
                run.kept -= 1;
                if run.offsets.len() > 2 * run.kept + OFFSETS_SLACK {
                    let gone = run.offsets.partition_point(|offset| offset.get() <= self.base);
                    run.offsets.drain(..gone);
                }
                if run.kept == 0 {
                    self.runs.remove(&slot.artifact.run());
                }
            }
        }
        while matches!(self.slots.front(), Some(None)) {
            self.slots.pop_front();
            self.base += 1;
        }
    }

    fn artifact(&self, offset: Offset) -> Result<Arc<Artifact>, StoreError> {
        let missing = || StoreError::Missing { store: "memory".to_owned(), offset };
        self.slot(offset).map(|slot| Arc::clone(&slot.artifact)).ok_or_else(missing)
    }

    fn find(&self, filter: &Filter) -> Page {
        let after = filter.after.map(Offset::get);
        let wanted = |offset: &Offset| match (filter.newest_first, after) {
            (_, None) => true,
            (false, Some(after)) => offset.get() > after,
            (true, Some(after)) => offset.get() < after,
        };
        let all;
        let of_run = filter.run.map(|run| self.runs.get(&run).map_or(&[][..], |run| &run.offsets));
        let offsets: &mut dyn DoubleEndedIterator<Item = Offset> = match of_run {
            Some(offsets) => &mut offsets.iter().copied(),
            None => {
                all = self.base + 1..=self.base + self.slots.len() as u64;
                &mut all.map(Offset::new)
            }
        };
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

    fn unfinished(&self, after: Cursor, limit: usize) -> (Vec<Unfinished>, Option<Cursor>) {
        if after.claims.is_none() {
            let mut jobs: Vec<&JobRecord> =
                self.jobs.values().filter(|job| job.number > after.jobs).collect();
            jobs.sort_by_key(|job| job.number);
            jobs.truncate(limit);
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
        let from = after.claims.unwrap_or_default().get().max(self.base) + 1;
        let offsets = (from..=self.base + self.slots.len() as u64).map(Offset::new);
        let found: Vec<Published> =
            offsets.filter_map(|offset| self.open_claims(offset)).take(limit).collect();
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
        self.slots.get(self.index(offset)?)?.as_deref()
    }

    fn slot_mut(&mut self, offset: Offset) -> Option<&mut Slot> {
        let index = self.index(offset)?;
        self.slots.get_mut(index)?.as_deref_mut()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_store_conforms() {
        crate::store::conformance::block_on(crate::store::conformance::check(&|| Arc::new(Memory::new())));
    }
}
