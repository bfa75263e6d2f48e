//! Strategies: the children that are restarted, when, and when the supervisor gives up.

use volery_actors::supervision::{
    AutoShutdown, Backoff, ChildSpec, ChildState, Exit, Intensity, LifeEvent, Restart, StartError, Strategy,
    Supervisor, SupervisorExit,
};

use crate::kit::{
    Deed, Journal, LONG, Manner, Message, Watch, child, child_with, deeds, family, ms, tolerant,
};

/// Lets `b` of `a`, `b`, `c` fail and returns what happened from then until `last` is back.
async fn after_failure_of_b(strategy: Strategy, last: &str) -> Vec<String> {
    let (journal, watch) = (Journal::default(), Watch::new());
    let (spec, addresses) = family(&["a", "b", "c"], &journal);
    let root = Supervisor::start(spec.strategy(strategy), watch.clone()).await.expect("starts");
    journal.clear();
    addresses["b"].send(Message::Do(Deed::Fail)).expect("open");
    watch.until_started(last, 2).await;
    let lines = journal.lines();
    root.stop().await;
    lines
}

#[tokio::test(start_paused = true)]
async fn one_for_one_restarts_the_failed_child_only() {
    let lines = after_failure_of_b(Strategy::OneForOne, "b").await;
    assert_eq!(lines, ["b ended", "b dropped", "b started"]);
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_those_started_after_it_too() {
    let lines = after_failure_of_b(Strategy::RestForOne, "c").await;
    assert_eq!(lines, ["b ended", "b dropped", "c ended", "c dropped", "b started", "c started"]);
}

#[tokio::test(start_paused = true)]
async fn one_for_all_restarts_all() {
    let lines = after_failure_of_b(Strategy::OneForAll, "c").await;
    assert_eq!(
        lines,
        [
            "b ended",
            "b dropped",
            "c ended",
            "c dropped",
            "a ended",
            "a dropped",
            "a started",
            "b started",
            "c started"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_temporary_sibling_stopped_by_a_strategy_stays_stopped() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let (a, a_address) = child("a", &journal);
    let (b, b_address) = child("b", &journal);
    let spec = tolerant("root").strategy(Strategy::OneForAll).child(a).child(b.restart(Restart::Temporary));
    let root = Supervisor::start(spec, watch.clone()).await.expect("starts");
    a_address.send(Message::Do(Deed::Fail)).expect("open");
    watch.until_started("a", 2).await;
    let ids: Vec<String> = root.children().await.iter().map(|child| child.id.to_string()).collect();
    assert_eq!(ids, ["a"]);
    assert!(b_address.is_ended());
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_transient_child_returns_after_a_failure_but_not_after_finishing() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let (spec, address) = child("a", &journal);
    let root = Supervisor::start(tolerant("root").child(spec.restart(Restart::Transient)), watch.clone());
    let root = root.await.expect("starts");
    address.send(Message::Do(Deed::Fail)).expect("open");
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(2));
    address.finish();
    watch
        .until(|event| match event {
            LifeEvent::Ended { exit: Exit::Finished, .. } => Some(()),
            _ => None,
        })
        .await;
    let info = &root.children().await[0];
    assert_eq!((info.state, info.life, info.restarts), (ChildState::Ended, 2, 1));
    assert!(address.is_ended());
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_child_is_restarted_until_the_window_is_full() {
    for (gap, holds) in [(ms(10), false), (ms(600), true)] {
        let watch = Watch::new();
        let (spec, address) = child("a", &Journal::default());
        let limit = Intensity { restarts: 2, within: ms(1000) };
        let root = Supervisor::start(tolerant("root").intensity(limit).child(spec), watch.clone());
        let root = root.await.expect("starts");
        for life in 1..=3 {
            watch.until_started("a", life).await;
            tokio::time::sleep(gap).await;
            address.send(Message::Do(Deed::Panic)).expect("open");
            watch
                .until(|event| {
                    matches!(event, LifeEvent::Ended { life: ended, .. } if *ended == life).then_some(())
                })
                .await;
        }
        if holds {
            assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(4));
            root.stop().await;
        } else {
            let exit = Exit::PanickedInHandle("told to panic".into());
            assert_eq!(root.ended().await, SupervisorExit::GaveUp { child: "a".into(), exit });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_intensity_of_a_child_counts_besides_the_supervisors() {
    let watch = Watch::new();
    let journal = Journal::default();
    let (a, a_address) = child("a", &journal);
    let (b, b_address) = child("b", &journal);
    let strict = Intensity { restarts: 1, within: ms(1000) };
    let spec = tolerant("root").child(a).child(b.intensity(strict));
    let root = Supervisor::start(spec, watch.clone()).await.expect("starts");
    for life in 2..5 {
        a_address.send(Message::Do(Deed::Fail)).expect("open");
        watch.until_started("a", life).await;
    }
    b_address.send(Message::Do(Deed::Fail)).expect("open");
    watch.until_started("b", 2).await;
    b_address.send(Message::Do(Deed::Fail)).expect("open");
    let exit = Exit::Failed("told to fail".into());
    assert_eq!(root.ended().await, SupervisorExit::GaveUp { child: "b".into(), exit });
}

#[tokio::test(start_paused = true)]
async fn failed_starts_during_a_restart_count_and_are_retried_with_growing_waits() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let starts = deeds(&[Deed::Succeed, Deed::Fail, Deed::Panic, Deed::Succeed]);
    let (spec, address) = child_with("a", &journal, Manner { starts, ..Manner::default() });
    let slow = Backoff { first: ms(100), factor: 2.0, cap: ms(10_000), jitter: 0.0, healthy_after: ms(5000) };
    let limit = Intensity { restarts: 3, within: ms(60_000) };
    let root = Supervisor::start(tolerant("root").intensity(limit).child(spec.backoff(slow)), watch.clone());
    let root = root.await.expect("starts");
    address.send(Message::Do(Deed::Fail)).expect("open");
    watch.until_started("a", 4).await;
    assert_eq!(watch.waits(), [ms(100), ms(200), ms(400)]);
    address.send(Message::Do(Deed::Fail)).expect("open");
    let exit = Exit::Failed("told to fail".into());
    assert_eq!(root.ended().await, SupervisorExit::GaveUp { child: "a".into(), exit });
}

#[tokio::test(start_paused = true)]
async fn the_supervisor_answers_while_a_child_backs_off_or_starts_or_stops() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let starts = deeds(&[Deed::Succeed, Deed::Hang]);
    let manner = Manner { starts, cleanup: Deed::Take(ms(900)), ..Manner::default() };
    let (spec, address) = child_with("a", &journal, manner);
    let slow = Backoff { first: ms(5000), cap: ms(5000), ..Backoff::none() };
    let root = Supervisor::start(tolerant("root").child(spec.backoff(slow)), watch.clone());
    let root = root.await.expect("starts");
    address.send(Message::Do(Deed::Fail)).expect("open");
    for at in [100, 2000, 7000] {
        tokio::time::sleep(ms(at)).await;
        let before = tokio::time::Instant::now();
        assert_eq!(root.children().await[0].id.as_str(), "a");
        let (late, _) = child(&format!("late{at}"), &journal);
        root.start_child(late).await.expect("starts");
        assert_eq!(before.elapsed(), ms(0));
    }
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_healthy_spell_starts_the_back_off_anew() {
    let watch = Watch::new();
    let (spec, address) = child("a", &Journal::default());
    let slow = Backoff { first: ms(100), factor: 3.0, cap: ms(500), jitter: 0.0, healthy_after: ms(5000) };
    let root = Supervisor::start(tolerant("root").child(spec.backoff(slow)), watch.clone());
    let root = root.await.expect("starts");
    for (life, spell) in [(1, 1), (2, 1), (3, 1), (4, 5000), (5, 1)] {
        watch.until_started("a", life).await;
        tokio::time::sleep(ms(spell)).await;
        address.send(Message::Do(Deed::Fail)).expect("open");
    }
    watch.until_started("a", 6).await;
    assert_eq!(watch.waits(), [ms(100), ms(300), ms(500), ms(100), ms(300)]);
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn jitter_follows_the_seed() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let watch = Watch::new();
        let (spec, address) = child("a", &Journal::default());
        let spec = spec.backoff(Backoff { jitter: 1.0, ..Backoff::default() });
        let root = Supervisor::start(tolerant("root").seed(seed).child(spec), watch.clone());
        let root = root.await.expect("starts");
        for life in 1..4 {
            watch.until_started("a", life).await;
            address.send(Message::Do(Deed::Fail)).expect("open");
        }
        watch.until_started("a", 4).await;
        runs.push(watch.waits());
        root.stop().await;
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test(start_paused = true)]
async fn any_significant_child_that_ends_by_itself_ends_the_supervisor() {
    let journal = Journal::default();
    let (a, a_address) = child("a", &journal);
    let (b, _) = child("b", &journal);
    let spec = tolerant("root")
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(a.restart(Restart::Transient).significant())
        .child(b.restart(Restart::Transient).significant());
    let root = Supervisor::start(spec, Watch::new()).await.expect("starts");
    a_address.finish();
    assert_eq!(root.ended().await, SupervisorExit::AutoShutdown { child: "a".into() });
    assert_eq!(journal.whose(" dropped"), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn all_significant_children_must_end_by_themselves_before_the_supervisor_does() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let (a, a_address) = child("a", &journal);
    let (b, b_address) = child("b", &journal);
    let spec = tolerant("root")
        .auto_shutdown(AutoShutdown::AllSignificant)
        .child(a.restart(Restart::Transient).significant())
        .child(b.restart(Restart::Temporary).significant());
    let root = Supervisor::start(spec, watch.clone()).await.expect("starts");
    a_address.finish();
    watch.until_ended("a").await;
    assert_eq!(root.children().await.len(), 2, "still running");
    b_address.send(Message::Do(Deed::Panic)).expect("open");
    assert_eq!(root.ended().await, SupervisorExit::AutoShutdown { child: "b".into() });
}

#[tokio::test(start_paused = true)]
async fn specs_that_contradict_themselves_start_nothing() {
    let journal = Journal::default();
    let plain = |id: &str| child(id, &journal).0;
    let zero = Intensity { restarts: 1, within: ms(0) };
    let bad_backoff = Backoff { jitter: 2.0, ..Backoff::default() };
    let nested = |spec| ChildSpec::supervisor(spec);
    for (spec, named) in [
        (tolerant("root").child(plain("a")).child(plain("a")), "already has a child a"),
        (tolerant("root").intensity(zero).child(plain("a")), "window"),
        (tolerant("root").child(plain("a").intensity(zero)), "window"),
        (tolerant("root").child(plain("a").backoff(bad_backoff)), "jitter"),
        (tolerant("root").child(plain("a").significant()), "significant"),
        (
            tolerant("root")
                .child(plain("b"))
                .child(nested(tolerant("inner").child(plain("a")).child(plain("a")))),
            "supervisor inner already has a child a",
        ),
    ] {
        let error = Supervisor::start(spec, Watch::new()).await.expect_err("invalid");
        assert!(error.to_string().contains(named), "{error}");
        assert!(!matches!(error, StartError::ChildFailed { .. }));
    }
    assert_eq!(journal.lines(), [""; 0]);
}
