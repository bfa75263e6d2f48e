//! The load by apalis: one worker that answers each order with a parcel, in memory or on SQLite.

use std::future::{Ready, ready};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use apalis::prelude::*;
use apalis_sqlite::{Config, SqliteConnectOptions, SqlitePoolOptions, SqliteStorage};
use futures::channel::mpsc;
use futures::lock::Mutex;
use futures::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::load::produce;

/// Tasks that a producer hands in before it lets others run.
const TURN: u64 = 256;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    number: u64,
    customer: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Parcel {
    number: u64,
}

/// Counts down and says when it is done.
#[derive(Clone)]
struct Countdown(Arc<(AtomicU64, Notify)>);

impl Countdown {
    fn new(count: u64) -> Self {
        Self(Arc::new((AtomicU64::new(count), Notify::new())))
    }

    fn tick(&self) {
        if self.0.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.1.notify_one();
        }
    }

    /// The signal that stops a worker.
    async fn done(self) -> Result<(), WorkerError> {
        self.0.1.notified().await;
        Ok(())
    }
}

fn order(number: u64) -> Order {
    Order { number, customer: "somebody".to_owned() }
}

/// The engine whose answer is the parcel.
fn ship(left: &Countdown) -> impl Fn(Order) -> Ready<Result<Parcel, BoxDynError>> + Clone + use<> {
    let left = left.clone();
    move |order| {
        left.tick();
        ready(Ok(Parcel { number: order.number }))
    }
}

/// The engine that hands the parcel on as a task of its own.
fn hand_on(
    left: &Countdown,
    parcels: mpsc::UnboundedSender<Task<Parcel>>,
) -> impl Fn(Order) -> Ready<Result<(), BoxDynError>> + Clone + use<> {
    let left = left.clone();
    move |order| {
        let sent = parcels.unbounded_send(with_id(Parcel { number: order.number }));
        left.tick();
        ready(sent.map_err(Into::into))
    }
}

/// The id that the sink of a storage gives.
fn with_id<T>(payload: T) -> Task<T> {
    TaskBuilder::new(payload).task_id(TaskId::from_string(RandomId::default())).build()
}

/// A storage in memory, and the channel below it.
///
/// Producers put tasks into the channel: the storage's own sink panics when a push meets another thread.
fn storage() -> (MemoryStorage<Order>, mpsc::UnboundedSender<Task<Order>>) {
    let (sender, receiver) = mpsc::unbounded();
    let sink: Box<dyn futures::Sink<_, Error = MemoryStorageError> + Send + Sync + Unpin> =
        Box::new(sender.clone().sink_map_err(MemoryStorageError::from));
    let sink = MemorySink::new(Arc::new(Mutex::new(sink)));
    (MemoryStorage::new_with(sink, receiver.boxed()), sender)
}

async fn produce_into(
    count: u64,
    sender: mpsc::UnboundedSender<Task<Order>>,
    task: impl Fn(Order) -> Task<Order> + Clone + Send + Sync + 'static,
) {
    produce(count, move |number| {
        let sent = sender.unbounded_send(task(order(number)));
        async move {
            sent.expect("the worker runs");
            if number % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
}

/// One load in memory by the least that apalis can do. Each engine runs in a task of its own, as with Volery.
pub(crate) async fn bare(count: u64, slots: usize) {
    let (storage, sender) = storage();
    let left = Countdown::new(count);
    let worker = WorkerBuilder::new("ship").backend(storage).concurrency(slots).parallelize(tokio::spawn);
    let worker = tokio::spawn(worker.build(ship(&left)).run_until(left.done()));
    produce_into(count, sender, |order| TaskBuilder::new(order).build()).await;
    worker.await.expect("it does not panic").expect("it stops");
}

/// One load in memory with what an agent of Volery has: every task has an id, panics are caught, there is a
/// span, a rule for further attempts and a clock, and the parcel is handed on.
pub(crate) async fn equipped(count: u64, slots: usize) {
    let (storage, sender) = storage();
    let (parcels, mut received) = mpsc::unbounded();
    let drain = tokio::spawn(async move { while received.next().await.is_some() {} });
    let left = Countdown::new(count);
    let worker = WorkerBuilder::new("ship").backend(storage).enable_tracing().concurrency(slots);
    let worker = worker.retry(RetryPolicy::retries(3)).timeout(Duration::from_secs(60));
    let worker = worker.parallelize(tokio::spawn).catch_panic().build(hand_on(&left, parcels));
    let worker = tokio::spawn(worker.run_until(left.done()));
    produce_into(count, sender, with_id).await;
    worker.await.expect("it does not panic").expect("it stops");
    drain.await.expect("it does not panic");
}

/// One load on SQLite, in a file that keeps a write-ahead log. It ends when all ends are written.
///
/// The migrations are run without `setup`, which turns syncing off on one connection of the pool; so all of
/// them keep SQLite's default, which is FULL.
pub(crate) async fn on_sqlite(count: u64, slots: usize, file: &Path) {
    let url = format!("sqlite://{}", file.display());
    let (pool, listener) = SqliteStorage::connect_with_callback(&url).expect("it is a path");
    SqliteStorage::migrations().run(&pool).await.expect("the file can be written");
    let config = Config::default().queue("orders").batch_size(slots);
    let storage = SqliteStorage::<Order>::new(&pool).with_config(config);
    let left = Countdown::new(count);
    // A name may be used by one worker in 30 s, and the warm-up is another.
    let worker = WorkerBuilder::new(format!("ship {count}").as_str());
    let worker = worker.backend(storage.clone().with_callback(listener));
    let worker = worker.concurrency(slots).parallelize(tokio::spawn).build(ship(&left));
    let worker = tokio::spawn(worker.run_until(left.done()));
    produce(count, move |number| {
        let mut storage = storage.clone();
        async move { storage.push(order(number)).await.expect("the file can be written") }
    })
    .await;
    worker.await.expect("it does not panic").expect("it stops");
}

/// Makes an empty file that keeps a write-ahead log, whoever opens it.
pub(crate) async fn make_file(file: &Path) {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let options = options.pragma("journal_mode", "WAL");
    let pool = SqlitePoolOptions::new().connect_with(options).await.expect("it can be made");
    pool.close().await;
}
