//! The bench: what attempts share, and how outputs and failures become artifacts and ends.
//!
//! It runs in the task of an attempt; predicates of subscriptions are judged here under the matcher's panic guard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use volery_blackboard::job::Start;
use volery_blackboard::matching::Matcher;
use volery_blackboard::store::{Few, NewArtifact, Store};
use volery_blackboard::{AgentName, Artifact, ArtifactId, Producer, Tenant, Timestamp};

use super::attempt::AttemptEnd;
use super::failure::Failure;
use super::fallback::Fallbacks;
use super::outputs::{Output, Outputs};
use super::retry::Retry;
use super::roll::Roll;
use super::timeout::Timeouts;
use crate::clock::Clock;
use crate::fault::{Fault, chain};
use crate::ingress::Ingress;
use crate::kinds::KindTable;
use crate::seen::{AttemptSeen, Seen};

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
    pub(crate) seen: Arc<Seen>,
}

/// What all attempts of an agent share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) name: AgentName,
    /// The name again, for runs that the agent's jobs open.
    pub(crate) workflow: Arc<str>,
    pub(crate) retry: Retry,
    pub(crate) fallbacks: Fallbacks,
    pub(crate) expected: Option<Duration>,
    pub(crate) cancel_grace: Duration,
    pub(crate) timeouts: Timeouts,
    /// Attempts that are cancelled hand their jobs back, because the runtime is stopping.
    pub(crate) stopping: AtomicBool,
    /// What engines of the agent started beside themselves.
    pub(crate) children: TaskTracker,
    /// Slots for calls that block their thread; an attempt may end before its call does.
    pub(crate) blocking: Arc<Semaphore>,
    pub(crate) workshop: Arc<Workshop>,
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
    pub(super) fn cancelled(&self) -> AttemptEnd {
        if self.stopping.load(Ordering::Acquire) { AttemptEnd::Released } else { AttemptEnd::Cancelled }
    }

    /// Turns outputs into artifacts and matches them. Nothing is published if one of them is not in order.
    pub(super) fn publishes(
        &self,
        start: &Start,
        inputs: &[Arc<Artifact>],
        outputs: Outputs,
        seen: &mut AttemptSeen,
    ) -> Result<Few<NewArtifact>, Fault> {
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
                Ok(self.publish(seen.output(artifact, inputs)))
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
        if self.workshop.store.writes_payloads() {
            artifact.json()?;
        }
        Ok(match &lineage.tenant {
            Some(tenant) => artifact.with_tenant(tenant.clone()),
            None => artifact,
        })
    }

    fn publish(&self, artifact: Artifact) -> NewArtifact {
        NewArtifact {
            claims: self.workshop.matcher.claims(&artifact),
            artifact: Arc::new(artifact),
            // Known to the board already, unless the job opens a run; then it is named after its agent.
            workflow: Arc::clone(&self.workflow),
        }
    }

    /// Decides what follows from a failed attempt.
    pub(super) fn fail(
        &self,
        start: &Start,
        inputs: &[Arc<Artifact>],
        fault: &Fault,
        seen: &mut AttemptSeen,
    ) -> AttemptEnd {
        let now = self.workshop.clock.now();
        let error = chain(fault.as_ref());
        let failures = start.failures + 1;
        let (high, low) = start.job.as_uuid().as_u64_pair();
        let seed = high.rotate_left(32) ^ low.wrapping_mul(u64::from(failures) | 1);
        match self.retry.wait_after(failures, fault, seed) {
            Some(wait) => AttemptEnd::Retry { until: now.after(wait), error },
            None => {
                seen.dies_of(if self.retry.allows_more(failures) { "not_retryable" } else { "attempts" });
                self.give_up(start, inputs, (error, failures), seen)
            }
        }
    }

    /// Gives a job up.
    pub(super) fn give_up(
        &self,
        start: &Start,
        inputs: &[Arc<Artifact>],
        (error, attempts): (Vec<String>, u32),
        seen: &AttemptSeen,
    ) -> AttemptEnd {
        let failure = self.failure(start, inputs, (&error, attempts), seen);
        AttemptEnd::Dead { at: self.workshop.clock.now(), attempts, error, failure }
    }

    /// The failure artifact of a job that is given up; none when it was about a failure itself.
    fn failure(
        &self,
        start: &Start,
        inputs: &[Arc<Artifact>],
        (error, attempts): (&[String], u32),
        seen: &AttemptSeen,
    ) -> Few<NewArtifact> {
        if inputs.iter().any(|input| input.kind().is::<Failure>()) {
            return Few::new();
        }
        let failure = Failure {
            agent: self.name.as_str().to_owned(),
            job: start.job.to_string(),
            attempts,
            error: error.to_vec(),
            inputs: inputs.iter().map(|input| input.id().to_string()).collect(),
        };
        let id = start.job.output(u32::MAX, start.at);
        let outputs = Outputs::none().with(failure);
        let lineage = Lineage::of(inputs);
        let now = self.workshop.clock.now();
        let artifacts = outputs.items.into_iter().filter_map(|output| {
            match self.artifact(start, &lineage, (id, now), &output, Producer::Runtime) {
                Ok(artifact) => Some(self.publish(seen.failure(artifact, inputs))),
                Err(error) => {
                    // Only a user's type named `Failure` can cause this, and the start refuses that.
                    seen.scope().call(|| {
                        let (run, job) = (start.run, start.job);
                        tracing::error!(target: "volery::agent", agent = %self.name, %run, %job, %error, "failure artifact not published");
                    });
                    None
                }
            }
        });
        artifacts.collect()
    }
}
