//! `docs/observability.md` and the tables of names say the same.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use volery_observability::names::metric::{Instrument, Metric};
use volery_observability::names::{CONVENTIONS, attribute, event, metric, span};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/observability.md");
    fs::read_to_string(path).expect("the page is part of the repository")
}

/// A table as it has to stand on the page.
fn table<T>(head: &str, rows: &[T], row: impl Fn(&T) -> String) -> String {
    let columns = head.matches('|').count() - 1;
    let rule = format!("|{}", " --- |".repeat(columns));
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!("{head}\n{rule}\n{}\n", rows.join("\n"))
}

fn codes(names: &[impl Display]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn check(table: &str) {
    assert!(page().contains(table), "docs/observability.md has to have this table:\n\n{table}");
}

#[test]
fn the_page_has_every_span() {
    check(&table("| span | kind | below | from detail | attributes | says |", span::ALL, |span| {
        let below = if span.parent.is_empty() { String::new() } else { format!("`{}`", span.parent) };
        let below = below.replace(" or ", "` or `").replace(", ", "`, `");
        format!(
            "| `{}` | {} | {below} | `{}` | {} | {} |",
            span.name,
            span.kind,
            span.detail,
            codes(span.attributes),
            span.says
        )
    }));
}

#[test]
fn the_page_has_every_attribute_and_event() {
    check(&table("| attribute | value | says |", attribute::ALL, |attribute| {
        format!("| `{}` | {} | {} |", attribute.key, attribute.value, attribute.says)
    }));
    check(&table("| event | attributes | says |", event::ALL, |event| {
        format!("| `{}` | {} | {} |", event.name, codes(event.attributes), event.says)
    }));
    assert!(page().contains(CONVENTIONS), "the page names the version of the conventions");
}

#[test]
fn the_page_has_every_metric() {
    let row = |metric: &Metric| {
        format!(
            "| `{}` | {} | `{}` | {} | {} | `{}` |",
            metric.name,
            metric.instrument.as_str(),
            metric.unit,
            codes(metric.labels),
            metric.says,
            metric.prometheus_name()
        )
    };
    check(&table("| metric | instrument | unit | labels | says | in Prometheus |", metric::ALL, row));
}

#[test]
fn no_name_is_given_twice() {
    let names = [
        metric::ALL.iter().map(|metric| metric.name).collect::<Vec<_>>(),
        metric::ALL.iter().map(|metric| metric.says).collect(),
        attribute::ALL.iter().map(|attribute| attribute.key).collect(),
        event::ALL.iter().map(|event| event.name).collect(),
        span::ALL.iter().map(|span| span.name).collect(),
    ];
    for mut names in names {
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}

#[test]
fn every_boundary_is_above_the_one_before() {
    for metric in metric::ALL {
        assert!(metric.boundaries.is_sorted_by(|low, high| low < high), "{}", metric.name);
        let is_histogram = metric.instrument == Instrument::Histogram;
        assert_eq!(metric.boundaries.is_empty(), !is_histogram, "{}", metric.name);
    }
}
