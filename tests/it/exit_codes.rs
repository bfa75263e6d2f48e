//! Exit codes and a SIGTERM in the middle of work, seen from outside the process.

use std::process::ExitCode;

use volery::agent::PastIntensity;
use volery::prelude::*;
use volery::report::{Phase, ShutdownReport};
use volery::supervision::Intensity;
use volery::testing::FailingStore;
use volery::{Fault, Tally};

use crate::child::{Child, is_child, say};
use crate::support::{A, Gate, SECOND, a};

/// Runs a service in this process, with time that passes by itself when nothing else happens, and exits as it
/// says.
fn serve(service: impl Future<Output = volery::Result<std::sync::Arc<ShutdownReport>>>) -> ! {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let report = tokio.expect("a runtime can be started").block_on(service).expect("it starts and stops");
    say(&report.cause.to_string());
    report.exit()
}

/// A store that breaks at the first write, and cannot be read from then on.
fn breaking() -> FailingStore {
    let store = FailingStore::over(Memory::new());
    let broken = store.clone();
    store.delay_commits(move || -> std::future::Ready<()> {
        broken.refuse_reads();
        panic!("it breaks");
    });
    store
}

fn idle() -> Agent {
    Agent::new("idle").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) })
}

#[test]
fn an_orderly_stop_exits_with_0_also_when_work_was_handed_back() {
    if is_child() {
        serve(async {
            let gate = Gate::new();
            let waits = gate.clone();
            let agent = Agent::new("stuck").consumes(one::<A>()).engine(move |_: A, _| {
                let gate = waits.clone();
                async move {
                    gate.pass().await;
                    Ok::<_, Fault>(())
                }
            });
            let volery = Volery::builder("t").agent(agent).start().await?;
            volery.publish(a(0, 0)).await?;
            gate.reached().await;
            volery.shutdown().await
        });
    }
    let mut service = Child::start("exit_codes::an_orderly_stop_exits_with_0_also_when_work_was_handed_back");
    service.hears("as requested");
    assert_eq!(service.ended().code(), Some(i32::from(volery::report::EXIT_CODE_STOPPED)));
}

#[test]
fn a_stop_in_which_a_phase_fails_exits_with_1() {
    if is_child() {
        serve(async {
            let store = FailingStore::over(Memory::new());
            store.refuse_close();
            Volery::builder("t").agent(idle()).store(store).start().await?.shutdown().await
        });
    }
    let mut service = Child::start("exit_codes::a_stop_in_which_a_phase_fails_exits_with_1");
    service.hears("as requested");
    assert_eq!(service.ended().code(), Some(i32::from(volery::report::EXIT_CODE_FAILED)));
}

#[test]
fn a_tree_that_gave_up_exits_with_70() {
    if is_child() {
        serve(async {
            let volery = Volery::builder("t").agent(idle()).store(breaking()).start().await?;
            volery.publish(a(0, 0)).await.expect_err("the store breaks");
            volery.wait_for_shutdown().await
        });
    }
    let mut service = Child::start("exit_codes::a_tree_that_gave_up_exits_with_70");
    let cause = service.next_word();
    assert!(cause.starts_with("because it gave up: "), "{cause}");
    assert_eq!(service.ended().code(), Some(i32::from(volery::report::EXIT_CODE_GAVE_UP)));
}

#[test]
fn an_agent_that_escalates_exits_with_75() {
    if is_child() {
        serve(async {
            let agent = Agent::new("brittle")
                .intensity(Intensity { restarts: 0, within: SECOND })
                .past_intensity(PastIntensity::Escalate)
                .consumes(one::<A>())
                .engine(|_: A, _| async { panic!("an invariant is broken") as Result<(), Fault> });
            let volery = Volery::builder("t").agent(agent).start().await?;
            volery.publish(a(0, 0)).await?;
            volery.wait_for_shutdown().await
        });
    }
    let mut service = Child::start("exit_codes::an_agent_that_escalates_exits_with_75");
    service.hears("because agent brittle escalated: its engines panicked too often");
    assert_eq!(service.ended().code(), Some(i32::from(volery::report::EXIT_CODE_ESCALATED)));
}

