//! Dead letters: inspected, driven again as they are or edited, one or many, and given up with a reason.

use std::time::Duration;

use volery::artifact::{JobId, Producer};
use volery::feed::Event;
use volery::letters::{DeadFilter, DeadState};
use volery::prelude::*;
use volery::{ErrorKind, Fault, Offset};

use crate::support::{A, B, SECOND, Seen, Stopwatch, Tested, a, b, drain, is_pending, on_board, soon};

/// Fails for inputs whose number is below 10; of the others publishes a `B`.
fn picky() -> Agent {
    Agent::new("picky").consumes(one::<A>()).retry(Retry::fixed(2, SECOND)).engine(
        |input: A, _: Context| async move {
            if input.n < 10 {
                Err(format!("{} is too little", input.n))
            } else {
                Ok(Publish(b(input.key, input.n)))
            }
        },
    )
}

/// Fails while it is told to.
fn stubborn(mended: &std::sync::Arc<std::sync::atomic::AtomicBool>, seen: &Seen<(A, JobId)>) -> Agent {
    let (mended, seen) = (std::sync::Arc::clone(mended), seen.clone());
    Agent::new("stubborn").consumes(one::<A>()).engine(move |input: A, ctx: Context| {
        let mended = mended.load(std::sync::atomic::Ordering::Acquire);
        seen.note((input, ctx.job()));
        async move { if mended { Ok(()) } else { Err::<(), Fault>("not mended".into()) } }
    })
}

async fn numbers(letters: volery::letters::DeadLetters) -> volery::Result<Vec<u64>> {
    Ok(letters.await?.iter().map(|letter| letter.number).collect())
}

/// A file for a store that no other test uses.
#[cfg(feature = "sqlite")]
fn store(name: &str) -> volery::Result<volery::Sqlite> {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("letters").join(name);
    drop(std::fs::remove_dir_all(&folder).err());
    std::fs::create_dir_all(&folder)?;
    Ok(crate::place::open(&folder.join("store.db"))?)
}

