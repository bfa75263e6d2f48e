//! Traps of the exporters, each of which lost spans somewhere: this set-up does not fall into them.
//!
//! The crate's tests are built with the asynchronous HTTP client of `opentelemetry-otlp` turned on, as
//! another crate of a service's build could do; see `Cargo.toml`.

use std::net::TcpListener;
use std::time::Duration;

use volery_observability::trace::{JobStart, RunStart, TraceSettings};
use volery_observability::{Environment, Otlp, init, trace::Input};
use volery_otlp_receiver::{Receiver, laws};

use crate::otlp::{LIMIT, set_up};
use crate::scenario::{SPANS, at, checkout, publish, run_end};

#[test]
fn the_batch_thread_gets_a_blocking_client_whatever_the_build_turns_on() {
    // With the asynchronous client the thread panics with "no reactor running", and everything is lost.
    let receiver = Receiver::start();
    let telemetry = set_up(Otlp::http().endpoint(receiver.http_endpoint()));
    checkout(&telemetry.providers().spans());
    let report = telemetry.shutdown_blocking(LIMIT);
    assert!(report.is_complete(), "{report}");
    assert_eq!(receiver.spans().len() as u64, report.exported);
}

#[tokio::test]
async fn a_runtime_with_one_thread_flushes_grpc_while_it_is_blocked() {
    // Connections that live on the caller's runtime cannot move while the caller blocks: 5 s, `Timeout`,
    // nothing sent.
    let receiver = Receiver::start();
    let telemetry = set_up(Otlp::grpc().endpoint(receiver.grpc_endpoint()));
    checkout(&telemetry.providers().spans());
    let report = telemetry.flush_blocking(LIMIT);
    assert!(report.is_complete(), "{report}");
    assert_eq!(receiver.spans().len(), SPANS);
    checkout(&telemetry.providers().spans());
    let report = telemetry.shutdown(LIMIT).await;
    assert!(report.is_complete(), "{report}");
    assert_eq!(receiver.spans().len(), 2 * SPANS);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_cut_a_flush_off() {
    let receiver = Receiver::start();
    let telemetry = set_up(Otlp::grpc().endpoint(receiver.grpc_endpoint()));
    checkout(&telemetry.providers().spans());
    let report = telemetry.flush(LIMIT).await;
    assert!(report.is_complete(), "{report}");
    drop(telemetry);
    assert_eq!(receiver.spans().len(), SPANS, "dropped in an async context, too");
}

#[test]
fn a_burst_of_20001_spans_arrives_whole() {
    // The SDK's queue of 2,048 kept 4,096 of them and answered `Ok`.
    let receiver = Receiver::start();
    let telemetry = set_up(Otlp::grpc().endpoint(receiver.grpc_endpoint()));
    let spans = telemetry.providers().settings(TraceSettings::default().spans_max(100_000)).spans();
    let run = spans.run(RunStart::new(&"run-1", "burst", at(0)));
    for number in 0..19_999 {
        publish(&run, "Order", number, number + 1);
    }
    run.end(run_end(30_000));
    let report = telemetry.shutdown_blocking(LIMIT);
    assert!(report.is_complete(), "{report}");
    let arrived = receiver.spans();
    assert_eq!(arrived.len(), 20_001);
    laws::no_broken_parents(&arrived, &[]).expect("no parent is missing");
}

#[test]
fn a_job_keeps_more_than_128_links_and_says_how_many_it_left_out() {
    let receiver = Receiver::start();
    let telemetry = set_up(Otlp::grpc().endpoint(receiver.grpc_endpoint()));
    let spans = telemetry.providers().spans();
    let run = spans.run(RunStart::new(&"run-1", "links", at(0)));
    let order = publish(&run, "Order", 0, 1);
    let input = || Input { id: "Order-1", kind: "Order", propagation: Some(order.clone()) };
    for (agent, inputs) in [("few", 500), ("many", 1_500)] {
        let inputs = std::iter::repeat_with(input).take(inputs);
        let job = run.job(&JobStart::new(agent, &agent, at(2)), inputs);
        job.expect("the run is sampled").end(&volery_observability::trace::Ending::Ok, at(3));
    }
    run.end(run_end(4));
    let left_out = spans.left_out();
    let report = telemetry.shutdown_blocking(LIMIT);
    assert!(report.is_complete(), "{report}");
    let arrived = receiver.spans();
    let links = |name: &str| {
        let job = arrived.iter().find(|span| span.name == name).expect("the job arrived");
        (job.links.len(), job.links_dropped, job.attribute("volery.links.dropped").to_owned())
    };
    assert_eq!(links("job few"), (500, 0, String::new()));
    assert_eq!(links("job many"), (1_000, 0, "500".to_owned()), "ours counts before the SDK drops");
    assert_eq!(left_out.links, 500);
}

#[test]
fn a_full_queue_is_counted_and_shown() {
    // A receiver that takes connections and answers nothing: what is sent waits, and the queue is small.
    let silent = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let endpoint = format!("http://{}", silent.local_addr().expect("it is bound"));
    let environment =
        Environment::empty().with("OTEL_BSP_MAX_QUEUE_SIZE", "50").with("OTEL_METRICS_EXPORTER", "otlp");
    let builder = init("shop").environment(environment).otlp(Otlp::grpc().endpoint(endpoint)).prometheus();
    let telemetry = builder.start().expect("the endpoint is well formed");
    let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "burst", at(0)));
    for number in 0..200 {
        publish(&run, "Order", number, number + 1);
    }
    // Spans that have ended wait for the root.
    drop(run);
    let text = telemetry.prometheus_text().expect("it was asked for");
    // 200 publishes, the marker that the run started and the root, of which 50 wait.
    let dropped =
        text.lines().find(|line| line.starts_with("volery_telemetry_dropped") && line.contains("queue"));
    let dropped = dropped.unwrap_or_else(|| panic!("not shown in:\n{text}"));
    assert!(dropped.ends_with(" 152"), "{dropped}");
    let report = telemetry.shutdown_blocking(Duration::from_millis(300));
    assert_eq!(
        (report.exported, report.lost()),
        (0, 202),
        "the shutdown ends in its time and says what was lost"
    );
    assert!(!report.is_complete());
}

