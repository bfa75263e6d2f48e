//! The conformance suite: the cases that every [`Store`] passes, each against a fresh store.
//!
//! The test of a store calls [`check`], or the part for a trait while the others are still to come. The cases
//! know the contract only; they look into no store. A failed case panics with its name.
//!
//! | part | cases |
//! | --- | --- |
//! | [`check_log`] | `log`: artifacts; `work`: claims, jobs, pairs; `lives`: deaths of the process; `paging`: claims page by page |
//! | [`check_history`] | `query`, `lineage`, `retention` |
//! | [`check_letters`] | `letters` |

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use uuid::Uuid;

use super::{
    Catalogue, Cursor, DeadFilter, Death, Few, Finish, JobEnd, NewArtifact, Retained, Retention, Store,
    StoreError, Stored, Unfinished, Write, Written,
};
use crate::artifact::Artifact;
use crate::body::Body;
use crate::claim::{Claim, Settled};
use crate::filter::Filter;
use crate::id::{AgentIndex, AgentName, ArtifactId, JobId, JobIndex, Offset, RunId, SubscriptionIndex};
use crate::job::{Member, Start};
use crate::kind::{Kind, Kinds};
use crate::outcome::Outcome;
use crate::time::Timestamp;

mod letters;
mod lineage;
mod lives;
mod log;
mod paging;
mod query;
mod retention;
#[cfg(test)]
mod tests;
mod work;

/// Makes the stores that cases run against.
pub trait Stores: Sync {
    /// Returns a store with nothing in it.
    fn fresh(&self) -> Arc<dyn Store>;

    /// Ends the life of a store as the death of its process does, and returns one with the same contents. The
    /// suite opens it then.
    fn reborn(&self, store: Arc<dyn Store>) -> Arc<dyn Store>;

    /// Tells whether the suite is to do so after every write, wherever a case does not forbid it.
    fn dies_often(&self) -> bool {
        false
    }
}

/// Stores whose contents do not outlive their process: that they are opened anew comes close.
impl<S: Store, F: Fn() -> Arc<S> + Sync> Stores for F {
    fn fresh(&self) -> Arc<dyn Store> {
        self()
    }

    fn reborn(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store
    }
}

/// Runs cases of the suite, each on a store of its own.
macro_rules! run {
    ($stores:expr; $($file:ident::$case:ident),+ $(,)?) => {
        $($file::$case(&Case::open(stringify!($case), $stores).await).await;)+
    };
}

/// Runs every case.
///
/// # Panics
/// When the store does not conform; the message begins with the name of the case.
pub async fn check(stores: &dyn Stores) {
    check_log(stores).await;
    check_history(stores).await;
    check_letters(stores).await;
}

/// Runs the cases of [`Log`](super::Log): a runtime runs over a store that passes them.
///
/// # Panics
/// As [`check`].
pub async fn check_log(stores: &dyn Stores) {
    run![
        stores;
        log::offsets_are_dense_and_in_log_order,
        log::artifacts_come_back_as_they_were,
        log::an_idempotency_key_returns_the_first_artifact,
        log::an_idempotency_key_belongs_to_its_tenant,
        log::an_id_returns_the_first_artifact,
        log::a_repeat_within_one_write_is_a_repeat,
        log::reads_come_in_the_order_asked_for,
        log::a_missing_offset_is_an_error,
        log::a_closed_log_refuses,
        log::the_tally_of_a_run_counts_its_outcomes,
        log::a_run_names_its_workflow,
        work::claims_without_a_job_are_read_in_log_order,
        work::claims_come_back_as_they_were,
        work::a_started_job_hides_its_claims,
        work::a_job_of_a_batch_keeps_its_groups,
        work::a_retry_keeps_failures_and_time,
        work::a_retry_that_tells_the_start_needs_no_record,
        work::an_end_that_tells_the_start_needs_no_record,
        work::another_attempt_clears_the_time,
        work::finishing_ends_claims_and_publishes,
        work::a_repeated_output_is_the_first_artifact,
        work::an_unknown_job_is_refused_alone,
        work::a_job_finishes_once,
        work::settling_ends_a_claim_once,
        work::shared_jobs_leave_claims_open,
        work::pairs_are_remembered_until_a_member_is_settled,
        work::a_cancelled_pair_is_not_remembered,
        work::unfinished_work_is_the_same_in_any_slices,
        lives::an_attempt_without_an_end_is_an_interruption,
        lives::what_ended_or_was_handed_back_is_no_interruption,
        lives::everything_unfinished_outlives_the_process,
        lives::the_last_note_on_a_topic_stands,
        lives::marks_are_kept_and_every_claim_knows_those_before_it,
        paging::claims_are_read_for_some_subscriptions_in_log_order,
        paging::claims_come_with_the_tally_of_their_run,
        paging::what_a_job_covers_is_no_backlog,
        paging::claims_of_a_run_are_cancelled_where_they_lie,
        paging::pairs_of_cancelled_claims_are_forgotten,
    ];
}

