//! Arrived spans, in a shape that is easy to assert on: ids and values as text, times as numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as proto, ResourceSpans};

/// A span that arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace, in hexadecimal digits.
    pub trace_id: String,
    /// Its id, in hexadecimal digits.
    pub span_id: String,
    /// Its parent's id; empty for a root.
    pub parent_id: String,
    /// W3C trace state.
    pub trace_state: String,
    /// Its name.
    pub name: String,
    /// `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
    pub kind: &'static str,
    /// Begin, in nanoseconds since the epoch.
    pub start_ns: u64,
    /// End, in nanoseconds since the epoch.
    pub end_ns: u64,
    /// Its attributes, values as text; lists as `[a, b]`.
    pub attributes: BTreeMap<String, String>,
    /// Its events in order.
    pub events: Vec<Event>,
    /// Its links in order.
    pub links: Vec<Link>,
    /// Links that the sender says it dropped.
    pub links_dropped: u32,
    /// `unset`, `ok` or `error`.
    pub status: &'static str,
    /// The status' message.
    pub status_message: String,
    /// Attributes of the resource.
    pub resource: Arc<BTreeMap<String, String>>,
    /// The instrumentation scope's name.
    pub scope: String,
}

/// An event of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// When, in nanoseconds since the epoch.
    pub time_ns: u64,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// A link of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The other span's trace.
    pub trace_id: String,
    /// The other span.
    pub span_id: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// A metric that arrived; of histograms the count.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its points: labels and value.
    pub points: Vec<(BTreeMap<String, String>, f64)>,
    /// Of a histogram: the sum of each point.
    pub sums: Vec<f64>,
    /// Of a histogram: the boundaries of its first point.
    pub bounds: Vec<f64>,
}

impl Span {
    /// An attribute's value; empty when it is not there.
    #[must_use]
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// Events of a name.
    pub fn events_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| event.name == name)
    }
}

pub(crate) fn spans(batch: ResourceSpans) -> impl Iterator<Item = Span> {
    let resource = Arc::new(resource(batch.resource));
    batch.scope_spans.into_iter().flat_map(move |scope| {
        let name = scope.scope.map(|scope| scope.name).unwrap_or_default();
        let resource = Arc::clone(&resource);
        scope.spans.into_iter().map(move |span| read(span, &name, &resource))
    })
}

fn read(span: proto::Span, scope: &str, resource: &Arc<BTreeMap<String, String>>) -> Span {
    let status = span.status.unwrap_or_default();
    let event = |event: proto::span::Event| Event {
        name: event.name,
        time_ns: event.time_unix_nano,
        attributes: attributes(event.attributes),
    };
    let link = |link: proto::span::Link| Link {
        trace_id: hex(&link.trace_id),
        span_id: hex(&link.span_id),
        attributes: attributes(link.attributes),
    };
    Span {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        trace_state: span.trace_state,
        name: span.name,
        kind: match span.kind {
            1 => "internal",
            2 => "server",
            3 => "client",
            4 => "producer",
            5 => "consumer",
            _ => "unspecified",
        },
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        events: span.events.into_iter().map(event).collect(),
        links: span.links.into_iter().map(link).collect(),
        links_dropped: span.dropped_links_count,
        status: match status.code {
            0 => "unset",
            1 => "ok",
            _ => "error",
        },
        status_message: status.message,
        resource: Arc::clone(resource),
        scope: scope.to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a test's numbers are small")]
pub(crate) fn metrics(batch: ResourceMetrics) -> impl Iterator<Item = Metric> {
    let number = |point: opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| {
        let value = match point.value {
            Some(number_data_point::Value::AsDouble(value)) => value,
            Some(number_data_point::Value::AsInt(value)) => value as f64,
            None => 0.0,
        };
        (attributes(point.attributes), value)
    };
    batch.scope_metrics.into_iter().flat_map(|scope| scope.metrics).map(move |metric| {
        let (mut sums, mut bounds) = (Vec::new(), Vec::new());
        let points = match metric.data {
            Some(metric::Data::Gauge(gauge)) => gauge.data_points.into_iter().map(number).collect(),
            Some(metric::Data::Sum(sum)) => sum.data_points.into_iter().map(number).collect(),
            Some(metric::Data::Histogram(histogram)) => {
                sums.extend(histogram.data_points.iter().map(|point| point.sum.unwrap_or_default()));
                bounds.extend(
                    histogram.data_points.iter().take(1).flat_map(|point| point.explicit_bounds.clone()),
                );
                let points = histogram.data_points.into_iter();
                points.map(|point| (attributes(point.attributes), point.count as f64)).collect()
            }
            _ => Vec::new(),
        };
        Metric { name: metric.name, unit: metric.unit, points, sums, bounds }
    })
}

fn resource(resource: Option<Resource>) -> BTreeMap<String, String> {
    resource.map(|resource| attributes(resource.attributes)).unwrap_or_default()
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    list.into_iter().map(|pair| (pair.key, pair.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::ArrayValue(list)) => {
            format!("[{}]", list.values.into_iter().map(text).collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
