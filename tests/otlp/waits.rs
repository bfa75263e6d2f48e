//! Waits: the reasons why a job waited, and joins that were never complete.

use tokio::time::sleep;
use volery::Memory;
use volery::prelude::*;
use volery::telemetry::{Detail, TraceSettings};
use volery::testing::FailingStore;
use volery::{Fault, Publish};
use volery_otlp_receiver::Span;

use crate::support::{MS, Note, Order, Payment, Receipt, Tested, Watched, named, only, order, payment, tree};

/// Joins orders and payments of one key that come within 50 ms.
fn settle() -> Agent {
    Agent::new("settle")
        .consumes(join(by(|o: &Order| o.key), by(|p: &Payment| p.key)).within(50 * MS))
        .engine(async |(order, _): (Order, Payment), _: Context| {
            Ok::<_, Fault>(Publish(Receipt { key: order.key, n: order.n }))
        })
}

#[tokio::test(start_paused = true)]
async fn a_join_that_expires_has_a_span_that_says_what_did_not_come() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agent(settle()).start().await?;
    let run = volery.run("checkout").publish(order(1)).await?;
    sleep(60 * MS).await;
    run.settled().await?;
    drop(run);
    volery.shutdown().await?;
    let spans = watched.spans();
    let (root, join) = (only(&spans, "run checkout"), only(&spans, "join settle"));
    assert_eq!(join.parent_id, root.span_id);
    assert_eq!(join.attribute("volery.join.result"), "expired");
    assert_eq!(join.attribute("volery.join.missing"), "[Payment]");
    assert_eq!(join.attribute("volery.join.key"), "1");
    assert_eq!((join.end_ns - join.start_ns).div_ceil(1_000_000), 50);
    let linked: Vec<_> = join.links.iter().map(|link| link.span_id.as_str()).collect();
    assert_eq!(linked, [only(&spans, "publish Order").span_id.as_str()]);
    assert_eq!(root.attribute("volery.run.status"), "completed");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_join_of_several_runs_that_expires_has_a_trace_of_its_own() -> Tested {
    let watched = Watched::new();
    let all = join(by(|o: &Order| o.n), by(|p: &Payment| p.n)).and(by(|r: &Receipt| r.n));
    let pack = Agent::new("pack")
        .consumes(all.within(50 * MS))
        .engine(async |_: (Order, Payment, Receipt), _: Context| Ok::<(), Fault>(()));
    let volery = watched.builder().agent(pack).start().await?;
    volery.publish(order(1)).await?;
    volery.publish(payment(1)).await?;
    sleep(60 * MS).await;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    let (root, join) = (only(&spans, "shared pack"), only(&spans, "join pack"));
    assert_eq!((&join.trace_id, &join.parent_id), (&root.trace_id, &root.span_id), "{}", tree(&spans));
    assert_eq!(join.attribute("volery.join.missing"), "[Receipt]");
    let mut linked: Vec<_> = join.links.iter().map(|link| &link.span_id).collect();
    linked.sort_unstable();
    let mut published: Vec<_> = spans.iter().filter(|span| span.name.starts_with("publish ")).collect();
    published.sort_unstable_by_key(|span| &span.span_id);
    assert_eq!(linked, published.iter().map(|span| &span.span_id).collect::<Vec<_>>());
    for run in ["run Order", "run Payment"] {
        let told =
            only(&spans, run).events_named("handed_to").filter_map(|event| event.attributes.values().next());
        assert_eq!(told.collect::<Vec<_>>(), [&root.trace_id], "{}", tree(&spans));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_join_that_expired_while_no_process_ran_is_shown_by_the_next_one() -> Tested {
    let watched = Watched::new();
    let store = FailingStore::over(Memory::new());
    store.stay_open();
    let first = watched.builder().store(store.clone()).agent(settle()).start().await?;
    let run = first.run("checkout").publish(order(1)).await?;
    drop(run);
    first.shutdown().await?;
    sleep(100 * MS).await;
    let second = watched.builder().store(store).agent(settle()).start().await?;
    sleep(3_000 * MS).await;
    second.until_idle().await?;
    second.shutdown().await?;
    let spans = watched.spans();
    let join = only(&spans, "join settle");
    let root = spans.iter().find(|span| span.span_id == join.parent_id).expect("it stands below a run");
    assert_eq!(root.name, "run checkout");
    assert_eq!(root.attribute("volery.run.status"), "completed", "{}", tree(&spans));
    let publish = only(&spans, "publish Order");
    assert_eq!(join.links.iter().map(|link| &link.span_id).collect::<Vec<_>>(), [&publish.span_id]);
    assert_ne!(root.trace_id, publish.trace_id, "it goes on in another trace");
    Ok(())
}

/// Every wait of an agent: for what, and for how many milliseconds.
fn waits<'a>(spans: &'a [Span], agent: &str) -> Vec<(&'a str, u64)> {
    let mut waits = named(spans, &format!("wait {agent}"));
    waits.sort_by_key(|wait| wait.start_ns);
    let of = |wait: &&'a Span| {
        (wait.attribute("volery.wait.reason"), (wait.end_ns - wait.start_ns).div_ceil(1_000_000))
    };
    waits.iter().map(of).collect()
}

/// Takes ten milliseconds for each.
fn slow() -> Agent {
    Agent::new("slow").consumes(one::<Order>()).engine(async |_: Order, _: Context| {
        sleep(10 * MS).await;
        Ok::<_, Fault>(())
    })
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_slot_a_paused_agent_and_a_quarantine_are_told_apart() -> Tested {
    let watched = Watched::traced(TraceSettings::default().agent_detail("slow", Detail::Phase));
    let volery = watched.builder().agent(slow().concurrency(1)).start().await?;
    volery.publish(order(1)).await?;
    volery.publish(order(2)).await?;
    sleep(5 * MS).await;
    volery.pause("slow")?;
    sleep(20 * MS).await;
    volery.resume("slow")?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    assert_eq!(waits(&spans, "slow"), [("concurrency", 5), ("paused", 20)], "{}", tree(&spans));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_wait_behind_others_of_a_key_is_told_apart_from_one_for_a_slot() -> Tested {
    let watched = Watched::new();
    let slow = Agent::new("slow").concurrency(2).consumes(one::<Order>().ordered_by(|o| o.key)).engine(
        async |_: Order, _: Context| {
            sleep(10 * MS).await;
            Ok::<_, Fault>(())
        },
    );
    let volery = watched.builder().agent(slow).start().await?;
    for n in 0..2 {
        volery.publish(Order { key: 1, n }).await?;
    }
    volery.until_idle().await?;
    volery.shutdown().await?;
    assert_eq!(waits(&watched.spans(), "slow"), [("partition", 10)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_counted_once_under_what_took_most_of_it() -> Tested {
    let watched = Watched::new();
    let volery = watched.builder().agent(slow().concurrency(1)).start().await?;
    volery.publish(order(1)).await?;
    volery.publish(order(2)).await?;
    volery.pause("slow")?;
    sleep(100 * MS).await;
    volery.resume("slow")?;
    volery.publish(Note { key: 0, n: 0 }).await?;
    volery.publish(order(3)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let counted = crate::numbers::numbers(&watched);
    let of = |reason: &str| counted.get(&format!("volery.job.wait{{slow, {reason}}}")).copied();
    assert_eq!(
        (of("queue"), of("paused"), of("concurrency")),
        (Some(1.0), Some(1.0), Some(1.0)),
        "{counted:#?}"
    );
    Ok(())
}
