//! Rules of the traces of runs, by what reaches a receiver.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Task, Poll, Waker};

use opentelemetry::KeyValue;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState, Tracer, TracerProvider};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use volery_observability::trace::{
    Detail, Ending, Input, JobStart, OnExported, OpenSpan, PayloadRecording, Propagation, Publish, RunStart,
    RunTrace, SpanKey, TraceSettings,
};
use volery_observability::{Environment, Otlp, Providers, Sampling, Telemetry, init};
use volery_otlp_receiver::{Receiver, Span, laws, tree};

use crate::otlp::LIMIT;
use crate::scenario::{at, publish, run_end, small_job};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn no_inputs() -> [Input<'static, &'static str>; 0] {
    []
}

fn start(receiver: &Receiver, sampling: Sampling, settings: TraceSettings) -> Telemetry {
    let builder = init("shop").environment(Environment::empty()).sampling(sampling).traces(settings);
    let otlp = Otlp::http().endpoint(receiver.http_endpoint());
    builder.otlp(otlp).start().expect("the endpoint is well formed")
}

/// Runs `test` with spans, and returns what arrived.
fn seen(sampling: Sampling, settings: TraceSettings, test: impl FnOnce(&Telemetry)) -> Vec<Span> {
    let receiver = Receiver::start();
    let telemetry = start(&receiver, sampling, settings);
    test(&telemetry);
    let report = telemetry.shutdown_blocking(LIMIT);
    assert!(report.is_complete(), "{report}");
    receiver.spans()
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans
        .iter()
        .find(|span| span.name == name)
        .unwrap_or_else(|| panic!("no `{name}` in\n{}", tree(spans, &[])))
}

#[test]
fn a_run_that_is_not_sampled_builds_nothing_and_says_so_to_whoever_comes_next() {
    let spans = seen(Sampling::Never, TraceSettings::default(), |telemetry| {
        let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "quiet", at(0)));
        assert!(!run.is_sampled());
        let order = publish(&run, "Order", 0, 1);
        assert!(order.traceparent().ends_with("-00"));
        // Nobody looks at the inputs.
        let inputs =
            std::iter::from_fn(|| -> Option<Input<'_, &str>> { panic!("the inputs were looked at") });
        assert!(run.job(&JobStart::new("settle", &"job-1", at(1)), inputs).is_none());
        let tracer = telemetry.tracer_provider().expect("spans are exported").tracer("service");
        run.scope().call(|| drop(tracer.start("of the service")));
        let propagation = run.scope().propagation().expect("there is a trace, though it is not recorded");
        assert_eq!((propagation.trace_id(), propagation.is_sampled()), (order.trace_id(), false));
        run.end(run_end(9));
        // A run that goes on after a restart is not sampled either.
        let again = telemetry.providers().spans().resume(RunStart::new(&"run-1", "quiet", at(0)), &order, 2);
        assert!(!again.is_sampled());
    });
    assert_eq!(spans, []);
}

#[test]
fn a_big_run_goes_on_in_linked_traces_with_the_same_decision() {
    let settings = TraceSettings::default().spans_max(10).always_sample("big");
    let spans = seen(Sampling::Never, settings, |telemetry| {
        let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "big", at(0)));
        // A job that is open over a roll-over keeps its trace open, and whole.
        let job = run.job(&JobStart::new("slow", &"job-1", at(0)), no_inputs()).expect("the run is sampled");
        for number in 0..30 {
            publish(&run, "Order", number, number + 1);
        }
        let attempt = job.attempt(1, 0, at(40));
        attempt.end(&Ending::Ok, at(45));
        job.end(&Ending::Ok, at(50));
        run.end(run_end(60));
    });
    laws::assert_all(&spans);
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent_id.is_empty()).collect();
    assert_eq!(roots.len(), 4, "{}", tree(&spans, &[]));
    assert_eq!(spans.iter().filter(|span| span.name == "publish Order").count(), 30);
    for (part, name) in (1..).zip(["run big", "run big (part 2)", "run big (part 3)", "run big (part 4)"]) {
        let root = named(&spans, name);
        assert_eq!(root.attribute("volery.run.part"), part.to_string());
        assert_eq!(root.attribute("volery.run.id"), "run-1");
        assert_eq!(root.attribute("volery.run.status"), if part == 4 { "completed" } else { "rolled_over" });
        if part < 4 {
            let next = &root.events_named("rolled_over").next().expect("it says where it goes on").attributes;
            let next = &next["volery.next.trace_id"];
            let begun = spans.iter().find(|span| span.name == "run started" && span.trace_id == *next);
            assert_eq!(begun.expect("the next part began").links[0].span_id, root.span_id);
        }
    }
    assert_eq!(
        named(&spans, "run big").end_ns,
        named(&spans, "job slow").end_ns,
        "the root waits for its job"
    );
}

