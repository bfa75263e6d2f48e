//! The harness: the runtime of one test, its time, what is expected of it, and its end.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use volery_blackboard::Kind;

use super::events::Events;
use super::evidence::{LETTERS, LastEvents, evidence, letter_line};
use super::expectation::{Expectation, Subject};
use super::{PATIENCE, answered, fail, list, settle, within_patience};
use crate::letters::DeadLetter;
use crate::report::{Phase, ShutdownReport};
use crate::shape::Take;
use crate::{Error, Filter, Run, Timestamp, Volery};

/// The runtime of one test. It is used like the [`Volery`] that it holds, and knows besides what a test wants
/// of it.
///
/// Time is paused: it moves when every task waits, from one deadline to the next. So what a test awaits comes
/// at once, and what lies between has happened by then. When the test fails, its seed is printed.
///
/// Dropped without [`finish`](Self::finish), the runtime stops at once, and nothing is checked. Made by
/// [`Test::start`](super::Test::start).
#[must_use = "the runtime stops when it is dropped; end the test with `finish`"]
pub struct Harness {
    volery: Volery,
    seed: u64,
    /// Tasks that the async runtime had before the runtime started.
    tasks_before: usize,
    last: Mutex<LastEvents>,
}

impl Harness {
    pub(super) fn new(volery: Volery, seed: u64, tasks_before: usize) -> Self {
        let last = Mutex::new(LastEvents::of(volery.feed()));
        Self { volery, seed, tasks_before, last }
    }

    /// Returns the runtime itself, to be handed to what a test is about.
    pub fn volery(&self) -> &Volery {
        &self.volery
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the test's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.volery.now()
    }

