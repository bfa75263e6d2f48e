//! The execution of an attempt, from reading its inputs to telling the curator how it ended.
//!
//! It runs in the task of the attempt's slot, and owns the attempt. In every case exactly one end is sent: an
//! execution that is dropped before it could send one hands its job back. How outputs and errors become an
//! end stands in `results.rs`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use volery_blackboard::Timestamp;
use volery_blackboard::job::Start;
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Artifacts, Response};

use super::attempt::Attempt;
use super::cell::{EngineCell, NotMade};
use super::context::Context;
use super::engine::{EngineCall, Rescue, Room, Runner};
use super::environment::Environment;
use super::failure::{FallbackFailed, GaveUp};
use super::outputs::Outputs;
use super::slots::Slot;
use super::timeout::TimedOut;
use crate::fault::{Fault, chain, take_text};
use crate::ingress::{AttemptEnd, Ended, EngineState};
use crate::observer::{How, ObservedAttempt, Step};

mod results;

/// The one owner of an attempt. It frees the slot and sends the end, at the latest when it is dropped.
pub(super) struct Execution<'a> {
    attempt: Arc<Attempt>,
    environment: &'a Arc<Environment>,
    slot: &'a Slot,
    observed: ObservedAttempt,
    has_ended: bool,
}

/// Why a call of the user's code has no outputs that can be published.
enum CallError {
    /// It failed; the engine is sound, and names the type of its errors.
    Failed(Fault, Option<&'static str>),
    /// Its outputs are not in order.
    InvalidOutputs(Fault),
    NotMade(NotMade),
    Panicked(String),
    TimedOut(TimedOut, EngineState),
    /// Its run was cancelled, or the runtime is stopping.
    Cancelled,
}

impl CallError {
    /// How it is shown.
    fn how(&self) -> How {
        match self {
            Self::Failed(error, named) => How::of(error, *named),
            Self::InvalidOutputs(_) => How::Failed("output"),
            Self::NotMade(_) => How::Failed("not_made"),
            Self::Panicked(_) => How::Panicked,
            Self::TimedOut(error, _) => How::TimedOut(error.clock()),
            Self::Cancelled => How::Cancelled,
        }
    }

    /// The texts that go with it, the root cause last.
    fn causes(&self) -> Vec<String> {
        match self {
            Self::Failed(error, _) | Self::InvalidOutputs(error) => chain(error.as_ref()),
            Self::NotMade(error) => chain(error),
            Self::Panicked(text) => vec![text.clone()],
            Self::TimedOut(error, _) => chain(error),
            Self::Cancelled => Vec::new(),
        }
    }

    /// Its error, and whether the engine may be used again; none for what was cancelled.
    fn into_fault(self) -> Option<(Fault, EngineState)> {
        Some(match self {
            Self::Failed(error, _) | Self::InvalidOutputs(error) => (error, EngineState::Sound),
            Self::NotMade(error) => (error.into(), EngineState::NotMade),
            Self::Panicked(text) => (format!("engine panicked: {text}").into(), EngineState::Suspect),
            Self::TimedOut(error, engine) => (error.into(), engine),
            Self::Cancelled => return None,
        })
    }
}

/// Runs one attempt to its end. Cancel safe: dropped early, the job is handed back.
pub(super) async fn run(
    mut execution: Execution<'_>,
    inputs: Response<Artifacts>,
    cell: &EngineCell,
    room: &mut Room,
) {
    // Code of the user runs outside the engine, too: schemas, the texts of errors, drops.
    let ended = AssertUnwindSafe(execution.execute(inputs, cell, room)).catch_unwind().await;
    let (end, engine) = match ended {
        Ok(ended) => ended,
        Err(panic) => (execution.panicked_beside(&take_text(panic)), EngineState::Suspect),
    };
    if engine == EngineState::Suspect {
        cell.suspect();
    }
    execution.end(end, engine);
    // Its inputs may be dropped with it.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(execution))) {
        let text = take_text(panic);
        tracing::warn!(target: "volery::agent", text, "an input panicked when it was dropped");
    }
}

