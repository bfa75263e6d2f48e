//! The load that every library is given, and how it is measured.
//!
//! `PRODUCERS` tasks hand in orders, each awaiting one before the next; the engine makes a parcel of each.
//! Two worker threads run all of it.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::future::Future;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Producers at work at the same time, as in `benches/throughput.rs`.
const PRODUCERS: u64 = 64;

/// The time that a load took.
pub(crate) struct Taken {
    wall: Duration,
    /// Of all threads of the process.
    processor: Duration,
}

impl Taken {
    /// The line that a child process prints.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.wall.as_nanos(), self.processor.as_nanos())
    }
}

/// Measures `work` on a runtime with two worker threads, after a tenth of it to warm up.
pub(crate) fn measured<Fut: Future<Output = ()>>(count: u64, work: impl Fn(u64) -> Fut) -> Taken {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tokio = tokio.expect("threads can be started");
    tokio.block_on(work(count / 10));
    let (began, used) = (Instant::now(), processor());
    tokio.block_on(work(count));
    Taken { wall: began.elapsed(), processor: processor() - used }
}

fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("it is not negative")
}

/// Has the producers hand in `count` orders by their numbers.
pub(crate) async fn produce<Fut>(count: u64, hand_in: impl Fn(u64) -> Fut + Clone + Send + Sync + 'static)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|first| {
            let hand_in = hand_in.clone();
            tokio::spawn(async move {
                let mut number = first;
                while number < count {
                    hand_in(number).await;
                    number += PRODUCERS;
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.expect("producers do not panic");
    }
}
