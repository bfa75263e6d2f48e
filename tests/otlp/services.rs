//! Spans that a service makes inside its engines: with `tracing` and with OpenTelemetry's API, and what it
//! sends along.
//!
//! Subscriber, tracer and propagator are the process's, so each service runs in a process of its own.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry::{Context as Current, global};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tokio::time::sleep;
use tracing::{Instrument as _, info_span};
use tracing_subscriber::layer::SubscriberExt as _;
use volery::agent::ModelCall;
use volery::on_thread;
use volery::prelude::*;
use volery::telemetry::{Environment, LogFormat, Otlp, init};
use volery_otlp_receiver::Receiver;

use crate::support::{LIMIT, MS, Note, Order, Tested, order};

/// Set in the child.
const ROLE: &str = "VOLERY_SERVICES_CHILD";

/// A span that was exported: its id and its parent's by its name.
type Exported = HashMap<String, (String, String)>;

/// The headers of an outgoing call.
type Headers = Arc<Mutex<HashMap<String, String>>>;

/// Tells whether this is the child; otherwise runs one.
fn is_the_child(test: &str) -> bool {
    if std::env::var_os(ROLE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", &format!("services::{test}"), "--nocapture", "--test-threads=1"])
        .env(ROLE, "1")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("a test can be run again");
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// A span by OpenTelemetry's API.
fn api(name: &'static str) {
    drop(global::tracer("service").start(name));
}

/// A span by `tracing`.
fn traced(name: &'static str) {
    info_span!("span", otel.name = name).in_scope(|| {});
}

/// The injection of an HTTP client before a call.
fn inject(headers: &Headers) {
    let mut headers = headers.lock().expect("nobody panics");
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&Current::current(), &mut *headers);
    });
}

/// One engine that makes spans wherever a service may, and one that blocks.
fn agents(headers: &Headers) -> [Agent; 2] {
    let headers = Arc::clone(headers);
    let call = Agent::new("call").consumes(one::<Order>()).engine(move |_: Order, context: Context| {
        let headers = Arc::clone(&headers);
        async move {
            let inner = context.clone();
            let own = async move {
                sleep(MS).await;
                traced("own child");
                inject(&headers);
                inner.model_call(ModelCall::chat("openai", "small")).run(async { Ok::<_, Fault>(()) }).await
            };
            own.instrument(info_span!("own")).await?;
            sleep(MS).await;
            api("api after an await");
            traced("own after an await");
            let spawned = async {
                sleep(MS).await;
                api("api in a task");
                traced("own in a task");
            };
            tokio::spawn(spawned.with_current_context()).await?;
            tokio::spawn(async { api("api in a task that was told nothing") }).await?;
            let child = context.spawn(async {
                sleep(MS).await;
                api("api in a child task");
                traced("own in a child task");
            });
            child.await?;
            let current = Current::current();
            let on_thread = move || {
                let _here = current.attach();
                api("api on a thread");
                traced("own on a thread");
            };
            tokio::task::spawn_blocking(on_thread).await?;
            Ok::<_, Fault>(())
        }
    });
    let block = Agent::new("block").consumes(one::<Note>()).engine(on_thread(|_: Note, context: Context| {
        api("api in an engine that blocks");
        traced("own in an engine that blocks");
        context.model_call(ModelCall::chat("openai", "large")).run_blocking(|| Ok::<_, Fault>(()))
    }));
    [call, block]
}

/// Runs both engines once.
fn serve(builder: volery::Builder, headers: &Headers) -> Tested {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tokio.block_on(async {
        let volery = builder.agents(agents(headers)).start().await?;
        volery.publish(order(1)).await?;
        volery.publish(Note { key: 1, n: 1 }).await?;
        volery.until_idle().await?;
        volery.shutdown().await.map(drop)
    })
}

fn check(spans: &Exported, headers: &Headers) {
    let id =
        |name: &str| spans.get(name).unwrap_or_else(|| panic!("`{name}` is not in {spans:#?}")).0.clone();
    for (parent, children) in [
        (
            "evaluate call",
            &["own", "api after an await", "own after an await", "api in a task", "own in a task"][..],
        ),
        (
            "evaluate call",
            &["api in a child task", "own in a child task", "api on a thread", "own on a thread"],
        ),
        ("own", &["own child", "chat small"]),
        ("evaluate block", &["api in an engine that blocks", "own in an engine that blocks", "chat large"]),
    ] {
        for child in children {
            id(child);
            assert_eq!(spans[*child].1, id(parent), "`{child}` is below `{parent}` in {spans:#?}");
        }
    }
    let lost = &spans["api in a task that was told nothing"].1;
    assert!(lost.trim_matches('0').is_empty(), "a task that is told nothing begins a trace of its own");
    let headers = headers.lock().expect("nobody panics");
    assert_eq!(headers["traceparent"][36..52], id("own"), "{headers:?}");
}

#[test]
fn spans_of_a_service_are_in_the_runs_trace_with_the_subscriber_of_init() -> Tested {
    if !is_the_child("spans_of_a_service_are_in_the_runs_trace_with_the_subscriber_of_init") {
        return Ok(());
    }
    let receiver = Receiver::start();
    let telemetry =
        init("shop").environment(Environment::empty()).otlp(Otlp::http().endpoint(receiver.http_endpoint()));
    let telemetry = telemetry.log(LogFormat::Human).install_global().start().expect("nothing is installed");
    let headers = Headers::default();
    serve(Volery::builder("shop").telemetry(telemetry.providers()), &headers)?;
    let report = telemetry.shutdown_blocking(LIMIT);
    assert!(report.is_complete(), "{report}");
    let spans = receiver.spans().into_iter().map(|span| (span.name, (span.span_id, span.parent_id)));
    check(&spans.collect(), &headers);
    Ok(())
}

#[test]
fn spans_of_a_service_are_in_the_runs_trace_with_layer_provider_and_propagator_of_its_own() -> Tested {
    if !is_the_child("spans_of_a_service_are_in_the_runs_trace_with_layer_provider_and_propagator_of_its_own")
    {
        return Ok(());
    }
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("own"));
    // Without a filter, spans of the parts of the runtime would be traces of their own.
    let ours = tracing_subscriber::filter::filter_fn(|span| span.target().starts_with("otlp"));
    let subscriber = tracing_subscriber::registry().with(tracing_subscriber::Layer::with_filter(layer, ours));
    tracing::subscriber::set_global_default(subscriber).expect("nothing is installed");
    global::set_tracer_provider(provider.clone());
    global::set_text_map_propagator(TraceContextPropagator::new());
    let headers = Headers::default();
    let providers = volery::telemetry::Providers::none().tracer(provider.clone());
    serve(Volery::builder("shop").telemetry(providers), &headers)?;
    provider.force_flush().expect("the exporter is in memory");
    let spans = exporter.get_finished_spans().expect("the exporter is in memory");
    let ids = |span: &opentelemetry_sdk::trace::SpanData| {
        (span.span_context.span_id().to_string(), span.parent_span_id.to_string())
    };
    check(&spans.iter().map(|span| (span.name.to_string(), ids(span))).collect(), &headers);
    Ok(())
}
