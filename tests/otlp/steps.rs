//! The steps of an attempt around its engine: spans when they take time, events when they take little.

use std::future::Future;
use std::pin::pin;
use std::task::Waker;
use std::time::Duration;

use tokio::time::{advance, sleep};
use volery::Memory;
use volery::agent::GaveUp;
use volery::prelude::*;
use volery::testing::FailingStore;
use volery::{Fault, Publish};
use volery_otlp_receiver::Span;

use crate::support::{MS, Order, Receipt, Tested, Watched, named, only, order, tree};

/// Lets time pass in code that cannot wait.
fn pass(span: Duration) {
    let mut passing = pin!(advance(span));
    let polled = passing.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "the time is changed by the first poll");
}

/// The spans below an attempt in order, and how many milliseconds they took.
fn below<'a>(spans: &'a [Span], attempt: &Span) -> Vec<(&'a str, u64)> {
    let mut below: Vec<_> = spans.iter().filter(|span| span.parent_id == attempt.span_id).collect();
    below.sort_by_key(|span| (span.start_ns, span.end_ns));
    below.iter().map(|span| (span.name.as_str(), (span.end_ns - span.start_ns).div_ceil(1_000_000))).collect()
}

#[tokio::test(start_paused = true)]
async fn steps_around_an_engine_that_take_time_are_spans_of_the_attempt() -> Tested {
    let watched = Watched::new();
    let store = FailingStore::over(Memory::new());
    store.delay_inputs(|| sleep(4 * MS));
    let act = Agent::new("act").consumes(one::<Order>()).engine_with(|| {
        pass(3 * MS);
        async |order: Order, _: Context| {
            sleep(5 * MS).await;
            Ok::<_, Fault>(Publish(Receipt { key: 0, n: order.n }))
        }
    });
    let sift = |_: &Receipt| {
        pass(2 * MS);
        false
    };
    let mail = Agent::new("mail")
        .consumes(one::<Receipt>().filter(sift))
        .engine(async |_: Receipt, _: Context| Ok::<(), Fault>(()));
    let volery = watched.builder().store(store).agents([act, mail]).start().await?;
    volery.publish(order(1)).await?;
    volery.until_idle().await?;
    volery.publish(order(2)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    let mut attempts = named(&spans, "attempt act");
    attempts.sort_by_key(|attempt| attempt.start_ns);
    let mut wanted = vec![
        ("read inputs", 4),
        ("make engine", 3),
        ("evaluate act", 5),
        ("check outputs", 2),
        ("publish Receipt", 2),
    ];
    let of = |attempt: &Span| {
        let mut below = below(&spans, attempt);
        below.sort_by_key(|(name, _)| wanted.iter().position(|(known, _)| known == name));
        below
    };
    assert_eq!(of(attempts[0]), wanted, "{}", tree(&spans));
    let second = of(attempts[1]);
    wanted.remove(1);
    assert_eq!(second, wanted, "an engine is made once");
    assert_eq!(only(&spans, "make engine").attribute("volery.step"), "make engine");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_short_step_is_an_event_and_a_shorter_one_is_nothing() -> Tested {
    let watched = Watched::new();
    let store = FailingStore::over(Memory::new());
    store.delay_inputs(|| advance(Duration::from_micros(400)));
    let act = Agent::new("act").consumes(one::<Order>()).engine_with(|| {
        pass(Duration::from_micros(50));
        async |_: Order, _: Context| Ok::<(), Fault>(())
    });
    let volery = watched.builder().store(store).agent(act).start().await?;
    volery.publish(order(1)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    let attempt = only(&spans, "attempt act");
    let steps: Vec<_> = attempt.events_named("step").map(|event| event.attributes.clone()).collect();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!(steps[0]["volery.step"], "read inputs");
    assert_eq!(steps[0]["volery.duration_us"], "400");
    assert_eq!(below(&spans, attempt), [("evaluate act", 0)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_a_call_of_its_own_and_what_it_calls_stands_below_it() -> Tested {
    let watched = Watched::new();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let fallback = move |_: (Order, GaveUp), context: Context| {
        let tell = tell.clone();
        async move {
            tell.send(context.traceparent()).expect("it is listened to");
            sleep(7 * MS).await;
            Ok::<_, Fault>(())
        }
    };
    let act =
        Agent::new("act").consumes(one::<Order>()).fallback(fallback).engine(async |_: Order, _: Context| {
            sleep(5 * MS).await;
            Err::<(), Fault>("no".into())
        });
    let volery = watched.builder().agent(act).start().await?;
    volery.publish(order(1)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let spans = watched.spans();
    assert_eq!(below(&spans, only(&spans, "attempt act")), [("evaluate act", 5), ("fallback act", 7)]);
    let fallback = only(&spans, "fallback act");
    assert_eq!(fallback.attribute("volery.outcome"), "ok");
    let place = format!("00-{}-{}-01", fallback.trace_id, fallback.span_id);
    assert_eq!(told.recv().await.flatten(), Some(place));
    assert_eq!(only(&spans, "job act").attribute("volery.outcome"), "ok");
    Ok(())
}
