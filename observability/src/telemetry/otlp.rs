//! Export over OTLP, each signal where its variables say. TLS is in `tls.rs`.
//!
//! Two traps lie here. The SDK's batch processor runs exporters on a thread without a runtime, so the HTTP
//! client has to be a blocking one, whatever other crates of the build make the default. And gRPC needs a
//! runtime that goes on while its caller blocks, so the connections have a small one of their own.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    Compression, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::environment::{Environment, decoded};
use super::error::TelemetryError;
use super::flush::{Endpoints, Transport};
use super::tls::{self, Tls};

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

/// A signal with variables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    const fn word(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }
}

/// Where one signal goes.
#[derive(Debug)]
struct Target {
    protocol: Protocol,
    endpoint: String,
    /// As the variable has them: values may be percent-encoded.
    headers: Vec<(String, String)>,
    gzip: bool,
    timeout: Duration,
    #[cfg_attr(not(feature = "otlp-tls"), expect(dead_code, reason = "it only refuses then"))]
    tls: Tls,
}

impl Otlp {
    /// As the standard variables say: `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_PROTOCOL` (`grpc` or `http/protobuf`,
    /// the default), `…_HEADERS`, `…_COMPRESSION` and `…_TIMEOUT`, or those of one signal,
    /// `OTEL_EXPORTER_OTLP_TRACES_…` and `OTEL_EXPORTER_OTLP_METRICS_…`, which count more.
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

    /// Sets the receiver, such as `http://collector:4317`. It counts more than the environment. `https` needs
    /// the feature `otlp-tls`.
    ///
    /// For HTTP the path of each signal is added.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    fn target(&self, signal: Signal, environment: &Environment) -> Result<Target, TelemetryError> {
        let protocol = self.protocol_of(signal, environment)?;
        let endpoint = self.endpoint_of(signal, protocol, environment)?;
        let headers =
            of_signal(environment, signal, "HEADERS").map(|(_, headers)| headers).unwrap_or_default();
        let headers = headers.split(',').filter_map(|pair| pair.split_once('='));
        let gzip = match of_signal(environment, signal, "COMPRESSION") {
            None => protocol == Protocol::Grpc,
            Some((_, "gzip")) => true,
            Some((_, "none")) => false,
            Some((name, other)) => {
                return Err(TelemetryError::Exporter(format!("{name} is `{other}`; use gzip or none")));
            }
        };
        let timeout = of_signal(environment, signal, "TIMEOUT").and_then(|(_, millis)| millis.parse().ok());
        Ok(Target {
            protocol,
            headers: headers.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect(),
            gzip,
            timeout: timeout.map_or(TIMEOUT, Duration::from_millis),
            tls: Tls::for_endpoint(&endpoint, environment)?,
            endpoint,
        })
    }

    fn protocol_of(&self, signal: Signal, environment: &Environment) -> Result<Protocol, TelemetryError> {
        if let Some(protocol) = self.protocol {
            return Ok(protocol);
        }
        match of_signal(environment, signal, "PROTOCOL") {
            Some((_, "grpc")) => Ok(Protocol::Grpc),
            None | Some((_, "http/protobuf")) => Ok(Protocol::Http),
            Some((name, other)) => Err(TelemetryError::Protocol(name, other.to_owned())),
        }
    }

    fn endpoint_of(
        &self,
        signal: Signal,
        protocol: Protocol,
        environment: &Environment,
    ) -> Result<String, TelemetryError> {
        let path = if protocol == Protocol::Http { signal.path() } else { "" };
        let with_path = |base: &str| format!("{}{path}", base.trim_end_matches('/'));
        if let Some(base) = self.endpoint.as_deref().map(str::trim) {
            if protocol == Protocol::Http && base.trim_end_matches('/').ends_with(path) {
                return Err(TelemetryError::Exporter(format!(
                    "the path {path} of {base} is added to an endpoint; leave it out"
                )));
            }
            return with_scheme("the endpoint", base).map(with_path);
        }
        let general = general("ENDPOINT");
        match of_signal(environment, signal, "ENDPOINT") {
            // The endpoint of one signal is taken as it is.
            Some((name, endpoint)) if name != general => with_scheme(&name, endpoint).map(str::to_owned),
            Some((name, base)) => with_scheme(&name, base).map(with_path),
            None => Ok(with_path(match protocol {
                Protocol::Grpc => "http://localhost:4317",
                Protocol::Http => "http://localhost:4318",
            })),
        }
    }
}

fn general(what: &str) -> String {
    format!("OTEL_EXPORTER_OTLP_{what}")
}

/// A variable of the signal, or the one for all signals, with its name.
fn of_signal<'e>(environment: &'e Environment, signal: Signal, what: &str) -> Option<(String, &'e str)> {
    let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.word());
    [own, general(what)].into_iter().find_map(|name| environment.text(&name).map(|value| (name, value)))
}

