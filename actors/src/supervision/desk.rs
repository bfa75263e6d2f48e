//! The supervisor's desk: the ractor shell that performs the engine's commands.
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
//! Its queue is unbounded: it holds at most a few reports per life and the requests of callers.
//!
//! A desk that loses its state loses its children with it: keepers are aborted, and an aborted keeper kills
//! its life. Supervisors are not linked to ractor's own tree, for the reasons given in `life.rs`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr, SupervisionEvent};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::command::{Command, Report};
use super::engine::Engine;
use super::event::{LOG_TARGET, Observer, announce};
use super::exit::{Exit, panic_text};
use super::keeper::{BirthTerms, Charge, Order, Orders, give, keep, now};
use super::report::{ChildInfo, ChildStop, StartError, StopChildError, StopReport, SupervisorExit};
use super::roster::Seat;
use super::spec::{ChildId, ChildSpec, SupervisorSpec};
use super::supervisor::Supervisor;

/// Resolves once all static children have started, or with the reason why they have not.
pub(super) type ReadyAnswer = oneshot::Receiver<Result<(), StartError>>;

/// The end of a supervisor, for every caller.
#[derive(Clone)]
pub(super) struct Outcome {
    pub(super) exit: SupervisorExit,
    pub(super) report: StopReport,
}

/// The address of a supervisor's actor, and a hold on its tasks.
pub(super) struct Desk {
    actor: ActorRef<Request>,
    outcome: watch::Receiver<Option<Outcome>>,
    tasks: Mutex<Tasks>,
}

impl Desk {
    /// Begins a supervisor of a validated spec; never blocks.
    pub(super) fn open(
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
        let posts = posts.collect();
        let opening = Opening { id: spec.id.clone(), engine, posts, observer, outcome, ready };
        let (actor, start) = ActorRuntime::spawn_instant(None, DeskActor, opening)
            .expect("ractor refuses only names, and supervisors have none");
        let tasks = Mutex::new(Tasks { start: Some(start), task: None });
        (Self { actor, outcome: outcome_seen, tasks }, ready_answer)
    }

    /// A supervisor that has ended refuses the request; the drop of its reply wakes the caller.
    pub(super) fn ask_to(&self, request: Request) {
        drop(self.actor.cast(request));
    }

    /// Waits until nothing is left of the supervisor. Cancel safe.
    pub(super) async fn outcome(&self) -> Outcome {
        let mut seen = self.outcome.clone();
        let outcome = match seen.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        self.tasks.lock().await.join().await;
        outcome.unwrap_or_else(|| Outcome { exit: SupervisorExit::Aborted, report: StopReport::default() })
    }
}

/// The end of the static children's addresses when their supervisor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    /// The supervisor above decides whether there is a next life.
    OutliveMe,
    EndWithMe,
}

type Asked<T> = oneshot::Sender<T>;

/// The messages of the supervisor's actor.
pub(super) enum Request {
    StartChild { spec: ChildSpec, reply: Asked<Result<(), StartError>> },
    StopChild { id: ChildId, reply: Asked<Result<ChildStop, StopChildError>> },
    Children { reply: Asked<Vec<ChildInfo>> },
    Subtree { id: ChildId, reply: Asked<Option<Supervisor>> },
    KillChild { id: ChildId },
    Stop,
    Kill,
    Report { seat: Seat, life: u64, report: Report },
}

/// The tasks behind a supervisor's actor: one that starts it and hands over the one that runs it.
struct Tasks {
    start: Option<JoinHandle<Result<JoinHandle<()>, SpawnErr>>>,
    task: Option<JoinHandle<()>>,
}

impl Tasks {
    /// Cancel safe: a task is released only once it is done.
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

/// The shell's part of one child.
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
            Request::Children { reply } => drop(reply.send(self.engine.children(now))),
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
        let checked = child.validate(&self.id, self.engine.auto_shutdown());
        let added = checked.and_then(|()| self.engine.add(child.terms.clone()));
        match added {
            Ok(seat) => {
                let mut post = Post::new(child, Addresses::EndWithMe);
                post.added = Some(reply);
                self.posts.insert(seat, post);
            }
            Err(error) => {
                drop(reply.send(Err(error)));
                contained(|| drop(child));
            }
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
                Command::Retire { seat, forget } => self.retire(seat, forget),
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

    fn retire(&mut self, seat: Seat, forget: bool) {
        if let Some(post) = self.posts.get(&seat) {
            contained(|| post.child.nursery.retire());
        }
        if forget {
            let post = self.posts.remove(&seat);
            contained(|| drop(post));
        }
    }

    fn finish(&mut self, exit: SupervisorExit, report: StopReport) {
        tracing::debug!(target: LOG_TARGET, supervisor = %self.id, ?exit, "supervisor ended");
        for (_, post) in self.posts.drain() {
            match post.addresses {
                Addresses::OutliveMe => {}
                Addresses::EndWithMe => contained(|| post.child.nursery.retire()),
            }
            contained(|| drop(post));
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

/// Runs what may drop values of others (messages, factories), so that a panic of theirs stays theirs.
fn contained(action: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(action)) {
        let text = panic_text(&*payload);
        tracing::error!(target: LOG_TARGET, panic = %text, "dropping what a child left behind panicked");
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
struct DeskActor;

#[cfg_attr(feature = "async-trait", ractor::async_trait)]
impl Actor for DeskActor {
    type Msg = Request;
    type State = Books;
    type Arguments = Opening;

    async fn pre_start(&self, me: ActorRef<Request>, opening: Opening) -> Result<Books, ActorProcessingErr> {
        let Opening { id, engine, posts, observer, outcome, ready } = opening;
        let (keepers, began) = (JoinSet::new(), now());
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
