//! Export over OTLP. Without TLS: the receiver is a collector or an agent nearby, which knows where the rest goes.
//!
//! Two traps lie here. The SDK's batch processor runs exporters on a thread without a runtime, so the HTTP client has to
//! be a blocking one, whatever other crates of the build make the default. And gRPC needs a runtime that goes on while
//! its caller blocks, so the connections have a small one of their own.

use std::time::Duration;

use opentelemetry_otlp::{
    Compression, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};

use super::builder::TelemetryError;
use super::environment::Environment;
use super::flush::Transport;

/// The specification's limit for one export.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where and how telemetry is exported.
#[derive(Clone, Debug, Default)]
pub struct Otlp {
    protocol: Option<Protocol>,
    endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

impl Otlp {
    /// As the standard variables say: `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_PROTOCOL` (`grpc` or `http/protobuf`, the
    /// default), `…_HEADERS`, `…_COMPRESSION` and `…_TIMEOUT`.
    #[must_use]
    pub fn standard() -> Self {
        Self::default()
    }

    /// gRPC, by default to `http://localhost:4317`.
    #[must_use]
    pub fn grpc() -> Self {
        Self { protocol: Some(Protocol::Grpc), endpoint: None }
    }

    /// HTTP with protobuf, by default to `http://localhost:4318`.
    #[must_use]
    pub fn http() -> Self {
        Self { protocol: Some(Protocol::Http), endpoint: None }
    }

    /// Sets the receiver, such as `http://collector:4317`. It counts more than the environment.
    ///
    /// For HTTP the path of each signal is added.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    fn protocol(&self, environment: &Environment) -> Result<Protocol, TelemetryError> {
        if let Some(protocol) = self.protocol {
            return Ok(protocol);
        }
        match environment.text("OTEL_EXPORTER_OTLP_PROTOCOL") {
            Some("grpc") => Ok(Protocol::Grpc),
            None | Some("http/protobuf") => Ok(Protocol::Http),
            Some(other) => Err(TelemetryError::Protocol(other.to_owned())),
        }
    }

    fn endpoint_of(&self, path: &str) -> Option<String> {
        self.endpoint.as_ref().map(|endpoint| format!("{}{path}", endpoint.trim_end_matches('/')))
    }
}

/// The exporters of one set-up.
pub(super) struct Exporters {
    pub(super) spans: Option<SpanExporter>,
    pub(super) metrics: Option<MetricExporter>,
    pub(super) transport: Option<Transport>,
}

/// Which signals are exported.
#[derive(Clone, Copy)]
pub(super) struct Signals {
    pub(super) traces: bool,
    pub(super) metrics: bool,
}

pub(super) fn exporters(
    otlp: &Otlp,
    signals: Signals,
    environment: &Environment,
) -> Result<Exporters, TelemetryError> {
    match otlp.protocol(environment)? {
        Protocol::Grpc => grpc(otlp, signals),
        Protocol::Http => http(otlp, signals, environment),
    }
}

fn grpc(otlp: &Otlp, signals: Signals) -> Result<Exporters, TelemetryError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("volery-otlp")
        .enable_all()
        .build()
        .map_err(|error| TelemetryError::Transport(error.to_string()))?;
    // A connection lives on the runtime that is entered when it is made.
    let entered = runtime.enter();
    let mut spans = SpanExporter::builder().with_tonic();
    let mut metrics = MetricExporter::builder().with_tonic();
    if let Some(endpoint) = otlp.endpoint_of("") {
        spans = spans.with_endpoint(&endpoint);
        metrics = metrics.with_endpoint(endpoint);
    }
    if std::env::var_os("OTEL_EXPORTER_OTLP_COMPRESSION").is_none() {
        spans = spans.with_compression(Compression::Gzip);
        metrics = metrics.with_compression(Compression::Gzip);
    }
    let spans = signals.traces.then(|| spans.build()).transpose();
    let metrics = signals.metrics.then(|| metrics.build()).transpose();
    drop(entered);
    let transport = Some(Transport(Some(runtime)));
    Ok(Exporters { spans: spans.map_err(refused)?, metrics: metrics.map_err(refused)?, transport })
}

fn http(otlp: &Otlp, signals: Signals, environment: &Environment) -> Result<Exporters, TelemetryError> {
    let given = otlp.endpoint.as_deref().or_else(|| environment.text("OTEL_EXPORTER_OTLP_ENDPOINT"));
    if let Some(endpoint) = given.filter(|endpoint| endpoint.starts_with("https:")) {
        // The client would say so as well, but only when the first export fails.
        return Err(TelemetryError::Exporter(format!(
            "{endpoint} needs TLS, which is not built in; export to a collector nearby"
        )));
    }
    let timeout = environment.millis("OTEL_EXPORTER_OTLP_TIMEOUT").unwrap_or(TIMEOUT);
    let client = blocking_client(timeout)?;
    let mut spans = SpanExporter::builder().with_http().with_http_client(client.clone());
    let mut metrics = MetricExporter::builder().with_http().with_http_client(client);
    if let Some(endpoint) = otlp.endpoint_of("/v1/traces") {
        spans = spans.with_endpoint(endpoint);
    }
    if let Some(endpoint) = otlp.endpoint_of("/v1/metrics") {
        metrics = metrics.with_endpoint(endpoint);
    }
    let spans = signals.traces.then(|| spans.build()).transpose().map_err(refused)?;
    let metrics = signals.metrics.then(|| metrics.build()).transpose().map_err(refused)?;
    Ok(Exporters { spans, metrics, transport: None })
}

/// A blocking client must not be made on a thread of a runtime.
fn blocking_client(timeout: Duration) -> Result<reqwest::blocking::Client, TelemetryError> {
    let make = move || reqwest::blocking::Client::builder().timeout(timeout).build();
    let made = std::thread::Builder::new()
        .name("volery-otlp".to_owned())
        .spawn(make)
        .map_err(|error| TelemetryError::Transport(error.to_string()))?
        .join();
    match made {
        Ok(client) => client.map_err(|error| TelemetryError::Transport(error.to_string())),
        Err(_) => Err(TelemetryError::Transport("the HTTP client panicked".to_owned())),
    }
}

fn refused(error: opentelemetry_otlp::ExporterBuildError) -> TelemetryError {
    TelemetryError::Exporter(error.to_string())
}
