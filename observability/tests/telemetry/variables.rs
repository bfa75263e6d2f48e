//! The set-up as whoever runs a service sees it: by variables, with mistakes, more than once in a process.

use volery_observability::trace::RunStart;
use volery_observability::{Environment, Otlp, Telemetry, TelemetryError, init};
use volery_otlp_receiver::Receiver;

use crate::otlp::LIMIT;
use crate::scenario::{SPANS, at, checkout, run_end};

fn variables(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().fold(Environment::empty(), |all, (name, value)| all.with(*name, *value))
}

fn start(pairs: &[(&str, &str)]) -> Result<Telemetry, TelemetryError> {
    init("shop").environment(variables(pairs)).otlp(Otlp::standard()).start()
}

/// Sends a run and a number. The receiver has what arrives.
#[track_caller]
fn sends(telemetry: Telemetry) {
    let providers = telemetry.providers();
    checkout(&providers.spans());
    providers.metrics("shop", &providers.spans()).artifact_published("Order", "external");
    let report = telemetry.shutdown_blocking(LIMIT);
    assert!(report.is_complete(), "{report}");
}

#[test]
fn variables_given_by_the_code_say_where_to_and_how() -> Result<(), TelemetryError> {
    for (protocol, compression) in [("grpc", "none"), ("http/protobuf", "gzip"), ("http/protobuf", "none")] {
        let receiver = Receiver::start();
        let base = if protocol == "grpc" { receiver.grpc_endpoint() } else { receiver.http_endpoint() + "/" };
        sends(start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &base),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, odd,=odd,sp ace=x"),
        ])?);
        assert_eq!((receiver.spans().len(), receiver.metrics().is_empty()), (SPANS, false), "{protocol}");
    }
    Ok(())
}

#[test]
fn a_signal_goes_where_its_own_variables_say_and_its_endpoint_is_taken_as_it_is() -> Result<(), TelemetryError>
{
    let (spans, metrics) = (Receiver::start(), Receiver::start());
    sends(start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &(spans.http_endpoint() + "/v1/traces")),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &metrics.grpc_endpoint()),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
    ])?);
    assert_eq!((spans.spans().len(), spans.metrics().len()), (SPANS, 0));
    assert_eq!((metrics.spans().len(), metrics.metrics().is_empty()), (0, false));
    Ok(())
}

#[test]
fn settings_that_cannot_work_are_refused_by_the_name_of_their_variable() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "GRPC"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "snappy"),
    ] {
        let error = start(&[(name, value)]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(&format!("{name} is `{value}`")), "{error}");
    }
    let doubled = init("shop").otlp(Otlp::http().endpoint("http://collector:4318/v1/traces")).start();
    assert!(doubled.is_err_and(|error| error.to_string().contains("leave it out")));
}

#[test]
fn what_is_switched_off_is_not_looked_at() -> Result<(), TelemetryError> {
    for off in [
        &[("OTEL_SDK_DISABLED", "true")][..],
        &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")],
    ] {
        let mut pairs = off.to_vec();
        pairs.push(("OTEL_EXPORTER_OTLP_PROTOCOL", "nonsense"));
        let telemetry = start(&pairs)?;
        assert!(telemetry.tracer_provider().is_none() && telemetry.meter_provider().is_none());
        assert!(telemetry.providers().flush_blocking(LIMIT).is_some_and(|report| report.is_complete()));
        assert!(telemetry.shutdown_blocking(LIMIT).is_complete());
    }
    Ok(())
}

#[test]
fn a_report_of_what_was_lost_names_where_it_should_have_gone() -> Result<(), TelemetryError> {
    let telemetry = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")])?;
    checkout(&telemetry.providers().spans());
    let report = telemetry.flush_blocking(LIMIT);
    assert_eq!((report.exported, report.lost()), (0, SPANS as u64), "{report}");
    assert!(report.to_string().contains("traces to http://127.0.0.1:1/v1/traces: "), "{report}");
    drop(telemetry.shutdown_blocking(LIMIT));
    Ok(())
}

#[test]
fn two_set_ups_of_a_process_know_nothing_of_each_other() -> Result<(), TelemetryError> {
    let receivers = [Receiver::start(), Receiver::start()];
    let [first, second] = [&receivers[0], &receivers[1]].map(|receiver| {
        let otlp = Otlp::grpc().endpoint(receiver.grpc_endpoint());
        init("shop").environment(Environment::empty()).otlp(otlp).start()
    });
    sends(first?);
    assert_eq!((receivers[0].spans().len(), receivers[1].spans().len()), (SPANS, 0));
    sends(second?);
    assert_eq!((receivers[0].spans().len(), receivers[1].spans().len()), (SPANS, SPANS));
    Ok(())
}

#[test]
fn after_the_shutdown_nothing_is_recorded_and_a_flush_returns_at_once() -> Result<(), TelemetryError> {
    let receiver = Receiver::start();
    let telemetry = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.http_endpoint())])?;
    let providers = telemetry.providers();
    let spans = providers.spans();
    let open = spans.run(RunStart::new(&"run-1", "late", at(0)));
    let report = telemetry.shutdown_blocking(LIMIT);
    assert_eq!((report.exported, report.lost()), (1, 0), "{report}");
    open.end(run_end(1));
    assert!(!spans.run(RunStart::new(&"run-2", "later", at(2))).is_sampled());
    let late = providers.flush_blocking(LIMIT).unwrap_or_default();
    assert_eq!((late.exported, late.lost()), (1, 0), "{late}");
    assert_eq!(receiver.spans().len(), 1);
    Ok(())
}
