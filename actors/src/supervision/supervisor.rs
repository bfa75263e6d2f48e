//! The running supervisor: its handle, and the ractor shell that performs the engine's commands.
//!
//! The shell decides nothing (`engine.rs` does) and waits for nothing (`keeper.rs` does): its handler
//! translates a message, asks the engine and carries out what comes back, so it always answers.
//!
//! | request | may fail with |
//! | --- | --- |
//! | `StartChild` | `DuplicateChild`, `InvalidChild`, `TooManyChildren`, `ChildFailed`, `Ending` |
//! | `StopChild` | `UnknownChild`, `Ended` |
//! | `Children`, `Subtree`, `KillChild`, `Stop`, `Kill`, `Report` | nothing |
//!
//! A supervisor that loses its state loses its children with it: keepers are aborted, and an aborted keeper
//! kills its life.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr, SupervisionEvent};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::engine::{Command, Engine, Report};
use super::event::{LOG_TARGET, Observer, announce};
use super::exit::Exit;
use super::keeper::{BirthTerms, Charge, Ending, Nursery, Order, Orders, Running, give, keep};
use super::report::{ChildInfo, ChildStop, StartError, StopChildError, StopReport, SupervisorExit};
use super::roster::Seat;
use super::spec::{AutoShutdown, ChildId, ChildSpec, SupervisorSpec};

/// A handle to a running tree. Cheap to clone; dropping handles does not stop the tree.
///
/// Calls that wait for the tree ([`stop`](Self::stop), [`ended`](Self::ended),
/// [`stop_child`](Self::stop_child)) must not be made from within a life of that tree: they would wait for
/// themselves, until the life's time to stop runs out.
#[derive(Clone)]
#[must_use = "the tree runs on when its handles are dropped; stop it"]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    id: ChildId,
    desk: ActorRef<Request>,
    outcome: watch::Receiver<Option<Outcome>>,
    tasks: tokio::sync::Mutex<Tasks>,
}

#[derive(Clone)]
struct Outcome {
    exit: SupervisorExit,
    report: StopReport,
}

impl Supervisor {
    /// Validates the whole tree, then starts its children in order.
    ///
    /// Resolves once every child of every level has started. Cancelled, it kills what had started.
    ///
    /// # Errors
    ///
    /// An invalid spec starts nothing. A child that does not start has those before it stopped again, in
    /// reverse order, before the error is returned.
    pub async fn start(spec: SupervisorSpec, observer: Arc<dyn Observer>) -> Result<Self, StartError> {
        spec.validate()?;
        let (supervisor, ready) = Self::begin(&spec, observer, Addresses::EndWithMe);
        drop(spec);
        let unwatched = KillOnDrop(Some(supervisor.clone()));
        let started = ready.await.unwrap_or_else(|_| Err(supervisor.ending()));
        unwatched.disarm();
        if started.is_err() {
            supervisor.outcome().await;
        }
        started.map(|()| supervisor)
    }

    /// Stops the children in reverse order, each within its own limit, and tells how each of them stopped.
    ///
    /// Idempotent: every caller gets the same report, also when the supervisor had ended by itself. Cancel
    /// safe; the stop goes on. A child that blocks its thread is waited for.
    pub async fn stop(&self) -> StopReport {
        self.ask_to(Request::Stop);
        self.outcome().await.report
    }

    /// Adds a child after all others and starts it.
    ///
    /// Resolves once it has started. Cancelled, the child is started all the same.
    ///
    /// # Errors
    ///
    /// Nothing has changed when it fails: the id is taken, the spec is invalid, the bound on dynamic
    /// children is reached, the child did not start, or the supervisor is ending.
    pub async fn start_child(&self, spec: ChildSpec) -> Result<(), StartError> {
        let (reply, answer) = oneshot::channel();
        self.ask_to(Request::StartChild { spec, reply });
        answer.await.unwrap_or_else(|_| Err(self.ending()))
    }

