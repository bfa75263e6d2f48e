//! Schedules: when they fire, what a firing is, and what becomes of firings that were missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use volery::Memory;
use volery::prelude::*;
use volery::runtime::{Clock, Missed, Overflow};
use volery::testing::FailingStore;
use volery::{Artifact, RunId, Schedule, Timestamp};

use crate::support::{A, B, Gate, HOUR, SECOND, Tested, a, b, event, on_board, turns};

/// The time at which a test begins: five seconds after a multiple of ten.
const BEGIN: i64 = 1_700_000_005;

fn clock(seconds: i64) -> Clock {
    Clock::fixed(Timestamp::from_millis_since_epoch(seconds * 1_000), seconds.unsigned_abs())
}

/// Fires every ten seconds and counts its firings.
fn beat() -> Schedule {
    let fired = AtomicU32::new(0);
    Schedule::every("beat", SECOND * 10, move || a(0, fired.fetch_add(1, Ordering::Relaxed)))
}

async fn firings(volery: &Volery) -> volery::Result<Vec<Arc<Artifact>>> {
    Ok(volery.artifacts(&Filter::all().tagged("schedule:beat")).await?.artifacts)
}

/// The planned times of what was fired, in seconds after [`BEGIN`].
async fn planned(volery: &Volery) -> volery::Result<Vec<i64>> {
    let of = |artifact: &Arc<Artifact>| {
        let key = artifact.idempotency_key().expect("a firing has a key");
        let (name, planned) = key.rsplit_once(':').expect("the key ends with the time");
        assert_eq!(name, "schedule:beat");
        let (seconds, micros) = planned.split_once('.').expect("in seconds");
        assert_eq!(micros, "000000", "planned times are on the grid");
        seconds.parse::<i64>().expect("a number") - BEGIN
    };
    Ok(firings(volery).await?.iter().map(of).collect())
}

