//! One life of an actor: the trait users implement, and the ractor shell around it.
//!
//! The shell turns wake-ups into calls of [`Life`], contains panics, runs the clean-up and notes how the
//! life ended. It does not restart anything and knows no supervisor.
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
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr, SupervisionEvent};
use tokio::task::{JoinError, JoinHandle};

use super::address::Address;
use super::exit::{Exit, panic_text};
use super::keeper::{BirthTerms, Ending, Nursery, Running};
use super::mailbox::{Bell, Mailbox, Next};
use super::report::StartError;
use super::supervisor::Supervisor;

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
pub(super) struct ActorNursery<L: Life> {
    make: Arc<Make<L>>,
    mailbox: Arc<Mailbox<L::Message>>,
}

impl<L: Life> ActorNursery<L> {
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
}

impl<L: Life> Nursery for ActorNursery<L> {
    fn begin(&self, terms: &BirthTerms) -> Box<dyn Running> {
        let notes = Arc::new(Notes::default());
        let birth = Birth {
            make: Arc::clone(&self.make),
            mailbox: Arc::clone(&self.mailbox),
            notes: Arc::clone(&notes),
            cleanup_time: terms.cleanup_time,
        };
        let mailbox = Arc::clone(&self.mailbox);
        match ActorRuntime::spawn_instant(None, Shell(PhantomData), birth) {
            Ok((actor, start)) => {
                Box::new(RunningLife { actor, start: Some(start), task: None, mailbox, notes })
            }
            // Only a name can be refused, and lives have none.
            Err(refused) => Box::new(Stillborn(refused.to_string())),
        }
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

    fn validate(&self) -> Result<(), StartError> {
        Ok(())
    }

    fn supervisor(&self) -> Option<Supervisor> {
        None
    }
}

impl<L: Life> Drop for ActorNursery<L> {
    fn drop(&mut self) {
        self.mailbox.end();
    }
}

/// The only message of a life's ractor actor: look into the mailbox.
struct Wake;

struct Birth<L: Life> {
    make: Arc<Make<L>>,
    mailbox: Arc<Mailbox<L::Message>>,
    notes: Arc<Notes>,
    cleanup_time: Option<Duration>,
}

/// The mutable part of a running life. The value is taken out when it is dropped deliberately.
struct Body<L: Life> {
    life: Option<L>,
    mailbox: Arc<Mailbox<L::Message>>,
    notes: Arc<Notes>,
    cleanup_time: Option<Duration>,
    finishing: bool,
}

/// Why a wake-up is over.
enum Pumped {
    Empty,
    More,
    Finish,
    Broken(Exit),
}

impl<L: Life> Body<L> {
    /// Handles what is in the mailbox, a share at a time.
    async fn pump(&mut self) -> Pumped {
        let Some(life) = &mut self.life else { return Pumped::Empty };
        for _ in 0..MESSAGES_PER_WAKE {
            let message = match self.mailbox.next() {
                Next::Message(message) => message,
                Next::Empty | Next::Shut => return Pumped::Empty,
                Next::Finish => return Pumped::Finish,
            };
            match AssertUnwindSafe(async { life.handle(message).await }).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => return Pumped::Broken(Exit::Failed(fault.to_string())),
                Err(payload) => return Pumped::Broken(Exit::PanickedInHandle(panic_text(&*payload))),
            }
            // The mailbox is no tokio channel: without this, ready handlers would starve other tasks.
            tokio::task::coop::consume_budget().await;
        }
        Pumped::More
    }

    /// Runs the clean-up and drops the value, panics contained. Returns what went wrong.
    async fn clean_up(&mut self, time: Option<Duration>) -> Result<(), Exit> {
        let Some(mut life) = self.life.take() else { return Ok(()) };
        self.notes.lock().cleaning = true;
        let ended = AssertUnwindSafe(async { life.ended().await }).catch_unwind();
        let ended = match time {
            Some(time) => tokio::time::timeout(time, ended).await.map_err(|_| Exit::CleanupOverran),
            None => Ok(ended.await),
        };
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(life)));
        self.notes.lock().cleaning = false;
        let panicked =
            |payload: Box<dyn std::any::Any + Send>| Exit::PanickedInCleanup(panic_text(&*payload));
        ended?.map_err(panicked)?;
        dropped.map_err(panicked)
    }
}

/// The shell's note about its life, for the keeper.
#[derive(Default)]
struct Notes(Mutex<NotesInner>);

#[derive(Default)]
struct NotesInner {
    exit: Option<Exit>,
    cleanup: Option<Exit>,
    /// The clean-up is under way, or was cut off.
    cleaning: bool,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, NotesInner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_exit(&self, exit: Exit) {
        self.lock().exit.get_or_insert(exit);
    }
}

/// The ractor actor of a life. It has no fields of its own; the type says which life it runs.
struct Shell<L>(PhantomData<fn() -> L>);

#[cfg_attr(feature = "async-trait", ractor::async_trait)]
impl<L: Life> Actor for Shell<L> {
    type Msg = Wake;
    type State = Body<L>;
    type Arguments = Birth<L>;

    async fn pre_start(&self, me: ActorRef<Wake>, birth: Birth<L>) -> Result<Body<L>, ActorProcessingErr> {
        let Birth { make, mailbox, notes, cleanup_time } = birth;
        let address = Address::new(Arc::clone(&mailbox));
        let start = async {
            let mut life = make(address).await?;
            life.started().await?;
            Ok::<L, Fault>(life)
        };
        let exit = match AssertUnwindSafe(start).catch_unwind().await {
            Ok(Ok(life)) => {
                let bell: Bell = Arc::new(move || drop(me.cast(Wake)));
                mailbox.open(bell);
                return Ok(Body { life: Some(life), mailbox, notes, cleanup_time, finishing: false });
            }
            Ok(Err(fault)) => Exit::StartFailed(fault.to_string()),
            Err(payload) => Exit::PanickedInStart(panic_text(&*payload)),
        };
        notes.note_exit(exit.clone());
        Err(exit.to_string().into())
    }

