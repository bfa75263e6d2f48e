//! A store that fails on command, for tests of outages.
//!
//! It stands in front of another store and decides nothing about artifacts: what no rule stops goes through
//! unchanged. Pure: it waits for futures that the test hands in, and reads no clock.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Answer, Artifacts, Catalogue, Cursor, Damage, DeadFilter, DeadLetter, History, Inspected, Letters,
    Lineage, Log, Note, Response, Retained, Retention, Store, StoreError, Summary, SummaryBy, Unfinished,
    Write, Written,
};
use crate::claim::{Backlog, Claimed};
use crate::filter::{Filter, Page};
use crate::id::{ArtifactId, Offset, RunId, SubscriptionIndex};
use crate::marks::Marks;
use crate::outcome::Tally;
use crate::time::Timestamp;

type Wait = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

type Refusal = Arc<dyn Fn(&Write) -> bool + Send + Sync>;

/// A store that forwards to the one behind it, except where a rule makes it fail.
///
/// A clone is the same store: give one to the runtime and keep one to change the rules. A rule holds from the
/// moment it is set, and those that refuse look again when a delayed commit goes on.
///
/// ```
/// use volery_blackboard::store::{FailingStore, Memory};
///
/// let store = FailingStore::over(Memory::new());
/// store.refuse_writes(); // every commit fails from here on …
/// store.accept_writes(); // … until here
/// store.fail_commit(2); // the next but one fails
/// ```
#[derive(Clone)]
pub struct FailingStore {
    inner: Arc<dyn Store>,
    rules: Arc<Mutex<Rules>>,
}

#[derive(Default)]
struct Rules {
    /// Commits begun so far.
    commits: u64,
    /// The numbers of those that fail.
    failing: BTreeSet<u64>,
    writes_refused: bool,
    reads_refused: bool,
    pages_damaged: bool,
    /// Pages of claims asked for so far.
    pages: u64,
    some_refused: Option<Refusal>,
    before_commit: Option<Wait>,
    after_commit: Option<Wait>,
    before_read: Option<Wait>,
    before_inputs: Option<Wait>,
    before_close: Option<Wait>,
    close_refused: bool,
    stays_open: bool,
    outlives_process: bool,
}

impl FailingStore {
    /// Puts a failing store in front of another one. Without a rule nothing fails.
    #[must_use]
    pub fn over(store: impl Store) -> Self {
        Self { inner: Arc::new(store), rules: Arc::default() }
    }

    /// Fails one commit, counted from now: 1 is the next. Nothing of it is written, and its callers see
    /// [`StoreError::Unavailable`].
    ///
    /// A curator tries again what it needs to, so the commit after it may carry the same writes. 0 names no
    /// commit.
    pub fn fail_commit(&self, number: u64) {
        let mut rules = self.rules();
        let number = rules.commits.saturating_add(number);
        rules.failing.insert(number);
    }

    /// Fails every commit until [`accept_writes`](Self::accept_writes); nothing is written.
    pub fn refuse_writes(&self) {
        self.rules().writes_refused = true;
    }

    /// Ends [`refuse_writes`](Self::refuse_writes) and [`refuse_only`](Self::refuse_only).
    pub fn accept_writes(&self) {
        let mut rules = self.rules();
        (rules.writes_refused, rules.some_refused) = (false, None);
    }

    /// Fails every read, query and count until [`accept_reads`](Self::accept_reads).
    ///
    /// A curator that is restarted meanwhile cannot read its board back.
    pub fn refuse_reads(&self) {
        self.rules().reads_refused = true;
    }

    /// Ends [`refuse_reads`](Self::refuse_reads).
    pub fn accept_reads(&self) {
        self.rules().reads_refused = false;
    }

    /// Fails every page of claims with [`StoreError::Corrupt`] until [`mend_pages`](Self::mend_pages), as a
    /// file does whose pages are damaged.
    pub fn damage_pages(&self) {
        self.rules().pages_damaged = true;
    }

    /// Ends [`damage_pages`](Self::damage_pages).
    pub fn mend_pages(&self) {
        self.rules().pages_damaged = false;
    }