/// Gives up a job without another attempt; calls no engine. Cancel safe: dropped early, the job is handed
/// back.
pub(super) async fn bury(mut execution: Execution<'_>, inputs: Response<Artifacts>, why: Burial) {
    // Without its inputs the failure cannot name its causes; it is published all the same.
    execution.attempt.set_inputs(inputs.wait().await.unwrap_or_default());
    let how = how_buried(&why);
    let start = &execution.attempt.start;
    let gave_up = match why {
        Burial::Overdue(overdue) => {
            let error = TimedOut::in_queue(execution.attempt.agent().as_str(), &overdue);
            GaveUp { attempts: start.failures, error: vec![error.to_string()] }
        }
        Burial::DiedAlone(times) => {
            let error = format!("the process died {times} times while this job ran alone");
            GaveUp { attempts: start.failures, error: vec![error] }
        }
        Burial::EndRefused { attempts, error } => GaveUp { attempts, error },
    };
    let services = &execution.environment.services;
    execution.observed =
        services.observer.burial(start, execution.attempt.inputs(), how, services.clock.now());
    let end = execution.give_up(gave_up);
    execution.end(end, EngineState::Sound);
}

impl<'a> Execution<'a> {
    /// Takes an attempt over that stands in a slot.
    pub(super) fn new(attempt: Arc<Attempt>, environment: &'a Arc<Environment>, slot: &'a Slot) -> Self {
        let observed = ObservedAttempt::default();
        Self { attempt, environment, slot, observed, has_ended: false }
    }

    async fn execute(
        &mut self,
        inputs: Response<Artifacts>,
        cell: &EngineCell,
        room: &mut Room,
    ) -> (AttemptEnd, EngineState) {
        if self.environment.cancel_grace.is_zero() && self.attempt.is_cancelled(&self.attempt.engine) {
            return (self.environment.called_off(), EngineState::Sound);
        }
        let stopped = match self.call_engine(cell, inputs, room).await {
            Ok(outputs) => {
                self.observed.over(How::Done, &[]);
                match self.publishes(outputs) {
                    Ok(outputs) => {
                        if !outputs.is_empty() {
                            self.observed.checked();
                        }
                        return (AttemptEnd::Done(outputs), EngineState::Sound);
                    }
                    Err(error) => CallError::InvalidOutputs(error),
                }
            }
            Err(stopped) => stopped,
        };
        let how = stopped.how();
        let Some((fault, engine)) = stopped.into_fault() else {
            let end = self.environment.called_off();
            let how = if matches!(end, AttemptEnd::Released) { How::Released } else { How::Cancelled };
            self.observed.over(how, &[]);
            return (end, EngineState::Sound);
        };
        if self.attempt.is_called_off(&self.attempt.engine) {
            // An engine that fails because it is cancelled is no failure.
            let Start { run, job, attempt, .. } = &*self.attempt.start;
            self.attempt.engine.scope().call(|| {
                tracing::debug!(target: "volery::agent", agent = %self.attempt.agent(), %run, %job, attempt, error = %fault, "a cancelled attempt failed");
            });
            self.observed.over(How::Cancelled, &[]);
            return (self.environment.called_off(), engine);
        }
        self.observed.over(how, &chain(fault.as_ref()));
        let end = match (self.fail(&fault), cell.fallback()) {
            (AttemptEnd::Dead { attempts, error, .. }, Some(fallback))
                if !self.attempt.inputs().is_empty() =>
            {
                // Boxed, because it comes to few and is larger than all the rest.
                Box::pin(self.rescue(fallback, GaveUp { attempts, error }, fault)).await
            }
            (end, _) => end,
        };
        (end, engine)
    }

