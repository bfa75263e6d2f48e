//! Metrics: the instruments of a runtime, made from a meter that the embedding service hands in.
//!
//! It installs no provider and reads none. Without a meter nothing is recorded. The names in [`instrument`] and
//! [`attribute`] are what dashboards group by; a name that changes here is a change for them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};

/// Names of instruments.
pub mod instrument {
    /// Ticks of background loops. A counter, by runtime, loop and outcome.
    pub const LOOP_TICKS: &str = "volery.loop.ticks";
    /// Firings of schedules. A counter, by runtime, schedule and outcome.
    pub const SCHEDULE_FIRINGS: &str = "volery.schedule.firings";
    /// What the lookout finds at present. An up-down counter, by runtime, finding and agent.
    pub const LOOKOUT_FINDINGS: &str = "volery.lookout.findings";
    /// How long a ready task waited for a worker thread. A histogram in seconds, by runtime.
    pub const WORKER_LAG: &str = "volery.worker.lag";
    /// Artifacts that retention removed. A counter, by runtime.
    pub const RETENTION_REMOVED: &str = "volery.retention.removed";
    /// Loads of shared resources. A counter, by runtime, resource and outcome.
    pub const RESOURCE_LOADS: &str = "volery.resource.loads";
    /// Values of shared resources that were dropped because they were idle. A counter, by runtime and resource.
    pub const RESOURCE_EVICTIONS: &str = "volery.resource.evictions";

    /// Every instrument.
    pub const ALL: [&str; 7] = [
        LOOP_TICKS,
        SCHEDULE_FIRINGS,
        LOOKOUT_FINDINGS,
        WORKER_LAG,
        RETENTION_REMOVED,
        RESOURCE_LOADS,
        RESOURCE_EVICTIONS,
    ];
}

/// Names of attributes.
pub mod attribute {
    /// The runtime's name.
    pub const RUNTIME: &str = "volery.runtime";
    /// The loop's name.
    pub const LOOP: &str = "volery.loop";
    /// The schedule's name.
    pub const SCHEDULE: &str = "volery.schedule";
    /// The kind of finding.
    pub const FINDING: &str = "volery.finding";
    /// The agent's name; empty where none is meant.
    pub const AGENT: &str = "volery.agent";
    /// The resource's name.
    pub const RESOURCE: &str = "volery.resource";
    /// `ok` or `error`; for firings also `repeat`.
    pub const OUTCOME: &str = "volery.outcome";
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
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Repeat => "repeat",
            Self::Error => "error",
        }
    }
}

/// Records the numbers of one runtime. The default records nothing. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics(Option<Arc<Recording>>);

struct Recording {
    runtime: KeyValue,
    instruments: Instruments,
}

#[derive(Clone)]
struct Instruments {
    loop_ticks: Counter<u64>,
    schedule_firings: Counter<u64>,
    lookout_findings: UpDownCounter<i64>,
    worker_lag: Histogram<f64>,
    retention_removed: Counter<u64>,
    resource_loads: Counter<u64>,
    resource_evictions: Counter<u64>,
}

