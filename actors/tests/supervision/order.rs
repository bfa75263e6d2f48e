//! Ordered start and roll-back, reverse stop within limits, dynamic children.

use volery_actors::supervision::{
    ChildSpec, ChildState, Exit, LifeEvent, Shutdown, StartError, StopChildError, Supervisor, SupervisorExit,
};

use crate::kit::{
    Deed, Journal, LONG, Manner, Message, Watch, child, child_with, deeds, family, ms, tolerant,
};

#[tokio::test(start_paused = true)]
async fn children_start_one_after_the_other_and_stop_in_reverse() {
    let journal = Journal::default();
    let slow = Manner { starts: deeds(&[Deed::Take(ms(300))]), ..Manner::default() };
    let spec = tolerant("root").child(child_with("a", &journal, slow).0).child(child("b", &journal).0);
    let inner = tolerant("inner").child(child("c", &journal).0).child(child("d", &journal).0);
    let spec = spec.child(ChildSpec::supervisor(inner)).child(child("e", &journal).0);
    let root = Supervisor::start(spec, Watch::new()).await.expect("starts");
    assert_eq!(journal.whose(" started"), ["a", "b", "c", "d", "e"]);
    let report = root.stop().await;
    assert_eq!(journal.whose(" dropped"), ["e", "d", "c", "b", "a"]);
    let rows: Vec<&str> = report.children.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(rows, ["e", "inner", "b", "a"]);
    assert!(report.children.iter().all(|row| row.exit == Exit::Stopped && !row.overran));
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_start_rolls_back_in_reverse() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let failing = Manner { starts: deeds(&[Deed::Fail]), ..Manner::default() };
    let (mut spec, addresses) = family(&["a", "b"], &journal);
    spec = spec.child(child_with("c", &journal, failing).0).child(child("d", &journal).0);
    let error = Supervisor::start(spec, watch.clone()).await.expect_err("c fails");
    let exit = Exit::StartFailed("told to fail".into());
    assert_eq!(error, StartError::ChildFailed { supervisor: "root".into(), child: "c".into(), exit });
    assert_eq!(journal.whose(" started"), ["a", "b"]);
    assert_eq!(journal.whose(" dropped"), ["c", "b", "a"]);
    assert!(addresses.values().all(volery_actors::supervision::Address::is_ended));
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_start_in_a_subtree_rolls_back_the_whole_tree() {
    let journal = Journal::default();
    let failing = Manner { starts: deeds(&[Deed::Panic]), ..Manner::default() };
    let inner = tolerant("inner").child(child("b", &journal).0).child(child_with("c", &journal, failing).0);
    let spec = tolerant("root").child(child("a", &journal).0).child(ChildSpec::supervisor(inner));
    let error = Supervisor::start(spec, Watch::new()).await.expect_err("c fails");
    assert!(error.to_string().contains("child c of supervisor inner did not start"), "{error}");
    assert_eq!(journal.whose(" dropped"), ["c", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_cancelled_leaves_nothing_running() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let hanging = Manner { starts: deeds(&[Deed::Hang]), ..Manner::default() };
    let spec = tolerant("root").child(child("a", &journal).0).child(child_with("b", &journal, hanging).0);
    let start = Supervisor::start(spec, watch.clone());
    assert!(tokio::time::timeout(ms(100), start).await.is_err());
    assert_eq!(watch.until_ended("a").await, Exit::Stopped);
    assert_eq!(journal.lines(), ["a started", "b dropped", "a ended", "a dropped"]);
}

#[tokio::test(start_paused = true)]
async fn each_child_has_its_own_time_to_stop_and_is_then_killed() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let hanging = || Manner { cleanup: Deed::Hang, ..Manner::default() };
    let slow = Manner { cleanup: Deed::Take(ms(7000)), ..Manner::default() };
    let spec = tolerant("root")
        .child(child_with("a", &journal, hanging()).0.shutdown(Shutdown::After(ms(200))))
        .child(child_with("b", &journal, slow).0.shutdown(Shutdown::WaitForever))
        .child(child_with("c", &journal, hanging()).0.shutdown(Shutdown::After(ms(3000))))
        .child(child_with("d", &journal, hanging()).0.shutdown(Shutdown::Kill));
    let root = Supervisor::start(spec, watch.clone()).await.expect("starts");
    let report = root.stop().await;
    let rows: Vec<_> = report
        .children
        .iter()
        .map(|row| (row.id.as_str(), row.exit.clone(), row.duration.as_millis(), row.overran))
        .collect();
    assert_eq!(
        rows,
        [
            ("d", Exit::Killed, 0, false),
            ("c", Exit::CleanupOverran, 3000, true),
            ("b", Exit::Stopped, 7000, false),
            ("a", Exit::CleanupOverran, 200, true),
        ]
    );
    assert_eq!(report.duration, ms(10_200));
    let overran: Vec<_> = watch
        .events()
        .into_iter()
        .filter_map(|event| match event {
            LifeEvent::StopOverran { child, after, .. } => Some((child.to_string(), after)),
            _ => None,
        })
        .collect();
    assert_eq!(overran, [("c".to_owned(), ms(3000)), ("a".to_owned(), ms(200))]);
}

#[tokio::test(start_paused = true)]
async fn stop_is_idempotent_and_every_caller_gets_the_same_report() {
    let (spec, _) = family(&["a", "b"], &Journal::default());
    let root = Supervisor::start(spec, Watch::new()).await.expect("starts");
    let other = root.clone();
    let (first, second, why) = tokio::join!(root.stop(), other.stop(), root.ended());
    assert_eq!(first, second);
    assert_eq!(first, root.stop().await);
    assert_eq!(why, SupervisorExit::Stopped);
    assert!(root.children().await.is_empty());
    let (late, address) = child("late", &Journal::default());
    assert_eq!(root.start_child(late).await, Err(StartError::Ending { supervisor: "root".into() }));
    assert!(address.is_ended());
    let ended = StopChildError::Ended { supervisor: "root".into() };
    assert_eq!(root.stop_child("a").await, Err(ended));
}

#[tokio::test(start_paused = true)]
async fn stop_that_is_cancelled_goes_on() {
    let slow = Manner { cleanup: Deed::Take(ms(500)), ..Manner::default() };
    let (spec, _) = child_with("a", &Journal::default(), slow);
    let root = Supervisor::start(tolerant("root").child(spec), Watch::new()).await.expect("starts");
    assert!(tokio::time::timeout(ms(1), root.stop()).await.is_err());
    assert_eq!(root.ended().await, SupervisorExit::Stopped);
}

#[tokio::test(start_paused = true)]
async fn stop_during_a_back_off_or_a_hanging_start_is_prompt_or_within_limits() {
    let watch = Watch::new();
    let starts = deeds(&[Deed::Succeed, Deed::Hang]);
    let (spec, address) = child_with("a", &Journal::default(), Manner { starts, ..Manner::default() });
    let root = Supervisor::start(tolerant("root").child(spec), watch.clone()).await.expect("starts");
    address.send(Message::Do(Deed::Fail)).expect("open");
    watch.until_ended("a").await;
    tokio::time::sleep(ms(10)).await;
    assert_eq!(root.children().await[0].state, ChildState::Restarting);
    let report = root.stop().await;
    assert_eq!((report.children[0].duration, report.children[0].overran), (ms(1000), true));
    assert_eq!(report.children[0].exit, Exit::Failed("told to fail".into()), "how its last life ended");
}

#[tokio::test(start_paused = true)]
async fn dynamic_children_are_bounded_named_once_and_stopped_first() {
    let journal = Journal::default();
    let (spec, _) = family(&["a"], &journal);
    let root = Supervisor::start(spec.dynamic_children_max(2), Watch::new()).await.expect("starts");
    root.start_child(child("x", &journal).0).await.expect("room");
    let duplicate = StartError::DuplicateChild { supervisor: "root".into(), child: "x".into() };
    assert_eq!(root.start_child(child("x", &Journal::default()).0).await, Err(duplicate));
    root.start_child(child("y", &journal).0).await.expect("room");
    let full = StartError::TooManyChildren { supervisor: "root".into(), max: 2 };
    assert_eq!(root.start_child(child("z", &journal).0).await, Err(full));
    let row = root.stop_child("x").await.expect("stops");
    assert_eq!((row.exit, row.overran), (Exit::Stopped, false));
    let unknown = StopChildError::UnknownChild { supervisor: "root".into(), child: "x".into() };
    assert_eq!(root.stop_child("x").await, Err(unknown));
    root.start_child(child("x", &journal).0).await.expect("room again");
    root.stop().await;
    assert_eq!(journal.whose(" started"), ["a", "x", "y", "x"]);
    assert_eq!(journal.whose(" dropped"), ["x", "x", "y", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_child_that_does_not_start_changes_nothing() {
    let (spec, _) = family(&["a"], &Journal::default());
    let root = Supervisor::start(spec, Watch::new()).await.expect("starts");
    let failing = Manner { starts: deeds(&[Deed::Fail]), ..Manner::default() };
    let (late, address) = child_with("x", &Journal::default(), failing);
    let exit = Exit::StartFailed("told to fail".into());
    let failed = StartError::ChildFailed { supervisor: "root".into(), child: "x".into(), exit };
    assert_eq!(root.start_child(late).await, Err(failed));
    assert!(address.is_ended());
    assert_eq!(root.children().await.len(), 1);
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn children_of_a_subtree_are_reached_through_its_handle() {
    let journal = Journal::default();
    let inner = tolerant("inner").child(child("a", &journal).0);
    let root = Supervisor::start(tolerant("root").child(ChildSpec::supervisor(inner)), Watch::new());
    let root = root.await.expect("starts");
    let inner = root.subtree("inner").await.expect("is a supervisor");
    let (late, address) = child("late", &journal);
    inner.start_child(late).await.expect("starts");
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(1));
    assert!(root.subtree("nobody").await.is_none());
    root.stop().await;
    assert_eq!(inner.ended().await, SupervisorExit::Stopped);
    assert!(address.is_ended());
}
