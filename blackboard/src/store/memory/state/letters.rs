//! Dead letters of the memory store: adding, listing, driving again, discarding.
//!
//! No I/O, no clock.

use std::sync::Arc;

use super::work::JobRecord;
use super::{State, conflict};
use crate::artifact::Artifact;
use crate::id::{Offset, SubscriptionIndex};
use crate::job::{Resumed, Start};
use crate::outcome::Outcome;
use crate::store::{
    DeadFilter, DeadLetter, DeadState, Death, FailedAttempt, Few, Inspected, Redrive, Retention, StoreError,
    Stored,
};
use crate::time::Timestamp;

/// Dead letters kept; older ones are dropped first. Each holds its error texts.
const DEAD_LETTERS_MAX: usize = 10_000;

pub(super) struct LetterRecord {
    letter: DeadLetter,
    start: Arc<Start>,
    failed: Vec<FailedAttempt>,
}

impl State {
    pub(super) fn add_letter(&mut self, start: &Arc<Start>, job: Option<JobRecord>, death: Death) {
        let mut failed = job.map(|job| job.failed).unwrap_or_default();
        let Death { attempts, error, at } = death;
        self.dead_count += 1;
        if self.letters.len() == DEAD_LETTERS_MAX {
            self.letters.pop_front();
        }
        failed.push(FailedAttempt { number: start.attempt, at, error: error.clone() });
        let inputs: Vec<Offset> = start.members.iter().map(|member| member.offset).collect();
        let mut kinds: Vec<String> = Vec::new();
        for kind in
            inputs.iter().filter_map(|offset| self.entries.get(*offset)).map(|entry| entry.artifact.kind())
        {
            if !kinds.iter().any(|known| known == kind.name()) {
                kinds.push(kind.name().to_owned());
            }
        }
        let letter = DeadLetter {
            number: self.dead_count,
            job: start.job,
            agent: self.catalogue.agents.get(start.agent.at()).cloned().unwrap_or_default(),
            subscription: self
                .catalogue
                .subscriptions
                .get(start.subscription.at())
                .cloned()
                .unwrap_or_default(),
            run: start.run,
            inputs,
            kinds,
            attempts,
            error,
            at,
            state: DeadState::Open,
        };
        self.letters.push_back(LetterRecord { letter, start: Arc::clone(start), failed });
    }

    pub(in crate::store::memory) fn dead_letters(&self, filter: &DeadFilter) -> Vec<DeadLetter> {
        let letters = self.letters.iter().map(|record| &record.letter);
        let wanted = letters.filter(|letter| letter.number > filter.after && filter.accepts(letter));
        wanted.take(filter.page_size()).cloned().collect()
    }

    pub(in crate::store::memory) fn dead_letter(&self, number: u64) -> Option<Inspected> {
        let record = &self.letters[self.letter_index(number)?];
        let inputs = record.letter.inputs.iter().filter_map(|offset| self.artifact(*offset).ok()).collect();
        Some(Inspected { letter: record.letter.clone(), inputs, failed: record.failed.clone() })
    }

    fn letter_index(&self, number: u64) -> Option<usize> {
        self.letters.iter().position(|record| record.letter.number == number)
    }

    fn open_letter(&self, number: u64) -> Result<usize, StoreError> {
        let index =
            self.letter_index(number).ok_or_else(|| conflict(format!("there is no dead letter {number}")))?;
        match &self.letters[index].letter.state {
            DeadState::Open => Ok(index),
            state => Err(conflict(format!("dead letter {number} is not open: {state:?}"))),
        }
    }

    pub(super) fn discard(
        &mut self,
        number: u64,
        at: Timestamp,
        reason: String,
    ) -> Result<Few<Stored>, StoreError> {
        let index = self.open_letter(number)?;
        self.letters[index].letter.state = DeadState::Discarded { at, reason };
        Ok(Few::new())
    }

    pub(super) fn redrive(&mut self, redrive: Redrive) -> Result<Resumed, StoreError> {
        let index = self.open_letter(redrive.letter)?;
        let start = Arc::clone(&self.letters[index].start);
        for member in &start.members {
            self.artifact(member.offset)?;
        }
        redrive.check(&start).map_err(conflict)?;
        let Redrive { at, edits, .. } = redrive;
        if let Some((_, edit)) = edits.iter().find(|(_, edit)| self.is_known(&edit.artifact)) {
            return Err(conflict(format!("artifact {} is there already", edit.artifact.id())));
        }
        let mut replaced = Vec::with_capacity(edits.len());
        for (old, edit) in edits {
            if let Stored::New(artifact) = self.publish(edit) {
                replaced.push((old, artifact.offset(), artifact.published_at()));
            }
        }
        for member in &start.members {
            if !replaced.iter().any(|(old, ..)| *old == member.offset) {
                self.reopen_claim(start.subscription, member.offset);
            }
        }
        let name = self.catalogue.subscriptions.get(start.subscription.at()).map_or("", String::as_str);
        let start = Arc::new(start.redriven(name, &replaced));
        self.open_job(Arc::clone(&start), false);
        self.letters[index].letter.state = DeadState::Redriven { at };
        self.resumed(&start.job).ok_or_else(|| conflict(format!("job {} has no inputs", start.job)))
    }

    /// Removes letters that were decided and whose jobs have ended, beyond the bounds of a policy: at most
    /// `limit`, those decided first. Returns how many, and whether more are to go.
    pub(in crate::store::memory) fn prune_letters(
        &mut self,
        policy: &Retention,
        now: Timestamp,
        limit: usize,
    ) -> (u64, bool) {
        if policy.keeps_letters() {
            return (0, false);
        }
        let decided = |record: &LetterRecord| match &record.letter.state {
            DeadState::Open => None,
            DeadState::Redriven { at } | DeadState::Discarded { at, .. } => {
                (!self.jobs.contains_key(&record.letter.job)).then_some((*at, record.letter.number))
            }
        };
        let mut over: Vec<(Timestamp, u64)> = self.letters.iter().filter_map(decided).collect();
        over.sort_unstable();
        let excess = policy.letters_count_max.map_or(0, |max| (over.len() as u64).saturating_sub(max));
        let before = policy.letters_age_max.map(|age| now.before(age));
        let goes = |(place, (at, _)): &(u64, (Timestamp, u64))| {
            *place < excess || before.is_some_and(|before| *at < before)
        };
        let mut gone: Vec<u64> =
            (0..).zip(over).filter(goes).map(|(_, (_, number))| number).take(limit + 1).collect();
        let more = gone.len() > limit;
        gone.truncate(limit);
        self.letters.retain(|record| !gone.contains(&record.letter.number));
        (gone.len() as u64, more)
    }

    fn is_known(&self, artifact: &Artifact) -> bool {
        let key = artifact.idempotency_key().map(|key| (artifact.tenant(), Arc::clone(key)));
        self.ids.contains_key(&artifact.id()) || key.is_some_and(|key| self.idempotency.contains_key(&key))
    }

    fn reopen_claim(&mut self, subscription: SubscriptionIndex, offset: Offset) {
        let Some(entry) = self.entries.get_mut(offset) else { return };
        match entry.claim_mut(subscription) {
            Some(claim) if claim.outcome == Some(Outcome::Dead) => claim.outcome = None,
            _ => return,
        }
        entry.open += 1;
        self.finished.retain(|finished| *finished != offset);
        if let Some(run) = self.runs.get_mut(entry.run) {
            run.tally.dead -= 1;
        }
    }
}
