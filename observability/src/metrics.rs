//! The metrics of a runtime, over a meter that the service brings: one method per event.
//!
//! Without a meter every call is a branch. With one, the sets of labels are made once per agent, kind and the
//! like and are found again without an allocation; there is a bound on how many there may be. Levels, such as
//! the depth of a queue, are read from a snapshot when the meter collects. Nothing here is global, spawns,
//! blocks or reads a clock.

mod instruments;
mod labels;
mod levels;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue};

pub use self::levels::{AgentLevels, Levels, NamedLevel};
use crate::metrics::instruments::Instruments;
use crate::names::metric::label;
use crate::names::{SCHEMA_URL, SCOPE};
use crate::trace::{Ending, RunStatus, Spans};

/// The metrics of a runtime. The default records nothing. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    meter: Meter,
    /// On everything: the runtime, if it has a name.
    common: Vec<KeyValue>,
    instruments: Instruments,
    levels: Arc<Mutex<Arc<Levels>>>,
}

/// A call of a model or a tool that ended. A field that does not apply is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallEnded<'a> {
    /// `chat`, `text_completion`, `embeddings`, `execute_tool` and the like.
    pub operation: &'a str,
    /// The provider of the model.
    pub provider: &'a str,
    /// The model that was asked for.
    pub model: &'a str,
    /// The tool.
    pub tool: &'a str,
    /// The class of the error, if it failed; `cancelled` if it was cancelled.
    pub error: Option<&'a str>,
    /// How long it took.
    pub duration: Duration,
    /// Tokens of the question, if they are known.
    pub tokens_input: Option<u64>,
    /// Tokens of the answer, if they are known.
    pub tokens_output: Option<u64>,
}

/// How something that is counted went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It was done.
    Ok,
    /// It had been done before, and was not done again.
    Repeat,
    /// It failed.
    Error,
}

impl Counted {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Repeat => "repeat",
            Self::Error => "error",
        }
    }
}

impl Metrics {
    /// No metrics at all.
    #[must_use]
    pub const fn off() -> Self {
        Self { inner: None }
    }

    /// Metrics by a meter. Several runtimes may share one; each says its own name by
    /// [`for_runtime`](Self::for_runtime).
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        Self::with(meter, Vec::new())
    }

    /// Metrics by a meter of the provider. Nothing global is read or set.
    #[must_use]
    pub fn from_provider(provider: &dyn MeterProvider) -> Self {
        let scope = InstrumentationScope::builder(SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        Self::new(&provider.meter_with_scope(scope))
    }

    /// The same metrics, recorded for the named runtime. Levels are those of the result alone.
    #[must_use]
    pub fn for_runtime(&self, name: &str) -> Self {
        let Some(inner) = self.inner() else { return Self::off() };
        Self::with(&inner.meter, vec![KeyValue::new(label::RUNTIME, name.to_owned())])
    }

    fn with(meter: &Meter, common: Vec<KeyValue>) -> Self {
        let levels = Arc::new(Mutex::new(Arc::new(Levels::default())));
        levels::observe(meter, &common, &levels);
        let instruments = Instruments::new(meter, &common);
        Self { inner: Some(Arc::new(Inner { meter: meter.clone(), common, instruments, levels })) }
    }

    /// Tells whether there is a meter. A costly measurement is not needed without one.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.inner().is_some()
    }

    /// The instruments. Without the feature `record` the compiler knows that there are none.
    const fn inner(&self) -> Option<&Arc<Inner>> {
        if cfg!(feature = "record") { self.inner.as_ref() } else { None }
    }
}

/// The runtime's side: one method per event. Not for services.
#[doc(hidden)]
impl Metrics {
    /// Replaces the levels that the gauges show. A level that is missing is not shown any more.
    pub fn set_levels(&self, levels: Levels) {
        if let Some(inner) = self.inner() {
            *inner.levels.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(levels);
        }
    }

    /// Counts what the traces of the runtime leave out as `volery.telemetry.suppressed`. Call it once per
    /// runtime.
    pub fn watch_spans(&self, spans: &Spans) {
        if let Some(inner) = self.inner() {
            instruments::watch_spans(&inner.meter, &inner.common, spans.clone());
        }
    }

    /// An artifact was committed; from `external`, `agent`, `schedule` or `failure`.
    pub fn artifact_published(&self, kind: &str, source: &str) {
        self.record(|all| all.artifacts_published.add(1, &[kind, source]));
    }

    /// Claims on artifacts of a kind got their outcome.
    pub fn artifacts_ended(&self, kind: &str, outcome: &str, count: u64) {
        self.record(|all| all.artifacts_ended.add(count, &[kind, outcome]));
    }

    /// A job ended; `duration` is from its complete set of inputs.
    pub fn job_ended(&self, agent: &str, ending: &Ending<'_>, duration: Duration) {
        self.record(|all| {
            let (outcome, class) = (ending.outcome(), ending.error_type().unwrap_or_default());
            all.jobs.add(1, &[agent, outcome, class]);
            all.job_duration.record(duration.as_secs_f64(), &[agent, outcome]);
            if let Ending::Dead { reason, .. } = ending {
                all.dead_letters.add(1, &[agent, reason]);
            }
        });
    }

    /// An attempt ended.
    pub fn attempt_ended(&self, agent: &str, ending: &Ending<'_>, duration: Duration) {
        self.record(|all| all.attempt_duration.record(duration.as_secs_f64(), &[agent, ending.outcome()]));
    }

