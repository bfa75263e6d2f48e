//! An attempt: one try of a job, from reading its inputs to telling the curator how it ended.
//!
//! It runs in a task of its own, which the agent's actor owns. Whatever happens to the task, exactly one end is told:
//! a guard tells "handed back" when the task is dropped before it could.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use volery_blackboard::effect::Start;
use volery_blackboard::matching::{Matcher, panic_text};
use volery_blackboard::store::{Few, Publish, Read, Store};
use volery_blackboard::{AgentName, Artifact, ArtifactId, JobId, Producer, Tenant, Timestamp};

use super::actor::Fitted;
use super::context::Context;
use super::engine::{Fault, Runner};
use super::failure::Failure;
use super::outputs::{Output, Outputs};
use super::retry::Retry;
use super::roll::{Entry, Roll};
use crate::clock::Clock;
use crate::curator::Ingress;
use crate::error::chain;
use crate::kinds::KindTable;
use crate::upkeep::{Watched, Watches};

/// What all attempts of a runtime share.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) matcher: Matcher,
    pub(crate) kinds: KindTable,
    pub(crate) clock: Clock,
    /// Every attempt that runs.
    pub(crate) roll: Arc<Roll>,
    pub(crate) watches: Arc<Watches>,
}

/// What all attempts of an agent share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) name: AgentName,
    /// The name again, for runs that the agent's jobs open.
    pub(crate) workflow: Arc<str>,
    pub(crate) retry: Retry,
    pub(crate) expected: Option<Duration>,
    pub(crate) cancel_grace: Duration,
    /// Attempts that are cancelled hand their jobs back, because the runtime is stopping.
    pub(crate) stopping: AtomicBool,
    pub(crate) workshop: Arc<Workshop>,
}

/// The end of an attempt, as the curator is told.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) start: Arc<Start>,
    pub(crate) end: AttemptEnd,
}

/// How an attempt ended, with everything that is to be committed about it.
#[derive(Debug)]
pub(crate) enum AttemptEnd {
    /// The job is done.
    Done(Few<Publish>),
    /// Another attempt may start at this time.
    Retry { until: Timestamp, error: Vec<String> },
    /// The job is given up.
    Dead { at: Timestamp, error: Vec<String>, failure: Few<Publish> },
    /// Its run was cancelled.
    Cancelled,
    /// It did not end by itself; it counts for nothing.
    Released,
}

/// Whether the engine may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EngineState {
    Sound,
    /// It panicked and may be half-updated.
    Suspect,
}

/// What is left of an attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
}

/// Runs one attempt to its end. Cancel safe: dropped early, its guard hands the job back.
pub(crate) async fn run(
    (start, inputs): (Arc<Start>, Read),
    mut guard: Guard,
    fitted: Fitted,
    cancel: CancellationToken,
) -> Reaped {
    let bench = Arc::clone(&guard.bench);
    let entry = guard.entry.clone();
    let work = async {
        // Let go with the work, before the end of the attempt is told.
        let (cancel, entry) = (cancel, entry);
        match inputs.wait().await {
            Ok(inputs) => {
                let stop = (&cancel, entry.as_ref());
                execute(&start, &bench, fitted.runner.as_ref(), inputs, stop).await
            }
            Err(error) => (bench.fail(&start, &[], &error.into()), EngineState::Sound),
        }
    };
    // Code of the user runs outside the engine, too: schemas, the texts of errors, drops.
    let (end, engine) = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let error: Fault = format!("panicked beside the engine: {}", take_text(panic)).into();
        (bench.fail(&start, &[], &error), EngineState::Suspect)
    });
    if engine == EngineState::Suspect {
        fitted.suspect.store(true, Ordering::Release);
    }
    guard.tell(end);
    Reaped { job: start.job, attempt: start.attempt }
}