#[test]
fn a_trace_never_grows_without_end_though_one_job_does() {
    let settings = TraceSettings::default().spans_max(10);
    let spans = seen(Sampling::Always, settings, |telemetry| {
        let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "stubborn", at(0)));
        let job = run.job(&JobStart::new("retry", &"job-1", at(0)), no_inputs()).expect("the run is sampled");
        for number in 1..=100 {
            job.attempt(number, 0, at(1)).end(&Ending::Panicked("again"), at(2));
        }
        job.end(&Ending::Ok, at(3));
        run.end(run_end(4));
    });
    laws::assert_all(&spans);
    assert_eq!(spans.len(), 40);
    assert_eq!(named(&spans, "run stubborn").attribute("volery.spans.suppressed"), "63");
}

#[test]
fn a_run_that_is_published_to_after_its_end_has_another_part() {
    let spans = seen(Sampling::Always, TraceSettings::default(), |telemetry| {
        let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "late", at(0)));
        run.end(run_end(1));
        run.end(run_end(2));
        publish(&run, "Order", 3, 4);
        run.end(run_end(5));
    });
    laws::assert_all(&spans);
    let expected =
        "run late\n  run started\nrun late (part 2)\n  run started -> run late\n  publish Order (producer)\n";
    assert_eq!(tree(&spans, &[]), expected);
}

#[test]
fn what_nobody_ends_is_abandoned_at_its_last_known_time() {
    let spans = seen(Sampling::Always, TraceSettings::default(), |telemetry| {
        let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "left", at(0)));
        let job =
            run.job(&JobStart::new("settle", &"job-1", at(1)), no_inputs()).expect("the run is sampled");
        let attempt = job.attempt(1, 0, at(2));
        attempt.step("hook", at(2), at(7));
        drop(job);
        drop(attempt);
        drop(run);
    });
    laws::assert_all(&spans);
    for name in ["job settle", "attempt settle"] {
        assert_eq!(named(&spans, name).attribute("volery.outcome"), "abandoned");
        assert_eq!(named(&spans, name).end_ns, named(&spans, "hook").end_ns);
    }
    assert_eq!(named(&spans, "run left").attribute("volery.run.status"), "abandoned");
}

#[test]
fn a_level_of_detail_leaves_spans_out_and_keeps_the_tree_whole() {
    let checks = [
        (TraceSettings::default().detail(Detail::Run), "run w\n  run started\n", "6"),
        (
            TraceSettings::default().workflow_detail("w", Detail::Job),
            "run w\n  run started\n  publish Order (producer)\n  job a -> publish Order\n    attempt a (consumer)\n  \
             job b -> publish Order\n    attempt b (consumer)\n",
            "2",
        ),
        (
            TraceSettings::default().agent_detail("a", Detail::Run),
            "run w\n  run started\n  publish Order (producer)\n  job b -> publish Order\n    attempt b (consumer)\n      \
             evaluate b\n",
            "3",
        ),
    ];
    for (settings, expected, suppressed) in checks {
        let spans = seen(Sampling::Always, settings, |telemetry| {
            let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "w", at(0)));
            let order = publish(&run, "Order", 0, 1);
            if expected.contains("job b") {
                small_job(&run, "a", &order, 2, &Ending::Ok);
                small_job(&run, "b", &order, 3, &Ending::Ok);
            } else {
                small_job(&run, "a", &order, 2, &Ending::Ok);
                let job =
                    run.job(&JobStart::new("b", &"job", at(3)), no_inputs()).expect("the run is sampled");
                job.attempt(1, 0, at(3)).end(&Ending::Ok, at(4));
            }
            run.end(run_end(20));
        });
        laws::assert_all(&spans);
        assert_eq!(tree(&spans, &[]), expected);
        assert_eq!(named(&spans, "run w").attribute("volery.spans.suppressed"), suppressed, "{expected}");
    }
}

