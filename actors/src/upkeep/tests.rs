//! Tests of the shell around loops, and of loops that run twice.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use volery_blackboard::{Filter, Timestamp};
use volery_observability::Metrics;

use super::lookout::{Sentry, SentryParts};
use super::periodic::{Loop, NextTick, Periodic, PeriodicMessage, on_grid};
use super::schedule::Firing;
use super::status::LoopRecord;
use super::sweep::Sweep;
use super::{Missed, Schedule};
use crate::agent::Attempts;
use crate::clock::Clock;
use crate::fault::Fault;
use crate::runtime::{Builder, Volery};
use crate::supervision::{Address, ChildSpec, NoObserver, Supervisor, SupervisorSpec};
use crate::{Agent, Event, FeedItem};

const SECOND: Duration = Duration::from_secs(1);

/// The effect of one tick of a [`Scripted`] loop.
enum Step {
    Take(Duration),
    Fail,
    Panic,
    Hang(Flag),
}

#[derive(Clone, Default)]
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A loop with a period of ten seconds whose ticks do what a list says.
struct Scripted {
    clock: Clock,
    steps: VecDeque<Step>,
    began: Arc<Mutex<Vec<u64>>>,
    start: Timestamp,
}

impl Loop for Scripted {
    fn next(&self, _: Timestamp) -> NextTick {
        NextTick::Every(10 * SECOND)
    }

