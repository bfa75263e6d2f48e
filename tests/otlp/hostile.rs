//! Traces and numbers under hostile conditions: lost answers, refused writes, outputs that are taken back,
//! callers that lie.

use std::path::Path;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::time::sleep;
use volery::prelude::*;
use volery::telemetry::{Environment, Otlp, Providers, Sampling, TraceSettings, init};
use volery::testing::{FailingStore, Gate};
use volery::{Fault, Publish, Sqlite};
use volery_otlp_receiver::{Receiver, Span, laws};

use crate::support::{LIMIT, MS, Note, Order, Receipt, Tested, Watched, named, only, order, tree};

/// A payload that cannot be turned into JSON.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
struct Unwritable {}

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it cannot be written"))
    }
}

fn sink(name: &str) -> Agent {
    Agent::new(name).consumes(one::<Order>()).engine(async |_: Order, _: Context| Ok::<_, Fault>(()))
}

/// The last value of a metric's point that has all of these labels; 0 when there is none.
fn number(watched: &Watched, name: &str, labels: &[(&str, &str)]) -> f64 {
    let metrics = watched.receiver.metrics();
    let of_name = metrics.iter().filter(|metric| metric.name == name).flat_map(|metric| &metric.points);
    let mut matching = of_name.filter(|(point, _)| {
        labels.iter().all(|(key, value)| point.get(*key).is_some_and(|label| label == value))
    });
    matching.next_back().map_or(0.0, |(_, value)| *value)
}

