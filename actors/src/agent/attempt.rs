//! An attempt: one try of a job, from reading its inputs to telling the curator how it ended.
//!
//! It runs in a task of its own, which the agent's actor owns. Whatever happens to the task, exactly one end is told:
//! a guard tells "handed back" when the task is dropped before it could.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use volery_blackboard::job::Start;
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Artifacts, Few, NewArtifact, Response};
use volery_blackboard::{JobId, Timestamp};

use super::bench::Bench;
use super::context::Context;
use super::engine::Runner;
use super::fallback::{FellThrough, GaveUp, Rescue};
use super::outputs::Outputs;
use super::pulse::Pulse;
use super::roll::{Entering, Entry, Presence};
use super::seat::{NotMade, Seat};
use super::timeout::TimedOut;
use crate::clock::Clock;
use crate::fault::{Fault, chain, take_text};
use crate::seen::{AttemptSeen, How, Step};

/// The end of an attempt, as the curator is told.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) start: Arc<Start>,
    pub(crate) end: AttemptEnd,
    pub(crate) engine: EngineState,
    pub(crate) seen: AttemptSeen,
}

/// How an attempt ended, with everything that is to be committed about it.
#[derive(Debug)]
pub(crate) enum AttemptEnd {
    /// The job is done.
    Done(Few<NewArtifact>),
    /// Another attempt may start at this time.
    Retry { until: Timestamp, error: Vec<String> },
    /// The job is given up after so many attempts.
    Dead { at: Timestamp, attempts: u32, error: Vec<String>, failure: Few<NewArtifact> },
    /// Its run was cancelled.
    Cancelled,
    /// It did not end by itself; it counts for nothing.
    Released,
}

/// Whether the engine may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineState {
    Sound,
    /// It panicked and may be half-updated.
    Suspect,
    /// There is none: its factory failed or panicked.
    NotMade,
}

/// What is left of an attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
}

/// What an attempt works with.
pub(super) struct Task {
    pub(super) start: Arc<Start>,
    pub(super) inputs: Response<Artifacts>,
    pub(super) entry: Arc<Entry>,
    pub(super) seat: Arc<Seat>,
    /// The seat before, whose engine panicked: dropped here, because dropping an engine is code of the user.
    pub(super) retired: Option<Arc<Seat>>,
}

/// Why an attempt has no outputs.
enum Stopped {
    /// It failed; the engine is sound, and names the type of its errors.
    Failed(Fault, Option<&'static str>),
    NotMade(NotMade),
    Panicked(String),
    TimedOut(TimedOut, EngineState),
    /// Its run was cancelled, or the runtime is stopping.
    Cancelled,
}

impl Stopped {
    /// How it is shown.
    fn how(&self) -> How {
        match self {
            Self::Failed(error, named) => How::of(error, *named),
            Self::NotMade(_) => How::Failed("not_made"),
            Self::Panicked(_) => How::Panicked,
            Self::TimedOut(error, _) => How::TimedOut(error.clock()),
            Self::Cancelled => How::Cancelled,
        }
    }

