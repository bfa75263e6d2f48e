//! The part of Jaeger's query API that its user interface calls: services, operations, search, one trace.
//!
//! A search asks for traces with a span for which all holds: service, operation, tags and duration; as
//! Jaeger's memory storage does it. Requests for the rest (metrics, archive) are answered with 404.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::jaeger::{Process, Span};
use crate::store::Store;

/// Traces of one search, unless it says how many; as Jaeger's form does.
const LIMIT: usize = 20;

pub(crate) fn routes(store: Store) -> Router {
    let none = || async { answered(Ok(Vec::new())) };
    let unknown = || async { answered(Err("this viewer has no such part of Jaeger".to_owned())) };
    let api = Router::new()
        .route("/services", get(services))
        .route("/services/{service}/operations", get(operation_names))
        .route("/operations", get(operations))
        .route("/traces", get(search))
        .route("/traces/{id}", get(trace))
        .route("/dependencies", get(none))
        .fallback(unknown)
        .with_state(store);
    Router::new().nest("/api", api)
}

async fn services(State(store): State<Store>) -> Response {
    let traces = store.lock();
    let names: BTreeSet<&str> =
        traces.all().flatten().map(|span| span.process.service_name.as_str()).collect();
    answered(Ok(names.into_iter().map(Value::from).collect()))
}

async fn operation_names(State(store): State<Store>, Path(service): Path<String>) -> Response {
    let traces = store.lock();
    let spans = traces.all().flatten().filter(|span| span.process.service_name == service);
    let names: BTreeSet<&str> = spans.map(|span| span.operation_name.as_str()).collect();
    answered(Ok(names.into_iter().map(Value::from).collect()))
}

async fn operations(State(store): State<Store>, RawQuery(query): RawQuery) -> Response {
    let wanted = match Search::read(&query.unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(error) => return answered(Err(error)),
    };
    let traces = store.lock();
    let spans = traces.all().flatten().filter(|span| wanted.takes(span));
    let names: BTreeSet<(&str, &str)> =
        spans.map(|span| (span.operation_name.as_str(), tag(span, "span.kind"))).collect();
    let named = |(name, kind)| json!({ "name": name, "spanKind": kind });
    answered(Ok(names.into_iter().map(named).collect()))
}

async fn trace(State(store): State<Store>, Path(id): Path<String>) -> Response {
    let found = store.lock().trace(&id).map(written);
    answered(found.map(|trace| vec![trace]).ok_or_else(|| "trace not found".to_owned()))
}

async fn search(State(store): State<Store>, RawQuery(query): RawQuery) -> Response {
    let wanted = match Search::read(&query.unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(error) => return answered(Err(error)),
    };
    let traces = store.lock();
    let found = if wanted.ids.is_empty() {
        traces.all().filter(|spans| spans.iter().any(|span| wanted.takes(span))).take(wanted.limit).collect()
    } else {
        wanted.ids.iter().filter_map(|id| traces.trace(id)).collect::<Vec<_>>()
    };
    answered(Ok(found.into_iter().map(written).collect()))
}

/// The conditions of a search.
#[derive(Debug, Default)]
struct Search {
    ids: Vec<String>,
    service: Option<String>,
    operation: Option<String>,
    tags: BTreeMap<String, String>,
    /// Microseconds, as all times here.
    duration_min: Option<u64>,
    duration_max: Option<u64>,
    begin: Option<u64>,
    end: Option<u64>,
    limit: usize,
}

impl Search {
    fn read(query: &str) -> Result<Self, String> {
        let mut search = Self { limit: LIMIT, ..Self::default() };
        for (key, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            let number = || value.parse::<u64>().map_err(|error| format!("{key}: {error}"));
            match key.as_ref() {
                "traceID" => search.ids.push(value.into_owned()),
                "service" => search.service = Some(value.into_owned()),
                "operation" => search.operation = (value != "all").then(|| value.into_owned()),
                "tags" => search.tags = tags(&value)?,
                "minDuration" => search.duration_min = Some(micros(&value)?),
                "maxDuration" => search.duration_max = Some(micros(&value)?),
                "start" => search.begin = Some(number()?),
                "end" => search.end = Some(number()?),
                "limit" => search.limit = usize::try_from(number()?).unwrap_or(usize::MAX),
                // `lookback` and others only concern the form.
                _ => {}
            }
        }
        Ok(search)
    }

