//! Spans as a tree in text that does not depend on time: siblings that look the same are one line with their
//! number.
//!
//! For golden traces of runs whose order is not fixed, such as those of a process in real time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::span::Span;

/// Shows every trace as a folded tree, in the order of names.
///
/// A line has the number of spans if there are several, the name, the kind unless it is internal, `ERROR` if
/// it is one, and the names of what it links to, each once. Spans whose name begins with one of `left_out`
/// are not shown, nor is what stands below them: those that are there only if something took long.
#[must_use]
pub fn folded(spans: &[Span], left_out: &[&str]) -> String {
    let shown: Vec<&Span> =
        spans.iter().filter(|span| !left_out.iter().any(|prefix| span.name.starts_with(prefix))).collect();
    let names: HashMap<_, _> = shown.iter().map(|span| (id(span), span.name.as_str())).collect();
    let mut children: HashMap<(&str, &str), Vec<&Span>> = HashMap::new();
    let mut roots = Vec::new();
    for span in &shown {
        let parent = (span.trace_id.as_str(), span.parent_id.as_str());
        if names.contains_key(&parent) {
            children.entry(parent).or_default().push(span);
        } else if span.parent_id.is_empty() {
            roots.push(*span);
        }
    }
    let mut text = String::new();
    write(&mut text, fold(&roots, &children, &names), 0);
    text
}

/// Subtrees that look the same, with their number.
type Folded = BTreeMap<Look, usize>;

/// The shape of one subtree.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    line: String,
    below: Folded,
}

fn fold(
    siblings: &[&Span],
    children: &HashMap<(&str, &str), Vec<&Span>>,
    names: &HashMap<(&str, &str), &str>,
) -> Folded {
    let mut folded = Folded::new();
    for span in siblings {
        let below = children.get(&id(span)).map(Vec::as_slice).unwrap_or_default();
        let look = Look { line: line(span, names), below: fold(below, children, names) };
        *folded.entry(look).or_default() += 1;
    }
    folded
}

fn line(span: &Span, names: &HashMap<(&str, &str), &str>) -> String {
    let mut line = span.name.clone();
    if span.kind != "internal" {
        line.push_str(&format!(" ({})", span.kind));
    }
    if span.status == "error" {
        line.push_str(" ERROR");
    }
    let linked: BTreeSet<&str> = span
        .links
        .iter()
        .map(|link| {
            names.get(&(link.trace_id.as_str(), link.span_id.as_str())).copied().unwrap_or("(elsewhere)")
        })
        .collect();
    for name in linked {
        line.push_str(&format!(" -> {name}"));
    }
    line
}

fn write(text: &mut String, folded: Folded, depth: usize) {
    for (Look { line, below }, count) in folded {
        let times = if count > 1 { format!("{count} × ") } else { String::new() };
        text.push_str(&format!("{}{times}{line}\n", "  ".repeat(depth)));
        write(text, below, depth + 1);
    }
}

fn id(span: &Span) -> (&str, &str) {
    (&span.trace_id, &span.span_id)
}
