//! One life of an actor: the trait users implement, and the ractor actor that runs it.
//!
//! The ractor actor turns wake-ups into calls of [`Life`], contains panics, runs the clean-up and records how
//! the life ended. It does not restart anything and knows no supervisor.
//!
//! | ractor message | what happens | may end the life as |
//! | --- | --- | --- |
//! | `Wake` | handles messages from the mailbox until it is empty, then sleeps | `PanickedInHandle`, `Failed`, `Finished` |
//! | stop | finishes the message at hand, cleans up | `Stopped`, `PanickedInCleanup` |
//! | kill | cut off at the next await | `Killed` |
//!
//! Lives are not linked to ractor's own tree. A link would carry the dead life's value to the supervisor in
//! an event, past the end of its task, so that a successor could start while the value still holds a file or
//! a port; it would also take one process-wide lock per start. The keeper does the link's work: it awaits the
//! task and kills it when dropped.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr, SupervisionEvent};
use tokio::task::{JoinError, JoinHandle};

use super::address::Address;
use super::event::Observer;
use super::exit::{Exit, panic_text};
use super::keeper::{LifeEnd, LifeFactory, Running};
use super::mailbox::{Mailbox, Next};

/// Why an engine, a closure or a life failed: any error, with its chain of causes.
pub type Fault = Box<dyn std::error::Error + Send + Sync + 'static>;

/// How many messages one wake-up handles before ractor looks at stop and kill again. The mailbox tells of a
/// stop between any two messages anyway; a smaller share would only cost more wake-ups, a larger one would
/// gain nothing measurable.
const MESSAGES_PER_WAKE: usize = 64;

/// One life of an actor, from its start to its end.
///
/// Its value is made anew for every life by the factory given to
/// [`ChildSpec::actor`](super::ChildSpec::actor). Calls never overlap. All panics are contained (this needs
/// `panic = "unwind"`). A kill drops the running call at its next await and then the value; code that
/// blocks its thread cannot be killed, and its end is waited for.
pub trait Life: Send + 'static {
    /// The type of its messages.
    type Message: Send + 'static;

    /// Called before the first message of this life. An error or a panic is a failed start; `ended` is not
    /// called then.
    fn started(&mut self) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }

    /// Handles one message. An error or a panic ends this life, and the supervisor decides what follows.
    /// The message is lost; those behind it go to the next life.
    fn handle(&mut self, message: Self::Message) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Cleans up after this life: after an orderly stop as well as after an error or a panic of `handle`,
    /// and always before the next life starts. Not called after a kill. Its time is bounded by the child's
    /// [`Shutdown`](super::Shutdown).
    fn ended(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

type Make<L> = dyn Fn(Address<<L as Life>::Message>) -> BoxFuture<'static, Result<L, Fault>> + Send + Sync;

/// Makes the lives of one actor child and owns its mailbox.
pub(super) struct ActorFactory<L: Life> {
    make: Arc<Make<L>>,
    mailbox: Arc<Mailbox<L::Message>>,
}

impl<L: Life> ActorFactory<L> {
    pub(super) fn new<F, Fut>(make: F) -> (Self, Address<L::Message>)
    where
        F: Fn(Address<L::Message>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<L, Fault>> + Send + 'static,
    {
        let mailbox = Arc::new(Mailbox::new());
        let address = Address::new(Arc::clone(&mailbox));
        // The call itself happens inside the future, so that a panic of it counts as a failed start.
        let make: Arc<Make<L>> = Arc::new(move |address| Box::pin(make(address)));
        (Self { make, mailbox }, address)
    }

    fn begin_life(&self, cleanup_time: Option<Duration>) -> RunningLife<L::Message> {
        let (mailbox, record) = (Arc::clone(&self.mailbox), Arc::new(LifeRecord::default()));
        let state = LifeState {
            life: None,
            mailbox: Arc::clone(&mailbox),
            record: Arc::clone(&record),
            cleanup_time,
            finishing: false,
        };
        let (actor, start) = ActorRuntime::spawn_instant(None, LifeActor(Arc::clone(&self.make)), state)
            .expect("ractor refuses only names, and lives have none");
        RunningLife { actor, start: Some(start), task: None, mailbox, record }
    }
}

impl<L: Life> LifeFactory for ActorFactory<L> {
    fn begin(&self, cleanup_time: Option<Duration>, _observer: &Arc<dyn Observer>) -> Box<dyn Running> {
        Box::new(self.begin_life(cleanup_time))
    }

    fn retire(&self) {
        self.mailbox.end();
    }

    fn revive(&self) {
        self.mailbox.revive();
    }

    fn set_waiting_max(&self, waiting_max: usize) {
        self.mailbox.set_waiting_max(waiting_max);
    }
}

impl<L: Life> Drop for ActorFactory<L> {
    fn drop(&mut self) {
        self.mailbox.end();
    }
}

/// The only message of a life's ractor actor: look into the mailbox.
struct Wake;

/// The mutable part of a life's actor.
struct LifeState<L: Life> {
    /// None before the start has made it, and from the clean-up on.
    life: Option<L>,
    mailbox: Arc<Mailbox<L::Message>>,
    record: Arc<LifeRecord>,
    cleanup_time: Option<Duration>,
    finishing: bool,
}

/// Why a wake-up is over.
enum WakeUpEnd {
    Empty,
    More,
    Finish,
    Broken(Exit),
}

impl<L: Life> LifeState<L> {
    /// Handles what is in the mailbox, a share at a time.
    async fn handle_messages(&mut self) -> WakeUpEnd {
        let Some(life) = &mut self.life else { return WakeUpEnd::Empty };
        for _ in 0..MESSAGES_PER_WAKE {
            let message = match self.mailbox.next() {
                Next::Message(message) => message,
                Next::Empty | Next::Closed => return WakeUpEnd::Empty,
                Next::Finish => return WakeUpEnd::Finish,
            };
            match AssertUnwindSafe(async { life.handle(message).await }).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => return WakeUpEnd::Broken(Exit::Failed(fault.to_string())),
                Err(payload) => return WakeUpEnd::Broken(Exit::PanickedInHandle(panic_text(&*payload))),
            }
            // The mailbox is no tokio channel: without this, ready handlers would starve other tasks.
            tokio::task::coop::consume_budget().await;
        }
        WakeUpEnd::More
    }

    /// Runs the clean-up and drops the value, panics contained. Returns what went wrong.
    async fn clean_up(&mut self, time: Option<Duration>) -> Result<(), Exit> {
        let Some(mut life) = self.life.take() else { return Ok(()) };
        self.record.lock().cleaning = true;
        let ended = AssertUnwindSafe(async { life.ended().await }).catch_unwind();
        let ended = match time {
            Some(time) => tokio::time::timeout(time, ended).await.map_err(|_| Exit::CleanupOverran),
            None => Ok(ended.await),
        };
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(life)));
        self.record.lock().cleaning = false;
        let panicked =
            |payload: Box<dyn std::any::Any + Send>| Exit::PanickedInCleanup(panic_text(&*payload));
        ended?.map_err(panicked)?;
        dropped.map_err(panicked)
    }
}