    /// Reads the inputs, makes the engine if nobody has, and calls it. When this returns, the engine's future
    /// has been dropped, and what it started beside itself is gone.
    async fn call_engine(
        &mut self,
        cell: &EngineCell,
        inputs: Response<Artifacts>,
        room: &mut Room,
    ) -> Result<Outputs, CallError> {
        let Self { attempt, environment, observed, .. } = self;
        let context = Context::of_engine(attempt);
        let cut_off = attempt.engine.cut_off_children();
        let ended = {
            let work = async {
                let fetched = matches!(inputs, Response::Pending(_));
                let read = inputs.wait().await;
                let known = read.as_deref().unwrap_or_default();
                let (begun, scope) =
                    environment.services.observer.attempt(&attempt.start, known, attempt.began);
                *observed = begun;
                if fetched {
                    observed.step(Step::Read, attempt.began);
                }
                attempt.set_inputs(read.map_err(|error| CallError::Failed(error.into(), None))?);
                let made = cell.made();
                let runner = match made {
                    Some(runner) => runner,
                    None => Box::pin(make(cell, environment, observed)).await?,
                };
                let scope = attempt.engine.enter(observed.evaluate().unwrap_or(scope));
                if fetched || made.is_none() {
                    context.progress();
                } else {
                    // No time has passed to speak of.
                    attempt.engine.progress.record(attempt.began);
                }
                let call = EngineCall::begin(runner, context.clone(), room);
                let ran = scope.run(call).await;
                ran.map_err(|error| CallError::Failed(error, runner.error_type()))
            };
            // Code of the user is called within the first poll, so that it is watched as well.
            let work = pin!(AssertUnwindSafe(work).catch_unwind());
            supervise(attempt.watch_call(work), environment, &context, attempt.began).await
        };
        drop(cut_off);
        attempt.engine.end_children().await;
        ended
    }

    /// Runs the fallback of a job that would be given up. When this returns, its future has been dropped, and
    /// what it started beside itself is gone.
    async fn rescue(&mut self, fallback: &dyn Rescue, gave_up: GaveUp, cause: Fault) -> AttemptEnd {
        let failed = gave_up.clone();
        let ended = self.call_fallback(fallback, gave_up).await;
        let stopped =
            match ended.and_then(|outputs| self.publishes(outputs).map_err(CallError::InvalidOutputs)) {
                Ok(outputs) => return AttemptEnd::Done(outputs),
                Err(stopped) => stopped,
            };
        let text = match stopped {
            CallError::Cancelled => return self.environment.called_off(),
            CallError::Panicked(text) => format!("it panicked: {text}"),
            stopped => stopped.causes().join(": "),
        };
        let error = chain(&FallbackFailed { text, cause });
        self.give_up(GaveUp { error, ..failed })
    }

    async fn call_fallback(&mut self, fallback: &dyn Rescue, gave_up: GaveUp) -> Result<Outputs, CallError> {
        let Self { attempt, environment, observed, .. } = self;
        let context = Context::of_fallback(attempt);
        let call = context.call();
        let scope = call.enter(observed.fallback().unwrap_or_else(|| attempt.engine.scope()));
        scope.call(|| {
            let Start { run, job, attempt: number, .. } = &*attempt.start;
            tracing::warn!(target: "volery::agent", agent = %attempt.agent(), %run, %job, attempt = number, attempts = gave_up.attempts, "a job falls back");
        });
        let cut_off = call.cut_off_children();
        let ended = {
            let work = async {
                context.progress();
                let ran = scope.run(async { fallback.run(gave_up, context.clone()).await }).await;
                ran.map_err(|error| CallError::Failed(error, None))
            };
            let work = pin!(AssertUnwindSafe(work).catch_unwind());
            let begun = environment.services.clock.now();
            supervise(attempt.watch_call(work), environment, &context, begun).await
        };
        drop(cut_off);
        call.end_children().await;
        match &ended {
            Ok(_) => observed.fallback_over(&How::Done, &[]),
            Err(stopped) => observed.fallback_over(&stopped.how(), &stopped.causes()),
        }
        ended
    }

    /// The user's code panicked outside of the engine's call.
    fn panicked_beside(&mut self, text: &str) -> AttemptEnd {
        if self.attempt.is_called_off(&self.attempt.engine) {
            let Start { run, job, attempt, .. } = &*self.attempt.start;
            self.observed.scope().call(|| {
                tracing::warn!(target: "volery::agent", agent = %self.attempt.agent(), %run, %job, attempt, text, "a cancelled attempt panicked");
            });
            self.observed.over(How::Cancelled, &[]);
            return self.environment.called_off();
        }
        let error: Fault = format!("panicked beside the engine: {text}").into();
        self.observed.over(How::Panicked, &chain(error.as_ref()));
        self.fail(&error)
    }