async fn execute(
    start: &Arc<Start>,
    bench: &Bench,
    runner: &dyn Runner,
    inputs: Arc<[Arc<Artifact>]>,
    (cancel, entry): (&CancellationToken, Option<&Arc<Entry>>),
) -> (AttemptEnd, EngineState) {
    if bench.cancel_grace.is_zero() && cancel.is_cancelled() {
        return (bench.cancelled(), EngineState::Sound);
    }
    let identity = (start.job, start.run, start.attempt);
    let clock = bench.workshop.clock.clone();
    let watched = Watched {
        agent: &bench.name,
        job: start.job,
        attempt: start.attempt,
        began: clock.now(),
        expected: bench.expected,
    };
    let stop = (cancel.clone(), entry.map(Arc::downgrade).unwrap_or_default());
    let context = Context::new(bench.name.clone(), identity, Arc::clone(&inputs), stop, clock);
    // The engine's own code is called within the first poll, so that it is watched as well.
    let work = async { runner.run(Arc::clone(start), Arc::clone(&inputs), context).await };
    let work = bench.workshop.watches.over(watched, work);
    let ended = tokio::select! {
        biased;
        ended = AssertUnwindSafe(work).catch_unwind() => ended,
        () = cancelled(cancel, bench.cancel_grace, entry) => return (bench.cancelled(), EngineState::Sound),
    };
    match ended {
        Ok(Ok(outputs)) => match bench.publishes(start, &inputs, outputs) {
            Ok(outputs) => (AttemptEnd::Done(outputs), EngineState::Sound),
            Err(error) => (bench.fail(start, &inputs, &error), EngineState::Sound),
        },
        Ok(Err(error)) => (bench.fail(start, &inputs, &error), EngineState::Sound),
        Err(panic) => {
            let error: Fault = format!("engine panicked: {}", take_text(panic)).into();
            (bench.fail(start, &inputs, &error), EngineState::Suspect)
        }
    }
}

/// Returns the text of a panic, and drops what it carried; should that panic as well, it goes no further.
fn take_text(panic: Box<dyn Any + Send>) -> String {
    let text = panic_text(panic.as_ref());
    if catch_unwind(AssertUnwindSafe(|| drop(panic))).is_err() {
        tracing::warn!(target: "volery::agent", text, "what a panic carried panicked when it was dropped");
    }
    text
}

/// Waits until the attempt is to be given up: cancelled, its grace over, and in no protected section.
async fn cancelled(cancel: &CancellationToken, grace: Duration, entry: Option<&Arc<Entry>>) {
    cancel.cancelled().await;
    if !grace.is_zero() {
        tokio::time::sleep(grace).await;
    }
    if let Some(entry) = entry {
        entry.unprotected().await;
    }
}

/// What all outputs of a job have from its inputs.
struct Lineage {
    causes: Arc<[ArtifactId]>,
    generation: u32,
    /// The first input's tenant, unless it is the default one.
    tenant: Option<Tenant>,
}

impl Lineage {
    fn of(inputs: &[Arc<Artifact>]) -> Self {
        let first = inputs.first().map(|input| input.tenant());
        Self {
            causes: inputs.iter().map(|input| input.id()).collect(),
            generation: inputs
                .iter()
                .map(|input| input.generation())
                .max()
                .unwrap_or_default()
                .saturating_add(1),
            tenant: first.filter(|tenant| *tenant != Tenant::default()),
        }
    }
}

impl Bench {
    fn cancelled(&self) -> AttemptEnd {
        if self.stopping.load(Ordering::Acquire) { AttemptEnd::Released } else { AttemptEnd::Cancelled }
    }

    /// Turns outputs into artifacts and matches them. Nothing is published if one of them is not in order.
    fn publishes(
        &self,
        start: &Start,
        inputs: &[Arc<Artifact>],
        outputs: Outputs,
    ) -> Result<Few<Publish>, Fault> {
        if outputs.items.is_empty() {
            return Ok(Few::new());
        }
        let now = self.workshop.clock.now();
        let lineage = Lineage::of(inputs);
        let numbered = (0_u32..).zip(outputs.items);
        numbered
            .map(|(index, output)| {
                let id = start.job.output(index, start.at);
                let producer = Producer::Agent(self.name.clone());
                let artifact = self.artifact(start, &lineage, (id, now), &output, producer)?;
                Ok(self.publish(artifact))
            })
            .collect()
    }

