//! Just enough of PromQL: which metrics and which labels a query names.

use std::collections::BTreeSet;

/// A list of labels may follow these words.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The names in a query.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) metrics: BTreeSet<String>,
    pub(crate) labels: BTreeSet<String>,
    calls: BTreeSet<String>,
}

impl Query {
    /// Reads a query: a name before a parenthesis is a function, one in braces or after `by` a label, the
    /// rest metrics.
    pub(crate) fn read(text: &str) -> Self {
        let mut query = Self::default();
        let words = words(text);
        let mut braces = 0_u32;
        let mut grouping = false;
        for (at, word) in words.iter().enumerate() {
            let next = words.get(at + 1).map(String::as_str);
            match word.as_str() {
                "{" => braces += 1,
                "}" => braces -= 1,
                ")" => grouping = false,
                name if GROUPING.contains(&name) && next == Some("(") => grouping = true,
                "and" | "or" | "unless" | "offset" | "bool" => {}
                name if !name.starts_with(|c: char| c.is_ascii_alphabetic()) => {}
                name if braces > 0 || grouping => {
                    query.labels.insert(name.to_owned());
                }
                name if next == Some("(") || GROUPING.contains(&next.unwrap_or_default()) => {
                    query.calls.insert(name.to_owned());
                }
                name => {
                    query.metrics.insert(name.to_owned());
                }
            }
        }
        query
    }

    /// Reads the query of a dashboard's variable: `label_values(<query>, <label>)`.
    pub(crate) fn of_variable(text: &str) -> Self {
        let inner = text.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (inner, label) =
            inner.and_then(|inner| inner.rsplit_once(", ")).expect("a query for a label's values");
        let mut query = Self::read(inner);
        query.labels.insert(label.to_owned());
        query
    }

    /// Tells whether the query is a number and asks for no series.
    pub(crate) fn is_constant(&self) -> bool {
        self.metrics.is_empty() && self.calls.len() == 1 && self.calls.contains("vector")
    }
}

/// The labels that a legend (`{{label}}`) or an annotation (`{{ $labels.label }}`) shows.
pub(crate) fn labels_in_template(text: &str) -> BTreeSet<String> {
    let places = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let names = places.map(|place| place.trim().strip_prefix("$labels.").unwrap_or(place.trim()));
    names.filter(|name| !name.starts_with('$')).map(str::to_owned).collect()
}

/// Names and signs, without strings, numbers, durations and variables.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        if first == '"' {
            while let Some(next) = rest.next() {
                match next {
                    '\\' => drop(rest.next()),
                    '"' => break,
                    _ => {}
                }
            }
        } else if first.is_ascii_alphanumeric() || ['_', ':', '$', '.'].contains(&first) {
            let mut word = String::from(first);
            while let Some(next) = rest.next_if(|c| c.is_ascii_alphanumeric() || ['_', ':', '.'].contains(c))
            {
                word.push(next);
            }
            words.push(word);
        } else if !first.is_whitespace() {
            words.push(first.to_string());
        }
    }
    words
}

#[test]
fn a_query_is_told_apart_into_metrics_and_labels() {
    let query = Query::read(
        r#"histogram_quantile(0.95, sum by (job, le) (rate(a_bucket{agent=~"$x", b!=""}[$__rate_interval]))) > 5
           or (c:d:e unless c_total offset 10m) * on (f) up"#,
    );
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(query.metrics, set(&["a_bucket", "c:d:e", "c_total", "up"]));
    assert_eq!(query.labels, set(&["agent", "b", "f", "job", "le"]));
    let variable = Query::of_variable(r#"label_values(a_total{job=~"$job"}, agent)"#);
    assert_eq!((variable.metrics, variable.labels), (set(&["a_total"]), set(&["agent", "job"])));
    assert_eq!(labels_in_template("{{a}} of {{ $labels.b }}: {{ $value | humanize }}"), set(&["a", "b"]));
    assert!(Query::read("vector(30)").is_constant() && !Query::read("rate(30)").is_constant());
}
