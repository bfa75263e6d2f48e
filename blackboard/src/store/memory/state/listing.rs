//! Questions to the memory store: queries, summaries, lineage, and unfinished work.
//!
//! No I/O, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::work::PairRecord;
use super::{Entry, State};
use crate::artifact::Artifact;
use crate::claim::{Backlog, Claim, Claimed, LogEntry};
use crate::filter::{Filter, Page};
use crate::id::{ArtifactId, JobId, Offset, RunId, SubscriptionIndex};
use crate::job::{Resumed, Start};
use crate::marks::Marks;
use crate::outcome::Tally;
use crate::store::{ClaimRecord, Cursor, Lineage, Note, Summary, SummaryBy, Unfinished};

impl State {
    pub(in crate::store::memory) fn tally(&self, run: RunId) -> Tally {
        self.run(run).map(|run| run.tally).unwrap_or_default()
    }

    pub(in crate::store::memory) fn workflow(&self, run: RunId) -> Option<Arc<str>> {
        self.run(run).map(|run| Arc::clone(&run.workflow))
    }

    pub(in crate::store::memory) fn notes(&self) -> Vec<Note> {
        self.notes.values().cloned().collect()
    }

    pub(in crate::store::memory) fn marks(&self) -> Vec<(SubscriptionIndex, Marks)> {
        self.marks.iter().map(|(subscription, marks)| (*subscription, marks.clone())).collect()
    }

