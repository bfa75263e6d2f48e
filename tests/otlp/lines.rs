//! Log lines of a running runtime, as a process writes them to its standard error.
//!
//! The subscriber is the process's, so the service runs in a process of its own.

use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::time::sleep;
use volery::Fault;
use volery::agent::GaveUp;
use volery::prelude::*;
use volery::supervision::Intensity;
use volery::telemetry::{Environment, LogFormat, Otlp, init};
use volery_otlp_receiver::Receiver;

use crate::support::{LIMIT, MS, Note, Order, Payment, order, payment};

/// Set in the child: where its receiver is.
const ROLE: &str = "VOLERY_LINES_CHILD";

fn log_of(name: &str) -> String {
    log_at("info,ractor::actor=off", name)
}

fn log_at(levels: &str, name: &str) -> String {
    let receiver = Receiver::start();
    let output = Command::new(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", &format!("lines::{name}"), "--nocapture", "--test-threads=1"])
        .env(ROLE, receiver.http_endpoint())
        .env("RUST_LOG", levels)
        .stdin(Stdio::null())
        .output()
        .expect("a test can be run again");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("lines are text")
}

/// The endpoint, in the child.
fn child() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Publishes 100 orders; one fails, one panics.
fn serve(endpoint: String, format: LogFormat) {
    run_as(endpoint, format, async |providers| {
        let act = Agent::new("act").consumes(one::<Order>()).engine(async |order: Order, _: Context| {
            assert!(order.n != 2, "boom");
            if order.n == 1 { Err("no".into()) } else { Ok::<(), Fault>(()) }
        });
        let volery = Volery::builder("shop").telemetry(providers).agent(act).start().await?;
        for n in 0..100 {
            volery.publish(order(n)).await?;
        }
        volery.until_idle().await?;
        volery.shutdown().await.map(drop)
    });
}

/// One order each that is repeated, that falls back, and whose engine panics too late; then a run that is too
/// slow, and an agent whose engines panic too often.
fn stumble(endpoint: String, format: LogFormat) {
    run_as(endpoint, format, async |providers| {
        let act = Agent::new("act")
            .retry(Retry::fixed(2, MS))
            .timeout(50 * MS)
            .cancel_grace(100 * MS)
            .consumes(one::<Order>())
            .fallback(async |_: (Order, GaveUp), _: Context| Ok::<_, Fault>(()))
            .engine(async |order: Order, context: Context| match order.n {
                0 if context.attempt() == 1 => Err("once".into()),
                1 => Err("ever".into()),
                2 if context.attempt() == 1 => {
                    sleep(60 * MS).await;
                    panic!("too late")
                }
                _ => Ok::<_, Fault>(()),
            });
        let slow = Agent::new("slow").consumes(one::<Note>()).engine(async |_: Note, _: Context| {
            std::future::pending::<()>().await;
            Ok::<_, Fault>(())
        });
        let frail = Agent::new("frail")
            .intensity(Intensity { restarts: 0, within: 1_000 * MS })
            .consumes(one::<Payment>())
            .engine(async |_: Payment, _: Context| -> Result<(), Fault> { panic!("boom") });
        let builder = Volery::builder("shop").telemetry(providers);
        let volery = builder.agents([act, slow, frail]).start().await?;
        for n in 0..3 {
            volery.publish(order(n)).await?;
        }
        let run = volery.run("late").deadline(20 * MS).publish(Note { key: 0, n: 0 }).await?;
        run.settled().await?;
        drop(run);
        volery.publish(payment(0)).await?;
        volery.until_idle().await?;
        volery.shutdown().await.map(drop)
    });
}

fn run_as(
    endpoint: String,
    format: LogFormat,
    serve: impl AsyncFnOnce(volery::telemetry::Providers) -> volery::Result<()>,
) {
    let telemetry = init("shop").environment(Environment::empty()).otlp(Otlp::http().endpoint(endpoint));
    let telemetry = telemetry.log(format).install_global().start();
    let telemetry = telemetry.expect("no other subscriber is installed");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let served = tokio.expect("a runtime can be started").block_on(serve(telemetry.providers()));
    served.expect("it starts and stops");
    drop(telemetry.shutdown_blocking(LIMIT));
}

#[test]
fn lines_for_machines_have_the_ids_of_their_attempt_and_no_message_has_a_line_at_info() {
    if let Some(endpoint) = child() {
        return serve(endpoint, LogFormat::Json);
    }
    let log = log_of("lines_for_machines_have_the_ids_of_their_attempt_and_no_message_has_a_line_at_info");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |level: &str| lines.iter().filter(|line| line["level"] == level).collect::<Vec<_>>();
    assert!(!of("INFO").is_empty() && of("INFO").len() < 20, "{log}");
    let of_agent: Vec<_> = of("WARN").into_iter().filter(|line| line["target"] == "volery::agent").collect();
    // Two jobs died, one engine panicked.
    assert_eq!(of_agent.len(), 3, "{log}");
    for line in of_agent {
        for id in ["trace_id", "span_id", "run", "job", "agent", "attempt"] {
            assert!(!line[id].is_null(), "{id} is missing in {line}");
        }
        assert_eq!(line["agent"], "act");
    }
}

#[test]
fn lines_for_people_have_the_ids_of_their_attempt() {
    if let Some(endpoint) = child() {
        return serve(endpoint, LogFormat::Human);
    }
    let log = log_of("lines_for_people_have_the_ids_of_their_attempt");
    let failed: Vec<_> = log.lines().filter(|line| line.contains("a job failed for good")).collect();
    assert_eq!(failed.len(), 2, "{log}");
    for line in failed {
        for id in ["trace_id=", "span_id=", "run=", "job=", "agent=act", "attempt=1"] {
            assert!(line.contains(id), "{id} is missing in {line}");
        }
    }
}

#[test]
fn lines_have_the_level_of_what_they_say_and_the_ids_of_where_it_happened() {
    if let Some(endpoint) = child() {
        return stumble(endpoint, LogFormat::Json);
    }
    let log = log_at(
        "volery=debug,ractor::actor=off",
        "lines_have_the_level_of_what_they_say_and_the_ids_of_where_it_happened",
    );
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let attempt: &[&str] = &["trace_id", "span_id", "run", "job", "agent", "attempt"];
    for (message, level, ids) in [
        ("an attempt failed", "DEBUG", attempt),
        ("a job falls back", "WARN", attempt),
        ("an engine panicked after its time was over", "WARN", attempt),
        ("a job failed for good", "WARN", attempt),
        ("a run is cancelled at its deadline", "WARN", &["trace_id", "span_id", "run"]),
        ("an engine panicked or could not be made", "WARN", &["trace_id", "run", "job", "agent"]),
        ("engines panicked too often; the agent is given no jobs", "ERROR", &["agent", "trace_id", "job"]),
    ] {
        let said: Vec<_> = lines.iter().filter(|line| line["message"] == message).collect();
        assert!(!said.is_empty(), "nobody said that {message}: {log}");
        for line in said {
            assert_eq!(line["level"], level, "{line}");
            let lacking: Vec<_> = ids.iter().filter(|id| line[**id].is_null()).collect();
            assert!(lacking.is_empty(), "{lacking:?} in {line}");
        }
    }
    let error = lines.iter().filter(|line| line["level"] == "ERROR").count();
    assert_eq!(error, 1, "one agent's quarantine is all that calls somebody: {log}");
}
