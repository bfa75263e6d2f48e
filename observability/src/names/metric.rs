//! The metrics, as data: name, instrument, unit, labels.
//!
//! Labels are agents, kinds, outcomes and other closed or declared sets; never a run, an artifact or a key.

/// Boundaries of every duration, in seconds. The SDK's own are made for milliseconds.
pub const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Boundaries of counts of things that come together: batches, commits.
pub const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

/// Boundaries of shares between nothing and all, for the fill of a batch.
pub const SHARES: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Boundaries of model calls, in seconds, as the GenAI conventions ask: 0.01 × 2ⁿ.
pub const MODEL_SECONDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// Boundaries of token counts, as the GenAI conventions ask: 4ⁿ.
pub const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The kind of a metric's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instrument {
    /// Only grows.
    Counter,
    /// Grows and shrinks, and sums over processes.
    UpDownCounter,
    /// A level, read when it is asked for.
    Gauge,
    /// How values are spread.
    Histogram,
}

impl Instrument {
    /// The word of the documentation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "up-down counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// The kind of its numbers.
    pub instrument: Instrument,
    /// Its unit, by UCUM: `s`, `1`, or the thing counted in braces.
    pub unit: &'static str,
    /// The keys of its labels.
    pub labels: &'static [&'static str],
    /// Boundaries of a histogram; empty for the others.
    pub boundaries: &'static [f64],
    /// Its meaning, in one line.
    pub says: &'static str,
}

impl Metric {
    /// The name of its family of samples in Prometheus' text format: dots become `_`, a unit and `_total` are
    /// added.
    ///
    /// A histogram's samples are this name with `_bucket`, `_sum` and `_count`.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let mut name = self.name.replace('.', "_");
        match (self.unit, self.instrument) {
            ("s", _) => name.push_str("_seconds"),
            ("1", Instrument::Gauge | Instrument::Histogram) => name.push_str("_ratio"),
            _ => {}
        }
        if self.instrument == Instrument::Counter {
            name.push_str("_total");
        }
        name
    }
}

/// The labels that every metric of a runtime has besides its own: the runtime's name, if it has one.
pub const COMMON_LABELS: &[&str] = &[label::RUNTIME];

/// The keys of labels.
pub mod label {
    /// The runtime's name; several may share a meter.
    pub const RUNTIME: &str = "volery.runtime.name";
    /// The agent.
    pub const AGENT: &str = "volery.agent.name";
    /// The kind of an artifact.
    pub const KIND: &str = "volery.kind";
    /// Where an artifact came from: external, agent, schedule, failure.
    pub const SOURCE: &str = "volery.source";
    /// How something ended.
    pub const OUTCOME: &str = "volery.outcome";
    /// The class of an error.
    pub const ERROR_TYPE: &str = "error.type";
    /// Why.
    pub const REASON: &str = "volery.reason";
    /// The workflow.
    pub const WORKFLOW: &str = "volery.workflow.name";
    /// The status of a run.
    pub const STATUS: &str = "volery.run.status";
    /// The actor.
    pub const ACTOR: &str = "volery.actor";
    /// The store's kind: memory, sqlite.
    pub const STORE: &str = "volery.store";
    /// The name of a loop, a feed or a rate limit.
    pub const NAME: &str = "volery.name";
    /// The background loop.
    pub const LOOP: &str = "volery.loop";
    /// The schedule.
    pub const SCHEDULE: &str = "volery.schedule";
    /// The kind of a finding of the lookout.
    pub const FINDING: &str = "volery.finding";
    /// The shared resource.
    pub const RESOURCE: &str = "volery.resource";
    /// The signal: traces, metrics.
    pub const SIGNAL: &str = "volery.signal";
    /// The model.
    pub const MODEL: &str = "gen_ai.request.model";
    /// The provider of the model.
    pub const PROVIDER: &str = "gen_ai.provider.name";
    /// The tool.
    pub const TOOL: &str = "gen_ai.tool.name";
    /// The operation of the model.
    pub const OPERATION: &str = "gen_ai.operation.name";
    /// input or output.
    pub const TOKEN_TYPE: &str = "gen_ai.token.type";
}