/// An address without a scheme would be found wrong by the first export only.
fn with_scheme<'e>(name: &str, endpoint: &'e str) -> Result<&'e str, TelemetryError> {
    if endpoint.starts_with("http://") || tls::is_asked_for(endpoint) {
        return Ok(endpoint);
    }
    Err(TelemetryError::Exporter(format!("{name} is `{endpoint}`; it begins with http:// or https://")))
}

/// The exporters of one set-up.
#[derive(Default)]
pub(super) struct Exporters {
    pub(super) spans: Option<SpanExporter>,
    pub(super) metrics: Option<MetricExporter>,
    pub(super) transport: Option<Transport>,
    /// Where spans and metrics go, for reports.
    pub(super) endpoints: Endpoints,
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
    let target = |signal, on: bool| on.then(|| otlp.target(signal, environment)).transpose();
    let traces = target(Signal::Traces, signals.traces)?;
    let metrics = target(Signal::Metrics, signals.metrics)?;
    let over_grpc = [&traces, &metrics].into_iter().flatten().any(|target| target.protocol == Protocol::Grpc);
    let transport = over_grpc.then(transport).transpose()?;
    // A connection lives on the runtime that is entered when it is made.
    let entered = transport.as_ref().map(tokio::runtime::Runtime::enter);
    let endpoints = [&traces, &metrics].map(|target| target.as_ref().map(|target| target.endpoint.clone()));
    let spans = traces.as_ref().map(spans).transpose();
    let metrics = metrics.as_ref().map(self::metrics).transpose();
    drop(entered);
    let transport = transport.map(|runtime| Transport(Some(runtime)));
    Ok(Exporters { spans: spans?, metrics: metrics?, transport, endpoints })
}

fn transport() -> Result<tokio::runtime::Runtime, TelemetryError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("volery-otlp")
        .enable_all()
        .build()
        .map_err(|error| TelemetryError::Transport(error.to_string()))
}

fn spans(target: &Target) -> Result<SpanExporter, TelemetryError> {
    let exporter = match target.protocol {
        Protocol::Grpc => target.grpc(SpanExporter::builder().with_tonic()).build(),
        Protocol::Http => target.http(SpanExporter::builder().with_http())?.build(),
    };
    exporter.map_err(refused)
}

fn metrics(target: &Target) -> Result<MetricExporter, TelemetryError> {
    let exporter = match target.protocol {
        Protocol::Grpc => target.grpc(MetricExporter::builder().with_tonic()).build(),
        Protocol::Http => target.http(MetricExporter::builder().with_http())?.build(),
    };
    exporter.map_err(refused)
}

impl Target {
    fn grpc<B: WithExportConfig + WithTonicConfig>(&self, builder: B) -> B {
        let mut builder = builder.with_endpoint(&self.endpoint).with_timeout(self.timeout);
        if self.gzip {
            builder = builder.with_compression(Compression::Gzip);
        }
        #[cfg(feature = "otlp-tls")]
        if tls::is_asked_for(&self.endpoint) {
            builder = builder.with_tls_config(self.tls.of_grpc());
        }
        let header = |(key, value): &(String, String)| {
            let value = decoded(value).unwrap_or_else(|| value.clone());
            Some((key.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
        };
        let headers: HeaderMap = self.headers.iter().filter_map(header).collect();
        builder.with_metadata(MetadataMap::from_headers(headers))
    }

    fn http<B: WithExportConfig + WithHttpConfig>(&self, builder: B) -> Result<B, TelemetryError> {
        let headers: HashMap<String, String> = self.headers.iter().cloned().collect();
        let mut builder = builder
            .with_endpoint(&self.endpoint)
            .with_timeout(self.timeout)
            .with_headers(headers)
            .with_http_client(self.blocking_client()?);
        if self.gzip {
            builder = builder.with_compression(Compression::Gzip);
        }
        Ok(builder)
    }

    /// A blocking client must not be made on a thread of a runtime.
    fn blocking_client(&self) -> Result<reqwest::blocking::Client, TelemetryError> {
        let client = reqwest::blocking::Client::builder().timeout(self.timeout);
        #[cfg(feature = "otlp-tls")]
        let client = client.tls_backend_preconfigured(self.tls.of_http()?);
        let made = std::thread::Builder::new()
            .name("volery-otlp".to_owned())
            .spawn(move || client.build())
            .map_err(|error| TelemetryError::Transport(error.to_string()))?
            .join();
        match made {
            Ok(client) => client.map_err(|error| TelemetryError::Transport(error.to_string())),
            Err(_) => Err(TelemetryError::Transport("the HTTP client panicked".to_owned())),
        }
    }
}

fn refused(error: opentelemetry_otlp::ExporterBuildError) -> TelemetryError {
    TelemetryError::Exporter(error.to_string())
}
