use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use proptest::prelude::*;

use super::*;

fn key(span: u64) -> SpanKey {
    SpanKey { trace: 1, span }
}

/// A span that began at its number, in seconds, as the log is to have it.
fn about(span: u64, parent: u64) -> OpenSpan {
    let name = span.to_string();
    let start_us = span * 1_000_000;
    OpenSpan {
        key: key(span),
        parent,
        start_us,
        name,
        is_attempt: false,
        base: Arc::default(),
        attributes: Vec::new(),
    }
}

fn time(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn data(span: u64) -> SpanData {
    let state = TraceState::default();
    let (trace, id) = (TraceId::from(1), SpanId::from(span));
    SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, state),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.to_string().into(),
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: opentelemetry::InstrumentationScope::default(),
    }
}

/// The names of what comes out.
fn out(work: impl FnOnce(&mut dyn FnMut(SpanData))) -> Vec<String> {
    let mut names = Vec::new();
    work(&mut |span| names.push(span.name.into_owned()));
    names
}

/// A root 1 with a chain of open spans below it, up to 3.
fn chain() -> Open {
    let open = Open::new(100);
    open.describe(0, about(1, 0));
    open.begun(key(2), 1);
    open.describe(0, about(2, 1));
    open.begun(key(3), 2);
    open
}

/// The notes of the spans that began until then.
fn to_note(open: &Open, second: u64) -> Vec<u64> {
    let mut told = Vec::new();
    let spans = open.to_note(0, time(second), |span| told.push(span));
    assert_eq!(spans.len(), told.len());
    spans.iter().map(|span| span.key.span).collect()
}

#[test]
fn what_ended_below_an_open_span_goes_out_after_it() {
    let open = chain();
    for span in [3, 2] {
        assert_eq!(out(|to| open.ended(key(span), data(span), to)), [""; 0]);
    }
    // A span that begins below a span that waits itself.
    open.begun(key(4), 3);
    assert_eq!(out(|to| open.ended(key(4), data(4), to)), [""; 0]);
    assert_eq!(out(|to| open.ended(key(1), data(1), to)), ["1", "2", "3", "4"]);
    assert!(open.shard(1).is_empty(), "nothing is kept");
    assert_eq!(open.waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn nothing_waits_for_a_span_that_the_log_has() {
    let open = chain();
    assert_eq!(out(|to| open.ended(key(3), data(3), to)), [""; 0]);
    assert_eq!(to_note(&open, 1), [1], "2 began later");
    assert_eq!(out(|to| open.noted(key(1), to)), [""; 0], "2 is in no log");
    assert_eq!(to_note(&open, 9), [2]);
    assert_eq!(open.to_note(1, time(9), drop), [], "it is of another runtime");
    assert_eq!(out(|to| open.noted(key(2), to)), ["3"]);
    open.begun(key(4), 2);
    assert_eq!(out(|to| open.ended(key(4), data(4), to)), ["4"]);
    open.describe(0, about(5, 2));
    assert_eq!(out(|to| open.ended(key(5), data(5), to)), ["5"]);
    assert_eq!(to_note(&open, 9), [0; 0], "it has ended");
}

#[test]
fn a_span_that_ends_while_it_is_noted_goes_after_its_parent_or_once_that_is_in_the_log() {
    let open = chain();
    assert_eq!(to_note(&open, 9), [1, 2], "parents come first");
    assert_eq!(out(|to| open.ended(key(2), data(2), to)), [""; 0]);
    assert_eq!(out(|to| open.noted(key(1), to)), ["2"]);
    assert_eq!(out(|to| open.noted(key(2), to)), [""; 0]);
}

#[test]
fn what_is_not_ours_does_not_wait() {
    let open = chain();
    let other = SpanKey { trace: 2, span: 9 };
    open.begun(other, 8);
    assert_eq!(out(|to| open.ended(other, data(9), to)), ["9"]);
    open.begun(key(9), 8);
    assert_eq!(out(|to| open.ended(key(9), data(9), to)), ["9"]);
}

#[test]
fn no_more_wait_than_may() {
    let open = Open::new(1);
    open.describe(0, about(1, 0));
    for span in [2, 3] {
        open.begun(key(span), 1);
    }
    assert_eq!(out(|to| open.ended(key(2), data(2), to)), [""; 0]);
    assert_eq!(out(|to| open.ended(key(3), data(3), to)), ["3"]);
    assert_eq!(out(|to| open.release(to)), ["2"]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(u64),
    End(u64),
    Note(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..3, 1_u64..12).prop_map(|(step, span)| match step {
        0 => Step::Begin(span),
        1 => Step::End(span),
        _ => Step::Note(span),
    });
    proptest::collection::vec(step, 0..80)
}

proptest! {
    /// After a cut at any step, every exported span has its parent exported, or in the log.
    #[test]
    fn a_parent_is_out_or_in_the_log_before_its_child_is_out(steps in steps()) {
        let spans = Open::new(1_000);
        spans.describe(0, about(1, 0));
        // The parent of n is n / 2.
        let (mut open, mut begun) = (vec![1], vec![1]);
        let (mut in_log, mut gone): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
        for step in steps {
            let mut told = Vec::new();
            let mut take = |span: SpanData| told.push(span.name.parse().unwrap_or_default());
            match step {
                // Of a trace that is over nothing is known.
                Step::Begin(span)
                    if open.contains(&1) && !begun.contains(&span) && begun.contains(&(span / 2)) =>
                {
                    spans.begun(key(span), span / 2);
                    spans.describe(0, about(span, span / 2));
                    open.push(span);
                    begun.push(span);
                }
                Step::End(span) if open.contains(&span) => {
                    open.retain(|other| *other != span);
                    spans.ended(key(span), data(span), take);
                }
                Step::Note(second) => {
                    for span in to_note(&spans, second) {
                        in_log.push(span);
                        spans.noted(key(span), &mut take);
                    }
                }
                _ => {}
            }
            for span in told {
                let parent = span / 2;
                prop_assert!(parent == 0 || gone.contains(&parent) || in_log.contains(&parent), "{span}");
                prop_assert!(!gone.contains(&span), "{span} went twice");
                gone.push(span);
            }
        }
    }
}
