//! The traces that arrived, in memory: the newest of them, whole.
//!
//! A span that comes twice is kept twice, as Jaeger's memory does; the page then says so.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::jaeger::Span;

/// Spans that are kept, about 2 kB each. When there are more, the oldest traces go, but never the newest.
const SPANS_MAX: usize = 200_000;

/// The arrived spans; a clone is another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store(Arc<Mutex<Traces>>);

/// Traces by their ids.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    by_id: HashMap<String, Vec<Span>>,
    /// Ids in the order of arrival.
    order: VecDeque<String>,
    spans: usize,
}

impl Store {
    pub(crate) fn add(&self, spans: impl Iterator<Item = Span>) {
        let mut traces = self.lock();
        spans.for_each(|span| traces.add(span, SPANS_MAX));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Traces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traces {
    fn add(&mut self, span: Span, spans_max: usize) {
        let trace = self.by_id.entry(span.trace_id.clone()).or_default();
        if trace.is_empty() {
            self.order.push_back(span.trace_id.clone());
        }
        trace.push(span);
        self.spans += 1;
        while self.spans > spans_max && self.order.len() > 1 {
            let oldest = self.order.pop_front().and_then(|id| self.by_id.remove(&id));
            self.spans -= oldest.map_or(0, |spans| spans.len());
        }
    }

    /// The spans of a trace.
    pub(crate) fn trace(&self, id: &str) -> Option<&[Span]> {
        self.by_id.get(id).map(Vec::as_slice)
    }

    /// All traces, the newest arrival first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[Span]> {
        self.order.iter().rev().filter_map(|id| self.trace(id))
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan};

    use super::*;
    use crate::jaeger;

    fn span(trace: u8) -> Span {
        let span = OtlpSpan { trace_id: vec![trace], ..OtlpSpan::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let batch = ResourceSpans { scope_spans, ..ResourceSpans::default() };
        jaeger::spans(batch).next().expect("one went in")
    }

    #[test]
    fn the_oldest_trace_goes_whole_and_the_newest_stays() {
        let mut traces = Traces::default();
        for trace in [1, 1, 2, 3, 3] {
            traces.add(span(trace), 3);
        }
        let kept: Vec<_> = traces.all().map(|spans| (spans[0].trace_id.as_str(), spans.len())).collect();
        assert_eq!(kept, [("03", 2), ("02", 1)]);
        for _ in 0..5 {
            traces.add(span(4), 3);
        }
        assert_eq!(traces.all().map(<[Span]>::len).collect::<Vec<_>>(), [5]);
    }
}
