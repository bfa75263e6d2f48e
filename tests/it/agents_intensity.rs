//! Panics of engines: counted against an intensity, past which the agent waits in quarantine or the runtime
//! stops.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

use volery::agent::PastIntensity;
use volery::feed::{Event, FeedReader};
use volery::prelude::*;
use volery::report::{AgentStatus, StopCause};
use volery::supervision::Intensity;
use volery::supervision::LifeEvent;
use volery::testing::FailingStore;
use volery::{Fault, WaitingReason};

use crate::support::{A, B, Gate, SECOND, Seen, Stopwatch, Tested, a, b, drain, event, soon, turns};

/// Tolerates two panics in ten seconds.
const TWO: Intensity = Intensity { restarts: 2, within: SECOND.saturating_mul(10) };

/// An agent whose engine panics at jobs with the key 1.
fn brittle(past: PastIntensity) -> Agent {
    Agent::new("brittle").consumes(one::<A>()).concurrency(1).intensity(TWO).past_intensity(past).engine(
        |input: A, _| async move {
            assert_ne!(input.key, 1, "panics at one");
            Ok::<_, Fault>(())
        },
    )
}

/// Jobs of which the first `panics` panic.
fn jobs(panics: u32, fine: u32) -> Vec<A> {
    (0..panics).map(|n| a(1, n)).chain((0..fine).map(|n| a(0, n))).collect()
}

async fn status(volery: &Volery) -> volery::Result<AgentStatus> {
    Ok(volery.agents().await?.swap_remove(0))
}

