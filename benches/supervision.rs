//! The cost and the speed of supervision: a panic storm beside calm siblings, the time from a panic to the
//! next job, ten thousand children, and how long stopping takes.
//!
//! `cargo bench -p volery-benches --bench supervision` prints every figure beside its plain limit.
//! `VOLERY_BENCH_MAX` (default 100,000) bounds the jobs of the storm and of its siblings.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::print_stdout, reason = "its output is what it prints")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use volery::Fault;
use volery::agent::PastIntensity;
use volery::prelude::*;
use volery::supervision::{ChildSpec, Intensity, Life, NoObserver, Supervisor, SupervisorSpec};

/// Panics that the storm's agent is allowed within [`STORM_WINDOW`]; past them it rests for as long. A panic
/// costs about ten microseconds of unwinding, so that this many take a twentieth of one core.
const STORM_RESTARTS: u32 = 5_000;
const STORM_WINDOW: Duration = Duration::from_secs(1);

/// Sizes: of a real run, or of the pass that only shows that everything still runs.
struct Sizes {
    jobs: u64,
    rounds: usize,
    children: usize,
    attempts: usize,
    deadline: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Order {
    number: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Bolt {
    number: u64,
}

/// Publishers at work at the same time, each waiting for its own answer.
const PUBLISHERS: u64 = 64;

async fn drive<T: volery::Payload>(volery: Volery, count: u64, make: fn(u64) -> T) {
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let volery = volery.clone();
        publishers.spawn(async move {
            let mut number = publisher;
            while number < count {
                volery.publish(make(number)).await.expect("the runtime runs");
                number += PUBLISHERS;
            }
        });
    }
    while let Some(publisher) = publishers.join_next().await {
        publisher.expect("publishers do not panic");
    }
}

/// How an agent beside the siblings behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Neighbour {
    Calm,
    Storm,
}

struct Weather {
    siblings: Duration,
    whole: Duration,
    consumed: u64,
    dead: u64,
    restarts: u64,
}

/// Four siblings work off `count` orders while a neighbour is given `count` jobs.
async fn weather(neighbour: Neighbour, count: u64) -> Weather {
    let left = Arc::new(AtomicU64::new(count));
    let (done, mut finished) = mpsc::channel(1);
    let siblings = (0..4_u64).map(|sibling| {
        let (left, done) = (Arc::clone(&left), done.clone());
        Agent::new(format!("sibling-{sibling}"))
            .concurrency(64)
            .consumes(one::<Shared<Order>>().filter(move |order| order.number % 4 == sibling))
            .engine(move |_: Shared<Order>, _: Context| {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    done.try_send(()).expect("the bench waits");
                }
                std::future::ready(Ok::<_, volery::Error>(()))
            })
    });
    let bolts = Agent::new("neighbour")
        .concurrency(8)
        .intensity(Intensity { restarts: STORM_RESTARTS, within: STORM_WINDOW })
        .past_intensity(PastIntensity::Quarantine { resume_after: Some(STORM_WINDOW) })
        .consumes(one::<Shared<Bolt>>())
        .engine_with(move || {
            move |bolt: Shared<Bolt>, _: Context| async move {
                assert!(neighbour == Neighbour::Calm || bolt.number.is_multiple_of(2), "a bolt");
                Ok::<_, volery::Error>(())
            }
        });
    let builder = Volery::builder("weather").agents(siblings).agent(bolts);
    let volery =
        builder.configure(|settings| settings.queued_max = 10_000_000).start().await.expect("starts");
    let begun = Instant::now();
    let storm = tokio::spawn(drive(volery.clone(), count, |number| Bolt { number }));
    drive(volery.clone(), count, |number| Order { number }).await;
    finished.recv().await.expect("the last sibling says so");
    let siblings = begun.elapsed();
    storm.await.expect("publishers do not panic");
    volery.until_idle().await.expect("the runtime runs");
    let whole = begun.elapsed();
    let agents = volery.agents().await.expect("the runtime runs");
    let neighbour = agents.iter().find(|agent| agent.name.as_str() == "neighbour").expect("it is there");
    let tally = neighbour.tally;
    assert_eq!(tally.outstanding(), 0, "every job ended");
    let (consumed, dead, restarts) = (tally.consumed, tally.dead, neighbour.restarts);
    volery.shutdown().await.expect("it stops");
    Weather { siblings, whole, consumed, dead, restarts }
}