#[test]
fn a_callers_trace_goes_on_in_the_run_and_leaves_it_again() {
    let spans = seen(Sampling::Never, TraceSettings::default(), |telemetry| {
        let caller = Propagation::parse(PARENT, Some("rojo=1,congo=2")).expect("it is well formed");
        let start = RunStart { parent: Some(&caller), ..RunStart::new(&"run-1", "called", at(0)) };
        let run = telemetry.providers().spans().run(start);
        let order = publish(&run, "Order", 0, 1);
        assert_eq!(order.trace_id(), caller.trace_id());
        assert!(order.tracestate().ends_with(",rojo=1,congo=2"), "{}", order.tracestate());
        assert!(order.tracestate().starts_with("volery="), "{}", order.tracestate());
        run.end(run_end(2));
    });
    let remote = ["00f067aa0ba902b7"];
    laws::no_broken_parents(&spans, &remote).expect("the caller's span is the caller's");
    laws::one_root_per_trace(&spans, &remote).expect("one root");
    assert_eq!(named(&spans, "run called").parent_id, remote[0], "sampled because the caller is");
}

#[test]
fn a_run_that_goes_on_after_a_restart_links_to_the_trace_that_was_cut() {
    let spans = seen(Sampling::Never, TraceSettings::default().always_sample("w"), |telemetry| {
        let spans = telemetry.providers().spans();
        let run = spans.run(RunStart::new(&"run-1", "w", at(0)));
        let order = publish(&run, "Order", 0, 1);
        run.end(run_end(2));
        // The text comes back from the log.
        let order = Propagation::parse(&order.traceparent(), Some(&order.tracestate())).expect("it is ours");
        let again = spans.resume(RunStart::new(&"run-1", "w", at(10)), &order, 2);
        assert_ne!(again.propagation().map(|propagation| propagation.trace_id()), Some(order.trace_id()));
        again.end(run_end(20));
    });
    laws::assert_all(&spans);
    let expected =
        "run w\n  run started\n  publish Order (producer)\nrun w\n  resume run -> run w\n  run started\n";
    assert_eq!(tree(&spans, &[]), expected);
    assert_eq!(named(&spans, "resume run").attribute("volery.run.attempt"), "2");
}

#[test]
fn a_trace_that_a_kill_cut_off_gets_its_root_and_its_open_spans_afterwards() {
    let receiver = Receiver::start();
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = {
        let heard = Arc::clone(&heard);
        Arc::new(move |span| heard.lock().expect("nobody panics").push(span)) as OnExported
    };
    let stored: Vec<String> = {
        let telemetry = start(&receiver, Sampling::Always, TraceSettings::default());
        let spans = telemetry.providers().spans();
        let run = spans.run(RunStart::new(&"run-1", "cut", at(0)));
        let order = publish(&run, "Order", 0, 1);
        let inputs = [Input { id: "Order-1", kind: "Order", propagation: Some(order) }];
        let job = run.job(&JobStart::new("settle", &"job-1", at(1)), inputs).expect("the run is sampled");
        let attempt = job.attempt(1, 0, at(2));
        attempt.step("hook", at(2), at(9));
        let call = attempt.evaluate("settle", at(9));
        let tracer = telemetry.tracer_provider().expect("spans are exported").tracer("the service");
        let query = tracer.start_with_context("query", call.context());
        drop(query);
        assert!(telemetry.flush_blocking(LIMIT).is_complete());
        assert_eq!(receiver.spans(), [], "nothing goes out before what is above it");
        assert_eq!(spans.to_note(at(500), &mut |_| Arc::clone(&hears)), [], "nothing has been open for long");
        let records = spans.to_note(at(1_500), &mut |_| Arc::clone(&hears));
        for record in &records {
            spans.noted(record.key());
        }
        assert!(telemetry.flush_blocking(LIMIT).is_complete());
        // The process dies: nothing is ended, nothing is dropped.
        std::mem::forget((run, job, attempt, call));
        records.iter().map(ToString::to_string).collect()
    };
    assert!(laws::no_broken_parents(&receiver.spans(), &[]).is_err(), "the trace is cut");

    let telemetry = start(&receiver, Sampling::Never, TraceSettings::default());
    let spans = telemetry.providers().spans();
    let records: Vec<OpenSpan> = stored.iter().map(|text| text.parse().expect("it is ours")).collect();
    for record in &records {
        assert!(spans.close_interrupted(record, at(2_000), Arc::clone(&hears)));
    }
    assert!(telemetry.shutdown_blocking(LIMIT).is_complete());
    let keys: Vec<SpanKey> = records.iter().map(OpenSpan::key).collect();
    assert_eq!(*heard.lock().expect("nobody panics"), keys, "each is told of once");
    let spans = receiver.spans();
    laws::no_broken_parents(&spans, &[]).expect("every parent is there");
    laws::no_span_twice(&spans).expect("no span is there twice");
    let expected = "\
run cut ERROR
  run started
  publish Order (producer)
  job settle ERROR
    attempt settle (consumer) ERROR
      hook
      evaluate settle ERROR
        query
";
    assert_eq!(tree(&spans, &[]), expected);
    assert_eq!(named(&spans, "run cut").attribute("volery.run.status"), "interrupted");
    for (name, attribute, value) in [
        ("run cut", "volery.run.id", "run-1"),
        ("run cut", "volery.run.part", "1"),
        ("job settle", "volery.job.id", "job-1"),
        ("attempt settle", "volery.attempt", "1"),
        ("evaluate settle", "volery.engine", "settle"),
        ("evaluate settle", "volery.outcome", "interrupted"),
    ] {
        assert_eq!(named(&spans, name).attribute(attribute), value, "{name}");
    }
}

