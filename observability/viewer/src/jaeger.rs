//! From OTLP to the JSON that Jaeger's user interface reads. Pure: no I/O, no clock.
//!
//! It follows the Collector's translator (`pkg/translator/jaeger`): the parent is the first reference and
//! links come after it as `FOLLOWS_FROM`; kind and status become tags, an error also `error=true`; an event's
//! name is its field `event`; lists and maps become JSON text; times are cut to microseconds. Attributes of
//! links have no place in it. As Jaeger's query service does, it sorts tags by name.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Otlp;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span as OtlpSpan};
use serde::Serialize;
use serde_json::Value;

/// The name that the translator gives to a service without one.
const SERVICE_UNNAMED: &str = "OTLPResourceNoServiceName";

/// A span as the user interface reads it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Span {
    #[serde(rename = "traceID")]
    pub(crate) trace_id: String,
    #[serde(rename = "spanID")]
    pub(crate) span_id: String,
    pub(crate) operation_name: String,
    pub(crate) references: Vec<Reference>,
    /// Microseconds since the epoch.
    pub(crate) start_time: u64,
    /// Microseconds.
    pub(crate) duration: u64,
    pub(crate) tags: Vec<Tag>,
    pub(crate) logs: Vec<Log>,
    /// The process that wrote it; a trace lists its processes beside its spans.
    #[serde(skip)]
    pub(crate) process: Arc<Process>,
}

/// A parent or a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reference {
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(rename = "type")]
    kind: &'static str,
    pub(crate) value: Value,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Log {
    /// Microseconds since the epoch.
    timestamp: u64,
    fields: Vec<Tag>,
}

/// The service of a span.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pub(crate) service_name: String,
    tags: Vec<Tag>,
}

impl Tag {
    fn text(key: &str, value: impl Into<String>) -> Self {
        Self { key: key.to_owned(), kind: "string", value: Value::String(value.into()) }
    }
}

/// The spans of one resource.
pub(crate) fn spans(batch: ResourceSpans) -> impl Iterator<Item = Span> {
    let process = Arc::new(process(batch.resource.unwrap_or_default()));
    batch.scope_spans.into_iter().flat_map(move |scope| {
        let (process, writer) = (Arc::clone(&process), scope.scope.unwrap_or_default());
        scope.spans.into_iter().map(move |span| read(span, &writer, &process))
    })
}

fn process(resource: Resource) -> Process {
    let mut tags = tags(resource.attributes);
    let name = tags.iter().position(|tag| tag.key == "service.name").map(|index| tags.remove(index));
    let name = name.and_then(|tag| tag.value.as_str().map(str::to_owned));
    Process { service_name: name.unwrap_or_else(|| SERVICE_UNNAMED.to_owned()), tags: sorted(tags) }
}

fn read(span: OtlpSpan, writer: &InstrumentationScope, process: &Arc<Process>) -> Span {
    let trace_id = hex(&span.trace_id);
    let parent = (!span.parent_span_id.is_empty()).then(|| Reference {
        ref_type: "CHILD_OF",
        trace_id: trace_id.clone(),
        span_id: hex(&span.parent_span_id),
    });
    let links = span.links.iter().map(|link| Reference {
        ref_type: "FOLLOWS_FROM",
        trace_id: hex(&link.trace_id),
        span_id: hex(&link.span_id),
    });
    Span {
        references: parent.into_iter().chain(links).collect(),
        span_id: hex(&span.span_id),
        start_time: micros(span.start_time_unix_nano),
        duration: micros(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)),
        logs: span.events.iter().cloned().map(log).collect(),
        operation_name: span.name.clone(),
        tags: span_tags(span, writer),
        trace_id,
        process: Arc::clone(process),
    }
}

fn span_tags(span: OtlpSpan, writer: &InstrumentationScope) -> Vec<Tag> {
    let kind = match span.kind() {
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Unspecified => "",
    };
    let status = span.status.unwrap_or_default();
    let code = match status.code() {
        StatusCode::Unset => "",
        StatusCode::Ok => "OK",
        StatusCode::Error => "ERROR",
    };
    let error = Tag { key: "error".to_owned(), kind: "bool", value: Value::Bool(true) };
    let of_otlp = [
        ("otel.scope.name", writer.name.as_str()),
        ("otel.scope.version", &writer.version),
        ("span.kind", kind),
        ("otel.status_code", code),
        ("otel.status_description", &status.message),
        ("w3c.tracestate", &span.trace_state),
    ];
    let mut tags = tags(span.attributes);
    tags.extend(
        of_otlp.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| Tag::text(key, *value)),
    );
    tags.extend((code == "ERROR").then_some(error));
    sorted(tags)
}

fn log(event: Event) -> Log {
    let mut fields = tags(event.attributes);
    if !event.name.is_empty() && fields.iter().all(|field| field.key != "event") {
        fields.insert(0, Tag::text("event", event.name));
    }
    Log { timestamp: micros(event.time_unix_nano), fields }
}

fn sorted(mut tags: Vec<Tag>) -> Vec<Tag> {
    tags.sort_by(|one, other| one.key.cmp(&other.key));
    tags
}

