//! The durable store under load: throughput beside a bare SQLite program, latency of publishes, memory and
//! recovery of a backlog, and the size of a file under retention.
//!
//! `cargo bench -p volery-benches --bench storage` runs all of it; `VOLERY_BENCH_MAX` (default 100,000)
//! leaves out larger sizes, and 1,000,000 adds the largest. `VOLERY_BENCH_CSV` names a file for the sizes
//! under retention, which `scripts/plot` draws.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::print_stdout, reason = "its output is what it prints")]
#![expect(clippy::cast_precision_loss, reason = "figures are for reading")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use volery::Sqlite;
use volery::prelude::*;
use volery::testing::FailingStore;

#[path = "storage/bare.rs"]
mod bare;

use bare::Cycles;

/// Publishers at work at the same time, each waiting for its own answer.
const PUBLISHERS: u64 = 256;

/// Names the file of a process that only recovers.
const RECOVER: &str = "VOLERY_BENCH_RECOVER";

/// About 500 bytes as JSON.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    number: u64,
    text: String,
}

fn order(number: u64) -> Order {
    Order { number, text: "x".repeat(470) }
}

/// A file in a folder that is emptied first.
fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("storage").join(name);
    drop(std::fs::remove_dir_all(&folder).err());
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder.join("store.db")
}

fn settle() -> Agent {
    Agent::new("settle")
        .consumes(one::<Shared<Order>>())
        .concurrency(256)
        .engine(async |_: Shared<Order>, _: Context| Ok::<_, volery::Fault>(()))
}

/// Publishes orders from several tasks, each awaiting every publish. Returns how long each took.
async fn publish(volery: &Volery, publishers: u64, count: u64) -> Vec<Duration> {
    let mut tasks = Vec::new();
    for publisher in 0..publishers {
        let volery = volery.clone();
        tasks.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            for number in (publisher..count).step_by(usize::try_from(publishers).expect("few")) {
                let begun = Instant::now();
                volery.publish(order(number)).await.expect("the runtime runs");
                taken.push(begun.elapsed());
            }
            taken
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("it does not panic"));
    }
    all
}

/// One to one: every order is consumed by one agent. Prints our rate, that of the bare program, and their
/// ratio.
async fn throughput(count: u64) {
    let path = file("throughput");
    let cycles = Cycles::default();
    let store = FailingStore::over(Sqlite::open(&path).expect("it opens"));
    cycles.record(&store);
    let volery = Volery::builder("storage").store(store).agent(settle()).start().await.expect("it starts");
    let begun = Instant::now();
    publish(&volery, PUBLISHERS, count).await;
    volery.until_idle().await.expect("the runtime runs");
    let ours = count as f64 / begun.elapsed().as_secs_f64();
    volery.shutdown().await.expect("it stops");
    let cycles = cycles.take();
    let commits = cycles.len();
    let plain = count as f64 / bare::replay(&file("bare"), &cycles, &order(0)).as_secs_f64();
    println!(
        "one to one, {count:>9}: {ours:>8.0}/s   bare SQLite, a row for each fact, {commits} commits: {plain:>8.0}/s   ratio {:.2}",
        ours / plain
    );
}