    /// A job that was complete waited for its attempt.
    pub fn job_waited(&self, agent: &str, reason: &str, duration: Duration) {
        self.record(|all| all.job_wait.record(duration.as_secs_f64(), &[agent, reason]));
    }

    /// A run began.
    pub fn run_started(&self, workflow: &str) {
        self.record(|all| all.runs_active.add(1, &[workflow]));
    }

    /// A run settled. `duration` is none for one in which nothing was published.
    pub fn run_ended(&self, workflow: &str, status: RunStatus, duration: Option<Duration>) {
        self.record(|all| {
            all.runs_active.add(-1, &[workflow]);
            if let Some(duration) = duration {
                all.run_duration.record(duration.as_secs_f64(), &[workflow, status.as_str()]);
            }
        });
    }

    /// An attempt was scheduled again.
    pub fn retried(&self, agent: &str, reason: &str) {
        self.record(|all| all.retries.add(1, &[agent, reason]));
    }

    /// An actor was restarted: an agent, or a part of the runtime by its name.
    pub fn restarted(&self, agent: &str, reason: &str) {
        self.record(|all| all.restarts.add(1, &[agent, reason]));
    }

    /// An agent was taken out of work.
    pub fn quarantined(&self, agent: &str, reason: &str) {
        self.record(|all| all.quarantines.add(1, &[agent, reason]));
    }

    /// A batch closed. `fill` is from 0 to 1; `None` for a batch without a size.
    pub fn batch_closed(&self, agent: &str, reason: &str, fill: Option<f64>, age: Duration) {
        self.record(|all| {
            all.batch_closed.add(1, &[agent, reason]);
            all.batch_age.record(age.as_secs_f64(), &[agent]);
            if let Some(fill) = fill {
                all.batch_fill.record(fill, &[agent]);
            }
        });
    }

    /// A join matched.
    pub fn join_matched(&self, agent: &str, waited: Duration) {
        self.record(|all| all.join_wait.record(waited.as_secs_f64(), &[agent]));
    }

    /// The window of a join ended first.
    pub fn join_expired(&self, agent: &str) {
        self.record(|all| all.join_expired.add(1, &[agent]));
    }

    /// Changes were committed together.
    pub fn committed(&self, store: &str, changes: u64, duration: Duration) {
        self.record(|all| {
            all.store_commit_duration.record(duration.as_secs_f64(), &[store]);
            #[expect(clippy::cast_precision_loss, reason = "a commit has far fewer changes than 2^52")]
            all.store_commit_batch.record(changes as f64, &[store]);
        });
    }

    /// A call of the store failed.
    pub fn store_failed(&self, store: &str, error_type: &str) {
        self.record(|all| all.store_errors.add(1, &[store, error_type]));
    }

    /// A job waited for a rate limit.
    pub fn rate_limited(&self, limit: &str, waited: Duration) {
        self.record(|all| all.rate_limit_wait.record(waited.as_secs_f64(), &[limit]));
    }

    /// A background loop woke up this late.
    pub fn loop_lagged(&self, name: &str, lag: Duration) {
        self.record(|all| all.loop_lag.record(lag.as_secs_f64(), &[name]));
    }

    /// A background loop ticked.
    pub fn tick(&self, name: &str, outcome: Counted) {
        self.record(|all| all.loop_ticks.add(1, &[name, outcome.as_str()]));
    }

    /// A schedule fired.
    pub fn firing(&self, schedule: &str, outcome: Counted) {
        self.record(|all| all.schedule_firings.add(1, &[schedule, outcome.as_str()]));
    }

    /// The lookout found something, or did not any more: 1 when it begins, -1 when it is over.
    pub fn finding(&self, kind: &str, agent: &str, change: i64) {
        self.record(|all| all.lookout_findings.add(change, &[kind, agent]));
    }

    /// A task that was ready waited for a worker thread.
    pub fn lag(&self, lag: Duration) {
        self.record(|all| all.worker_lag.record(lag.as_secs_f64(), &[]));
    }

    /// Retention removed artifacts.
    pub fn removed(&self, artifacts: u64) {
        self.record(|all| all.retention_removed.add(artifacts, &[]));
    }

    /// A shared resource was loaded.
    pub fn loads(&self, resource: &str, outcome: Counted, count: u64) {
        self.record(|all| all.resource_loads.add(count, &[resource, outcome.as_str()]));
    }

    /// Values of a shared resource were dropped because they were idle.
    pub fn evictions(&self, resource: &str, count: u64) {
        self.record(|all| all.resource_evictions.add(count, &[resource]));
    }

    /// A call of a model or a tool ended.
    pub fn call_ended(&self, call: &CallEnded<'_>) {
        self.record(|all| {
            let (operation, provider, model) = (call.operation, call.provider, call.model);
            let duration = call.duration.as_secs_f64();
            let error = call.error.unwrap_or_default();
            all.model_duration.record(duration, &[operation, provider, model, call.tool, error]);
            for (direction, tokens) in [("input", call.tokens_input), ("output", call.tokens_output)] {
                let Some(tokens) = tokens else { continue };
                #[expect(clippy::cast_precision_loss, reason = "no call has 2^52 tokens")]
                all.model_tokens.record(tokens as f64, &[operation, provider, model, direction]);
            }
        });
    }

    fn record(&self, record: impl FnOnce(&Instruments)) {
        if let Some(inner) = self.inner() {
            record(&inner.instruments);
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("recording", &self.is_on()).finish()
    }
}

#[cfg(test)]
mod tests;
