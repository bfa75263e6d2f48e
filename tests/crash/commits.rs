//! A crash at every commit: the store stops, the process is gone, and the next life takes the same steps
//! again.
//!
//! Each commit of the scenario is the last one in turn, once with nothing of it written and once with all of
//! it written and nobody told; in a file, which is slower, a drawn half of those. Each crash is followed by a
//! second one at a random commit of the life after it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use volery::Sqlite;
use volery::agent::PastIntensity;
use volery::prelude::*;
use volery::sqlite::Durability;
use volery::supervision::Intensity;
use volery::testing::FailingStore;
use volery::{Fault, Published, Waiting, WaitingReason};

use crate::audit::Audit;
use crate::chance::Chance;
use crate::kills::folder;
use crate::service::{self, Ack, Bad, Doomed, Flaky, Item, Left, Order, Right, Slow};

/// The part of a commit that a crash in it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Nothing,
    Everything,
}

/// A store and what it is kept in.
trait Kept {
    /// How many lives pass before the one in which everything settles: as many as the deadlines take, if its
    /// time is real.
    const REST: u64;

    /// Whether every crash is tried; else each is with one chance in two.
    const IS_FAST: bool;

    /// Opens it for a life.
    fn open(&self) -> FailingStore;
    /// Runs a life on a runtime that ends with it.
    fn tokio(&self) -> tokio::runtime::Runtime;
}

struct InMemory {
    store: FailingStore,
    /// Starts of jobs are not recorded before their attempts have lasted.
    records_late: bool,
}

impl Kept for InMemory {
    const REST: u64 = 0;
    const IS_FAST: bool = true;

    fn open(&self) -> FailingStore {
        self.store.commit_at_once();
        self.store.answer_at_once();
        self.store.stay_open();
        if !self.records_late {
            self.store.outlive_process();
        }
        self.store.clone()
    }

    fn tokio(&self) -> tokio::runtime::Runtime {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        tokio.expect("a runtime can be started")
    }
}

struct InFile(PathBuf);

impl Kept for InFile {
    const REST: u64 = 8;
    const IS_FAST: bool = false;

    fn open(&self) -> FailingStore {
        // The crash leaves what the commit left; losses of the disk are tested elsewhere.
        let options = Sqlite::options(&self.0).durability(Durability::OsCrashMayLoseLastMs);
        FailingStore::over(options.open().expect("nobody else has it"))
    }

    fn tokio(&self) -> tokio::runtime::Runtime {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        tokio.expect("a runtime can be started")
    }
}

/// Stops a store at a commit, counted from 1, and reports that it did.
fn stop_at(store: &FailingStore, number: u64, leaves: Leaves) -> Arc<Notify> {
    let (stopped, begun) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let stop = |stage: Leaves| {
        let (stopped, begun) = (Arc::clone(&stopped), Arc::clone(&begun));
        move || {
            let begins = u64::from(stage == Leaves::Nothing);
            let begun = begun.fetch_add(begins, Ordering::AcqRel) + begins;
            // A write after the last commit is not done either.
            let is_over = begun > number || (begun == number && leaves == stage);
            if is_over {
                stopped.notify_one();
            }
            async move {
                if is_over {
                    std::future::pending::<()>().await;
                }
            }
        }
    };
    store.delay_commits(stop(Leaves::Nothing));
    store.delay_answers(stop(Leaves::Everything));
    stopped
}

fn agents() -> Vec<Agent> {
    let panics = Agent::new("panics")
        .consumes(one::<Bad>())
        .retry(Retry::fixed(6, Duration::from_millis(1)))
        .intensity(Intensity { restarts: 1, within: Duration::from_secs(10) })
        .past_intensity(PastIntensity::Quarantine { resume_after: Some(Duration::from_millis(2)) })
        .engine(async |_: Bad, ctx: Context| {
            if ctx.attempt() <= 3 {
                // A panic that prints nothing: there are hundreds.
                std::panic::resume_unwind(Box::new("no luck"));
            }
            Ok::<_, Fault>(())
        });
    let idle =
        Agent::new("idle").consumes(one::<Doomed>()).engine(async |_: Doomed, _: Context| Ok::<_, Fault>(()));
    service::agents().into_iter().chain([panics, idle]).collect()
}