    /// Returns how many pages of claims were asked for, those that failed included.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.rules().pages
    }

    /// Refuses the writes for which `refused` is true, each by itself, with [`StoreError::Conflict`]; the
    /// other writes of the commit are written. It replaces the rule before.
    pub fn refuse_only(&self, refused: impl Fn(&Write) -> bool + Send + Sync + 'static) {
        self.rules().some_refused = Some(Arc::new(refused));
    }

    /// Lets every commit wait for a future before it writes: a timer, a gate, or one that never ends.
    ///
    /// A commit that is dropped while it waits has written nothing.
    pub fn delay_commits<F: Future<Output = ()> + Send + 'static>(
        &self,
        wait: impl Fn() -> F + Send + Sync + 'static,
    ) {
        self.rules().before_commit = Some(Arc::new(move || Box::pin(wait())));
    }

    /// Ends [`delay_commits`](Self::delay_commits) for commits to come; one that waits goes on waiting.
    pub fn commit_at_once(&self) {
        self.rules().before_commit = None;
    }

    /// Lets every commit wait for a future after it has written and before it answers: what is written then
    /// is not known to its callers yet, and never is if the future never ends.
    pub fn delay_answers<F: Future<Output = ()> + Send + 'static>(
        &self,
        wait: impl Fn() -> F + Send + Sync + 'static,
    ) {
        self.rules().after_commit = Some(Arc::new(move || Box::pin(wait())));
    }

    /// Ends [`delay_answers`](Self::delay_answers) for commits to come; one that waits goes on waiting.
    pub fn answer_at_once(&self) {
        self.rules().after_commit = None;
    }

    /// Lets every query and count wait for a future before it is answered: a timer, a gate, or one that never
    /// ends. The artifacts of a job are read at once all the same.
    pub fn delay_reads<F: Future<Output = ()> + Send + 'static>(
        &self,
        wait: impl Fn() -> F + Send + Sync + 'static,
    ) {
        self.rules().before_read = Some(Arc::new(move || Box::pin(wait())));
    }

    /// Lets the artifacts of a job wait for a future before they are given.
    pub fn delay_inputs<F: Future<Output = ()> + Send + 'static>(
        &self,
        wait: impl Fn() -> F + Send + Sync + 'static,
    ) {
        self.rules().before_inputs = Some(Arc::new(move || Box::pin(wait())));
    }

    /// Lets the store wait for a future before it closes: a timer, a gate, or one that never ends.
    pub fn delay_close<F: Future<Output = ()> + Send + 'static>(
        &self,
        wait: impl Fn() -> F + Send + Sync + 'static,
    ) {
        self.rules().before_close = Some(Arc::new(move || Box::pin(wait())));
    }

    /// Fails the close of the store.
    pub fn refuse_close(&self) {
        self.rules().close_refused = true;
    }

    /// Lets a close do nothing, so that another runtime may go on with the store.
    pub fn stay_open(&self) {
        self.rules().stays_open = true;
    }

    /// Counts from now on as a store that outlives the process.
    pub fn outlive_process(&self) {
        self.rules().outlives_process = true;
    }

    /// Returns how many commits have begun, those that failed included.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.rules().commits
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        // Rules are plain values; a panic beside them leaves them readable.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self, cause: &str) -> StoreError {
        StoreError::Unavailable { store: self.name(), cause: cause.to_owned() }
    }

    /// Answers a read with an error while reads are refused.
    fn reading<'a, T: Send + 'a>(&self, answer: Answer<'a, T>) -> Answer<'a, T> {
        let (refused, delay) = {
            let rules = self.rules();
            (rules.reads_refused, rules.before_read.clone())
        };
        if !refused {
            let Some(delay) = delay else { return answer };
            return Box::pin(async move {
                delay().await;
                answer.await
            });
        }
        let error = self.unavailable("the test refuses reads");
        Box::pin(std::future::ready(Err(error)))
    }

    /// Writes what the rules of this moment let through.
    fn write(&self, writes: Vec<Write>) -> Response<Vec<Written>> {
        let (writes_refused, refused) = {
            let rules = self.rules();
            (rules.writes_refused, rules.some_refused.clone())
        };
        if writes_refused {
            return Response::Ready(Err(self.unavailable("the test refuses writes")));
        }
        let Some(refused) = refused else { return self.inner.commit(writes) };
        let verdicts: Vec<bool> = writes.iter().map(|write| refused(write)).collect();
        let let_through = writes.into_iter().zip(&verdicts).filter(|(_, refused)| !**refused);
        let writes = let_through.map(|(write, _)| write).collect();
        let store = self.name();
        match self.inner.commit(writes) {
            Response::Ready(written) => {
                Response::Ready(written.map(|written| merge(&store, &verdicts, written)))
            }
            Response::Pending(answer) => Response::Pending(Box::pin(async move {
                answer.await.map(|written| merge(&store, &verdicts, written))
            })),
        }
    }
}

impl fmt::Debug for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules();
        f.debug_struct("FailingStore")
            .field("inner", &self.inner)
            .field("commits", &rules.commits)
            .field("failing", &rules.failing)
            .field("writes_refused", &rules.writes_refused)
            .field("reads_refused", &rules.reads_refused)
            .finish_non_exhaustive()
    }
}

