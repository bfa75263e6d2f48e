//! The builder of the set-up: the choices of a service, and the assembly of the parts.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{
    MeterProviderBuilder, PeriodicReader, PeriodicReaderBuilder, SdkMeterProvider,
};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, RandomIdGenerator, SdkTracerProvider, SpanExporter,
};

use super::Telemetry;
use super::environment::Environment;
use super::error::TelemetryError;
use super::export::{Counted, Exporting, Noted, Tally};
use super::flush::{Endpoints, Exports, Transport};
use super::sampler::{RootSampler, Sampling};
use crate::names::{SCOPE, metric};
use crate::trace::{OpenSpans, TraceSettings};

/// Spans that may wait for an export. The SDK's 2,048 is less than one burst of a busy service.
const QUEUE_MAX: usize = 65_536;
/// Spans of one export.
const BATCH: usize = 512;
/// Spans of one export when payloads are recorded: each may have 8 KiB, and receivers take 4 MiB.
const BATCH_WITH_PAYLOADS: usize = 256;
/// The time between exports, and with it the loss of a crash. The SDK's 5 s is more than most runs last.
const DELAY: Duration = Duration::from_secs(1);
/// The shortest delay that is taken: at 1 ms a span is exported as soon as anybody would look.
const DELAY_MIN: Duration = Duration::from_millis(1);
/// Above our own limit, so that links are counted by us before the SDK drops them in silence.
const LINKS_MAX: u32 = 1_024;
/// Room for a job with many retries, each with its chain of causes.
const EVENTS_MAX: u32 = 256;

/// A set-up that is being chosen. See [`init`](super::init).
#[must_use = "a builder does nothing before `start`"]
pub struct TelemetryBuilder {
    service: String,
    resource: Vec<KeyValue>,
    sampling: Option<Sampling>,
    settings: TraceSettings,
    environment: Environment,
    spans: Option<Wiring>,
    meters: Vec<Box<dyn FnOnce(MeterProviderBuilder) -> MeterProviderBuilder + Send>>,
    #[cfg(feature = "otlp")]
    otlp: Option<super::Otlp>,
    #[cfg(feature = "prometheus")]
    registry: Option<prometheus::Registry>,
    #[cfg(feature = "subscriber")]
    log: Option<super::LogFormat>,
    global: bool,
}

/// Makes the processor of an exporter whose type is known only where it was given.
type Wiring = Box<dyn FnOnce(Limits, Arc<Tally>, Arc<Noted>) -> BatchSpanProcessor + Send>;

#[derive(Clone, Copy)]
struct Limits {
    queue: usize,
    batch: usize,
    delay: Duration,
}

impl TelemetryBuilder {
    pub(super) fn new(service: String) -> Self {
        Self {
            service,
            resource: Vec::new(),
            sampling: None,
            settings: TraceSettings::default(),
            environment: Environment::of_process(),
            spans: None,
            meters: Vec::new(),
            #[cfg(feature = "otlp")]
            otlp: None,
            #[cfg(feature = "prometheus")]
            registry: None,
            #[cfg(feature = "subscriber")]
            log: None,
            global: false,
        }
    }

    /// Sets `service.version`.
    pub fn version(self, version: impl Into<String>) -> Self {
        self.attribute("service.version", version)
    }

