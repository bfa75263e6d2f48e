//! Pace: how many jobs end beside publishers at full speed, and how many without them.
//!
//! `cargo bench -p volery-benches --bench pace` prints, in memory and on SQLite, with 8 and with 256 slots:
//! the ends of jobs per second beside publishers and over a backlog that nobody adds to, what is published
//! meanwhile, and how many seconds of work wait at the default bound of the queue when the measured time
//! begins and ends. A backlog that grows meanwhile has not met the bound yet. Then come the ratios, each the
//! median of the rounds' own ratios, because machines are shared. Ends are counted by the board, not by
//! engines: an end counts when it is committed.
//! `VOLERY_BENCH_ROUNDS` (default 5) is the number of rounds; a first argument names one store.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::print_stdout, reason = "its output is what it prints")]
#![expect(clippy::cast_precision_loss, reason = "figures are for reading")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use volery::prelude::*;
use volery::{ErrorKind, Sqlite};

/// Publishers at full speed: each publishes groups of `GROUP`, one after the other.
const PUBLISHERS: usize = 4;
const GROUP: u64 = 100;

/// The slots of an agent by default, and so many that none is waited for.
const SLOTS: [u32; 2] = [8, 256];

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Event {
    number: u64,
}

/// The lengths of a measurement.
#[derive(Clone, Copy)]
struct Lengths {
    /// Until publishers are at full speed, and held back if they are.
    settle: Duration,
    measured: Duration,
    /// Divides the backlogs.
    part: u64,
}

const FULL: Lengths =
    Lengths { settle: Duration::from_millis(500), measured: Duration::from_millis(1_500), part: 1 };
const SMOKE: Lengths =
    Lengths { settle: Duration::from_millis(10), measured: Duration::from_millis(50), part: 100 };

#[derive(Clone, Copy, PartialEq)]
enum Store {
    Memory,
    Sqlite,
}

impl Store {
    const ALL: [Self; 2] = [Self::Memory, Self::Sqlite];

    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
        }
    }

    /// More than ends within the measured time.
    const fn backlog(self) -> u64 {
        match self {
            Self::Memory => 600_000,
            Self::Sqlite => 100_000,
        }
    }
}

/// One store with one number of slots, and what was measured of it in each round.
struct Case {
    store: Store,
    slots: u32,
    rounds: Vec<Round>,
}

/// A figure of a round.
type Figure = fn(&Round) -> f64;

/// Rates per second, and counts.
struct Round {
    beside: f64,
    without: f64,
    published: f64,
    waiting: [u64; 2],
}

impl Case {
    async fn measure(&mut self, lengths: Lengths) {
        let without = self.without(lengths).await;
        let (first, last) = self.beside(lengths).await;
        let per_second = |first: u64, last: u64| (last - first) as f64;
        let seconds = (last.at - first.at).as_secs_f64();
        self.rounds.push(Round {
            beside: per_second(first.ended, last.ended) / seconds,
            published: per_second(first.published, last.published) / seconds,
            without,
            waiting: [first.waiting(), last.waiting()],
        });
    }

    async fn start(&self, configure: impl FnOnce(&mut volery::Settings)) -> Volery {
        let agent = Agent::new("agent")
            .consumes(one::<Shared<Event>>())
            .concurrency(self.slots)
            .engine(async |_: Shared<Event>, _: Context| Ok::<_, volery::Error>(()));
        let builder = Volery::builder("pace").agent(agent).configure(configure);
        let builder = match self.store {
            Store::Memory => builder,
            Store::Sqlite => builder.store(Sqlite::open(file()).expect("it opens")),
        };
        builder.start().await.expect("it starts")
    }

    /// Works off a backlog that is there before the agent may begin. Returns ends per second.
    async fn without(&self, lengths: Lengths) -> f64 {
        let volery = self.start(|settings| settings.queued_max = u64::MAX).await;
        volery.pause("agent").expect("the agent exists");
        for first in (0..self.store.backlog() / lengths.part).step_by(GROUP as usize) {
            volery.publish_all(group(first)).await.expect("the runtime runs");
        }
        let begun = Instant::now();
        volery.resume("agent").expect("the agent exists");
        let idle = tokio::time::timeout(lengths.measured, volery.until_idle()).await;
        if let Ok(idle) = idle {
            idle.expect("the runtime runs");
        }
        let ended = ended(&volery).await;
        let rate = ended as f64 / begun.elapsed().as_secs_f64();
        leave(&volery).await;
        rate
    }

