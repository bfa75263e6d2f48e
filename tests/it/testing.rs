//! The test kit: what it promises to tests, and what its failures say.

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use volery::prelude::*;
use volery::runtime::Clock;
use volery::store::History;
use volery::testing::{self, Events, FailingStore, Gate, Harness, Pattern, Probe, Script, Test};
use volery::{ErrorKind, Fault, Outcome, Settings, Timestamp};

use crate::support::{A, B, HOUR, SECOND, Tested, a, b};

/// The text with which a future fails.
async fn failure<T>(future: impl Future<Output = T>) -> String {
    let mut future = pin!(future);
    let ended = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(_)) => Poll::Ready(None),
        Err(panic) => Poll::Ready(Some(panic)),
    });
    let panic = ended.await.expect("it was to fail");
    panic.downcast_ref::<String>().expect("a failure has a text").clone()
}

/// Checks that a text has every part, in this order.
#[track_caller]
fn says(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("`{part}` is not where it should be in:\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

fn taking(name: &'static str, engine: Script<()>) -> Agent {
    Agent::new(name).consumes(one::<A>()).engine(engine)
}

/// Starts a test whose hours are short: its sweeps, which have nothing to do here, are rare.
async fn started(agent: Agent) -> volery::Result<Harness> {
    let rarely = |settings: &mut Settings| {
        (settings.batch_sweep_every, settings.correlation_sweep_every) = (HOUR, HOUR);
    };
    Test::new().agent(agent).configure(rarely).start().await
}

#[tokio::test]
async fn time_that_runs_is_paused_by_the_start() -> Tested {
    assert!(!Clock::is_paused());
    let test = Test::new().start().await?;
    assert!(Clock::is_paused());
    let before = test.now();
    test.advance(HOUR).await;
    let passed = test.now().since(before);
    assert!((HOUR..HOUR + SECOND).contains(&passed), "{passed:?}");
    test.finish().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_async_runtime_of_several_threads_is_refused_naming_the_attribute() {
    let refused = testing::start(Volery::builder("t")).await.expect_err("its time cannot be paused");
    assert_eq!(refused.kind(), ErrorKind::FixInput);
    assert!(refused.to_string().contains("#[tokio::test(start_paused = true)]"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_every_id_and_another_does_not() -> Tested {
    let mut ids = Vec::new();
    for seed in [7, 7, 8] {
        let test = Test::new().seed(seed).agent(taking("any", Script::new().returns(()))).start().await?;
        assert_eq!(test.seed(), seed);
        ids.push(test.publish(a(0, 1)).await?);
        test.idle().await;
        test.finish().await;
    }
    assert_eq!((ids[0].id, ids[0].run), (ids[1].id, ids[1].run));
    assert!(ids[0].id != ids[2].id && ids[0].run != ids[2].run);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_test_starts_at_the_time_it_is_told() -> Tested {
    let at = Timestamp::from_millis_since_epoch(1_000);
    let test = Test::new().started_at(at).start().await?;
    assert_eq!(test.now(), at);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_seed_of_a_failed_test_is_printed() -> Tested {
    const ROLE: &str = "VOLERY_TEST_FAILS";
    if std::env::var_os(ROLE).is_some() {
        let test = Test::of(Volery::builder("doomed")).seed(4_711).start().await?;
        panic!("as it should, with {test:?}");
    }
    let ran = Command::new(std::env::current_exe()?)
        .args(["--exact", "testing::the_seed_of_a_failed_test_is_printed", "--nocapture"])
        .env(ROLE, "1")
        .output()?;
    assert!(!ran.status.success());
    says(&String::from_utf8_lossy(&ran.stderr), &["runtime `doomed` of the failed test had seed 4711"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn advancing_lets_everything_happen_at_its_own_time() -> Tested {
    let bank = Script::new().fails("busy").fails("busy").returns(());
    let (agent, probe) = Probe::stand_in("again", one::<A>(), bank);
    let test = started(agent.retry(Retry::fixed(3, 10 * SECOND))).await?;
    test.publish(a(0, 1)).await?;
    test.advance(9 * SECOND).await;
    assert_eq!(probe.given().len(), 1, "the second attempt is not due yet");
    test.advance(2 * SECOND).await;
    assert_eq!(probe.given().len(), 2);
    test.advance(9 * SECOND).await;
    let attempts: Vec<u32> = probe.given().iter().map(testing::Given::attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_next_deadline_is_that_of_the_board() -> Tested {
    let (batches, probe) =
        Probe::stand_in("batch", one::<A>().batch(Batch::after(HOUR)), Script::new().returns(()).repeats());
    let test = started(batches).await?;
    assert_eq!(test.advance_to_next_deadline().await, None);
    test.publish(a(0, 1)).await?;
    let published = test.now();
    let due = test.advance_to_next_deadline().await.expect("the batch is on a timer");
    assert_eq!(due.since(published), HOUR);
    assert_eq!(probe.received(), [[a(0, 1)]], "what was due is done");
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_probe_notes_inputs_and_attempts_in_order_and_answers() -> Tested {
    let script = Script::new().fails("once").returns(Publish(b(0, 1))).returns(Publish(b(0, 2)));
    let (agent, probe) = Probe::stand_in("neighbour", one::<A>(), script);
    let test = started(agent.concurrency(1).retry(Retry::fixed(2, SECOND))).await?;
    let run = test.run("probed").publish(a(0, 1)).await?;
    let (first, second) = (probe.next().await, probe.next().await);
    assert_eq!((first.input, first.attempt(), second.attempt()), (a(0, 1), 1, 2));
    assert_eq!(first.context.run(), run.id());
    probe.expect_nothing().await;
    test.publish(a(0, 2)).await?;
    assert_eq!(probe.next().await.input, a(0, 2));
    assert_eq!(probe.received(), [a(0, 1), a(0, 1), a(0, 2)]);
    assert_eq!(test.expect_published::<B>().await, [b(0, 1), b(0, 2)]);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_says_what_it_was_given() -> Tested {
    let (agent, probe) = Probe::<A>::agent("ledger");
    let test = started(agent).await?;
    test.publish(a(3, 4)).await?;
    let unexpected = failure(probe.expect_nothing()).await;
    says(&unexpected, &["probe `ledger` was given 1 more, and nothing was expected", "given so far (1)"]);
    says(&unexpected, &["A { key: 3, n: 4 }, attempt 1", "tests/it/testing.rs:"]);
    probe.next().await;
    says(&failure(probe.next()).await, &["probe `ledger` was given nothing more within an hour", "(1):"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_script_plays_its_steps_one_by_one_and_fails_when_it_is_exhausted() -> Tested {
    let script = Script::new().fails("first").panics("second").returns(Publish(b(0, 3)));
    let agent = Agent::new("actor").consumes(one::<A>()).concurrency(1).engine(script.clone());
    let test = started(agent).await?;
    let run = test.run("played").open();
    run.publish_all((1..=4).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    test.expect(&run).consumed(1).dead(3).await;
    let letters = test.dead_letters().limit(9).await?;
    let errors: Vec<&str> = letters.iter().map(|letter| letter.error[0].as_str()).collect();
    assert_eq!(errors[0], "first");
    assert!(errors[1].contains("second"), "{errors:?}");
    says(
        errors[2],
        &["the script is exhausted: it has 3 steps, and this is call 4 (agent `actor`, attempt 1)"],
    );
    assert_eq!(script.calls(), 4);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_script_repeats_its_last_step_when_told_so() -> Tested {
    let test =
        started(taking("any", Script::new().fails("first").returns(()).repeats()).concurrency(1)).await?;
    test.publish_all((1..=4).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    test.expect_board().consumed(3).dead(1).await;
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn by_attempt_every_job_goes_through_the_steps_by_itself() -> Tested {
    let script = Script::new().fails("once").returns(()).by_attempt();
    let test = started(taking("any", script.clone()).retry(Retry::fixed(2, SECOND))).await?;
    test.publish_all((1..=3).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    test.expect_agent("any").consumed(3).await;
    assert_eq!(script.calls(), 6);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_script_that_ends_in_a_wait_says_so() -> Tested {
    let test = started(taking("any", Script::new().takes(SECOND))).await?;
    test.publish(a(0, 1)).await?;
    let letter = test.expect_dead_letter("any").await;
    says(&letter.error[0], &["the script ends in a wait"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_step_takes_time_and_hangs_until_it_is_cancelled() -> Tested {
    let script = Script::new().takes(HOUR).returns(()).hangs();
    let test = started(taking("slow", script).concurrency(1)).await?;
    let run = test.run("slow").publish(a(0, 1)).await?;
    test.advance(HOUR - SECOND).await;
    test.expect(&run).now().outstanding(1).await;
    test.advance(SECOND).await;
    test.expect(&run).now().consumed(1).await;
    run.publish(a(0, 2)).await?;
    test.advance(2 * HOUR).await;
    test.expect(&run).now().consumed(1).outstanding(1).await;
    run.cancel();
    test.expect(&run).consumed(1).cancelled(1).await;
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_blocked_step_goes_on_although_it_was_cancelled() -> Tested {
    let (gate, behind) = (Gate::new(), Gate::new());
    let script = Script::new().waits_for(&behind).blocks(&gate).returns(());
    let test = started(taking("deaf", script)).await?;
    let run = test.run("deaf").publish(a(0, 1)).await?;
    behind.arrived(1).await;
    behind.open(1);
    gate.arrived(1).await;
    run.cancel();
    test.expect(&run).cancelled(1).await;
    assert_eq!(gate.arrivals(), 1, "its thread is there still");
    gate.open(1);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_gate_counts_who_comes_and_lets_through_whom_it_is_told() -> Tested {
    let gate = Gate::new();
    let test = started(taking("gated", Script::new().waits_for(&gate).returns(()).repeats())).await?;
    let run = test.run("gated").open();
    run.publish_all((1..=3).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    gate.arrived(3).await;
    gate.arrived(2).await;
    for _ in 0..3 {
        gate.reached().await;
    }
    says(&failure(gate.reached()).await, &["nobody reached the gate within an hour, after 3"]);
    gate.open(2);
    test.settle().await;
    test.expect(&run).now().consumed(2).outstanding(1).await;
    let missing = failure(gate.arrived(4)).await;
    says(&missing, &["3 of 4 arrived at the gate within an hour", "tests/it/testing.rs:"]);
    gate.open_for_good();
    run.publish(a(0, 4)).await?;
    test.expect(&run).consumed(4).await;
    assert_eq!(gate.arrivals(), 4);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_was_not_expected_is_told_with_what_waits_and_died_and_happened() -> Tested {
    let pairs = Agent::new("pairs").consumes(all_of::<(A, B)>()).engine(Script::new().returns(()).repeats());
    let shaky = taking("shaky", Script::new().fails("no such account").repeats());
    let test = Test::new().seed(7).agents([pairs, shaky]).start().await?;
    let run = test.run("checkout").publish(a(0, 1)).await?;
    test.run("other").publish(b(0, 1)).with(|it| it.visible_to(Visibility::after(24 * HOUR))).await?;
    let text = failure(async { test.expect(&run).consumed(2).await }).await;
    says(
        &text,
        &[
            "run `checkout` ended otherwise than expected",
            "expected: 2 consumed",
            "actual:   1 dead, 1 outstanding",
            "waiting (1):",
            "A at offset 1 for agent `pairs`: missing 1 × B",
            "at work (0):",
            "dead letters (1):",
            "agent `shaky`, 1 attempt with what is at offset 1: no such account",
            "last events (",
            "published A at offset 1, taken by 2 subscriptions",
            "agent `shaky` started attempt 1 with what is at offset 1",
            "agent `shaky` gave a job up: no such account",
            "offset 1 ended for agent `shaky`: Dead",
            "seed: 7",
            "expected at tests/it/testing.rs:",
        ],
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_not_named_is_expected_not_to_happen() -> Tested {
    let test = started(taking("any", Script::new().returns(()).fails("no"))).await?;
    test.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    let text = failure(async { test.expect_board().consumed(1).await }).await;
    says(&text, &["the board ended otherwise", "expected: 1 consumed\n", "actual:   1 consumed, 1 dead\n"]);
    let text = failure(async { test.expect_agent("any").await }).await;
    says(&text, &["agent `any` ended otherwise", "expected: nothing\n"]);
    says(&failure(async { test.expect_agent("nobody").await }).await, &["there is no agent `nobody`"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_never_comes_to_rest_fails_and_says_who_is_at_work() -> Tested {
    let test = started(taking("stuck", Script::new().hangs())).await?;
    let run = test.run("stuck").publish(a(0, 1)).await?;
    let parts = ["still moves after 3600s", "agent `stuck`: 1 running, 0 queued"];
    says(&failure(async { test.expect(&run).consumed(1).await }).await, &parts);
    says(&failure(test.idle()).await, &parts);
    says(&failure(test.expect_published::<B>()).await, &parts);
    test.shutdown().await?;
    says(&failure(async { test.expect(&run).await }).await, &["run `stuck` cannot be asked"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn events_are_expected_one_by_one_in_order_and_in_any_order() -> Tested {
    let agent = Agent::new("again")
        .consumes(one::<A>())
        .retry(Retry::fixed(2, SECOND))
        .engine(Script::new().fails("busy").returns(Publish(b(0, 1))));
    let test = started(agent).await?;
    let (mut ordered, mut any, mut single) = (test.events(), test.events(), test.events());
    let run = test.publish(a(0, 1)).await?.run;
    let patterns = || {
        [
            Pattern::published::<A>(),
            Pattern::started("again"),
            Pattern::retrying("again"),
            Pattern::started("again"),
            Pattern::done("again"),
            Pattern::run_settled(run),
        ]
    };
    assert_eq!(ordered.expect_in_order(patterns()).await.len(), 6);
    let mut reversed: Vec<Pattern> = patterns().into();
    reversed.reverse();
    assert_eq!(any.expect_all(reversed).await.len(), 6);
    single.expect(Pattern::outcome("again", Outcome::Consumed)).await;
    let none = failure(single.expect(Pattern::retrying("again"))).await;
    says(
        &none,
        &["expected a retry of agent `again`, but it did not come within 3600s", "events read so far"],
    );
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn events_that_do_not_come_are_told_with_what_came_instead() -> Tested {
    let test = started(taking("any", Script::new().returns(()))).await?;
    let feed = || Events::of(test.feed()).within(60 * SECOND);
    let (mut ordered, mut any, mut picky, mut none) = (feed(), feed(), feed(), feed());
    test.publish(a(0, 1)).await?;
    let wrong_order = [Pattern::done("any"), Pattern::started("any")];
    says(
        &failure(ordered.expect_in_order(wrong_order)).await,
        &[
            "expected a start of agent `any` as event 2 in order, but it did not come within 60s",
            "is done with",
        ],
    );
    let all = [Pattern::done("any"), Pattern::dead("any"), Pattern::published::<B>()];
    says(
        &failure(any.expect_all(all)).await,
        &[
            "expected a dead job of agent `any` and a B to be published as well, but it did not come within 60s",
        ],
    );
    let never =
        failure(picky.expect_that(|event| matches!(event, volery::feed::Event::Released { .. }))).await;
    says(&never, &["expected an event that the closure takes", "published A at offset 1"]);
    none.expect_none(Pattern::dead("any")).await;
    test.publish(a(0, 2)).await?;
    says(
        &failure(none.expect_none(Pattern::dead("any"))).await,
        &[
            "expected none, but there was a dead job of agent `any`: agent `any` gave a job up: the script is exhausted",
        ],
    );
    test.shutdown().await?;
    picky.take();
    says(&failure(picky.pick("anything", |_| Some(()))).await, &["anything, but the runtime stopped first"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn events_that_the_feed_skipped_fail_an_expectation() -> Tested {
    let agent = taking("any", Script::new().returns(()).repeats());
    let test = Test::new().agent(agent).configure(|settings| settings.feed_capacity = 4).start().await?;
    let (mut waiting, mut taking) = (test.events(), test.events());
    test.publish_all((0..9).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    test.idle().await;
    says(&failure(waiting.expect(Pattern::done("any"))).await, &["the feed had skipped", "feed_capacity"]);
    says(&failure(async { taking.take() }).await, &["the feed had skipped"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_expected_by_agent() -> Tested {
    let shaky = taking("shaky", Script::new().fails("no").repeats());
    let test =
        Test::new().agents([shaky, taking("fine", Script::new().returns(()).repeats())]).start().await?;
    test.expect_no_dead_letters().await;
    test.publish(a(0, 1)).await?;
    assert_eq!(test.expect_dead_letter("shaky").await.error, ["no"]);
    says(&failure(test.expect_no_dead_letters()).await, &["dead letters (1):", "agent `shaky`", "no"]);
    let none = failure(test.expect_dead_letter("fine")).await;
    says(&none, &["expected one dead letter of agent `fine`, but it has 0", "agent `shaky`"]);
    test.publish(a(0, 2)).await?;
    says(&failure(test.expect_dead_letter("shaky")).await, &["of agent `shaky`, but it has 2"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn published_artifacts_are_expected_of_all_runs_and_tenants() -> Tested {
    let test = started(taking("any", Script::new().returns(()).repeats())).await?;
    test.expect_nothing_published::<A>().await;
    says(&failure(test.expect_published::<A>()).await, &["expected a A on the board, but there is none"]);
    test.publish(a(0, 1)).await?;
    test.publish(a(0, 2)).tenant("acme").await?;
    assert_eq!(test.expect_published::<A>().await, [a(0, 1), a(0, 2)]);
    let some = failure(test.expect_nothing_published::<A>()).await;
    says(&some, &["expected no A on the board, but there are 2"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_finished_test_has_left_nothing_and_says_what_it_left() -> Tested {
    let test = started(taking("any", Script::new().returns(()))).await?;
    test.publish(a(0, 1)).await?;
    assert!(test.finish().await.is_graceful());

    let pairs = Agent::new("pairs").consumes(all_of::<(A, B)>()).engine(Script::new().returns(()));
    let half = started(pairs).await?;
    half.publish(a(0, 1)).await?;
    let left =
        ["1 artifacts are left without an outcome", "before the shutdown:", "A at offset 1", "missing 1 × B"];
    says(&failure(half.finish()).await, &left);

    let stuck = started(taking("stuck", Script::new().hangs())).await?;
    stuck.publish(a(0, 1)).await?;
    let cut = ["the shutdown was not in good order", "stuck × 1", "agent `stuck`: 1 running"];
    says(&failure(stuck.finish()).await, &cut);

    let spawning = |_: &Context| {
        drop(tokio::spawn(pending::<()>()));
        Ok::<(), Fault>(())
    };
    let spawns = started(taking("spawns", Script::new().then(spawning))).await?;
    spawns.publish(a(0, 1)).await?;
    says(&failure(spawns.finish()).await, &["1 more tasks are alive than before the start"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn commits_wait_for_a_gate_and_for_time() -> Tested {
    let (store, gate) = (FailingStore::over(Memory::new()), Gate::new());
    let test = Test::new().agent(taking("any", Script::new().returns(()).repeats())).store(store.clone());
    let test = test.start().await?;
    store.delay_commits({
        let gate = gate.clone();
        move || gate.pass()
    });
    let (published, ()) = tokio::join!(test.publish(a(0, 1)).into_future(), async {
        gate.arrived(1).await;
        let kept = store.find(&Filter::all()).await.expect("reads go through");
        assert!(kept.artifacts.is_empty(), "nothing is written before the gate opens");
        store.delay_commits(|| tokio::time::sleep(Duration::from_secs(5)));
        gate.open(1);
    });
    published?;
    let before = test.now();
    test.publish(a(0, 2)).await?;
    assert!(test.now().since(before) >= 5 * SECOND);
    test.expect_agent("any").consumed(2).await;
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_curator_that_does_not_answer_fails_an_expectation() -> Tested {
    let (store, gate) = (FailingStore::over(Memory::new()), Gate::new());
    let test =
        Test::new().agent(taking("any", Script::new().returns(()))).store(store.clone()).start().await?;
    store.delay_commits({
        let gate = gate.clone();
        move || gate.pass()
    });
    let (published, text) = tokio::join!(test.publish(a(0, 1)).into_future(), async {
        gate.arrived(1).await;
        let text = failure(async { test.expect_board().now().outstanding(1).await }).await;
        let idle = failure(test.idle()).await;
        gate.open_for_good();
        [text, idle]
    });
    published?;
    says(
        &text[0],
        &["the board cannot be asked: there was no answer within an hour; is a commit being held?"],
    );
    says(&text[1], &["still moves after 3600s", "waiting: not known", "dead letters (0):"]);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_fails_its_publisher_and_no_other() -> Tested {
    let store = FailingStore::over(Memory::new());
    let test = Test::new().agent(taking("any", Script::new().returns(()).repeats())).store(store.clone());
    let test = test.start().await?;
    store.fail_commit(1);
    let refused = test.publish(a(0, 1)).await.expect_err("its commit fails");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    test.publish(a(0, 2)).await?;
    assert_eq!(test.expect_published::<A>().await, [a(0, 2)]);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_kit_leaves_the_sentry_out_unless_it_is_asked_for() -> Tested {
    for asked in [Duration::ZERO, SECOND] {
        let mut test = Test::new().agent(Probe::<A>::agent("any").0);
        if !asked.is_zero() {
            test = test.configure(move |settings| settings.blocked_after = asked);
        }
        let test = test.start().await?;
        assert_eq!(test.tree().await.to_string().contains("sentry"), !asked.is_zero(), "{asked:?}");
        test.finish().await;
    }
    Ok(())
}
