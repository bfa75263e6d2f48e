//! The contents of the memory store, and the change that each write makes.
//!
//! Plain data under one lock, which [`super::Memory`] owns. No I/O, no clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::super::{
    Catalogue, FailedAttempt, Few, Filing, First, NewArtifact, Note, StoreError, Stored, Subject, Write,
    Written,
};
use crate::artifact::Artifact;
use crate::claim::Claim;
use crate::id::{ArtifactId, JobId, Offset, RunId, SubscriptionIndex, Tenant};
use crate::marks::Marks;
use crate::outcome::{Outcome, Tally};

mod letters;
mod listing;
mod pruning;
mod work;

use letters::LetterRecord;
use work::{JobRecord, PairRecord};

/// Lists of places are cleared of what is gone when they are this many times longer than what is left, and
/// this much more. Less would clear them all the time, more would only take memory.
const SPARSE_FACTOR: usize = 4;
const SLACK: usize = 4_096;

#[derive(Default)]
pub(super) struct State {
    pub(super) catalogue: Catalogue,
    /// Artifacts by offset; the first one has the offset `base + 1`.
    entries: VecDeque<Option<Entry>>,
    base: u64,
    /// Slots in use among them.
    live: usize,
    /// Artifacts at or before `base` that are still there: a few that are open for long must not keep the
    /// entries of all that came after them.
    old: BTreeMap<Offset, Entry>,
    ids: FxHashMap<ArtifactId, Offset>,
    idempotency: HashMap<(Tenant, Arc<str>), Offset>,
    runs: FxHashMap<RunId, RunRecord>,
    jobs: FxHashMap<JobId, JobRecord>,
    /// The same by number.
    numbers: BTreeMap<u64, JobId>,
    jobs_started: u64,
    /// Pairs that are finished, for as long as their inputs are kept.
    pairs: FxHashMap<JobId, PairRecord>,
    /// Those of them that may form again, by number.
    open_pairs: BTreeMap<u64, JobId>,
    pairs_finished: u64,
    /// The pairs that an input was part of.
    pairs_of: FxHashMap<(SubscriptionIndex, Offset), Vec<JobId>>,
    letters: VecDeque<LetterRecord>,
    dead_count: u64,
    notes: BTreeMap<(Subject, &'static str), Note>,
    marks: FxHashMap<SubscriptionIndex, Marks>,
    /// Offsets of finished artifacts in the order in which they finished.
    finished: VecDeque<Offset>,
    pub(super) closed: bool,
}

pub(super) struct Entry {
    artifact: Arc<Artifact>,
    workflow: Arc<str>,
    claims: Arc<[Claim]>,
    /// The outcome of each claim, in the same order.
    states: Few<ClaimState>,
    open: usize,
}

#[derive(Default)]
struct ClaimState {
    /// The job that took it.
    job: Option<JobId>,
    outcome: Option<Outcome>,
    /// The artifacts that its job published.
    published: OffsetRange,
    /// How far the log had come before it, for subscriptions that have marks.
    marks: Option<Box<Marks>>,
}

/// Artifacts that follow each other in the log.
#[derive(Clone, Copy, Default)]
struct OffsetRange {
    first: Offset,
    count: u32,
}

impl OffsetRange {
    fn of(stored: &[Stored]) -> Self {
        let mut span = Self::default();
        for stored in stored {
            if let Stored::New(artifact) = stored {
                span.first = if span.count == 0 { artifact.offset() } else { span.first };
                span.count += 1;
            }
        }
        span
    }

    fn offsets(self) -> Vec<Offset> {
        (self.first.get()..).take(self.count as usize).map(Offset::new).collect()
    }
}

#[derive(Default)]
struct RunRecord {
    tally: Tally,
    /// In log order; those that were dropped are skipped when read.
    offsets: Vec<Offset>,
    kept: usize,
}

impl State {
    pub(super) fn write(&mut self, group: Write) -> Written {
        let written = match group {
            Write::Publish(artifacts) => {
                Ok(artifacts.into_iter().map(|artifact| self.publish(artifact)).collect())
            }
            Write::Start(start) => {
                self.start(start);
                Ok(Few::new())
            }
            Write::Retry { job, failures, until, at, error } => {
                self.retry(job, failures, until, FailedAttempt { number: 0, at, error })
            }
            Write::Release(job) => self.release(job),
            Write::Finish(finish) => self.finish(finish),
            Write::Settle(settled) => {
                self.settle(&settled);
                Ok(Few::new())
            }
            Write::Note(note) => {
                self.note(note);
                Ok(Few::new())
            }
            Write::CancelClaims { run, behind } => {
                return Written::Cancelled(self.cancel_claims(run, &behind));
            }
            Write::Redrive(redrive) => match self.redrive(redrive) {
                Ok(resumed) => return Written::Redriven(Box::new(resumed)),
                Err(error) => Err(error),
            },
            Write::Discard { letter, at, reason } => self.discard(letter, at, reason),
        };
        written.map_or_else(Written::Refused, Written::Done)
    }

    /// Begins a life: what was running was cut short by the end of the life before.
    pub(super) fn open(&mut self, catalogue: Catalogue) {
        self.catalogue = catalogue;
        self.interrupt_running();
    }

    fn note(&mut self, note: Note) {
        let (subject, topic) = (note.subject(), note.topic());
        match note.filing() {
            Filing::Keep => drop(self.notes.insert((subject, topic), note)),
            Filing::Remove => drop(self.notes.remove(&(subject, topic))),
            Filing::RemoveAll => self.notes.retain(|(other, _), _| *other != subject),
        }
    }