#[test]
fn a_receiver_that_is_not_there_delays_nothing_and_is_reported() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let endpoint = format!("http://{}", nobody.local_addr().expect("it is bound"));
    drop(nobody);
    let telemetry = set_up(Otlp::http().endpoint(endpoint));
    checkout(&telemetry.providers().spans());
    let report = telemetry.shutdown_blocking(LIMIT);
    assert_eq!((report.exported, report.lost()), (0, SPANS as u64), "{report}");
}

#[test]
fn no_span_that_has_ended_is_lost_by_a_drop() {
    let receiver = Receiver::start();
    let telemetry = set_up(Otlp::http().endpoint(receiver.http_endpoint()));
    let spans = telemetry.providers().spans();
    for number in 0..1_000_u64 {
        let run = spans.run(RunStart::new(&number, "small", at(number)));
        run.end(run_end(number + 1));
    }
    drop(telemetry);
    let arrived = receiver.spans();
    assert_eq!(arrived.iter().filter(|span| span.name == "run small").count(), 1_000);
    laws::assert_all(&arrived);
}

#[cfg(not(feature = "otlp-tls"))]
#[test]
fn a_receiver_with_tls_is_refused_in_words_when_the_set_up_starts() {
    for otlp in [Otlp::grpc(), Otlp::http()] {
        let refused = init("shop")
            .environment(Environment::empty())
            .otlp(otlp.endpoint("https://collector:4317"))
            .start();
        let error = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("https://collector:4317") && error.contains("`otlp-tls`"), "{error}");
    }
}
