//! The instruments behind the metrics, built from the table of names.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};

use super::labels::LabelSets;
use crate::names::metric::{self, Metric};
use crate::trace::Spans;

/// Every instrument that counts events.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) artifacts_published: Count,
    pub(super) artifacts_ended: Count,
    pub(super) jobs: Count,
    pub(super) attempt_duration: Spread,
    pub(super) job_duration: Spread,
    pub(super) job_wait: Spread,
    pub(super) run_duration: Spread,
    pub(super) runs_active: Level,
    pub(super) retries: Count,
    pub(super) restarts: Count,
    pub(super) dead_letters: Count,
    pub(super) quarantines: Count,
    pub(super) batch_fill: Spread,
    pub(super) batch_age: Spread,
    pub(super) batch_closed: Count,
    pub(super) join_wait: Spread,
    pub(super) join_expired: Count,
    pub(super) store_commit_duration: Spread,
    pub(super) store_commit_batch: Spread,
    pub(super) store_errors: Count,
    pub(super) rate_limit_wait: Spread,
    pub(super) loop_lag: Spread,
    pub(super) loop_ticks: Count,
    pub(super) schedule_firings: Count,
    pub(super) lookout_findings: Level,
    pub(super) worker_lag: Spread,
    pub(super) retention_removed: Count,
    pub(super) resource_loads: Count,
    pub(super) resource_evictions: Count,
    pub(super) model_duration: Spread,
    pub(super) model_tokens: Spread,
}

impl Instruments {
    pub(super) fn new(meter: &Meter, common: &[KeyValue]) -> Self {
        Self {
            artifacts_published: Count::new(meter, &metric::ARTIFACTS_PUBLISHED, common),
            artifacts_ended: Count::new(meter, &metric::ARTIFACTS_ENDED, common),
            jobs: Count::new(meter, &metric::JOBS, common),
            attempt_duration: Spread::new(meter, &metric::ATTEMPT_DURATION, common),
            job_duration: Spread::new(meter, &metric::JOB_DURATION, common),
            job_wait: Spread::new(meter, &metric::JOB_WAIT, common),
            run_duration: Spread::new(meter, &metric::RUN_DURATION, common),
            runs_active: Level::new(meter, &metric::RUNS_ACTIVE, common),
            retries: Count::new(meter, &metric::RETRIES, common),
            restarts: Count::new(meter, &metric::RESTARTS, common),
            dead_letters: Count::new(meter, &metric::DEAD_LETTERS, common),
            quarantines: Count::new(meter, &metric::QUARANTINES, common),
            batch_fill: Spread::new(meter, &metric::BATCH_FILL, common),
            batch_age: Spread::new(meter, &metric::BATCH_AGE, common),
            batch_closed: Count::new(meter, &metric::BATCH_CLOSED, common),
            join_wait: Spread::new(meter, &metric::JOIN_WAIT, common),
            join_expired: Count::new(meter, &metric::JOIN_EXPIRED, common),
            store_commit_duration: Spread::new(meter, &metric::STORE_COMMIT_DURATION, common),
            store_commit_batch: Spread::new(meter, &metric::STORE_COMMIT_BATCH, common),
            store_errors: Count::new(meter, &metric::STORE_ERRORS, common),
            rate_limit_wait: Spread::new(meter, &metric::RATE_LIMIT_WAIT, common),
            loop_lag: Spread::new(meter, &metric::LOOP_LAG, common),
            loop_ticks: Count::new(meter, &metric::LOOP_TICKS, common),
            schedule_firings: Count::new(meter, &metric::SCHEDULE_FIRINGS, common),
            lookout_findings: Level::new(meter, &metric::LOOKOUT_FINDINGS, common),
            worker_lag: Spread::new(meter, &metric::WORKER_LAG, common),
            retention_removed: Count::new(meter, &metric::RETENTION_REMOVED, common),
            resource_loads: Count::new(meter, &metric::RESOURCE_LOADS, common),
            resource_evictions: Count::new(meter, &metric::RESOURCE_EVICTIONS, common),
            model_duration: Spread::new(meter, &metric::MODEL_DURATION, common),
            model_tokens: Spread::new(meter, &metric::MODEL_TOKENS, common),
        }
    }
}

/// A counter and its labels.
#[derive(Debug)]
pub(super) struct Count(Counter<u64>, LabelSets);

impl Count {
    fn new(meter: &Meter, metric: &Metric, common: &[KeyValue]) -> Self {
        let counter = meter.u64_counter(metric.name).with_unit(metric.unit).with_description(metric.says);
        Self(counter.build(), LabelSets::new(metric.labels, common))
    }

    pub(super) fn add(&self, count: u64, values: &[&str]) {
        self.0.add(count, &self.1.of(values));
    }
}

/// An up-down counter and its labels.
#[derive(Debug)]
pub(super) struct Level(UpDownCounter<i64>, LabelSets);

impl Level {
    fn new(meter: &Meter, metric: &Metric, common: &[KeyValue]) -> Self {
        let level =
            meter.i64_up_down_counter(metric.name).with_unit(metric.unit).with_description(metric.says);
        Self(level.build(), LabelSets::new(metric.labels, common))
    }

    pub(super) fn add(&self, change: i64, values: &[&str]) {
        self.0.add(change, &self.1.of(values));
    }
}

/// A histogram and its labels.
#[derive(Debug)]
pub(super) struct Spread(Histogram<f64>, LabelSets);

impl Spread {
    fn new(meter: &Meter, metric: &Metric, common: &[KeyValue]) -> Self {
        let histogram = meter
            .f64_histogram(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.says)
            .with_boundaries(metric.boundaries.to_vec());
        Self(histogram.build(), LabelSets::new(metric.labels, common))
    }

    pub(super) fn record(&self, value: f64, values: &[&str]) {
        self.0.record(value, &self.1.of(values));
    }
}

/// Shows what the traces leave out. The meter keeps the callback for its life, and with it the spans'
/// settings.
pub(super) fn watch_spans(meter: &Meter, common: &[KeyValue], spans: Spans) {
    let metric = metric::TELEMETRY_SUPPRESSED;
    let labels = |reason: &'static str| {
        let own =
            [KeyValue::new(metric::label::SIGNAL, "traces"), KeyValue::new(metric::label::REASON, reason)];
        common.iter().cloned().chain(own).collect::<Vec<_>>()
    };
    let (detail, links) = (labels("detail"), labels("links"));
    meter
        .u64_observable_counter(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.says)
        .with_callback(move |observer| {
            let left_out = spans.left_out();
            observer.observe(left_out.spans, &detail);
            observer.observe(left_out.links, &links);
        })
        .build();
}