/// The scenario. A life that finds it half done does it again, as a client would that was not answered.
async fn scenario(volery: &Volery, acks: &Acks) -> volery::Result<()> {
    volery.pause("idle")?;
    volery.pause("ship")?;
    let doomed = acks.note(volery.publish(Doomed { n: 0 }).idempotency_key("doomed").await?);
    for n in 0..2 {
        acks.note(volery.publish(Order { n }).idempotency_key(format!("order {n}")).await?);
        acks.note(volery.publish(Left { n }).idempotency_key(format!("left {n}")).await?);
        acks.note(volery.publish(Slow { n }).idempotency_key(format!("slow {n}")).await?);
    }
    for n in 0..7 {
        acks.note(volery.publish(Item { n }).idempotency_key(format!("item {n}")).await?);
    }
    for n in 5..7 {
        acks.note(volery.publish(Flaky { n }).idempotency_key(format!("flaky {n}")).await?);
    }
    acks.note(volery.publish(Bad { n: 0 }).idempotency_key("bad").await?);
    volery.cancel(doomed.run);
    volery.resume("ship")?;
    for n in 0..2 {
        acks.note(volery.publish(Right { n }).idempotency_key(format!("right {n}")).await?);
    }
    Ok(())
}

/// Waits until nothing is left to do before the deadlines come.
async fn rest(volery: &Volery) -> volery::Result<()> {
    let at_rest = async || {
        let fills = |waiting: &Waiting| matches!(waiting.reason, WaitingReason::BatchFilling { .. });
        Ok(volery.running().await?.is_empty() && volery.waiting().await?.iter().all(fills))
    };
    assert!(volery.until(at_rest).await?, "it runs");
    Ok(())
}

/// One life, which ends when everything rests, or at a commit. Returns how many commits it made, if it came
/// to the end.
fn live(kept: &impl Kept, life: u64, crash: Option<(u64, Leaves)>, acks: &Acks) -> Option<u64> {
    let store = kept.open();
    let before = store.commits();
    let stopped = crash.map(|(number, leaves)| stop_at(&store, number, leaves));
    let tokio = kept.tokio();
    let whole = tokio.block_on(async {
        let work = async {
            let clock = service::clock(life);
            let builder = Volery::builder("shop").store(store.clone()).clock(clock).agents(agents());
            let volery = builder.start().await?;
            scenario(&volery, acks).await?;
            rest(&volery).await?;
            Ok::<_, volery::Error>(store.commits() - before)
        };
        match stopped {
            None => Some(work.await),
            Some(stopped) => tokio::select! {
                biased;
                () = stopped.notified() => None,
                made = work => Some(made),
            },
        }
    });
    // Every task ends here, wherever it is.
    drop(tokio);
    whole.map(|made| made.expect("nothing fails but at the crash"))
}

/// The last life, which comes to the end of everything, and the audit.
fn settle(kept: &impl Kept, life: u64, acks: &Acks) -> Duration {
    let store = kept.open();
    let work = async {
        let builder = Volery::builder("shop").store(store).clock(service::clock(life)).agents(agents());
        let volery = builder.start().await?;
        scenario(&volery, acks).await?;
        volery.until_idle().await?;
        volery.shutdown().await
    };
    kept.tokio().block_on(work).expect("nothing fails");
    let store = kept.open();
    kept.tokio().block_on(async {
        let audit = Audit::of(&store).await.expect("it can be read");
        audit.nothing_acknowledged_is_lost(&acks.0.borrow());
        audit.is_consistent();
        audit.is_complete();
        audit.parcels_met_their_deadlines()
    })
}

