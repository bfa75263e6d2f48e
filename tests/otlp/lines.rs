//! Log lines of a running runtime, as a process writes them to its standard error.
//!
//! The subscriber is the process's, so the service runs in a process of its own.

use std::process::{Command, Stdio};

use serde_json::Value;
use volery::Fault;
use volery::prelude::*;
use volery::telemetry::{Environment, LogFormat, Otlp, init};
use volery_otlp_receiver::Receiver;

use crate::support::{LIMIT, Order, order};

/// Set in the child: where its receiver is.
const ROLE: &str = "VOLERY_LINES_CHILD";

fn log_of(name: &str) -> String {
    let receiver = Receiver::start();
    let output = Command::new(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", &format!("lines::{name}"), "--nocapture", "--test-threads=1"])
        .env(ROLE, receiver.http_endpoint())
        .env_remove("RUST_LOG")
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
    let telemetry = init("shop").environment(Environment::empty()).otlp(Otlp::http().endpoint(endpoint));
    let telemetry = telemetry.log(format).install_global().start();
    let telemetry = telemetry.expect("no other subscriber is installed");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let served = tokio.expect("a runtime can be started").block_on(async {
        let act = Agent::new("act").consumes(one::<Order>()).engine(async |order: Order, _: Context| {
            assert!(order.n != 2, "boom");
            if order.n == 1 { Err("no".into()) } else { Ok::<(), Fault>(()) }
        });
        let volery = Volery::builder("shop").telemetry(telemetry.providers()).agent(act).start().await?;
        for n in 0..100 {
            volery.publish(order(n)).await?;
        }
        volery.until_idle().await?;
        volery.shutdown().await
    });
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
