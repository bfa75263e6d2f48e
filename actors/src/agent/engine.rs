//! Engines: the code that an agent calls with a job's inputs. Async functions and closures are engines.
//!
//! The typed contract is [`Engine`]; the actor sees an engine through [`Runner`], which knows how to read a
//! job's inputs for it.

use std::any::type_name;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use tokio_util::sync::ReusableBoxFuture;
use volery_blackboard::Shape;
use volery_blackboard::shape::Inputs;

use super::context::Context;
use super::failure::GaveUp;
use super::outputs::{IntoOutputs, Outputs};
use crate::fault::Fault;

/// An engine: the code that an agent calls. `I` is fixed by the shape of the subscription.
///
/// Implemented for every `Fn(I, Context) -> impl Future<Output = Result<O, E>>`. Implement it for a type to
/// keep state between jobs; several attempts may run at once, up to the agent's concurrency.
///
/// The future is dropped, and what it holds released, in these cases:
///
/// * its run was cancelled, the agent's `cancel_grace` is over and no [protected section](Context::protect)
///   lasts, unless other runs have a part in the job;
/// * the deadline of a shutdown has come;
/// * its agent or the curator is restarted; the job runs again.
pub trait Engine<I>: Send + Sync + 'static {
    /// The type of the outputs.
    type Output: IntoOutputs;

    /// Runs one attempt of a job.
    ///
    /// # Errors
    /// Any error fails the attempt; the agent's retry policy decides what follows.
    fn run(&self, input: I, context: Context) -> impl Future<Output = Result<Self::Output, Fault>> + Send;

    /// Returns the name of the type that its errors have, as [`std::any::type_name`] writes it, if all have
    /// the same one: without generics it is the `error.type` of a failed attempt. Asked only then. An error
    /// may say a class of its own, see [`Classed`](crate::Classed).
    ///
    /// Functions and closures name their error's type. Default: none.
    fn error_type(&self) -> Option<&'static str> {
        None
    }
}

impl<I, F, Fut, O, E> Engine<I> for F
where
    I: Send + 'static,
    F: Fn(I, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, E>> + Send,
    O: IntoOutputs,
    E: Into<Fault>,
{
    type Output = O;

    async fn run(&self, input: I, context: Context) -> Result<O, Fault> {
        self(input, context).await.map_err(Into::into)
    }

    fn error_type(&self) -> Option<&'static str> {
        Some(type_name::<E>())
    }
}

/// An engine that blocks its thread or computes for long. Made by [`on_thread`].
#[derive(Clone, Debug)]
pub struct OnThread<F>(Arc<F>);

/// Runs a synchronous function as an engine, on tokio's blocking threads instead of an async worker.
///
/// At most the agent's concurrency run at once, those included whose attempt has ended. The function cannot
/// be interrupted: when its run is cancelled or the runtime stops, its result is dropped, and the thread goes
/// on until the function returns.
pub fn on_thread<F>(function: F) -> OnThread<F> {
    OnThread(Arc::new(function))
}

impl<I, F, O, E> Engine<I> for OnThread<F>
where
    I: Send + 'static,
    F: Fn(I, Context) -> Result<O, E> + Send + Sync + 'static,
    O: IntoOutputs,
    E: Into<Fault> + 'static,
{
    type Output = O;

    async fn run(&self, input: I, context: Context) -> Result<O, Fault> {
        let function = Arc::clone(&self.0);
        // Taken by the call, not by this future: one that was cancelled, and still runs, counts.
        let slot = context.blocking_slot().await;
        // The function goes on when this future is dropped, and is named as running until it returns.
        let presence = context.keep_present();
        let scope = context.scope();
        let call = move || {
            let result = scope.call(|| function(input, context)).map_err(Into::into);
            drop((presence, slot));
            result
        };
        let ran = tokio::task::spawn_blocking(call).await;
        match ran {
            Ok(result) => result,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(ended) => Err(ended.into()),
        }
    }

    fn error_type(&self) -> Option<&'static str> {
        Some(type_name::<E>())
    }
}

pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Outputs, Fault>> + Send>>;

/// The memory of an engine's future, kept from one call to the next.
#[derive(Default)]
pub(crate) struct Room(Option<ReusableBoxFuture<'static, Result<Outputs, Fault>>>);

impl Room {
    fn hold(&mut self, future: impl Future<Output = Result<Outputs, Fault>> + Send + 'static) {
        match &mut self.0 {
            Some(room) => room.set(future),
            None => self.0 = Some(ReusableBoxFuture::new(future)),
        }
    }
}

/// A call of an engine. Dropped before it is done, it drops what the engine was at.
pub(crate) struct EngineCall<'a> {
    room: &'a mut Room,
    is_done: bool,
}

impl<'a> EngineCall<'a> {
    pub(super) fn begin(runner: &dyn Runner, context: Context, room: &'a mut Room) -> Self {
        runner.run(context, room);
        Self { room, is_done: false }
    }
}

impl Future for EngineCall<'_> {
    type Output = Result<Outputs, Fault>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.room.0 else { return Poll::Pending };
        let polled = future.poll(task);
        self.is_done = polled.is_ready();
        polled
    }
}

impl Drop for EngineCall<'_> {
    fn drop(&mut self) {
        // A future that is done holds nothing but its memory.
        if !self.is_done {
            self.room.0 = None;
        }
    }
}

/// An engine as an attempt sees it: it reads the inputs in the context, and returns outputs.
pub(crate) trait Runner: Send + Sync + 'static {
    /// Puts the future of a call into the room.
    fn run(&self, context: Context, room: &mut Room);

    /// See [`Engine::error_type`].
    fn error_type(&self) -> Option<&'static str>;
}

/// Makes an engine.
pub(crate) type Factory = Arc<dyn Fn() -> Result<Arc<dyn Runner>, Fault> + Send + Sync>;

/// A fallback as an attempt sees it.
pub(crate) trait Rescue: Send + Sync + 'static {
    fn run(&self, gave_up: GaveUp, context: Context) -> Running;
}

/// The code of the user that is called for jobs of one subscription.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) make: Factory,
    pub(crate) fallback: Option<Arc<dyn Rescue>>,
}

pub(super) struct Assembling<S, E> {
    engine: Arc<E>,
    shape: PhantomData<fn() -> S>,
}

impl<S, E> Assembling<S, E> {
    pub(super) fn new(engine: E) -> Self {
        Self { engine: Arc::new(engine), shape: PhantomData }
    }
}

impl<S: Shape + 'static, E: Engine<S::Input>> Runner for Assembling<S, E> {
    fn run(&self, context: Context, room: &mut Room) {
        let engine = Arc::clone(&self.engine);
        room.hold(async move {
            let input = S::assemble(&mut Inputs::new(context.members(), context.inputs()))?;
            let mut outputs = Outputs::none();
            engine.run(input, context).await?.add_to(&mut outputs);
            Ok(outputs)
        });
    }

    fn error_type(&self) -> Option<&'static str> {
        self.engine.error_type()
    }
}

impl<S: Shape + 'static, E: Engine<(S::Input, GaveUp)>> Rescue for Assembling<S, E> {
    fn run(&self, gave_up: GaveUp, context: Context) -> Running {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            let input = S::assemble(&mut Inputs::new(context.members(), context.inputs()))?;
            let mut outputs = Outputs::none();
            engine.run((input, gave_up), context).await?.add_to(&mut outputs);
            Ok(outputs)
        })
    }
}
