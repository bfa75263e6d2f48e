//! Throughput of the runtime in memory, beside the plain limits of the same machine in the same run.
//!
//! `cargo bench -p volery-benches --bench throughput` prints, for each load, its rate and the processor time
//! of the whole process, and then what the loads cost beside each other: medians of rounds that alternate
//! between the loads, and medians of the rounds' own ratios, because machines are shared.
//! `VOLERY_BENCH_MAX` (default 1,000,000) leaves out larger sizes, `VOLERY_BENCH_ROUNDS` (default 5) is the
//! number of rounds, and an argument leaves out the loads whose names do not contain it.

#![expect(clippy::print_stdout, reason = "its output is what it prints")]
#![expect(clippy::cast_precision_loss, reason = "figures are for reading")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use volery::prelude::*;

#[path = "plain.rs"]
mod plain;
#[path = "stopwatch.rs"]
mod stopwatch;

use stopwatch::{Stopwatch, Taken};

/// Publishers at work at the same time, each waiting for its own answer.
const PUBLISHERS: u64 = 64;

/// A measurement of a smaller size is repeated until it has had so many artifacts.
const REPEATED_TO: u64 = 20_000;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    number: u64,
    customer: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Parcel {
    number: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Payment {
    number: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Relay {
    stage: u32,
}

fn order(number: u64) -> Order {
    Order { number, customer: "somebody".to_owned() }
}

async fn start(agents: Vec<Agent>) -> Volery {
    let builder = Volery::builder("bench").agents(agents);
    builder.configure(|settings| settings.queued_max = 10_000_000).start().await.expect("it starts")
}

/// Publishes `count` artifacts from many tasks, each awaiting every publish, and waits until nothing moves.
async fn drive<T: volery::Payload>(volery: &Volery, count: u64, make: fn(u64) -> T) {
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let volery = volery.clone();
            tokio::spawn(async move {
                let mut number = publisher;
                while number < count {
                    volery.publish(make(number)).await.expect("the runtime runs");
                    number += PUBLISHERS;
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.expect("publishers do not panic");
    }
    volery.until_idle().await.expect("the runtime runs");
}

/// Measures `work` on a runtime with these agents.
async fn measured(agents: Vec<Agent>, work: impl AsyncFnOnce(&Volery)) -> Taken {
    let volery = start(agents).await;
    let stopwatch = Stopwatch::start();
    work(&volery).await;
    let taken = stopwatch.taken();
    volery.shutdown().await.expect("it stops");
    taken
}

fn ship() -> Agent {
    Agent::new("ship").concurrency(256).consumes(one::<Shared<Order>>()).engine(
        async |order: Shared<Order>, _: Context| {
            Ok::<_, volery::Error>(Publish(Parcel { number: order.number }))
        },
    )
}

async fn one_to_one(count: u64) -> Taken {
    measured(vec![ship()], async |volery| drive(volery, count, order).await).await
}

/// The same, but published in groups of 100, one commit each.
async fn one_to_one_grouped(count: u64) -> Taken {
    measured(vec![ship()], async |volery| {
        for group in 0..count / 100 {
            let orders: Vec<Order> = (group * 100..group * 100 + 100).map(order).collect();
            volery.publish_all(orders).await.expect("the runtime runs");
        }
        volery.until_idle().await.expect("the runtime runs");
    })
    .await
}

async fn chain_of_ten(count: u64) -> Taken {
    let stages = (0..10).map(|stage| {
        Agent::new(format!("stage-{stage}"))
            .concurrency(256)
            .consumes(one::<Relay>().filter(move |relay| relay.stage == stage))
            .engine(async |relay: Relay, _: Context| {
                Ok::<_, volery::Error>((relay.stage < 9).then_some(Relay { stage: relay.stage + 1 }))
            })
    });
    measured(stages.collect(), async |volery| drive(volery, count, |_| Relay { stage: 0 }).await).await
}

async fn one_to_hundred(count: u64) -> Taken {
    let readers = (0..100).map(|reader| {
        Agent::new(format!("reader-{reader}"))
            .consumes(one::<Shared<Order>>())
            .engine(async |_: Shared<Order>, _: Context| Ok::<_, volery::Error>(()))
    });
    measured(readers.collect(), async |volery| drive(volery, count, order).await).await
}

async fn join_of_pairs(pairs: u64) -> Taken {
    let settled = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&settled);
    let settle = Agent::new("settle")
        .concurrency(256)
        .consumes(
            join(by(|o: &Order| o.number), by(|p: &Payment| p.number)).within(Duration::from_secs(3_600)),
        )
        .engine(move |_: (Order, Payment), _: Context| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, volery::Error>(()))
        });
    let taken = measured(vec![settle], async |volery| {
        tokio::join!(drive(volery, pairs, order), drive(volery, pairs, |number| Payment { number }));
    })
    .await;
    assert_eq!(settled.load(Ordering::Relaxed), pairs, "every pair meets");
    taken
}

async fn batches_of_ten(count: u64) -> Taken {
    let packed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&packed);
    let pack = Agent::new("pack")
        .concurrency(256)
        .consumes(one::<Shared<Order>>().batch(Batch::of(10)))
        .engine(move |batch: Vec<Shared<Order>>, _: Context| {
            counted.fetch_add(batch.len() as u64, Ordering::Relaxed);
            std::future::ready(Ok::<_, volery::Error>(()))
        });
    let taken = measured(vec![pack], async |volery| drive(volery, count, order).await).await;
    assert_eq!(packed.load(Ordering::Relaxed), count, "every batch is full");
    taken
}

