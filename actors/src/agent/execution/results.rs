//! Results: how outputs and failures become artifacts, and errors become ends.
//!
//! It runs in the task of an attempt; predicates of subscriptions are judged here under the matcher's panic
//! guard.

use std::sync::Arc;

use volery_blackboard::store::{Few, NewArtifact};
use volery_blackboard::{Artifact, Causes, Producer, Tenant, Timestamp};

use super::Execution;
use crate::agent::failure::{Failure, GaveUp};
use crate::agent::outputs::{Output, Outputs};
use crate::fault::{Fault, chain};
use crate::ingress::AttemptEnd;

/// The fields that all artifacts of a job have from its inputs.
struct OutputOrigin {
    causes: Causes,
    generation: u32,
    /// The first input's tenant, unless it is the default one.
    tenant: Option<Tenant>,
    now: Timestamp,
}

impl OutputOrigin {
    fn of(inputs: &[Arc<Artifact>], now: Timestamp) -> Self {
        let generation = inputs.iter().map(|input| input.generation()).max().unwrap_or_default();
        Self {
            causes: inputs.iter().map(|input| input.id()).collect(),
            generation: generation.saturating_add(1),
            tenant: inputs.first().and_then(|input| input.own_tenant()).cloned(),
            now,
        }
    }
}

impl Execution<'_> {
    /// Turns outputs into artifacts and matches them. Nothing is published if one of them is not in order.
    pub(super) fn publishes(&mut self, outputs: Outputs) -> Result<Few<NewArtifact>, Fault> {
        if outputs.items.is_empty() {
            return Ok(Few::new());
        }
        let origin = self.origin();
        let numbered = (0_u32..).zip(outputs.items);
        numbered
            .map(|(index, output)| {
                let producer = Producer::Agent(self.attempt.agent().clone());
                let artifact = self.artifact(&origin, index, &output, producer)?;
                let artifact = self.observed.output(artifact, self.attempt.inputs());
                Ok(self.publish(artifact))
            })
            .collect()
    }

    /// Decides what follows from a failed attempt.
    pub(super) fn fail(&mut self, fault: &Fault) -> AttemptEnd {
        let (start, retry) = (&self.attempt.start, &self.environment.retry);
        let error = chain(fault.as_ref());
        let failures = start.failures + 1;
        let (high, low) = start.job.as_uuid().as_u64_pair();
        let seed = high.rotate_left(32) ^ low.wrapping_mul(u64::from(failures) | 1);
        if let Some(wait) = retry.wait_after(failures, fault, seed) {
            return AttemptEnd::Retry { until: self.now().after(wait), error };
        }
        self.observed.dies_of(if retry.allows_more(failures) { "not_retryable" } else { "attempts" });
        self.give_up(GaveUp { attempts: failures, error })
    }

    /// Gives the job up.
    pub(super) fn give_up(&self, gave_up: GaveUp) -> AttemptEnd {
        let failure = self.failure(&gave_up);
        let GaveUp { attempts, error } = gave_up;
        AttemptEnd::Dead { at: self.now(), attempts, error, failure }
    }

    /// The failure artifact of a job that is given up; none when it was about a failure itself.
    fn failure(&self, gave_up: &GaveUp) -> Few<NewArtifact> {
        let (start, inputs) = (&self.attempt.start, self.attempt.inputs());
        if inputs.iter().any(|input| input.kind().is::<Failure>()) {
            return Few::new();
        }
        let outputs = Outputs::none().with(Failure {
            agent: self.attempt.agent().as_str().to_owned(),
            job: start.job.to_string(),
            attempts: gave_up.attempts,
            error: gave_up.error.clone(),
            inputs: inputs.iter().map(|input| input.id().to_string()).collect(),
        });
        let origin = self.origin();
        let artifacts = outputs.items.into_iter().filter_map(|output| {
            match self.artifact(&origin, u32::MAX, &output, Producer::Runtime) {
                Ok(artifact) => Some(self.publish(self.observed.failure(artifact, inputs))),
                Err(error) => {
                    // Only a user's type named `Failure` can cause this, and the start refuses that.
                    self.observed.scope().call(|| {
                        let (run, job) = (start.run, start.job);
                        tracing::error!(target: "volery::agent", agent = %self.attempt.agent(), %run, %job, %error, "failure artifact not published");
                    });
                    None
                }
            }
        });
        artifacts.collect()
    }

    /// Makes an artifact; its id is derived from the job and the index.
    fn artifact(
        &self,
        origin: &OutputOrigin,
        index: u32,
        output: &Output,
        producer: Producer,
    ) -> Result<Artifact, Fault> {
        let (start, services) = (&self.attempt.start, &self.environment.services);
        let id = start.job.output(index, start.at);
        let kind = services.kinds.kind(output.type_id, output.kind)?;
        let artifact = Artifact::new(id, kind, output.body.clone(), start.run, origin.now);
        let artifact = artifact.caused_by(producer, origin.causes.clone(), origin.generation);
        let artifact = output.adorn(artifact);
        if services.store.writes_payloads() {
            artifact.json()?;
        }
        Ok(match &origin.tenant {
            Some(tenant) => artifact.with_tenant(tenant.clone()),
            None => artifact,
        })
    }

    fn publish(&self, artifact: Artifact) -> NewArtifact {
        NewArtifact {
            claims: self.environment.services.matcher.claims(&artifact),
            artifact: Arc::new(artifact),
            // Known to the board already, unless the job opens a run; then it is named after its agent.
            workflow: Arc::clone(&self.environment.workflow),
        }
    }

    fn origin(&self) -> OutputOrigin {
        OutputOrigin::of(self.attempt.inputs(), self.now())
    }

    fn now(&self) -> Timestamp {
        self.environment.services.clock.now()
    }
}
