//! Shutdown: ordered, reported, within its deadline, whatever the engines do; and signals, seen from outside.

use std::sync::{Arc, Mutex, mpsc};

use volery::prelude::*;
use volery::report::{Phase, PhaseStatus, StopCause};
use volery::testing::{FailingStore, Pattern, Script, Test};
use volery::{ErrorKind, Fault};

use crate::support::{A, B, Dropped, Gate, HOUR, SECOND, Seen, Tested, a, b, is_pending, soon, tally, turns};

mod deadline;
mod sections;
#[cfg(unix)]
mod signals;

fn gated(gate: &Gate) -> Agent {
    let gate = gate.clone();
    Agent::new("slow").consumes(one::<A>()).engine(move |input: A, _| {
        let passed = gate.pass();
        async move {
            passed.await;
            Ok::<_, Fault>(Publish(b(0, input.n)))
        }
    })
}

/// An engine that is there and never ends.
fn stuck(gate: &Gate) -> Agent {
    let stays = Script::new().waits_for(gate).returns(()).repeats();
    Agent::new("stuck").consumes(one::<A>()).engine(stays)
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_work_in_flight_finish_and_reports_every_phase_in_order() -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let next = Agent::new("next").consumes(one::<B>()).engine(seen.engine());
    let volery = Volery::builder("orders").agents([gated(&gate).concurrency(1), next]).start().await?;
    volery.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    gate.reached().await;
    let (report, ()) = tokio::join!(volery.shutdown(), async {
        volery.shutdown_requested().await;
        turns().await;
        gate.open(2);
    });
    let report = report?;

    assert_eq!(seen.all(), [b(0, 1), b(0, 2)], "what was queued ran too, and what followed from it");
    assert!(report.is_graceful(), "{report}");
    assert_eq!(report.runtime, "orders");
    let order: Vec<Phase> = report.phases.iter().map(|row| row.phase).collect();
    let mut reverse = Phase::ALL.to_vec();
    reverse.reverse();
    assert_eq!(order, reverse);
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!((agents.initial, agents.completed, agents.cancelled, agents.remaining), (2, 4, 0, 0));
    let board = report.phase(Phase::Board).expect("every phase has a row");
    assert_eq!(board.remaining, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_does_not_drain_the_queue_finishes_only_what_runs() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t")
        .agent(gated(&gate).concurrency(1))
        .configure(|settings| settings.drain_queued = false)
        .start()
        .await?;
    volery.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    gate.reached().await;
    let (report, ()) = tokio::join!(volery.shutdown(), async {
        volery.shutdown_requested().await;
        turns().await;
        gate.open(2);
    });
    let report = report?;
    assert!(report.is_graceful(), "{report}");
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!((agents.completed, agents.remaining), (1, 1), "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_left_is_cut_off_and_named() -> Tested {
    let (gate, dropped) = (Gate::new(), Dropped::default());
    let agent = Agent::new("stuck").consumes(one::<A>()).engine({
        let (gate, dropped) = (gate.clone(), dropped.clone());
        move |_: A, _| {
            let (gate, guard) = (gate.clone(), dropped.guard());
            async move {
                let _held = guard;
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let report = soon(volery.shutdown()).await?;
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!(agents.status, PhaseStatus::TimedOut);
    assert_eq!((agents.initial, agents.completed, agents.cancelled), (1, 0, 1));
    assert_eq!(agents.names, ["stuck × 1"]);
    assert!(dropped.is_true(), "its future is gone");
    assert!(!report.is_graceful());
    assert!(report.duration <= 20 * SECOND, "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_second_interrupt_aborts_and_names_who_was_cut_off() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(stuck(&gate)).start().await?;
    volery.publish_all(vec![a(0, 0), a(0, 1)]).await?;
    gate.reached().await;
    gate.reached().await;
    assert!(volery.interrupt(), "the first drains");
    let mut stopped = Box::pin(volery.stopped());
    assert!(is_pending(&mut stopped).await);
    assert!(volery.interrupt(), "the second aborts");
    assert!(!volery.interrupt(), "there is nothing left to escalate");
    let report = stopped.await?;
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!(agents.status, PhaseStatus::Aborted);
    assert_eq!((agents.cancelled, &*agents.names), (2, &["stuck × 2".to_owned()][..]));
    assert_eq!(report.cause, StopCause::Interrupted);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_grace_that_is_longer_than_the_shutdown_does_not_hold_it_up() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(stuck(&gate).cancel_grace(HOUR)).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let report = soon(volery.shutdown()).await?;
    assert!(report.duration <= 20 * SECOND, "{report}");
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!(agents.names, ["stuck × 1"]);
    Ok(())
}

/// A channel end that many engines may wait at, blocking their threads.
type Dam = Arc<Mutex<mpsc::Receiver<()>>>;

fn dam() -> (mpsc::Sender<()>, Dam) {
    let (open, closed) = mpsc::channel();
    (open, Arc::new(Mutex::new(closed)))
}

fn block(dam: &Dam) {
    // Ends when the test drops the sender.
    let waiting = dam.lock().expect("only one engine waits").recv();
    assert!(waiting.is_err(), "nothing is ever sent");
}

#[tokio::test]
async fn a_blocking_engine_that_ignores_cancellation_does_not_hold_up_the_shutdown() -> Tested {
    let (gate, (open, dam)) = (Gate::new(), dam());
    gate.open(1);
    let agent = Agent::new("blocked").consumes(one::<A>()).engine(on_thread({
        let gate = gate.clone();
        move |_: A, _| {
            tokio::runtime::Handle::current().block_on(gate.pass());
            block(&dam);
            Ok::<_, Fault>(())
        }
    }));
    let volery = Volery::builder("t")
        .agent(agent)
        .configure(|settings| settings.shutdown_within = SECOND / 100)
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let report = volery.shutdown().await?;
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!(agents.names, ["blocked × 1"]);
    assert_eq!(agents.status, PhaseStatus::TimedOut);
    drop(open);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_async_engine_that_blocks_its_thread_does_not_hold_up_the_shutdown() -> Tested {
    let (gate, (open, dam)) = (Gate::new(), dam());
    gate.open(1);
    let agent = Agent::new("blocked").consumes(one::<A>()).engine({
        let gate = gate.clone();
        move |_: A, _| {
            let (gate, dam) = (gate.clone(), Arc::clone(&dam));
            async move {
                gate.pass().await;
                block(&dam);
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t")
        .agent(agent)
        .configure(|settings| settings.shutdown_within = SECOND / 100)
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let report = volery.shutdown().await?;
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!(agents.names, ["blocked × 1"]);
    assert!(!report.is_graceful());
    drop(open);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_close_does_not_hold_up_the_shutdown() -> Tested {
    let store = FailingStore::over(Memory::new());
    store.delay_close(std::future::pending);
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).store(store).start().await?;
    let report = soon(volery.shutdown()).await?;
    let store = report.phase(Phase::Store).expect("every phase has a row");
    assert_eq!(store.status, PhaseStatus::TimedOut);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_what_is_not_visible_yet() -> Tested {
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    volery.publish(a(0, 0)).visible_to(volery::Visibility::after(HOUR)).await?;
    let report = volery.shutdown().await?;
    assert!(report.is_graceful(), "{report}");
    assert_eq!(report.phase(Phase::Board).expect("every phase has a row").remaining, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_jobs_of_a_paused_agent_and_names_them() -> Tested {
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    volery.pause("stuck")?;
    volery.publish_all(vec![a(0, 0), a(0, 1)]).await?;
    let report = volery.shutdown().await?;
    assert!(report.is_graceful(), "{report}");
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!((agents.remaining, &*agents.names), (2, &["stuck × 2".to_owned()][..]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_idle_runtime_stops_in_good_order_however_short_its_deadline() -> Tested {
    for within in [SECOND, SECOND / 2, SECOND / 100] {
        let volery = Volery::builder("t")
            .agent(stuck(&Gate::new()))
            .configure(|settings| settings.shutdown_within = within)
            .start()
            .await?;
        let report = volery.shutdown().await?;
        assert!(report.is_graceful(), "{within:?}: {report}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_caller_of_shutdown_gets_the_same_report() -> Tested {
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    let other = volery.clone();
    let (one, two, three) = tokio::join!(volery.shutdown(), other.shutdown(), volery.stopped());
    let (one, two, three, again) = (one?, two?, three?, volery.shutdown().await?);
    assert!([two, three, again].iter().all(|report| Arc::ptr_eq(&one, report)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_goes_on_when_its_caller_goes_away() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(gated(&gate)).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let mut shutdown = Box::pin(volery.shutdown());
    assert!(is_pending(&mut shutdown).await);
    drop(shutdown);
    gate.open(1);
    assert!(volery.stopped().await?.is_graceful());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn publishing_during_and_after_a_shutdown_is_refused() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(gated(&gate)).start().await?;
    let run = volery.run("late").publish(a(0, 0)).await?;
    gate.reached().await;
    let stop = async {
        volery.shutdown_requested().await;
        turns().await;
        let refused = run.publish(a(0, 1)).await.expect_err("the intake is closed");
        assert_eq!(refused.kind(), ErrorKind::Stop);
        gate.open(1);
    };
    let (report, ()) = tokio::join!(volery.shutdown(), stop);
    assert!(report?.is_graceful(), "a refused publish disturbs nothing");
    let refused = volery.publish(a(0, 2)).await.expect_err("the runtime has stopped");
    assert_eq!(refused.kind(), ErrorKind::Stop);
    assert!(refused.to_string().contains("`t`"), "{refused}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_waits_for_room_is_refused_when_the_shutdown_begins() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t")
        .agent(gated(&gate))
        .configure(|settings| settings.queued_max = 1)
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let mut waiting = std::future::IntoFuture::into_future(volery.publish(a(0, 1)));
    assert!(is_pending(&mut waiting).await);
    let (refused, report) = tokio::join!(
        async {
            let refused = waiting.await.expect_err("the intake is closed");
            gate.open(1);
            refused
        },
        volery.shutdown()
    );
    assert_eq!(refused.kind(), ErrorKind::Stop);
    assert!(report?.is_graceful());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_a_stopped_runtime_is_answered_every_time() -> Tested {
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    let run = volery.run("over").open();
    volery.shutdown().await?;
    for _ in 0..3 {
        let errors = [
            soon(volery.waiting()).await.map(drop),
            soon(volery.agents()).await.map(drop),
            soon(volery.until_idle()).await,
            soon(run.settled()).await.map(drop),
            soon(run.finish()).await.map(drop),
            soon(run.tally()).await.map(drop),
            soon(volery.artifacts(&Filter::all())).await.map(drop),
            soon(volery.invoke("stuck", a(0, 0))).await.map(drop),
            soon(volery.publish_all(vec![a(0, 0)])).await.map(drop),
        ];
        for answer in errors {
            assert_eq!(answer.expect_err("it has stopped").kind(), ErrorKind::Stop);
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_when_the_runtime_stops_is_answered() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(stuck(&gate)).start().await?;
    let run = volery.run("stuck").publish(a(0, 0)).await?;
    gate.reached().await;
    let (settled, idle, report) = tokio::join!(run.settled(), volery.until_idle(), volery.shutdown());
    assert_eq!(settled.expect_err("it never settled").kind(), ErrorKind::Stop);
    assert_eq!(idle.expect_err("it never came to rest").kind(), ErrorKind::Stop);
    assert!(!report?.is_graceful());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn shutdown_requested_waits_for_the_request() -> Tested {
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    let mut requested = Box::pin(volery.shutdown_requested());
    assert!(is_pending(&mut requested).await);
    assert!(volery.interrupt());
    requested.await;
    volery.shutdown_requested().await;
    assert!(volery.stopped().await?.is_graceful());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_backs_off_is_drained_like_one_that_runs() -> Tested {
    let agent = Agent::new("again")
        .consumes(one::<A>())
        .retry(Retry::fixed(2, SECOND))
        .engine(Script::new().fails("once").returns(()));
    let test = Test::new().agent(agent).start().await?;
    let mut events = test.events();
    test.publish(a(0, 0)).await?;
    events.expect(Pattern::retrying("again")).await;
    assert!(test.shutdown().await?.is_graceful());
    events.expect(Pattern::outcome("again", volery::Outcome::Consumed)).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dropping_every_handle_drops_the_engines_and_leaves_nothing_behind() -> Tested {
    let (gate, dropped, held) = (Gate::new(), Dropped::default(), Arc::new(()));
    let weak = Arc::downgrade(&held);
    let agent = Agent::new("held").consumes(one::<A>()).engine({
        let (gate, dropped) = (gate.clone(), dropped.clone());
        move |_: A, _| {
            let (gate, guard, held) = (gate.clone(), dropped.guard(), Arc::clone(&held));
            async move {
                let _all = (guard, held);
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("held").publish(a(0, 0)).await?;
    gate.reached().await;
    drop(volery);
    assert_eq!(run.tally().await?.matched, 1, "a run is a handle too");
    drop(run);
    soon(async { while feed.next().await.is_some() {} }).await;
    assert!(dropped.is_true(), "the running attempt was dropped");
    soon(async {
        while weak.strong_count() > 0 {
            tokio::time::sleep(SECOND / 1_000).await;
        }
    })
    .await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stopped_runtime_holds_no_engine() -> Tested {
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    let agent = Agent::new("held").consumes(one::<A>()).engine(move |_: A, _| {
        let held = Arc::clone(&held);
        async move {
            drop(held);
            Ok::<_, Fault>(())
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(0, 0)).await?;
    volery.shutdown().await?;
    assert_eq!(weak.strong_count(), 0, "even while a handle is left");
    drop(volery);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ending_the_drop_of_one_runtime_does_not_touch_another() -> Tested {
    let gate = Gate::new();
    let (one_runtime, other) = (
        Volery::builder("t").agent(stuck(&Gate::new())).start().await?,
        Volery::builder("t").agent(gated(&gate)).start().await?,
    );
    let run = other.run("goes-on").publish(a(0, 0)).await?;
    gate.reached().await;
    drop(one_runtime);
    gate.open(1);
    assert!(run.settled().await?.is_complete());
    assert_eq!(tally(&other, "slow").await?.consumed, 1);
    Ok(())
}