#[test]
fn payloads_are_recorded_only_for_kinds_that_ask_and_only_redacted_and_cut() {
    let redact = |text: &str| text.replace("secret", "***");
    let settings = TraceSettings::default()
        .record_payloads("Order", PayloadRecording::up_to(12).redacted_by(redact))
        .record_payloads("Broken", PayloadRecording::up_to(100).redacted_by(|_| panic!("no redaction")));
    let spans = seen(Sampling::Always, settings, |telemetry| {
        let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "w", at(0)));
        for kind in ["Order", "Broken", "Plain"] {
            let publish = run.publish(&Publish::new(kind, &"id", at(0))).expect("the run is sampled");
            publish.payload(kind, || "a secret and more".to_owned());
            publish.end(at(1));
        }
        run.end(run_end(2));
    });
    assert_eq!(named(&spans, "publish Order").attribute("volery.payload"), "a *** and…");
    assert_eq!(named(&spans, "publish Broken").attribute("volery.payload"), "(the redaction panicked)");
    assert!(!named(&spans, "publish Plain").attributes.contains_key("volery.payload"));
}

/// Polls a future that is ready at once.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits for something"),
    }
}

#[test]
fn an_engine_runs_in_the_context_of_its_call_with_the_allowed_baggage() {
    let settings = TraceSettings::default().allow_baggage("team");
    let spans = seen(Sampling::Always, settings, |telemetry| {
        let start = RunStart { baggage: Some("team=birds,secret=1"), ..RunStart::new(&"run-1", "w", at(0)) };
        let run = telemetry.providers().spans().run(start);
        assert_eq!(run.baggage().as_deref(), Some("team=birds"));
        let job =
            run.job(&JobStart::new("settle", &"job-1", at(0)), no_inputs()).expect("the run is sampled");
        let attempt = job.attempt(1, 0, at(0));
        let call = attempt.evaluate("settle", at(0));
        let tracer = telemetry.tracer_provider().expect("spans are exported").tracer("service");
        let engine = async move {
            let here = opentelemetry::Context::current();
            assert_eq!(here.baggage().get("team").map(ToString::to_string).as_deref(), Some("birds"));
            assert_eq!(here.baggage().len(), 1);
            let builder = tracer.span_builder("of the service").with_start_time(at(1));
            let context = here.with_span(tracer.build_with_context(builder, &here));
            context.span().end_with_timestamp(at(2));
        };
        ready(engine.with_context(call.context().clone()));
        call.end(&Ending::Ok, at(3));
        attempt.end(&Ending::Ok, at(3));
        job.end(&Ending::Ok, at(3));
        run.end(run_end(4));
    });
    laws::assert_all(&spans);
    assert_eq!(named(&spans, "of the service").parent_id, named(&spans, "evaluate settle").span_id);
}

