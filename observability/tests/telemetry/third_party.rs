//! A collector that nobody here wrote takes the run and passes it on to the receiver: both sides of the wire
//! are somebody else's.
//!
//! `scripts/otel-agent` installs it. Without it these tests say so and check nothing, but with `CI=true` they
//! fail.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use volery_observability::Otlp;
use volery_otlp_receiver::{Receiver, Span, laws, tree};

use crate::otlp::{TREE, set_up};
use crate::scenario::{SPANS, checkout};

const LIMIT: Duration = Duration::from_secs(20);

/// The collector as `scripts/otel-agent` leaves it, or as `VOLERY_OTEL_AGENT` names it.
fn agent() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("VOLERY_OTEL_AGENT") {
        return Some(PathBuf::from(named));
    }
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let installed = target.parent()?.join("otel-agent/rotel-agent-0.0.1a15");
    installed.exists().then_some(installed)
}

/// A collector that runs between an exporter and a receiver, until it is dropped.
struct Agent {
    process: Child,
    grpc: String,
    http: String,
}

impl Agent {
    fn start(program: &PathBuf, receiver: &Receiver) -> Self {
        let (grpc, http) = (free_address(), free_address());
        let mut process = Command::new(program)
            .args([
                "start",
                "--log-format",
                "text",
                "--otlp-grpc-endpoint",
                &grpc,
                "--otlp-http-endpoint",
                &http,
            ])
            .args(["--exporter", "otlp", "--otlp-exporter-endpoint", &receiver.grpc_endpoint()])
            .args(["--otlp-exporter-protocol", "grpc", "--batch-timeout", "50ms"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        // It binds its ports first and says this then.
        let begun = lines.map_while(Result::ok).any(|line| line.contains("Starting Rotel"));
        assert!(begun, "the collector ended before it began");
        Self { process, grpc: format!("http://{grpc}"), http: format!("http://{http}") }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// An address that is free now.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

/// Sends the run through the collector and returns what came out of it.
#[expect(clippy::print_stderr, reason = "whoever runs the tests has to know what was not checked")]
fn through_the_collector(otlp: impl Fn(&Agent) -> Otlp) -> Option<Vec<Span>> {
    let Some(program) = agent() else {
        let missing = "the collector of the third-party test is missing: run scripts/otel-agent";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
        eprintln!("NOT CHECKED: {missing}");
        return None;
    };
    let receiver = Receiver::start();
    let agent = Agent::start(&program, &receiver);
    let telemetry = set_up(otlp(&agent));
    checkout(&telemetry.providers().spans());
    let report = telemetry.shutdown_blocking(LIMIT);
    assert!(report.is_complete(), "{report}");
    Some(receiver.wait_for(SPANS, LIMIT))
}

fn check(spans: Option<Vec<Span>>) {
    let Some(spans) = spans else { return };
    assert_eq!(spans.len(), SPANS);
    laws::assert_all(&spans);
    // Names, kinds, statuses, events, links and outcomes, all at once.
    assert_eq!(tree(&spans, &["volery.outcome"]), TREE);
    let count = |kind: &str| spans.iter().filter(|span| span.kind == kind).count();
    assert_eq!([count("internal"), count("producer"), count("consumer"), count("client")], [15, 4, 5, 1]);
    assert_eq!(spans.iter().filter(|span| span.status == "error").count(), 4);
    let links: Vec<_> = spans.iter().flat_map(|span| &span.links).collect();
    assert_eq!(links.len(), 7);
    assert!(links.iter().all(|link| link.attributes.contains_key("volery.link.role")));
    for span in &spans {
        assert_eq!(span.resource.get("service.name").map(String::as_str), Some("shop"));
        assert!(span.resource.contains_key("service.instance.id"));
        assert_eq!(span.scope, "volery");
    }
}

#[test]
fn a_collector_that_is_not_ours_passes_the_run_on_over_grpc() {
    check(through_the_collector(|agent| Otlp::grpc().endpoint(&agent.grpc)));
}

#[test]
fn a_collector_that_is_not_ours_passes_the_run_on_over_http() {
    check(through_the_collector(|agent| Otlp::http().endpoint(&agent.http)));
}
