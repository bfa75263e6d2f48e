//! The span of one job: from its complete set of inputs until its end.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::ending::{Ending, Failure};
use super::nested::NestedSpan;
use super::propagation::Propagation;
use super::publish::{Commit, TOO_SHORT, show_commit};
use super::root::{Draft, INSTANT, Recorded, Root};
use super::run::{RunTrace, State};
use super::settings::Detail;
use super::text::{count, shown, text, texts};
use crate::names::{attribute, event};

/// Longest list of input ids that is shown; their number is exact.
const INPUT_IDS_MAX: usize = 16;

/// A job whose inputs are complete.
#[derive(Clone, Copy)]
pub struct JobStart<'a> {
    /// The agent.
    pub agent: &'a str,
    /// The job's id.
    pub job: &'a dyn Display,
    /// How its inputs were collected: `single`, `and`, `join`, `batch` or `schedule`.
    pub trigger: &'a str,
    /// Whether the agent says that it calls models. A call that it makes tells as well.
    pub models: bool,
    /// The batch or join that gave the inputs; the job links to it and not to each input then.
    pub collected: Option<&'a Propagation>,
    /// When the inputs were complete.
    pub start: SystemTime,
}

impl<'a> JobStart<'a> {
    /// A job of single inputs.
    #[must_use]
    pub fn new(agent: &'a str, job: &'a dyn Display, start: SystemTime) -> Self {
        Self { agent, job, trigger: "single", models: false, collected: None, start }
    }
}

impl std::fmt::Debug for JobStart<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JobStart({} of {})", self.job, self.agent)
    }
}

/// One input of a job.
#[derive(Clone, Debug)]
pub struct Input<'a, I> {
    /// The artifact's id.
    pub id: I,
    /// Its kind.
    pub kind: &'a str,
    /// Its trace context.
    pub propagation: Option<Propagation>,
}

/// A job of a sampled run, and its open span unless the level of detail leaves it out. Dropped without an
/// end, the span ends as abandoned.
#[derive(Debug)]
#[must_use = "a job's span ends when the job does"]
pub struct JobTrace {
    span: Option<Recorded>,
    pub(crate) root: Arc<Root>,
    pub(crate) agent: Arc<str>,
    pub(crate) models: bool,
    pub(crate) detail: Detail,
}

impl RunTrace {
    /// Begins a job; `None` when the run is not sampled, and nobody looks at the inputs then.
    pub fn job<'a, I: Display>(
        &self,
        start: &JobStart<'_>,
        inputs: impl IntoIterator<Item = Input<'a, I>>,
    ) -> Option<JobTrace> {
        let State::Sampled(run) = &self.0 else { return None };
        let detail = run.recorder().settings.of_agent(start.agent, run.facts.detail);
        // A batch or join that was collected in no time ends an instant after it began.
        let begin = if start.collected.is_some() { start.start + INSTANT } else { start.start };
        let mut draft = Draft::internal(format!("job {}", start.agent), begin)
            .with(text(attribute::AGENT, start.agent))
            .with(shown(attribute::JOB_ID, start.job))
            .with(text(attribute::TRIGGER, start.trigger));
        draft = draft.long();
        if detail >= Detail::Job {
            draft = with_inputs(draft, run.recorder(), start, inputs);
        }
        let (root, span) = run.child(draft, Detail::Job, detail);
        if start.models {
            root.calls_model();
        }
        let agent = Arc::from(start.agent);
        Some(JobTrace { span, root, agent, models: start.models, detail })
    }
}

fn with_inputs<'a, I: Display>(
    draft: Draft,
    recorder: &super::spans::Recorder,
    start: &JobStart<'_>,
    inputs: impl IntoIterator<Item = Input<'a, I>>,
) -> Draft {
    let (mut ids, mut kinds, mut total) = (Vec::new(), Vec::<&str>::new(), 0_u64);
    let mut publishes = Vec::new();
    for input in inputs {
        total += 1;
        if ids.len() < INPUT_IDS_MAX {
            ids.push(input.id.to_string());
        }
        if !kinds.contains(&input.kind) && kinds.len() < INPUT_IDS_MAX {
            kinds.push(input.kind);
        }
        publishes.extend(input.propagation);
    }
    let draft = draft
        .with(texts(attribute::INPUT_IDS, ids))
        .with(texts(attribute::INPUT_KINDS, kinds))
        .with(count(attribute::INPUT_COUNT, total));
    match start.collected {
        Some(collected) => {
            let role = if start.trigger == "join" { "join" } else { "batch" };
            draft.linked(recorder, [collected.clone()], role)
        }
        None => draft.linked(recorder, publishes, "input"),
    }
}

