//! Rules of the traces of runs: names, links, runs that go on, spans that are left out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use volery::Memory;
use volery::prelude::*;
use volery::store::{Log, Note as Noted};
use volery::telemetry::{Detail, PayloadRecording, Sampling, TraceSettings};
use volery::testing::{FailingStore, Gate};
use volery::{Fault, Publish};

use crate::support::{LIMIT, MS, Note, Order, Receipt, Tested, Watched, named, only, order, tree};

fn sink(name: &str) -> Agent {
    Agent::new(name).consumes(one::<Order>()).engine(async |_: Order, _: Context| Ok::<_, Fault>(()))
}

#[tokio::test(start_paused = true)]
async fn a_batch_over_several_runs_has_a_trace_of_its_own_that_links_to_each() -> Tested {
    let watched = Watched::new();
    let pack = Agent::new("pack").consumes(one::<Order>().batch(Batch::of(3))).engine(
        async |batch: Vec<Order>, _: Context| Ok::<_, Fault>(Publish(Receipt { key: 0, n: batch[0].n })),
    );
    let mail = Agent::new("mail").consumes(one::<Receipt>()).engine(async |_: Receipt, _: Context| {
        sleep(MS).await;
        Ok::<_, Fault>(())
    });
    let volery = watched.builder().agents([pack, mail]).start().await?;
    for n in 0..3 {
        volery.publish(order(n)).await?;
        sleep(MS).await;
    }
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    let batch = only(&spans, "batch pack");
    let published: Vec<_> = named(&spans, "publish Order").iter().map(|span| span.span_id.clone()).collect();
    let linked: Vec<_> = batch.links.iter().map(|link| link.span_id.clone()).collect();
    assert_eq!(linked, published);
    let root = only(&spans, "shared pack");
    assert_eq!((&root.trace_id, &batch.parent_id), (&batch.trace_id, &root.span_id));
    assert_eq!(root.attribute("volery.run.status"), "completed");
    // The jobs of its output are in the same trace.
    assert_eq!(only(&spans, "job mail").trace_id, root.trace_id);
    for run in named(&spans, "run Order") {
        let told = run.events_named("handed_to").map(|event| event.attributes.values().next().cloned());
        assert_eq!(told.collect::<Vec<_>>(), [Some(root.trace_id.clone())], "{}", tree(&spans));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failed_panicked_timed_out_and_cancelled_are_told_apart() -> Tested {
    let watched = Watched::new();
    let act = Agent::new("act").timeout(50 * MS).consumes(one::<Order>()).engine(
        async |order: Order, _: Context| match order.n {
            0 => Err("no".into()),
            1 => panic!("boom"),
            _ => {
                std::future::pending::<()>().await;
                Ok::<(), Fault>(())
            }
        },
    );
    let volery = watched.builder().agent(act).start().await?;
    for n in 0..3 {
        volery.publish(order(n)).await?;
    }
    let cancelled = volery.run("cancelled").publish(order(3)).await?;
    sleep(MS).await;
    cancelled.cancel();
    cancelled.settled().await?;
    drop(cancelled);
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    let attempts = named(&spans, "attempt act");
    let mut ended: Vec<_> = attempts
        .iter()
        .map(|span| (span.attribute("volery.outcome"), span.status, span.attribute("error.type")))
        .collect();
    ended.sort_unstable();
    let wanted = [
        ("cancelled", "unset", ""),
        ("failed", "error", "_OTHER"),
        ("panicked", "error", "panic"),
        ("timed_out", "error", "timeout"),
    ];
    assert_eq!(ended, wanted);
    assert_eq!(only(&spans, "run cancelled").attribute("volery.run.status"), "cancelled");
    let restarted = attempts.iter().find(|span| span.attribute("volery.outcome") == "panicked");
    let restarted = restarted.expect("one panicked").events_named("agent.restarted").count();
    assert_eq!(restarted, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_sampled_has_no_span_and_says_so_to_engines() -> Tested {
    let watched = Watched::with(|telemetry| telemetry.sampling(Sampling::Never));
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let pass = Agent::new("pass")
        .consumes(one::<Order>())
        .engine(async |order: Order, _: Context| Ok::<_, Fault>(Publish(Receipt { key: 0, n: order.n })));
    let look = Agent::new("look").consumes(one::<Receipt>()).engine(move |_: Receipt, context: Context| {
        tell.lock().expect("nobody panics").push(context.traceparent());
        std::future::ready(Ok::<_, Fault>(()))
    });
    let volery = watched.builder().agents([pass, look]).start().await?;
    volery.publish(order(1)).await?;
    let run = volery.run("kept").publish(order(2)).await?;
    run.publish(order(3)).await?;
    run.settled().await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    assert_eq!(tree(&watched.spans()), "");
    let told = told.lock().expect("nobody panics").clone();
    assert_eq!(told.len(), 3);
    assert!(told.iter().flatten().all(|header| header.ends_with("-00")), "{told:?}");
    assert_eq!(told.iter().flatten().count(), 3);
    assert_eq!(told[1].as_ref().map(|h| &h[..35]), told[2].as_ref().map(|h| &h[..35]), "one run, one trace");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_callers_trace_goes_on_in_the_run_and_its_sampling_counts() -> Tested {
    let watched = Watched::with(|telemetry| {
        let settings = TraceSettings::default().allow_baggage("team");
        telemetry.sampling(Sampling::Never).traces(settings)
    });
    let volery = watched.builder().agent(sink("sink")).start().await?;
    let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    volery.publish(order(1)).traceparent(caller).baggage("team=birds,secret=1").session("s-1").await?;
    let refused = volery.publish(order(2)).traceparent("nonsense").await.map(drop);
    assert!(refused.is_err_and(|error| error.kind() == volery::ErrorKind::FixInput));
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.receiver.spans();
    let root = only(&spans, "run Order");
    assert_eq!((root.trace_id.as_str(), root.parent_id.as_str()), (&caller[3..35], &caller[36..52]));
    assert_eq!(root.attribute("session.id"), "s-1");
    assert_eq!(named(&spans, "job sink").len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn payloads_are_recorded_only_for_kinds_that_say_so_and_redacted() -> Tested {
    let recording = PayloadRecording::up_to(1_000).redacted_by(|text| text.replace("\"n\":1", "\"n\":0"));
    let watched = Watched::traced(TraceSettings::default().record_payloads("Order", recording));
    let pass = Agent::new("pass")
        .consumes(one::<Order>())
        .engine(async |order: Order, _: Context| Ok::<_, Fault>(Publish(Receipt { key: 0, n: order.n })));
    let volery = watched.builder().agent(pass).start().await?;
    volery.publish(order(1)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    assert_eq!(only(&spans, "publish Order").attribute("volery.payload"), "{\"key\":1,\"n\":0}");
    let silent = only(&spans, "publish Receipt").attributes.keys().find(|key| key.contains("payload"));
    assert_eq!(silent, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_big_run_goes_on_in_linked_traces() -> Tested {
    let watched = Watched::traced(TraceSettings::default().spans_max(20));
    let volery = watched.builder().agent(sink("sink")).start().await?;
    let run = volery.run("big").open();
    for n in 0..20 {
        run.publish(order(n)).await?;
        sleep(MS).await;
    }
    run.settled().await?;
    drop(run);
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    let roots: Vec<_> = spans.iter().filter(|span| span.parent_id.is_empty()).collect();
    assert!(roots.len() > 2, "{}", tree(&spans));
    for (number, root) in (1..).zip(&roots) {
        let name = if number == 1 { "run big".to_owned() } else { format!("run big (part {number})") };
        assert_eq!(root.name, name);
        let before: Vec<_> = named(&spans, "run started")
            .iter()
            .filter(|span| span.trace_id == root.trace_id)
            .flat_map(|span| span.links.iter().map(|link| link.trace_id.clone()))
            .collect();
        let wanted: Vec<_> =
            roots[..number - 1].last().map(|root| root.trace_id.clone()).into_iter().collect();
        assert_eq!(before, wanted, "each links to the one before");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn detail_is_chosen_per_workflow_and_agent() -> Tested {
    let settings =
        TraceSettings::default().workflow_detail("quiet", Detail::Run).agent_detail("short", Detail::Job);
    let watched = Watched::traced(settings);
    let volery = watched.builder().agents([sink("long"), sink("short")]).start().await?;
    for workflow in ["quiet", "loud"] {
        let run = volery.run(workflow).publish(order(1)).await?;
        run.settled().await?;
    }
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    assert_eq!(named(&spans, "publish Order").len(), 1);
    assert_eq!(named(&spans, "evaluate short").len(), 0);
    assert_eq!(named(&spans, "evaluate long").len(), 1, "{}", tree(&spans));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_agent_or_of_the_curator_leaves_one_root_and_the_job_goes_on() -> Tested {
    for actor in ["act", "curator"] {
        let watched = Watched::new();
        let gate = Gate::new();
        let held = gate.clone();
        let act = Agent::new("act").consumes(one::<Order>()).engine(move |_: Order, _: Context| {
            let held = held.clone();
            async move {
                held.pass().await;
                Ok::<_, Fault>(())
            }
        });
        let volery = watched.builder().agent(act).start().await?;
        let run = volery.run("restarted").publish(order(1)).await?;
        gate.arrived(1).await;
        volery.kill(actor).await?;
        gate.arrived(2).await;
        gate.open_for_good();
        run.settled().await?;
        drop(run);
        volery.until_idle().await?;
        volery.shutdown().await?;
        let spans = watched.spans();
        let root = only(&spans, "run restarted");
        assert_eq!(root.attribute("volery.run.status"), "completed", "{actor}: {}", tree(&spans));
        only(&spans, "job act");
        let outcomes: Vec<_> =
            named(&spans, "attempt act").iter().map(|span| span.attribute("volery.outcome")).collect();
        assert_eq!(outcomes, ["cancelled", "ok"], "{actor}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_fails_or_repeats_closes_the_run_that_it_began() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agent(sink("sink")).start().await?;
    volery.publish(order(1)).idempotency_key("once").await?;
    volery.publish(order(1)).idempotency_key("once").await?;
    volery.until_idle().await?;
    let after = volery.clone();
    volery.shutdown().await?;
    assert!(after.publish(order(2)).await.is_err());
    drop(after);
    let report = watched.telemetry.flush(Duration::from_secs(20)).await;
    assert!(report.is_complete(), "{report}");
    let spans = watched.spans();
    let roots = named(&spans, "run Order");
    assert_eq!(roots.len(), 3, "{}", tree(&spans));
    let refused = named(&spans, "publish Order").into_iter().find(|span| span.status == "error");
    assert_eq!(refused.expect("the last one").attribute("error.type"), "stop");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn spans_of_the_service_are_children_of_the_engines_call() -> Tested {
    let watched = Watched::new();
    let headers = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&headers);
    let call = Agent::new("call").consumes(one::<Order>()).engine(move |_: Order, context: Context| {
        let heard = Arc::clone(&heard);
        async move {
            let child = context.clone();
            let told = context.spawn(async move { child.traceparent() }).await;
            heard.lock().expect("nobody panics").push((context.traceparent(), told.ok().flatten()));
            Ok::<_, Fault>(())
        }
    });
    let volery = watched.builder().agent(call).start().await?;
    volery.publish(order(1)).await?;
    volery.publish(Note { key: 1, n: 1 }).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    let evaluate = only(&spans, "evaluate call");
    let wanted = Some(format!("00-{}-{}-01", evaluate.trace_id, evaluate.span_id));
    assert_eq!(*headers.lock().expect("nobody panics"), [(wanted.clone(), wanted)]);
    Ok(())
}

/// The names of the spans that the store has as open.
async fn noted(store: &FailingStore) -> volery::Result<Vec<String>> {
    let mut names = Vec::new();
    for note in store.notes().await.expect("the store can be read") {
        if let Noted::Span { open: Some(open), .. } = note {
            names.extend(open.lines().nth(1).map(|name| name[1..].to_owned()));
        }
    }
    names.sort();
    Ok(names)
}

#[tokio::test(start_paused = true)]
async fn what_is_open_for_long_is_noted_until_it_is_exported_and_what_is_not_recorded_never_is() -> Tested {
    let open = ["attempt act", "evaluate act", "job act", "run Order"];
    for (sampling, open, out) in
        [(Sampling::Always, &open[..], &["run started", "publish Order"][..]), (Sampling::Never, &[], &[])]
    {
        let watched = Watched::with(|telemetry| telemetry.sampling(sampling));
        let (store, gate) = (FailingStore::over(Memory::new()), Gate::new());
        let held = gate.clone();
        let act = Agent::new("act").consumes(one::<Order>()).engine(move |_: Order, _: Context| {
            let held = held.clone();
            async move {
                held.pass().await;
                Ok::<_, Fault>(())
            }
        });
        let volery = watched.builder().store(store.clone()).agent(act).start().await?;
        volery.publish(order(1)).await?;
        sleep(900 * MS).await;
        assert_eq!(noted(&store).await?, [""; 0], "it is young");
        drop(watched.telemetry.flush(LIMIT).await);
        assert_eq!(watched.receiver.spans(), [], "and nothing leaves before it is known");
        sleep(1_200 * MS).await;
        assert_eq!(noted(&store).await?, open, "{sampling:?}");
        drop(watched.telemetry.flush(LIMIT).await);
        let arrived: Vec<_> = watched.receiver.spans().into_iter().map(|span| span.name).collect();
        assert_eq!(arrived, out, "{sampling:?}");
        gate.open_for_good();
        volery.until_idle().await?;
        drop(watched.telemetry.flush(LIMIT).await);
        sleep(MS).await;
        assert_eq!(noted(&store).await?, [""; 0], "its end was exported");
        volery.shutdown().await?;
        assert_eq!(watched.spans().is_empty(), out.is_empty(), "{sampling:?}");
    }
    Ok(())
}
