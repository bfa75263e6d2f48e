//! The shell of a supervisor: the ractor actor that performs the commands of its rules.
//!
//! The shell decides nothing (`rules.rs` does) and waits for nothing (`keeper.rs` does): its handler
//! translates a message, asks the rules and performs their commands, so it always answers.
//!
//! | request | may fail with |
//! | --- | --- |
//! | `StartChild` | `DuplicateChild`, `InvalidChild`, `TooManyChildren`, `ChildFailed`, `Ending` |
//! | `StopChild` | `UnknownChild`, `Ended` |
//! | `Children`, `Subtree`, `KillChild`, `Stop`, `Kill`, `Report` | nothing |
//!
//! Its queue is unbounded: it holds at most a few reports per life and the requests of callers.
//!
//! A shell that loses its state loses its children with it: keepers are aborted, and an aborted keeper kills
//! its life. Supervisors are not linked to ractor's own tree, for the reasons given in `life.rs`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr, SupervisionEvent};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::children::ChildIndex;
use super::command::{Command, Report};
use super::event::{LOG_TARGET, Observer, announce};
use super::exit::{Exit, panic_text};
use super::keeper::{Keeper, Order, Orders, now, send_order};
use super::report::{ChildInfo, ChildStop, StartError, StopChildError, StopReport, SupervisorExit};
use super::rules::Rules;
use super::spec::{ChildId, ChildSpec, SupervisorSpec};
use super::supervisor::Supervisor;

/// Resolves once all static children have started, or with the reason why they have not.
pub(super) type ReadyAnswer = oneshot::Receiver<Result<(), StartError>>;

/// The end of a supervisor, for every caller.
#[derive(Clone)]
pub(super) struct SupervisorEnd {
    pub(super) exit: SupervisorExit,
    pub(super) report: StopReport,
}

/// The address of a supervisor's actor, and the tasks behind it.
pub(super) struct Shell {
    id: ChildId,
    actor: ActorRef<Request>,
    end: watch::Receiver<Option<SupervisorEnd>>,
    tasks: Mutex<Tasks>,
}

impl Shell {
    /// Begins a supervisor of a validated spec; never blocks.
    pub(super) fn start(
        spec: &SupervisorSpec,
        observer: Arc<dyn Observer>,
        addresses: Addresses,
    ) -> (Self, ReadyAnswer) {
        let id = spec.id.clone();
        let (end, end_seen) = watch::channel(None);
        let (ready, ready_answer) = oneshot::channel();
        let (rules, indexes) = Rules::new(spec);
        let handles = indexes.into_iter().zip(&spec.children).map(|(index, child)| {
            child.factory.revive();
            (index, ChildHandle::new(child.share(), addresses))
        });
        let state = ShellState {
            id: id.clone(),
            rules,
            handles: handles.collect(),
            keepers: JoinSet::new(),
            observer,
            end,
            ready: Some(ready),
            began: now(),
        };
        let (actor, start) = ActorRuntime::spawn_instant(None, ShellActor, state)
            .expect("ractor refuses only names, and supervisors have none");
        let tasks = Mutex::new(Tasks { start: Some(start), task: None });
        (Self { id, actor, end: end_seen, tasks }, ready_answer)
    }

    pub(super) fn id(&self) -> &ChildId {
        &self.id
    }

    /// A supervisor that has ended refuses the request; the drop of its reply wakes the caller.
    pub(super) fn request(&self, request: Request) {
        drop(self.actor.cast(request));
    }

    /// Waits until nothing is left of the supervisor. Cancel safe.
    pub(super) async fn ended(&self) -> SupervisorEnd {
        let mut seen = self.end.clone();
        let end = match seen.wait_for(Option::is_some).await {
            Ok(end) => end.clone(),
            Err(_) => None,
        };
        self.tasks.lock().await.join().await;
        end.unwrap_or_else(|| SupervisorEnd { exit: SupervisorExit::Aborted, report: StopReport::default() })
    }
}

/// The end of the static children's addresses when their supervisor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    /// The supervisor above decides whether there is a next life.
    OutliveMe,
    EndWithMe,
}

type ReplyTo<T> = oneshot::Sender<T>;