impl Metrics {
    /// Makes the instruments on a meter. Several runtimes may share one; each says its own name.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let instruments = Instruments {
            loop_ticks: meter.u64_counter(instrument::LOOP_TICKS).build(),
            schedule_firings: meter.u64_counter(instrument::SCHEDULE_FIRINGS).build(),
            lookout_findings: meter.i64_up_down_counter(instrument::LOOKOUT_FINDINGS).build(),
            worker_lag: meter.f64_histogram(instrument::WORKER_LAG).with_unit("s").build(),
            retention_removed: meter.u64_counter(instrument::RETENTION_REMOVED).build(),
            resource_loads: meter.u64_counter(instrument::RESOURCE_LOADS).build(),
            resource_evictions: meter.u64_counter(instrument::RESOURCE_EVICTIONS).build(),
        };
        Self(Some(Arc::new(Recording { runtime: KeyValue::new(attribute::RUNTIME, ""), instruments })))
    }

    /// Returns the same instruments, recording for the named runtime.
    #[must_use]
    pub fn for_runtime(&self, name: &str) -> Self {
        Self(self.0.as_ref().map(|recording| {
            let runtime = KeyValue::new(attribute::RUNTIME, name.to_owned());
            Arc::new(Recording { runtime, instruments: recording.instruments.clone() })
        }))
    }

    /// Counts a tick of a loop.
    pub fn tick(&self, name: &str, outcome: Counted) {
        self.record(|instruments, runtime| {
            let of = [runtime, KeyValue::new(attribute::LOOP, name.to_owned()), told(outcome)];
            instruments.loop_ticks.add(1, &of);
        });
    }

    /// Counts a firing of a schedule.
    pub fn firing(&self, schedule: &str, outcome: Counted) {
        self.record(|instruments, runtime| {
            let of = [runtime, KeyValue::new(attribute::SCHEDULE, schedule.to_owned()), told(outcome)];
            instruments.schedule_firings.add(1, &of);
        });
    }

    /// Counts a finding of the lookout: 1 when it begins, -1 when it is over.
    pub fn finding(&self, kind: &'static str, agent: &str, change: i64) {
        self.record(|instruments, runtime| {
            let finding = KeyValue::new(attribute::FINDING, kind);
            let agent = KeyValue::new(attribute::AGENT, agent.to_owned());
            instruments.lookout_findings.add(change, &[runtime, finding, agent]);
        });
    }

    /// Records how long a ready task waited for a worker thread.
    pub fn lag(&self, lag: Duration) {
        self.record(|instruments, runtime| instruments.worker_lag.record(lag.as_secs_f64(), &[runtime]));
    }

    /// Counts artifacts that retention removed.
    pub fn removed(&self, artifacts: u64) {
        self.record(|instruments, runtime| instruments.retention_removed.add(artifacts, &[runtime]));
    }

    /// Counts loads of a resource.
    pub fn loads(&self, resource: &str, outcome: Counted, count: u64) {
        self.record(|instruments, runtime| {
            let of = [runtime, KeyValue::new(attribute::RESOURCE, resource.to_owned()), told(outcome)];
            instruments.resource_loads.add(count, &of);
        });
    }

    /// Counts values of a resource that were dropped because they were idle.
    pub fn evictions(&self, resource: &str, count: u64) {
        self.record(|instruments, runtime| {
            let of = [runtime, KeyValue::new(attribute::RESOURCE, resource.to_owned())];
            instruments.resource_evictions.add(count, &of);
        });
    }

    fn record(&self, write: impl FnOnce(&Instruments, KeyValue)) {
        if let Some(recording) = &self.0 {
            write(&recording.instruments, recording.runtime.clone());
        }
    }
}

fn told(outcome: Counted) -> KeyValue {
    KeyValue::new(attribute::OUTCOME, outcome.as_str())
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("recording", &self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Mutex, PoisonError};

    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::metrics::data::ResourceMetrics;
    use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
    use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

    use super::*;

    /// Notes the names of what is exported.
    #[derive(Clone, Default)]
    struct Names(Arc<Mutex<BTreeSet<String>>>);

    impl PushMetricExporter for Names {
        async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
            let all = metrics.scope_metrics().flat_map(|scope| scope.metrics());
            let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            names.extend(all.map(|metric| metric.name().to_owned()));
            Ok(())
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }

        fn temporality(&self) -> Temporality {
            Temporality::Cumulative
        }
    }

    #[test]
    fn every_instrument_is_recorded_under_its_name() {
        let names = Names::default();
        let reader = PeriodicReader::builder(names.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let metrics = Metrics::new(&provider.meter("test")).for_runtime("shop");
        metrics.tick("janitor", Counted::Ok);
        metrics.firing("nightly", Counted::Repeat);
        metrics.finding("worker_blocked", "billing", 1);
        metrics.lag(Duration::from_millis(3));
        metrics.removed(7);
        metrics.loads("model", Counted::Error, 1);
        metrics.evictions("model", 2);
        provider.force_flush().expect("the reader is there");
        let names = names.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(names, instrument::ALL.iter().map(|&name| name.to_owned()).collect());
    }

    #[test]
    fn without_a_meter_nothing_is_recorded() {
        let metrics = Metrics::default().for_runtime("shop");
        metrics.tick("janitor", Counted::Ok);
        assert_eq!(format!("{metrics:?}"), "Metrics { recording: false }");
    }
}