#[tokio::test(start_paused = true)]
async fn a_letter_shows_inputs_attempts_and_causes() -> Tested {
    let volery = Volery::builder("t").agent(picky()).start().await?;
    let run = volery.run("w").publish(a(1, 5)).await?;
    run.settled().await?;
    let letter = volery.dead_letter(1).await?;
    assert_eq!((letter.subscription.as_str(), letter.run, letter.attempts), ("picky/0", run.id(), 2));
    assert_eq!(*letter.artifacts()[0].payload::<A>()?, a(1, 5));
    assert_eq!(letter.failed().len(), 2, "every attempt");
    assert_eq!(letter.failed()[1].at.since(letter.failed()[0].at), SECOND);
    assert_eq!(letter.failed()[1].error, ["5 is too little"]);
    let text = letter.to_string();
    for part in
        ["dead letter 1: picky/0 gave up", "open", r#"input 0: A {"key":1,"n":5}"#, "attempt 2 failed at"]
    {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    let error = volery.dead_letter(2).await.expect_err("there is one letter only");
    assert_eq!(error.kind(), ErrorKind::FixInput);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_redriven_job_has_fresh_attempts_and_ends_once() -> Tested {
    let (mended, seen) = (std::sync::Arc::default(), Seen::new());
    let agent = stubborn(&mended, &seen).retry(Retry::fixed(2, SECOND));
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("w").publish(a(0, 1)).await?;
    run.settled().await?;
    let job = volery.dead_letter(1).await?.redrive().await?;
    let report = run.settled().await?;
    assert_eq!(seen.all().len(), 4, "two attempts again");
    assert_eq!((report.tally.matched, report.tally.dead), (1, 1), "the input is counted once");
    assert!(matches!(volery.dead_letter(1).await?.state, DeadState::Redriven { .. }));
    let second = volery.dead_letter(2).await?;
    assert_eq!(
        (second.job, second.attempts),
        (job, 2),
        "it failed again: that is another letter of the same job"
    );
    mended.store(true, std::sync::atomic::Ordering::Release);
    second.redrive().await?;
    let tally = run.settled().await?.tally;
    assert_eq!((tally.matched, tally.consumed, tally.dead), (1, 1, 0));
    assert_eq!(volery.agents().await?[0].tally, tally, "the agent's counts agree");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_decided_once() -> Tested {
    let volery = Volery::builder("t").agent(picky()).start().await?;
    volery.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    volery.until_idle().await?;
    let (first, second) = (volery.dead_letter(1).await?, volery.dead_letter(2).await?);
    first.redrive().await?;
    let error = first.redrive().await.expect_err("it was driven again");
    assert_eq!(error.kind(), ErrorKind::FixInput);
    assert!(error.to_string().contains("dead letter 1 was driven again already"), "{error}");
    assert!(first.discard("late").await.is_err());
    second.discard("a known case").await?;
    let error = second.redrive().await.expect_err("it was given up");
    assert_eq!(
        (error.kind(), error.to_string().contains("a known case")),
        (ErrorKind::FixInput, true),
        "{error}"
    );
    assert!(second.discard("again").await.is_err());
    assert!(volery.dead_letter(2).await?.to_string().contains("discarded at"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_edited_payload_takes_the_place_of_the_input() -> Tested {
    let other = Seen::<A>::new();
    let bystander = Agent::new("bystander").consumes(one::<A>()).engine(other.engine());
    let volery = Volery::builder("t").agents([picky(), bystander]).start().await?;
    let publish = |run: &Run, n| run.publish(a(7, n)).tagged("urgent").partitioned_by(&n);
    let run = volery.run("w").open();
    publish(&run, 1).await?;
    publish(&run, 2).await?;
    run.settled().await?;
    let mut feed = volery.feed();
    volery.dead_letter(1).await?.redrive_with(a(7, 11)).await?;
    volery.dead_letter(2).await?.redrive_with_json("A", r#"{"key": 7, "n": 12}"#).await?;
    let tally = run.settled().await?.tally;
    let mut found = on_board::<B>(&volery).await?;
    found.sort_by_key(|found| found.n);
    assert_eq!(found, [b(7, 11), b(7, 12)]);
    assert_eq!(other.all(), [a(7, 1), a(7, 2)], "nobody else is given the edited ones");
    assert_eq!((tally.dead, tally.consumed), (2, 4), "what was replaced stays dead");
    let page = volery.query().kind("A").newest_first().limit(1).await?;
    let edited = &page.artifacts[0];
    assert_eq!(
        (edited.run(), edited.producer(), edited.has_tag("urgent")),
        (run.id(), &Producer::External, true)
    );
    let old = volery.dead_letter(2).await?.artifacts()[0].clone();
    assert_eq!((edited.causes(), edited.partition()), ([old.id()].as_slice(), old.partition()));
    let events = drain(&mut feed).await;
    let told = |event: &&Event| matches!(event, Event::Published { artifact, .. } if artifact.offset() > Offset::START && artifact.kind().name() == "A");
    assert_eq!(events.iter().filter(told).count(), 2, "the feed tells of them");
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Redriven { .. })).count(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_does_not_fit_is_refused_and_the_letter_stays_open() -> Tested {
    let choosy = Agent::new("choosy")
        .consumes(one::<A>().filter(|a: &A| a.key == 0))
        .engine(|_: A, _: Context| async { Err::<(), Fault>("no".into()) });
    let volery = Volery::builder("t").agent(choosy).start().await?;
    volery.publish(a(0, 1)).await?;
    volery.until_idle().await?;
    let letter = volery.dead_letter(1).await?;
    for (what, redriving) in [
        ("another kind", letter.redrive_with(b(0, 1))),
        ("another kind for a place", letter.redrive().replace(0, b(0, 1))),
        ("JSON of another shape", letter.redrive_with_json("A", r#"{"key": "x"}"#)),
        ("no JSON", letter.redrive_with_json("A", "{")),
        ("no such input", letter.redrive().replace(1, a(0, 1))),
        ("twice the same input", letter.redrive().replace(0, a(0, 1)).replace(0, a(0, 2))),
        ("what the agent does not take", letter.redrive_with(a(1, 1))),
    ] {
        let error = redriving.await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::FixInput, "{what}: {error}");
    }
    assert_eq!(volery.dead_letter(1).await?.state, DeadState::Open);
    assert_eq!(on_board::<A>(&volery).await?.len(), 1, "nothing was published");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_input_of_several_can_be_replaced() -> Tested {
    let seen = Seen::new();
    let noting = seen.clone();
    let agent = Agent::new("pairs").consumes(all_of::<(A, B)>()).engine(move |(a, b): (A, B), _: Context| {
        noting.note((a, b));
        async move { if a.n == 0 { Err("nothing") } else { Ok(()) } }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("w").publish(a(0, 0)).await?;
    run.publish(b(0, 5)).await?;
    run.settled().await?;
    volery.dead_letter(1).await?.redrive().replace(0, a(0, 9)).await?;
    run.settled().await?;
    assert_eq!(seen.all(), [(a(0, 0), b(0, 5)), (a(0, 9), b(0, 5))]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn letters_are_listed_by_condition_and_page() -> Tested {
    let failing = |name: &'static str| {
        Agent::new(name)
            .consumes(one::<A>())
            .engine(|_: A, _: Context| async { Err::<(), Fault>("no".into()) })
    };
    let volery = Volery::builder("t").agents([failing("x"), failing("y")]).start().await?;
    let first = volery.run("w").publish(a(0, 1)).await?;
    first.settled().await?;
    let between = volery.dead_letter(2).await?.at.after(Duration::from_micros(1));
    tokio::time::advance(SECOND).await;
    let second = volery.run("w").publish(a(0, 2)).await?;
    second.settled().await?;
    volery.dead_letter(4).await?.discard("enough").await?;
    let all = || volery.dead_letters();
    for (what, letters, wanted) in [
        ("all", all(), vec![1, 2, 3, 4]),
        ("run", all().run(first.id()), vec![1, 2]),
        ("kind", all().kind("B"), vec![]),
        ("since", all().since(between), vec![3, 4]),
        ("until", all().until(between), vec![1, 2]),
        ("open", all().only_open(), vec![1, 2, 3]),
        ("page", all().after(1).limit(2), vec![2, 3]),
    ] {
        assert_eq!(numbers(letters).await?, wanted, "{what}");
    }
    assert_eq!(numbers(all().agent("x")).await?.len(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn many_letters_are_driven_again_at_a_rate_and_each_once() -> Tested {
    let (mended, seen) = (std::sync::Arc::default(), Seen::new());
    let volery = Volery::builder("t").agent(stubborn(&mended, &seen)).start().await?;
    volery.publish_all((0..250).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    volery.until_idle().await?;
    volery.dead_letter(3).await?.discard("not this one").await?;
    let watch = Stopwatch::start();
    // Not mended yet: every job fails again, and is not driven in a circle.
    let report = soon(volery.dead_letters().agent("stubborn").redrive().per_second(10).into_future()).await?;
    assert_eq!((report.redriven, report.refused), (249, 0), "{report}");
    let (least, most) = (Duration::from_millis(24_700), Duration::from_millis(25_200));
    assert!((least..most).contains(&watch.elapsed()), "{:?}", watch.elapsed());
    volery.until_idle().await?;
    assert_eq!(volery.dead_letters().only_open().await?.len(), 249, "as many new ones");
    mended.store(true, std::sync::atomic::Ordering::Release);
    let report = volery.redrive(DeadFilter::all()).await?;
    volery.until_idle().await?;
    assert_eq!((report.redriven, volery.dead_letters().only_open().await?.len()), (249, 0));
    assert_eq!(volery.agents().await?[0].tally.consumed, 249);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_bulk_redrive_keeps_to_the_window_of_its_agent() -> Tested {
    let (mended, seen) = (std::sync::Arc::default(), Seen::new());
    let volery = Volery::builder("t")
        .agent(stubborn(&mended, &seen))
        .configure(|settings| settings.jobs_in_memory_max = 5)
        .start()
        .await?;
    volery.publish_all((0..60).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    soon(volery.until_idle()).await?;
    mended.store(true, std::sync::atomic::Ordering::Release);
    volery.pause("stubborn")?;
    let mut bulk = volery.redrive(DeadFilter::all()).into_future();
    for _ in 0..20 {
        assert!(is_pending(&mut bulk).await, "it waits for the agent");
    }
    let waiting = volery.agents().await?[0].queued;
    assert_eq!(waiting, 5, "as many as may be in memory, and no more");
    volery.resume("stubborn")?;
    let report = soon(bulk).await?;
    soon(volery.until_idle()).await?;
    assert_eq!((report.redriven, volery.agents().await?[0].tally.consumed), (60, 60), "{report}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_bulk_redrive_that_is_dropped_stops_and_the_next_goes_on() -> Tested {
    let (mended, seen) = (std::sync::Arc::default(), Seen::new());
    let volery = Volery::builder("t").agent(stubborn(&mended, &seen)).start().await?;
    volery.publish_all((0..5).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    volery.until_idle().await?;
    mended.store(true, std::sync::atomic::Ordering::Release);
    let mut bulk = volery.redrive(DeadFilter::all()).per_second(1).into_future();
    assert!(is_pending(&mut bulk).await, "it asks for room");
    assert!(is_pending(&mut bulk).await, "it waits for the next second");
    drop(bulk);
    tokio::time::advance(10 * SECOND).await;
    volery.until_idle().await?;
    assert_eq!(
        volery.dead_letters().only_open().await?.len(),
        4,
        "one was driven, nothing goes on behind it"
    );
    assert_eq!(volery.redrive(DeadFilter::all()).await?.redriven, 4);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn pairs_of_an_every_pair_join_are_counted_as_refused() -> Tested {
    let pairs = join(by(|a: &A| a.key), by(|b: &B| b.key)).within(SECOND).every_pair();
    let agent = Agent::new("pairs")
        .consumes(pairs)
        .engine(|_: (A, B), _: Context| async { Err::<(), Fault>("no".into()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(1, 1)).await?;
    volery.publish(b(1, 1)).await?;
    soon(async {
        while volery.dead_letters().await?.is_empty() {
            tokio::task::yield_now().await;
        }
        Ok::<_, volery::Error>(())
    })
    .await?;
    let report = volery.redrive(DeadFilter::all()).await?;
    assert_eq!((report.redriven, report.refused), (0, 1), "{report}");
    let (number, error) = report.first_refusal.expect("it says which");
    assert_eq!((number, error.kind()), (1, ErrorKind::FixInput), "{error}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_redriven_letter_survives_the_curators_death() -> Tested {
    let (mended, seen) = (std::sync::Arc::default(), Seen::new());
    let volery = Volery::builder("t").agent(stubborn(&mended, &seen)).start().await?;
    let run = volery.run("w").publish(a(0, 1)).await?;
    run.settled().await?;
    volery.pause("stubborn")?;
    volery.dead_letter(1).await?.redrive().await?;
    volery.kill("curator").await?;
    mended.store(true, std::sync::atomic::Ordering::Release);
    volery.resume("stubborn")?;
    let tally = soon(run.settled()).await?.tally;
    assert_eq!((tally.matched, tally.consumed, tally.dead), (1, 1, 0));
    Ok(())
}

/// Time is not paused here: the store has threads of its own.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn letters_in_a_file_are_driven_again_edited_and_given_up() -> Tested {
    let agent = Agent::new("picky").consumes(one::<A>()).engine(|input: A, _: Context| async move {
        if input.n < 10 { Err(format!("{} is too little", input.n)) } else { Ok(Publish(b(0, input.n))) }
    });
    let volery = Volery::builder("t").store(store("decided")?).agent(agent).start().await?;
    let run = volery.run("w").open();
    run.publish_all(vec![a(0, 1), a(0, 2), a(0, 3)]).await?;
    soon(run.settled()).await?;
    let of = async |n: u32| -> volery::Result<volery::letters::Letter> {
        for number in 1..=3 {
            let letter = volery.dead_letter(number).await?;
            if letter.artifacts()[0].payload::<A>()?.n == n {
                return Ok(letter);
            }
        }
        panic!("no letter is about {n}")
    };
    let (first, second, third) = (of(1).await?, of(2).await?, of(3).await?);
    assert_eq!(first.subscription, "picky/0");
    first.redrive().await?;
    second.redrive_with(a(0, 20)).await?;
    third.discard("known").await?;
    let tally = soon(run.settled()).await?.tally;
    assert_eq!(on_board::<B>(&volery).await?, [b(0, 20)]);
    assert_eq!((tally.matched, tally.consumed, tally.dead), (4, 1, 3));
    let error = second.redrive().await.expect_err("it was driven again");
    assert!(error.to_string().contains("driven again already"), "{error}");
    let open = volery.dead_letters().only_open().await?;
    assert_eq!((open.len(), open[0].job), (1, first.job), "the first one failed again");
    volery.shutdown().await?;
    Ok(())
}
