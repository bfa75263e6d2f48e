//! The contents of the memory store, and the change that each write makes.
//!
//! Plain data under one lock, which [`super::Memory`] owns. No I/O, no clock.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::super::{
    Catalogue, FailedAttempt, Few, Filing, First, NewArtifact, Note, StoreError, Stored, Subject, Write,
    Written,
};
use crate::artifact::Artifact;
use crate::claim::Claim;
use crate::id::{ArtifactId, JobId, Offset, RunId, RunIndex, SubscriptionIndex, Tenant};
use crate::marks::Marks;
use crate::outcome::Tally;
use crate::slab::Slab;

mod entries;
mod letters;
mod listing;
mod pruning;
mod work;

use entries::{ClaimState, Entries, OffsetRange};
use letters::LetterRecord;
use work::{JobRecord, PairRecord};

pub(super) use entries::Entry;

/// Lists of places are cleared of what is gone when they are this many times longer than what is left, and
/// this much more. Less would clear them all the time, more would only take memory.
const SPARSE_FACTOR: usize = 4;
const SLACK: usize = 4_096;

#[derive(Default)]
pub(super) struct State {
    pub(super) catalogue: Catalogue,
    entries: Entries,
    ids: FxHashMap<ArtifactId, Offset>,
    idempotency: HashMap<(Tenant, Arc<str>), Offset>,
    runs: Slab<RunIndex, RunRecord>,
    /// Where the runs are.
    run_indices: FxHashMap<RunId, RunIndex>,
    jobs: FxHashMap<JobId, JobRecord>,
    jobs_started: u64,
    /// Pairs that are finished, for as long as their inputs are kept.
    pairs: FxHashMap<JobId, PairRecord>,
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

struct RunRecord {
    id: RunId,
    workflow: Arc<str>,
    tally: Tally,
    /// The first artifact, and those that followed in log order: in most runs none or one. Those that were
    /// dropped are skipped when read.
    first: Offset,
    others: Few<Offset>,
    kept: usize,
}

impl RunRecord {
    /// Every place that may hold an artifact of the run, in log order.
    fn offsets(&self) -> impl DoubleEndedIterator<Item = Offset> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
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
            Write::Retry { job, start, failures, until, at, error } => {
                start.into_iter().for_each(|start| self.start(start));
                self.retry(job, failures, until, FailedAttempt { number: 0, at, error })
            }
            Write::Release(job) => self.release(job),
            Write::Finish(finish) => self.finish(finish),
            Write::Settle(settled) => {
                self.settle(settled);
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
        let offset = self.entries.next();
        let first = match self.ids.entry(artifact.id()) {
            MapEntry::Occupied(first) => Some(*first.get()),
            MapEntry::Vacant(id) => match key.as_ref().and_then(|key| self.idempotency.get(key)) {
                Some(first) => Some(*first),
                None => {
                    id.insert(offset);
                    None
                }
            },
        };
        if let Some(first) = first.and_then(|first| self.entries.get(first)) {
            let first = &first.artifact;
            let first = First { id: first.id(), offset: first.offset(), run: first.run() };
            return Stored::Repeat(Box::new(first));
        }
        let artifact = Artifact::at_offset(artifact, offset);
        if let Some(key) = key {
            self.idempotency.insert(key, offset);
        }
        let open = claims.len();
        let run = self.add_to_run(artifact.run(), workflow, offset, open);
        let states = claims
            .iter()
            .map(|claim| ClaimState { marks: self.note_marks(claim), ..ClaimState::default() })
            .collect();
        self.entries.push(Entry { artifact: Arc::clone(&artifact), claims, states, open, run });
        if open == 0 {
            self.finished.push_back(offset);
        }
        Stored::New(artifact)
    }

    /// Counts an artifact for its run, which begins with its first one; returns the place of the run.
    fn add_to_run(&mut self, id: RunId, workflow: Arc<str>, offset: Offset, claims: usize) -> RunIndex {
        let index = match self.run_indices.entry(id) {
            MapEntry::Occupied(index) => *index.get(),
            MapEntry::Vacant(place) => {
                let tally = Tally { matched: claims as u64, ..Tally::default() };
                let run = RunRecord { id, workflow, tally, first: offset, others: Few::new(), kept: 1 };
                return *place.insert(self.runs.insert(run));
            }
        };
        if let Some(run) = self.runs.get_mut(index) {
            run.tally.matched += claims as u64;
            run.others.push(offset);
            run.kept += 1;
        }
        index
    }

    fn run(&self, id: RunId) -> Option<&RunRecord> {
        self.runs.get(*self.run_indices.get(&id)?)
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
        self.entries.len() + self.runs.values().map(|run| 1 + run.others.len()).sum::<usize>()
    }

    /// Takes out what is finished and beyond the limit, for the caller to drop outside of the lock.
    pub(super) fn forget_beyond(&mut self, keep: usize) -> Vec<Entry> {
        let mut gone = Vec::new();
        while self.finished.len() > keep {
            let Some(offset) = self.finished.pop_front() else { break };
            gone.extend(self.forget(offset));
        }
        self.entries.shift();
        gone
    }

    /// Takes out one artifact that is finished.
    fn forget(&mut self, offset: Offset) -> Option<Entry> {
        let entry = self.entries.take(offset)?;
        self.forget_pairs(&entry);
        self.ids.remove(&entry.artifact.id());
        if let Some(key) = entry.artifact.idempotency_key() {
            self.idempotency.remove(&(entry.artifact.tenant(), Arc::clone(key)));
        }
        self.forget_in_run(entry.run);
        Some(entry)
    }

    fn forget_in_run(&mut self, index: RunIndex) {
        let Some(record) = self.runs.get_mut(index) else { return };
        record.kept -= 1;
        if record.kept == 0 {
            self.run_indices.remove(&record.id);
            self.runs.discard(index);
        } else if record.others.len() > SPARSE_FACTOR * record.kept + SLACK {
            record.others.retain(|offset| self.entries.get(*offset).is_some());
        }
    }

    pub(super) fn artifact(&self, offset: Offset) -> Result<Arc<Artifact>, StoreError> {
        let missing = || StoreError::Missing { store: "memory".to_owned(), offset };
        self.entries.get(offset).map(|entry| Arc::clone(&entry.artifact)).ok_or_else(missing)
    }
}

fn conflict(cause: String) -> StoreError {
    StoreError::Conflict { store: "memory".to_owned(), cause }
}