impl Log for FailingStore {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn system(&self) -> &'static str {
        self.inner.system()
    }

    fn open(&self, catalogue: Catalogue) -> Answer<'_, ()> {
        self.inner.open(catalogue)
    }

    fn commit(&self, writes: Vec<Write>) -> Response<Vec<Written>> {
        let (fails, before, after) = {
            let mut rules = self.rules();
            rules.commits += 1;
            let number = rules.commits;
            (rules.failing.remove(&number), rules.before_commit.clone(), rules.after_commit.clone())
        };
        if fails {
            return Response::Ready(Err(self.unavailable("the test fails this commit")));
        }
        if before.is_none() && after.is_none() {
            return self.write(writes);
        }
        let store = self.clone();
        Response::Pending(Box::pin(async move {
            if let Some(before) = before {
                before().await;
            }
            let written = match store.write(writes) {
                Response::Ready(written) => written,
                Response::Pending(answer) => answer.await,
            };
            if let Some(after) = after {
                after().await;
            }
            written
        }))
    }

    fn read(&self, offsets: &[Offset]) -> Response<Artifacts> {
        if self.rules().reads_refused {
            return Response::Ready(Err(self.unavailable("the test refuses reads")));
        }
        let (read, wait) = (self.inner.read(offsets), self.rules().before_inputs.clone());
        let Some(wait) = wait else { return read };
        Response::Pending(Box::pin(async move {
            wait().await;
            read.wait().await
        }))
    }

    fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)> {
        self.reading(self.inner.unfinished(after, limit))
    }

    fn tally(&self, run: RunId) -> Answer<'_, Tally> {
        self.reading(self.inner.tally(run))
    }

    fn workflow(&self, run: RunId) -> Answer<'_, Option<Arc<str>>> {
        self.reading(self.inner.workflow(run))
    }

    fn writes_payloads(&self) -> bool {
        self.inner.writes_payloads()
    }

    fn outlives_process(&self) -> bool {
        self.inner.outlives_process() || self.rules().outlives_process
    }

    fn notes(&self) -> Answer<'_, Vec<Note>> {
        self.reading(self.inner.notes())
    }

    fn damage(&self) -> Vec<Damage> {
        self.inner.damage()
    }

    fn marks(&self) -> Answer<'_, Vec<(SubscriptionIndex, Marks)>> {
        self.reading(self.inner.marks())
    }

    fn claims<'a>(
        &'a self,
        subscriptions: &'a [SubscriptionIndex],
        after: Option<Offset>,
        limit: usize,
    ) -> Answer<'a, Vec<Claimed>> {
        let damaged = {
            let mut rules = self.rules();
            rules.pages += 1;
            rules.pages_damaged
        };
        if damaged {
            let (store, cause) = (self.name(), "the test damages pages".to_owned());
            return Box::pin(std::future::ready(Err(StoreError::Corrupt { store, offset: None, cause })));
        }
        self.reading(self.inner.claims(subscriptions, after, limit))
    }

    fn backlog(&self) -> Answer<'_, Vec<Backlog>> {
        self.reading(self.inner.backlog())
    }

    fn close(&self) -> Answer<'_, ()> {
        let (delay, refused, stays_open) = {
            let rules = self.rules();
            (rules.before_close.clone(), rules.close_refused, rules.stays_open)
        };
        match delay {
            _ if stays_open => Box::pin(std::future::ready(Ok(()))),
            _ if refused => Box::pin(std::future::ready(Err(self.unavailable("the test refuses to close")))),
            None => self.inner.close(),
            Some(delay) => Box::pin(async move {
                delay().await;
                self.inner.close().await
            }),
        }
    }
}

impl History for FailingStore {
    fn find<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Page> {
        self.reading(self.inner.find(filter))
    }

    fn summary<'a>(&'a self, filter: &'a Filter, by: SummaryBy) -> Answer<'a, Vec<Summary>> {
        self.reading(self.inner.summary(filter, by))
    }

    fn lineage(&self, artifact: ArtifactId) -> Answer<'_, Option<Lineage>> {
        self.reading(self.inner.lineage(artifact))
    }

    fn retain<'a>(&'a self, policy: &'a Retention, now: Timestamp, limit: usize) -> Answer<'a, Retained> {
        self.inner.retain(policy, now, limit)
    }
}

impl Letters for FailingStore {
    fn dead_letters<'a>(&'a self, filter: &'a DeadFilter) -> Answer<'a, Vec<DeadLetter>> {
        self.reading(self.inner.dead_letters(filter))
    }

    fn dead_letter(&self, number: u64) -> Answer<'_, Option<Inspected>> {
        self.reading(self.inner.dead_letter(number))
    }
}