    /// Sets `service.namespace`.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        self.attribute("service.namespace", namespace)
    }

    /// Sets `deployment.environment.name`, such as `production`.
    pub fn deployment(self, environment: impl Into<String>) -> Self {
        self.attribute("deployment.environment.name", environment)
    }

    /// Sets an attribute of the resource. `OTEL_RESOURCE_ATTRIBUTES` counts more.
    pub fn attribute(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.resource.push(KeyValue::new(key, value.into()));
        self
    }

    /// Sets which runs are recorded. It counts more than `OTEL_TRACES_SAMPLER`. Default: all.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = Some(sampling);
        self
    }

    /// Sets how runs are traced.
    pub fn traces(mut self, settings: TraceSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the variables, for a service that has its settings elsewhere. Default: those of the process.
    ///
    /// One thing is read from the process in any case: headers for the OTLP exporter, besides those of these
    /// variables.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Exports spans by an exporter of the service's own, instead of over OTLP.
    pub fn export_spans_by(mut self, exporter: impl SpanExporter + 'static) -> Self {
        self.spans = Some(wiring(exporter));
        self
    }

    /// Exports metrics by an exporter of the service's own, besides others.
    pub fn export_metrics_by(mut self, exporter: impl PushMetricExporter) -> Self {
        self.read_metrics(PeriodicReader::builder(exporter));
        self
    }

    /// Exports spans and metrics over OTLP.
    #[cfg(feature = "otlp")]
    pub fn otlp(mut self, otlp: super::Otlp) -> Self {
        self.otlp = Some(otlp);
        self
    }

    /// Keeps metrics for a Prometheus that scrapes; see `Telemetry::prometheus_text`.
    #[cfg(feature = "prometheus")]
    pub fn prometheus(mut self) -> Self {
        self.registry = Some(prometheus::Registry::new());
        self
    }

    /// Writes log lines to the standard error, with trace ids. It takes effect with `install_global`.
    #[cfg(feature = "subscriber")]
    pub fn log(mut self, format: super::LogFormat) -> Self {
        self.log = Some(format);
        self
    }

    /// Makes this set-up that of the whole process: OpenTelemetry's globals, propagation of W3C trace context
    /// and baggage (or what `OTEL_PROPAGATORS` says) and, if a log was asked for, the subscriber of
    /// `tracing`. Without it, nothing global is touched.
    pub fn install_global(mut self) -> Self {
        self.global = true;
        self
    }

    /// Starts the exports.
    ///
    /// # Errors
    /// [`TelemetryError`] says what to change. Whether a receiver is there is found out later: a service does
    /// not depend on it.
    pub fn start(mut self) -> Result<Telemetry, TelemetryError> {
        let resource = self.resource();
        let tally = Arc::new(Tally::default());
        let disabled = self.environment.is_disabled();
        let traces = !disabled && !self.environment.is_off("OTEL_TRACES_EXPORTER");
        let metrics = !disabled && !self.environment.is_off("OTEL_METRICS_EXPORTER");
        let (transport, endpoints) = self.connect(traces, metrics)?;

        let exporting = self.spans.take().filter(|_| traces).map(|wire| {
            let limits = self.limits();
            let noted = Arc::new(Noted::default());
            let batches = wire(limits, Arc::clone(&tally), Arc::clone(&noted));
            Exporting::new(batches, &resource, (Arc::clone(&tally), noted), limits.queue)
        });
        let tracer = exporting.clone().map(|exporting| self.tracer(exporting, resource.clone()));
        let meters = std::mem::take(&mut self.meters);
        let meter = (metrics && !meters.is_empty()).then(|| meter(meters, resource, &tally));
        let open = exporting.map(|exporting| Arc::new(exporting) as Arc<dyn OpenSpans>);
        let (transport, ended) = (Mutex::new(transport), AtomicBool::new(false));
        let exports = Arc::new(Exports { tracer, meter, open, tally, transport, endpoints, ended });
        if self.global {
            self.install(&exports)?;
        }
        // Now there is a place for the warnings.
        self.environment.say_what_was_passed_over();
        Ok(Telemetry {
            exports,
            settings: self.settings,
            #[cfg(feature = "prometheus")]
            registry: self.registry,
        })
    }

    /// Adds what exports over the network, and what is scraped.
    fn connect(
        &mut self,
        traces: bool,
        metrics: bool,
    ) -> Result<(Option<Transport>, Endpoints), TelemetryError> {
        #[cfg(feature = "prometheus")]
        if let Some(registry) = self.registry.clone().filter(|_| metrics) {
            let reader = opentelemetry_prometheus::exporter().with_registry(registry).build();
            let reader = reader.map_err(|error| TelemetryError::Exporter(error.to_string()))?;
            self.meters.push(Box::new(move |meters| meters.with_reader(reader)));
        }
        #[cfg(feature = "otlp")]
        if let Some(otlp) = self.otlp.take() {
            let signals = super::otlp::Signals { traces: traces && self.spans.is_none(), metrics };
            let exporters = super::otlp::exporters(&otlp, signals, &self.environment)?;
            if let Some(spans) = exporters.spans {
                self.spans = Some(wiring(spans));
            }
            if let Some(metrics) = exporters.metrics {
                self.read_metrics(PeriodicReader::builder(metrics));
            }
            return Ok((exporters.transport, exporters.endpoints));
        }
        // Without these features there is nothing to connect.
        #[cfg(not(feature = "otlp"))]
        let (_, _) = (traces, metrics);
        Ok((None, Endpoints::default()))
    }

    /// Adds a reader that exports from time to time.
    fn read_metrics<E: PushMetricExporter>(&mut self, reader: PeriodicReaderBuilder<E>) {
        let interval = self.environment.millis("OTEL_METRIC_EXPORT_INTERVAL");
        let reader = interval.into_iter().fold(reader, PeriodicReaderBuilder::with_interval);
        self.meters.push(Box::new(move |meters| meters.with_reader(reader.build())));
    }

    /// The environment's attributes come last and win.
    fn resource(&self) -> Resource {
        let id = RandomIdGenerator::default().new_trace_id();
        let given = self.environment.resource().into_iter().map(|(key, value)| KeyValue::new(key, value));
        Resource::builder_empty()
            .with_detector(Box::new(opentelemetry_sdk::resource::TelemetryResourceDetector))
            .with_service_name(self.service.clone())
            .with_attribute(KeyValue::new("service.instance.id", id.to_string()))
            .with_attributes(self.resource.clone())
            .with_attributes(given)
            .build()
    }

    fn limits(&self) -> Limits {
        let batch = if self.settings.records_payloads() { BATCH_WITH_PAYLOADS } else { BATCH };
        let queue = self.environment.number("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(QUEUE_MAX).max(1);
        let batch = self.environment.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(batch);
        // Without any delay the SDK's thread would never rest.
        let delay = self.environment.millis("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(DELAY).max(DELAY_MIN);
        Limits { queue, batch: batch.clamp(1, queue), delay }
    }

    fn tracer(&self, exporting: Exporting, resource: Resource) -> SdkTracerProvider {
        let environment = &self.environment;
        let sampling = self.sampling.or_else(|| environment.sampling()).unwrap_or(Sampling::Always);
        let mut tracer = SdkTracerProvider::builder()
            .with_span_processor(exporting)
            .with_resource(resource)
            .with_sampler(RootSampler::new(sampling))
            .with_max_links_per_span(environment.number("OTEL_SPAN_LINK_COUNT_LIMIT").unwrap_or(LINKS_MAX))
            .with_max_events_per_span(
                environment.number("OTEL_SPAN_EVENT_COUNT_LIMIT").unwrap_or(EVENTS_MAX),
            );
        if let Some(attributes) = environment.number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT") {
            tracer = tracer.with_max_attributes_per_span(attributes);
        }
        tracer.build()
    }

    #[cfg_attr(
        not(feature = "subscriber"),
        expect(clippy::unnecessary_wraps, reason = "a subscriber may fail")
    )]
    fn install(&self, exports: &Exports) -> Result<(), TelemetryError> {
        #[cfg(feature = "subscriber")]
        if let Some(format) = self.log {
            super::log::install(format, exports.tracer.as_ref())?;
        }
        if let Some(tracer) = &exports.tracer {
            opentelemetry::global::set_tracer_provider(tracer.clone());
        }
        if let Some(meter) = &exports.meter {
            opentelemetry::global::set_meter_provider(meter.clone());
        }
        let (traces, baggage) = self.environment.propagators();
        let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
        if traces {
            propagators.push(Box::new(TraceContextPropagator::new()));
        }
        if baggage {
            propagators.push(Box::new(BaggagePropagator::new()));
        }
        opentelemetry::global::set_text_map_propagator(TextMapCompositePropagator::new(propagators));
        Ok(())
    }
}