    fn publish(&mut self, publish: NewArtifact) -> Stored {
        let NewArtifact { artifact, workflow, claims } = publish;
        let key = artifact.idempotency_key().map(|key| (artifact.tenant(), Arc::clone(key)));
        let first = self.ids.get(&artifact.id()).or_else(|| self.idempotency.get(key.as_ref()?));
        if let Some(first) = first.and_then(|offset| self.entry(*offset)) {
            let first = &first.artifact;
            let first = First { id: first.id(), offset: first.offset(), run: first.run() };
            return Stored::Repeat(Box::new(first));
        }
        let offset = Offset::new(self.base + self.entries.len() as u64 + 1);
        let artifact = Artifact::at_offset(artifact, offset);
        self.ids.insert(artifact.id(), offset);
        if let Some(key) = key {
            self.idempotency.insert(key, offset);
        }
        let run = self.runs.entry(artifact.run()).or_default();
        run.tally.matched += claims.len() as u64;
        run.offsets.push(offset);
        run.kept += 1;
        let open = claims.len();
        let states = claims
            .iter()
            .map(|claim| ClaimState { marks: self.note_marks(claim), ..ClaimState::default() })
            .collect();
        let entry = Entry { artifact: Arc::clone(&artifact), workflow, claims, states, open };
        self.entries.push_back(Some(entry));
        self.live += 1;
        if open == 0 {
            self.finished.push_back(offset);
        }
        Stored::New(artifact)
    }

    /// Moves the marks of a claim's subscription, and returns how they stood before.
    fn note_marks(&mut self, claim: &Claim) -> Option<Box<Marks>> {
        if !self.catalogue.marked.contains(&claim.subscription) {
            return None;
        }
        let marks = self.marks.entry(claim.subscription).or_default();
        let before = marks.clone();
        marks.note(claim);
        Some(Box::new(before))
    }

    /// Entries of the lists that are kept per place in the log.
    #[cfg(test)]
    pub(super) fn places_held(&self) -> usize {
        self.entries.len() + self.old.len() + self.runs.values().map(|run| run.offsets.len()).sum::<usize>()
    }

    /// Takes out what is finished and beyond the limit, for the caller to drop outside of the lock.
    pub(super) fn forget_beyond(&mut self, keep: usize) -> Vec<Entry> {
        let mut gone = Vec::new();
        while self.finished.len() > keep {
            let Some(offset) = self.finished.pop_front() else { break };
            gone.extend(self.forget(offset));
        }
        self.shift();
        gone
    }

    /// Takes out one artifact that is finished.
    fn forget(&mut self, offset: Offset) -> Option<Entry> {
        let entry = self.take_entry(offset)?;
        self.forget_pairs(&entry);
        self.ids.remove(&entry.artifact.id());
        if let Some(key) = entry.artifact.idempotency_key() {
            self.idempotency.remove(&(entry.artifact.tenant(), Arc::clone(key)));
        }
        self.forget_in_run(entry.artifact.run());
        Some(entry)
    }

    /// Gives back the places at the front that nothing is left of.
    fn shift(&mut self) {
        while let Some(front) = self.entries.front() {
            let sparse = self.entries.len() > SPARSE_FACTOR * self.live + SLACK;
            if front.is_some() && !sparse {
                break;
            }
            self.base += 1;
            if let Some(entry) = self.entries.pop_front().flatten() {
                self.live -= 1;
                self.old.insert(Offset::new(self.base), entry);
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
            offsets.retain(|offset| self.entry(*offset).is_some());
            if let Some(record) = self.runs.get_mut(&run) {
                record.offsets = offsets;
            }
        }
    }

    fn take_entry(&mut self, offset: Offset) -> Option<Entry> {
        let Some(index) = self.index(offset) else { return self.old.remove(&offset) };
        let entry = self.entries.get_mut(index)?.take()?;
        self.live -= 1;
        Some(entry)
    }

    /// Every place that may hold an artifact, after one place.
    fn places(&self, after: Offset) -> impl DoubleEndedIterator<Item = Offset> {
        let from = after.get().max(self.base) + 1;
        let recent = (from..=self.base + self.entries.len() as u64).map(Offset::new);
        self.old.range(after.next()..).map(|(offset, _)| *offset).chain(recent)
    }

    pub(super) fn artifact(&self, offset: Offset) -> Result<Arc<Artifact>, StoreError> {
        let missing = || StoreError::Missing { store: "memory".to_owned(), offset };
        self.entry(offset).map(|entry| Arc::clone(&entry.artifact)).ok_or_else(missing)
    }

    fn claim(&mut self, subscription: SubscriptionIndex, offset: Offset) -> Option<&mut ClaimState> {
        let entry = self.entry_mut(offset)?;
        let index = entry.claims.binary_search_by_key(&subscription, |claim| claim.subscription).ok()?;
        entry.states.get_mut(index)
    }

    fn index(&self, offset: Offset) -> Option<usize> {
        usize::try_from(offset.get().checked_sub(self.base + 1)?).ok()
    }

    fn entry(&self, offset: Offset) -> Option<&Entry> {
        match self.index(offset) {
            Some(index) => self.entries.get(index)?.as_ref(),
            None => self.old.get(&offset),
        }
    }

    fn entry_mut(&mut self, offset: Offset) -> Option<&mut Entry> {
        match self.index(offset) {
            Some(index) => self.entries.get_mut(index)?.as_mut(),
            None => self.old.get_mut(&offset),
        }
    }
}

fn conflict(cause: String) -> StoreError {
    StoreError::Conflict { store: "memory".to_owned(), cause }
}