    /// Stops a child and forgets it, so that its id is free again.
    ///
    /// A child that had ended before is forgotten at once. Cancelled, the child is stopped all the same.
    ///
    /// # Errors
    ///
    /// There is no such child, or the supervisor has ended.
    pub async fn stop_child(&self, id: impl Into<ChildId>) -> Result<ChildStop, StopChildError> {
        let (reply, answer) = oneshot::channel();
        self.ask_to(Request::StopChild { id: id.into(), reply });
        answer.await.unwrap_or_else(|_| Err(StopChildError::Ended { supervisor: self.inner.id.clone() }))
    }

    /// Describes the children in start order; none once the supervisor has ended.
    pub async fn children(&self) -> Vec<ChildInfo> {
        let (reply, answer) = oneshot::channel();
        self.ask_to(Request::Children { reply });
        answer.await.unwrap_or_default()
    }

    /// The handle of a child supervisor's current life. It does not follow the child into its next life.
    pub async fn subtree(&self, id: impl Into<ChildId>) -> Option<Self> {
        let (reply, answer) = oneshot::channel();
        self.ask_to(Request::Subtree { id: id.into(), reply });
        answer.await.ok().flatten()
    }

    /// Resolves when the supervisor has ended, by itself or because it was stopped, and says why.
    ///
    /// Cancel safe, and resolves for every caller.
    pub async fn ended(&self) -> SupervisorExit {
        self.outcome().await.exit
    }

    /// Kills the current life of a child at its next await; its restart type decides what follows.
    ///
    /// Returns at once. Unknown ids and children without a life are ignored; a child waiting for its
    /// back-off counts the kill as a failed start.
    pub fn kill_child(&self, id: impl Into<ChildId>) {
        self.ask_to(Request::KillChild { id: id.into() });
    }

    /// The supervisor's id.
    #[must_use]
    pub fn id(&self) -> &ChildId {
        &self.inner.id
    }

    /// Begins a supervisor of a validated spec; never blocks. The receiver tells when it has started.
    fn begin(
        spec: &SupervisorSpec,
        observer: Arc<dyn Observer>,
        addresses: Addresses,
    ) -> (Self, ReadyAnswer) {
        let (outcome, outcome_seen) = watch::channel(None);
        let (ready, ready_answer) = oneshot::channel();
        let (engine, seats) = Engine::new(spec);
        let posts = seats.into_iter().zip(&spec.children).map(|(seat, child)| {
            child.nursery.revive();
            (seat, Post::new(child.share(), addresses))
        });
        let opening =
            Opening { id: spec.id.clone(), engine, posts: posts.collect(), observer, outcome, ready };
        let (desk, start) = ActorRuntime::spawn_instant(None, Desk, opening)
            .expect("ractor refuses only names, and supervisors have none");
        let tasks = tokio::sync::Mutex::new(Tasks { start: Some(start), task: None });
        let inner = Inner { id: spec.id.clone(), desk, outcome: outcome_seen, tasks };
        (Self { inner: Arc::new(inner) }, ready_answer)
    }

    /// Waits until nothing is left of the supervisor. Cancel safe.
    async fn outcome(&self) -> Outcome {
        let mut seen = self.inner.outcome.clone();
        let outcome = match seen.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        self.inner.tasks.lock().await.join().await;
        outcome.unwrap_or_else(|| Outcome { exit: SupervisorExit::Aborted, report: StopReport::default() })
    }

    /// A supervisor that has ended refuses the request; dropping it tells whoever waits for the answer.
    fn ask_to(&self, request: Request) {
        drop(self.inner.desk.cast(request));
    }

    fn ending(&self) -> StartError {
        StartError::Ending { supervisor: self.inner.id.clone() }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.inner.outcome.borrow().as_ref().map(|outcome| outcome.exit.clone());
        f.debug_struct("Supervisor").field("id", &self.inner.id).field("ended", &ended).finish()
    }
}

/// Kills a tree whose start was cancelled.
struct KillOnDrop(Option<Supervisor>);

impl KillOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.0 {
            supervisor.ask_to(Request::Kill);
        }
    }
}

type ReadyAnswer = oneshot::Receiver<Result<(), StartError>>;

/// The tasks behind a supervisor's actor: one that starts it and hands over the one that runs it.
struct Tasks {
    start: Option<JoinHandle<Result<JoinHandle<()>, SpawnErr>>>,
    task: Option<JoinHandle<()>>,
}

