//! Pace: slots that are free before the ends of their attempts are committed, and starts that are recorded
//! late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use volery::prelude::*;
use volery::store::Write;
use volery::supervision::Intensity;
use volery::testing::FailingStore;
use volery::{Fault, Memory};

use crate::place::{Place, die};
use crate::support::{A, B, Gate, Seen, Tested, a, b, soon, turns};

const SECOND: Duration = Duration::from_secs(1);

/// An agent with one slot and short attempts, each of which publishes something.
fn brisk(seen: &Seen<A>) -> Agent {
    let seen = seen.clone();
    Agent::new("brisk").consumes(one::<A>()).concurrency(1).engine(move |input: A, _| {
        seen.note(input);
        async move { Ok::<_, Fault>(Publish(b(0, input.n))) }
    })
}

/// Starts a runtime whose agent has ended its first job, and is given two jobs beyond its slot.
async fn started(store: &FailingStore, agent: Agent) -> volery::Result<Volery> {
    let volery = Volery::builder("t").agent(agent).store(store.clone()).start().await?;
    volery.publish(a(0, 0)).await?;
    soon(volery.until_idle()).await?;
    Ok(volery)
}

/// Publishes three jobs, and has their starts wait for the next commit, whose gate is returned.
async fn with_three_ready(volery: &Volery, store: &FailingStore) -> volery::Result<Gate> {
    volery.pause("brisk")?;
    volery.publish_all(vec![a(0, 1), a(0, 2), a(0, 3)]).await?;
    let commits = Gate::new();
    store.delay_commits({
        let commits = commits.clone();
        move || commits.pass()
    });
    volery.resume("brisk")?;
    soon(commits.reached()).await;
    commits.open(1);
    turns().await;
    Ok(commits)
}

