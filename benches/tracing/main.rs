//! The cost of traces: the one-to-one throughput in memory, compiled without telemetry, with none, and with a
//! share of the runs recorded.
//!
//! `cargo bench -p volery-benches --bench tracing` prints artifacts per second, medians of rounds that
//! alternate between the ways, because machines are shared; and each way's part of the first one's rate, the
//! median of the rounds' own ratios. Every measurement is a process of its own. Every artifact is a run of
//! its own, the dearest case: seven spans each. The exporter drops what it is given; the batch processor in
//! front of it is the one of `init`. The plain limit is the SDK alone: the same number of spans for each of
//! so many runs, made by two threads and sent through the same exporter, with four attributes each.
//! `VOLERY_BENCH_MAX` (default 100,000) is the size, `VOLERY_BENCH_ROUNDS` (default 9) the number of rounds.
//!
//! The program without telemetry is `benches/unseen`; it is built here, for a bench is built with one set of
//! features. With `--test` it is left out, and there is one round.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use volery::telemetry::{Environment, Providers, Sampling, init};

mod one_to_one;

/// The ways to be seen, as the child processes are told them.
const WAYS: [(&str, Option<Sampling>); 4] = [
    ("no providers", None),
    ("0 % recorded", Some(Sampling::Never)),
    ("1 % recorded", Some(Sampling::Share(0.01))),
    ("100 % recorded", Some(Sampling::Always)),
];

/// The way that has no runtime in it.
const PLAIN: &str = "plain: SDK";

/// An exporter that drops what it is given.
#[derive(Debug)]
struct Drain;

impl SpanExporter for Drain {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        drop(batch);
        Ok(())
    }
}

/// One way, and what its processes said.
struct Way {
    name: &'static str,
    program: PathBuf,
    seconds: Vec<f64>,
    /// The last report about spans.
    spans: String,
}

impl Way {
    /// A process of its own, which prints nanoseconds and a line on its spans.
    fn measure(&mut self, count: u64) {
        let mut child = Command::new(&self.program);
        child.args(["--way", self.name, "--count", &count.to_string()]).stderr(Stdio::inherit());
        let output = child.output().expect("the program can be started");
        assert!(output.status.success(), "{} failed: {}", self.name, output.status);
        let text = String::from_utf8(output.stdout).expect("it prints text");
        let (taken, spans) = text.split_once('\n').expect("it prints its time on a line");
        let taken = Duration::from_nanos(taken.parse().expect("a number of nanoseconds"));
        self.seconds.push(taken.as_secs_f64());
        spans.trim().clone_into(&mut self.spans);
    }
}

/// The SDK alone: a root with seven spans below it for each run, begun and ended on the same thread.
fn plain(count: u64) {
    let provider =
        SdkTracerProvider::builder().with_span_processor(BatchSpanProcessor::builder(Drain).build()).build();
    let run = |tracer: &SdkTracer, number: u64| {
        let begin = |name: &'static str, above: &opentelemetry::Context| {
            let text = |key| KeyValue::new(key, "checkout");
            let attributes =
                [text("run"), text("workflow"), text("agent"), KeyValue::new("number", number.to_string())];
            let span = tracer.span_builder(name).with_attributes(attributes);
            above.with_span(tracer.build_with_context(span, above))
        };
        let root = begin("run", &opentelemetry::Context::new());
        for name in ["started", "publish", "job", "wait", "attempt", "evaluate", "publish"] {
            begin(name, &root).span().end();
        }
        root.span().end();
    };
    let begun = Instant::now();
    std::thread::scope(|threads| {
        for thread in 0..2 {
            let tracer = provider.tracer("plain");
            threads.spawn(move || (0..count).skip(thread).step_by(2).for_each(|number| run(&tracer, number)));
        }
    });
    println!("{}", begun.elapsed().as_nanos());
    provider.shutdown().expect("it shuts down");
}

/// The measurement of one way, in a process of its own.
fn child(name: &str, count: u64) {
    if name == PLAIN {
        return plain(count);
    }
    let (_, sampling) = WAYS.iter().find(|(way, _)| *way == name).expect("a way that there is");
    let telemetry = sampling.map(|sampling| {
        let builder = init("bench").environment(Environment::empty()).sampling(sampling);
        builder.export_spans_by(Drain).start().expect("nothing can be wrong with it")
    });
    let providers = || telemetry.as_ref().map_or_else(Providers::none, |telemetry| telemetry.providers());
    let taken = one_to_one::measured(|builder| builder.telemetry(providers()), count);
    println!("{}", taken.as_nanos());
    if let Some(telemetry) = telemetry {
        println!("{}", telemetry.shutdown_blocking(Duration::from_secs(10)));
    }
}

/// Builds the program that has no telemetry, and says where it is.
fn unseen() -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("cargo runs benches");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--package", "volery-unseen", "--message-format", "json"]);
    let output = build.args(["--manifest-path", manifest]).stderr(Stdio::inherit()).output();
    let output = output.expect("cargo can be started");
    assert!(output.status.success(), "the program without telemetry does not build");
    let executable = |line: &[u8]| {
        let message: serde_json::Value = serde_json::from_slice(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    };
    output.stdout.split(|byte| *byte == b'\n').find_map(executable).expect("cargo names the program")
}

/// A number from the environment.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn compare(mut ways: Vec<Way>, rounds: u64, count: u64) {
    for _ in 0..rounds {
        for way in &mut ways {
            way.measure(count);
        }
    }
    for way in &ways {
        let rate = count as f64 / median(way.seconds.clone());
        let part = way.seconds.iter().zip(&ways[0].seconds).map(|(own, first)| first / own).collect();
        println!(
            "{:>14}: {rate:>9.0} artifacts/s, {:.3} of the first; {}",
            way.name,
            median(part),
            way.spans
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [way, name, count, number] = arguments.as_slice()
        && (way.as_str(), count.as_str()) == ("--way", "--count")
    {
        return child(name, number.parse().expect("a number of artifacts"));
    }
    let smoke = arguments.iter().any(|argument| argument == "--test");
    let own = std::env::current_exe().expect("the bench knows where it is");
    let way = |name, program: &Path| Way {
        name,
        program: program.to_path_buf(),
        seconds: Vec::new(),
        spans: String::new(),
    };
    let first = (!smoke).then(|| way("compiled out", &unseen()));
    let names = WAYS.iter().map(|(name, _)| *name).chain([PLAIN]);
    let ways = first.into_iter().chain(names.map(|name| way(name, &own))).collect();
    let rounds = if smoke { 1 } else { number("VOLERY_BENCH_ROUNDS", 9).max(1) };
    compare(ways, rounds, number("VOLERY_BENCH_MAX", 100_000));
}