impl Tasks {
    /// Cancel safe: a task is let go only once it is done.
    async fn join(&mut self) {
        if let Some(start) = &mut self.start {
            self.task = start.await.ok().and_then(Result::ok);
            self.start = None;
        }
        if let Some(task) = &mut self.task {
            // Done is done: the outcome says how.
            drop(task.await);
            self.task = None;
        }
    }
}

/// Makes the lives of a child supervisor.
pub(super) struct SupervisorNursery {
    spec: SupervisorSpec,
    current: Mutex<Option<Supervisor>>,
}

impl SupervisorNursery {
    pub(super) fn new(spec: SupervisorSpec) -> Self {
        Self { spec, current: Mutex::new(None) }
    }
}

impl Nursery for SupervisorNursery {
    fn begin(&self, terms: &BirthTerms) -> Box<dyn Running> {
        let observer = Arc::clone(&terms.observer);
        let (supervisor, ready) = Supervisor::begin(&self.spec, observer, Addresses::OutliveMe);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor.clone());
        Box::new(RunningSupervisor { supervisor, ready: Some(ready), failed: None })
    }

    fn retire(&self) {
        self.spec.children.iter().for_each(|child| child.nursery.retire());
    }

    fn revive(&self) {
        self.spec.children.iter().for_each(|child| child.nursery.revive());
    }

    fn set_waiting_max(&self, _waiting_max: usize) {}

    fn validate(&self) -> Result<(), StartError> {
        self.spec.validate()
    }

    fn supervisor(&self) -> Option<Supervisor> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The keeper's hold on a child supervisor.
struct RunningSupervisor {
    supervisor: Supervisor,
    ready: Option<ReadyAnswer>,
    failed: Option<Exit>,
}

impl Running for RunningSupervisor {
    fn started(&mut self) -> BoxFuture<'_, Result<(), Exit>> {
        Box::pin(async {
            if let Some(ready) = &mut self.ready {
                let answer = ready.await;
                self.ready = None;
                match answer {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) => self.failed = Some(Exit::StartFailed(error.to_string())),
                    Err(_) => self.failed = Some(Exit::Aborted),
                }
            }
            let outcome = self.supervisor.outcome().await;
            let killed = outcome.exit == SupervisorExit::Killed;
            Err(self.failed.take().filter(|_| !killed).unwrap_or(Exit::Killed))
        })
    }

    fn stop(&mut self) {
        self.supervisor.ask_to(Request::Stop);
    }

    fn kill(&mut self) {
        self.supervisor.ask_to(Request::Kill);
    }

    fn ended(&mut self) -> BoxFuture<'_, Ending> {
        Box::pin(async {
            let exit = Exit::from(&self.supervisor.outcome().await.exit);
            Ending { exit, cleanup: None, cut_in_cleanup: false }
        })
    }
}

impl Drop for RunningSupervisor {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What becomes of the static children's addresses when their supervisor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    /// The supervisor above decides whether there is a next life.
    OutliveMe,
    EndWithMe,
}

type Asked<T> = oneshot::Sender<T>;

/// What the supervisor's actor is sent.
enum Request {
    StartChild { spec: ChildSpec, reply: Asked<Result<(), StartError>> },
    StopChild { id: ChildId, reply: Asked<Result<ChildStop, StopChildError>> },
    Children { reply: Asked<Vec<ChildInfo>> },
    Subtree { id: ChildId, reply: Asked<Option<Supervisor>> },
    KillChild { id: ChildId },
    Stop,
    Kill,
    Report { seat: Seat, life: u64, report: Report },
}

/// What the shell holds of one child.
struct Post {
    child: ChildSpec,
    addresses: Addresses,
    orders: Option<watch::Sender<Order>>,
    added: Option<Asked<Result<(), StartError>>>,
    gone: Vec<Asked<Result<ChildStop, StopChildError>>>,
}

impl Post {
    fn new(child: ChildSpec, addresses: Addresses) -> Self {
        Self { child, addresses, orders: None, added: None, gone: Vec::new() }
    }
}

