use std::collections::BTreeMap;

use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

use super::*;
use crate::names::metric::{self, Instrument};
use crate::trace::{Failure, TraceSettings};

/// The metrics that reached an exporter: name → unit, kind and label keys.
type Seen = BTreeMap<String, (String, &'static str, Vec<String>)>;

fn every_event(metrics: &Metrics) {
    let second = Duration::from_secs(1);
    let causes = ["no".to_owned()];
    let dead = Ending::Dead { reason: "attempts", failure: Failure { class: "E", causes: &causes } };
    metrics.artifact_published("Order", "external");
    metrics.artifacts_ended("Order", "consumed", 2);
    metrics.job_ended("settle", &dead, second);
    metrics.attempt_ended("settle", &Ending::Panicked("no"), second);
    metrics.job_waited("settle", "queue", second);
    metrics.run_started("checkout");
    metrics.run_ended("checkout", RunStatus::Completed, Some(second));
    metrics.retried("settle", "failed");
    metrics.restarted("settle", "panic");
    metrics.quarantined("settle", "intensity");
    metrics.batch_closed("settle", "size", Some(1.0), second);
    metrics.join_matched("settle", second);
    metrics.join_expired("settle");
    metrics.committed("sqlite", 12, second);
    metrics.store_failed("sqlite", "busy");
    metrics.rate_limited("mail", second);
    metrics.loop_lagged("timekeeper", second);
    metrics.tick("janitor", Counted::Ok);
    metrics.firing("nightly", Counted::Repeat);
    metrics.finding("worker_blocked", "settle", 1);
    metrics.lag(second);
    metrics.removed(7);
    metrics.loads("model", Counted::Error, 1);
    metrics.evictions("model", 2);
    metrics.call_ended(&CallEnded {
        operation: "chat",
        provider: "local",
        model: "small",
        tool: "search",
        error: Some("timeout"),
        duration: second,
        tokens_input: Some(10),
        tokens_output: Some(3),
    });
    let named = |name: &str| vec![NamedLevel { name: name.into(), level: 3 }];
    metrics.set_levels(Levels {
        agents: vec![AgentLevels {
            agent: "settle".into(),
            oldest: second,
            joins: Some(0),
            ..AgentLevels::default()
        }],
        mailboxes: named("curator"),
        feeds: named("main"),
        store_backlog: named("sqlite"),
        store_spilled: named("sqlite"),
    });
}

fn seen(record: impl FnOnce(&SdkMeterProvider)) -> Seen {
    let exporter = InMemoryMetricExporter::default();
    let provider =
        SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    record(&provider);
    provider.force_flush().expect("the exporter is in memory");
    let mut seen = Seen::new();
    for resource in exporter.get_finished_metrics().expect("the exporter is in memory") {
        for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
            let (kind, labels) = match metric.data() {
                AggregatedMetrics::F64(data) => shape(data),
                AggregatedMetrics::U64(data) => shape(data),
                AggregatedMetrics::I64(data) => shape(data),
            };
            seen.insert(metric.name().to_owned(), (metric.unit().to_owned(), kind, labels));
        }
    }
    seen
}

fn shape<T: Copy>(data: &MetricData<T>) -> (&'static str, Vec<String>) {
    let keys = |attributes: &mut dyn Iterator<Item = &opentelemetry::KeyValue>| {
        attributes.map(|label| label.key.to_string()).collect::<Vec<_>>()
    };
    match data {
        MetricData::Gauge(gauge) => (
            "gauge",
            gauge.data_points().map(|point| keys(&mut point.attributes())).next().unwrap_or_default(),
        ),
        MetricData::Sum(sum) => {
            let kind = if sum.is_monotonic() { "counter" } else { "up-down counter" };
            (kind, sum.data_points().map(|point| keys(&mut point.attributes())).next().unwrap_or_default())
        }
        MetricData::Histogram(histogram) => (
            "histogram",
            histogram.data_points().map(|point| keys(&mut point.attributes())).next().unwrap_or_default(),
        ),
        MetricData::ExponentialHistogram(_) => ("exponential histogram", Vec::new()),
    }
}

#[test]
fn every_metric_of_the_table_is_recorded_as_the_table_says() {
    let seen = seen(|provider| {
        let metrics = Metrics::from_provider(provider);
        every_event(&metrics);
        let spans =
            Spans::new(&opentelemetry::trace::noop::NoopTracerProvider::new(), TraceSettings::default());
        metrics.watch_spans(&spans);
        // The levels are shown while the metrics live.
        provider.force_flush().expect("the exporter is in memory");
    });
    for metric in metric::ALL {
        // This one is the set-up's, see `tests/telemetry/traps.rs`.
        if metric.name == metric::TELEMETRY_DROPPED.name {
            continue;
        }
        let (unit, kind, labels) =
            seen.get(metric.name).unwrap_or_else(|| panic!("{} is missing", metric.name));
        assert_eq!(unit, metric.unit, "{}", metric.name);
        assert_eq!(*kind, metric.instrument.as_str(), "{}", metric.name);
        let mut expected: Vec<String> = metric.labels.iter().map(|&label| label.to_owned()).collect();
        let mut labels = labels.clone();
        expected.sort();
        labels.sort();
        assert_eq!(labels, expected, "{}", metric.name);
        assert_eq!(
            metric.boundaries.is_empty(),
            metric.instrument != Instrument::Histogram,
            "{}",
            metric.name
        );
    }
    assert_eq!(seen.len(), metric::ALL.len() - 1, "nothing is recorded beside the table: {:?}", seen.keys());
}

#[test]
fn everything_that_a_runtime_with_a_name_records_has_its_name() {
    let seen = seen(|provider| {
        let metrics = Metrics::from_provider(provider).for_runtime("shop");
        every_event(&metrics);
        let spans =
            Spans::new(&opentelemetry::trace::noop::NoopTracerProvider::new(), TraceSettings::default());
        metrics.watch_spans(&spans);
        provider.force_flush().expect("the exporter is in memory");
    });
    assert_eq!(seen.len(), metric::ALL.len() - 1);
    for (name, (_, _, labels)) in seen {
        for common in metric::COMMON_LABELS {
            assert!(labels.iter().any(|label| label == common), "{name} has {labels:?}");
        }
    }
}

#[test]
fn without_a_meter_nothing_happens() {
    let metrics = Metrics::off().for_runtime("shop");
    assert!(!metrics.is_on());
    every_event(&metrics);
}

#[cfg(feature = "prometheus")]
#[test]
fn every_metric_has_the_name_in_prometheus_that_the_table_gives_it() {
    let registry = prometheus::Registry::new();
    let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build();
    let reader = reader.expect("the registry is empty");
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let metrics = Metrics::from_provider(&provider);
    every_event(&metrics);
    let families: Vec<String> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
    for metric in metric::ALL {
        // These two come from the set-up and from the spans.
        if metric.name.starts_with("volery.telemetry.") {
            continue;
        }
        assert!(
            families.contains(&metric.prometheus_name()),
            "{} in {families:#?}",
            metric.prometheus_name()
        );
    }
}