/// The acknowledged artifacts, of all lives.
#[derive(Default)]
struct Acks(RefCell<Vec<Ack>>);

impl Acks {
    fn note(&self, published: Published) -> Published {
        self.0.borrow_mut().push(Ack::of(&published));
        published
    }
}

/// A life that begins after the deadlines of the first ones.
const AFTER_DEADLINES: u64 = 8;

/// Crashes that run at the same time: in a file they wait for the disk for most of theirs.
const AT_ONCE: usize = 4;

/// A crash at a commit of a life, and the one at a commit of the life after it.
struct Crash {
    number: u64,
    life: u64,
    first: (u64, Leaves),
    second: (u64, Leaves),
}

impl Crash {
    /// Returns how late the latest parcel was.
    fn happen<K: Kept>(&self, test: &str, fresh: &impl Fn(u64) -> K) -> Duration {
        let (kept, acks, life) = (fresh(self.number), Acks::default(), self.life);
        if life > 0 {
            live(&kept, 0, None, &acks);
        }
        let first = live(&kept, life, Some(self.first), &acks);
        let second = live(&kept, life + 1, Some(self.second), &acks);
        let (n, leaves) = self.first;
        let note = format!("{test}: crash at commit {n} of life {life} leaving {leaves:?}");
        eprintln!("{note}: {first:?}, then {second:?}");
        live(&kept, life + 2, None, &acks);
        settle(&kept, life + 3 + K::REST, &acks)
    }
}

/// Crashes at every commit of the first life, and of one that comes after the deadlines. Returns how late the
/// latest parcel was that a life had before its deadline.
fn crash_everywhere<K: Kept>(test: &str, fresh: impl Fn(u64) -> K + Sync) -> Duration {
    let late = AFTER_DEADLINES;
    let mut chance = Chance::printed(test);
    let (kept, acks) = (fresh(0), Acks::default());
    let early_commits = live(&kept, 0, None, &acks).expect("nothing stops it");
    let late_commits = live(&kept, late, None, &acks).expect("nothing stops it");
    drop(kept);
    let points = (1..=early_commits).map(|n| (0, n)).chain((1..=late_commits).map(|n| (late, n)));
    let mut crashes = Vec::new();
    for ((life, n), leaves) in
        points.flat_map(|point| [(point, Leaves::Nothing), (point, Leaves::Everything)])
    {
        if !K::IS_FAST && chance.coin() {
            continue;
        }
        let again = if chance.coin() { Leaves::Nothing } else { Leaves::Everything };
        let second = (1 + chance.below(early_commits), again);
        crashes.push(Crash { number: crashes.len() as u64 + 1, life, first: (n, leaves), second });
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut latest = Duration::ZERO;
        while let Some(crash) = crashes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let late = crash.happen(test, &fresh);
            if crash.life == 0 {
                latest = latest.max(late);
            }
        }
        latest
    };
    let latest = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("every crash is survived")).max()
    });
    eprintln!("{test}: {} crashes", crashes.len());
    latest.expect("there are threads")
}

#[test]
fn a_crash_at_any_commit_loses_and_repeats_nothing_in_memory() {
    let fresh = |_| InMemory { store: FailingStore::over(Memory::new()), records_late: false };
    let late = crash_everywhere("commits, memory", fresh);
    assert!(late < Duration::from_millis(20), "the last parcel was {late:?} late");
}

#[test]
fn a_crash_at_any_commit_loses_and_repeats_nothing_when_starts_are_recorded_late() {
    let fresh = |_| InMemory { store: FailingStore::over(Memory::new()), records_late: true };
    crash_everywhere("commits, records late", fresh);
}

#[test]
fn a_crash_at_any_commit_loses_and_repeats_nothing_in_a_file() {
    let folder = folder("commits");
    let fresh = |number| InFile(folder.join(format!("{number}.db")));
    crash_everywhere("commits, file", fresh);
}
