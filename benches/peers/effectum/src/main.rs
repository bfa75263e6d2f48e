//! The load by effectum: one worker that answers each order with a parcel, on SQLite.
//!
//! `volery-peers-effectum FILE SLOTS COUNT` prints nanoseconds of wall time and of processor time. The file
//! has to be there and keeps a write-ahead log; effectum, which misspells the pragma, would not make it so.
//! effectum sets `synchronous` to NORMAL when it opens the file, and has no option for it; so its SQLite is
//! compiled without that pragma, and keeps its default, which is FULL.

#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use effectum::{Job, JobRunner, Queue, RunningJob, Worker};
use serde::{Deserialize, Serialize};

#[path = "../../src/load.rs"]
mod load;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    number: u64,
    customer: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Parcel {
    number: u64,
}

async fn ship(job: RunningJob, (): ()) -> effectum::Result<Parcel> {
    let order: Order = job.json_payload()?;
    Ok(Parcel { number: order.number })
}

async fn run(count: u64, slots: u16, file: &Path) {
    let queue = std::sync::Arc::new(Queue::new(file).await.expect("it opens"));
    let runner = JobRunner::builder("ship", ship).build();
    let worker = Worker::builder(&queue, ()).jobs([runner]).max_concurrency(slots).build().await;
    let worker = worker.expect("it starts");
    let producer = queue.clone();
    load::produce(count, move |number| {
        let queue = producer.clone();
        async move {
            let order = Order { number, customer: "somebody".to_owned() };
            let job = Job::builder("ship").json_payload(&order).expect("it is JSON");
            job.add_to(&queue).await.expect("the file can be written");
        }
    })
    .await;
    // It tells nobody when a job has ended.
    while worker.counts().finished < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    worker.unregister(None).await.expect("it stops");
    queue.close(Duration::from_secs(10)).await.expect("it closes");
}

/// Panics when the pragma would take effect.
fn check_sqlite() {
    let connection = rusqlite::Connection::open_in_memory().expect("there is memory");
    let used = "SELECT sqlite_compileoption_used('OMIT_PAGER_PRAGMAS')";
    let used: bool = connection.query_row(used, (), |row| row.get(0)).expect("it answers");
    assert!(used, "build it with LIBSQLITE3_FLAGS=-DSQLITE_OMIT_PAGER_PRAGMAS, as benches/peers does");
}

fn main() {
    check_sqlite();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, slots, count] = &arguments[..] else { panic!("it takes FILE SLOTS COUNT") };
    let file = PathBuf::from(file);
    let slots = slots.parse().expect("a number of slots");
    let count = count.parse().expect("a number of orders");
    println!("{}", load::measured(count, |count| run(count, slots, &file)).line());
}
