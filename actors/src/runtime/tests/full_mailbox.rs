//! Tests of an agent that cannot be given a job: no test from outside can fill a mailbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use volery_blackboard::board::WaitingFilter;
use volery_blackboard::shape::one;
use volery_blackboard::{JobId, Timestamp, WaitingReason};

use crate::agent::{Agent, AgentMessage};
use crate::fault::Fault;
use crate::runtime::Volery;

async fn turns() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Kills an agent, and leaves so many messages for its next life that no job has room beside them.
async fn fill(runtime: &Volery, agent: usize) {
    let (name, address) = &runtime.0.agents[agent];
    let agents = runtime.supervisor().subtree("agents").await.expect("it is supervised");
    agents.kill_child(name.as_str());
    turns().await;
    let job = JobId::derive("none", Timestamp::MIN, std::iter::empty());
    while address.send(AgentMessage::Cancel(job)).is_ok() {}
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_cannot_be_given_a_job_holds_nobody_else_up_and_is_no_trouble_of_the_store() {
    let calls: [Arc<AtomicU32>; 2] = Default::default();
    let agent = |name: &str, calls: &Arc<AtomicU32>| {
        let calls = Arc::clone(calls);
        Agent::new(name).consumes(one::<u32>()).engine(move |_: u32, _| {
            calls.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Fault>(()) }
        })
    };
    let builder = Volery::builder("t").agent(agent("full", &calls[0])).agent(agent("free", &calls[1]));
    let runtime = builder.start().await.expect("it starts");
    let counts = || [&calls[0], &calls[1]].map(|calls| calls.load(Ordering::Relaxed));
    fill(&runtime, 0).await;
    runtime.publish_all([7_u32, 8, 9]).await.expect("it is open");
    turns().await;
    assert_eq!(counts(), [0, 3]);
    let health = runtime.health().await;
    let parts: Vec<&str> = health.reasons.iter().map(|reason| reason.part.as_str()).collect();
    assert!(health.ready && parts == ["full"], "{health}");
    let asked = runtime.services().ingress.ask(|board| board.waiting(&WaitingFilter::default()));
    let waiting = asked.await.expect("it answers");
    assert_eq!(waiting.len(), 3);
    assert!(waiting.iter().all(|waiting| waiting.reason == WaitingReason::AgentUnavailable), "{waiting:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    turns().await;
    assert_eq!(counts(), [3, 3], "it is tried again a second later");
}