/// The messages of the supervisor's actor.
pub(super) enum Request {
    StartChild { spec: ChildSpec, reply: ReplyTo<Result<(), StartError>> },
    StopChild { id: ChildId, reply: ReplyTo<Result<ChildStop, StopChildError>> },
    Children { reply: ReplyTo<Vec<ChildInfo>> },
    Subtree { id: ChildId, reply: ReplyTo<Option<Supervisor>> },
    KillChild { id: ChildId },
    Stop,
    Kill,
    Report { index: ChildIndex, life: u64, report: Report },
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
            // The end says how.
            drop(task.await);
            self.task = None;
        }
    }
}

/// The spec of one child, its running life, and the callers that wait for it.
struct ChildHandle {
    spec: ChildSpec,
    addresses: Addresses,
    orders: Option<watch::Sender<Order>>,
    start_reply: Option<ReplyTo<Result<(), StartError>>>,
    stop_replies: Vec<ReplyTo<Result<ChildStop, StopChildError>>>,
}

impl ChildHandle {
    fn new(spec: ChildSpec, addresses: Addresses) -> Self {
        Self { spec, addresses, orders: None, start_reply: None, stop_replies: Vec::new() }
    }
}

/// The mutable part of a running supervisor.
struct ShellState {
    id: ChildId,
    rules: Rules,
    handles: HashMap<ChildIndex, ChildHandle>,
    /// One task per life; each ends with its life.
    keepers: JoinSet<()>,
    observer: Arc<dyn Observer>,
    end: watch::Sender<Option<SupervisorEnd>>,
    ready: Option<ReplyTo<Result<(), StartError>>>,
    began: Instant,
}

impl ShellState {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn answer(&mut self, me: &ActorRef<Request>, request: Request) {
        let now = self.now();
        match request {
            Request::StartChild { spec, reply } => self.start_child(spec, reply),
            Request::StopChild { id, reply } => self.stop_child(id, reply),
            Request::Children { reply } => drop(reply.send(self.rules.children(now))),
            Request::Subtree { id, reply } => {
                let handle = self.rules.find(&id).and_then(|index| self.handles.get(&index));
                drop(reply.send(handle.and_then(|handle| handle.spec.factory.supervisor())));
            }
            Request::KillChild { id } => match self.rules.find(&id) {
                Some(index) => self.rules.kill(index),
                None => {
                    tracing::debug!(target: LOG_TARGET, supervisor = %self.id, child = %id, "no child to kill")
                }
            },
            Request::Stop => self.rules.stop(now),
            Request::Kill => self.rules.kill_all(now),
            Request::Report { index, life, report } => self.rules.report(index, life, report, now),
        }
        self.perform(me);
    }

    fn start_child(&mut self, spec: ChildSpec, reply: ReplyTo<Result<(), StartError>>) {
        let checked = spec.validate(&self.id, self.rules.auto_shutdown());
        let added = checked.and_then(|()| self.rules.add(spec.terms.clone()));
        match added {
            Ok(index) => {
                let mut handle = ChildHandle::new(spec, Addresses::EndWithMe);
                handle.start_reply = Some(reply);
                self.handles.insert(index, handle);
            }
            Err(error) => {
                drop(reply.send(Err(error)));
                contain_panic(|| drop(spec));
            }
        }
    }

    fn stop_child(&mut self, id: ChildId, reply: ReplyTo<Result<ChildStop, StopChildError>>) {
        let index = self.rules.find(&id);
        match index.and_then(|index| self.handles.get_mut(&index).map(|handle| (index, handle))) {
            Some((index, handle)) => {
                handle.stop_replies.push(reply);
                self.rules.remove(index, self.now());
            }
            None => {
                let supervisor = self.id.clone();
                drop(reply.send(Err(StopChildError::UnknownChild { supervisor, child: id })));
            }
        }
    }

    fn perform(&mut self, me: &ActorRef<Request>) {
        for command in self.rules.take_commands() {
            match command {
                Command::Start { index, life, after } => self.start_life(me, index, life, after),
                Command::Stop { index } => self.order(index, Order::Stop),
                Command::Kill { index } => self.order(index, Order::Kill),
                Command::Retire { index, forget } => self.retire(index, forget),
                Command::Announce(event) => announce(&self.id, &event, &*self.observer),
                Command::Ready => {
                    if let Some(ready) = self.ready.take() {
                        drop(ready.send(Ok(())));
                    }
                }
                Command::Added { index, result } => {
                    let handle = self.handles.get_mut(&index);
                    if let Some(reply) = handle.and_then(|handle| handle.start_reply.take()) {
                        drop(reply.send(result));
                    }
                }
                Command::Removed { index, stop } => {
                    let Some(handle) = self.handles.get_mut(&index) else { continue };
                    for reply in handle.stop_replies.drain(..) {
                        drop(reply.send(Ok(stop.clone())));
                    }
                }
                Command::Finish { exit, report } => self.finish(me, exit, report),
            }
        }
        // Keepers that are done leave a result each; without this the set would grow with every restart.
        while self.keepers.try_join_next().is_some() {}
    }