#[test]
fn the_codes_are_those_that_are_documented() {
    use volery::report::{EXIT_CODE_ESCALATED, EXIT_CODE_FAILED, EXIT_CODE_GAVE_UP, EXIT_CODE_STOPPED};
    assert_eq!([EXIT_CODE_STOPPED, EXIT_CODE_FAILED, EXIT_CODE_GAVE_UP, EXIT_CODE_ESCALATED], [0, 1, 70, 75]);
    assert_eq!(volery::report::EXIT_CODE_INTERRUPTED, 130);
    let report = |cause: &str| -> ShutdownReport {
        let report = format!(
            r#"{{"runtime":"t","cause":{cause},"phases":[],"cut_off":[],"callbacks":[],"duration":{{"secs":0,"nanos":0}}}}"#
        );
        serde_json::from_str(&report).expect("a report can be read back")
    };
    let codes = [
        (r#""requested""#, 0),
        (r#""interrupted""#, 0),
        (r#""handles_dropped""#, 0),
        (r#"{"gave_up":"why"}"#, 70),
        (r#"{"escalated":{"agent":"a"}}"#, 75),
    ];
    for (cause, code) in codes {
        assert_eq!(report(cause).exit_status(), code, "{cause}");
        assert_eq!(report(cause).exit_code(), ExitCode::from(code), "{cause}");
    }
}

/// Runs in flight when the signal comes; of them this many are let through before.
const RUNS: usize = 1_000;
const FINISHED: usize = 400;

/// A thousand runs whose engines wait at one gate.
async fn thousand_runs() -> volery::Result<()> {
    let gate = Gate::new();
    let waits = gate.clone();
    let agent = Agent::new("stuck").consumes(one::<A>()).concurrency(1_000).engine(move |_: A, _| {
        let gate = waits.clone();
        async move {
            gate.pass().await;
            Ok::<_, Fault>(())
        }
    });
    let volery = Volery::builder("t")
        .agent(agent)
        .configure(|settings| {
            (settings.shutdown_within, settings.drain_within) = (10 * SECOND, Some(SECOND / 10));
        })
        .start()
        .await?;
    volery.shutdown_on_signals()?;
    let mut runs = Vec::with_capacity(RUNS);
    for number in 0..1_000 {
        runs.push(volery.run("waits").publish(a(0, number)).await?);
        gate.reached().await;
    }
    let mut feed = volery.feed();
    gate.open(FINISHED);
    for _ in 0..FINISHED {
        crate::support::outcome(&mut feed).await;
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    volery.on_flush("count", move |_| async move {
        let mut sum = Tally::default();
        for run in runs {
            sum += run.tally().await?;
        }
        tell.send(sum).map_err(|_| volery::Error::other("nobody waits for the count"))?;
        Ok::<_, volery::Error>(())
    })?;
    say("running");
    let report = volery.wait_for_shutdown().await?;
    let tally = told.await.expect("the callback ran");
    let seen =
        serde_json::json!({ "report": *report, "consumed": tally.consumed, "left": tally.outstanding() });
    say(&seen.to_string());
    report.exit()
}

#[test]
fn sigterm_during_a_thousand_runs_loses_none_and_exits_with_0() {
    if is_child() {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return tokio
            .expect("threads can be started")
            .block_on(thousand_runs())
            .expect("the runtime starts and stops");
    }
    let mut service = Child::start("exit_codes::sigterm_during_a_thousand_runs_loses_none_and_exits_with_0");
    service.hears("running");
    service.signal("TERM");
    let seen: serde_json::Value = serde_json::from_str(&service.next_word()).expect("it says JSON");
    let report: ShutdownReport = serde_json::from_value(seen["report"].clone()).expect("with a report");
    assert_eq!(service.ended().code(), Some(0));
    let number = |name: &str| usize::try_from(seen[name].as_u64().expect("a number")).expect("a small one");
    assert_eq!((number("consumed"), number("left")), (FINISHED, RUNS - FINISHED), "{report}");
    let board = report.phase(Phase::Board).expect("every phase has a row");
    assert_eq!(board.remaining, (RUNS - FINISHED) as u64, "{report}");
    let agents = report.phase(Phase::Agents).expect("every phase has a row");
    assert_eq!(agents.cancelled, (RUNS - FINISHED) as u64, "{report}");
    assert!(report.duration <= 10 * SECOND, "{report}");
}