    pub(in crate::store::memory) fn find(&self, filter: &Filter) -> Page {
        let after = filter.after.map(Offset::get);
        let wanted = |offset: &Offset| match (filter.newest_first, after) {
            (_, None) => true,
            (false, Some(after)) => offset.get() > after,
            (true, Some(after)) => offset.get() < after,
        };
        let mut of_run = filter.run.map(|run| self.run(run).into_iter().flat_map(|run| run.offsets()));
        let from = if filter.newest_first { None } else { filter.after };
        let mut all = self.entries.places(from.unwrap_or_default());
        let offsets: &mut dyn DoubleEndedIterator<Item = Offset> = match &mut of_run {
            Some(listed) => listed,
            None => &mut all,
        };
        let accepted = |offset: Offset| {
            let artifact = &self.entries.get(offset)?.artifact;
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

    pub(in crate::store::memory) fn summary(&self, filter: &Filter, by: SummaryBy) -> Vec<Summary> {
        let mut counts = BTreeMap::<String, u64>::new();
        let entries = self.entries.places(Offset::START).filter_map(|offset| self.entries.get(offset));
        for entry in entries.filter(|entry| filter.accepts(&entry.artifact)) {
            match by {
                SummaryBy::Kind => *counts.entry(entry.artifact.kind().name().to_owned()).or_default() += 1,
                SummaryBy::Producer => *counts.entry(entry.artifact.producer().to_string()).or_default() += 1,
                SummaryBy::Outcome => {
                    for claim in &entry.states {
                        let name = claim.outcome.as_ref().map_or("outstanding", |outcome| outcome.name());
                        *counts.entry(name.to_owned()).or_default() += 1;
                    }
                }
            }
        }
        Summary::sorted(counts)
    }

    pub(in crate::store::memory) fn lineage(&self, id: ArtifactId) -> Option<Lineage> {
        let entry = self.entries.get(*self.ids.get(&id)?)?;
        let causes = entry.artifact.causes().iter().filter_map(|cause| self.by_id(*cause)).collect();
        let mut claims = Vec::new();
        for (claim, state) in entry.claims.iter().zip(&entry.states) {
            let name = self.catalogue.subscriptions.get(claim.subscription.at()).cloned().unwrap_or_default();
            let record = |job, published| ClaimRecord {
                subscription: name.clone(),
                outcome: state.outcome.clone(),
                job,
                published,
            };
            match self.pairs_of.get(&(claim.subscription, entry.artifact.offset())) {
                None => claims.push(record(state.job, state.published.offsets())),
                Some(pairs) => {
                    let known = pairs.iter().filter_map(|job| Some((*job, self.pairs.get(job)?)));
                    claims.extend(known.map(|(job, pair)| record(Some(job), pair.published.offsets())));
                }
            }
        }
        Some(Lineage::new(Arc::clone(&entry.artifact), causes, claims))
    }

    fn by_id(&self, id: ArtifactId) -> Option<Arc<Artifact>> {
        self.artifact(*self.ids.get(&id)?).ok()
    }

    pub(in crate::store::memory) fn unfinished(
        &self,
        after: Cursor,
        limit: usize,
    ) -> (Vec<Unfinished>, Option<Cursor>) {
        match after {
            Cursor::Jobs(number) => self.unfinished_jobs(number, limit),
            Cursor::Pairs(number) => self.unfinished_pairs(number, limit),
        }
    }

    fn unfinished_jobs(&self, after: u64, limit: usize) -> (Vec<Unfinished>, Option<Cursor>) {
        let later = next(self.jobs.iter().map(|(job, record)| (record.number, job)), after, limit);
        let cursor = later.last().map_or(Cursor::Pairs(0), |(last, _)| Cursor::Jobs(*last));
        let jobs = later.into_iter().filter_map(|(_, job)| self.resumed(job)).map(Unfinished::Job);
        (jobs.collect(), Some(cursor))
    }

    fn unfinished_pairs(&self, after: u64, limit: usize) -> (Vec<Unfinished>, Option<Cursor>) {
        let open = self.pairs.values().filter(|pair| pair.open).map(|pair| (pair.number, pair));
        let later = next(open, after, limit);
        let cursor = later.last().map(|(last, _)| Cursor::Pairs(*last));
        let pair = |(_, pair): (u64, &PairRecord)| {
            let (subscription, verdict) = (pair.subscription, pair.verdict);
            Unfinished::Pair { subscription, inputs: pair.inputs.clone(), verdict }
        };
        (later.into_iter().map(pair).collect(), cursor)
    }

    pub(in crate::store::memory) fn claims(
        &self,
        subscriptions: &[SubscriptionIndex],
        after: Option<Offset>,
        limit: usize,
    ) -> Vec<Claimed> {
        let asked = |claim: &Claim| subscriptions.contains(&claim.subscription);
        let places = self.entries.places(after.unwrap_or_default());
        let found = places.filter_map(|offset| self.free_claims(offset, asked)).take(limit);
        found.map(|published| Claimed { tally: self.tally(published.run), published }).collect()
    }

    pub(in crate::store::memory) fn backlog(&self) -> Vec<Backlog> {
        let mut all = BTreeMap::<SubscriptionIndex, Backlog>::new();
        for entry in self.entries.places(Offset::START).filter_map(|offset| self.entries.get(offset)) {
            let offset = entry.artifact.offset();
            for (claim, _) in entry.claims.iter().zip(&entry.states).filter(|(_, state)| state.is_free()) {
                let subscription = claim.subscription;
                let fresh = Backlog { subscription, count: 0, first: offset, last: offset };
                let backlog = all.entry(subscription).or_insert(fresh);
                (backlog.count, backlog.last) = (backlog.count + 1, offset);
            }
        }
        all.into_values().collect()
    }

    /// The claims on an artifact that have no outcome and that no unfinished job covers.
    fn free_claims(&self, offset: Offset, wanted: impl Fn(&Claim) -> bool) -> Option<LogEntry> {
        let entry = self.entries.get(offset)?;
        let both = entry.claims.iter().zip(&entry.states);
        let claims: Vec<Claim> = both
            .filter(|(claim, state)| state.is_free() && wanted(claim))
            .map(|(claim, state)| Claim { marks: state.marks.clone(), ..claim.clone() })
            .collect();
        (!claims.is_empty()).then(|| self.published(entry, claims.into()))
    }

    /// An unfinished job as a board takes it in.
    pub(super) fn resumed(&self, job: &JobId) -> Option<Resumed> {
        let record = self.jobs.get(job)?;
        let subscription = record.start.subscription;
        let input = |offset: Offset| {
            let entry = self.entries.get(offset)?;
            let claim = entry.claims.iter().find(|claim| claim.subscription == subscription)?;
            Some(self.published(entry, Arc::from([claim.clone()])))
        };
        Some(Resumed {
            inputs: record.start.members.iter().filter_map(|member| input(member.offset)).collect(),
            start: Start::clone(&record.start),
            failures: record.failures,
            until: record.until,
            interruptions: record.interruptions,
            deaths_alone: record.deaths_alone,
        })
    }

    fn published(&self, entry: &Entry, claims: Arc<[Claim]>) -> LogEntry {
        LogEntry {
            offset: entry.artifact.offset(),
            run: entry.artifact.run(),
            workflow: self.runs.get(entry.run).map_or_else(Arc::default, |run| Arc::clone(&run.workflow)),
            at: entry.artifact.published_at(),
            claims,
        }
    }
}

/// The first of what is numbered, behind a number and in its order.
fn next<T>(all: impl Iterator<Item = (u64, T)>, after: u64, limit: usize) -> Vec<(u64, T)> {
    let mut later: Vec<(u64, T)> = all.filter(|(number, _)| *number > after).collect();
    if later.len() > limit {
        later.select_nth_unstable_by_key(limit, |(number, _)| *number);
        later.truncate(limit);
    }
    later.sort_unstable_by_key(|(number, _)| *number);
    later
}