fn roots(spans: &[Span]) -> Vec<&Span> {
    spans.iter().filter(|span| span.parent_id.is_empty()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_is_one_trace_although_what_comes_first_in_it_interests_nobody() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agent(sink("sink")).start().await?;
    volery.publish_all((Publish(Note { key: 1, n: 1 }), Publish(order(1)))).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    assert_eq!(roots(&spans).len(), 1, "{}", tree(&spans));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_publish_was_never_answered_goes_on_in_its_trace() -> Tested {
    let watched = Watched::new();
    let store = FailingStore::over(Memory::new());
    let volery = watched.builder().store(store.clone()).agent(sink("sink")).start().await?;
    let gate = Gate::new();
    let held = gate.clone();
    store.delay_answers(move || held.pass());
    let publishing = tokio::spawn(volery.publish(order(1)).into_future());
    gate.arrived(1).await;
    store.answer_at_once();
    volery.kill("curator").await?;
    assert!(publishing.await.is_ok_and(|published| published.is_err()), "nobody could answer");
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    assert_eq!(roots(&spans).len(), 1, "{}", tree(&spans));
    assert_eq!(number(&watched, "volery.runs.active", &[]), 0.0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn outputs_that_were_not_committed_are_not_shown_as_published() -> Tested {
    let watched = Watched::new();
    let act = Agent::new("act").consumes(one::<Order>()).engine(async |order: Order, _: Context| {
        Ok::<_, Fault>((Publish(Receipt { key: 0, n: order.n }), Publish(Unwritable {})))
    });
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{}.db", std::process::id()));
    let volery = watched.builder().store(Sqlite::open(&store)?).agent(act).start().await?;
    volery.publish(order(1)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    drop(std::fs::remove_file(&store));
    let spans = watched.spans();
    let job = only(&spans, "job act");
    assert_eq!(job.attribute("volery.outcome"), "dead", "{}", tree(&spans));
    let shown: Vec<_> = named(&spans, "publish Receipt")
        .into_iter()
        .filter(|span| span.trace_id == job.trace_id && span.status != "error")
        .collect();
    assert!(shown.is_empty(), "{}", tree(&spans));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_job_that_ends_is_counted_also_one_that_waits_for_its_next_attempt() -> Tested {
    let watched = Watched::new();
    let act = Agent::new("act")
        .consumes(one::<Order>())
        .retry(Retry::fixed(3, 1_000_000 * MS))
        .engine(async |_: Order, _: Context| Err::<(), Fault>("no".into()));
    let volery = watched.builder().agent(act).start().await?;
    let run = volery.run("cancelled").publish(order(1)).await?;
    sleep(10 * MS).await;
    run.cancel();
    run.settled().await?;
    drop(run);
    volery.until_idle().await?;
    volery.shutdown().await?;
    let labels = [("volery.agent.name", "act"), ("volery.outcome", "cancelled")];
    assert_eq!(number(&watched, "volery.jobs", &labels), 1.0, "{:#?}", watched.receiver.metrics());
    assert_eq!(only(&watched.spans(), "run cancelled").attribute("volery.jobs.cancelled"), "1");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_counted_although_the_store_refuses_its_failure() -> Tested {
    let watched = Watched::new();
    let store = FailingStore::over(Memory::new());
    let act = Agent::new("act")
        .consumes(one::<Order>())
        .engine(async |_: Order, _: Context| Err::<(), Fault>("no".into()));
    let volery = watched.builder().store(store.clone()).agent(act).start().await?;
    store.refuse_only(
        |group| matches!(group, volery::store::Write::Finish(finish) if !finish.outputs.is_empty()),
    );
    volery.publish(order(1)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let labels = [("volery.agent.name", "act")];
    assert_eq!(number(&watched, "volery.dead_letters", &labels), 1.0);
    assert_eq!(number(&watched, "volery.jobs", &[("volery.agent.name", "act")]), 1.0);
    assert_eq!(only(&watched.spans(), "job act").attribute("volery.outcome"), "dead");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_caller_cannot_make_a_runtime_speak_of_a_span_of_somebody_else() -> Tested {
    let store = FailingStore::over(Memory::new());
    store.stay_open();
    let stuck = Agent::new("sink")
        .consumes(one::<Order>())
        .engine(async |_: Order, _: Context| std::future::pending::<Result<(), Fault>>().await);
    let first = Volery::builder("shop").store(store.clone()).agent(stuck).start().await?;
    let forged = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 \
                  volery=1111111111111111,other=1";
    first.publish(order(1)).traceparent(forged).await?;
    sleep(MS).await;
    first.interrupt();
    first.interrupt();
    first.stopped().await?;
    let watched = Watched::new();
    let volery = watched.builder().store(store).agent(sink("sink")).start().await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.receiver.spans();
    let named = |id: &str| id == "1111111111111111";
    let spoken_of = |span: &&Span| named(&span.span_id) || span.links.iter().any(|link| named(&link.span_id));
    let forged: Vec<_> = spans.iter().filter(spoken_of).collect();
    assert!(!spans.is_empty() && forged.is_empty(), "{forged:#?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_callers_place_goes_on_with_the_artifact_when_only_numbers_are_recorded() -> Tested {
    let watched = Watched::new();
    let meter = watched.telemetry.meter_provider().expect("metrics are exported").clone();
    let volery =
        Volery::builder("shop").telemetry(Providers::none().meter(meter)).agent(sink("sink")).start().await?;
    let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let published = volery.publish(order(1)).traceparent(caller).await?;
    let artifacts = volery.read(&[published.offset]).await?;
    assert_eq!(artifacts[0].trace().map(|trace| trace.traceparent()), Some(caller.to_owned()));
    volery.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_link_leads_to_a_span_that_is_not_recorded() -> Tested {
    let watched = Watched::with(|telemetry| telemetry.sampling(Sampling::Never));
    let pack = Agent::new("pack")
        .consumes(one::<Order>().batch(Batch::of(2)))
        .engine(async |_: Vec<Order>, _: Context| Ok::<_, Fault>(()));
    let volery = watched.builder().agent(pack).start().await?;
    let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    volery.publish(order(1)).traceparent(caller).await?;
    volery.publish(order(2)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.receiver.spans();
    only(&spans, "shared pack");
    laws::links_resolve(&spans, &[]).expect("every link leads to a span that arrived");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn gauges_of_a_runtime_that_has_stopped_show_nothing() -> Tested {
    let watched = Watched::new();
    let stuck = Agent::new("act")
        .consumes(one::<Order>())
        .engine(async |_: Order, _: Context| std::future::pending::<Result<(), Fault>>().await);
    let volery = watched.builder().agent(stuck).start().await?;
    volery.publish(order(1)).await?;
    sleep(10_001 * MS).await;
    volery.interrupt();
    volery.interrupt();
    volery.stopped().await?;
    drop(watched.telemetry.flush(LIMIT).await);
    let before = watched.receiver.metrics().len();
    drop(watched.telemetry.flush(LIMIT).await);
    let after = watched.receiver.metrics();
    let gauges: Vec<_> = after[before..]
        .iter()
        .filter(|metric| metric.name == "volery.jobs.in_flight" && !metric.points.is_empty())
        .collect();
    assert!(gauges.is_empty(), "{gauges:?}");
    drop(volery);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_refused_is_no_run_that_was_completed() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agent(sink("sink")).start().await?;
    volery.publish(order(1)).idempotency_key("once").await?;
    volery.until_idle().await?;
    for _ in 0..5 {
        volery.publish(order(1)).idempotency_key("once").await?;
    }
    let after = volery.clone();
    volery.shutdown().await?;
    assert!(after.publish(order(2)).await.is_err());
    drop(after);
    drop(watched.telemetry.flush(LIMIT).await);
    let completed = [("volery.run.status", "completed")];
    assert_eq!(number(&watched, "volery.run.duration", &completed), 1.0);
    assert_eq!(number(&watched, "volery.runs.active", &[]), 0.0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn numbers_of_runs_do_not_depend_on_what_is_sampled() -> Tested {
    let mut active = Vec::new();
    for sampling in [Sampling::Always, Sampling::Never] {
        let watched = Watched::with(|telemetry| telemetry.sampling(sampling));
        let pack = Agent::new("pack")
            .consumes(one::<Order>().batch(Batch::of(2)))
            .engine(async |_: Vec<Order>, _: Context| Ok::<_, Fault>(Publish(Receipt { key: 0, n: 1 })));
        let volery = watched.builder().agent(pack).start().await?;
        volery.publish(order(1)).await?;
        volery.publish(order(2)).await?;
        volery.until_idle().await?;
        volery.shutdown().await?;
        active.push(
            ["Order", "pack"]
                .map(|name| number(&watched, "volery.run.duration", &[("volery.workflow.name", name)])),
        );
    }
    assert_eq!(active[0], active[1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shared_job_whose_inputs_cannot_be_read_any_more_ends_its_trace() -> Tested {
    let watched = Watched::new();
    let store = FailingStore::over(Memory::new());
    let broken = store.clone();
    let pack = Agent::new("pack")
        .consumes(one::<Order>().batch(Batch::of(2)))
        .retry(Retry::fixed(2, 20 * MS))
        .engine(move |_: Vec<Order>, _: Context| {
            broken.refuse_reads();
            async { Err::<(), Fault>("no".into()) }
        });
    let volery = watched.builder().store(store.clone()).agent(pack).start().await?;
    volery.publish(order(1)).await?;
    volery.publish(order(2)).await?;
    volery.until_idle().await?;
    store.accept_reads();
    drop(watched.telemetry.flush(LIMIT).await);
    let spans = watched.spans();
    only(&spans, "shared pack");
    assert_eq!(only(&spans, "job pack").attribute("volery.outcome"), "dead", "{}", tree(&spans));
    volery.shutdown().await?;
    Ok(())
}

/// An exporter of the service's own that panics at every span.
#[derive(Debug)]
struct Panicking;

impl SpanExporter for Panicking {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        panic!("an exporter of the service's own");
    }
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_panics_costs_spans_and_no_work() -> Tested {
    let tracer = SdkTracerProvider::builder().with_simple_exporter(Panicking).build();
    let volery = Volery::builder("shop")
        .telemetry(Providers::none().tracer(tracer))
        .agent(sink("sink"))
        .start()
        .await?;
    for n in 0..20 {
        let run = volery.run("panics").publish(order(n)).await?;
        assert!(run.settled().await?.is_complete());
    }
    let report = volery.shutdown().await?;
    assert!(report.is_graceful(), "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn long_texts_of_errors_cost_no_span_over_grpc() -> Tested {
    let receiver = Receiver::start();
    let otlp = Otlp::grpc().endpoint(receiver.grpc_endpoint());
    let telemetry = init("shop").environment(Environment::empty()).otlp(otlp).start();
    let telemetry = telemetry.expect("the endpoint is well formed");
    let act = Agent::new("act").concurrency(64).consumes(one::<Order>()).engine(
        async |order: Order, _: Context| {
            let page = |what: &str| format!("{what} {}: {}", order.n, "x".repeat(20_000));
            let cause: Fault = page("the bank").into();
            let cause: Fault = Box::new(Chained(page("the till"), cause));
            Err::<(), Fault>(Box::new(Chained(page("the shop"), cause)))
        },
    );
    let volery = Volery::builder("shop").telemetry(telemetry.providers()).agent(act).start().await?;
    volery.publish_all((0..300).map(order).collect::<Vec<_>>()).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let report = telemetry.shutdown(LIMIT).await;
    assert!(report.is_complete(), "{report}");
    laws::assert_all(&receiver.spans());
    Ok(())
}

#[derive(Debug)]
struct Chained(String, Fault);

impl std::fmt::Display for Chained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Chained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_of_any_length_is_cut_before_it_is_sent() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agent(sink("sink")).start().await?;
    let run = volery.run("x".repeat(1_000_000)).publish(order(1)).await?;
    run.settled().await?;
    drop(run);
    volery.shutdown().await?;
    let spans = watched.spans();
    let longest = spans.iter().map(|span| span.name.len()).max();
    assert!(longest < Some(9_000), "a span's name has {longest:?} bytes");
    let metrics = watched.receiver.metrics();
    let labels = metrics.iter().flat_map(|metric| &metric.points).flat_map(|(labels, _)| labels.values());
    let longest = labels.map(String::len).max();
    assert!(longest < Some(300), "a label has {longest:?} bytes");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn findings_of_a_runtime_that_has_stopped_are_over() -> Tested {
    let watched = Watched::new();
    let stuck = Agent::new("act")
        .expected(MS)
        .consumes(one::<Order>())
        .engine(async |_: Order, _: Context| std::future::pending::<Result<(), Fault>>().await);
    let volery = watched.builder().agent(stuck).start().await?;
    volery.publish(order(1)).await?;
    sleep(1_000_000 * MS).await;
    drop(watched.telemetry.flush(LIMIT).await);
    let found = number(&watched, "volery.lookout.findings", &[("volery.agent.name", "act")]);
    assert_eq!(found, 1.0);
    volery.interrupt();
    volery.interrupt();
    volery.stopped().await?;
    drop(watched.telemetry.flush(LIMIT).await);
    let found = number(&watched, "volery.lookout.findings", &[("volery.agent.name", "act")]);
    assert_eq!(found, 0.0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_kept_does_not_make_its_run_longer() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agent(sink("sink")).start().await?;
    let run = volery.run("kept").publish(order(1)).await?;
    run.settled().await?;
    sleep(3_600_000 * MS).await;
    drop(run);
    volery.until_idle().await?;
    volery.shutdown().await?;
    let root = only(&watched.spans(), "run kept").clone();
    let took = std::time::Duration::from_nanos(root.end_ns - root.start_ns);
    assert!(took < 1_000 * MS, "{took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parts_follow_each_other_whoever_publishes_at_the_same_time() -> Tested {
    let watched = Watched::traced(TraceSettings::default().spans_max(10));
    let volery = watched.builder().agent(sink("sink").concurrency(16)).start().await?;
    let run = volery.run("big").open();
    let mut publishers = tokio::task::JoinSet::new();
    for n in 0..200 {
        publishers.spawn(run.publish(order(n)).into_future());
    }
    while let Some(published) = publishers.join_next().await {
        published.expect("nobody panics")?;
    }
    run.settled().await?;
    drop(run);
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    let mut parts: Vec<u32> = roots(&spans)
        .iter()
        .map(|root| root.attribute("volery.run.part").parse().expect("a number"))
        .collect();
    parts.sort_unstable();
    assert!(parts.len() > 10);
    assert_eq!(parts, (1..).take(parts.len()).collect::<Vec<u32>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_stays_open_when_publishers_and_handles_are_dropped_at_any_time() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agent(sink("sink").concurrency(16)).start().await?;
    let mut flying = Vec::new();
    for n in 0..400 {
        let run = volery.run("dropped").open();
        let publishing = tokio::spawn(run.publish(order(n)).into_future());
        flying.push(tokio::spawn(async move { drop(run) }));
        if n % 3 == 0 {
            publishing.abort();
        }
    }
    for dropping in flying {
        dropping.await.expect("nobody panics");
    }
    volery.until_idle().await?;
    drop(watched.telemetry.flush(LIMIT).await);
    assert_eq!(number(&watched, "volery.runs.active", &[("volery.workflow.name", "dropped")]), 0.0);
    volery.shutdown().await?;
    let left =
        watched.spans().iter().filter(|span| span.attribute("volery.run.status") == "interrupted").count();
    assert_eq!(left, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_counted_once_although_the_curator_died_while_it_ran() -> Tested {
    for sampling in [Sampling::Always, Sampling::Never] {
        let watched = Watched::with(|telemetry| telemetry.sampling(sampling));
        let gate = Gate::new();
        let held = gate.clone();
        let pack = Agent::new("pack").consumes(one::<Order>().batch(Batch::of(2))).engine(
            move |_: Vec<Order>, _: Context| {
                let held = held.clone();
                async move {
                    held.pass().await;
                    Ok::<_, Fault>(())
                }
            },
        );
        let volery = watched.builder().agent(pack).start().await?;
        volery.publish_all(vec![order(1), order(2)]).await?;
        gate.arrived(1).await;
        volery.kill("curator").await?;
        gate.arrived(2).await;
        gate.open_for_good();
        volery.until_idle().await?;
        volery.shutdown().await?;
        assert_eq!(number(&watched, "volery.batch.closed", &[]), 1.0, "{sampling:?}");
        assert_eq!(number(&watched, "volery.jobs", &[("volery.outcome", "ok")]), 1.0, "{sampling:?}");
        assert_eq!(number(&watched, "volery.runs.active", &[]), 0.0, "{sampling:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_callers_long_state_is_passed_on_and_breaks_nothing() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agent(sink("sink")).start().await?;
    let state: Vec<_> = (0..31).map(|n| format!("s{n}={}", "x".repeat(50))).collect();
    let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    volery.publish(order(1)).traceparent(format!("{caller} {}", state.join(","))).await?;
    let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00 volery=forged,,=";
    volery.publish(order(2)).traceparent(unsampled).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.receiver.spans();
    assert_eq!(only(&spans, "run Order").trace_state, state.join(","));
    laws::no_broken_parents(&spans, &[&caller[36..52]]).expect("every parent is there");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_has_one_root_whenever_the_curator_dies_beside_a_slow_store() -> Tested {
    let watched = Watched::new();
    let store = FailingStore::over(Memory::new());
    store.delay_commits(|| sleep(MS));
    store.delay_answers(|| sleep(MS));
    let pass = Agent::new("pass").concurrency(8).consumes(one::<Order>()).retry(Retry::fixed(3, MS)).engine(
        async |order: Order, context: Context| {
            sleep(order.n % 3 * MS).await;
            if order.n.is_multiple_of(4) && context.attempt() == 1 {
                return Err("once more".into());
            }
            Ok::<_, Fault>(Publish(Receipt { key: 0, n: order.n }))
        },
    );
    let volery = watched.builder().store(store).agents([pass, mail()]).start().await?;
    let mut runs = 0;
    for wave in 0..16_u32 {
        let mut flying = tokio::task::JoinSet::new();
        for n in 0..8 {
            let volery = volery.clone();
            runs += 1;
            flying.spawn(async move {
                sleep(n * MS).await;
                // Whether it was committed is not known when the curator died.
                volery.run("slow").publish(order(n)).await.map(drop).is_ok()
            });
        }
        sleep(wave * MS).await;
        volery.kill("curator").await?;
        while flying.join_next().await.is_some() {}
        volery.until_idle().await?;
        sleep(11_000 * MS).await;
    }
    drop(watched.telemetry.flush(LIMIT).await);
    assert_eq!(number(&watched, "volery.runs.active", &[("volery.workflow.name", "slow")]), 0.0);
    volery.shutdown().await?;
    let spans = watched.spans();
    assert_eq!(roots(&spans).len(), runs, "{}", tree(&spans));
    Ok(())
}

fn mail() -> Agent {
    Agent::new("mail").consumes(one::<Receipt>()).engine(async |_: Receipt, _: Context| Ok::<_, Fault>(()))
}