#[test]
fn a_job_over_several_runs_has_a_trace_of_its_own_that_each_run_names() {
    let spans = seen(Sampling::Never, TraceSettings::default().always_sample("a"), |telemetry| {
        let spans = telemetry.providers().spans();
        let runs = ["a", "b"].map(|workflow| spans.run(RunStart::new(&"run", workflow, at(0))));
        let orders = [publish(&runs[0], "Order", 0, 1), publish(&runs[1], "Order", 0, 1)];
        let shared = spans.shared("audit", at(1), runs.iter().any(RunTrace::is_sampled));
        runs.iter().for_each(|run| run.handed_to(&shared, at(5)));
        let inputs = orders.map(|order| Input { id: "Order-1", kind: "Order", propagation: Some(order) });
        let job = shared.job(&JobStart::new("audit", &"job-1", at(5)), inputs);
        job.expect("it is sampled").end(&Ending::Ok, at(6));
        shared.end(run_end(7));
        runs.iter().for_each(|run| run.end(run_end(8)));
    });
    let job = named(&spans, "job audit");
    let root = named(&spans, "run a");
    let named_trace =
        &root.events_named("handed_to").next().expect("the run says it").attributes["volery.next.trace_id"];
    assert_eq!(*named_trace, job.trace_id);
    assert_eq!((job.links.len(), job.attribute("volery.input.count")), (1, "2"));
    laws::assert_all(&spans);
}

#[test]
fn a_wait_of_a_millisecond_is_no_span() {
    let spans = seen(Sampling::Always, TraceSettings::default(), |telemetry| {
        let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "w", at(0)));
        let job =
            run.job(&JobStart::new("settle", &"job-1", at(0)), no_inputs()).expect("the run is sampled");
        job.wait("queue", at(0), at(1));
        job.wait("concurrency", at(1), at(3));
        job.end(&Ending::Ok, at(3));
        run.end(run_end(4));
    });
    let waits: Vec<_> = spans.iter().filter(|span| span.name == "wait settle").collect();
    assert_eq!(waits.len(), 1);
    assert_eq!(waits[0].attribute("volery.wait.reason"), "concurrency");
}

#[test]
fn a_shutdown_is_a_trace_of_the_service() {
    let spans = seen(Sampling::Never, TraceSettings::default(), |telemetry| {
        let shutdown = telemetry.providers().spans().shutdown("shop", at(0));
        shutdown.phase("intake", "done", None, at(0), at(2));
        shutdown.phase("agents", "cut off", Some("2 attempts were cut off"), at(2), at(9));
        shutdown.end(at(10));
    });
    laws::assert_all(&spans);
    assert_eq!(tree(&spans, &[]), "volery shutdown\n  shutdown intake\n  shutdown agents ERROR\n");
}

/// A sampler of a service's own, which takes the first root and nothing else.
#[derive(Clone, Debug, Default)]
struct FirstOnly(Arc<AtomicBool>);

impl ShouldSample for FirstOnly {
    fn should_sample(
        &self,
        parent: Option<&opentelemetry::Context>,
        _trace_id: TraceId,
        _name: &str,
        _kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let below = parent.is_some_and(|parent| parent.span().span_context().is_sampled());
        let take = below || !self.0.swap(true, Ordering::Relaxed);
        let decision = if take { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() }
    }
}

#[test]
fn a_run_whose_next_part_a_sampler_refuses_stays_as_it_is() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .with_sampler(FirstOnly::default())
        .build();
    let spans = Providers::none().tracer(provider.clone()).spans();
    let run = spans.run(RunStart::new(&"run-1", "w", at(0)));
    publish(&run, "Order", 0, 1);
    run.end(run_end(2));
    // The root has ended; a span below it would stick out.
    let late = publish(&run, "Order", 3, 4);
    assert_eq!(Some(late.span_id()), run.propagation().map(|propagation| propagation.span_id()));
    assert_eq!(spans.left_out().spans, 1);
    let names: Vec<_> =
        exporter.get_finished_spans().expect("it is in memory").into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["run started", "publish Order", "run w"]);
}