#[tokio::test(start_paused = true)]
async fn a_schedule_fires_at_every_multiple_of_its_period_in_runs_of_their_own() -> Tested {
    let volery = Volery::builder("t").schedule(beat()).clock(clock(BEGIN)).start().await?;
    let mut feed = volery.feed();
    tokio::time::sleep(SECOND * 31).await;
    assert_eq!(planned(&volery).await?, [5, 15, 25]);
    assert_eq!(on_board::<A>(&volery).await?, [a(0, 0), a(0, 1), a(0, 2)], "the closure makes each payload");
    let mut runs: Vec<RunId> = firings(&volery).await?.iter().map(|artifact| artifact.run()).collect();
    runs.dedup();
    assert_eq!(runs.len(), 3);
    let published = event(&mut feed, |event| match event {
        volery::feed::Event::Published { artifact, .. } => Some(artifact.run()),
        _ => None,
    });
    assert_eq!(published.await, runs[0]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_firing_is_named_after_its_schedule() -> Tested {
    let done = Agent::new("done").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(done).schedule(beat()).start().await?;
    let mut feed = volery.feed();
    let workflow = event(&mut feed, |event| match event {
        volery::feed::Event::RunSettled { workflow, .. } => Some(Arc::clone(workflow)),
        _ => None,
    });
    assert_eq!(&*workflow.await, "beat");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_panics_is_counted_and_the_next_firing_is_as_planned() -> Tested {
    let calls = AtomicU32::new(0);
    let moody = Schedule::every("beat", SECOND * 10, move || match calls.fetch_add(1, Ordering::Relaxed) {
        0 => panic!("no payload today"),
        n => a(0, n),
    });
    let volery = Volery::builder("t").schedule(moody).clock(clock(BEGIN)).start().await?;
    tokio::time::sleep(SECOND * 21).await;
    assert_eq!(planned(&volery).await?, [15]);
    let status = volery.loops().into_iter().find(|status| status.name == "schedule/beat");
    let status = status.expect("it is listed");
    assert_eq!((status.ticks, status.errors), (2, 1));
    assert_eq!(status.last_error, ["the closure panicked: no payload today"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_firing_that_is_refused_is_counted_and_the_next_is_tried() -> Tested {
    let gate = Gate::new();
    let slow = Agent::new("slow").concurrency(1).consumes(one::<B>()).engine({
        let gate = gate.clone();
        move |_: B, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t")
        .agent(slow)
        .schedule(beat())
        .clock(clock(BEGIN))
        .configure(|settings| (settings.queued_max, settings.overflow) = (1, Overflow::Refuse))
        .start()
        .await?;
    volery.publish(b(0, 0)).await?;
    gate.reached().await;
    tokio::time::sleep(SECOND * 11).await;
    let errors = |volery: &Volery| {
        let all = volery.loops();
        all.iter().find(|status| status.name == "schedule/beat").expect("it is listed").errors
    };
    assert_eq!((planned(&volery).await?.len(), errors(&volery)), (0, 1));
    gate.open(1);
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!((planned(&volery).await?, errors(&volery)), (vec![15], 1));
    Ok(())
}

/// Runs with a schedule that fires every ten seconds while publishers wait for room from second 1 to
/// second 36.
async fn held_back(missed: Missed) -> volery::Result<Vec<i64>> {
    let gate = Gate::new();
    let slow = Agent::new("slow").concurrency(1).consumes(one::<B>()).engine({
        let gate = gate.clone();
        move |_: B, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t")
        .agent(slow)
        .schedule(beat().missed(missed))
        .clock(clock(BEGIN))
        .configure(|settings| settings.queued_max = 1)
        .start()
        .await?;
    volery.publish(b(0, 0)).await?;
    gate.reached().await;
    tokio::time::sleep(SECOND * 36).await;
    gate.open(1);
    tokio::time::sleep(SECOND * 10).await;
    planned(&volery).await
}

#[tokio::test(start_paused = true)]
async fn firings_that_pass_while_one_waits_for_room_are_skipped_or_made_up_for_once() -> Tested {
    assert_eq!(held_back(Missed::Skip).await?, [5, 45], "15, 25 and 35 are skipped");
    assert_eq!(held_back(Missed::Once).await?, [5, 15, 45], "one makes up for all three");
    Ok(())
}

/// A store that outlives the runtimes over it.
fn lasting() -> FailingStore {
    let store = FailingStore::over(Memory::new());
    store.stay_open();
    store
}

/// Runs from second 0 to 17, is down until second 60, and runs for another moment and then for ten seconds.
async fn over_a_restart(missed: Missed) -> volery::Result<(Vec<i64>, Vec<i64>)> {
    let store = lasting();
    let schedule = || beat().missed(missed);
    let first =
        Volery::builder("t").store(store.clone()).schedule(schedule()).clock(clock(BEGIN)).start().await?;
    turns().await;
    assert!(planned(&first).await?.is_empty(), "a schedule that has never fired has missed nothing");
    tokio::time::sleep(SECOND * 17).await;
    first.shutdown().await?;
    let second =
        Volery::builder("t").store(store).schedule(schedule()).clock(clock(BEGIN + 60)).start().await?;
    tokio::time::sleep(SECOND).await;
    let soon = planned(&second).await?;
    tokio::time::sleep(SECOND * 10).await;
    Ok((soon, planned(&second).await?))
}

#[tokio::test(start_paused = true)]
async fn firings_missed_over_a_restart_are_skipped_or_made_up_for_once() -> Tested {
    let (soon, later) = over_a_restart(Missed::Skip).await?;
    assert_eq!((soon, later), (vec![5, 15], vec![5, 15, 65]));
    let (soon, later) = over_a_restart(Missed::Once).await?;
    assert_eq!((soon, later), (vec![5, 15, 25], vec![5, 15, 25, 65]), "25 stands for all until 60");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_cannot_ask_what_was_missed_asks_again_soon() -> Tested {
    let store = lasting();
    let schedule = beat().missed(Missed::Once);
    let volery =
        Volery::builder("t").store(store.clone()).schedule(schedule).clock(clock(BEGIN)).start().await?;
    tokio::time::sleep(SECOND * 15 - SECOND / 50).await;
    assert_eq!(planned(&volery).await?, [5]);
    store.refuse_reads();
    volery.kill("schedule/beat").await?;
    tokio::time::sleep(SECOND / 10).await;
    store.accept_reads();
    assert_eq!(planned(&volery).await?, [5], "the firing at 15 fell between two lives");
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(planned(&volery).await?, [5, 15], "and does not wait for the one at 25");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fired_once_a_shutdown_has_begun() -> Tested {
    let gate = Gate::new();
    let slow = Agent::new("slow").consumes(one::<B>()).engine({
        let gate = gate.clone();
        move |_: B, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let store = lasting();
    let volery = Volery::builder("t")
        .agent(slow)
        .store(store.clone())
        .schedule(beat())
        .clock(clock(BEGIN))
        .configure(|settings| settings.shutdown_within = HOUR)
        .start()
        .await?;
    volery.publish(b(0, 0)).await?;
    gate.reached().await;
    let (report, ()) = tokio::join!(volery.shutdown(), async {
        tokio::time::sleep(SECOND * 60).await;
        gate.open(1);
    });
    assert!(report?.is_graceful());
    assert!(planned(&volery).await?.is_empty(), "six firings were planned meanwhile");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn schedules_that_make_no_sense_are_refused_by_name() {
    let start = |schedules: Vec<Schedule>| async {
        let builder = Volery::builder("t");
        let builder = schedules.into_iter().fold(builder, volery::Builder::schedule);
        builder.start().await.expect_err("it makes no sense")
    };
    for schedules in [
        vec![beat(), beat()],
        vec![Schedule::every("beat", std::time::Duration::ZERO, || a(0, 0))],
        #[cfg(feature = "cron")]
        vec![Schedule::cron("beat", "every other day", || a(0, 0))],
    ] {
        let error = start(schedules).await;
        assert_eq!(error.kind(), ErrorKind::FixInput);
        assert!(error.to_string().contains("`beat`"), "{error}");
    }
}

#[cfg(feature = "cron")]
#[tokio::test(start_paused = true)]
async fn a_cron_schedule_fires_when_its_expression_says_so() -> Tested {
    // 2023-11-14T22:13:25Z.
    let twice_a_night = Schedule::cron("beat", "30 23,1 * * *", || a(0, 3));
    let volery = Volery::builder("t").schedule(twice_a_night).clock(clock(BEGIN)).start().await?;
    tokio::time::sleep(HOUR * 4).await;
    let first = 23 * 3_600 + 30 * 60 - (22 * 3_600 + 13 * 60 + 25);
    assert_eq!(planned(&volery).await?, [first, first + 2 * 3_600]);
    Ok(())
}