/// Publishes that nobody takes: the price of an acknowledgement.
async fn latency(publishers: u64, count: u64) {
    let store = Sqlite::open(file("latency")).expect("it opens");
    let volery = Volery::builder("storage").store(store).start().await.expect("it starts");
    let mut taken = publish(&volery, publishers, count).await;
    volery.shutdown().await.expect("it stops");
    taken.sort_unstable();
    let at = |percent: usize| taken[(taken.len() - 1) * percent / 100].as_micros();
    println!("publish, {publishers:>3} publishers: p50 {:>6} µs   p99 {:>6} µs", at(50), at(99));
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A backlog that waits for a paused agent, and a process that goes on with it.
async fn backlog(count: u64) {
    let path = file("backlog");
    let (agent, _starts) = telling();
    let volery = waiting_room(&path, agent).await;
    volery.pause("settle").expect("the agent exists");
    let before = resident();
    let begun = Instant::now();
    for group in 0..count.div_ceil(1_000) {
        let orders: Vec<Order> = (group * 1_000..count.min(group * 1_000 + 1_000)).map(order).collect();
        volery.publish_all(orders).await.expect("the runtime runs");
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let grown = mib(resident().saturating_sub(before));
    println!(
        "backlog, {count:>9} waiting: {grown:.1} MiB more than the empty runtime, published at {rate:.0}/s"
    );
    // Twice: what waits is not to be worked off.
    volery.interrupt();
    volery.interrupt();
    volery.stopped().await.expect("it stops");
    drop(volery);
    let this = std::env::current_exe().expect("a bench has a path");
    let ended = std::process::Command::new(this).env(RECOVER, &path).status().expect("it can be run again");
    assert!(ended.success(), "the backlog is recovered");
}

async fn waiting_room(path: &Path, agent: Agent) -> Volery {
    let store = Sqlite::open(path).expect("it opens");
    let builder = Volery::builder("storage").store(store).agent(agent);
    builder.configure(|settings| settings.queued_max = u64::MAX).start().await.expect("it starts")
}

/// An agent that says when it starts something.
fn telling() -> (Agent, mpsc::Receiver<Instant>) {
    let (tell, told) = mpsc::channel(1);
    let engine = move |_: Shared<Order>, _: Context| {
        // Only the first counts.
        tell.try_send(Instant::now()).ok();
        async { Ok::<_, volery::Fault>(()) }
    };
    (Agent::new("settle").consumes(one::<Shared<Order>>()).engine(engine), told)
}

/// In a process of its own: opens the backlog and waits for the first job.
async fn recover(path: &Path) {
    let empty = resident();
    let begun = Instant::now();
    let (agent, mut starts) = telling();
    let volery = waiting_room(path, agent).await;
    let open = begun.elapsed();
    volery.resume("settle").expect("the agent exists");
    let first = starts.recv().await.expect("the agent runs").duration_since(begun);
    println!(
        "recovery of the backlog: started after {} ms, first job after {} ms, {:.1} MiB more than before the start",
        open.as_millis(),
        first.as_millis(),
        mib(resident().saturating_sub(empty))
    );
    volery.interrupt();
    volery.interrupt();
    volery.stopped().await.expect("it stops");
}

/// Runs that finish, with retention: how large the file becomes. Returns the curve as CSV.
async fn retention(runs: u64) -> String {
    let path = file("retention");
    let store = Sqlite::open(&path).expect("it opens");
    let builder = Volery::builder("storage").store(store).agent(settle()).configure(|settings| {
        settings.retention.count_max = Some(runs / 10);
        settings.janitor_every = Duration::from_millis(50);
    });
    let volery = builder.start().await.expect("it starts");
    let mut csv = "runs,file_bytes,log_bytes\n".to_owned();
    let size = |suffix: &str| {
        let mut path = path.clone().into_os_string();
        path.push(suffix);
        std::fs::metadata(path).map(|data| data.len()).unwrap_or_default()
    };
    let step = runs.div_ceil(50);
    for done in 1..=runs / step {
        publish(&volery, PUBLISHERS, step).await;
        volery.until_idle().await.expect("the runtime runs");
        writeln!(csv, "{},{},{}", done * step, size(""), size("-wal")).expect("text can be written");
    }
    volery.shutdown().await.expect("it stops");
    let largest = mib(size(""));
    println!("retention of {} artifacts over {runs} runs: the file ends with {largest:.1} MiB", runs / 10);
    csv
}

fn main() {
    let tokio = tokio::runtime::Runtime::new().expect("threads can be started");
    if let Some(path) = std::env::var_os(RECOVER) {
        return tokio.block_on(recover(Path::new(&path)));
    }
    let smoke = std::env::args().any(|argument| argument == "--test");
    let largest = std::env::var("VOLERY_BENCH_MAX").ok().and_then(|max| max.parse().ok()).unwrap_or(100_000);
    let largest = if smoke { 1_000 } else { largest };
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    tokio.block_on(async {
        for size in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|size| *size <= largest) {
            if wanted("throughput") && (smoke || size > 1_000) {
                throughput(size).await;
            }
        }
        for publishers in [1, 16, PUBLISHERS] {
            if wanted("latency") {
                latency(publishers, largest.min(500 * publishers.min(64))).await;
            }
        }
        if wanted("backlog") {
            backlog(largest).await;
        }
        if wanted("retention") {
            let csv = retention(largest.min(100_000)).await;
            if let Some(path) = std::env::var_os("VOLERY_BENCH_CSV") {
                std::fs::write(path, csv).expect("the file can be written");
            }
        }
    });
}