    fn takes(&self, span: &Span) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.service, &span.process.service_name)
            && is(&self.operation, &span.operation_name)
            && self.duration_min.is_none_or(|least| span.duration >= least)
            && self.duration_max.is_none_or(|most| span.duration <= most)
            && self.begin.is_none_or(|begin| span.start_time >= begin)
            && self.end.is_none_or(|end| span.start_time <= end)
            && self.tags.iter().all(|(key, value)| has(span, key, value))
    }
}

/// Reads the tags of a search: an object, whose values are compared as text.
fn tags(text: &str) -> Result<BTreeMap<String, String>, String> {
    let wanted: BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("tags: {error}"))?;
    Ok(wanted.into_iter().map(|(key, value)| (key, as_text(&value))).collect())
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn has(span: &Span, key: &str, value: &str) -> bool {
    span.tags.iter().any(|tag| tag.key == key && as_text(&tag.value) == value)
}

fn tag<'a>(span: &'a Span, key: &str) -> &'a str {
    span.tags.iter().find(|tag| tag.key == key).and_then(|tag| tag.value.as_str()).unwrap_or_default()
}

/// Reads `1.2s`, `100ms` or `500us` as microseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times of a form are small, not negative"
)]
fn micros(text: &str) -> Result<u64, String> {
    let units = [("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7), ("h", 3.6e9)];
    let parsed = units.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some((number * factor) as u64)
    });
    parsed.ok_or_else(|| format!("`{text}` is no duration such as 1.2s, 100ms or 500us"))
}

/// A trace: its spans, and the processes that they name.
fn written(spans: &[Span]) -> Value {
    let mut processes: Vec<Arc<Process>> = Vec::new();
    let mut number = |process: &Arc<Process>| {
        let known = processes.iter().position(|known| known == process);
        known.unwrap_or_else(|| {
            processes.push(Arc::clone(process));
            processes.len() - 1
        }) + 1
    };
    let numbered = |span: &Span| {
        let mut value = json!(span);
        value["processID"] = json!(format!("p{}", number(&span.process)));
        value["warnings"] = Value::Null;
        value
    };
    let spans: Vec<Value> = spans.iter().map(numbered).collect();
    let id = spans.first().map(|span| span["traceID"].clone());
    let processes: BTreeMap<String, Arc<Process>> =
        (1..).zip(processes).map(|(number, process)| (format!("p{number}"), process)).collect();
    json!({ "traceID": id, "spans": spans, "processes": processes, "warnings": null })
}

/// The envelope of every answer.
fn answered(result: Result<Vec<Value>, String>) -> Response {
    let (status, body) = match result {
        Ok(data) => {
            let total = data.len();
            (StatusCode::OK, json!({ "data": data, "total": total, "limit": 0, "offset": 0, "errors": null }))
        }
        Err(message) => {
            let errors = json!([{ "code": 404, "msg": message }]);
            (
                StatusCode::NOT_FOUND,
                json!({ "data": null, "total": 0, "limit": 0, "offset": 0, "errors": errors }),
            )
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_read_as_the_form_sends_it() {
        let search = Search::read(
            "service=shop&operation=all&tags=%7B%22error%22%3A%22true%22%7D&minDuration=1.5ms&maxDuration=&limit=5",
        )
        .expect("it is what the form sends");
        assert_eq!((search.service.as_deref(), search.operation), (Some("shop"), None));
        assert_eq!(search.tags.get("error").map(String::as_str), Some("true"));
        assert_eq!((search.duration_min, search.duration_max, search.limit), (Some(1_500), None, 5));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for query in ["minDuration=5", "tags=error", "limit=many"] {
            Search::read(query).expect_err(query);
        }
    }
}