    async fn handle(
        &self,
        me: ActorRef<Wake>,
        _: Wake,
        body: &mut Body<L>,
    ) -> Result<(), ActorProcessingErr> {
        match body.pump().await {
            Pumped::Empty => Ok(()),
            Pumped::More => {
                // Refused only if this life is ending; the next one finds the messages by itself.
                drop(me.cast(Wake));
                Ok(())
            }
            Pumped::Finish => {
                body.finishing = true;
                body.mailbox.pause();
                me.stop(None);
                Ok(())
            }
            Pumped::Broken(exit) => {
                body.mailbox.pause();
                body.notes.note_exit(exit.clone());
                if let Err(second) = body.clean_up(body.cleanup_time).await {
                    body.notes.lock().cleanup = Some(second);
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
        _body: &mut Body<L>,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    /// Runs after an orderly stop only; the keeper holds the limit of time.
    async fn post_stop(&self, _me: ActorRef<Wake>, body: &mut Body<L>) -> Result<(), ActorProcessingErr> {
        body.mailbox.pause();
        let time = if body.finishing { body.cleanup_time } else { None };
        let orderly = if body.finishing { Exit::Finished } else { Exit::Stopped };
        let exit = body.clean_up(time).await.map_or_else(|exit| exit, |()| orderly);
        body.notes.note_exit(exit);
        Ok(())
    }
}

type StartTask = JoinHandle<Result<JoinHandle<()>, SpawnErr>>;

/// The keeper's hold on a life.
struct RunningLife<M> {
    actor: ActorRef<Wake>,
    /// Runs the start and hands over the task of the life itself; taken when it is done.
    start: Option<StartTask>,
    task: Option<JoinHandle<()>>,
    mailbox: Arc<Mailbox<M>>,
    notes: Arc<Notes>,
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
                // Without a note the start was killed.
                Ok(Err(_)) => Err(self.notes.lock().exit.take().unwrap_or(Exit::Killed)),
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

    fn ended(&mut self) -> BoxFuture<'_, Ending> {
        Box::pin(async {
            let joined = match &mut self.task {
                Some(task) => task.await,
                None => Ok(()),
            };
            self.task = None;
            self.mailbox.pause();
            let mut notes = self.notes.lock();
            // Without a note the life was killed, or its task came to grief outside the shell.
            let exit = notes.exit.take().unwrap_or_else(|| match joined {
                Ok(()) => Exit::Killed,
                Err(error) => exit_of(error, Exit::PanickedInCleanup),
            });
            Ending { exit, cleanup: notes.cleanup.take(), cut_in_cleanup: notes.cleaning }
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

/// A life whose actor could not even be created.
struct Stillborn(String);

impl Running for Stillborn {
    fn started(&mut self) -> BoxFuture<'_, Result<(), Exit>> {
        Box::pin(std::future::ready(Err(Exit::StartFailed(self.0.clone()))))
    }

    fn stop(&mut self) {}

    fn kill(&mut self) {}

    fn ended(&mut self) -> BoxFuture<'_, Ending> {
        let exit = Exit::StartFailed(self.0.clone());
        Box::pin(std::future::ready(Ending { exit, cleanup: None, cut_in_cleanup: false }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::event::NoObserver;

    struct Idle;

    impl Life for Idle {
        type Message = ();

        async fn handle(&mut self, (): ()) -> Result<(), Fault> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_life_whose_task_is_aborted_ends_as_aborted() {
        let (nursery, address) = ActorNursery::new(|_| async { Ok(Idle) });
        let mailbox = Arc::clone(&nursery.mailbox);
        let notes = Arc::new(Notes::default());
        let birth = Birth {
            make: Arc::clone(&nursery.make),
            mailbox: Arc::clone(&mailbox),
            notes: Arc::clone(&notes),
            cleanup_time: None,
        };
        let (actor, start) =
            ActorRuntime::spawn_instant(None, Shell(PhantomData), birth).expect("no name to refuse");
        let mut running = RunningLife { actor, start: Some(start), task: None, mailbox, notes };
        assert_eq!(running.started().await, Ok(()));
        address.send(()).expect("open");
        if let Some(task) = &running.task {
            task.abort();
        }
        assert_eq!(running.ended().await.exit, Exit::Aborted);
    }

    #[tokio::test]
    async fn a_life_whose_keeper_lets_go_is_killed() {
        let (dropped, seen) = tokio::sync::oneshot::channel::<()>();
        let dropped = Mutex::new(Some(dropped));
        let (nursery, _) = ActorNursery::new(move |_| {
            let held = dropped.lock().map(|mut held| held.take());
            let life = Held(held.ok().flatten());
            async { Ok(life) }
        });
        let terms = BirthTerms { cleanup_time: None, observer: Arc::new(NoObserver) };
        let mut running = nursery.begin(&terms);
        assert_eq!(running.started().await, Ok(()));
        drop(running);
        assert!(seen.await.is_err(), "the value is dropped");
    }

    struct Held(#[expect(dead_code, reason = "dropped, not read")] Option<tokio::sync::oneshot::Sender<()>>);

    impl Life for Held {
        type Message = ();

        async fn handle(&mut self, (): ()) -> Result<(), Fault> {
            Ok(())
        }
    }
}