/// One step of a run that is driven by chance.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish,
    Job,
    Attempt(usize),
    Evaluate(usize),
    Output(usize),
    EndJob(usize),
    EndAttempt(usize),
    EndCall(usize),
    EndOutput(usize),
    DropAttempt(usize),
    EndRun,
    DropRun,
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    let any = || 0_usize..4;
    let step = prop_oneof![
        2 => Just(Step::Publish),
        3 => Just(Step::Job),
        4 => any().prop_map(Step::Attempt),
        3 => any().prop_map(Step::Evaluate),
        3 => any().prop_map(Step::Output),
        2 => any().prop_map(Step::EndJob),
        2 => any().prop_map(Step::EndAttempt),
        2 => any().prop_map(Step::EndCall),
        2 => any().prop_map(Step::EndOutput),
        1 => any().prop_map(Step::DropAttempt),
        1 => Just(Step::EndRun),
        1 => Just(Step::DropRun),
    ];
    proptest::collection::vec((step, 0_u64..100), 0..60)
}

/// Takes one of what is open, if anything is.
fn take<T>(open: &mut Vec<T>, index: usize) -> Option<T> {
    (!open.is_empty()).then(|| open.swap_remove(index % open.len()))
}

/// Drives a run by chance, at times by chance; whatever is open at the end is dropped.
fn drive(run: RunTrace, steps: &[(Step, u64)]) {
    let mut run = Some(run);
    let (mut jobs, mut attempts, mut calls, mut outputs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let pick = |index: usize, length: usize| (length > 0).then(|| index % length);
    for (step, ms) in steps {
        let now = at(*ms);
        match *step {
            Step::Publish => {
                outputs.extend(run.as_ref().and_then(|run| run.publish(&Publish::new("Order", &"id", now))))
            }
            Step::Job => {
                let start = JobStart::new("a", &"job", now);
                jobs.extend(run.as_ref().and_then(|run| run.job(&start, no_inputs())));
            }
            Step::Attempt(index) => {
                attempts.extend(pick(index, jobs.len()).map(|index| jobs[index].attempt(1, 0, now)));
            }
            Step::Evaluate(index) => {
                calls.extend(pick(index, attempts.len()).map(|index| attempts[index].evaluate("e", now)));
            }
            Step::Output(index) => {
                let publish = Publish::new("Receipt", &"id", now);
                outputs.extend(pick(index, attempts.len()).map(|index| attempts[index].publish(&publish)));
            }
            Step::EndJob(index) => {
                if let Some(job) = take(&mut jobs, index) {
                    job.end(&Ending::Ok, now);
                }
            }
            Step::EndAttempt(index) => {
                if let Some(attempt) = take(&mut attempts, index) {
                    attempt.end(&Ending::Ok, now);
                }
            }
            Step::EndCall(index) => {
                if let Some(call) = take(&mut calls, index) {
                    call.end(&Ending::Panicked("no"), now);
                }
            }
            Step::EndOutput(index) => {
                if let Some(output) = take(&mut outputs, index) {
                    output.end(now);
                }
            }
            Step::DropAttempt(index) => drop(take(&mut attempts, index)),
            Step::EndRun => run.iter().for_each(|run| run.end(run_end(*ms))),
            Step::DropRun => run = None,
        }
    }
}

#[test]
fn every_law_holds_when_several_threads_work_in_one_run() {
    let spans = seen(Sampling::Always, TraceSettings::default().spans_max(50), |telemetry| {
        let run = telemetry.providers().spans().run(RunStart::new(&"run-1", "crowd", at(0)));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let run = run.clone();
                scope.spawn(move || {
                    for number in 0..100 {
                        let order = publish(&run, "Order", number, number + 1);
                        small_job(&run, "settle", &order, number + thread, &Ending::Ok);
                        if number % 25 == 24 {
                            run.end(run_end(number));
                        }
                    }
                });
            }
        });
        run.end(run_end(500));
    });
    laws::assert_all(&spans);
    assert_eq!(spans.iter().filter(|span| span.name == "publish Order").count(), 400);
    assert_eq!(spans.iter().filter(|span| span.name == "evaluate settle").count(), 400);
}

#[test]
fn every_law_holds_whatever_the_order_of_begins_and_ends() {
    let mut runner = TestRunner::deterministic();
    let spans = seen(Sampling::Always, TraceSettings::default().spans_max(12), |telemetry| {
        let spans = telemetry.providers().spans();
        for number in 0..600 {
            let steps = steps().new_tree(&mut runner).expect("there is no filter").current();
            drive(spans.run(RunStart::new(&number, "chance", at(50))), &steps);
        }
    });
    assert!(spans.len() > 5_000, "{} spans", spans.len());
    laws::assert_all(&spans);
}
