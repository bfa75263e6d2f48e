//! The lookout: what it finds, and that it says so once.
//!
//! Where a worker thread is blocked, time is real; the tests wait for events and open gates, and sleep
//! nowhere.

use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use volery::feed::{Event, FeedReader};
use volery::prelude::*;
use volery::report::Finding;

use crate::support::{A, Gate, SECOND, Tested, a, drain, event};

/// The finding that began or is over, in its words.
fn told(event: &Event) -> Option<(bool, Finding)> {
    match event {
        Event::Found(finding) => Some((true, finding.clone())),
        Event::Over(finding) => Some((false, finding.clone())),
        _ => None,
    }
}

async fn findings_told(feed: &mut FeedReader) -> Vec<(bool, Finding)> {
    drain(feed).await.iter().filter_map(told).collect()
}

fn gated(gate: &Gate) -> Agent {
    let gate = gate.clone();
    Agent::new("slow").expected(SECOND * 5).consumes(one::<A>()).engine(move |_: A, _| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Fault>(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_attempt_past_its_expected_time_is_said_once_and_once_when_it_is_over() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(gated(&gate)).start().await?;
    let mut feed = volery.feed();
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    tokio::time::sleep(SECOND * 4).await;
    assert!(volery.findings().is_empty(), "it is within its time");
    tokio::time::sleep(SECOND * 30).await;
    let found = volery.findings();
    let [Finding::AttemptOverdue { agent, attempt: 1, expected, .. }] = &found[..] else {
        panic!("found {found:?}");
    };
    assert_eq!((agent.as_str(), *expected), ("slow", SECOND * 5));
    assert_eq!(findings_told(&mut feed).await, [(true, found[0].clone())], "said once in thirty looks");
    gate.open(1);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(findings_told(&mut feed).await, [(false, found[0].clone())]);
    assert!(volery.findings().is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_expected_time_is_never_overdue() -> Tested {
    let gate = Gate::new();
    let slow = Agent::new("slow").consumes(one::<A>()).engine({
        let gate = gate.clone();
        move |_: A, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(slow).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    tokio::time::sleep(SECOND * 1_000).await;
    assert!(volery.findings().is_empty(), "and one that waits blocks nobody");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_oldest_job_waits_for_long_is_said_once_and_once_when_it_is_over() -> Tested {
    let paused = Agent::new("paused").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t")
        .agent(paused)
        .configure(|settings| settings.oldest_age = SECOND * 20)
        .start()
        .await?;
    volery.pause("paused")?;
    let mut feed = volery.feed();
    volery.publish(a(0, 0)).await?;
    tokio::time::sleep(SECOND * 19).await;
    assert!(volery.findings().is_empty(), "it is not old yet");
    tokio::time::sleep(SECOND * 60).await;
    let found = volery.findings();
    assert!(matches!(&found[..], [Finding::AgentAging { agent, .. }] if agent.as_str() == "paused"));
    assert_eq!(findings_told(&mut feed).await, [(true, found[0].clone())]);
    volery.resume("paused")?;
    tokio::time::sleep(SECOND * 4).await;
    assert_eq!(findings_told(&mut feed).await, [(false, found[0].clone())]);
    assert!(volery.findings().is_empty());
    Ok(())
}

/// An engine that blocks its thread until it is sent a word, and tells when it does.
fn blocking_engine(name: &str) -> (Agent, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((there, reached), (open, opened)) = (mpsc::channel(), mpsc::channel());
    let doors = Mutex::new((there, opened));
    let agent = Agent::new(name).consumes(one::<A>()).engine(move |_: A, _| {
        let (there, opened) = &*doors.lock().unwrap_or_else(PoisonError::into_inner);
        there.send(()).expect("the test is there");
        opened.recv().expect("the test opens");
        async { Ok::<_, Fault>(()) }
    });
    (agent, reached, open)
}

async fn blocked_worker(workers: usize) -> Tested {
    let (agent, reached, open) = blocking_engine("billing");
    let volery = Volery::builder("t")
        .agent(agent)
        .configure(|settings| settings.blocked_after = Duration::from_millis(10))
        .start()
        .await?;
    let mut feed = volery.feed();
    volery.publish(a(0, 0)).await?;
    reached.recv().expect("the engine is called");
    let blocked = |wanted: bool| {
        move |event: &Event| match told(event)? {
            (begun, Finding::WorkerBlocked { agent, attempt: 1, .. }) if begun == wanted => Some(agent),
            _ => None,
        }
    };
    assert_eq!(event(&mut feed, blocked(true)).await.as_str(), "billing");
    if workers == 1 {
        let stalled = |wanted: bool| {
            move |event: &Event| match told(event)? {
                (begun, Finding::RuntimeStalled { .. }) if begun == wanted => Some(()),
                _ => None,
            }
        };
        event(&mut feed, stalled(true)).await;
        assert_eq!(volery.findings().len(), 2, "both can be asked for from any thread");
        open.send(()).expect("the engine waits");
        event(&mut feed, stalled(false)).await;
    } else {
        assert!(volery.findings().iter().any(|finding| finding.agent().is_some()));
        open.send(()).expect("the engine waits");
        event(&mut feed, blocked(false)).await;
    }
    volery.shutdown().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_blocks_a_worker_thread_is_named() -> Tested {
    blocked_worker(2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_runtime_whose_workers_are_all_blocked_is_found_all_the_same() -> Tested {
    blocked_worker(1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_task_beside_an_engine_that_blocks_a_worker_thread_is_named_by_its_attempt() -> Tested {
    let ((there, reached), (open, opened)) = (mpsc::channel(), mpsc::channel());
    let doors = std::sync::Arc::new(Mutex::new((there, opened)));
    let agent = Agent::new("billing").consumes(one::<A>()).engine(move |_: A, context: Context| {
        let doors = std::sync::Arc::clone(&doors);
        async move {
            let beside = context.spawn(async move {
                let (there, opened) = &*doors.lock().unwrap_or_else(PoisonError::into_inner);
                there.send(()).expect("the test is there");
                opened.recv().expect("the test opens");
            });
            beside.await.map_err(Fault::from)
        }
    });
    let volery = Volery::builder("t")
        .agent(agent)
        .configure(|settings| settings.blocked_after = Duration::from_millis(10))
        .start()
        .await?;
    let mut feed = volery.feed();
    volery.publish(a(0, 0)).await?;
    reached.recv().expect("the task begins");
    let blocked = |wanted: bool| {
        move |event: &Event| match told(event)? {
            (begun, Finding::WorkerBlocked { agent, attempt: 1, .. }) if begun == wanted => Some(agent),
            _ => None,
        }
    };
    assert_eq!(event(&mut feed, blocked(true)).await.as_str(), "billing");
    open.send(()).expect("the task waits");
    event(&mut feed, blocked(false)).await;
    volery.shutdown().await?;
    Ok(())
}