async fn ractor_casts(count: u64, hops: usize) -> Taken {
    let stopwatch = Stopwatch::start();
    plain::ractor_casts(count, hops).await;
    stopwatch.taken()
}

async fn tokio_channels(count: u64, hops: usize) -> Taken {
    let stopwatch = Stopwatch::start();
    plain::tokio_channels(count, hops).await;
    stopwatch.taken()
}

/// The threads that run a load.
#[derive(Clone, Copy, PartialEq)]
enum Workers {
    Two,
    One,
    /// The one that calls.
    Current,
}

impl Workers {
    fn runtime(self) -> tokio::runtime::Runtime {
        let mut builder = match self {
            Self::Two | Self::One => tokio::runtime::Builder::new_multi_thread(),
            Self::Current => tokio::runtime::Builder::new_current_thread(),
        };
        let number = if self == Self::Two { 2 } else { 1 };
        builder.worker_threads(number).enable_all().build().expect("threads can be started")
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Two => "",
            Self::One => ", one worker",
            Self::Current => ", current thread",
        }
    }
}

type Run = fn(u64) -> Pin<Box<dyn Future<Output = Taken>>>;

/// One load of one size, and what it took in each round.
struct Load {
    name: &'static str,
    size: u64,
    workers: Workers,
    /// The noun of the rate, and how many of it an artifact makes.
    unit: (&'static str, u64),
    run: Run,
    rounds: Vec<Taken>,
}

impl Load {
    const fn new(name: &'static str, size: u64, workers: Workers, run: Run) -> Self {
        Self { name, size, workers, unit: ("artifacts", 1), run, rounds: Vec::new() }
    }

    const fn counted_in(mut self, unit: &'static str, each: u64) -> Self {
        self.unit = (unit, each);
        self
    }

    fn times(&self) -> u64 {
        (REPEATED_TO / self.size).max(1)
    }

    fn measure(&mut self) {
        let runtime = self.workers.runtime();
        let mut taken = Taken::default();
        for _ in 0..self.times() {
            taken += runtime.block_on((self.run)(self.size));
        }
        self.rounds.push(taken);
    }

    /// Seconds of one unit in each round.
    fn seconds(&self, of: fn(&Taken) -> Duration) -> impl Iterator<Item = f64> {
        let units = (self.times() * self.size * self.unit.1) as f64;
        self.rounds.iter().map(move |taken| of(taken).as_secs_f64() / units)
    }