/// Runs the cases of [`History`](super::History), for stores that conform to [`Log`](super::Log).
///
/// # Panics
/// As [`check`].
pub async fn check_history(stores: &dyn Stores) {
    run![
        stores;
        query::find_obeys_every_condition,
        query::find_lists_the_newest_first,
        query::pages_cover_everything_exactly_once,
        query::pages_have_limits,
        query::tenants_see_their_own,
        query::a_closed_history_refuses,
        lineage::lineage_tells_causes_and_outcomes,
        lineage::the_lineage_of_a_pair_names_every_pair,
        lineage::summaries_count_what_a_filter_accepts,
        retention::without_bounds_nothing_is_removed,
        retention::what_is_not_finished_is_kept_whatever_the_bounds,
        retention::what_is_removed_is_counted_and_gone,
    ];
}

/// Runs the cases of [`Letters`](super::Letters), for stores that conform to [`Log`](super::Log).
///
/// # Panics
/// As [`check`].
pub async fn check_letters(stores: &dyn Stores) {
    run![
        stores;
        letters::dead_letters_are_numbered_and_paged,
        letters::a_dead_letter_tells_all_attempts_and_inputs,
        letters::dead_letters_are_filtered,
        letters::a_redriven_job_is_unfinished_again,
        letters::a_redrive_may_replace_inputs,
        letters::a_dead_pair_is_not_driven_again,
        letters::letters_that_are_over_may_go_and_no_others,
        letters::an_unknown_job_leaves_no_letter,
        letters::closed_letters_refuse,
    ];
}

/// Runs a future on this thread; for tests of stores that bring no async runtime.
///
/// The future must be woken from elsewhere when it is not ready, as stores with a thread of their own do.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// One case: its name for messages, and its store.
struct Case<'a> {
    name: &'static str,
    stores: &'a dyn Stores,
    store: Mutex<Arc<dyn Store>>,
}

impl<'a> Case<'a> {
    async fn open(name: &'static str, stores: &'a dyn Stores) -> Self {
        let case = Self { name, stores, store: Mutex::new(stores.fresh()) };
        case.begin_life().await;
        case
    }

    /// The store of this life.
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn begin_life(&self) {
        let mut kinds = Kinds::new();
        self.good(kinds.register::<u32>(), "registers numbers");
        self.good(kinds.register::<String>(), "registers texts");
        let catalogue = Catalogue {
            kinds,
            agents: vec![AgentName::from("reader"), AgentName::from("joiner")],
            subscriptions: SUBSCRIPTIONS.map(str::to_owned).to_vec(),
            marked: [SubscriptionIndex(3)].into(),
        };
        self.good(self.store().open(catalogue).await, "opens");
    }

    /// The process dies and starts again.
    async fn die(&self) {
        {
            let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            *store = self.stores.reborn(Arc::clone(&store));
        }
        self.begin_life().await;
    }

    fn good<T, E: Debug>(&self, result: Result<T, E>, what: &str) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("{}: {what}: {error:?}", self.name),
        }
    }

    fn same<T: PartialEq + Debug>(&self, found: T, wanted: T, what: &str) {
        assert!(found == wanted, "{}: {what}\n found: {found:?}\nwanted: {wanted:?}", self.name);
    }

    async fn try_commit(&self, writes: Vec<Write>) -> Result<Vec<Written>, StoreError> {
        let result = self.store().commit(writes).wait().await;
        if self.stores.dies_often() && result.is_ok() {
            self.die().await;
        }
        result
    }

    async fn commit(&self, writes: Vec<Write>) -> Vec<Written> {
        let wanted = writes.len();
        let results = self.good(self.try_commit(writes).await, "commits");
        self.same(results.len(), wanted, "every write is answered");
        results
    }

    /// Commits one write that must not be refused.
    async fn write(&self, write: Write) -> Few<Stored> {
        match self.commit(vec![write]).await.pop() {
            Some(Written::Done(stored)) => stored,
            other => panic!("{}: the write is accepted: {other:?}", self.name),
        }
    }

    /// Publishes plain numbers, each claimed by the first subscription, and returns their places.
    async fn claimed(&self, numbers: std::ops::Range<u32>) -> Vec<Offset> {
        let publish = |n| publish(number(n), vec![claim(0, 0)]);
        self.places(self.write(Write::Publish(numbers.map(publish).collect())).await)
    }

    fn places(&self, stored: Few<Stored>) -> Vec<Offset> {
        let place = |stored: Stored| match stored {
            Stored::New(artifact) => artifact.offset(),
            Stored::Repeat(_) => panic!("{}: everything is new: {stored:?}", self.name),
        };
        stored.into_iter().map(place).collect()
    }

    async fn find(&self, filter: Filter) -> Vec<u64> {
        let page = self.good(self.store().find(&filter).await, "finds");
        page.artifacts.iter().map(|artifact| artifact.offset().get()).collect()
    }

    /// Reads all that is unfinished in slices of `limit`.
    async fn unfinished_by(&self, limit: usize) -> Vec<Unfinished> {
        let (mut all, mut after) = (Vec::new(), Cursor::default());
        for _ in 0..1_000 {
            let (slice, next) = self.good(self.store().unfinished(after, limit).await, "lists");
            all.extend(slice);
            match next {
                Some(next) => after = next,
                None => return all,
            }
        }
        panic!("{}: the list of unfinished work ends", self.name)
    }

    async fn unfinished(&self) -> Listed {
        let mut listed = Listed { claims: self.claims().await, ..Listed::default() };
        for entry in self.unfinished_by(1_000).await {
            match entry {
                Unfinished::Job(job) => {
                    assert!(listed.pairs.is_empty(), "{}: jobs come first", self.name);
                    listed.jobs.push(job);
                }
                Unfinished::Pair { inputs, verdict, .. } => listed.pairs.push((inputs, verdict)),
            }
        }
        listed
    }

    /// Place and subscription of every claim that no job covers.
    async fn claims(&self) -> Vec<(u64, u32)> {
        let all: Vec<_> = (0..).map(SubscriptionIndex).take(SUBSCRIPTIONS.len()).collect();
        let found = self.good(self.store().claims(&all, None, 1_000).await, "reads claims");
        let entries = found.iter().map(|found| &found.published);
        entries
            .flat_map(|entry| entry.claims.iter().map(|claim| (entry.offset.get(), claim.subscription.0)))
            .collect()
    }

    /// Retains, long after everything was published.
    async fn retain(&self, policy: &Retention, limit: usize) -> Retained {
        self.good(self.store().retain(policy, at(1_000_000), limit).await, "retains")
    }

    /// Places of the artifacts that are there, up to the first that is not.
    async fn offsets(&self) -> Vec<u64> {
        let mut found = Vec::new();
        for offset in 1.. {
            match self.store().read(&[Offset::new(offset)]).wait().await {
                Ok(_) => found.push(offset),
                Err(StoreError::Missing { .. }) => return found,
                Err(error) => panic!("{}: reads: {error}", self.name),
            }
        }
        found
    }
}

