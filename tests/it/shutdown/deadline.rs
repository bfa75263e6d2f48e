//! The deadline of a shutdown, over engines that ignore cancellation: it holds, and each of them is named.

use super::*;

/// Declares an agent whose engine says that it is there and then runs code that never awaits.
fn headstrong(name: &str, gate: &Gate, code: impl Fn() + Send + Sync + 'static) -> Agent {
    let (gate, code) = (gate.clone(), Arc::new(code));
    Agent::new(name).consumes(one::<A>()).engine(move |_: A, _| {
        let (gate, code) = (gate.clone(), Arc::clone(&code));
        async move {
            gate.pass().await;
            code();
            Ok::<_, Fault>(())
        }
    })
}

/// The same on a blocking thread.
fn headstrong_blocking(name: &str, gate: &Gate, dam: Dam) -> Agent {
    let gate = gate.clone();
    Agent::new(name).consumes(one::<A>()).engine(on_thread(move |_: A, _| {
        tokio::runtime::Handle::current().block_on(gate.pass());
        block(&dam);
        Ok::<_, Fault>(())
    }))
}

/// The attempts that were cut off, by the report: their names, and whether they still run.
fn cut_off(report: &volery::report::ShutdownReport) -> Vec<(&str, bool)> {
    let mut cut: Vec<_> = report.cut_off.iter().map(|cut| (cut.agent.as_str(), cut.still_running)).collect();
    cut.sort_unstable();
    cut
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn engines_that_ignore_cancellation_are_left_behind_and_named() -> Tested {
    let gate = Gate::new();
    gate.open(3);
    let ((open_one, dam_one), (open_two, dam_two)) = (dam(), dam());
    // Ends the loop when the test ends, in whatever way.
    let over = Dropped::default();
    let test = over.guard();
    let volery = Volery::builder("t")
        .agent(headstrong("blocks-its-thread", &gate, move || block(&dam_one)))
        .agent(headstrong("loops", &gate, move || {
            while !over.is_true() {
                std::thread::yield_now();
            }
        }))
        .agent(headstrong_blocking("is-blocking", &gate, dam_two))
        .configure(|settings| settings.shutdown_within = 2 * SECOND)
        .start()
        .await?;
    let run = volery.publish(a(0, 0)).await?;
    for _ in 0..3 {
        gate.reached().await;
    }
    let report = volery.shutdown().await?;
    let all = [("blocks-its-thread", true), ("is-blocking", true), ("loops", true)];
    assert_eq!(cut_off(&report), all, "{report}");
    assert!(report.cut_off.iter().all(|cut| cut.attempt == 1 && !cut.job.is_empty() && !cut.protected));
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!((&agents.status, agents.cancelled), (&PhaseStatus::TimedOut, 3));
    for phase in [Phase::Board, Phase::Store] {
        let row = report.phase(phase).expect("every phase has a row");
        assert_eq!(
            row.status,
            PhaseStatus::Completed,
            "what comes after them is stopped all the same: {report}"
        );
    }
    assert_eq!(report.exit_status(), volery::report::EXIT_CODE_STOPPED, "their jobs were handed back");
    drop((open_one, open_two, test, run));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_shutdown_reports_although_every_worker_thread_is_blocked() -> Tested {
    let gate = Gate::new();
    gate.open(1);
    let (open, dam) = dam();
    let volery = Volery::builder("t")
        .agent(headstrong("hog", &gate, move || block(&dam)))
        .configure(|settings| settings.shutdown_within = SECOND / 100)
        .start()
        .await?;
    let run = volery.run("r").publish(a(0, 0)).await?;
    gate.reached().await;
    let (report, settled) = tokio::join!(volery.shutdown(), run.settled());
    let report = report?;
    assert_eq!(cut_off(&report), [("hog", true)], "{report}");
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!((&agents.status, &*agents.names), (&PhaseStatus::TimedOut, &["hog × 1".to_owned()][..]));
    assert_eq!(report.phases.len(), Phase::ALL.len());
    assert_eq!(settled.expect_err("it never settled").kind(), ErrorKind::Stop, "whoever waits is answered");
    let again = volery.shutdown().await?;
    drop(open);
    assert!(Arc::ptr_eq(&report, &again), "the report stays");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn many_engines_that_use_up_their_grace_are_cut_off_together() -> Tested {
    let gate = Gate::new();
    let agents = (0..50).map(|number| {
        let gate = gate.clone();
        let agent = Agent::new(format!("a{number}")).consumes(one::<A>()).cancel_grace(HOUR);
        agent.engine(move |_: A, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, Fault>(())
            }
        })
    });
    let volery = Volery::builder("t")
        .agents(agents)
        .configure(|settings| settings.shutdown_within = 5 * SECOND)
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    for _ in 0..50 {
        gate.reached().await;
    }
    let report = volery.shutdown().await?;
    assert_eq!(report.cut_off.len(), 50);
    assert!(report.cut_off.iter().all(|cut| !cut.still_running), "they await, so they can be dropped");
    assert!(report.duration < 5 * SECOND, "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn draining_has_a_limit_of_its_own() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t")
        .agent(stuck(&gate))
        .configure(|settings| settings.drain_within = Some(2 * SECOND))
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let report = volery.shutdown().await?;
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!(agents.status, PhaseStatus::TimedOut);
    assert!((2 * SECOND..3 * SECOND).contains(&report.duration), "{report}");
    Ok(())
}

#[tokio::test]
async fn limits_that_contradict_each_other_are_refused_by_name() {
    let longer = |settings: &mut volery::Settings| settings.drain_within = Some(HOUR);
    let refused = Volery::builder("t").configure(longer).start().await.expect_err("longer than the whole");
    assert!(refused.to_string().contains("drain_within"), "{refused}");
    let nothing = |settings: &mut volery::Settings| settings.callback_within = std::time::Duration::ZERO;
    let refused = Volery::builder("t").configure(nothing).start().await.expect_err("no time at all");
    assert!(refused.to_string().contains("callback_within"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_report_is_the_same_after_a_way_through_json_and_tells_all_as_text() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(stuck(&gate).cancel_grace(HOUR)).start().await?;
    volery.on_flush("buffers", |_| async { Err("disk full") })?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let report = volery.shutdown().await?;
    let json = serde_json::to_string(&*report).expect("a report is data");
    let back: volery::report::ShutdownReport = serde_json::from_str(&json).expect("and comes back");
    assert_eq!(back, *report);
    let text = report.to_string();
    for part in
        ["agents    timed out", "cut off: agent stuck, job ", "callback buffers (flush) failed: disk full"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_ignores_its_cancellation_is_cut_off_after_half_a_second_and_not_later() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t")
        .agent(stuck(&gate).cancel_grace(HOUR))
        .configure(|settings| settings.drain_within = Some(2 * SECOND))
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let report = volery.shutdown().await?;
    assert_eq!(cut_off(&report), [("stuck", false)], "{report}");
    assert!((SECOND * 5 / 2..SECOND * 26 / 10).contains(&report.duration), "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_curator_that_gives_no_answer_does_not_make_a_stop_late() -> Tested {
    let store = FailingStore::over(Memory::new());
    let volery = Volery::builder("t")
        .agent(stuck(&Gate::new()))
        .store(store.clone())
        .configure(|settings| settings.shutdown_within = 2 * SECOND)
        .start()
        .await?;
    store.delay_commits(std::future::pending);
    let mut publish = Box::pin(async { volery.publish(a(0, 0)).await });
    assert!(is_pending(&mut publish).await);
    let report = soon(volery.shutdown()).await?;
    assert!(report.duration <= SECOND * 22 / 10, "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_reaches_its_agent_after_the_release_is_handed_back_and_not_begun() -> Tested {
    let (store, commits, seen) = (FailingStore::over(Memory::new()), Gate::new(), Seen::new());
    // So that the first start is recorded before the job goes to the agent.
    store.outlive_process();
    let agent = Agent::new("late").consumes(one::<A>()).engine({
        let seen = seen.clone();
        move |input: A, _| {
            seen.note(input);
            std::future::pending::<Result<(), Fault>>()
        }
    });
    let volery = Volery::builder("t").agent(agent).store(store.clone()).start().await?;
    store.delay_commits({
        let commits = commits.clone();
        move || commits.pass()
    });
    let (published, ()) = tokio::join!(volery.publish(a(0, 0)), async {
        commits.reached().await;
        commits.open(1);
    });
    published?;
    // The commit of its start.
    commits.reached().await;
    assert!(volery.interrupt() && volery.interrupt());
    // The curator has been given up as silent, and the attempts have been released; the cut is yet to come.
    tokio::time::sleep(SECOND * 7 / 10).await;
    commits.open_for_good();
    let report = soon(volery.shutdown()).await?;
    assert!(seen.all().is_empty() && report.cut_off.is_empty(), "{report}");
    Ok(())
}