async fn storm(jobs: u64) {
    let calm = weather(Neighbour::Calm, jobs).await;
    let storm = weather(Neighbour::Storm, jobs).await;
    assert_eq!(calm.consumed, jobs, "a calm neighbour finishes everything");
    assert_eq!((storm.consumed, storm.dead), (jobs / 2, jobs / 2), "every other bolt strikes");
    let rates = [rate(jobs, calm.siblings), rate(jobs, storm.siblings)];
    println!("siblings beside a calm neighbour      {:>9}/s", rates[0]);
    println!(
        "siblings beside a panic storm         {:>9}/s ({:.2} of it)",
        rates[1],
        share(rates[1], rates[0])
    );
    println!(
        "storm of {jobs} jobs: {} dead letters, {} panics, over after {:.1?} (calm: {:.1?})",
        storm.dead, storm.restarts, storm.whole, calm.whole
    );
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
fn share(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

fn rate(count: u64, taken: Duration) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000 / taken.as_micros().max(1)).unwrap_or(u64::MAX)
}

/// From the panic of one job to the first line of the next job of the same agent, its engine made anew in
/// between.
async fn panic_to_next_job(rounds: usize) -> Vec<Duration> {
    let (told, mut moments) = mpsc::channel(2);
    let agent = Agent::new("fragile")
        .concurrency(1)
        .intensity(Intensity { restarts: u32::MAX, within: Duration::from_secs(1) })
        .consumes(one::<Shared<Bolt>>())
        .engine_with(move || {
            let told = told.clone();
            move |bolt: Shared<Bolt>, _: Context| {
                let told = told.clone();
                async move {
                    told.send(Instant::now()).await?;
                    assert!(!bolt.number.is_multiple_of(2), "a bolt");
                    Ok::<_, volery::Fault>(())
                }
            }
        });
    let volery = Volery::builder("panic").agent(agent).start().await.expect("it starts");
    let mut taken = Vec::with_capacity(rounds);
    for round in 0..rounds as u64 {
        let pair = vec![Bolt { number: round * 2 }, Bolt { number: round * 2 + 1 }];
        volery.publish_all(pair).await.expect("the runtime runs");
        let panicked = moments.recv().await.expect("the first job starts");
        let next = moments.recv().await.expect("the second job starts");
        taken.push(next.saturating_duration_since(panicked));
        volery.until_idle().await.expect("the runtime runs");
    }
    volery.shutdown().await.expect("it stops");
    taken
}

/// The same in bare tokio: a task panics, whoever awaits it starts the next one.
async fn bare_panic_to_next_task(rounds: usize) -> Vec<Duration> {
    let mut taken = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let (told, moment) = oneshot::channel();
        let first = tokio::spawn(async move {
            told.send(Instant::now()).expect("the bench waits");
            panic!("a bolt");
        });
        let panicked = moment.await.expect("the first task starts");
        let joined: Result<(), _> = first.await;
        assert!(joined.is_err(), "it panicked");
        let next = tokio::spawn(async { Instant::now() }).await.expect("it does not panic");
        taken.push(next.saturating_duration_since(panicked));
    }
    taken
}

struct Idle;

impl Life for Idle {
    type Message = ();

    async fn handle(&mut self, (): ()) -> Result<(), Fault> {
        Ok(())
    }
}

async fn children(count: usize) {
    let spec = (0..count).fold(SupervisorSpec::new("root"), |spec, number| {
        spec.child(ChildSpec::actor(format!("c{number}"), |_| async { Ok(Idle) }).0)
    });
    let begun = Instant::now();
    let root = Supervisor::start(spec, Arc::new(NoObserver)).await.expect("it starts");
    let started = begun.elapsed();
    let begun = Instant::now();
    let report = root.stop().await;
    assert_eq!(report.children.len(), count, "everybody stopped");
    println!("{count} children: started in {started:.1?}, stopped in reverse in {:.1?}", begun.elapsed());
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        tasks.spawn(std::future::pending::<()>());
    }
    let started = begun.elapsed();
    let begun = Instant::now();
    tasks.shutdown().await;
    println!("plain: {count} tokio tasks spawned in {started:.1?}, aborted in {:.1?}", begun.elapsed());
}