async fn restarted_curator(volery: &Volery, feed: &mut FeedReader) -> Tested {
    volery.kill("curator").await?;
    let again = |event: &Event| {
        matches!(event, Event::Life(LifeEvent::Started { child, life }) if child.as_str() == "curator" && *life > 1)
            .then_some(())
    };
    event(feed, again).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_panics_too_often_is_quarantined_and_its_jobs_wait_visibly() -> Tested {
    let volery = Volery::builder("t").agent(brittle(PastIntensity::default())).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("panics").open();
    run.publish_all(jobs(3, 2)).await?;
    let report = soon(run.settled()).await?;
    assert_eq!((report.tally.dead, report.tally.outstanding()), (3, 2), "a quarantine is rest");
    soon(volery.until_idle()).await?;

    let status = status(&volery).await?;
    let quarantine = status.quarantine.expect("the third panic is one too many");
    assert_eq!((status.restarts, quarantine.restarts, quarantine.resumes_at), (3, 3, None));
    assert_eq!((status.queued, status.paused), (2, false));
    let reasons: Vec<_> = volery.waiting().await?.into_iter().map(|waiting| waiting.reason).collect();
    assert_eq!(reasons, vec![WaitingReason::AgentQuarantined(quarantine); 2]);

    let counted: Vec<u32> = drain(&mut feed)
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::Restarted { agent, restarts } if agent.as_str() == "brittle" => Some(restarts),
            Event::Quarantined { quarantine: told, .. } if told == quarantine => Some(0),
            _ => None,
        })
        .collect();
    assert_eq!(counted, [1, 2, 3, 0]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn resume_ends_a_quarantine_and_its_count_begins_anew() -> Tested {
    let volery = Volery::builder("t").agent(brittle(PastIntensity::default())).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("panics").open();
    run.publish_all(jobs(3, 1)).await?;
    run.settled().await?;
    volery.pause("brittle")?;
    volery.resume("brittle")?;
    event(&mut feed, |event| matches!(event, Event::Resumed { .. }).then_some(())).await;
    assert_eq!(soon(run.settled()).await?.tally.consumed, 1);
    run.publish_all(jobs(2, 1)).await?;
    let report = soon(run.settled()).await?;
    assert_eq!((report.tally.dead, report.tally.consumed), (5, 2), "two more are tolerated");
    assert_eq!(status(&volery).await?.quarantine, None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn panics_that_lie_further_apart_than_the_window_are_tolerated() -> Tested {
    let volery = Volery::builder("t").agent(brittle(PastIntensity::default())).start().await?;
    for _ in 0..5 {
        volery.publish(a(1, 0)).await?;
        volery.until_idle().await?;
        tokio::time::advance(6 * SECOND).await;
    }
    let status = status(&volery).await?;
    assert_eq!((status.restarts, status.quarantine), (5, None));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_with_an_end_is_waited_for_and_then_is_a_trial() -> Tested {
    let past = PastIntensity::Quarantine { resume_after: Some(60 * SECOND) };
    let volery = Volery::builder("t").agent(brittle(past)).start().await?;
    let run = volery.run("panics").open();
    run.publish_all(jobs(6, 1)).await?;
    let watch = Stopwatch::start();
    let report = soon(run.settled()).await?;
    assert_eq!((report.tally.dead, report.tally.consumed), (6, 1));
    assert!(watch.elapsed() >= 120 * SECOND, "a second quarantine followed the trial: {:?}", watch.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn attempts_that_run_when_the_quarantine_begins_finish() -> Tested {
    let gate = Gate::new();
    let agent = Agent::new("brittle").consumes(one::<A>()).concurrency(2).intensity(TWO).engine({
        let gate = gate.clone();
        move |input: A, _| {
            let gate = gate.clone();
            async move {
                if input.key == 0 {
                    gate.pass().await;
                }
                assert_ne!(input.key, 1, "panics at one");
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    volery.publish_all(jobs(3, 1)).await?;
    event(&mut feed, |event| matches!(event, Event::Quarantined { .. }).then_some(())).await;
    gate.open(1);
    soon(volery.until_idle()).await?;
    let status = status(&volery).await?;
    assert_eq!((status.tally.consumed, status.queued, status.running), (1, 1, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_survives_the_curator() -> Tested {
    let past = PastIntensity::Quarantine { resume_after: Some(60 * SECOND) };
    let volery = Volery::builder("t").agent(brittle(past)).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("panics").open();
    run.publish_all(jobs(3, 1)).await?;
    event(&mut feed, |event| matches!(event, Event::Quarantined { .. }).then_some(())).await;
    turns().await;
    let before = status(&volery).await?.quarantine;
    restarted_curator(&volery, &mut feed).await?;
    assert_eq!((status(&volery).await?.quarantine, before.is_some()), (before, true));
    assert_eq!(soon(run.settled()).await?.tally.consumed, 1, "and it ends when it was to end");
    assert_eq!(status(&volery).await?.quarantine, None);
    restarted_curator(&volery, &mut feed).await?;
    assert_eq!(status(&volery).await?.quarantine, None, "what is over stays over");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_that_follows_a_lifted_one_at_once_is_not_forgotten() -> Tested {
    let (gate, commits, store) = (Gate::new(), Gate::new(), FailingStore::over(Memory::new()));
    let none = Intensity { restarts: 0, within: SECOND };
    let agent = Agent::new("brittle").consumes(one::<A>()).concurrency(2).intensity(none).engine({
        let gate = gate.clone();
        move |input: A, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                assert_ne!(input.key, 1, "always");
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).store(store.clone()).start().await?;
    let mut feed = volery.feed();
    volery.publish_all(jobs(2, 0)).await?;
    gate.reached().await;
    gate.reached().await;
    gate.open(1);
    event(&mut feed, |event| matches!(event, Event::Quarantined { .. }).then_some(())).await;
    // While a commit is under way, a resume and then a panic come together.
    turns().await;
    store.delay_commits({
        let commits = commits.clone();
        move || commits.pass()
    });
    let (published, told) = tokio::join!(volery.publish(b(0, 0)), async {
        commits.reached().await;
        volery.resume("brittle")?;
        turns().await;
        gate.open(1);
        turns().await;
        commits.open_for_good();
        Ok::<_, volery::Error>(())
    });
    published?;
    told?;
    turns().await;
    let before = status(&volery).await?.quarantine;
    assert!(before.is_some(), "the second panic is one too many as well");
    restarted_curator(&volery, &mut feed).await?;
    assert_eq!(status(&volery).await?.quarantine, before, "it is kept for another life");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_escalates_stops_the_runtime_and_is_named() -> Tested {
    let seen = Seen::new();
    let other = Agent::new("other").consumes(one::<A>()).engine(seen.engine());
    let agents = [brittle(PastIntensity::Escalate), other];
    let volery = Volery::builder("t").agents(agents).start().await?;
    volery.publish_all(jobs(3, 2)).await?;
    let report = soon(volery.stopped()).await?;
    assert_eq!(report.cause, StopCause::Escalated { agent: "brittle".to_owned() });
    assert!(report.to_string().contains("because agent brittle escalated"), "{report}");
    assert_eq!(seen.all().len(), 5, "the others were drained");
    let board = report.phase(volery::report::Phase::Board).expect("every phase has its row");
    assert_eq!(board.remaining, 2, "nothing more of the agent was started");
    let refused = volery.publish(a(0, 0)).await.expect_err("it accepts nothing more");
    assert_eq!(refused.kind(), ErrorKind::Stop);
    Ok(())
}

/// Says at each call whether the factory of an engine works.
#[derive(Clone, Default)]
struct Works(Arc<AtomicBool>);

#[tokio::test(start_paused = true)]
async fn a_factory_that_panics_or_fails_fails_the_attempt_and_counts() -> Tested {
    let engine = || async |_: A, _: Context| Ok::<_, Fault>(());
    for panics in [true, false] {
        let works = Works::default();
        let agent = Agent::new("unmade")
            .retry(Retry::fixed(2, SECOND))
            .intensity(TWO)
            .consumes(one::<A>())
            .concurrency(1)
            .try_engine_with({
                let works = works.clone();
                move || {
                    let works = works.0.load(Ordering::Acquire);
                    assert!(works || !panics, "no model today");
                    if works { Ok(engine()) } else { Err("no model today") }
                }
            });
        let volery = Volery::builder("t").agent(agent).start().await?;
        volery.publish(a(0, 0)).await?;
        soon(volery.until_idle()).await?;
        let letters = volery.dead_letters().await?;
        assert_eq!(letters[0].attempts, 2);
        assert_eq!(letters[0].error[0], "engine could not be made");
        assert!(letters[0].error[1].contains("no model today"), "{:?}", letters[0].error);
        assert_eq!(status(&volery).await?.restarts, 2);
        works.0.store(true, Ordering::Release);
        volery.publish(a(0, 1)).await?;
        soon(volery.until_idle()).await?;
        assert_eq!(status(&volery).await?.tally.consumed, 1, "the next attempt tries again");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attempts_at_the_same_time_share_one_engine() -> Tested {
    let (made, gate) = (Arc::new(AtomicU32::new(0)), Gate::new());
    let agent = Agent::new("shared").consumes(one::<A>()).concurrency(8).engine_with({
        let (made, gate) = (Arc::clone(&made), gate.clone());
        move || {
            made.fetch_add(1, Ordering::AcqRel);
            let gate = gate.clone();
            move |_: A, _: Context| {
                let gate = gate.clone();
                async move {
                    gate.pass().await;
                    Ok::<_, Fault>(())
                }
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(jobs(0, 8)).await?;
    for _ in 0..8 {
        gate.reached().await;
    }
    assert_eq!(made.load(Ordering::Acquire), 1);
    gate.open(8);
    volery.until_idle().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_factory_that_blocks_does_not_block_the_actor_of_its_agent() -> Tested {
    let (barrier, seen) = (Arc::new(Barrier::new(2)), Seen::new());
    let agent = Agent::new("slow").consumes(one::<A>()).engine_with({
        let barrier = Arc::clone(&barrier);
        move || {
            // Hands the worker's other tasks to another thread; one of them may be what the test waits for.
            tokio::task::block_in_place(|| barrier.wait());
            async |_: A, _: Context| Ok::<_, Fault>(())
        }
    });
    let agent = agent.consumes(one::<B>()).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(0, 0)).await?;
    volery.run("other").publish(b(0, 0)).await?.settled().await?;
    assert_eq!(seen.all(), [b(0, 0)], "the actor started another attempt meanwhile");
    tokio::task::spawn_blocking(move || barrier.wait()).await.expect("it waits for the factory");
    volery.until_idle().await?;
    assert_eq!(status(&volery).await?.tally.consumed, 2);
    Ok(())
}
