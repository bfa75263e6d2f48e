//! Counts of one artifact: allocations, allocated bytes and, where valgrind is installed, instructions.
//!
//! The load is the one-to-one of `benches/throughput.rs` on one thread: an artifact in, one agent, an
//! artifact out, the memory store. Each figure is the difference between a long and a short load, so that
//! start and stop cancel out. Counts do not depend on how busy the machine is.
//!
//! `cargo run --release -p volery-counts` prints them; `-- --load N` runs one load and prints nothing.
//! `cargo test -p volery-counts` fails when an artifact allocates more than its budget.

#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

use std::alloc::System;
use std::process::{Command, Stdio};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use volery::prelude::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The budget of an artifact: the most allocations, and the most bytes allocated, that the test lets through.
/// It lies above the figures, which vary by less than 3 %; a change that lowers a figure much lowers its
/// bound.
#[cfg(test)]
const ALLOCATIONS_MAX: f64 = 9.0;
#[cfg(test)]
const BYTES_MAX: f64 = 2_500.0;

/// The two loads. A shorter long one would let growing maps show; a longer one takes minutes under valgrind.
const SHORT: u64 = 2_000;
const LONG: u64 = 12_000;

/// Publishers at work at the same time, each waiting for its own answer, as in `benches/throughput.rs`.
const PUBLISHERS: u64 = 64;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    number: u64,
    customer: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Parcel {
    number: u64,
}

/// Counts of one load.
struct Counts {
    allocations: usize,
    bytes: usize,
}

/// The allocations of one artifact.
struct Allocations {
    number: f64,
    bytes: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--load", count] => {
            load(count.parse().expect("a number of artifacts"));
        }
        _ => print(),
    }
}

fn print() {
    let Allocations { number, bytes } = allocations();
    println!("allocations per artifact: {number:.1}");
    println!("bytes allocated per artifact: {bytes:.0}");
    match (instructions(SHORT), instructions(LONG)) {
        (Some(short), Some(long)) => println!("instructions per artifact: {:.0}", per_artifact(short, long)),
        _ => println!("instructions per artifact: not counted, valgrind is not installed"),
    }
}

/// One artifact's part of the difference between the loads.
fn per_artifact(short: u64, long: u64) -> f64 {
    (long - short) as f64 / (LONG - SHORT) as f64
}

fn allocations() -> Allocations {
    // The first load of a process fills caches that the others find full.
    load(SHORT);
    let (short, long) = (load(SHORT), load(LONG));
    Allocations {
        number: per_artifact(short.allocations as u64, long.allocations as u64),
        bytes: per_artifact(short.bytes as u64, long.bytes as u64),
    }
}

fn load(count: u64) -> Counts {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it is built");
    runtime.block_on(async {
        let ship = Agent::new("ship").concurrency(256).consumes(one::<Shared<Order>>()).engine(
            async |order: Shared<Order>, _: Context| {
                Ok::<_, volery::Error>(Publish(Parcel { number: order.number }))
            },
        );
        let volery = Volery::builder("counts").agent(ship).start().await.expect("it starts");
        let region = Region::new(ALLOCATOR);
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|first| tokio::spawn(publish(volery.clone(), first, count))).collect();
        for publisher in publishers {
            publisher.await.expect("publishers do not panic");
        }
        volery.until_idle().await.expect("the runtime runs");
        let change = region.change();
        volery.shutdown().await.expect("it stops");
        Counts { allocations: change.allocations + change.reallocations, bytes: change.bytes_allocated }
    })
}

async fn publish(volery: Volery, first: u64, count: u64) {
    for number in (first..count).step_by(PUBLISHERS as usize) {
        let order = Order { number, customer: "somebody".to_owned() };
        volery.publish(order).await.expect("the runtime runs");
    }
}

/// Counts the instructions of a process with one load. None where valgrind is not installed.
fn instructions(count: u64) -> Option<u64> {
    let program = std::env::current_exe().expect("it has a path");
    let counted = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--load", &count.to_string()])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&counted.stderr);
    assert!(counted.status.success(), "valgrind failed: {text}");
    let line = text.lines().find(|line| line.contains("Collected :")).expect("callgrind prints its count");
    line.rsplit(' ').next().and_then(|number| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    // The allocator counts for the whole process, so this has to stay its only test.
    #[test]
    fn an_artifact_allocates_within_its_budget() {
        let Allocations { number, bytes } = allocations();
        assert!(number <= ALLOCATIONS_MAX, "{number:.2} allocations per artifact, above {ALLOCATIONS_MAX}");
        assert!(bytes <= BYTES_MAX, "{bytes:.0} bytes allocated per artifact, above {BYTES_MAX}");
    }
}
