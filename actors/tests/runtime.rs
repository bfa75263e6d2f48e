//! The runtime when one of its actors is killed: nothing committed is lost, and nobody waits in vain.
//!
//! The rules of a runtime whose actors live on are tested in the workspace's `tests/`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use volery_actors::supervision::LifeEvent;
use volery_actors::{
    Agent, Context, ErrorKind, Event, Fault, FeedItem, FeedReader, Publish, Result, Retry, Run, Volery,
};
use volery_blackboard::shape::{by, count, join, one};
use volery_blackboard::store::{FailingStore, Log, Memory};
use volery_blackboard::{Batch, Filter, Payload, Shape, Visibility};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Order {
    id: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Payment {
    id: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Receipt {
    id: u32,
}

/// The inputs of engines.
#[derive(Debug)]
struct Seen<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Seen<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn note(&self, what: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn all(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// An agent that notes every order and answers with a receipt.
fn clerk(seen: &Seen<u32>) -> Agent {
    let seen = seen.clone();
    Agent::new("clerk").consumes(one::<Order>()).concurrency(1).engine(move |order: Order, _| {
        seen.note(order.id);
        async move { Ok::<_, Fault>(Publish(Receipt { id: order.id })) }
    })
}

async fn start(agents: impl IntoIterator<Item = Agent>) -> Result<Volery> {
    Volery::builder("killed").agents(agents).start().await
}

async fn publish<T: Payload>(run: &Run, payload: T) -> Result<()> {
    run.publish(payload).await.map(drop)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(24 * 3_600 * SECOND, future).await.expect("it should have come long ago")
}

/// Kills an actor and waits until its next life has started.
async fn kill(runtime: &Volery, feed: &mut FeedReader, actor: &str) {
    runtime.kill(actor).await.expect("it is supervised");
    started_again(feed, actor).await;
}

async fn started_again(feed: &mut FeedReader, part: &str) {
    soon(async {
        while let Some(item) = feed.next().await {
            if let FeedItem::Event(Event::Life(LifeEvent::Started { child, life })) = item
                && child.to_string() == part
                && life > 1
            {
                return;
            }
        }
        panic!("the runtime ended instead");
    })
    .await;
}

async fn receipts(runtime: &Volery) -> Result<Vec<u32>> {
    let page = runtime.artifacts(&Filter::all().kind("Receipt")).await?;
    page.artifacts.iter().map(|one| Ok(one.payload::<Receipt>()?.id)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_killed_curator_loses_nothing_and_handles_stay_valid() -> Result<()> {
    let seen = Seen::new();
    let runtime = start([clerk(&seen)]).await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    publish(&run, Order { id: 1 }).await?;
    runtime.until_idle().await?;
    kill(&runtime, &mut feed, "curator").await;
    publish(&run, Order { id: 2 }).await?;
    let tally = run.settled().await?.tally;
    assert_eq!(seen.all(), [1, 2], "what was done before is not done again");
    assert_eq!(receipts(&runtime).await?, [1, 2]);
    assert_eq!(tally.outstanding(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_again_after_the_curator_was_killed() -> Result<()> {
    let seen = Seen::new();
    let builder = Volery::builder("killed").agent(clerk(&seen));
    let runtime = builder.configure(|settings| settings.jobs_in_memory_max = 2).start().await?;
    let mut feed = runtime.feed();
    let (run, other) = (runtime.run("test").open(), runtime.run("test").open());
    runtime.pause("clerk")?;
    for id in 1..=20 {
        publish(if id % 2 == 0 { &run } else { &other }, Order { id }).await?;
    }
    // The curator dies before it is run again, so that it cannot take the cancellation.
    runtime.kill("curator").await?;
    other.cancel();
    started_again(&mut feed, "curator").await;
    assert_eq!(runtime.recovered().inputs, 20, "the cancellation had not been taken yet");
    let waiting = run.waiting().await?;
    assert_eq!(waiting.len(), 10, "in memory and in the log: {waiting:?}");
    runtime.resume("clerk")?;
    let tally = soon(run.settled()).await?.tally;
    assert_eq!((tally.consumed, tally.outstanding()), (10, 0));
    assert_eq!(soon(other.settled()).await?.tally.cancelled, 10);
    assert_eq!(seen.all(), (1..=10).map(|id| id * 2).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_between_two_lives_of_the_curator_is_answered_by_the_next() -> Result<()> {
    let seen = Seen::new();
    let runtime = start([clerk(&seen)]).await?;
    let run = runtime.run("test").open();
    runtime.kill("curator").await?;
    for id in 1..=3 {
        soon(publish(&run, Order { id })).await?;
    }
    assert_eq!(soon(runtime.agents()).await?.len(), 1);
    assert_eq!(soon(run.settled()).await?.tally.consumed, 3);
    assert_eq!(seen.all(), [1, 2, 3]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_half_filled_join_count_and_batch_complete_after_the_curator_was_killed() -> Result<()> {
    let seen = Seen::new();
    let note = |what: &'static str| {
        let seen = seen.clone();
        move |input: Vec<u32>| {
            seen.note((what, input));
            async { Ok::<(), Fault>(()) }
        }
    };
    let (joined, counted, batched, timed) = (note("join"), note("count"), note("batch"), note("timed"));
    let shape = join(by(|order: &Order| order.id), by(|payment: &Payment| payment.id)).within(3_600 * SECOND);
    let runtime = start([
        Agent::new("join")
            .consumes(shape)
            .engine(move |(o, p): (Order, Payment), _| joined(vec![o.id, p.id])),
        Agent::new("count")
            .consumes(count::<Order>(2))
            .engine(move |all: Vec<Order>, _| counted(all.iter().map(|o| o.id).collect())),
        Agent::new("batch")
            .consumes(one::<Order>().batch(Batch::of(2)))
            .engine(move |all: Vec<Order>, _| batched(all.iter().map(|o| o.id).collect())),
        Agent::new("timed")
            .consumes(one::<Order>().batch(Batch::after(60 * SECOND)))
            .engine(move |all: Vec<Order>, _| timed(all.iter().map(|o| o.id).collect())),
    ])
    .await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    publish(&run, Order { id: 7 }).await?;
    kill(&runtime, &mut feed, "curator").await;
    publish(&run, Payment { id: 7 }).await?;
    publish(&run, Order { id: 8 }).await?;
    soon(runtime.until_idle()).await?;
    let mut all = seen.all();
    all.sort();
    assert_eq!(
        all,
        [("batch", vec![7, 8]), ("count", vec![7, 8]), ("join", vec![7, 7]), ("timed", vec![7, 8])]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_run_is_answered_although_the_curator_was_killed() -> Result<()> {
    let (at, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let agent = Agent::new("slow").consumes(one::<Order>()).engine({
        let (at, open) = (Arc::clone(&at), Arc::clone(&open));
        move |order: Order, _| {
            let (at, open) = (Arc::clone(&at), Arc::clone(&open));
            async move {
                at.add_permits(1);
                open.acquire().await?.forget();
                Ok::<_, Fault>(Publish(Receipt { id: order.id }))
            }
        }
    });
    let runtime = start([agent]).await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    publish(&run, Order { id: 1 }).await?;
    soon(at.acquire()).await.expect("never closed").forget();
    let (settled, idle) = tokio::join!(soon(run.settled()), async {
        kill(&runtime, &mut feed, "curator").await;
        // Attempts that still ran were handed back or go on; both end with this.
        open.add_permits(2);
        soon(runtime.until_idle()).await
    });
    idle?;
    let tally = settled?.tally;
    assert_eq!((tally.consumed, tally.outstanding()), (1, 0));
    assert_eq!(receipts(&runtime).await?, [1], "its effect stands once");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn back_offs_and_delays_survive_the_curator() -> Result<()> {
    let seen = Seen::new();
    let agent = Agent::new("again").consumes(one::<Order>()).retry(Retry::fixed(2, 600 * SECOND)).engine({
        let seen = seen.clone();
        move |order: Order, ctx: Context| {
            seen.note((order.id, ctx.attempt()));
            async move { if order.id == 1 && ctx.attempt() == 1 { Err("once") } else { Ok(()) } }
        }
    });
    let runtime = start([agent]).await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    publish(&run, Order { id: 1 }).await?;
    run.publish(Order { id: 2 }).visible_to(Visibility::after(300 * SECOND)).await?;
    soon(async { while !matches!(feed.next().await, Some(FeedItem::Event(Event::Retrying { .. }))) {} })
        .await;
    kill(&runtime, &mut feed, "curator").await;
    let tally = soon(run.settled()).await?.tally;
    assert_eq!(seen.all(), [(1, 1), (2, 1), (1, 2)]);
    assert_eq!(tally.consumed, 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_pause_survives_the_curator() -> Result<()> {
    let seen = Seen::new();
    let runtime = start([clerk(&seen)]).await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    runtime.pause("clerk")?;
    publish(&run, Order { id: 1 }).await?;
    kill(&runtime, &mut feed, "curator").await;
    publish(&run, Order { id: 2 }).await?;
    runtime.until_idle().await?;
    assert!(seen.all().is_empty() && runtime.agents().await?[0].paused);
    runtime.resume("clerk")?;
    assert_eq!(soon(run.settled()).await?.tally.consumed, 2);
    assert_eq!(seen.all(), [1, 2]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_survives_the_curator() -> Result<()> {
    for cancel in [false, true] {
        let agent = Agent::new("pairs")
            .consumes(count::<Order>(2))
            .engine(|_: Vec<Order>, _| async { Ok::<_, Fault>(()) });
        let runtime = start([agent]).await?;
        let mut feed = runtime.feed();
        let run = runtime.run("test").open();
        publish(&run, Order { id: 1 }).await?;
        runtime.kill("curator").await?;
        if cancel {
            run.cancel();
        } else {
            // Polled once: the declaration stands.
            assert!(run.finish().now_or_never().is_none());
        }
        started_again(&mut feed, "curator").await;
        publish(&run, Order { id: 2 }).await?;
        let tally = soon(run.settled()).await?.tally;
        let ended = if cancel { tally.cancelled } else { tally.expired };
        assert_eq!((ended, tally.outstanding()), (2, 0), "cancelled: {cancel}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_killed_agent_are_handed_back_and_run_again() -> Result<()> {
    let (attempts, at) = (Seen::new(), Arc::new(Semaphore::new(0)));
    let dropped = Arc::new(AtomicU32::new(0));
    struct Guard(Arc<AtomicU32>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let agent = Agent::new("fragile").consumes(one::<Order>()).engine({
        let (attempts, at, dropped) = (attempts.clone(), Arc::clone(&at), Arc::clone(&dropped));
        move |order: Order, ctx: Context| {
            attempts.note((order.id, ctx.attempt()));
            let (at, guard) = (Arc::clone(&at), Guard(Arc::clone(&dropped)));
            async move {
                at.add_permits(1);
                if ctx.attempt() == 1 {
                    std::future::pending::<()>().await;
                }
                drop(guard);
                Ok::<_, Fault>(Publish(Receipt { id: order.id }))
            }
        }
    });
    let runtime = start([agent]).await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    publish(&run, Order { id: 1 }).await?;
    publish(&run, Order { id: 2 }).await?;
    soon(at.acquire_many(2)).await.expect("never closed").forget();
    kill(&runtime, &mut feed, "fragile").await;
    let tally = soon(run.settled()).await?.tally;
    let mut all = attempts.all();
    all.sort_unstable();
    assert_eq!(all, [(1, 1), (1, 2), (2, 1), (2, 2)]);
    assert_eq!(dropped.load(Ordering::Relaxed), 4, "the cut-off attempts were dropped");
    assert_eq!((tally.consumed, tally.dead), (2, 0), "being cut off is no failure");
    let mut published = receipts(&runtime).await?;
    published.sort_unstable();
    assert_eq!(published, [1, 2]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_timekeeper_and_the_sweeps_may_be_killed() -> Result<()> {
    let seen = Seen::new();
    let agent = Agent::new("timed").consumes(one::<Order>().batch(Batch::after(60 * SECOND))).engine({
        let seen = seen.clone();
        move |all: Vec<Order>, _| {
            seen.note(all.len());
            async { Ok::<_, Fault>(()) }
        }
    });
    let runtime = start([agent]).await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    publish(&run, Order { id: 1 }).await?;
    kill(&runtime, &mut feed, "timekeeper").await;
    kill(&runtime, &mut feed, "batch-timeouts").await;
    soon(run.settled()).await?;
    assert_eq!(seen.all(), [1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_part_that_keeps_dying_ends_the_runtime_with_a_report() -> Result<()> {
    let runtime = start([clerk(&Seen::new())]).await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    for _ in 0..5 {
        kill(&runtime, &mut feed, "curator").await;
    }
    runtime.kill("curator").await?;
    let report = soon(runtime.stopped()).await?;
    assert!(!report.is_graceful(), "{report}");
    let refused = publish(&run, Order { id: 1 }).await.expect_err("it has stopped");
    assert_eq!(refused.kind(), ErrorKind::Stop);
    let refused = soon(run.settled()).await.expect_err("it has stopped");
    assert_eq!(refused.kind(), ErrorKind::Stop);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_keeps_its_counts_when_the_curator_was_killed() -> Result<()> {
    let seen = Seen::new();
    let runtime = start([clerk(&seen)]).await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    publish(&run, Order { id: 1 }).await?;
    assert_eq!(run.settled().await?.tally.consumed, 1);
    kill(&runtime, &mut feed, "curator").await;
    assert_eq!(run.settled().await?.tally.consumed, 1, "what had ended is not forgotten");
    publish(&run, Order { id: 2 }).await?;
    let tally = run.settled().await?.tally;
    assert_eq!((tally.matched, tally.consumed), (2, 2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_publisher_whose_curator_dies_before_it_answers_may_try_again() -> Result<()> {
    let seen = Seen::new();
    let store = FailingStore::over(Memory::new());
    let runtime = Volery::builder("stuck").store(store.clone()).agent(clerk(&seen)).start().await?;
    let mut feed = runtime.feed();
    store.delay_commits(std::future::pending);
    let publishing = runtime.publish(Order { id: 1 });
    let killing = async {
        tokio::task::yield_now().await;
        // Paused time moves when nothing else does: by then the curator waits for the commit.
        tokio::time::sleep(Duration::from_millis(1)).await;
        store.commit_at_once();
        kill(&runtime, &mut feed, "curator").await;
    };
    let (published, ()) = tokio::join!(publishing, killing);
    let error = published.expect_err("nobody answered");
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    runtime.publish(Order { id: 2 }).await?;
    soon(runtime.until_idle()).await?;
    assert_eq!(seen.all(), [2]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_the_life_before_is_answered_by_the_next() -> Result<()> {
    let seen = Seen::new();
    let store = FailingStore::over(Memory::new());
    let runtime = Volery::builder("stuck").store(store.clone()).agent(clerk(&seen)).start().await?;
    let mut feed = runtime.feed();
    let run = runtime.run("test").open();
    publish(&run, Order { id: 1 }).await?;
    run.settled().await?;
    store.delay_commits(std::future::pending);
    // The question and a write that never ends are of one commit.
    let asking = run.settled();
    let publishing = runtime.publish(Order { id: 2 });
    let killing = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        store.commit_at_once();
        kill(&runtime, &mut feed, "curator").await;
    };
    let (asked, published, ()) = tokio::join!(soon(asking), publishing, killing);
    assert_eq!(asked?.tally.consumed, 1);
    published.expect_err("its commit never ended");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_the_store_refused_is_written_when_it_works_again() -> Result<()> {
    let store = FailingStore::over(Memory::new());
    let pair = Agent::new("pair")
        .consumes(join(by(|o: &Order| o.id), by(|p: &Payment| p.id)).within(SECOND))
        .engine(|_: (Order, Payment), _: Context| async { Ok::<_, Fault>(()) });
    let runtime = Volery::builder("down").store(store.clone()).agent(pair).start().await?;
    let run = runtime.run("test").open();
    publish(&run, Order { id: 1 }).await?;
    store.refuse_writes();
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(run.tally().await?.expired, 1, "the board has decided");
    assert_eq!(store.tally(run.id()).await?.expired, 0, "the store was not told");
    store.accept_writes();
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(store.tally(run.id()).await?.expired, 1, "now it was");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_an_earlier_curator_sent_does_not_run_beside_its_repeat() -> Result<()> {
    let seen = Seen::new();
    let runtime = start([clerk(&seen)]).await?;
    let mut feed = runtime.feed();
    runtime.kill("clerk").await?;
    soon(async {
        // Between its lives the agent's mailbox keeps what it is sent.
        while !matches!(&feed.next().await, Some(FeedItem::Event(Event::Life(LifeEvent::Ended { child, .. }))) if child.as_str() == "clerk") {}
    })
    .await;
    runtime.publish(Order { id: 1 }).await?;
    kill(&runtime, &mut feed, "curator").await;
    soon(runtime.until_idle()).await?;
    assert_eq!(seen.all(), [1]);
    Ok(())
}
