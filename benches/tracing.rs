//! What traces cost: the one-to-one throughput in memory without telemetry, and with a share of the runs recorded.
//!
//! `cargo bench --bench tracing` prints artifacts per second, medians of rounds that alternate between the ways, because
//! machines are shared. Every artifact is a run of its own, the dearest case: seven spans each. The exporter drops what
//! it is given; the batch processor in front of it is the one of `init`. `VOLERY_BENCH_MAX` (default 100,000) is the size.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

use std::time::{Duration, Instant};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use volery::prelude::*;
use volery::telemetry::{Environment, Providers, Sampling, Telemetry, init};

/// Publishers at work at the same time, each waiting for its own answer.
const PUBLISHERS: u64 = 64;

/// Rounds of each way. Odd, so that one of them is the median.
const ROUNDS: usize = 5;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    number: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Parcel {
    number: u64,
}

/// An exporter that drops what it is given.
#[derive(Debug)]
struct Drain;

impl SpanExporter for Drain {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        drop(batch);
        Ok(())
    }
}

/// One way to be seen.
struct Way {
    name: &'static str,
    telemetry: Option<Telemetry>,
    taken: Vec<Duration>,
}

impl Way {
    fn new(name: &'static str, sampling: Option<Sampling>) -> Self {
        let set_up = |sampling| {
            let builder = init("bench").environment(Environment::empty()).sampling(sampling);
            builder.export_spans_by(Drain).start().expect("nothing can be wrong with it")
        };
        Self { name, telemetry: sampling.map(set_up), taken: Vec::new() }
    }

    fn providers(&self) -> Providers {
        self.telemetry.as_ref().map_or_else(Providers::none, Telemetry::providers)
    }
}

async fn one_to_one(providers: Providers, count: u64) -> Duration {
    let ship = Agent::new("ship").concurrency(256).consumes(one::<Shared<Order>>()).engine(
        async |order: Shared<Order>, _: Context| {
            Ok::<_, volery::Error>(Publish(Parcel { number: order.number }))
        },
    );
    let volery = Volery::builder("bench").agent(ship).telemetry(providers);
    let volery = volery.configure(|settings| settings.queued_max = 10_000_000).start().await;
    let volery = volery.expect("it starts");
    let begun = Instant::now();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let volery = volery.clone();
            tokio::spawn(async move {
                let mut number = publisher;
                while number < count {
                    volery.publish(Order { number }).await.expect("the runtime runs");
                    number += PUBLISHERS;
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.expect("publishers do not panic");
    }
    volery.until_idle().await.expect("the runtime runs");
    let taken = begun.elapsed();
    volery.shutdown().await.expect("it stops");
    taken
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn main() {
    let count = std::env::var("VOLERY_BENCH_MAX").ok().and_then(|max| max.parse().ok()).unwrap_or(100_000);
    let mut ways = [
        Way::new("no telemetry", None),
        Way::new("0 % recorded", Some(Sampling::Never)),
        Way::new("1 % recorded", Some(Sampling::Share(0.01))),
        Way::new("100 % recorded", Some(Sampling::Always)),
    ];
    let tokio = tokio::runtime::Runtime::new().expect("threads can be started");
    for _ in 0..=ROUNDS {
        for way in &mut ways {
            let taken = tokio.block_on(one_to_one(way.providers(), count));
            way.taken.push(taken);
        }
    }
    for way in ways {
        // The first round warms up.
        let mut taken = way.taken[1..].to_vec();
        taken.sort_unstable();
        let per_second = count as f64 / taken[ROUNDS / 2].as_secs_f64();
        let seen = way.telemetry.map(|telemetry| telemetry.shutdown_blocking(Duration::from_secs(10)));
        let seen = seen.map_or_else(String::new, |report| format!("; {report}"));
        println!("{:>14}: {per_second:>9.0} artifacts/s{seen}", way.name);
    }
}