impl JobTrace {
    /// Shows how long the job waited before an attempt, if it was more than 1 ms, and for what: `partition`,
    /// `concurrency`, `paused`, `quarantine`, `store`, `alone` or `queue`.
    pub fn wait(&self, reason: &str, start: SystemTime, end: SystemTime) {
        self.pause("wait", Detail::Phase, reason, start, end);
    }

    /// Shows the back-off between two attempts.
    pub fn backoff(&self, start: SystemTime, end: SystemTime) {
        self.pause("backoff", Detail::Job, "backoff", start, end);
    }

    fn pause(&self, name: &str, least: Detail, reason: &str, start: SystemTime, end: SystemTime) {
        if end.duration_since(start).unwrap_or_default() <= TOO_SHORT {
            return;
        }
        let name = if least == Detail::Phase { format!("{name} {}", self.agent) } else { name.to_owned() };
        let draft = Draft::internal(name, start)
            .with(text(attribute::AGENT, &self.agent))
            .with(text(attribute::WAIT_REASON, reason));
        if let Some(span) = self.child(draft, least) {
            span.end(end);
        }
    }

    /// Notes that the job will be tried again.
    pub fn retry_scheduled(&self, attempt: u32, delay: Duration, failure: &Failure<'_>, at: SystemTime) {
        let Some(span) = &self.span else { return };
        let attributes = vec![
            count(attribute::ATTEMPT, attempt),
            count(attribute::RETRY_DELAY_MS, delay.as_millis()),
            text(attribute::ERROR_TYPE, failure.class),
        ];
        span.nested.event(event::RETRY_SCHEDULED, at, attributes);
    }

    /// Notes that the agent was restarted while the job was open.
    pub fn agent_restarted(&self, restart: &Restart<'_>, at: SystemTime) {
        if let Some(span) = &self.span {
            restart.show(&span.nested, at);
        }
    }

    /// Shows the commit of the job's outputs and its end, if it took more than 1 ms or failed.
    pub fn commit(&self, commit: &Commit<'_>) {
        if let Some(span) = &self.span {
            show_commit(span, commit, self.detail);
        }
    }

    /// Ends the job. Its span ends now, or with the last of its attempts that is still open.
    pub fn end(self, ending: &Ending<'_>, at: SystemTime) {
        if let Some(span) = &self.span {
            ending.close(&span.nested, at);
        }
    }

    /// The nearest span that is recorded: the job's, or the run's.
    pub(crate) fn nested(&self) -> &Arc<NestedSpan> {
        self.span.as_ref().map_or(&self.root.span, |span| &span.nested)
    }

    /// Begins a span below the job. `None` when it was left out.
    pub(crate) fn child(&self, draft: Draft, least: Detail) -> Option<Recorded> {
        if self.detail < least {
            self.root.suppress();
            return None;
        }
        self.root.child(self.nested(), draft)
    }

    pub(crate) fn attempt_span(&self, attempt: u32, restarts: u32, start: SystemTime) -> Option<Recorded> {
        let mut draft = Draft::internal(format!("attempt {}", self.agent), start)
            .with(text(attribute::AGENT, &self.agent))
            .with(KeyValue::new(attribute::MESSAGING_SYSTEM, "volery"))
            .with(KeyValue::new(attribute::MESSAGING_OPERATION_NAME, "process"))
            .with(KeyValue::new(attribute::MESSAGING_OPERATION_TYPE, "process"))
            .with(count(attribute::ATTEMPT, attempt));
        (draft.kind, draft.is_long) = (SpanKind::Consumer, true);
        if restarts > 0 {
            draft = draft.with(count(attribute::RESTARTS, restarts));
        }
        if self.models {
            draft = draft
                .with(KeyValue::new(attribute::GEN_AI_OPERATION, "invoke_agent"))
                .with(text(attribute::GEN_AI_AGENT, &self.agent));
        }
        self.child(draft, Detail::Job)
    }
}

/// A restart of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart<'a> {
    /// Restarts so far.
    pub count: u32,
    /// `one_for_one`, `rest_for_one` or `one_for_all`.
    pub strategy: &'a str,
    /// The wait before it.
    pub backoff: Duration,
    /// How the life before ended.
    pub cause: &'a str,
}

impl Restart<'_> {
    pub(crate) fn show(&self, nested: &NestedSpan, at: SystemTime) {
        let attributes = vec![
            count(attribute::RESTART_COUNT, self.count),
            text(attribute::RESTART_STRATEGY, self.strategy),
            count(attribute::RESTART_BACKOFF_MS, self.backoff.as_millis()),
            text(attribute::RESTART_CAUSE, self.cause),
        ];
        nested.event(event::AGENT_RESTARTED, at, attributes);
    }
}