/// The record of a life's actor about its end, for the keeper.
#[derive(Default)]
struct LifeRecord(Mutex<RecordedEnd>);

#[derive(Default)]
struct RecordedEnd {
    exit: Option<Exit>,
    cleanup: Option<Exit>,
    /// The clean-up is under way, or was cut off.
    cleaning: bool,
}

impl LifeRecord {
    fn lock(&self) -> MutexGuard<'_, RecordedEnd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_exit(&self, exit: Exit) {
        self.lock().exit.get_or_insert(exit);
    }
}

/// The ractor actor of a life, with the factory that makes its value.
struct LifeActor<L: Life>(Arc<Make<L>>);

#[cfg_attr(feature = "async-trait", ractor::async_trait)]
impl<L: Life> Actor for LifeActor<L> {
    type Msg = Wake;
    type State = LifeState<L>;
    type Arguments = LifeState<L>;

    async fn pre_start(
        &self,
        me: ActorRef<Wake>,
        mut state: LifeState<L>,
    ) -> Result<LifeState<L>, ActorProcessingErr> {
        let address = Address::new(Arc::clone(&state.mailbox));
        let start = async {
            let mut life = (self.0)(address).await?;
            life.started().await?;
            Ok::<L, Fault>(life)
        };
        let exit = match AssertUnwindSafe(start).catch_unwind().await {
            Ok(Ok(life)) => {
                state.life = Some(life);
                state.mailbox.open(Arc::new(move || drop(me.cast(Wake))));
                return Ok(state);
            }
            Ok(Err(fault)) => Exit::StartFailed(fault.to_string()),
            Err(payload) => Exit::PanickedInStart(panic_text(&*payload)),
        };
        state.record.record_exit(exit.clone());
        Err(exit.to_string().into())
    }

    async fn handle(
        &self,
        me: ActorRef<Wake>,
        _: Wake,
        state: &mut LifeState<L>,
    ) -> Result<(), ActorProcessingErr> {
        match state.handle_messages().await {
            WakeUpEnd::Empty => Ok(()),
            WakeUpEnd::More => {
                // Refused only if this life is ending; the next one finds the messages by itself.
                drop(me.cast(Wake));
                Ok(())
            }
            WakeUpEnd::Finish => {
                state.finishing = true;
                state.mailbox.pause();
                me.stop(None);
                Ok(())
            }
            WakeUpEnd::Broken(exit) => {
                state.mailbox.pause();
                state.record.record_exit(exit.clone());
                if let Err(second) = state.clean_up(state.cleanup_time).await {
                    state.record.lock().cleanup = Some(second);
                }
                Err(exit.to_string().into())
            }
        }
    }

