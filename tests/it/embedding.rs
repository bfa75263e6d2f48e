//! Embedding: definitions are checked before anything starts, runtimes live side by side, and the blocking
//! facade.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use volery::prelude::*;
use volery::runtime::Clock;
use volery::{ErrorKind, Fault, Settings, Timestamp};

use crate::support::{A, B, Gate, HOUR, Seen, Tested, a, b, on_board};

async fn fine<T>(_: T, _: Context) -> Result<(), Fault> {
    Ok(())
}

fn named(name: &'static str) -> Agent {
    Agent::new(name).consumes(one::<A>()).engine(fine)
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_range_are_refused_by_name() {
    type Change = fn(&mut Settings);
    let changes: [(Change, &str); 5] = [
        (|settings| settings.queued_max = 0, "queued_max"),
        (|settings| settings.feed_capacity = 0, "feed_capacity"),
        (|settings| settings.feed_capacity = usize::MAX, "feed_capacity"),
        (|settings| settings.batch_sweep_every = Duration::ZERO, "batch_sweep_every"),
        (|settings| settings.correlation_sweep_every = Duration::ZERO, "correlation_sweep_every"),
    ];
    for (change, setting) in changes {
        let started = Volery::builder("t").agent(named("any")).configure(change).start().await;
        let error = started.expect_err("the setting makes no sense");
        assert_eq!(error.kind(), ErrorKind::FixInput);
        assert!(error.to_string().contains(setting), "{error}");
    }
}

#[test]
fn settings_come_from_a_file_and_unknown_names_are_refused() {
    let settings: Settings =
        serde_json::from_str(r#"{"feed_capacity": 8, "overflow": "refuse"}"#).expect("known names");
    assert_eq!(settings.feed_capacity, 8);
    assert_eq!(settings.queued_max, Settings::default().queued_max, "the others have defaults");
    let error = serde_json::from_str::<Settings>(r#"{"feed_capacty": 8}"#).expect_err("a typing error");
    assert!(error.to_string().contains("feed_capacty"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn definitions_that_cannot_work_are_refused_naming_the_agent() {
    let key_a = || by(|a: &A| a.key);
    let key_b = || by(|b: &B| b.key);
    let timed = |a: &A| Timestamp::from_millis_since_epoch(i64::from(a.n));
    let wrong = [
        Agent::new("wrong"),
        Agent::new("wrong").consumes(count::<A>(0)).engine(fine),
        Agent::new("wrong").consumes(one::<A>().batch(Batch::of(0))).engine(fine),
        Agent::new("wrong").consumes(one::<A>().batch(Batch::weighing(0))).engine(fine),
        Agent::new("wrong").consumes(join(key_a(), key_b()).within_count(0)).engine(fine),
        Agent::new("wrong").consumes(join(key_a(), key_b()).every_pair()).engine(fine),
        Agent::new("wrong").consumes(join(key_a(), key_b()).outer()).engine(fine),
        Agent::new("wrong")
            .consumes(join(key_a(), key_b()).within(HOUR).every_pair().batch(Batch::of(2)))
            .engine(fine),
        Agent::new("wrong")
            .consumes(join(key_a().at(timed), key_b().at(move |b: &B| timed(&a(0, b.n)))))
            .engine(fine),
        Agent::new("wrong").consumes(join(key_a().at(timed), key_b()).within(HOUR)).engine(fine),
        Agent::new("wrong").consumes(join(key_a(), key_b()).within(HOUR).lateness(HOUR)).engine(fine),
    ];
    for agent in wrong {
        let definition = format!("{agent:?}");
        let started = Volery::builder("t").agents([named("right"), agent]).start().await;
        let error = started.expect_err(&definition);
        assert_eq!(error.kind(), ErrorKind::FixInput, "{definition}");
        assert!(error.to_string().contains("wrong"), "{definition}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_agents_of_one_name_are_refused() {
    let started = Volery::builder("t").agents([named("twin"), named("twin")]).start().await;
    let error = started.expect_err("names are unique");
    assert_eq!(error.kind(), ErrorKind::FixInput);
    assert!(error.to_string().contains("twin"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn runtimes_of_one_name_with_agents_of_one_name_do_not_meet() -> Tested {
    let (first_seen, second_seen) = (Seen::new(), Seen::new());
    let agent = |seen: &Seen<A>| Agent::new("same").consumes(one::<A>()).engine(seen.engine());
    let first = Volery::builder("same").agent(agent(&first_seen)).start().await?;
    let second = Volery::builder("same").agent(agent(&second_seen)).start().await?;
    assert_eq!((first.name(), second.name()), ("same", "same"));
    first.publish(a(0, 1)).await?;
    second.publish(a(0, 2)).await?;
    first.pause("same")?;
    first.publish(a(0, 3)).await?;
    second.publish(a(0, 4)).await?;
    tokio::try_join!(first.until_idle(), second.until_idle())?;
    assert_eq!((first_seen.all(), second_seen.all()), (vec![a(0, 1)], vec![a(0, 2), a(0, 4)]));
    first.resume("same")?;
    assert!(first.shutdown().await?.is_graceful());
    second.publish(a(0, 5)).await?;
    second.until_idle().await?;
    assert_eq!(second_seen.all().len(), 3, "one may stop while the other goes on");
    assert_eq!(on_board::<A>(&second).await?.len(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fixed_clock_gives_the_same_ids_every_time() -> Tested {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let clock = Clock::fixed(Timestamp::from_millis_since_epoch(1_000), 7);
        let volery = Volery::builder("t").agent(named("any")).clock(clock).start().await?;
        let published = volery.publish(a(0, 1)).await?;
        ids.push((published.id, published.run));
        volery.shutdown().await?;
    }
    assert_eq!(ids[0], ids[1]);
    Ok(())
}

#[test]
fn a_runtime_needs_tokio_and_says_so() {
    let mut start = Box::pin(Volery::builder("t").agent(named("any")).start());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = start.as_mut().poll(&mut context) else {
        panic!("it must refuse at once")
    };
    assert_eq!(error.kind(), ErrorKind::FixInput);
    assert!(error.to_string().contains("tokio"), "{error}");
}

#[test]
fn the_blocking_facade_works_in_a_plain_thread() -> Tested {
    let doubled = Agent::new("double")
        .consumes(one::<A>())
        .engine(|input: A, _| async move { Ok::<_, Fault>(Publish(b(0, input.n * 2))) });
    let held = Agent::new("held").consumes(one::<B>().batch(Batch::until_finished())).engine(fine);
    let volery = volery::blocking::Volery::start(Volery::builder("t").agents([doubled, held]))?;
    let run = volery.run("blocking");
    run.publish(a(0, 4))?;
    assert!(!run.settled()?.is_complete());
    assert_eq!(volery.waiting()?.len(), 1);
    assert!(run.finish()?.is_complete());
    assert_eq!(run.artifacts::<B>()?, [b(0, 8)]);
    volery.publish(a(0, 1))?;
    volery.publish_all(vec![a(0, 2)])?;
    volery.until_idle()?;
    assert_eq!(volery.artifacts(&Filter::all().kind("B"))?.artifacts.len(), 3);
    assert!(volery.shutdown()?.is_graceful());
    let refused = volery.publish(a(0, 1)).expect_err("it has stopped");
    assert_eq!(refused.kind(), ErrorKind::Stop);
    Ok(())
}

#[test]
fn the_blocking_facade_asks_whatever_the_async_one_answers() -> Tested {
    let fails = Agent::new("fails")
        .retry(Retry::none())
        .consumes(one::<A>())
        .engine(|a: A, _| async move { if a.n == 0 { Err(Fault::from("no")) } else { Ok(()) } });
    let volery = volery::blocking::Volery::start(Volery::builder("t").agent(fails))?;
    let run = volery.run("r");
    let published = run.publish(a(0, 0))?;
    volery.until_idle()?;
    let letters = volery.ask(|volery| volery.dead_letters().limit(9))?;
    let letter = volery.ask(|volery| volery.dead_letter(letters[0].number))?;
    assert_eq!(letter.failed().len(), 1);
    volery.ask(|_| letter.redrive_with(a(0, 1)))?;
    volery.until_idle()?;
    assert_eq!(run.ask(|run| run.tally())?.outstanding(), 0, "it was driven again, and did");
    assert_eq!(volery.ask(|volery| volery.dead_letters().redrive())?.redriven, 0, "nothing is left");
    let found = volery.ask(|volery| volery.query().kind_of::<A>())?;
    assert!(found.artifacts.iter().any(|found| found.id() == published.id));
    assert!(volery.ask(|volery| volery.lineage(published.id))?.is_some());
    volery.inner().pause("fails")?;
    let health = volery.health()?;
    assert!(health.ready && health.reasons[0].what.contains("paused"), "{health}");
    volery.shutdown().map(drop)
}

#[test]
fn the_blocking_facade_is_an_error_inside_an_async_runtime() -> Tested {
    let volery = volery::blocking::Volery::start(Volery::builder("t").agent(named("any")))?;
    let run = volery.run("blocking");
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    let errors = tokio.block_on(async {
        [
            volery::blocking::Volery::start(Volery::builder("t").agent(named("any"))).map(drop),
            volery.publish(a(0, 1)).map(drop),
            volery.publish_all(vec![a(0, 1)]).map(drop),
            volery.until_idle(),
            volery.artifacts(&Filter::all()).map(drop),
            volery.waiting().map(drop),
            volery.shutdown().map(drop),
            run.publish(a(0, 1)).map(drop),
            run.settled().map(drop),
            run.finish().map(drop),
            run.artifacts::<A>().map(drop),
        ]
    });
    for answer in errors {
        let error = answer.expect_err("it would block a worker");
        assert!(error.to_string().contains("inside an async runtime"), "{error}");
    }
    assert!(volery.shutdown()?.is_graceful(), "nothing was harmed");
    Ok(())
}

#[test]
fn dropping_a_blocking_runtime_stops_it() -> Tested {
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    let gate = Gate::new();
    let agent = Agent::new("held").consumes(one::<A>()).engine(move |_: A, _| {
        let (held, gate) = (Arc::clone(&held), gate.clone());
        async move {
            gate.pass().await;
            drop(held);
            Ok::<_, Fault>(())
        }
    });
    let volery = volery::blocking::Volery::start(Volery::builder("t").agent(agent))?;
    volery.publish(a(0, 1))?;
    thread::spawn(move || drop(volery)).join().expect("dropping does not panic");
    assert_eq!(weak.strong_count(), 0);
    Ok(())
}