impl fmt::Debug for TelemetryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryBuilder")
            .field("service", &self.service)
            .field("sampling", &self.sampling)
            .field("global", &self.global)
            .finish_non_exhaustive()
    }
}

fn wiring(exporter: impl SpanExporter + 'static) -> Wiring {
    Box::new(move |limits, tally, noted| {
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(limits.queue)
            .with_max_export_batch_size(limits.batch)
            .with_scheduled_delay(limits.delay)
            .build();
        BatchSpanProcessor::builder(Counted::new(exporter, tally, noted)).with_batch_config(config).build()
    })
}

fn meter(
    readers: Vec<Box<dyn FnOnce(MeterProviderBuilder) -> MeterProviderBuilder + Send>>,
    resource: Resource,
    tally: &Arc<Tally>,
) -> SdkMeterProvider {
    let builder = SdkMeterProvider::builder().with_resource(resource);
    let provider = readers.into_iter().fold(builder, |builder, read| read(builder)).build();
    let metric = metric::TELEMETRY_DROPPED;
    let labels = |reason: &'static str| {
        [KeyValue::new(metric::label::SIGNAL, "traces"), KeyValue::new(metric::label::REASON, reason)]
    };
    let (queue, export) = (labels("queue"), labels("export"));
    let tally = Arc::clone(tally);
    provider
        .meter(SCOPE)
        .u64_observable_counter(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.says)
        .with_callback(move |observer| {
            observer.observe(tally.lost_waiting(), &queue);
            observer.observe(tally.lost_exporting(), &export);
        })
        .build();
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_delay_the_exports_still_rest() {
        let environment = Environment::empty().with("OTEL_BSP_SCHEDULE_DELAY", "0");
        let limits = TelemetryBuilder::new("shop".to_owned()).environment(environment).limits();
        assert_eq!(limits.delay, DELAY_MIN);
    }
}
