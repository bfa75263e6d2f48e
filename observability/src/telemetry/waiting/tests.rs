use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use proptest::prelude::*;

use super::*;

fn key(span: u64) -> SpanKey {
    SpanKey { trace: 1, span }
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
fn chain() -> Waiting {
    let waiting = Waiting::new(100);
    waiting.root(key(1));
    waiting.begun(key(2), 1);
    waiting.begun(key(3), 2);
    waiting
}

#[test]
fn what_ended_below_an_open_span_goes_out_after_it() {
    let waiting = chain();
    for span in [3, 2] {
        assert_eq!(out(|to| waiting.ended(key(span), data(span), to)), [""; 0]);
    }
    // One that begins below a span that waits itself.
    waiting.begun(key(4), 3);
    assert_eq!(out(|to| waiting.ended(key(4), data(4), to)), [""; 0]);
    assert_eq!(out(|to| waiting.ended(key(1), data(1), to)), ["1", "2", "3", "4"]);
    assert!(waiting.shard(1).is_empty(), "nothing is kept");
    assert_eq!(waiting.count.load(Ordering::Relaxed), 0);
}

#[test]
fn nothing_waits_for_a_span_that_the_log_has() {
    let waiting = chain();
    assert_eq!(out(|to| waiting.ended(key(3), data(3), to)), [""; 0]);
    assert!(waiting.recording(key(1)));
    assert_eq!(out(|to| waiting.settled(key(1), true, to)), [""; 0], "2 is in no log");
    assert!(waiting.recording(key(2)));
    assert_eq!(out(|to| waiting.settled(key(2), true, to)), ["3"]);
    waiting.begun(key(4), 2);
    assert_eq!(out(|to| waiting.ended(key(4), data(4), to)), ["4"]);
    assert!(!waiting.recording(key(4)), "it has ended");
}

#[test]
fn a_span_that_ends_while_it_is_recorded_waits_for_the_log() {
    for (recorded, now) in [(true, vec!["2"]), (false, vec![])] {
        let waiting = chain();
        assert!(waiting.recording(key(1)));
        assert_eq!(out(|to| waiting.settled(key(1), recorded, to)), [""; 0]);
        assert!(waiting.recording(key(2)));
        assert_eq!(out(|to| waiting.ended(key(2), data(2), to)), [""; 0]);
        assert_eq!(out(|to| waiting.settled(key(2), true, to)), now, "{recorded}");
    }
}

#[test]
fn what_is_not_ours_does_not_wait() {
    let waiting = chain();
    let other = SpanKey { trace: 2, span: 9 };
    waiting.begun(other, 8);
    assert_eq!(out(|to| waiting.ended(other, data(9), to)), ["9"]);
    waiting.begun(key(9), 8);
    assert_eq!(out(|to| waiting.ended(key(9), data(9), to)), ["9"]);
}

#[test]
fn no_more_wait_than_may() {
    let waiting = Waiting::new(1);
    waiting.root(key(1));
    for span in [2, 3] {
        waiting.begun(key(span), 1);
    }
    assert_eq!(out(|to| waiting.ended(key(2), data(2), to)), [""; 0]);
    assert_eq!(out(|to| waiting.ended(key(3), data(3), to)), ["3"]);
    assert_eq!(out(|to| waiting.release(to)), ["2"]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(u64),
    End(u64),
    Record(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..3, 1_u64..12).prop_map(|(step, span)| match step {
        0 => Step::Begin(span),
        1 => Step::End(span),
        _ => Step::Record(span),
    });
    proptest::collection::vec(step, 0..80)
}

proptest! {
    /// Whatever is cut off after any number of steps, what is out has its parent out, or in the log.
    #[test]
    fn a_parent_is_out_or_in_the_log_before_its_child_is_out(steps in steps()) {
        let waiting = Waiting::new(1_000);
        waiting.root(key(1));
        // The parent of n is n / 2.
        let (mut open, mut begun) = (vec![1], vec![1]);
        let (mut recorded, mut gone): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
        for step in steps {
            let mut told = Vec::new();
            let take = |span: SpanData| told.push(span.name.parse().unwrap_or_default());
            match step {
                // Of a trace that is over nothing is known.
                Step::Begin(span)
                    if open.contains(&1) && !begun.contains(&span) && begun.contains(&(span / 2)) =>
                {
                    waiting.begun(key(span), span / 2);
                    open.push(span);
                    begun.push(span);
                }
                Step::End(span) if open.contains(&span) => {
                    open.retain(|other| *other != span);
                    waiting.ended(key(span), data(span), take);
                }
                Step::Record(span) if waiting.recording(key(span)) => {
                    recorded.push(span);
                    waiting.settled(key(span), true, take);
                }
                _ => {}
            }
            for span in told {
                let parent = span / 2;
                prop_assert!(parent == 0 || gone.contains(&parent) || recorded.contains(&parent), "{span}");
                prop_assert!(!gone.contains(&span), "{span} went twice");
                gone.push(span);
            }
        }
    }
}
