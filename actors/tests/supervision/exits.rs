//! Every way to end is its own value.

use volery_actors::supervision::{
    AutoShutdown, ChildSpec, Exit, Intensity, LifeEvent, Restart, Shutdown, Supervisor, SupervisorExit,
    SupervisorSpec,
};

use crate::kit::{Deed, Journal, LONG, Manner, Message, Watch, child, child_with, deeds, hush, ms, tolerant};

/// Starts one temporary child, sends it something and says how it ended, and which of its callbacks ran.
async fn end_of(manner: Manner, message: Message) -> (Exit, Vec<String>) {
    hush();
    let (journal, watch) = (Journal::default(), Watch::new());
    let (spec, address) = child_with("a", &journal, manner);
    let root = Supervisor::start(tolerant("root").child(spec.restart(Restart::Temporary)), watch.clone());
    let root = root.await.expect("starts");
    address.send(message).expect("open");
    let exit = watch.until_ended("a").await;
    let lines = journal.lines();
    root.stop().await;
    (exit, lines)
}

/// Starts one child, has it busy with a message, and stops it through its supervisor.
async fn stop_of(manner: Manner, shutdown: Shutdown, busy: Deed) -> (Exit, bool, Vec<String>) {
    hush();
    let journal = Journal::default();
    let (spec, address) = child_with("a", &journal, manner);
    let root = Supervisor::start(tolerant("root").child(spec.shutdown(shutdown)), Watch::new());
    let root = root.await.expect("starts");
    address.send(Message::Note(1)).expect("open");
    address.send(Message::Do(busy)).expect("open");
    tokio::time::sleep(ms(1)).await;
    let report = root.stop().await;
    (report.children[0].exit.clone(), report.children[0].overran, journal.lines())
}