#[tokio::test(start_paused = true)]
async fn a_slot_takes_the_next_job_before_the_end_of_the_last_is_committed() -> Tested {
    let (store, seen) = (FailingStore::over(Memory::new()), Seen::new());
    let volery = started(&store, brisk(&seen)).await?;
    let commits = with_three_ready(&volery, &store).await?;
    assert_eq!(
        seen.all(),
        (0..4).map(|n| a(0, n)).collect::<Vec<_>>(),
        "no end of the last three is committed"
    );
    commits.open_for_good();
    soon(volery.until_idle()).await?;
    assert_eq!(volery.agents().await?[0].tally.consumed, 4);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_kill_between_a_free_slot_and_the_commit_of_its_end_loses_and_repeats_nothing() -> Tested {
    let (place, seen) = (Place::with_late_records(), Seen::new());
    {
        let store = place.store().await;
        let volery = started(&store, brisk(&seen)).await?;
        let commits = with_three_ready(&volery, &store).await?;
        assert_eq!(seen.all().len(), 4, "their engines are done");
        store.refuse_writes();
        commits.open_for_good();
        die(volery, &store).await;
    }
    let volery = Volery::builder("t").agent(brisk(&seen)).store(place.store().await).start().await?;
    soon(volery.until_idle()).await?;
    let order: Vec<A> = [0, 1, 2, 3, 1, 2, 3].map(|n| a(0, n)).into();
    assert_eq!(seen.all(), order, "those without an end run again, in order");
    let page = volery.artifacts(&Filter::all().kind("B")).await?;
    let published = page.artifacts.iter().map(|artifact| artifact.payload::<B>());
    let published = published.collect::<std::result::Result<Vec<_>, _>>()?;
    assert_eq!(published.iter().map(|b| b.n).collect::<Vec<_>>(), [0, 1, 2, 3], "each output is there once");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_pause_takes_back_the_jobs_that_have_not_begun() -> Tested {
    let (store, seen, gate) = (FailingStore::over(Memory::new()), Seen::new(), Gate::new());
    let agent = {
        let (seen, gate) = (seen.clone(), gate.clone());
        Agent::new("brisk").consumes(one::<A>()).concurrency(1).engine(move |input: A, _| {
            let gate = gate.clone();
            seen.note(input);
            async move {
                if input.n == 1 {
                    gate.pass().await;
                }
                Ok::<_, Fault>(())
            }
        })
    };
    let volery = started(&store, agent).await?;
    volery.publish_all(vec![a(0, 1), a(0, 2), a(0, 3)]).await?;
    turns().await;
    let status = volery.agents().await?.swap_remove(0);
    assert_eq!((status.running, status.queued), (1, 2), "two wait for the slot");
    assert_eq!(volery.running().await?.len(), 1);
    assert!(volery.waiting().await?.iter().all(|waiting| waiting.reason == volery::WaitingReason::NoSlot));
    volery.pause("brisk")?;
    turns().await;
    gate.open_for_good();
    turns().await;
    assert_eq!(seen.all(), [a(0, 0), a(0, 1)], "what runs ends, and nothing begins");
    volery.resume("brisk")?;
    soon(volery.until_idle()).await?;
    assert_eq!(seen.all(), (0..4).map(|n| a(0, n)).collect::<Vec<_>>(), "in their order");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_job_begins_between_a_panic_and_its_count() -> Tested {
    let (store, seen) = (FailingStore::over(Memory::new()), Seen::new());
    let agent = {
        let seen = seen.clone();
        Agent::new("brisk")
            .consumes(one::<A>())
            .concurrency(1)
            .intensity(Intensity { restarts: 0, within: SECOND })
            .engine(move |input: A, _| {
                seen.note(input);
                assert!(input.n != 1, "an invariant is broken");
                async move { Ok::<_, Fault>(()) }
            })
    };
    let volery = started(&store, agent).await?;
    volery.publish_all(vec![a(0, 1), a(0, 2), a(0, 3)]).await?;
    turns().await;
    assert_eq!(seen.all(), [a(0, 0), a(0, 1)], "the agent is in quarantine");
    volery.resume("brisk")?;
    soon(volery.until_idle()).await?;
    assert_eq!(seen.all().len(), 4);
    Ok(())
}

/// A store that counts the starts that are written to it.
fn counting_starts() -> (FailingStore, Arc<AtomicU32>) {
    let (store, starts) = (FailingStore::over(Memory::new()), Arc::<AtomicU32>::default());
    store.refuse_only({
        let starts = Arc::clone(&starts);
        move |write| {
            starts.fetch_add(u32::from(matches!(write, Write::Start(_))), Ordering::Relaxed);
            false
        }
    });
    (store, starts)
}

#[tokio::test(start_paused = true)]
async fn the_start_of_an_attempt_that_lasts_is_recorded_and_that_of_a_short_one_is_not() -> Tested {
    let ((store, starts), gate) = (counting_starts(), Gate::new());
    let volery = started(&store, brisk(&Seen::new())).await?;
    assert_eq!(starts.load(Ordering::Relaxed), 0, "a short one has its end as its only record");
    soon(volery.shutdown()).await?;

    let ((store, starts), seen) = (counting_starts(), Seen::<A>::new());
    let agent = {
        let (gate, seen) = (gate.clone(), seen.clone());
        Agent::new("slow").consumes(one::<A>()).engine(move |input: A, _| {
            let gate = gate.clone();
            seen.note(input);
            async move {
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        })
    };
    let volery = Volery::builder("t").agent(agent).store(store.clone()).start().await?;
    volery.publish(a(0, 0)).await?;
    turns().await;
    assert_eq!((seen.all().len(), starts.load(Ordering::Relaxed)), (1, 0), "it runs before it is recorded");
    tokio::time::sleep(SECOND).await;
    assert_eq!(starts.load(Ordering::Relaxed), 1, "once");
    gate.open_for_good();
    soon(volery.until_idle()).await?;
    assert_eq!(volery.agents().await?[0].tally.consumed, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_first_starts_of_a_life_and_those_of_batches_are_recorded_before_their_engines_are_called()
-> Tested {
    for lasting in [true, false] {
        let ((store, starts), seen) = (counting_starts(), Seen::<Vec<A>>::new());
        let noted = Arc::<AtomicU32>::default();
        let engine = {
            let (starts, noted, seen) = (Arc::clone(&starts), Arc::clone(&noted), seen.clone());
            move |input: Vec<A>, _: Context| {
                noted.fetch_max(starts.load(Ordering::Relaxed), Ordering::Relaxed);
                seen.note(input);
                std::future::ready(Ok::<_, Fault>(()))
            }
        };
        let agent = Agent::new("any").consumes(one::<A>().batch(Batch::of(2))).engine(engine);
        let single = Agent::new("single").consumes(one::<B>()).engine(Seen::<B>::new().engine());
        if lasting {
            store.outlive_process();
        }
        let volery = Volery::builder("t").agents([agent, single]).store(store.clone()).start().await?;
        volery.publish_all(vec![a(0, 0), a(0, 1)]).await?;
        soon(volery.until_idle()).await?;
        assert_eq!((seen.all().len(), noted.load(Ordering::Relaxed)), (1, 1), "a batch is");
        volery.publish(b(0, 0)).await?;
        soon(volery.until_idle()).await?;
        let wanted = if lasting { 2 } else { 1 };
        assert_eq!(
            starts.load(Ordering::Relaxed),
            wanted,
            "a single input is, early in a life that may be repeated"
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_start_that_could_not_be_recorded_is_recorded_when_the_store_works() -> Tested {
    let (store, gate, starts) = (FailingStore::over(Memory::new()), Gate::new(), Arc::<AtomicU32>::default());
    let refused = Arc::clone(&starts);
    store.refuse_only(move |write| {
        let is_start = matches!(write, Write::Start(_));
        is_start && refused.fetch_add(1, Ordering::Relaxed) == 0
    });
    let agent = {
        let gate = gate.clone();
        Agent::new("slow").consumes(one::<A>()).engine(move |_: A, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        })
    };
    let volery = Volery::builder("t").agent(agent).store(store.clone()).start().await?;
    volery.publish(a(0, 0)).await?;
    tokio::time::sleep(SECOND).await;
    assert_eq!(starts.load(Ordering::Relaxed), 2, "refused once, and then accepted");
    gate.open_for_good();
    soon(volery.until_idle()).await?;
    assert_eq!(volery.agents().await?[0].tally.consumed, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_tried_again_by_the_second_while_an_attempt_lasts() -> Tested {
    let (store, gate) = (FailingStore::over(Memory::new()), Gate::new());
    let agent = {
        let gate = gate.clone();
        Agent::new("slow").consumes(one::<A>()).engine(move |_: A, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        })
    };
    let volery = Volery::builder("t").agent(agent).store(store.clone()).start().await?;
    volery.publish(a(0, 0)).await?;
    soon(gate.reached()).await;
    store.refuse_writes();
    let before = store.commits();
    assert!(volery.publish(a(0, 1)).await.is_err());
    tokio::time::sleep(10 * SECOND).await;
    let tries = store.commits() - before;
    assert!((2..=30).contains(&tries), "{tries} commits in ten seconds");
    store.accept_writes();
    gate.open_for_good();
    soon(volery.until_idle()).await?;
    assert_eq!(volery.agents().await?[0].tally.consumed, 1);
    Ok(())
}