struct Opening {
    id: ChildId,
    engine: Engine,
    posts: HashMap<Seat, Post>,
    observer: Arc<dyn Observer>,
    outcome: watch::Sender<Option<Outcome>>,
    ready: Asked<Result<(), StartError>>,
}

/// The mutable part of a running supervisor.
struct Books {
    id: ChildId,
    me: ActorRef<Request>,
    engine: Engine,
    posts: HashMap<Seat, Post>,
    /// One task per life; each ends with its life.
    keepers: JoinSet<()>,
    observer: Arc<dyn Observer>,
    outcome: watch::Sender<Option<Outcome>>,
    ready: Option<Asked<Result<(), StartError>>>,
    began: Instant,
}

impl Books {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn answer(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::StartChild { spec, reply } => self.start_child(spec, reply),
            Request::StopChild { id, reply } => self.stop_child(id, reply),
            Request::Children { reply } => drop(reply.send(self.engine.children())),
            Request::Subtree { id, reply } => {
                let post = self.engine.find(&id).and_then(|seat| self.posts.get(&seat));
                drop(reply.send(post.and_then(|post| post.child.nursery.supervisor())));
            }
            Request::KillChild { id } => match self.engine.find(&id) {
                Some(seat) => self.engine.kill(seat),
                None => {
                    tracing::debug!(target: LOG_TARGET, supervisor = %self.id, child = %id, "no child to kill")
                }
            },
            Request::Stop => self.engine.stop(now),
            Request::Kill => self.engine.kill_all(now),
            Request::Report { seat, life, report } => self.engine.report(seat, life, report, now),
        }
        self.perform();
    }

    fn start_child(&mut self, child: ChildSpec, reply: Asked<Result<(), StartError>>) {
        // Where the significance of a late child counts is settled by the static spec; here only its own
        // terms and its subtree are checked.
        let checked = child.validate(&self.id, AutoShutdown::AnySignificant);
        match checked.and_then(|()| self.engine.add(child.terms.clone())) {
            Ok(seat) => {
                let mut post = Post::new(child, Addresses::EndWithMe);
                post.added = Some(reply);
                self.posts.insert(seat, post);
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn stop_child(&mut self, id: ChildId, reply: Asked<Result<ChildStop, StopChildError>>) {
        let seat = self.engine.find(&id);
        match seat.and_then(|seat| self.posts.get_mut(&seat).map(|post| (seat, post))) {
            Some((seat, post)) => {
                post.gone.push(reply);
                self.engine.remove(seat, self.now());
            }
            None => {
                let supervisor = self.id.clone();
                drop(reply.send(Err(StopChildError::UnknownChild { supervisor, child: id })));
            }
        }
    }

    fn perform(&mut self) {
        for command in self.engine.take_commands() {
            match command {
                Command::Start { seat, life, after } => self.start_life(seat, life, after),
                Command::Stop { seat } => self.order(seat, Order::Stop),
                Command::Kill { seat } => self.order(seat, Order::Kill),
                Command::Retire { seat, forget: false } => {
                    if let Some(post) = self.posts.get(&seat) {
                        post.child.nursery.retire();
                    }
                }
                Command::Retire { seat, forget: true } => {
                    if let Some(post) = self.posts.remove(&seat) {
                        post.child.nursery.retire();
                    }
                }
                Command::Announce(event) => announce(&self.id, &event, &*self.observer),
                Command::Ready => {
                    if let Some(ready) = self.ready.take() {
                        drop(ready.send(Ok(())));
                    }
                }
                Command::Added { seat, outcome } => {
                    if let Some(added) = self.posts.get_mut(&seat).and_then(|post| post.added.take()) {
                        drop(added.send(outcome));
                    }
                }
                Command::Gone { seat, row } => {
                    for asked in self
                        .posts
                        .get_mut(&seat)
                        .map(|post| std::mem::take(&mut post.gone))
                        .into_iter()
                        .flatten()
                    {
                        drop(asked.send(Ok(row.clone())));
                    }
                }
                Command::Finish { exit, report } => self.finish(exit, report),
            }
        }
        // Keepers that are done leave a result each; without this the set would grow with every restart.
        while self.keepers.try_join_next().is_some() {}
    }

    fn start_life(&mut self, seat: Seat, life: u64, after: Duration) {
        let Some(post) = self.posts.get_mut(&seat) else { return };
        let (sender, orders) = Orders::new();
        post.orders = Some(sender);
        post.child.nursery.revive();
        let shutdown = post.child.terms.shutdown;
        let charge = Charge {
            nursery: Arc::clone(&post.child.nursery),
            terms: BirthTerms { cleanup_time: shutdown.cleanup_time(), observer: Arc::clone(&self.observer) },
            after,
            shutdown,
            orders,
        };
        let line = Line { desk: self.me.clone(), seat, life };
        self.keepers.spawn(async move {
            let last_word = LastWord(Some(&line));
            keep(charge, |report| line.say(report)).await;
            last_word.not_needed();
        });
    }

    fn order(&self, seat: Seat, order: Order) {
        if let Some(orders) = self.posts.get(&seat).and_then(|post| post.orders.as_ref()) {
            give(orders, order);
        }
    }

    fn finish(&mut self, exit: SupervisorExit, report: StopReport) {
        tracing::debug!(target: LOG_TARGET, supervisor = %self.id, ?exit, "supervisor ended");
        for (_, post) in self.posts.drain() {
            match post.addresses {
                Addresses::OutliveMe => {}
                Addresses::EndWithMe => post.child.nursery.retire(),
            }
        }
        if let Some(ready) = self.ready.take() {
            drop(ready.send(Err(self.start_error(&exit))));
        }
        self.outcome.send_replace(Some(Outcome { exit, report }));
        self.me.stop(None);
    }

    /// Why a supervisor that ended before it was ready could not be started.
    fn start_error(&self, exit: &SupervisorExit) -> StartError {
        let supervisor = self.id.clone();
        match exit {
            SupervisorExit::StartFailed { child, exit } | SupervisorExit::GaveUp { child, exit } => {
                StartError::ChildFailed { supervisor, child: child.clone(), exit: exit.clone() }
            }
            SupervisorExit::Stopped
            | SupervisorExit::AutoShutdown { .. }
            | SupervisorExit::Killed
            | SupervisorExit::Aborted => StartError::Ending { supervisor },
        }
    }
}

/// A keeper's line to its supervisor.
struct Line {
    desk: ActorRef<Request>,
    seat: Seat,
    life: u64,
}

impl Line {
    /// A supervisor that is gone needs no reports.
    fn say(&self, report: Report) {
        drop(self.desk.cast(Request::Report { seat: self.seat, life: self.life, report }));
    }
}

/// Reports the end of a life whose keeper came to grief, so that its supervisor does not wait for ever.
struct LastWord<'a>(Option<&'a Line>);

impl LastWord<'_> {
    fn not_needed(mut self) {
        self.0 = None;
    }
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.0 {
            line.say(Report::Ended { exit: Exit::Aborted, cleanup: None });
        }
    }
}

/// The ractor actor of every supervisor.
struct Desk;

#[cfg_attr(feature = "async-trait", ractor::async_trait)]
impl Actor for Desk {
    type Msg = Request;
    type State = Books;
    type Arguments = Opening;

    async fn pre_start(&self, me: ActorRef<Request>, opening: Opening) -> Result<Books, ActorProcessingErr> {
        let Opening { id, engine, posts, observer, outcome, ready } = opening;
        let (keepers, began) = (JoinSet::new(), Instant::now());
        let mut books =
            Books { id, me, engine, posts, keepers, observer, outcome, ready: Some(ready), began };
        books.engine.begin(Duration::ZERO);
        books.perform();
        Ok(books)
    }

    async fn handle(
        &self,
        _me: ActorRef<Request>,
        request: Request,
        books: &mut Books,
    ) -> Result<(), ActorProcessingErr> {
        books.answer(request);
        Ok(())
    }

    /// Supervisors have no ractor children: keepers watch their lives. The default would end the supervisor
    /// with the first of them.
    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<Request>,
        _event: SupervisionEvent,
        _books: &mut Books,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}