fn tags(attributes: Vec<KeyValue>) -> Vec<Tag> {
    attributes.into_iter().map(|pair| tag(pair.key, pair.value.and_then(|value| value.value))).collect()
}

fn tag(key: String, value: Option<Otlp>) -> Tag {
    let (kind, value) = match value {
        Some(Otlp::BoolValue(value)) => ("bool", Value::Bool(value)),
        Some(Otlp::IntValue(value)) => ("int64", Value::from(value)),
        Some(Otlp::DoubleValue(value)) => ("float64", Value::from(value)),
        Some(Otlp::StringValue(value)) => ("string", Value::String(value)),
        other => ("string", Value::String(json(other).to_string())),
    };
    Tag { key, kind, value }
}

fn json(value: Option<Otlp>) -> Value {
    let of = |value: AnyValue| json(value.value);
    match value {
        Some(Otlp::StringValue(value)) => Value::String(value),
        Some(Otlp::BoolValue(value)) => Value::Bool(value),
        Some(Otlp::IntValue(value)) => Value::from(value),
        Some(Otlp::DoubleValue(value)) => Value::from(value),
        Some(Otlp::BytesValue(bytes)) => Value::String(hex(&bytes)),
        Some(Otlp::ArrayValue(list)) => list.values.into_iter().map(of).collect(),
        Some(Otlp::KvlistValue(list)) => {
            let pairs = list.values.into_iter();
            pairs.map(|pair| (pair.key, pair.value.map_or(Value::Null, of))).collect()
        }
        // An index into a table of texts, which only profiles have.
        Some(_) | None => Value::Null,
    }
}

fn micros(nanos: u64) -> u64 {
    nanos / 1_000
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::ArrayValue;
    use opentelemetry_proto::tonic::trace::v1::span::Link;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Status};
    use serde_json::json;

    use super::*;

    fn attribute(key: &str, value: Otlp) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    fn text(value: &str) -> Otlp {
        Otlp::StringValue(value.to_owned())
    }

    fn converted(span: OtlpSpan) -> Value {
        let batch = ResourceSpans {
            resource: Some(Resource {
                attributes: vec![attribute("z", text("last")), attribute("service.name", text("shop"))],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        };
        let span = spans(batch).next().expect("one went in");
        let mut value = serde_json::to_value(&span).expect("it is text and numbers");
        value["process"] = serde_json::to_value(&span.process).expect("it is text and numbers");
        value
    }

    #[test]
    fn the_parent_comes_first_and_links_follow_it() {
        let span = converted(OtlpSpan {
            trace_id: vec![1; 16],
            parent_span_id: vec![2; 8],
            links: vec![Link { trace_id: vec![1; 16], span_id: vec![3; 8], ..Link::default() }],
            ..OtlpSpan::default()
        });
        let of = |kind: &str, id: u8| json!({ "refType": kind, "traceID": hex(&[1; 16]), "spanID": hex(&[id; 8]) });
        assert_eq!(span["references"], json!([of("CHILD_OF", 2), of("FOLLOWS_FROM", 3)]));
    }

    #[test]
    fn kind_and_status_become_tags_and_tags_are_sorted() {
        let span = converted(OtlpSpan {
            kind: SpanKind::Consumer.into(),
            status: Some(Status { code: StatusCode::Error.into(), message: "no".to_owned() }),
            attributes: vec![attribute("volery.attempt", Otlp::IntValue(2))],
            ..OtlpSpan::default()
        });
        let tags = json!([
            { "key": "error", "type": "bool", "value": true },
            { "key": "otel.status_code", "type": "string", "value": "ERROR" },
            { "key": "otel.status_description", "type": "string", "value": "no" },
            { "key": "span.kind", "type": "string", "value": "consumer" },
            { "key": "volery.attempt", "type": "int64", "value": 2 },
        ]);
        assert_eq!(span["tags"], tags);
    }

    #[test]
    fn an_event_has_its_name_as_a_field_and_lists_are_json() {
        let list = ArrayValue { values: vec![AnyValue { value: Some(text("a")) }] };
        let event = Event {
            time_unix_nano: 5_999,
            name: "exception".to_owned(),
            attributes: vec![attribute("list", Otlp::ArrayValue(list))],
            ..Event::default()
        };
        let span = converted(OtlpSpan { events: vec![event], ..OtlpSpan::default() });
        let fields = json!([
            { "key": "event", "type": "string", "value": "exception" },
            { "key": "list", "type": "string", "value": "[\"a\"]" },
        ]);
        assert_eq!(span["logs"], json!([{ "timestamp": 5, "fields": fields }]));
    }

    #[test]
    fn the_service_is_the_processes_name_and_no_tag() {
        let span = converted(OtlpSpan::default());
        assert_eq!(span["process"]["serviceName"], "shop");
        assert_eq!(span["process"]["tags"], json!([{ "key": "z", "type": "string", "value": "last" }]));
        assert_eq!(process(Resource::default()).service_name, SERVICE_UNNAMED);
    }
}