    fn artifact(
        &self,
        start: &Start,
        lineage: &Lineage,
        (id, now): (ArtifactId, Timestamp),
        output: &Output,
        producer: Producer,
    ) -> Result<Artifact, Fault> {
        let kind = self.workshop.kinds.kind(output.type_id, output.kind)?;
        let artifact = Artifact::new(id, kind, output.body.clone(), start.run, now);
        let artifact = artifact.caused_by(producer, Arc::clone(&lineage.causes), lineage.generation);
        let artifact = output.adorn(artifact);
        Ok(match &lineage.tenant {
            Some(tenant) => artifact.with_tenant(tenant.clone()),
            None => artifact,
        })
    }

    fn publish(&self, artifact: Artifact) -> Publish {
        Publish {
            matches: self.workshop.matcher.matches(&artifact),
            artifact: Arc::new(artifact),
            // Known to the board already, unless the job opens a run; then it is named after its agent.
            workflow: Arc::clone(&self.workflow),
        }
    }

    /// Decides what follows from a failed attempt.
    fn fail(&self, start: &Start, inputs: &[Arc<Artifact>], fault: &Fault) -> AttemptEnd {
        let now = self.workshop.clock.now();
        let error = chain(fault.as_ref());
        let failures = start.failures + 1;
        let (high, low) = start.job.as_uuid().as_u64_pair();
        let seed = high.rotate_left(32) ^ low.wrapping_mul(u64::from(failures) | 1);
        match self.retry.wait_after(failures, fault, seed) {
            Some(wait) => AttemptEnd::Retry { until: now.after(wait), error },
            None => AttemptEnd::Dead { at: now, failure: self.failure(start, inputs, &error), error },
        }
    }

    /// The failure artifact of a job that is given up; none when it was about a failure itself.
    fn failure(&self, start: &Start, inputs: &[Arc<Artifact>], error: &[String]) -> Few<Publish> {
        if inputs.iter().any(|input| input.kind().is::<Failure>()) {
            return Few::new();
        }
        let failure = Failure {
            agent: self.name.as_str().to_owned(),
            job: start.job.to_string(),
            attempts: start.failures + 1,
            error: error.to_vec(),
            inputs: inputs.iter().map(|input| input.id().to_string()).collect(),
        };
        let id = start.job.output(u32::MAX, start.at);
        let outputs = Outputs::none().with(failure);
        let lineage = Lineage::of(inputs);
        let now = self.workshop.clock.now();
        let artifacts = outputs.items.into_iter().filter_map(|output| {
            match self.artifact(start, &lineage, (id, now), &output, Producer::Runtime) {
                Ok(artifact) => Some(self.publish(artifact)),
                Err(error) => {
                    // Only a user's type named `Failure` can cause this, and the start refuses that.
                    tracing::error!(target: "volery::agent", agent = %self.name, %error, "failure artifact not published");
                    None
                }
            }
        });
        artifacts.collect()
    }
}

/// Tells the end of an attempt exactly once, whatever becomes of whoever holds it.
pub(crate) struct Guard {
    start: Option<Arc<Start>>,
    bench: Arc<Bench>,
    /// The attempt's place on the roll until its end is told.
    entry: Option<Arc<Entry>>,
}

impl Guard {
    pub(crate) fn new(start: Arc<Start>, bench: Arc<Bench>) -> Self {
        let workshop = &bench.workshop;
        let attempt = (start.job, start.attempt);
        let entry = workshop.roll.enter(bench.name.clone(), attempt, workshop.clock.now());
        Self { start: Some(start), bench, entry: Some(entry) }
    }

    fn tell(&mut self, end: AttemptEnd) {
        // Before anything is told: whoever hears of the end finds the attempt off the roll.
        drop(self.entry.take());
        if let Some(start) = self.start.take() {
            self.bench.workshop.ingress.ended(Ended { start, end });
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.tell(AttemptEnd::Released);
    }
}