    /// The texts that go with it, the root cause last.
    fn causes(&self) -> Vec<String> {
        match self {
            Self::Failed(error, _) => chain(error.as_ref()),
            Self::NotMade(error) => chain(error),
            Self::Panicked(text) => vec![text.clone()],
            Self::TimedOut(error, _) => chain(error),
            Self::Cancelled => Vec::new(),
        }
    }
}

fn unnamed(fault: Fault) -> Stopped {
    Stopped::Failed(fault, None)
}

/// Runs one attempt to its end. Cancel safe: dropped early, its guard hands the job back.
pub(super) async fn run(task: Task, mut guard: Guard) -> Reaped {
    let bench = Arc::clone(&guard.bench);
    let (start, seat, entry) = (Arc::clone(&task.start), Arc::clone(&task.seat), Arc::clone(&task.entry));
    // Code of the user runs outside the engine, too: schemas, the texts of errors, drops.
    let ended = AssertUnwindSafe(execute(task, &bench, &mut guard.seen)).catch_unwind().await;
    let (end, engine) = ended.unwrap_or_else(|panic| {
        let text = take_text(panic);
        let end = if entry.pulse.is_called_off() {
            guard.seen.scope().call(|| {
                let (run, job, attempt) = (start.run, start.job, start.attempt);
                tracing::warn!(target: "volery::agent", agent = %bench.name, %run, %job, attempt, text, "a cancelled attempt panicked");
            });
            guard.seen.over(How::Cancelled, &[]);
            bench.cancelled()
        } else {
            let error: Fault = format!("panicked beside the engine: {text}").into();
            guard.seen.over(How::Panicked, &chain(error.as_ref()));
            bench.fail(&start, &[], &error, &mut guard.seen)
        };
        (end, EngineState::Suspect)
    });
    if engine == EngineState::Suspect {
        seat.suspect();
    }
    guard.tell(end, engine);
    Reaped { job: start.job, attempt: start.attempt }
}

/// Gives up a job without another attempt; calls no engine. Cancel safe: dropped early, its guard hands the job
/// back.
pub(super) async fn bury(
    start: Arc<Start>,
    inputs: Response<Artifacts>,
    why: Burial,
    mut guard: Guard,
) -> Reaped {
    let bench = Arc::clone(&guard.bench);
    // Without its inputs the failure cannot name its causes; it is told all the same.
    let inputs = inputs.wait().await.unwrap_or_default();
    let how = how_buried(&why);
    let (attempts, error) = match why {
        Burial::Overdue(overdue) => {
            (start.failures, vec![TimedOut::in_queue(bench.name.as_str(), &overdue).to_string()])
        }
        Burial::DiedAlone(times) => {
            (start.failures, vec![format!("the process died {times} times while this job ran alone")])
        }
        Burial::EndRefused { attempts, error } => (attempts, error),
    };
    let workshop = &bench.workshop;
    guard.seen = workshop.seen.burial(&start, &inputs, how, workshop.clock.now());
    let end = bench.give_up(&start, &inputs, (error, attempts), &guard.seen);
    guard.tell(end, EngineState::Sound);
    Reaped { job: start.job, attempt: start.attempt }
}

async fn execute(task: Task, bench: &Bench, seen: &mut AttemptSeen) -> (AttemptEnd, EngineState) {
    let Task { start, inputs, entry, seat, retired } = task;
    drop(retired);
    if bench.cancel_grace.is_zero() && entry.pulse.cancel.is_cancelled() {
        return (bench.cancelled(), EngineState::Sound);
    }
    let context = Context::new(bench, &start, &entry, None);
    let ended = attempt(&start, bench, &seat, inputs, (&context, &entry, seen)).await;
    let inputs = context.inputs();
    let (fault, engine, how): (Fault, EngineState, How) = match ended {
        Ok(outputs) => {
            seen.over(How::Done, &[]);
            match bench.publishes(&start, inputs, outputs, seen) {
                Ok(outputs) => {
                    if !outputs.is_empty() {
                        seen.checked();
                    }
                    return (AttemptEnd::Done(outputs), EngineState::Sound);
                }
                Err(error) => (error, EngineState::Sound, How::Failed("output")),
            }
        }
        Err(Stopped::Cancelled) => {
            let end = bench.cancelled();
            let how = if matches!(end, AttemptEnd::Released) { How::Released } else { How::Cancelled };
            seen.over(how, &[]);
            return (end, EngineState::Sound);
        }
        Err(Stopped::Failed(error, named)) => {
            let how = How::of(&error, named);
            (error, EngineState::Sound, how)
        }
        Err(Stopped::NotMade(error)) => (error.into(), EngineState::NotMade, How::Failed("not_made")),
        Err(Stopped::Panicked(text)) => {
            (format!("engine panicked: {text}").into(), EngineState::Suspect, How::Panicked)
        }
        Err(Stopped::TimedOut(error, engine)) => {
            let how = How::TimedOut(error.clock());
            (error.into(), engine, how)
        }
    };
    if context.pulse().is_called_off() {
        // It was told to end and did, in its way: that is no failure.
        context.scope().call(|| {
            let (run, job, attempt) = (start.run, start.job, start.attempt);
            tracing::debug!(target: "volery::agent", agent = %bench.name, %run, %job, attempt, error = %fault, "a cancelled attempt failed");
        });
        seen.over(How::Cancelled, &[]);
        return (bench.cancelled(), engine);
    }
    seen.over(how, &chain(fault.as_ref()));
    let end = bench.fail(&start, inputs, &fault, seen);
    let end = match (end, bench.fallbacks.of(start.subscription)) {
        (AttemptEnd::Dead { attempts, error, .. }, Some(fallback)) if !inputs.is_empty() => {
            let own = Context::new(bench, &start, &entry, Some(entry.pulse.of_fallback()));
            own.learn(inputs.into());
            own.enter(seen.fallback().unwrap_or_else(|| context.scope()));
            let around = (&own, &*entry, seen);
            rescue(&start, bench, fallback, GaveUp { attempts, error }, fault, around).await
        }
        (end, _) => end,
    };
    (end, engine)
}

/// Runs the fallback of a job that would be given up. When this returns, its future has been dropped, and what it started
/// beside itself is gone.
async fn rescue(
    start: &Arc<Start>,
    bench: &Bench,
    fallback: &dyn Rescue,
    gave_up: GaveUp,
    cause: Fault,
    (context, entry, seen): (&Context, &Entry, &mut AttemptSeen),
) -> AttemptEnd {
    let (attempts, agent) = (gave_up.attempts, &bench.name);
    context.scope().call(|| {
        let (run, job, attempt) = (start.run, start.job, start.attempt);
        tracing::warn!(target: "volery::agent", %agent, %run, %job, attempt, attempts, "a job falls back");
    });
    let cut_off = context.cut_off_children();
    let work = async {
        let inputs = Arc::from(context.inputs());
        context.progress();
        let run = fallback.run(Arc::clone(start), inputs, gave_up, context.clone());
        context.scope().run(run).await.map_err(unnamed)
    };
    let begun = bench.workshop.clock.now();
    let work = AssertUnwindSafe(entry.watch(work)).catch_unwind();
    let ended = supervise(work, bench, (context, entry), begun).await;
    drop(cut_off);
    context.end_children().await;
    match &ended {
        Ok(_) => seen.fallback_over(&How::Done, &[]),
        Err(stopped) => seen.fallback_over(&stopped.how(), &stopped.causes()),
    }
    let published =
        ended.and_then(|outputs| bench.publishes(start, context.inputs(), outputs, seen).map_err(unnamed));
    let text = match published {
        Ok(outputs) => return AttemptEnd::Done(outputs),
        Err(Stopped::Cancelled) => return bench.cancelled(),
        Err(Stopped::Failed(error, _)) => chain(error.as_ref()).join(": "),
        Err(Stopped::NotMade(error)) => error.to_string(),
        Err(Stopped::Panicked(text)) => format!("it panicked: {text}"),
        Err(Stopped::TimedOut(error, _)) => error.to_string(),
    };
    let error = chain(&FellThrough { text, cause });
    bench.give_up(start, context.inputs(), (error, attempts), seen)
}

/// Reads the inputs, makes the engine if nobody has, and calls it. When this returns, the engine's future has been dropped,
/// and what it started beside itself is gone.
async fn attempt(
    start: &Arc<Start>,
    bench: &Bench,
    seat: &Seat,
    inputs: Response<Artifacts>,
    (context, entry, seen): (&Context, &Entry, &mut AttemptSeen),
) -> Result<Outputs, Stopped> {
    let cut_off = context.cut_off_children();
    let began = bench.workshop.clock.now();
    let work = async {
        let fetched = matches!(inputs, Response::Pending(_));
        let read = inputs.wait().await;
        let scope;
        let known = read.as_deref().unwrap_or_default();
        (*seen, scope) = bench.workshop.seen.attempt(start, known, began);
        if fetched {
            seen.step(Step::Read, began);
        }
        let inputs = Arc::clone(context.learn(read.map_err(|error| unnamed(error.into()))?));
        let runner = match seat.made() {
            Some(runner) => runner,
            None => make(seat, &bench.workshop.clock, seen).await?,
        };
        let scope = context.enter(seen.evaluate().unwrap_or(scope));
        let work = async {
            context.progress();
            let ran = runner.run(Arc::clone(start), inputs, context.clone()).await;
            ran.map_err(|error| Stopped::Failed(error, runner.error_type()))
        };
        scope.run(work).await
    };
    // Code of the user is called within the first poll, so that it is watched as well.
    let work = AssertUnwindSafe(entry.watch(work)).catch_unwind();
    let ended = supervise(work, bench, (context, entry), began).await;
    drop(cut_off);
    context.end_children().await;
    ended
}

/// Makes the engine, or waits for whoever makes it.
async fn make<'a>(seat: &'a Seat, clock: &Clock, seen: &AttemptSeen) -> Result<&'a dyn Runner, Stopped> {
    let since = clock.now();
    let made = seen.scope().run(seat.runner()).await;
    seen.step(Step::Make, since);
    made.map_err(Stopped::NotMade)
}

