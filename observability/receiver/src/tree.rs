//! Spans as a tree in text, the same for every run of a test: no ids and no times.

use std::collections::HashMap;

use crate::span::Span;

/// Shows every trace as a tree, the earliest first, with the attributes of these keys.
///
/// A line has the span's name, its kind unless it is internal, `ERROR` if it is one, its attributes, its
/// events as `!name` and its links as `-> name of the other span`. Siblings stand in the order of their
/// begin, then of their names. Ids are replaced by names, so that the text of a golden trace stays the same.
#[must_use]
pub fn tree(spans: &[Span], keys: &[&str]) -> String {
    let names: HashMap<_, _> = spans
        .iter()
        .map(|span| ((span.trace_id.as_str(), span.span_id.as_str()), span.name.as_str()))
        .collect();
    let mut roots: Vec<&Span> = spans
        .iter()
        .filter(|span| !names.contains_key(&(span.trace_id.as_str(), span.parent_id.as_str())))
        .collect();
    in_order(&mut roots);
    let mut text = String::new();
    for root in roots {
        branch(&mut text, spans, &names, keys, root, 0);
    }
    text
}

fn branch(
    text: &mut String,
    spans: &[Span],
    names: &HashMap<(&str, &str), &str>,
    keys: &[&str],
    span: &Span,
    depth: usize,
) {
    line(text, names, keys, span, depth);
    let is_child = |other: &&Span| other.trace_id == span.trace_id && other.parent_id == span.span_id;
    let mut children: Vec<&Span> = spans.iter().filter(is_child).collect();
    in_order(&mut children);
    for child in children {
        branch(text, spans, names, keys, child, depth + 1);
    }
}

fn line(text: &mut String, names: &HashMap<(&str, &str), &str>, keys: &[&str], span: &Span, depth: usize) {
    let mut line = format!("{}{}", "  ".repeat(depth), span.name);
    if span.kind != "internal" {
        line.push_str(&format!(" ({})", span.kind));
    }
    if span.status == "error" {
        line.push_str(" ERROR");
    }
    for key in keys {
        if let Some(value) = span.attributes.get(*key) {
            line.push_str(&format!(" {key}={value}"));
        }
    }
    for event in &span.events {
        line.push_str(&format!(" !{}", event.name));
    }
    let mut links: Vec<&str> = span
        .links
        .iter()
        .map(|link| {
            names.get(&(link.trace_id.as_str(), link.span_id.as_str())).copied().unwrap_or("(elsewhere)")
        })
        .collect();
    links.sort_unstable();
    for link in links {
        line.push_str(&format!(" -> {link}"));
    }
    text.push_str(&line);
    text.push('\n');
}

fn in_order(spans: &mut [&Span]) {
    spans.sort_by(|a, b| (a.start_ns, a.end_ns, &a.name).cmp(&(b.start_ns, b.end_ns, &b.name)));
}