/// Puts the answers for the writes that were let through and those that were not into the order of the
/// commit.
fn merge(store: &str, refused: &[bool], written: Vec<Written>) -> Vec<Written> {
    let mut written = written.into_iter();
    let refusal = || {
        let cause = "the test refuses this write".to_owned();
        Written::Refused(StoreError::Conflict { store: store.to_owned(), cause })
    };
    refused.iter().filter_map(|refused| if *refused { Some(refusal()) } else { written.next() }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::conformance::{block_on, check};
    use super::super::{Few, Memory, NewArtifact};
    use super::*;
    use crate::{Artifact, Body, Kind};

    fn publish(number: u32) -> Write {
        let id = ArtifactId::from_uuid(uuid::Uuid::from_u128(u128::from(number)));
        let (run, at) = (RunId::from_uuid(uuid::Uuid::from_u128(1)), Timestamp::default());
        let artifact = Artifact::new(id, Kind::of::<u32>(), Body::typed(Arc::new(number)), run, at);
        let artifact = Arc::new(artifact);
        Write::Publish(Few::from([NewArtifact {
            artifact,
            workflow: Arc::from("test"),
            claims: Arc::from([]),
        }]))
    }

    fn commit(store: &FailingStore, numbers: &[u32]) -> Result<Vec<Written>, StoreError> {
        match store.commit(numbers.iter().copied().map(publish).collect()) {
            Response::Ready(written) => written,
            Response::Pending(answer) => block_on(answer),
        }
    }

    fn kept(store: &FailingStore) -> usize {
        block_on(store.find(&Filter::all())).expect("it can be read").artifacts.len()
    }

    #[test]
    fn without_a_rule_it_conforms() {
        block_on(check(&|| Arc::new(FailingStore::over(Memory::new()))));
    }

    #[test]
    fn a_commit_fails_by_its_number_and_no_other() {
        let store = FailingStore::over(Memory::new());
        commit(&store, &[1]).expect("no rule is set");
        store.fail_commit(2);
        let fates: Vec<bool> = (2..=4).map(|number| commit(&store, &[number]).is_ok()).collect();
        assert_eq!(fates, [true, false, true]);
        assert_eq!((store.commits(), kept(&store)), (4, 3), "nothing of the failed one was written");
    }

    #[test]
    fn groups_are_refused_one_by_one_and_answered_in_order() {
        let store = FailingStore::over(Memory::new());
        store.refuse_only(|group| match group {
            Write::Publish(published) => {
                published.iter().any(|one| one.artifact.payload::<u32>().is_ok_and(|n| *n == 2))
            }
            _ => false,
        });
        let answers = commit(&store, &[1, 2, 3]).expect("the commit goes through");
        let refused: Vec<bool> = answers.iter().map(|answer| matches!(answer, Written::Refused(_))).collect();
        assert_eq!(refused, [false, true, false]);
        assert_eq!(kept(&store), 2);
        store.accept_writes();
        assert!(matches!(commit(&store, &[2]).as_deref(), Ok([Written::Done(_)])));
    }

    #[test]
    fn writes_and_reads_are_refused_apart() {
        let store = FailingStore::over(Memory::new());
        store.refuse_writes();
        assert!(matches!(commit(&store, &[1]), Err(StoreError::Unavailable { .. })));
        assert_eq!(kept(&store), 0);
        store.accept_writes();
        store.refuse_reads();
        commit(&store, &[1]).expect("writes are accepted");
        let run = RunId::from_uuid(uuid::Uuid::from_u128(1));
        assert!(block_on(store.find(&Filter::all())).is_err());
        assert!(block_on(store.read(&[Offset::new(1)]).wait()).is_err());
        assert!(block_on(store.unfinished(Cursor::default(), 1)).is_err());
        assert!(
            block_on(store.tally(run)).is_err() && block_on(store.dead_letters(&DeadFilter::all())).is_err()
        );
        store.accept_reads();
        assert_eq!(kept(&store), 1);
    }

    #[test]
    fn a_commit_whose_answer_is_delayed_has_written() {
        let store = FailingStore::over(Memory::new());
        let written = Arc::new(AtomicBool::new(false));
        store.delay_answers({
            let (written, store) = (Arc::clone(&written), store.clone());
            move || {
                written.store(kept(&store) == 1, Ordering::Release);
                std::future::ready(())
            }
        });
        commit(&store, &[1]).expect("it is written");
        assert!(written.load(Ordering::Acquire));
        store.answer_at_once();
        commit(&store, &[2]).expect("nothing delays it");
    }

    #[test]
    fn a_delayed_commit_is_judged_when_it_goes_on() {
        let store = FailingStore::over(Memory::new());
        let reached = Arc::new(AtomicBool::new(false));
        store.delay_commits({
            let (reached, store) = (Arc::clone(&reached), store.clone());
            move || {
                reached.store(true, Ordering::Release);
                store.refuse_writes();
                std::future::ready(())
            }
        });
        assert!(commit(&store, &[1]).is_err());
        assert!(reached.load(Ordering::Acquire));
        store.accept_writes();
        store.commit_at_once();
        commit(&store, &[1]).expect("nothing delays or refuses it");
    }
}