/// Waits for the attempt's work, its cancellation, or the end of its time.
async fn supervise(
    work: impl Future<Output = Result<Result<Outputs, Stopped>, Box<dyn Any + Send>>>,
    bench: &Bench,
    (context, entry): (&Context, &Entry),
    begun: Timestamp,
) -> Result<Outputs, Stopped> {
    let (clock, pulse) = (&bench.workshop.clock, context.pulse());
    let mut work = pin!(work);
    let timed_out = tokio::select! {
        biased;
        ended = &mut work => return ended.unwrap_or_else(|panic| Err(Stopped::Panicked(take_text(panic)))),
        () = cancelled(&pulse.cancel, bench.cancel_grace, entry) => return Err(Stopped::Cancelled),
        timed_out = bench.timeouts.run_out(begun, pulse, clock) => timed_out,
    };
    // It is cancelled like an attempt of a cancelled run, and fails whatever it still returns.
    pulse.run_out(clock.now());
    let ended = tokio::select! {
        biased;
        () = cancelled(&pulse.cancel, bench.cancel_grace, entry) => None,
        ended = work => Some(ended),
    };
    let engine = match ended {
        Some(Err(panic)) => {
            let text = take_text(panic);
            context.scope().call(|| {
                let (run, job, attempt) = (context.run(), context.job(), context.attempt());
                tracing::warn!(target: "volery::agent", agent = %bench.name, %run, %job, attempt, text, "an engine panicked after its time was over");
            });
            EngineState::Suspect
        }
        Some(Ok(_)) | None => EngineState::Sound,
    };
    Err(Stopped::TimedOut(timed_out, engine))
}

