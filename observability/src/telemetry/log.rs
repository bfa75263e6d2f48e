//! Log lines that agree with the traces: each has the trace and span it was written in, and the ids of its
//! attempt.
//!
//! It is a formatter around those of `tracing-subscriber`, and the layer that makes the service's own
//! `tracing` spans part of the run's trace. Both ask the context that the runtime puts around an engine.

use std::fmt::{self, Write as _};

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::error::TelemetryError;
use crate::trace::LogIds;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people: one line each, ids in front of the message.
    Human,
    /// For machines: one object each, ids as members `trace_id`, `span_id`, `run`, `job`, `agent` and
    /// `attempt`.
    Json,
}

/// The filter unless `RUST_LOG` says otherwise. ractor keeps a span open for the life of each actor, which
/// would stand on every line.
const LINES: &str = "info,ractor::actor=off";

/// The filter of `tracing` spans. The exporter's own transport would trace itself.
const SPANS: &str = "info,ractor::actor=off,opentelemetry=off,opentelemetry_sdk=off,opentelemetry_otlp=off,h2=off,\
     hyper=off,hyper_util=off,tonic=off,tower=off,reqwest=off";

/// Installs the subscriber of the process.
pub(super) fn install(format: LogFormat, tracer: Option<&SdkTracerProvider>) -> Result<(), TelemetryError> {
    let lines = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LINES));
    let spans = tracer.map(|provider| spans(provider).with_filter(EnvFilter::new(SPANS)));
    tracing_subscriber::registry()
        .with(lines_to(format, std::io::stderr).with_filter(lines))
        .with(spans)
        .try_init()
        .map_err(|_| TelemetryError::Subscriber)
}

/// The layer that turns `tracing` spans of the service into spans of the run.
fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("tracing"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
}

/// The layer that writes lines.
fn lines_to<S, W>(format: LogFormat, to: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(to).with_ansi(false);
    match format {
        LogFormat::Human => layer.event_format(WithIds(Human(format::format()))).boxed(),
        LogFormat::Json => {
            let json = format::format().json().flatten_event(true);
            layer.fmt_fields(format::JsonFields::new()).event_format(WithIds(Json(json))).boxed()
        }
    }
}

/// A format that puts ids on each line.
struct WithIds<F>(F);

/// Lines for people.
struct Human(format::Format);

/// Lines for machines.
struct Json(format::Format<format::Json>);

/// One of them.
enum Id<'a> {
    Text(&'a str),
    Number(u32),
}

/// The ids of the place where a line is written.
struct Ids {
    trace: Option<(String, String)>,
    log: Option<LogIds>,
}

impl Ids {
    fn current() -> Self {
        Context::map_current(|context| {
            let place = context.span().span_context().clone();
            let trace = place.is_valid().then(|| (place.trace_id().to_string(), place.span_id().to_string()));
            Self { trace, log: LogIds::of(context).cloned() }
        })
    }

    /// Each id with its name, in the order of the line. A field of the event itself is not written twice: an
    /// object with two members of one name is refused by some readers.
    fn each(&self, event: &Event<'_>, mut write: impl FnMut(&str, Id<'_>) -> fmt::Result) -> fmt::Result {
        let own = event.metadata().fields();
        let mut write =
            |name: &str, id: Id<'_>| if own.field(name).is_none() { write(name, id) } else { Ok(()) };
        if let Some((trace, span)) = &self.trace {
            write("trace_id", Id::Text(trace))?;
            write("span_id", Id::Text(span))?;
        }
        let Some(log) = &self.log else { return Ok(()) };
        write("run", Id::Text(&log.run.to_string()))?;
        write("job", Id::Text(&log.job.to_string()))?;
        write("agent", Id::Text(&log.agent))?;
        write("attempt", Id::Number(log.attempt))
    }
}

impl<S, N> FormatEvent<S, N> for WithIds<Human>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        Ids::current().each(event, |name, id| match id {
            Id::Text(id) => write!(writer, "{name}={id} "),
            Id::Number(id) => write!(writer, "{name}={id} "),
        })?;
        self.0.0.format_event(context, writer, event)
    }
}

impl<S, N> FormatEvent<S, N> for WithIds<Json>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.0.format_event(context, Writer::new(&mut line), event)?;
        let Some(rest) = line.strip_prefix('{') else { return writer.write_str(&line) };
        let mut ids = String::new();
        Ids::current().each(event, |name, id| match id {
            Id::Text(id) => write!(ids, "\"{name}\":{},", quoted(id)),
            Id::Number(id) => write!(ids, "\"{name}\":{id},"),
        })?;
        write!(writer, "{{{ids}{rest}")
    }
}

/// A JSON string. Ids of jobs and runs are plain, names of agents may be anything.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for next in text.chars() {
        match next {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