    async fn tick(&mut self) -> Result<(), Fault> {
        let at = self.clock.now().since(self.start).as_secs();
        self.began.lock().unwrap_or_else(PoisonError::into_inner).push(at);
        match self.steps.pop_front() {
            None => Ok(()),
            Some(Step::Take(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(Step::Fail) => Err("no luck".into()),
            Some(Step::Panic) => panic!("no luck at all"),
            Some(Step::Hang(flag)) => {
                std::future::pending::<()>().await;
                drop(flag);
                Ok(())
            }
        }
    }
}

/// A loop under a supervisor of its own.
struct Bed {
    supervisor: Supervisor,
    address: Address<PeriodicMessage>,
    record: Arc<LoopRecord>,
    began: Arc<Mutex<Vec<u64>>>,
}

impl Bed {
    async fn lay(steps: impl IntoIterator<Item = Step>) -> Self {
        let clock = Clock::fixed(Timestamp::default(), 1);
        let record = Arc::new(LoopRecord::new("scripted".to_owned(), Metrics::default()));
        let began = Arc::<Mutex<Vec<u64>>>::default();
        let steps = Mutex::new(Some(steps.into_iter().collect::<VecDeque<_>>()));
        let (of_life, noted) = (Arc::clone(&record), Arc::clone(&began));
        let (spec, address) = ChildSpec::actor("scripted", move |own| {
            let steps = steps.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
            let (clock, start, began) = (clock.clone(), Timestamp::default(), Arc::clone(&noted));
            let work = Scripted { clock: clock.clone(), steps, began, start };
            let life = Periodic::new(work, clock, Arc::clone(&of_life), own);
            async move { Ok(life) }
        });
        let tree = SupervisorSpec::new("bed").child(spec);
        let supervisor = Supervisor::start(tree, Arc::new(NoObserver)).await.expect("the tree starts");
        Self { supervisor, address, record, began }
    }

    fn began(&self) -> Vec<u64> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_ticks_at_its_period_and_skips_periods_that_passed() {
    let bed = Bed::lay([Step::Take(25 * SECOND)]).await;
    tokio::time::sleep(55 * SECOND).await;
    assert_eq!(bed.began(), [10, 40, 50], "20 and 30 passed during the first tick");
    let status = bed.record.status();
    assert_eq!((status.ticks, status.errors, status.ticking), (3, 0, false));
    assert_eq!(status.next, Some(Timestamp::default().after(60 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn nudges_make_one_tick_at_once_and_change_no_plan() {
    let bed = Bed::lay([]).await;
    tokio::time::sleep(3 * SECOND).await;
    for _ in 0..3 {
        bed.address.send(PeriodicMessage::Nudge).expect("it lives");
    }
    tokio::time::sleep(8 * SECOND).await;
    assert_eq!(bed.began(), [3, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_fails_or_panics_is_counted_and_the_next_is_as_planned() {
    let bed = Bed::lay([Step::Fail, Step::Panic]).await;
    tokio::time::sleep(15 * SECOND).await;
    assert_eq!(bed.record.status().last_error, ["no luck"]);
    tokio::time::sleep(20 * SECOND).await;
    let status = bed.record.status();
    assert_eq!(bed.began(), [10, 20, 30]);
    assert_eq!((status.ticks, status.errors), (3, 2));
    assert_eq!(status.last_error, ["panicked: no luck at all"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_loop_in_the_middle_of_a_tick() {
    let flag = Flag::default();
    let dropped = Arc::clone(&flag.0);
    let bed = Bed::lay([Step::Hang(flag)]).await;
    tokio::time::sleep(15 * SECOND).await;
    assert!(bed.record.status().ticking && !dropped.load(Ordering::Acquire));
    let clock = Clock::system();
    let before = clock.now();
    let report = bed.supervisor.stop().await;
    assert!(report.children.iter().all(|child| !child.overran));
    assert!(dropped.load(Ordering::Acquire), "the tick was dropped");
    assert_eq!(clock.now(), before, "and nobody waited for it");
}

#[test]
fn the_grid_begins_with_the_loop() {
    let at = |micros| Timestamp::from_micros_since_epoch(micros);
    let next = |now| on_grid(at(5), Duration::from_micros(10), at(now));
    assert_eq!([next(0), next(5), next(14), next(15), next(99)], [15, 15, 15, 25, 105].map(at));
}

#[tokio::test(start_paused = true)]
async fn the_sentrys_thread_ends_with_its_life() {
    let feed = crate::feed::Feed::new(1, Vec::new(), Vec::new());
    let parts = Arc::new(SentryParts {
        blocked_after: Duration::from_secs(3_600),
        attempts: Attempts::default(),
        findings: Arc::new(super::Findings::new(feed, Metrics::default())),
        clock: Clock::system(),
        metrics: Metrics::default(),
        threads: Mutex::default(),
    });
    let of_life = Arc::clone(&parts);
    let (spec, _) = ChildSpec::actor("sentry", move |own| {
        let life = Sentry::new(Arc::clone(&of_life), own);
        async move { Ok(life) }
    });
    let tree = SupervisorSpec::new("bed").child(spec);
    let supervisor = Supervisor::start(tree, Arc::new(NoObserver)).await.expect("the tree starts");
    assert!(Arc::strong_count(&parts) > 2, "the thread holds its parts");
    let report = supervisor.stop().await;
    assert!(report.children.iter().all(|child| !child.overran), "it is woken from its sleep");
    drop(supervisor);
    parts.join().await;
    assert_eq!(Arc::strong_count(&parts), 1, "the thread is gone");
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Beat {
    n: u32,
}

fn beat(missed: Missed) -> Schedule {
    Schedule::every("beat", 10 * SECOND, || Beat { n: 1 }).missed(missed)
}

async fn start(builder: Builder) -> Volery {
    // Five seconds after a multiple of the period.
    let clock = Clock::fixed(Timestamp::from_micros_since_epoch(1_000_005_000_000), 7);
    builder.clock(clock).start().await.expect("it starts")
}

async fn beats(runtime: &Volery) -> usize {
    let found = runtime.artifacts(&Filter::all().tagged("schedule:beat")).await.expect("the store is there");
    found.artifacts.len()
}

/// Runs a second loop of the same kind beside those of a runtime.
async fn run_beside<L: Loop>(
    runtime: &Volery,
    make: impl Fn() -> Result<L, Fault> + Send + Sync + 'static,
) -> (Supervisor, Arc<LoopRecord>) {
    let record = Arc::new(LoopRecord::new("second".to_owned(), Metrics::default()));
    let (clock, of_life) = (runtime.services().clock.clone(), Arc::clone(&record));
    let (spec, _) = ChildSpec::actor("second", move |own| {
        let life = make().map(|work| Periodic::new(work, clock.clone(), Arc::clone(&of_life), own));
        async move { life }
    });
    let tree = SupervisorSpec::new("beside").child(spec);
    let supervisor = Supervisor::start(tree, Arc::new(NoObserver)).await.expect("it starts");
    (supervisor, record)
}

#[tokio::test(start_paused = true)]
async fn two_schedules_of_one_name_publish_each_firing_once() {
    let runtime = start(Volery::builder("twice").schedule(beat(Missed::Skip))).await;
    let services = Arc::clone(runtime.services());
    let make = move || Firing::new(beat(Missed::Skip), Arc::clone(&services), Metrics::default());
    let (second, record) = run_beside(&runtime, make).await;
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(record.status().ticks, 3, "the second one fired as often");
    assert_eq!(beats(&runtime).await, 3);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_sweeps_settle_what_is_due_once() {
    use volery_blackboard::shape::{by, join};

    let pairs = Agent::new("pairs")
        .consumes(join(by(|beat: &Beat| beat.n), by(|other: &String| other.len())).within(5 * SECOND))
        .engine(|_: (Beat, String), _| async { Ok::<_, Fault>(()) });
    let runtime = start(Volery::builder("twice").agent(pairs)).await;
    // Should the timekeeper be first, the sweeps find nothing; either way there is one outcome.
    let ingress = Arc::clone(&runtime.services().ingress);
    let make = move || Ok(Sweep { period: 5 * SECOND, ingress: Arc::clone(&ingress) });
    let (second, _) = run_beside(&runtime, make).await;
    let mut feed = runtime.feed();
    runtime.publish(Beat { n: 1 }).await.expect("it is open");
    tokio::time::sleep(20 * SECOND).await;
    let mut outcomes = 0;
    while let Some(FeedItem::Event(event)) = feed.try_next() {
        outcomes += usize::from(matches!(event, Event::Settled { .. }));
    }
    assert_eq!(outcomes, 1);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_is_killed_repeats_no_firing() {
    for missed in [Missed::Skip, Missed::Once] {
        let runtime = start(Volery::builder("killed").schedule(beat(missed))).await;
        tokio::time::sleep(16 * SECOND).await;
        assert_eq!(beats(&runtime).await, 2);
        runtime.kill("schedule/beat").await.expect("it is supervised");
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(beats(&runtime).await, 2, "{missed:?}: it fires at planned times only");
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(beats(&runtime).await, 3);
        let status = runtime.loops().into_iter().find(|status| status.name == "schedule/beat");
        assert!(status.expect("it is listed").ticks >= 3, "{missed:?}: the counts go on");
    }
}