/// Waits until the attempt is to be given up: cancelled, its grace over, and in no protected section.
async fn cancelled(cancel: &CancellationToken, grace: Duration, entry: &Entry) {
    cancel.cancelled().await;
    if !grace.is_zero() {
        tokio::time::sleep(grace).await;
    }
    entry.unprotected().await;
}

/// How a job that gets no attempt is shown: its end, and why it dies.
const fn how_buried(why: &Burial) -> (How, &'static str) {
    match why {
        Burial::Overdue(_) => (How::TimedOut("queue"), "queue_timeout"),
        Burial::DiedAlone(_) => (How::Failed("process_died"), "died_alone"),
        Burial::EndRefused { .. } => (How::Failed("store"), "end_refused"),
    }
}

/// Tells the end of an attempt exactly once, whatever becomes of whoever holds it.
pub(super) struct Guard {
    start: Option<Arc<Start>>,
    bench: Arc<Bench>,
    /// Keeps the attempt on the roll until its end is told.
    presence: Option<Presence>,
    seen: AttemptSeen,
}

impl Guard {
    /// Enters an attempt, and guards it; `expected` is how long its engine should take at most.
    pub(super) fn new(
        start: Arc<Start>,
        bench: Arc<Bench>,
        pulse: Pulse,
        expected: Option<Duration>,
    ) -> (Self, Arc<Entry>) {
        let workshop = &bench.workshop;
        let (agent, since) = (bench.name.clone(), workshop.clock.now());
        let entering = Entering { agent, job: start.job, attempt: start.attempt, since, expected, pulse };
        let presence = workshop.roll.enter(entering);
        let entry = Arc::clone(presence.entry());
        let guard =
            Self { start: Some(start), bench, presence: Some(presence), seen: AttemptSeen::default() };
        (guard, entry)
    }

    fn tell(&mut self, end: AttemptEnd, engine: EngineState) {
        // Before anything is told: whoever hears of the end finds the attempt off the roll.
        drop(self.presence.take());
        if let Some(start) = self.start.take() {
            let mut seen = std::mem::take(&mut self.seen);
            if matches!(end, AttemptEnd::Released) && self.bench.stopping.load(Ordering::Acquire) {
                seen.released_by("shutdown");
            }
            self.bench.workshop.ingress.ended(Ended { start, end, engine, seen });
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.tell(AttemptEnd::Released, EngineState::Sound);
    }
}