/// Cancels a run with this many attempts that await something, and waits until nothing of it moves.
async fn cancel(attempts: usize) {
    let arrived = Arc::new(Semaphore::new(0));
    let arrivals = Arc::clone(&arrived);
    let waits = Agent::new("waits")
        .concurrency(u32::try_from(attempts).expect("a small number"))
        .consumes(one::<Shared<Order>>())
        .engine(move |_: Shared<Order>, _: Context| {
            arrivals.add_permits(1);
            std::future::pending::<volery::Result<()>>()
        });
    let volery = Volery::builder("cancel").agent(waits).start().await.expect("it starts");
    let orders: Vec<Order> = (0..attempts as u64).map(|number| Order { number }).collect();
    let run = volery.run("cancelled").open();
    run.publish_all(orders).await.expect("the runtime runs");
    let all = u32::try_from(attempts).expect("a small number");
    arrived.acquire_many(all).await.expect("it is never closed").forget();
    let begun = Instant::now();
    run.cancel();
    let report = run.settled().await.expect("the runtime runs");
    let taken = begun.elapsed();
    assert_eq!(report.tally.cancelled, attempts as u64, "everything was cancelled");
    println!("cancel of {attempts} running attempts: {taken:.1?}");
    volery.shutdown().await.expect("it stops");
    let mut tasks = JoinSet::new();
    for _ in 0..attempts {
        tasks.spawn(std::future::pending::<()>());
    }
    let begun = Instant::now();
    tasks.shutdown().await;
    println!("plain: abort of {attempts} tokio tasks: {:.1?}", begun.elapsed());
}

/// Lets threads go that engines have blocked.
#[derive(Default)]
struct Latch {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Latch {
    fn wait(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(open, |open| !*open).unwrap_or_else(PoisonError::into_inner));
    }

    fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

/// Shuts down over three engines that ignore cancellation, each in its own way.
async fn shutdown(deadline: Duration) {
    let latch = Arc::new(Latch::default());
    let (told, mut arrived) = mpsc::channel(3);
    let (one_told, one_latch) = (told.clone(), Arc::clone(&latch));
    let blocks = Agent::new("blocks-its-thread").consumes(one::<Shared<Order>>()).engine(
        move |_: Shared<Order>, _: Context| {
            one_told.try_send(()).expect("the bench waits");
            one_latch.wait();
            std::future::ready(Ok::<_, volery::Error>(()))
        },
    );
    let (other_told, other_latch) = (told.clone(), Arc::clone(&latch));
    let pool = Agent::new("blocks-the-pool").consumes(one::<Shared<Order>>()).engine(on_thread(
        move |_: Shared<Order>, _: Context| {
            other_told.try_send(()).expect("the bench waits");
            other_latch.wait();
            Ok::<_, volery::Error>(())
        },
    ));
    let awaits = Agent::new("awaits")
        .cancel_grace(Duration::from_secs(3_600))
        .consumes(one::<Shared<Order>>())
        .engine(move |_: Shared<Order>, _: Context| {
            told.try_send(()).expect("the bench waits");
            std::future::pending::<volery::Result<()>>()
        });
    let builder = Volery::builder("stubborn").agents([blocks, pool, awaits]);
    let volery = builder.configure(|s| s.shutdown_within = deadline).start().await.expect("it starts");
    volery.publish(Order { number: 0 }).await.expect("the runtime runs");
    for _ in 0..3 {
        arrived.recv().await.expect("every engine starts");
    }
    let begun = Instant::now();
    let report = volery.shutdown().await.expect("it reports");
    let taken = begun.elapsed();
    println!("shutdown within {deadline:?} over engines that ignore it: {taken:.2?}");
    println!("{report}");
    latch.open();
}

fn print(name: &str, mut taken: Vec<Duration>) {
    taken.sort_unstable();
    let at = |percent: usize| taken[(taken.len() - 1) * percent / 100];
    println!("{name:<38} p50 {:>8.1?}   p99 {:>8.1?}", at(50), at(99));
}

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--test");
    let jobs = std::env::var("VOLERY_BENCH_MAX").ok().and_then(|max| max.parse().ok()).unwrap_or(100_000);
    let sizes = if smoke {
        Sizes { jobs: 1_000, rounds: 10, children: 100, attempts: 10, deadline: Duration::from_millis(200) }
    } else {
        Sizes { jobs, rounds: 2_000, children: 10_000, attempts: 1_000, deadline: Duration::from_secs(5) }
    };
    // A hundred thousand reports of panics that are meant would bury the figures.
    std::panic::set_hook(Box::new(|_| {}));
    let builder = || {
        // One worker is blocked on purpose; two are left on any machine.
        tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build()
    };
    let tokio = tokio::runtime::Runtime::new().expect("threads can be started");
    tokio.block_on(async {
        print("panic to the agent's next job", panic_to_next_job(sizes.rounds).await);
        print("plain: tokio task to the next", bare_panic_to_next_task(sizes.rounds).await);
        children(sizes.children).await;
        cancel(sizes.attempts).await;
        storm(sizes.jobs).await;
    });
    drop(tokio);
    builder().expect("threads can be started").block_on(shutdown(sizes.deadline));
}
