//! The laws of every trace. Each law names the spans that break it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::span::Span;

/// A law that does not hold, in words, once per breach.
type Broken = Vec<String>;

/// Every span's parent is there as well, in its trace. Parents in `remote` belong to somebody else.
///
/// # Errors
/// Spans whose parent is missing.
pub fn no_broken_parents(spans: &[Span], remote: &[&str]) -> Result<(), Broken> {
    let there: BTreeSet<_> = spans.iter().map(|span| (&span.trace_id, &span.span_id)).collect();
    let broken = spans.iter().filter(|span| {
        !span.parent_id.is_empty()
            && !remote.contains(&span.parent_id.as_str())
            && !there.contains(&(&span.trace_id, &span.parent_id))
    });
    none(broken.map(|span| format!("`{}` has no parent {}", span.name, span.parent_id)).collect())
}

/// Every trace has exactly one root: a span without a parent, or below one in `remote`.
///
/// # Errors
/// Traces with none or several.
pub fn one_root_per_trace(spans: &[Span], remote: &[&str]) -> Result<(), Broken> {
    let mut roots: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for span in spans {
        let of_trace = roots.entry(&span.trace_id).or_default();
        if span.parent_id.is_empty() || remote.contains(&span.parent_id.as_str()) {
            of_trace.push(&span.name);
        }
    }
    let broken = roots.into_iter().filter(|(_, roots)| roots.len() != 1);
    none(broken.map(|(trace, roots)| format!("trace {trace} has the roots {roots:?}")).collect())
}

/// No span ends before it begins, and none begins before its parent or ends after it.
///
/// # Errors
/// Spans that stick out.
pub fn durations_nest(spans: &[Span]) -> Result<(), Broken> {
    let by_id: HashMap<_, _> = spans.iter().map(|span| ((&span.trace_id, &span.span_id), span)).collect();
    let mut broken = Broken::new();
    for span in spans {
        if span.end_ns < span.start_ns {
            broken.push(format!("`{}` ends before it begins", span.name));
        }
        let Some(parent) = by_id.get(&(&span.trace_id, &span.parent_id)) else { continue };
        if span.start_ns < parent.start_ns {
            broken.push(format!("`{}` begins before `{}`", span.name, parent.name));
        }
        if span.end_ns > parent.end_ns {
            broken.push(format!("`{}` ends after `{}`", span.name, parent.name));
        }
    }
    none(broken)
}

/// No span arrived twice.
///
/// # Errors
/// Spans that did.
pub fn no_span_twice(spans: &[Span]) -> Result<(), Broken> {
    let mut seen = BTreeSet::new();
    let again = spans.iter().filter(|span| !seen.insert((&span.trace_id, &span.span_id)));
    none(again.map(|span| format!("`{}` arrived twice", span.name)).collect())
}

/// Every link points to a span that arrived, or to one in `elsewhere`.
///
/// # Errors
/// Links into nothing.
pub fn links_resolve(spans: &[Span], elsewhere: &[&str]) -> Result<(), Broken> {
    let there: BTreeSet<_> = spans.iter().map(|span| (&span.trace_id, &span.span_id)).collect();
    let mut broken = Broken::new();
    for span in spans {
        for link in &span.links {
            if !there.contains(&(&link.trace_id, &link.span_id))
                && !elsewhere.contains(&link.span_id.as_str())
            {
                broken.push(format!("`{}` links to {}, which is not there", span.name, link.span_id));
            }
        }
    }
    none(broken)
}

/// A span that another one of its trace links to had ended before that began, and so had the spans above it:
/// by a microsecond at least, for that is what Jaeger's critical path asks for.
///
/// Batches and joins are left out: their inputs come while they are open. It is no law for spans of no
/// length, which begin and end together with others.
///
/// # Errors
/// Links to what had not ended.
pub fn causes_end_first(spans: &[Span]) -> Result<(), Broken> {
    let by_id: HashMap<_, _> = spans.iter().map(|span| ((&span.trace_id, &span.span_id), span)).collect();
    let above = |span: &Span| {
        let mut chain = vec![span.span_id.clone()];
        let mut at = by_id.get(&(&span.trace_id, &span.parent_id));
        while let Some(parent) = at {
            chain.push(parent.span_id.clone());
            at = by_id.get(&(&parent.trace_id, &parent.parent_id));
        }
        chain
    };
    let mut broken = Broken::new();
    let gathers = |span: &&Span| span.name.starts_with("batch ") || span.name.starts_with("join ");
    for span in spans.iter().filter(|span| !gathers(span)) {
        let common = above(span);
        for link in &span.links {
            let mut cause = by_id.get(&(&link.trace_id, &link.span_id));
            while let Some(part) = cause.filter(|part| !common.contains(&part.span_id)) {
                if part.trace_id == span.trace_id && part.end_ns / 1_000 >= span.start_ns / 1_000 {
                    broken.push(format!("`{}` ends after `{}` began, which it led to", part.name, span.name));
                }
                cause = by_id.get(&(&part.trace_id, &part.parent_id));
            }
        }
    }
    none(broken)
}

/// All laws at once, for traces without remote parents.
///
/// # Panics
/// When one does not hold, with every breach.
pub fn assert_all(spans: &[Span]) {
    let laws = [
        no_span_twice(spans),
        no_broken_parents(spans, &[]),
        one_root_per_trace(spans, &[]),
        durations_nest(spans),
        links_resolve(spans, &[]),
    ];
    let broken: Broken = laws.into_iter().filter_map(Result::err).flatten().collect();
    assert!(broken.is_empty(), "traces break laws:\n  {}", broken.join("\n  "));
}

fn none(broken: Broken) -> Result<(), Broken> {
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, start_ns: u64, end_ns: u64) -> Span {
        Span {
            trace_id: "t".to_owned(),
            span_id: id.to_owned(),
            parent_id: parent.to_owned(),
            trace_state: String::new(),
            name: id.to_owned(),
            kind: "internal",
            start_ns,
            end_ns,
            attributes: BTreeMap::new(),
            events: Vec::new(),
            links: Vec::new(),
            links_dropped: 0,
            status: "unset",
            status_message: String::new(),
            resource: std::sync::Arc::default(),
            scope: String::new(),
        }
    }

    #[test]
    fn a_whole_trace_keeps_every_law() {
        assert_all(&[span("root", "", 1, 9), span("child", "root", 1, 9)]);
    }

    #[test]
    fn each_breach_is_told() {
        let orphan = [span("root", "", 1, 9), span("orphan", "gone", 2, 3)];
        assert!(no_broken_parents(&orphan, &[]).is_err());
        assert!(no_broken_parents(&orphan, &["gone"]).is_ok());
        assert!(one_root_per_trace(&orphan, &["gone"]).is_err());
        assert!(one_root_per_trace(&[span("a", "", 1, 2), span("b", "", 1, 2)], &[]).is_err());
        for (start, end) in [(0, 5), (5, 10), (6, 5)] {
            assert!(durations_nest(&[span("root", "", 1, 9), span("child", "root", start, end)]).is_err());
        }
        assert!(no_span_twice(&[span("root", "", 1, 9), span("root", "", 1, 9)]).is_err());
        let mut linked = span("root", "", 1, 9);
        let link = crate::Link { trace_id: "t".into(), span_id: "x".into(), attributes: BTreeMap::new() };
        linked.links.push(link);
        assert!(links_resolve(std::slice::from_ref(&linked), &[]).is_err());
        assert!(links_resolve(&[linked], &["x"]).is_ok());
    }
}