    /// Has publishers at full speed beside the agent. Returns the counts when the measured time began and
    /// ended.
    async fn beside(&self, lengths: Lengths) -> (Reading, Reading) {
        let volery = self.start(|_| {}).await;
        let published = Arc::new(AtomicU64::new(0));
        let mut publishers = JoinSet::new();
        for _ in 0..PUBLISHERS {
            publishers.spawn(publish(volery.clone(), Arc::clone(&published)));
        }
        tokio::time::sleep(lengths.settle).await;
        let first = Reading::of(&volery, &published).await;
        tokio::time::sleep(lengths.measured).await;
        let last = Reading::of(&volery, &published).await;
        leave(&volery).await;
        for error in publishers.join_all().await {
            assert_eq!(error.kind(), ErrorKind::Stop, "a publisher failed: {error}");
        }
        (first, last)
    }

    fn print(&self) {
        let of = |value: Figure| median(self.rounds.iter().map(value).collect());
        let seconds = |at: usize| {
            median(self.rounds.iter().map(|round| round.waiting[at] as f64 / round.without).collect())
        };
        println!(
            "{:<6} {:>3} slots: beside publishers {:>7.0}/s   without {:>7.0}/s   published {:>7.0}/s   \
             waiting {:>6.2} s of work, then {:>6.2} s",
            self.store.name(),
            self.slots,
            of(|round| round.beside),
            of(|round| round.without),
            of(|round| round.published),
            seconds(0),
            seconds(1),
        );
    }
}

/// Counts at an instant.
struct Reading {
    at: Instant,
    ended: u64,
    published: u64,
}

impl Reading {
    async fn of(volery: &Volery, published: &AtomicU64) -> Self {
        let ended = ended(volery).await;
        Self { at: Instant::now(), ended, published: published.load(Ordering::Relaxed) }
    }

    /// A publish may be read as ended before its publisher has counted it.
    const fn waiting(&self) -> u64 {
        self.published.saturating_sub(self.ended)
    }
}

fn group(first: u64) -> Vec<Event> {
    (first..first + GROUP).map(|number| Event { number }).collect()
}

/// Publishes until it cannot, and says why.
async fn publish(volery: Volery, published: Arc<AtomicU64>) -> volery::Error {
    for first in (0..).step_by(GROUP as usize) {
        if let Err(error) = volery.publish_all(group(first)).await {
            return error;
        }
        published.fetch_add(GROUP, Ordering::Relaxed);
    }
    unreachable!("numbers do not end")
}

async fn ended(volery: &Volery) -> u64 {
    volery.agents().await.expect("the runtime runs")[0].ended
}

/// Stops without working off what waits: that takes the second interruption.
async fn leave(volery: &Volery) {
    volery.interrupt();
    volery.interrupt();
    volery.stopped().await.expect("it stops");
}

/// A file in a folder that is emptied first.
fn file() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pace");
    drop(std::fs::remove_dir_all(&folder).err());
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder.join("store.db")
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Prints the ratios of one store; its cases come in the order of `SLOTS`.
fn print_ratios(store: Store, cases: &[Case]) {
    let own: Vec<&Case> = cases.iter().filter(|case| case.store == store).collect();
    let ratio = |above: &Case, below: &Case, value: [Figure; 2]| {
        let rounds = above.rounds.iter().zip(&below.rounds);
        median(rounds.map(|(above, below)| value[0](above) / value[1](below)).collect())
    };
    let beside: Figure = |round| round.beside;
    let without: Figure = |round| round.without;
    for case in &own {
        let kept = ratio(case, case, [beside, without]);
        println!(
            "{:<6} {:>3} slots: {kept:.2} of the rate is kept beside publishers",
            store.name(),
            case.slots
        );
    }
    if let [few, many] = own[..] {
        println!(
            "{:<6} {} slots over {}: {:.2} without publishers, {:.2} beside them",
            store.name(),
            few.slots,
            many.slots,
            ratio(few, many, [without, without]),
            ratio(few, many, [beside, beside]),
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let smoke = arguments.iter().any(|argument| argument == "--test");
    let only = arguments.iter().find(|argument| !argument.starts_with('-'));
    let rounds = std::env::var("VOLERY_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let (rounds, lengths) = if smoke { (1, SMOKE) } else { (rounds, FULL) };
    let stores = Store::ALL.into_iter().filter(|store| only.is_none_or(|only| only == store.name()));
    let case = |store| SLOTS.map(|slots| Case { store, slots, rounds: Vec::new() });
    let mut cases: Vec<Case> = stores.clone().flat_map(case).collect();
    assert!(!cases.is_empty(), "there is no store {only:?}; there are memory and sqlite");
    let tokio = tokio::runtime::Runtime::new().expect("threads can be started");
    tokio.block_on(async {
        for _ in 0..rounds {
            for case in &mut cases {
                case.measure(lengths).await;
            }
        }
    });
    cases.iter().for_each(Case::print);
    stores.for_each(|store| print_ratios(store, &cases));
}