    /// Lets time pass: all that is due meanwhile happens at its own time, one after the other. It ends when
    /// every task waits, which takes a millisecond more. Cancel safe.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
        settle().await;
    }

    /// Lets time pass until the board has something to do by itself (a batch that closes, a join that
    /// expires, a back-off or a delay that ends) and it is done. Returns when that was due; `None` when
    /// nothing is on a timer.
    ///
    /// # Panics
    /// When the runtime has stopped.
    #[track_caller]
    pub fn advance_to_next_deadline(&self) -> impl Future<Output = Option<Timestamp>> + Send {
        let at = Location::caller();
        async move {
            settle().await;
            match answered(self.volery.next_deadline()).await {
                Ok(None) => None,
                Ok(Some(deadline)) => {
                    self.advance(deadline.since(self.now())).await;
                    Some(deadline)
                }
                Err(error) => fail(at, &format!("there is no next deadline: {error}")),
            }
        }
    }

    /// Lets every task run until it waits. A millisecond passes: time moves only when no other task can go
    /// on, so what can happen without more time has happened then. Cancel safe.
    pub async fn settle(&self) {
        settle().await;
    }

    /// Waits until nothing moves at all, as [`Volery::until_idle`] does, but not for ever.
    ///
    /// # Panics
    /// When something still moves after an hour of the test's time; the text says what.
    #[track_caller]
    pub fn idle(&self) -> impl Future<Output = ()> + Send {
        self.idle_at(Location::caller())
    }

    /// Expects outcomes of a run: `test.expect(&run).consumed(3).dead(1).await`.
    ///
    /// # Panics
    /// Awaited, when the run ended otherwise or still moves after an hour of the test's time. The text says
    /// what waits and why, which jobs died of what, and what happened last.
    #[track_caller]
    pub fn expect(&self, run: &Run) -> Expectation<'_> {
        Expectation::new(self, Subject::Run(run.clone()), Location::caller())
    }

    /// Expects outcomes of everything that an agent took.
    ///
    /// # Panics
    /// As [`expect`](Self::expect) does, and when there is no such agent.
    #[track_caller]
    pub fn expect_agent(&self, agent: &str) -> Expectation<'_> {
        Expectation::new(self, Subject::Agent(agent.to_owned()), Location::caller())
    }

    /// Expects outcomes of all agents together.
    ///
    /// # Panics
    /// As [`expect`](Self::expect) does.
    #[track_caller]
    pub fn expect_board(&self) -> Expectation<'_> {
        Expectation::new(self, Subject::Board, Location::caller())
    }

    /// Waits until nothing moves, and returns every payload of one kind on the board, oldest first, of all
    /// runs and tenants, as far as the store keeps them.
    ///
    /// # Panics
    /// When there is none, or it cannot be read, or something still moves after an hour of the test's time.
    #[track_caller]
    pub fn expect_published<T: Take>(&self) -> impl Future<Output = Vec<T>> + Send {
        let at = Location::caller();
        async move {
            let found = self.published::<T>(at).await;
            if found.is_empty() {
                let evidence = self.evidence(None).await;
                let kind = Kind::of::<T::Payload>();
                fail(at, &format!("expected a {} on the board, but there is none{evidence}", kind.name()));
            }
            found
        }
    }

    /// Waits until nothing moves, and checks that no artifact of one kind is on the board.
    ///
    /// # Panics
    /// When there is one, or something still moves after an hour of the test's time.
    #[track_caller]
    pub fn expect_nothing_published<T: Take>(&self) -> impl Future<Output = ()> + Send {
        let at = Location::caller();
        async move {
            let count = self.published::<T>(at).await.len();
            if count > 0 {
                let evidence = self.evidence(None).await;
                let kind = Kind::of::<T::Payload>();
                fail(
                    at,
                    &format!("expected no {} on the board, but there are {count}{evidence}", kind.name()),
                );
            }
        }
    }

    /// Waits until nothing moves, and returns the only dead letter of an agent.
    ///
    /// # Panics
    /// When it has none or several, or something still moves after an hour of the test's time; the text lists
    /// all there are.
    #[track_caller]
    pub fn expect_dead_letter(&self, agent: &str) -> impl Future<Output = DeadLetter> + Send {
        let (at, agent) = (Location::caller(), agent.to_owned());
        async move {
            let letters = self.letters(at).await;
            let mut own = letters.iter().filter(|letter| letter.agent.as_str() == agent);
            match (own.next(), own.count()) {
                (Some(only), 0) => only.clone(),
                (first, more) => {
                    let count = usize::from(first.is_some()) + more;
                    let evidence = self.evidence(None).await;
                    let what = format!("expected one dead letter of agent `{agent}`, but it has {count}");
                    fail(at, &format!("{what}{evidence}"))
                }
            }
        }
    }

    /// Waits until nothing moves, and checks that no job has failed for good.
    ///
    /// # Panics
    /// When one has, or something still moves after an hour of the test's time; the text lists them all.
    #[track_caller]
    pub fn expect_no_dead_letters(&self) -> impl Future<Output = ()> + Send {
        let at = Location::caller();
        async move {
            let letters: VecDeque<String> = self.letters(at).await.iter().map(letter_line).collect();
            if !letters.is_empty() {
                fail(at, &format!("expected no dead letters{}", list("dead letters", &letters)));
            }
        }
    }

    /// Reads what happens from now on.
    pub fn events(&self) -> Events {
        Events::of(self.volery.feed())
    }

    /// Audits the board, shuts down, and checks that nothing is left: every phase ended in good order,
    /// nothing was cancelled, every artifact has its outcome, and every task that was begun since the start
    /// has ended, those that engines spawned included.
    ///
    /// For a test that leaves something on purpose there is [`Volery::shutdown`]. Of several harnesses in one
    /// async runtime, those that were started first are to be finished last, because tasks are counted
    /// together.
    ///
    /// # Panics
    /// When something is left; the text says what.
    #[track_caller]
    pub fn finish(self) -> impl Future<Output = Arc<ShutdownReport>> + Send {
        let at = Location::caller();
        async move {
            settle().await;
            let evidence = self.evidence(None).await;
            // A runtime that has stopped cannot be asked.
            if let Some(Ok(Err(difference))) = within_patience(self.volery.audit()).await {
                fail(at, &format!("the board counts wrongly: {difference}{evidence}"));
            }
            let report = match within_patience(self.volery.shutdown()).await {
                Some(Ok(report)) => report,
                Some(Err(error)) => fail(at, &format!("the shutdown failed: {error}{evidence}")),
                None => fail(at, &format!("the shutdown is not over after {PATIENCE:?}{evidence}")),
            };
            // Tasks end after they have reported it.
            settle().await;
            if let Some(trouble) = left_over(&report, self.tasks_before) {
                fail(at, &format!("{trouble}\n  {report}\n  before the shutdown:{evidence}"));
            }
            report
        }
    }

    /// The evidence of a failure.
    pub(super) async fn evidence(&self, run: Option<&Run>) -> String {
        let known = evidence(&self.volery, run).await;
        let events = self.last.lock().unwrap_or_else(PoisonError::into_inner).text();
        format!("{known}{events}\n  seed: {}", self.seed)
    }

    async fn idle_at(&self, at: &'static Location<'static>) {
        let trouble = match within_patience(self.volery.until_idle()).await {
            Some(Ok(())) => return,
            Some(Err(error)) => format!("the runtime did not come to rest: {error}"),
            None => format!("the runtime still moves after {PATIENCE:?}"),
        };
        fail(at, &format!("{trouble}{}", self.evidence(None).await))
    }

    async fn published<T: Take>(&self, at: &'static Location<'static>) -> Vec<T> {
        self.idle_at(at).await;
        let kind = Kind::of::<T::Payload>();
        let mut filter = Filter::all().any_tenant().kind(kind.name());
        let mut found = Vec::new();
        let read = async {
            loop {
                let page = self.volery.artifacts(&filter).await?;
                for artifact in &page.artifacts {
                    found.push(T::take(artifact)?);
                }
                match page.next {
                    Some(next) => filter = filter.after(next),
                    None => return Ok::<_, Error>(found),
                }
            }
        };
        match answered(read).await {
            Ok(found) => found,
            Err(error) => fail(at, &format!("the board cannot be read: {error}")),
        }
    }

    async fn letters(&self, at: &'static Location<'static>) -> Vec<DeadLetter> {
        self.idle_at(at).await;
        match answered(self.volery.dead_letters().limit(LETTERS).into_future()).await {
            Ok(letters) => letters,
            Err(error) => fail(at, &format!("the dead letters cannot be read: {error}")),
        }
    }
}

/// Says what a runtime left behind when it stopped.
fn left_over(report: &ShutdownReport, tasks_before: usize) -> Option<String> {
    let row = |phase| report.phase(phase);
    let cancelled = row(Phase::Agents).map_or(0, |agents| agents.cancelled);
    let remaining = row(Phase::Board).map_or(0, |board| board.remaining);
    let tasks = Handle::current().metrics().num_alive_tasks().saturating_sub(tasks_before);
    if !report.is_graceful() {
        Some("the shutdown was not in good order".to_owned())
    } else if cancelled > 0 {
        Some(format!("the shutdown cut {cancelled} attempts off"))
    } else if remaining > 0 {
        Some(format!("{remaining} artifacts are left without an outcome"))
    } else if tasks > 0 {
        Some(format!(
            "{tasks} more tasks are alive than before the start; an engine or the test spawned them and did not wait"
        ))
    } else {
        None
    }
}

impl Deref for Harness {
    type Target = Volery;

    fn deref(&self) -> &Volery {
        &self.volery
    }
}

impl Drop for Harness {
    #[expect(clippy::print_stderr, reason = "a test's output is where its seed is looked for")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("runtime `{}` of the failed test had seed {}", self.volery.name(), self.seed);
        }
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("volery", &self.volery)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