    fn start_life(&mut self, me: &ActorRef<Request>, index: ChildIndex, life: u64, after: Duration) {
        let Some(handle) = self.handles.get_mut(&index) else { return };
        let (sender, orders) = Orders::new();
        handle.orders = Some(sender);
        handle.spec.factory.revive();
        let keeper = Keeper {
            factory: Arc::clone(&handle.spec.factory),
            observer: Arc::clone(&self.observer),
            after,
            shutdown: handle.spec.terms.shutdown,
            orders,
        };
        let reporter = Reporter { shell: me.clone(), index, life, keeper_returned: false };
        self.keepers.spawn(async move {
            keeper.run(|report| reporter.report(report)).await;
            reporter.keeper_returned();
        });
    }

    fn order(&self, index: ChildIndex, order: Order) {
        if let Some(orders) = self.handles.get(&index).and_then(|handle| handle.orders.as_ref()) {
            send_order(orders, order);
        }
    }

    fn retire(&mut self, index: ChildIndex, forget: bool) {
        if let Some(handle) = self.handles.get(&index) {
            contain_panic(|| handle.spec.factory.retire());
        }
        if forget {
            let handle = self.handles.remove(&index);
            contain_panic(|| drop(handle));
        }
    }

    fn finish(&mut self, me: &ActorRef<Request>, exit: SupervisorExit, report: StopReport) {
        tracing::debug!(target: LOG_TARGET, supervisor = %self.id, ?exit, "supervisor ended");
        for (_, handle) in self.handles.drain() {
            match handle.addresses {
                Addresses::OutliveMe => {}
                Addresses::EndWithMe => contain_panic(|| handle.spec.factory.retire()),
            }
            contain_panic(|| drop(handle));
        }
        if let Some(ready) = self.ready.take() {
            drop(ready.send(Err(self.start_error(&exit))));
        }
        self.end.send_replace(Some(SupervisorEnd { exit, report }));
        me.stop(None);
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
fn contain_panic(action: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(action)) {
        let text = panic_text(&*payload);
        tracing::error!(target: LOG_TARGET, panic = %text, "the drop of a child's messages or factory panicked");
    }
}

/// Sends the reports of one keeper to its shell.
///
/// Dropped before its keeper returned, as when the keeper panicked, it reports the end of the life, so that
/// the supervisor does not wait for ever. A supervisor that is gone needs no reports.
struct Reporter {
    shell: ActorRef<Request>,
    index: ChildIndex,
    life: u64,
    keeper_returned: bool,
}

impl Reporter {
    fn keeper_returned(mut self) {
        self.keeper_returned = true;
    }

    fn report(&self, report: Report) {
        drop(self.shell.cast(Request::Report { index: self.index, life: self.life, report }));
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if !self.keeper_returned {
            self.report(Report::Ended { exit: Exit::Aborted, cleanup: None });
        }
    }
}

/// The ractor actor of every supervisor.
struct ShellActor;

#[cfg_attr(feature = "async-trait", ractor::async_trait)]
impl Actor for ShellActor {
    type Msg = Request;
    type State = ShellState;
    type Arguments = ShellState;

    async fn pre_start(
        &self,
        me: ActorRef<Request>,
        mut state: ShellState,
    ) -> Result<ShellState, ActorProcessingErr> {
        state.rules.begin(Duration::ZERO);
        state.perform(&me);
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<Request>,
        request: Request,
        state: &mut ShellState,
    ) -> Result<(), ActorProcessingErr> {
        state.answer(&me, request);
        Ok(())
    }

    /// Supervisors have no ractor children: keepers watch their lives. The default would end the supervisor
    /// with the first of them.
    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<Request>,
        _event: SupervisionEvent,
        _state: &mut ShellState,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}
