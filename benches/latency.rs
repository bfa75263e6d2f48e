//! Latency of an idle runtime, and memory per waiting artifact.
//!
//! `cargo bench -p volery-benches --bench latency` prints microseconds from the call of publish to the first
//! line of the engine, the same distance over bare ractor casts and bare tokio channels, and bytes per
//! waiting artifact.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::print_stdout, reason = "its output is what it prints")]

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use volery::prelude::*;

#[path = "plain.rs"]
mod plain;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Ping {
    number: u64,
}

/// Publishes one artifact at a time into an idle runtime and times the way to the engine.
async fn publish_to_engine(rounds: usize) -> Vec<Duration> {
    let (started, mut starts) = mpsc::channel(1);
    let agent =
        Agent::new("pong").consumes(one::<Shared<Ping>>()).engine(move |_: Shared<Ping>, _: Context| {
            let started = started.clone();
            async move {
                started.send(Instant::now()).await?;
                Ok::<_, volery::Fault>(())
            }
        });
    let volery = Volery::builder("latency").agent(agent).start().await.expect("it starts");
    let mut taken = Vec::with_capacity(rounds);
    for number in 0..rounds as u64 {
        let begun = Instant::now();
        volery.publish(Ping { number }).await.expect("the runtime runs");
        let start = starts.recv().await.expect("the engine runs");
        taken.push(start.saturating_duration_since(begun));
        volery.until_idle().await.expect("the runtime runs");
    }
    volery.shutdown().await.expect("it stops");
    taken
}

/// The same distance in bare parts: `send` sends one message and times it to its arrival.
async fn bare(rounds: usize, send: impl AsyncFn() -> Duration) -> Vec<Duration> {
    let mut taken = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        taken.push(send().await);
    }
    taken
}

fn print(name: &str, mut taken: Vec<Duration>) {
    taken.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = ((taken.len() - 1) as f64 * share) as usize;
        taken[index].as_nanos() / 100
    };
    let (p50, p99) = (at(0.5), at(0.99));
    println!("{name:<34} p50 {:>4}.{} µs   p99 {:>4}.{} µs", p50 / 10, p50 % 10, p99 / 10, p99 % 10);
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}

/// Resident memory per artifact that waits for a paused agent, payload of 8 bytes included.
async fn memory_per_waiting(count: u64) -> u64 {
    let idle = Agent::new("idle")
        .consumes(one::<Shared<Ping>>())
        .engine(async |_: Shared<Ping>, _: Context| Ok::<_, volery::Error>(()));
    let volery = Volery::builder("memory").agent(idle).start().await.expect("it starts");
    volery.pause("idle").expect("the agent exists");
    let before = resident();
    for group in 0..count / 1_000 {
        let pings: Vec<Ping> = (0..1_000).map(|n| Ping { number: group * 1_000 + n }).collect();
        volery.publish_all(pings).await.expect("the runtime runs");
    }
    volery.until_idle().await.expect("the runtime runs");
    let after = resident();
    // Twice: what waits is not to be worked off.
    volery.interrupt();
    volery.interrupt();
    volery.stopped().await.expect("it stops");
    after.saturating_sub(before) / count
}

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--test");
    let (rounds, waiting) = if smoke { (10, 1_000) } else { (5_000, 100_000) };
    let tokio = tokio::runtime::Runtime::new().expect("threads can be started");
    tokio.block_on(async {
        print("publish to engine start", publish_to_engine(rounds).await);
        print("plain: ractor, 3 hops", bare(rounds, || plain::ractor_casts(1, 3)).await);
        print("plain: tokio mpsc, 3 hops", bare(rounds, || plain::tokio_channels(1, 3)).await);
        println!("waiting artifact: {} bytes each, {waiting} waiting", memory_per_waiting(waiting).await);
    });
}
