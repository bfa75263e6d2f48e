//! The work that is measured: one artifact in, one job, one artifact out; every artifact is a run of its own.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::time::{Duration, Instant};

use volery::Builder;
use volery::prelude::*;

/// Publishers at work at the same time, each waiting for its own answer.
const PUBLISHERS: u64 = 64;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    number: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Parcel {
    number: u64,
}

/// How long it takes, after a tenth of it to warm up.
pub(crate) fn measured(seen: impl Fn(Builder) -> Builder, count: u64) -> Duration {
    let tokio = tokio::runtime::Runtime::new().expect("threads can be started");
    tokio.block_on(one_to_one(&seen, count / 10));
    tokio.block_on(one_to_one(&seen, count))
}

async fn one_to_one(seen: &impl Fn(Builder) -> Builder, count: u64) -> Duration {
    let ship = Agent::new("ship").concurrency(256).consumes(one::<Shared<Order>>()).engine(
        async |order: Shared<Order>, _: Context| {
            Ok::<_, volery::Error>(Publish(Parcel { number: order.number }))
        },
    );
    let volery = seen(Volery::builder("bench").agent(ship));
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
