use std::io;
use std::sync::{Arc, Mutex};

use opentelemetry::trace::Tracer;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};

use super::*;
use crate::trace::LogId;

/// A writer that keeps what was written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes one line within an attempt's context, and returns it with the trace's id and the spans.
fn line(format: LogFormat) -> (String, String, Vec<SpanData>) {
    line_of(format, || tracing::info!(lines = 7, "done"))
}

fn line_of(format: LogFormat, event: impl FnOnce()) -> (String, String, Vec<SpanData>) {
    let kept = Kept::default();
    let writer = kept.clone();
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layers =
        tracing_subscriber::registry().with(lines_to(format, move || writer.clone())).with(spans(&provider));
    let mut trace = String::new();
    tracing::subscriber::with_default(layers, || {
        let span = provider.tracer("test").start("attempt settle");
        let ids = LogIds { run: LogId(1), job: LogId(2), agent: "a \"b\"".into(), attempt: 2 };
        let context = ids.attach(Some(Context::new().with_span(span)));
        trace = context.span().span_context().trace_id().to_string();
        let attached = context.clone().attach();
        tracing::info_span!("read the file").in_scope(event);
        drop(attached);
        context.span().end();
    });
    let bytes = kept.0.lock().expect("no test panics with it").clone();
    // The exporter forgets when its provider is dropped.
    let spans = exporter.get_finished_spans().expect("the exporter is in memory");
    (String::from_utf8(bytes).expect("lines are text"), trace, spans)
}

#[test]
fn a_line_for_people_has_the_ids_of_its_attempt() {
    let (line, trace, _) = line(LogFormat::Human);
    assert!(line.contains(&format!("trace_id={trace} span_id=")), "{line}");
    assert!(line.contains("run=00000000-0000-0000-0000-000000000001 job=00000000-0000-0000-0000-000000000002 agent=a \"b\" attempt=2 "), "{line}");
    assert!(line.contains("done") && line.ends_with('\n'), "{line}");
}

#[test]
fn a_line_for_machines_is_one_object_with_the_ids_of_its_attempt() {
    let (line, trace, _) = line(LogFormat::Json);
    assert!(line.starts_with(&format!("{{\"trace_id\":\"{trace}\",\"span_id\":\"")), "{line}");
    assert!(
        line.contains("\"run\":\"00000000-0000-0000-0000-000000000001\",\"job\":\"00000000-0000-0000-0000-000000000002\",\"agent\":\"a \\\"b\\\"\",\"attempt\":2,"),
        "{line}"
    );
    assert!(line.contains("\"lines\":7") && line.ends_with("}\n"), "{line}");
}

#[test]
fn a_span_of_the_service_joins_the_trace_of_its_attempt() {
    let (_, trace, spans) = line(LogFormat::Human);
    let own = spans.iter().find(|span| span.name == "read the file").expect("it was exported");
    assert_eq!(own.span_context.trace_id().to_string(), trace);
    let attempt = spans.iter().find(|span| span.name == "attempt settle").expect("it was exported");
    assert_eq!(own.parent_span_id, attempt.span_context.span_id());
}

#[test]
fn an_id_that_an_event_says_itself_stands_on_its_line_once() {
    for format in [LogFormat::Json, LogFormat::Human] {
        let (line, ..) = line_of(format, || tracing::info!(run = "own", attempt = 7, "done"));
        for name in ["run", "attempt", "job"] {
            let members = line.matches(&format!("\"{name}\":")).count();
            let fields = line.matches(&format!("{name}=")).count();
            assert_eq!(members + fields, 1, "{name} in {line}");
        }
    }
}

/// An exporter that fails while it is told to.
#[derive(Debug, Default)]
struct Broken(std::sync::atomic::AtomicBool);

impl opentelemetry_sdk::trace::SpanExporter for &'static Broken {
    async fn export(&self, _: Vec<SpanData>) -> opentelemetry_sdk::error::OTelSdkResult {
        match self.0.load(std::sync::atomic::Ordering::Relaxed) {
            true => {
                Err(opentelemetry_sdk::error::OTelSdkError::InternalFailure("nobody is there".to_owned()))
            }
            false => Ok(()),
        }
    }
}

/// The lines that are written meanwhile.
fn lines_of(write: impl FnOnce()) -> Vec<String> {
    let kept = Kept::default();
    let writer = kept.clone();
    let layers = tracing_subscriber::registry().with(lines_to(LogFormat::Human, move || writer.clone()));
    tracing::subscriber::with_default(layers, write);
    let bytes = kept.0.lock().expect("no test panics with it").clone();
    String::from_utf8(bytes).expect("lines are text").lines().map(str::to_owned).collect()
}

#[test]
fn a_receiver_that_cannot_be_reached_has_a_line_when_it_begins_and_when_it_is_over() {
    use opentelemetry_sdk::trace::SpanExporter as _;

    let broken: &'static Broken = Box::leak(Box::default());
    let counted = crate::telemetry::export::Counted::new(broken, Arc::default(), Arc::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    let lines = lines_of(|| {
        for fails in [false, true, true, false, false, true] {
            broken.0.store(fails, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(runtime.block_on(counted.export(Vec::new())).is_err(), fails);
        }
    });
    let says: Vec<_> = lines.iter().map(|line| line.contains("nobody is there")).collect();
    assert_eq!(says, [true, false, true], "{lines:#?}");
}

#[test]
fn a_variable_that_does_nothing_has_one_line_when_the_set_up_starts() {
    let environment = crate::Environment::empty()
        .with("OTEL_TRACES_SAMPLER", "jaeger_remote")
        .with("OTEL_BSP_MAX_QUEUE_SIZE", "many")
        .with("OTEL_RESOURCE_ATTRIBUTES", "a=b,%zz");
    let lines = lines_of(|| {
        let exporter = InMemorySpanExporter::default();
        let builder = crate::init("shop").environment(environment).export_spans_by(exporter);
        let telemetry = builder.start().expect("it can work");
        drop(telemetry.shutdown_blocking(std::time::Duration::from_secs(5)));
    });
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for variable in ["OTEL_TRACES_SAMPLER", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_RESOURCE_ATTRIBUTES"] {
        assert!(lines.iter().any(|line| line.contains("WARN") && line.contains(variable)), "{lines:#?}");
    }
}