    /// Frees the slot and sends the end, once.
    fn end(&mut self, end: AttemptEnd, engine: EngineState) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        if engine != EngineState::Sound {
            self.environment.slots.hold();
        }
        // Before the end is sent, so that all who see the end find the slot free.
        self.environment.slots.free(self.slot);
        let mut observed = std::mem::take(&mut self.observed);
        if matches!(end, AttemptEnd::Released) && self.environment.slots.is_stopping() {
            observed.released_by("shutdown");
        }
        let (start, began) = (Arc::clone(&self.attempt.start), Some(self.attempt.began));
        self.environment.services.ingress.ended(Ended { start, began, end, engine, observed });
    }
}

impl Drop for Execution<'_> {
    fn drop(&mut self) {
        self.end(AttemptEnd::Released, EngineState::Sound);
    }
}

/// Makes the engine, or waits for the attempt that makes it.
async fn make<'a>(
    cell: &'a EngineCell,
    environment: &Environment,
    observed: &ObservedAttempt,
) -> Result<&'a dyn Runner, CallError> {
    let since = environment.services.clock.now();
    let made = observed.scope().run(cell.runner()).await;
    observed.step(Step::Make, since);
    made.map_err(CallError::NotMade)
}

/// The end of a supervised call: by itself, or in a panic.
type Ran = Result<Result<Outputs, CallError>, Box<dyn Any + Send>>;

/// Waits for a call of the user's code, its cancellation, or the end of its time.
async fn supervise(
    mut work: impl Future<Output = Ran> + Unpin,
    environment: &Environment,
    context: &Context,
    begun: Timestamp,
) -> Result<Outputs, CallError> {
    let (clock, progress) = (&environment.services.clock, &context.call().progress);
    let timed_out = tokio::select! {
        biased;
        ended = &mut work => return ended.unwrap_or_else(|panic| Err(CallError::Panicked(take_text(panic)))),
        () = given_up(environment, context) => return Err(CallError::Cancelled),
        timed_out = environment.timeouts.run_out(begun, progress, clock) => timed_out,
    };
    let engine = Box::pin(outlive(work, environment, context)).await;
    Err(CallError::TimedOut(timed_out, engine))
}

/// Ends a call whose time is over: it is cancelled like that of a cancelled run, and fails whatever it still
/// returns.
async fn outlive(
    work: impl Future<Output = Ran> + Unpin,
    environment: &Environment,
    context: &Context,
) -> EngineState {
    context.time_out();
    let ended = tokio::select! {
        biased;
        () = given_up(environment, context) => return EngineState::Sound,
        ended = work => ended,
    };
    let Err(panic) = ended else { return EngineState::Sound };
    let text = take_text(panic);
    context.scope().call(|| {
        let (run, job, attempt) = (context.run(), context.job(), context.attempt());
        tracing::warn!(target: "volery::agent", agent = %context.agent(), %run, %job, attempt, text, "an engine panicked after its time was over");
    });
    EngineState::Suspect
}

/// Waits until a call is to be given up: cancelled, its grace over, and in no protected section.
async fn given_up(environment: &Environment, context: &Context) {
    context.cancelled().await;
    // Boxed, because few come here.
    Box::pin(async {
        if !environment.cancel_grace.is_zero() {
            tokio::time::sleep(environment.cancel_grace).await;
        }
        context.unprotected().await;
    })
    .await;
}

/// The end and the reason in traces of a job that gets no attempt.
const fn how_buried(why: &Burial) -> (How, &'static str) {
    match why {
        Burial::Overdue(_) => (How::TimedOut("queue"), "queue_timeout"),
        Burial::DiedAlone(_) => (How::Failed("process_died"), "died_alone"),
        Burial::EndRefused { .. } => (How::Failed("store"), "end_refused"),
    }
}