    fn print(&self) {
        let rate = 1.0 / median(self.seconds(|taken| taken.wall));
        let processor = median(self.seconds(|taken| taken.processor)) * 1e6;
        let name = format!("{}{}", self.name, self.workers.name());
        let (size, unit) = (self.size, self.unit.0);
        println!("{name:<40} {size:>9}   {rate:>9.0} {unit}/s   {processor:>6.2} µs of processor time each");
    }
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn loads() -> Vec<Load> {
    use Workers::{Current, One, Two};
    let mut loads = Vec::new();
    for size in [10_000, 100_000] {
        let plain: [(_, Run); 2] = [
            ("plain: tokio channels, 3 hops", |count| Box::pin(tokio_channels(count, 3))),
            ("plain: ractor casts, 3 hops", |count| Box::pin(ractor_casts(count, 3))),
        ];
        loads.extend(plain.map(|(name, run)| Load::new(name, size, Two, run)));
    }
    let one: Run = |count| Box::pin(one_to_one(count));
    loads.extend([1_000, 10_000, 100_000, 1_000_000].map(|size| Load::new("one to one", size, Two, one)));
    for size in [10_000, 100_000] {
        loads.extend([One, Current].map(|workers| Load::new("one to one", size, workers, one)));
        let more: [(_, Run, _); 3] = [
            ("one to one, in groups of 100", |count| Box::pin(one_to_one_grouped(count)), "artifacts"),
            ("join of pairs", |count| Box::pin(join_of_pairs(count)), "pairs"),
            ("batches of 10", |count| Box::pin(batches_of_ten(count)), "artifacts"),
        ];
        loads.extend(more.map(|(name, run, unit)| Load::new(name, size, Two, run).counted_in(unit, 1)));
    }
    let thirty: Run = |count| Box::pin(ractor_casts(count, 30));
    loads.push(Load::new("plain: ractor casts, 30 hops", 10_000, Two, thirty));
    let chain: Run = |count| Box::pin(chain_of_ten(count));
    loads.push(Load::new("chain of 10", 10_000, Two, chain).counted_in("chains", 1));
    let hundred: Run = |count| Box::pin(one_to_hundred(count));
    loads.push(Load::new("one to 100 agents", 1_000, Two, hundred).counted_in("jobs", 100));
    loads
}

/// Prints the time of a unit of one load over that of another, as far as both were measured.
fn compare(loads: &[Load], above: (&str, u64, Workers), below: (&str, u64, Workers)) {
    let find = |(name, size, workers): (&str, u64, Workers)| {
        loads.iter().find(|load| (load.name, load.size, load.workers) == (name, size, workers))
    };
    let (Some(above), Some(below)) = (find(above), find(below)) else { return };
    let ratio = |of: fn(&Taken) -> Duration| {
        median(above.seconds(of).zip(below.seconds(of)).map(|(above, below)| above / below))
    };
    let (wall, processor) = (ratio(|taken| taken.wall), ratio(|taken| taken.processor));
    let name = |load: &Load| format!("{}{}, {}", load.name, load.workers.name(), load.size);
    let (above, below) = (name(above), name(below));
    println!("{wall:>6.2} times the time, {processor:>6.2} of the processor: {above} over {below}");
}

/// The sizes and the names that are wanted.
fn is_wanted(load: &Load) -> bool {
    let largest =
        std::env::var("VOLERY_BENCH_MAX").ok().and_then(|max| max.parse().ok()).unwrap_or(1_000_000);
    let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    load.size <= largest && (names.peek().is_none() || names.any(|name| load.name.contains(&name)))
}

pub(crate) fn main() {
    let smoke = std::env::args().any(|argument| argument == "--test");
    let rounds = std::env::var("VOLERY_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let rounds = if smoke { 1 } else { rounds };
    let mut loads: Vec<Load> = loads().into_iter().filter(is_wanted).collect();
    for _ in 0..rounds {
        loads.iter_mut().for_each(Load::measure);
    }
    loads.iter().for_each(Load::print);
    let one = |size| ("one to one", size, Workers::Two);
    for size in [10_000, 100_000] {
        compare(&loads, one(size), ("plain: ractor casts, 3 hops", size, Workers::Two));
    }
    let casts = ("plain: ractor casts, 30 hops", 10_000, Workers::Two);
    compare(&loads, ("chain of 10", 10_000, Workers::Two), casts);
    for size in [10_000, 100_000] {
        compare(&loads, one(size), ("one to one", size, Workers::One));
        compare(&loads, one(size), ("one to one", size, Workers::Current));
    }
    compare(&loads, one(1_000_000), one(10_000));
    compare(&loads, one(100_000), one(1_000));
}