/// Unfinished work, sorted by what it is.
#[derive(Default)]
struct Listed {
    jobs: Vec<crate::job::Resumed>,
    pairs: Vec<(Vec<Offset>, crate::job::PairVerdict)>,
    /// Place in the log and subscription.
    claims: Vec<(u64, u32)>,
}

fn run(number: u128) -> RunId {
    RunId::from_uuid(Uuid::from_u128(number))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros_since_epoch(seconds * 1_000_000)
}

/// A plain artifact of the run 1 whose payload, id and second of publication are `value`.
fn number(value: u32) -> Artifact {
    number_in(value, 1)
}

fn number_in(value: u32, of_run: u128) -> Artifact {
    let id = ArtifactId::from_uuid(Uuid::from_u128(1_000 + u128::from(value)));
    Artifact::new(id, Kind::of::<u32>(), Body::typed(Arc::new(value)), run(of_run), at(i64::from(value)))
}

fn publish(artifact: Artifact, claims: Vec<Claim>) -> NewArtifact {
    NewArtifact { artifact: Arc::new(artifact), workflow: Arc::from("test"), claims: claims.into() }
}

fn claim(subscription: u32, side: u16) -> Claim {
    Claim {
        subscription: SubscriptionIndex(subscription),
        side,
        weight: 1,
        key: None,
        lane: None,
        event_time: None,
        visible_at: None,
        refused: None,
        marks: None,
    }
}

/// The stable names of the subscriptions.
const SUBSCRIPTIONS: [&str; 4] = ["reader/0", "joiner/0", "joiner/1", "joiner/2"];

/// The first attempt of a job of `subscription` on these inputs.
fn start(subscription: u32, members: &[Offset]) -> Start {
    let job = JobId::derive(SUBSCRIPTIONS[subscription as usize], at(50), members.iter().copied());
    let member = |(side, offset): (u16, &Offset)| Member { offset: *offset, side, group: 0 };
    Start {
        job,
        agent: AgentIndex(u32::from(subscription > 0)),
        subscription: SubscriptionIndex(subscription),
        members: (0..).zip(members).map(member).collect(),
        attempt: 1,
        failures: 0,
        run: run(1),
        opens_run: false,
        at: at(50),
        closed: None,
        shared: false,
        alone: false,
        index: JobIndex::default(),
        observed: None,
    }
}

fn begin(start: &Start) -> Write {
    Write::Start(Arc::new(start.clone()))
}

fn finish(job: JobId, end: JobEnd, outputs: Vec<NewArtifact>) -> Write {
    let outputs = outputs.into();
    Write::Finish(Finish { job, start: None, end, outputs })
}

fn dead(at_second: i64) -> JobEnd {
    JobEnd::Dead(Box::new(Death {
        attempts: 3,
        error: vec!["outer".to_owned(), "root".to_owned()],
        at: at(at_second),
    }))
}

fn settle(subscription: u32, offset: Offset, outcome: Outcome) -> Write {
    Write::Settle(Settled {
        subscription: SubscriptionIndex(subscription),
        offset,
        run: run(1),
        side: 0,
        outcome,
    })
}
