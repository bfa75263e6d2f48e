//! Signals, proved from outside: each test starts itself again in a process of its own and signals that.

use std::os::unix::process::ExitStatusExt;

use volery::report::EXIT_CODE_INTERRUPTED;

use super::*;
use crate::child::{Child, is_child, listen, say};

/// The process that is signalled: one job that runs until a line comes in, and what becomes of it.
fn serve(store: FailingStore) {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    tokio
        .expect("threads can be started")
        .block_on(async {
            let gate = Gate::new();
            let volery = Volery::builder("signalled").agent(stuck(&gate)).store(store).start().await?;
            volery.shutdown_on_signals()?;
            volery.shutdown_on_signals()?;
            volery.publish(a(0, 0)).await?;
            gate.reached().await;
            let opener = gate.clone();
            std::thread::spawn(move || {
                if listen() {
                    opener.open(1);
                }
            });
            say("running");
            volery.shutdown_requested().await;
            say("stopping");
            let report = volery.stopped().await?;
            let agents = report.phase(Phase::Agents).expect("every phase has a row");
            say(&format!("{} {}", agents.status, agents.names.join(",")));
            Ok::<_, volery::Error>(())
        })
        .expect("the runtime starts and stops");
}

#[test]
fn the_first_signal_drains() {
    if is_child() {
        return serve(FailingStore::over(Memory::new()));
    }
    for signal in ["TERM", "INT"] {
        let mut service = Child::start("shutdown::signals::the_first_signal_drains");
        service.hears("running");
        service.signal(signal);
        service.hears("stopping");
        service.tell("go on");
        service.hears("completed ");
        assert!(service.ended().success());
    }
}

#[test]
fn the_second_signal_aborts_and_names_who_was_cut_off() {
    if is_child() {
        return serve(FailingStore::over(Memory::new()));
    }
    let mut service = Child::start("shutdown::signals::the_second_signal_aborts_and_names_who_was_cut_off");
    service.hears("running");
    service.signal("TERM");
    service.hears("stopping");
    service.signal("INT");
    service.hears("aborted stuck × 1");
    assert!(service.ended().success(), "what follows an abort is up to the service");
}

#[test]
fn the_third_signal_exits_the_process() {
    if is_child() {
        // It keeps the abort from ending, so that there is something left to interrupt.
        let store = FailingStore::over(Memory::new());
        store.delay_close(|| {
            say("closing");
            std::future::pending()
        });
        return serve(store);
    }
    let mut service = Child::start("shutdown::signals::the_third_signal_exits_the_process");
    service.hears("running");
    service.signal("TERM");
    service.hears("stopping");
    service.signal("TERM");
    service.hears("closing");
    service.signal("TERM");
    assert_eq!(service.ended().code(), Some(EXIT_CODE_INTERRUPTED));
}

/// The process that takes its registration back, as often as a line comes in.
fn serve_and_ignore() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    tokio
        .expect("threads can be started")
        .block_on(async {
            let volery = Volery::builder("signalled").agent(stuck(&Gate::new())).start().await?;
            volery.ignore_signals();
            volery.shutdown_on_signals()?;
            volery.ignore_signals();
            say("ignoring");
            if !listen() {
                return Ok(());
            }
            volery.shutdown_on_signals()?;
            say("listening");
            say(&volery.wait_for_shutdown().await?.cause.to_string());
            Ok::<_, volery::Error>(())
        })
        .expect("the runtime starts and stops");
}

#[test]
fn an_ignored_signal_has_its_default_effect_until_it_is_listened_to_again() {
    if is_child() {
        return serve_and_ignore();
    }
    let test = "shutdown::signals::an_ignored_signal_has_its_default_effect_until_it_is_listened_to_again";
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        let mut service = Child::start(test);
        service.hears("ignoring");
        service.signal(signal);
        assert_eq!(service.ended().signal(), Some(number));
        let mut service = Child::start(test);
        service.hears("ignoring");
        service.tell("listen");
        service.hears("listening");
        service.signal(signal);
        service.hears("because it was interrupted");
        assert!(service.ended().success());
    }
}

#[test]
fn a_signal_is_heard_although_every_worker_thread_is_blocked() {
    if is_child() {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        return tokio
            .expect("threads can be started")
            .block_on(async {
                let hog = Agent::new("hog").consumes(one::<A>()).engine(|_: A, _| async {
                    say("running");
                    listen();
                    listen();
                    Ok::<_, Fault>(())
                });
                let volery = Volery::builder("signalled")
                    .agent(hog)
                    .configure(|settings| settings.shutdown_within = SECOND / 10)
                    .start()
                    .await?;
                volery.shutdown_on_signals()?;
                volery.publish(a(0, 0)).await?;
                let report = volery.wait_for_shutdown().await?;
                say(&format!("{} still runs", report.cut_off[0].agent));
                report.exit();
                #[expect(unreachable_code, reason = "it says what the block returns")]
                Ok::<_, volery::Error>(())
            })
            .expect("the runtime starts and stops");
    }
    let mut service =
        Child::start("shutdown::signals::a_signal_is_heard_although_every_worker_thread_is_blocked");
    service.hears("running");
    service.signal("TERM");
    service.hears("hog still runs");
    assert!(service.ended().success(), "the blocked thread does not hold up the end of the process");
}
