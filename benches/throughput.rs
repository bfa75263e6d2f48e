//! Throughput of the runtime in memory, beside the plain limits of the same machine in the same run.
//!
//! `cargo bench -p volery-benches --bench throughput` prints criterion's figures per artifact;
//! `VOLERY_BENCH_MAX` (default 1,000,000) leaves out larger sizes.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use tokio::sync::Notify;
use volery::prelude::*;

#[path = "plain.rs"]
mod plain;

/// Publishers at work at the same time, each waiting for its own answer.
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

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Payment {
    number: u64,
}

/// Counts down and says when it is done.
#[derive(Debug)]
struct Countdown {
    left: AtomicU64,
    done: Notify,
}

impl Countdown {
    fn new(count: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(count), done: Notify::new() })
    }

    fn tick(&self, count: u64) {
        if self.left.fetch_sub(count, Ordering::AcqRel) == count {
            self.done.notify_one();
        }
    }
}

fn order(number: u64) -> Order {
    Order { number, customer: "somebody".to_owned() }
}

async fn start(agents: Vec<Agent>) -> Volery {
    let builder = Volery::builder("bench").agents(agents);
    builder.configure(|settings| settings.queued_max = 10_000_000).start().await.expect("it starts")
}

/// Publishes `count` artifacts from many tasks, each awaiting every publish, and waits until nothing moves.
async fn drive<T: volery::Payload>(volery: &Volery, count: u64, make: fn(u64) -> T) -> Duration {
    let begun = Instant::now();
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
    begun.elapsed()
}

async fn one_to_one(count: u64) -> Duration {
    let ship = Agent::new("ship").concurrency(256).consumes(one::<Shared<Order>>()).engine(
        async |order: Shared<Order>, _: Context| {
            Ok::<_, volery::Error>(Publish(Parcel { number: order.number }))
        },
    );
    let volery = start(vec![ship]).await;
    let taken = drive(&volery, count, order).await;
    volery.shutdown().await.expect("it stops");
    taken
}

/// The same, but published in groups of 100, one commit each.
async fn one_to_one_grouped(count: u64) -> Duration {
    let ship = Agent::new("ship").concurrency(256).consumes(one::<Shared<Order>>()).engine(
        async |order: Shared<Order>, _: Context| {
            Ok::<_, volery::Error>(Publish(Parcel { number: order.number }))
        },
    );
    let volery = start(vec![ship]).await;
    let begun = Instant::now();
    for group in 0..count / 100 {
        let orders: Vec<Order> = (group * 100..group * 100 + 100).map(order).collect();
        volery.publish_all(orders).await.expect("the runtime runs");
    }
    volery.until_idle().await.expect("the runtime runs");
    let taken = begun.elapsed();
    volery.shutdown().await.expect("it stops");
    taken
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Relay {
    stage: u32,
}

async fn chain_of_ten(count: u64) -> Duration {
    let stages = (0..10).map(|stage| {
        Agent::new(format!("stage-{stage}"))
            .concurrency(256)
            .consumes(one::<Relay>().filter(move |relay| relay.stage == stage))
            .engine(async |relay: Relay, _: Context| {
                Ok::<_, volery::Error>((relay.stage < 9).then_some(Relay { stage: relay.stage + 1 }))
            })
    });
    let volery = start(stages.collect()).await;
    let taken = drive(&volery, count, |_| Relay { stage: 0 }).await;
    volery.shutdown().await.expect("it stops");
    taken
}

async fn one_to_hundred(count: u64) -> Duration {
    let readers = (0..100).map(|reader| {
        Agent::new(format!("reader-{reader}"))
            .consumes(one::<Shared<Order>>())
            .engine(async |_: Shared<Order>, _: Context| Ok::<_, volery::Error>(()))
    });
    let volery = start(readers.collect()).await;
    let taken = drive(&volery, count, order).await;
    volery.shutdown().await.expect("it stops");
    taken
}

async fn join_of_pairs(pairs: u64) -> Duration {
    let settled = Countdown::new(pairs);
    let count = Arc::clone(&settled);
    let settle = Agent::new("settle")
        .concurrency(256)
        .consumes(
            join(by(|o: &Order| o.number), by(|p: &Payment| p.number)).within(Duration::from_secs(3_600)),
        )
        .engine(move |_: (Order, Payment), _: Context| {
            count.tick(1);
            std::future::ready(Ok::<_, volery::Error>(()))
        });
    let volery = start(vec![settle]).await;
    let begun = Instant::now();
    let (orders, payments) =
        tokio::join!(drive(&volery, pairs, order), drive(&volery, pairs, |number| Payment { number }));
    settled.done.notified().await;
    assert!(orders + payments > Duration::ZERO);
    let taken = begun.elapsed();
    volery.shutdown().await.expect("it stops");
    taken
}

async fn batches_of_ten(count: u64) -> Duration {
    let done = Countdown::new(count);
    let counting = Arc::clone(&done);
    let pack = Agent::new("pack")
        .concurrency(256)
        .consumes(one::<Shared<Order>>().batch(Batch::of(10)))
        .engine(move |batch: Vec<Shared<Order>>, _: Context| {
            counting.tick(batch.len() as u64);
            std::future::ready(Ok::<_, volery::Error>(()))
        });
    let volery = start(vec![pack]).await;
    let taken = drive(&volery, count, order).await;
    volery.shutdown().await.expect("it stops");
    taken
}

/// Leaves out the sizes above `VOLERY_BENCH_MAX`.
fn sizes(all: &[u64]) -> Vec<u64> {
    let largest =
        std::env::var("VOLERY_BENCH_MAX").ok().and_then(|max| max.parse().ok()).unwrap_or(1_000_000);
    all.iter().copied().filter(|size| *size <= largest).collect()
}

fn measure<F, Fut>(criterion: &mut Criterion, name: &str, sizes: &[u64], run: F)
where
    F: Fn(u64) -> Fut + Copy,
    Fut: Future<Output = Duration>,
{
    let tokio = tokio::runtime::Runtime::new().expect("threads can be started");
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    for size in sizes {
        group.throughput(Throughput::Elements(*size));
        group.bench_with_input(BenchmarkId::from_parameter(size), size, |bencher, size| {
            bencher.iter_custom(|times| {
                tokio.block_on(async {
                    let mut total = Duration::ZERO;
                    for _ in 0..times {
                        total += run(*size).await;
                    }
                    total
                })
            });
        });
    }
    group.finish();
}

pub(crate) fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let (one, ten) = (sizes(&[1_000]), sizes(&[10_000]));
    let middle = sizes(&[10_000, 100_000]);
    let every = sizes(&[1_000, 10_000, 100_000, 1_000_000]);
    measure(&mut criterion, "plain/tokio-mpsc-3-hops", &middle, |count| plain::tokio_channels(count, 3));
    measure(&mut criterion, "plain/ractor-cast-3-hops", &middle, |count| plain::ractor_casts(count, 3));
    measure(&mut criterion, "one-to-one", &every, one_to_one);
    measure(&mut criterion, "one-to-one-grouped-100", &middle, one_to_one_grouped);
    measure(&mut criterion, "chain-of-10", &ten, chain_of_ten);
    measure(&mut criterion, "plain/ractor-cast-30-hops", &ten, |count| plain::ractor_casts(count, 30));
    measure(&mut criterion, "one-to-100-agents", &one, one_to_hundred);
    measure(&mut criterion, "join-of-pairs", &middle, join_of_pairs);
    measure(&mut criterion, "batches-of-10", &middle, batches_of_ten);
    criterion.final_summary();
}