/// Says why a single child with this manner could not be started.
async fn start_failure_of(manner: Manner) -> Exit {
    hush();
    let watch = Watch::new();
    let (spec, _) = child_with("a", &Journal::default(), manner);
    let started = Supervisor::start(tolerant("root").child(spec), watch.clone()).await;
    assert!(started.is_err());
    watch
        .until(|event| match event {
            LifeEvent::StartFailed { exit, .. } => Some(exit.clone()),
            _ => None,
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn stopped_after_message_at_hand_and_cleanup() {
    let (exit, overran, lines) =
        stop_of(Manner::default(), Shutdown::After(ms(1000)), Deed::Take(ms(500))).await;
    assert_eq!((exit, overran), (Exit::Stopped, false));
    assert_eq!(lines, ["a started", "a handled 1", "a ended", "a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn finished_by_its_own_decision() {
    let (exit, lines) = end_of(Manner::default(), Message::Finish).await;
    assert_eq!(exit, Exit::Finished);
    assert_eq!(lines, ["a started", "a ended", "a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn killed_at_once_by_shutdown_kill() {
    let (exit, overran, lines) = stop_of(Manner::default(), Shutdown::Kill, Deed::Hang).await;
    assert_eq!((exit, overran), (Exit::Killed, false));
    assert_eq!(lines, ["a started", "a handled 1", "a dropped"], "no clean-up after a kill");
}

#[tokio::test(start_paused = true)]
async fn killed_when_a_message_outlasts_the_time_to_stop() {
    let (exit, overran, lines) = stop_of(Manner::default(), Shutdown::After(ms(1000)), Deed::Hang).await;
    assert_eq!((exit, overran), (Exit::Killed, true));
    assert_eq!(lines, ["a started", "a handled 1", "a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn killed_by_kill_child_and_restarted() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let (spec, address) = child("a", &journal);
    let root = Supervisor::start(tolerant("root").child(spec), watch.clone()).await.expect("starts");
    address.send(Message::Do(Deed::Hang)).expect("open");
    tokio::time::sleep(ms(1)).await;
    root.kill_child("a");
    assert_eq!(watch.until_ended("a").await, Exit::Killed);
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(2));
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn panicked_in_start_by_the_factory_or_the_callback() {
    let told = Exit::PanickedInStart("told to panic".into());
    let makes = deeds(&[Deed::Panic]);
    assert_eq!(start_failure_of(Manner { makes, ..Manner::default() }).await, told);
    let starts = deeds(&[Deed::Panic]);
    assert_eq!(start_failure_of(Manner { starts, ..Manner::default() }).await, told);
}

#[tokio::test(start_paused = true)]
async fn start_failed_by_the_factory_or_the_callback() {
    let told = Exit::StartFailed("told to fail".into());
    let makes = deeds(&[Deed::Fail]);
    assert_eq!(start_failure_of(Manner { makes, ..Manner::default() }).await, told);
    let starts = deeds(&[Deed::Fail]);
    assert_eq!(start_failure_of(Manner { starts, ..Manner::default() }).await, told);
}

#[tokio::test(start_paused = true)]
async fn panicked_in_handle_still_cleans_up() {
    let (exit, lines) = end_of(Manner::default(), Message::Do(Deed::Panic)).await;
    assert_eq!(exit, Exit::PanickedInHandle("told to panic".into()));
    assert_eq!(lines, ["a started", "a ended", "a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn failed_still_cleans_up() {
    let (exit, lines) = end_of(Manner::default(), Message::Do(Deed::Fail)).await;
    assert_eq!(exit, Exit::Failed("told to fail".into()));
    assert_eq!(lines, ["a started", "a ended", "a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn panicked_in_cleanup_after_an_orderly_stop() {
    let cleanup = Manner { cleanup: Deed::Panic, ..Manner::default() };
    let (exit, ..) = stop_of(cleanup, Shutdown::After(ms(1000)), Deed::Succeed).await;
    assert_eq!(exit, Exit::PanickedInCleanup("told to panic".into()));
}

#[tokio::test(start_paused = true)]
async fn panicked_in_cleanup_by_the_drop_of_the_value() {
    let manner = Manner { panics_in_drop: true, ..Manner::default() };
    let told = Exit::PanickedInCleanup("told to panic in drop".into());
    assert_eq!(stop_of(manner.clone(), Shutdown::After(ms(1000)), Deed::Succeed).await.0, told);
    assert_eq!(stop_of(manner, Shutdown::Kill, Deed::Hang).await.0, told, "after a kill, too");
}

#[tokio::test(start_paused = true)]
async fn cleanup_overran_its_time_to_stop() {
    let manner = Manner { cleanup: Deed::Hang, ..Manner::default() };
    let (exit, overran, _) = stop_of(manner, Shutdown::After(ms(1000)), Deed::Succeed).await;
    assert_eq!((exit, overran), (Exit::CleanupOverran, true));
}

#[tokio::test(start_paused = true)]
async fn cleanup_overran_after_finishing_by_itself() {
    let manner = Manner { cleanup: Deed::Hang, ..Manner::default() };
    assert_eq!(end_of(manner, Message::Finish).await.0, Exit::CleanupOverran);
}

#[tokio::test(start_paused = true)]
async fn a_failed_cleanup_after_a_failure_keeps_the_cause_and_is_told() {
    hush();
    for (cleanup, told) in
        [(Deed::Panic, Exit::PanickedInCleanup("told to panic".into())), (Deed::Hang, Exit::CleanupOverran)]
    {
        let watch = Watch::new();
        let manner = Manner { cleanup, ..Manner::default() };
        let (spec, address) = child_with("a", &Journal::default(), manner);
        let root = Supervisor::start(tolerant("root").child(spec.restart(Restart::Temporary)), watch.clone());
        let root = root.await.expect("starts");
        address.send(Message::Do(Deed::Fail)).expect("open");
        assert_eq!(watch.until_ended("a").await, Exit::Failed("told to fail".into()));
        let second = watch.until(|event| match event {
            LifeEvent::CleanupFailed { exit, .. } => Some(exit.clone()),
            _ => None,
        });
        assert_eq!(second.await, told);
        root.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn gave_up_names_the_child_and_its_exit_to_the_parent_and_at_the_root() {
    let watch = Watch::new();
    let (spec, address) = child("a", &Journal::default());
    let strict = Intensity { restarts: 0, within: ms(1000) };
    let inner = SupervisorSpec::new("inner").intensity(strict).child(spec);
    let inner = ChildSpec::supervisor(inner).restart(Restart::Permanent);
    let root = Supervisor::start(SupervisorSpec::new("root").intensity(strict).child(inner), watch.clone());
    let root = root.await.expect("starts");
    address.send(Message::Do(Deed::Fail)).expect("open");
    let gave_up = Exit::GaveUp("a: failed: told to fail".into());
    assert_eq!(root.ended().await, SupervisorExit::GaveUp { child: "inner".into(), exit: gave_up.clone() });
    assert_eq!(watch.until_ended("inner").await, gave_up);
    assert!(address.is_ended());
}

#[tokio::test(start_paused = true)]
async fn a_child_supervisor_that_shut_down_automatically_finished() {
    let watch = Watch::new();
    let (spec, address) = child("a", &Journal::default());
    let inner = SupervisorSpec::new("inner")
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(spec.restart(Restart::Transient).significant());
    let inner = ChildSpec::supervisor(inner).restart(Restart::Transient);
    let root = Supervisor::start(tolerant("root").child(inner), watch.clone()).await.expect("starts");
    address.finish();
    assert_eq!(watch.until_ended("inner").await, Exit::Finished);
    root.stop().await;
}