/// Declares a constant per metric, and the table of all of them.
macro_rules! metrics {
    ($($id:ident = $instrument:ident $name:literal, $unit:literal, [$($label:ident),*], $boundaries:expr, $says:literal;)*) => {
        $(#[doc = $says] pub const $id: Metric = Metric {
            name: $name,
            instrument: Instrument::$instrument,
            unit: $unit,
            labels: &[$(label::$label),*],
            boundaries: $boundaries,
            says: $says,
        };)*

        /// Every metric, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    ARTIFACTS_PUBLISHED = Counter "volery.artifacts.published", "{artifact}", [KIND, SOURCE], &[], "Artifacts that were committed.";
    ARTIFACTS_ENDED = Counter "volery.artifacts.ended", "{artifact}", [KIND, OUTCOME], &[], "Claims of subscriptions on artifacts that got their outcome.";
    JOBS = Counter "volery.jobs", "{job}", [AGENT, OUTCOME, ERROR_TYPE], &[], "Jobs that ended.";
    ATTEMPT_DURATION = Histogram "volery.attempt.duration", "s", [AGENT, OUTCOME], SECONDS, "How long attempts took.";
    JOB_DURATION = Histogram "volery.job.duration", "s", [AGENT, OUTCOME], SECONDS, "How long jobs took, all waits included.";
    JOB_WAIT = Histogram "volery.job.wait", "s", [AGENT, REASON], SECONDS, "How long complete jobs waited for their attempt.";
    RUN_DURATION = Histogram "volery.run.duration", "s", [WORKFLOW, STATUS], SECONDS, "How long runs took until they settled.";
    RUNS_ACTIVE = UpDownCounter "volery.runs.active", "{run}", [WORKFLOW], &[], "Runs that have not settled.";
    QUEUE_DEPTH = Gauge "volery.queue.depth", "{job}", [AGENT], &[], "Jobs that wait for the agent.";
    QUEUE_OLDEST_AGE = Gauge "volery.queue.oldest_age", "s", [AGENT], &[], "The age of the oldest job that waits for the agent.";
    JOBS_IN_FLIGHT = Gauge "volery.jobs.in_flight", "{job}", [AGENT], &[], "Attempts that run.";
    JOBS_LIMIT = Gauge "volery.jobs.limit", "{job}", [AGENT], &[], "Attempts that may run at a time.";
    MAILBOX_DEPTH = Gauge "volery.mailbox.depth", "{message}", [ACTOR], &[], "Messages that wait for an actor.";
    RETRIES = Counter "volery.retries", "{attempt}", [AGENT, REASON], &[], "Attempts that were scheduled again.";
    RESTARTS = Counter "volery.restarts", "{restart}", [AGENT, REASON], &[], "Restarts of actors.";
    DEAD_LETTERS = Counter "volery.dead_letters", "{job}", [AGENT, REASON], &[], "Jobs that died.";
    QUARANTINES = Counter "volery.quarantines", "{agent}", [AGENT, REASON], &[], "Agents that were taken out of work.";
    BATCH_FILL = Histogram "volery.batch.fill", "1", [AGENT], SHARES, "How full batches were when they closed, from 0 to 1.";
    BATCH_AGE = Histogram "volery.batch.age", "s", [AGENT], SECONDS, "How old batches were when they closed.";
    BATCH_CLOSED = Counter "volery.batch.closed", "{batch}", [AGENT, REASON], &[], "Batches that closed.";
    JOIN_PENDING = Gauge "volery.join.pending", "{join}", [AGENT], &[], "Joins that wait for a side.";
    JOIN_WAIT = Histogram "volery.join.wait", "s", [AGENT], SECONDS, "How long joins that matched had waited.";
    JOIN_EXPIRED = Counter "volery.join.expired", "{join}", [AGENT], &[], "Joins whose window ended first.";
    STORE_COMMIT_DURATION = Histogram "volery.store.commit.duration", "s", [STORE], SECONDS, "How long commits took.";
    STORE_COMMIT_BATCH = Histogram "volery.store.commit.batch", "{change}", [STORE], COUNTS, "Changes that were committed together.";
    STORE_ERRORS = Counter "volery.store.errors", "{error}", [STORE, ERROR_TYPE], &[], "Calls of the store that failed.";
    STORE_BACKLOG = Gauge "volery.store.backlog", "{change}", [STORE], &[], "Changes that wait for a commit.";
    STORE_SPILLED = Gauge "volery.store.spilled", "{artifact}", [STORE], &[], "Artifacts that wait in the store and not in memory.";
    RATE_LIMIT_WAIT = Histogram "volery.rate_limit.wait", "s", [NAME], SECONDS, "How long work waited for a rate limit.";
    FEED_LAG = Gauge "volery.feed.lag", "{event}", [NAME], &[], "Events that the slowest reader of a feed has before it.";
    LOOP_LAG = Histogram "volery.loop.lag", "s", [NAME], SECONDS, "How late background loops woke up.";
    LOOP_TICKS = Counter "volery.loop.ticks", "{tick}", [LOOP, OUTCOME], &[], "Ticks of background loops.";
    SCHEDULE_FIRINGS = Counter "volery.schedule.firings", "{firing}", [SCHEDULE, OUTCOME], &[], "Firings of schedules.";
    LOOKOUT_FINDINGS = UpDownCounter "volery.lookout.findings", "{finding}", [FINDING, AGENT], &[], "Findings of the lookout at present.";
    WORKER_LAG = Histogram "volery.worker.lag", "s", [], SECONDS, "How long a task that was ready waited for a worker thread.";
    RETENTION_REMOVED = Counter "volery.retention.removed", "{artifact}", [], &[], "Artifacts that retention removed.";
    RESOURCE_LOADS = Counter "volery.resource.loads", "{load}", [RESOURCE, OUTCOME], &[], "Loads of shared resources.";
    RESOURCE_EVICTIONS = Counter "volery.resource.evictions", "{value}", [RESOURCE], &[], "Values of shared resources that were dropped because they were idle.";
    TELEMETRY_DROPPED = Counter "volery.telemetry.dropped", "{item}", [SIGNAL, REASON], &[], "Spans that were lost before or in the export.";
    TELEMETRY_SUPPRESSED = Counter "volery.telemetry.suppressed", "{item}", [SIGNAL, REASON], &[], "Spans and links that a level of detail or a limit left out.";
    MODEL_DURATION = Histogram "gen_ai.client.operation.duration", "s", [OPERATION, PROVIDER, MODEL, TOOL, ERROR_TYPE], MODEL_SECONDS, "How long calls of models and tools took.";
    MODEL_TOKENS = Histogram "gen_ai.client.token.usage", "{token}", [OPERATION, PROVIDER, MODEL, TOKEN_TYPE], TOKENS, "Tokens that calls of models used.";
}