    /// Lives have no ractor children. The default would stop the life when one ended.
    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<Wake>,
        _event: SupervisionEvent,
        _state: &mut LifeState<L>,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    /// Runs after an orderly stop only; the keeper holds the limit of time.
    async fn post_stop(
        &self,
        _me: ActorRef<Wake>,
        state: &mut LifeState<L>,
    ) -> Result<(), ActorProcessingErr> {
        state.mailbox.pause();
        let time = if state.finishing { state.cleanup_time } else { None };
        let orderly = if state.finishing { Exit::Finished } else { Exit::Stopped };
        let exit = state.clean_up(time).await.map_or_else(|exit| exit, |()| orderly);
        state.record.record_exit(exit);
        Ok(())
    }
}

type StartTask = JoinHandle<Result<JoinHandle<()>, SpawnErr>>;

/// A life that has begun, for its keeper.
struct RunningLife<M> {
    actor: ActorRef<Wake>,
    /// Runs the start and hands over the task of the life itself; taken when it is done.
    start: Option<StartTask>,
    task: Option<JoinHandle<()>>,
    mailbox: Arc<Mailbox<M>>,
    record: Arc<LifeRecord>,
}

impl<M: Send + 'static> Running for RunningLife<M> {
    fn started(&mut self) -> BoxFuture<'_, Result<(), Exit>> {
        Box::pin(async {
            let Some(start) = &mut self.start else { return Err(Exit::Aborted) };
            let joined = start.await;
            self.start = None;
            match joined {
                Ok(Ok(task)) => {
                    self.task = Some(task);
                    Ok(())
                }
                // Without a record the start was killed.
                Ok(Err(_)) => Err(self.record.lock().exit.take().unwrap_or(Exit::Killed)),
                Err(error) => Err(exit_of(error, Exit::PanickedInStart)),
            }
        })
    }

    fn stop(&mut self) {
        self.mailbox.pause();
        self.actor.stop(None);
    }

    fn kill(&mut self) {
        self.mailbox.pause();
        self.actor.kill();
    }

    fn ended(&mut self) -> BoxFuture<'_, LifeEnd> {
        Box::pin(async {
            let joined = match &mut self.task {
                Some(task) => task.await,
                None => Ok(()),
            };
            self.task = None;
            self.mailbox.pause();
            let mut record = self.record.lock();
            // Without a record the life was killed, or its task panicked or was aborted outside the actor's
            // methods.
            let exit = record.exit.take().unwrap_or_else(|| match joined {
                Ok(()) => Exit::Killed,
                Err(error) => exit_of(error, Exit::PanickedInCleanup),
            });
            LifeEnd { exit, cleanup: record.cleanup.take(), cut_in_cleanup: record.cleaning }
        })
    }
}

impl<M> Drop for RunningLife<M> {
    fn drop(&mut self) {
        self.actor.kill();
    }
}

/// A panic that reaches the task itself comes from the value's `Drop` after a kill.
fn exit_of(error: JoinError, panicked: fn(String) -> Exit) -> Exit {
    match error.try_into_panic() {
        Ok(payload) => panicked(panic_text(&*payload)),
        Err(_) => Exit::Aborted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Idle;

    impl Life for Idle {
        type Message = ();

        async fn handle(&mut self, (): ()) -> Result<(), Fault> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_life_whose_task_is_aborted_ends_as_aborted() {
        let (factory, address) = ActorFactory::new(|_| async { Ok(Idle) });
        let mut running = factory.begin_life(None);
        assert_eq!(running.started().await, Ok(()));
        address.send(()).expect("open");
        if let Some(task) = &running.task {
            task.abort();
        }
        assert_eq!(running.ended().await.exit, Exit::Aborted);
    }

    #[tokio::test]
    async fn a_life_whose_keeper_drops_it_is_killed() {
        let (dropped, seen) = tokio::sync::oneshot::channel::<()>();
        let dropped = Mutex::new(Some(dropped));
        let (factory, _) = ActorFactory::new(move |_| {
            let held = dropped.lock().map(|mut held| held.take());
            let life = Holder(held.ok().flatten());
            async { Ok(life) }
        });
        let mut running = factory.begin_life(None);
        assert_eq!(running.started().await, Ok(()));
        drop(running);
        assert!(seen.await.is_err(), "the value is dropped");
    }

    struct Holder(
        #[expect(dead_code, reason = "dropped, not read")] Option<tokio::sync::oneshot::Sender<()>>,
    );

    impl Life for Holder {
        type Message = ();

        async fn handle(&mut self, (): ()) -> Result<(), Fault> {
            Ok(())
        }
    }
}
