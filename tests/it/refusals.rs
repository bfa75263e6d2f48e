//! Writes that a working store refuses by themselves: they concern their job and nobody else, and they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use volery::prelude::*;
use volery::store::{AgentIndex, JobEnd, Write};
use volery::testing::FailingStore;
use volery::{Failure, Fault, WaitingReason};

use crate::support::{A, B, SECOND, Seen, Tested, a, b, soon, tally, turns};

/// The part of a job's end that the store refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Done,
    Retry,
    /// Every write with outputs.
    Outputs,
    All,
}

fn refusing(what: Refused) -> FailingStore {
    let store = FailingStore::over(Memory::new());
    store.refuse_only(move |write| match write {
        Write::Finish(finish) => match finish.end {
            JobEnd::Done => true,
            _ => what == Refused::All || what == Refused::Outputs && !finish.outputs.is_empty(),
        },
        Write::Retry { .. } => what == Refused::Retry || what == Refused::All,
        _ => false,
    });
    store
}

/// Publishes for even numbers and fails for odd ones; counts its calls.
fn worker(calls: &Arc<AtomicU32>) -> Agent {
    let calls = Arc::clone(calls);
    Agent::new("worker").retry(Retry::fixed(2, SECOND)).consumes(one::<A>()).engine(move |input: A, _| {
        calls.fetch_add(1, Ordering::Relaxed);
        async move { if input.n.is_multiple_of(2) { Ok(Publish(b(0, input.n))) } else { Err(Fault::from("odd")) } }
    })
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_end_the_store_refuses_is_a_dead_letter_with_the_stores_error() -> Tested {
    for (what, n, failures) in
        [(Refused::Done, 0, 1), (Refused::Retry, 1, 1), (Refused::Outputs, 0, 0), (Refused::Outputs, 1, 0)]
    {
        let (calls, heard) = (Arc::default(), Seen::<Failure>::new());
        let nurse = Agent::new("nurse").consumes(one::<Failure>()).engine({
            let heard = heard.clone();
            move |failure: Failure, _| {
                heard.note(failure);
                std::future::pending::<Result<(), Fault>>()
            }
        });
        let volery =
            Volery::builder("t").agents([worker(&calls), nurse]).store(refusing(what)).start().await?;
        volery.publish(a(0, n)).await?;
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(tally(&volery, "worker").await?.dead, 1, "{what:?}, {n}");
        let letters = volery.dead_letters().limit(9).await?;
        let error = letters[0].error.join("; ");
        assert!(error.contains("the test refuses this write"), "{what:?}, {n}: {error}");
        let retried = u32::from(what == Refused::Outputs && n == 1);
        assert_eq!(calls.load(Ordering::Relaxed), 1 + retried, "{what:?}, {n}: it is not run again for that");
        assert_eq!(heard.all().len(), failures, "{what:?}, {n}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_even_be_given_up_backs_off_longer_and_longer_and_says_so() -> Tested {
    let calls: Arc<AtomicU32> = Arc::default();
    let store = refusing(Refused::All);
    let volery = Volery::builder("t").agent(worker(&calls)).store(store.clone()).start().await?;
    let run = volery.run("refused").publish(a(0, 0)).await?;
    turns().await;
    let waiting = run.waiting().await?;
    assert!(matches!(waiting[0].reason, WaitingReason::BackOffUntil(_)), "{waiting:?}");
    tokio::time::sleep(600 * SECOND).await;
    let called = calls.load(Ordering::Relaxed);
    assert!((5..15).contains(&called), "{called} calls");
    assert!(volery.health().await.ready, "the store works");
    store.accept_writes();
    assert_eq!(soon(run.settled()).await?.tally.consumed, 1, "it is lost to nobody");
    assert_eq!(run.artifacts::<B>().await?, [b(0, 0)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_start_the_store_refuses_holds_nobody_else_up_and_is_tried_again() -> Tested {
    let (mine, others, refused) = (Seen::<A>::new(), Seen::<A>::new(), Arc::<AtomicU32>::default());
    let agent = |name: &str, seen: &Seen<A>| Agent::new(name).consumes(one::<A>()).engine(seen.engine());
    let store = FailingStore::over(Memory::new());
    // So that the first starts are recorded before their jobs go to agents.
    store.outlive_process();
    store.refuse_only({
        let refused = Arc::clone(&refused);
        move |write| {
            let Write::Start(start) = write else { return false };
            let picked = start.agent == AgentIndex(0) && start.members[0].offset.get() == 1;
            refused.fetch_add(u32::from(picked), Ordering::Relaxed);
            picked
        }
    });
    let agents = [agent("mine", &mine), agent("other", &others)];
    let volery = Volery::builder("t").agents(agents).store(store.clone()).start().await?;
    volery.publish_all(vec![a(0, 1), a(0, 2), a(0, 3)]).await?;
    turns().await;
    assert_eq!((mine.all(), others.all()), (vec![a(0, 2), a(0, 3)], vec![a(0, 1), a(0, 2), a(0, 3)]));
    let health = volery.health().await;
    assert!(health.ready && health.reasons.is_empty(), "the store works: {health}");
    let waiting = volery.waiting().await?;
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].reason, WaitingReason::StoreUnavailable);
    tokio::time::sleep(600 * SECOND).await;
    let tries = refused.load(Ordering::Relaxed);
    assert!((5..15).contains(&tries), "{tries} tries");
    store.accept_writes();
    soon(volery.until_idle()).await?;
    assert_eq!(mine.all().last(), Some(&a(0, 1)), "it is lost to nobody");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_whose_failure_is_refused_counts_no_attempt_that_was_not_made() -> Tested {
    let store = FailingStore::over(Memory::new());
    store.refuse_only(|write| matches!(write, Write::Finish(finish) if !finish.outputs.is_empty()));
    let busy = Agent::new("busy").concurrency(1).queue_timeout(SECOND).consumes(one::<A>());
    let busy = busy.engine(|_: A, _| std::future::pending::<Result<(), Fault>>());
    let volery = Volery::builder("t").agent(busy).store(store).start().await?;
    volery.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    tokio::time::sleep(5 * SECOND).await;
    let letters = volery.dead_letters().limit(9).await?;
    assert_eq!(letters.len(), 1, "the second waited too long");
    assert_eq!(letters[0].attempts, 0, "{:?}", letters[0].error);
    Ok(())
}
