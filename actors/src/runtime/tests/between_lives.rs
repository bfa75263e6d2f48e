//! Tests of jobs for an agent that is between two lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use volery_blackboard::shape::one;

use crate::agent::Agent;
use crate::fault::Fault;
use crate::runtime::Volery;

async fn turns() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

fn agent(name: &str, calls: &Arc<AtomicU32>) -> Agent {
    let calls = Arc::clone(calls);
    Agent::new(name).consumes(one::<u32>()).engine(move |_: u32, _| {
        calls.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Fault>(()) }
    })
}

#[tokio::test(start_paused = true)]
async fn jobs_of_an_agent_between_two_lives_wait_for_the_next_and_hold_nobody_else_up() {
    let calls: [Arc<AtomicU32>; 2] = Default::default();
    let builder = Volery::builder("t").agent(agent("away", &calls[0])).agent(agent("there", &calls[1]));
    let runtime = builder.start().await.expect("it starts");
    let counts = || [&calls[0], &calls[1]].map(|calls| calls.load(Ordering::Relaxed));
    let agents = runtime.supervisor().subtree("agents").await.expect("it is supervised");
    // The second restart in a row waits for a back-off.
    for _ in 0..3 {
        agents.kill_child("away");
        turns().await;
    }
    runtime.publish_all([7_u32, 8, 9]).await.expect("it is open");
    turns().await;
    assert_eq!(counts(), [0, 3]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    turns().await;
    assert_eq!(counts(), [3, 3]);
}
