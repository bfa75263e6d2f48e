//! Protected sections and callbacks: what holds back the end of a stop, and what is called on the way to it.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// An engine that waits at the gate in a protected section, and says when its future was dropped.
fn protected(gate: &Gate, dropped: &Dropped) -> Agent {
    let (gate, dropped) = (gate.clone(), dropped.clone());
    Agent::new("careful").consumes(one::<A>()).engine(move |_: A, ctx: Context| {
        let (gate, guard) = (gate.clone(), dropped.guard());
        async move {
            let _guard = guard;
            let section = ctx.protect();
            gate.pass().await;
            drop(section);
            pending::<Result<(), Fault>>().await
        }
    })
}

/// Lets seconds pass, one by one, so that whoever waits for a part of them can act in between.
async fn pass(seconds: u32) {
    for _ in 0..seconds {
        tokio::time::advance(SECOND).await;
        turns().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_waits_for_the_protected_section_and_not_longer() -> Tested {
    let (gate, dropped) = (Gate::new(), Dropped::default());
    let volery = Volery::builder("t").agent(protected(&gate, &dropped)).start().await?;
    let run = volery.run("r").publish(a(0, 0)).await?;
    gate.reached().await;
    volery.cancel(run.id());
    let mut settled = Box::pin(run.settled());
    assert!(is_pending(&mut settled).await);
    tokio::time::advance(HOUR).await;
    assert!(is_pending(&mut settled).await && !dropped.is_true(), "time alone does not end a section");
    gate.open(1);
    let report = settled.await?;
    assert_eq!(report.tally.cancelled, 1);
    assert!(dropped.is_true());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_protected_engine_is_told_of_its_cancellation_at_once() -> Tested {
    let told = Gate::new();
    let agent = Agent::new("careful").consumes(one::<A>()).engine({
        let told = told.clone();
        move |_: A, ctx: Context| {
            let told = told.clone();
            async move {
                let _section = ctx.protect();
                told.pass().await;
                ctx.cancelled().await;
                told.pass().await;
                Ok::<_, Fault>(Publish(b(0, 1)))
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("r").publish(a(0, 0)).await?;
    told.reached().await;
    told.open(1);
    volery.cancel(run.id());
    told.reached().await;
    told.open(1);
    assert_eq!(run.settled().await?.tally.consumed, 1, "what finishes before the cut stays finished");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cuts_a_protected_section_only_at_its_end_and_says_so() -> Tested {
    let (gate, dropped) = (Gate::new(), Dropped::default());
    let volery = Volery::builder("t").agent(protected(&gate, &dropped)).agent(stuck(&gate)).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    gate.reached().await;
    assert!(volery.interrupt() && volery.interrupt(), "an abort skips the draining, not the section");
    let mut stopped = Box::pin(volery.stopped());
    assert!(is_pending(&mut stopped).await);
    pass(19).await;
    assert!(is_pending(&mut stopped).await && !dropped.is_true());
    let report = stopped.await?;
    assert!(dropped.is_true());
    let cut: Vec<_> = report.cut_off.iter().map(|cut| (cut.agent.as_str(), cut.protected)).collect();
    assert_eq!(cut, [("careful", true)], "the other was dropped when it was cancelled: {report}");
    assert!(report.duration <= 20 * SECOND, "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_goes_on_as_soon_as_the_last_section_ends() -> Tested {
    let (gate, dropped) = (Gate::new(), Dropped::default());
    let volery = Volery::builder("t").agent(protected(&gate, &dropped)).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    assert!(volery.interrupt() && volery.interrupt());
    let mut stopped = Box::pin(volery.stopped());
    assert!(is_pending(&mut stopped).await);
    pass(5).await;
    gate.open(1);
    let report = stopped.await?;
    assert_eq!(report.cut_off, [], "{report}");
    assert!((5 * SECOND..6 * SECOND).contains(&report.duration), "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_store_is_closed_after_the_services_own_sections() -> Tested {
    let store = FailingStore::over(Memory::new());
    let closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&closed);
    store.delay_close(move || {
        seen.store(true, Ordering::Release);
        std::future::ready(())
    });
    let volery = Volery::builder("t").store(store).agent(stuck(&Gate::new())).start().await?;
    let section = volery.protect();
    let mut shutdown = Box::pin(volery.shutdown());
    assert!(is_pending(&mut shutdown).await);
    tokio::time::advance(10 * SECOND).await;
    assert!(is_pending(&mut shutdown).await && !closed.load(Ordering::Acquire));
    assert_eq!(volery.artifacts(&Filter::all()).await?.artifacts.len(), 0, "reading still works");
    drop(section);
    let report = shutdown.await?;
    assert!(report.is_graceful() && closed.load(Ordering::Acquire), "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_deadline_wins_over_a_section_of_the_service() -> Tested {
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    let _section = volery.protect();
    let report = volery.shutdown().await?;
    let flush = report.phase(Phase::Flush).expect("every phase has a row");
    assert_eq!(
        (&flush.status, &*flush.names),
        (&PhaseStatus::TimedOut, &["protected section × 1".to_owned()][..])
    );
    assert!(report.duration <= 20 * SECOND, "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn callbacks_run_in_reverse_before_the_intake_closes_and_before_the_store_does() -> Tested {
    let seen = Seen::new();
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    for name in ["first", "second"] {
        let note = || {
            let (seen, volery) = (seen.clone(), volery.clone());
            move |cause| async move {
                assert_eq!(cause, StopCause::Requested);
                let open = volery.publish(b(0, 0)).await.is_ok();
                seen.note((name, open, volery.artifacts(&Filter::all()).await.is_ok()));
                Ok::<_, Fault>(())
            }
        };
        volery.on_shutdown(name, note())?;
        volery.on_flush(name, note())?;
    }
    let report = volery.shutdown().await?;
    let expected =
        [("second", true, true), ("first", true, true), ("second", false, true), ("first", false, true)];
    assert_eq!(seen.all(), expected, "name, intake open, store open");
    assert!(report.is_graceful(), "{report}");
    let names: Vec<_> = report.callbacks.iter().map(|one| (one.name.as_str(), one.phase)).collect();
    let (notice, flush) = (Phase::Notice, Phase::Flush);
    assert_eq!(names, [("second", notice), ("first", notice), ("second", flush), ("first", flush)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_fails_or_hangs_is_named_and_stops_nothing() -> Tested {
    let seen = Seen::new();
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    let last = seen.clone();
    volery.on_shutdown("sound", move |_| async move {
        last.note(());
        Ok::<_, Fault>(())
    })?;
    volery.on_shutdown("panics", |_| async { if true { panic!("boom") } else { Ok::<_, Fault>(()) } })?;
    volery.on_shutdown("panics-early", |_| -> std::future::Ready<Result<(), Fault>> { panic!("early") })?;
    volery.on_shutdown("fails", |_| async { Err("no route") })?;
    volery.on_shutdown("hangs", |_| pending::<Result<(), Fault>>())?;
    let report = volery.shutdown().await?;
    assert_eq!(seen.all().len(), 1, "the one that is called last was called");
    let told: Vec<_> =
        report.callbacks.iter().map(|one| (one.name.as_str(), one.status.to_string())).collect();
    let expected = [
        ("hangs", "timed out"),
        ("fails", "failed: no route"),
        ("panics-early", "failed: panicked: early"),
        ("panics", "failed: panicked: boom"),
        ("sound", "completed"),
    ];
    assert_eq!(told.iter().map(|(name, status)| (*name, status.as_str())).collect::<Vec<_>>(), expected);
    let notice = report.phase(Phase::Notice).expect("every phase has a row");
    assert_eq!((notice.initial, notice.completed, notice.names.len()), (5, 1, 4));
    assert!(!report.is_graceful());
    assert!(
        (5 * SECOND..6 * SECOND).contains(&report.duration),
        "the one that hangs has its limit: {report}"
    );
    assert_eq!(report.exit_status(), volery::report::EXIT_CODE_STOPPED, "they are the service's own");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_abort_cuts_the_notice_and_still_flushes() -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    volery.on_shutdown("never-called", |_| async { Ok::<_, Fault>(()) })?;
    let waits = gate.clone();
    volery.on_shutdown("slow", move |_| async move {
        waits.pass().await;
        Ok::<_, Fault>(())
    })?;
    let flushed = seen.clone();
    volery.on_flush("flush", move |_| async move {
        flushed.note(());
        Ok::<_, Fault>(())
    })?;
    assert!(volery.interrupt());
    gate.reached().await;
    assert!(volery.interrupt());
    let report = volery.stopped().await?;
    let statuses: Vec<_> = report.callbacks.iter().map(|one| one.status.clone()).collect();
    assert_eq!(statuses, [PhaseStatus::Aborted, PhaseStatus::Aborted, PhaseStatus::Completed]);
    assert_eq!(seen.all().len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_callback_can_be_registered_until_its_moment_has_come() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(gated(&gate)).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let (report, ()) = tokio::join!(volery.shutdown(), async {
        volery.shutdown_requested().await;
        turns().await;
        let late = volery.on_shutdown("late", |_| async { Ok::<_, Fault>(()) });
        assert_eq!(late.expect_err("the notice was given").kind(), ErrorKind::Stop);
        volery.on_flush("in-time", |_| async { Ok::<_, Fault>(()) }).expect("the agents still drain");
        gate.open(1);
    });
    assert_eq!(report?.callbacks.len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_shutdown_returns_when_it_is_complete_and_asks_for_nothing() -> Tested {
    let volery = Volery::builder("t").agent(stuck(&Gate::new())).start().await?;
    let mut waiting = Box::pin(volery.wait_for_shutdown());
    assert!(is_pending(&mut waiting).await);
    assert!(volery.interrupt());
    let report = waiting.await?;
    assert!(Arc::ptr_eq(&report, &volery.wait_for_shutdown().await?), "at any time, the same");
    assert_eq!(report.exit_status(), volery::report::EXIT_CODE_STOPPED);
    Ok(())
}
