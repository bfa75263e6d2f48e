//! Failures: panics, retries, dead letters, failure artifacts, and what is left undisturbed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use volery::artifact::{Discard, Producer};
use volery::prelude::*;
use volery::report::RunningState;
use volery::runtime::Clock;
use volery::supervision::Intensity;
use volery::testing::{FailingStore, Probe, Script, Test};
use volery::{Engine, ErrorKind, Failure, Fault, Outcome, Timestamp};

use crate::support::{
    A, B, Gate, SECOND, Seen, Tested, a, b, on_board, outcome, soon, status_of, tally, turns,
};

/// Fails the first `failures` attempts of every job; notes attempts and times.
fn failing(failures: u32, seen: &Seen<(u32, Timestamp)>) -> impl Engine<A, Output = ()> + use<> {
    let seen = seen.clone();
    move |_: A, ctx: Context| {
        seen.note((ctx.attempt(), ctx.now()));
        async move { if ctx.attempt() <= failures { Err("not yet") } else { Ok(()) } }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_engine_kills_its_job_and_the_others_go_on() -> Tested {
    let seen = Seen::new();
    let shaky = Agent::new("shaky").consumes(one::<A>()).concurrency(1).engine({
        let seen = seen.clone();
        move |input: A, _| {
            let seen = seen.clone();
            async move {
                assert_ne!(input.n, 2, "two is too much");
                seen.note(input);
                Ok::<_, Fault>(())
            }
        }
    });
    let steady = Agent::new("steady").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agents([shaky, steady]).start().await?;
    volery.publish_all(vec![a(0, 1), a(0, 2), a(0, 3)]).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [a(0, 1), a(0, 3)]);
    let shaky = tally(&volery, "shaky").await?;
    assert_eq!((shaky.consumed, shaky.dead), (2, 1));
    assert_eq!(tally(&volery, "steady").await?.consumed, 3);
    let letters = volery.dead_letters().await?;
    assert!(letters[0].error[0].contains("two is too much"), "{:?}", letters[0].error);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_blocking_engine_runs_and_its_panic_kills_the_job() -> Tested {
    let agent = Agent::new("blocking").consumes(one::<A>()).engine(on_thread(|input: A, _| {
        assert_ne!(input.n, 2, "two is too much");
        Ok::<_, Fault>(Publish(b(0, input.n)))
    }));
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    volery.until_idle().await?;
    assert_eq!(on_board::<B>(&volery).await?, [b(0, 1)]);
    let letters = volery.dead_letters().await?;
    assert!(letters[0].error[0].contains("two is too much"), "{:?}", letters[0].error);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_blocking_call_that_outlives_its_attempt_keeps_its_slot() -> Tested {
    let (seen, gate) = (Seen::new(), Gate::new());
    let (open, dam) = std::sync::mpsc::channel::<()>();
    let dam = std::sync::Mutex::new(dam);
    let agent = Agent::new("blocking").consumes(one::<A>()).concurrency(1).engine(on_thread({
        let (seen, gate) = (seen.clone(), gate.clone());
        move |input: A, _| {
            seen.note(input.n);
            // Tells that it is here.
            tokio::runtime::Handle::current().block_on(gate.pass());
            if input.n == 1 {
                let over = dam.lock().map(|dam| dam.recv().is_err());
                assert_eq!(over.ok(), Some(true), "nothing is ever sent");
            }
            Ok::<_, Fault>(())
        }
    }));
    gate.open_for_good();
    let volery = Volery::builder("t").agent(agent).start().await?;
    let first = volery.run("first").publish(a(0, 1)).await?;
    gate.reached().await;
    let second = volery.run("second").publish(a(0, 2)).await?;
    first.cancel();
    assert_eq!(soon(first.settled()).await?.tally.cancelled, 1, "its attempt has ended");
    while volery.running().await?.is_empty() {
        tokio::task::yield_now().await;
    }
    turns().await;
    for _ in 0..10 {
        // Called after whatever was given to the blocking pool before.
        assert!(tokio::task::spawn_blocking(|| ()).await.is_ok());
    }
    assert_eq!(seen.all(), [1], "the call goes on and has the only slot");
    drop(open);
    assert_eq!(soon(second.settled()).await?.tally.consumed, 1);
    assert_eq!(seen.all(), [1, 2]);
    Ok(())
}

/// Remembers how many jobs it saw.
struct Counting {
    jobs: AtomicU32,
    seen: Seen<u32>,
}

impl Engine<A> for Counting {
    type Output = ();

    async fn run(&self, input: A, _: Context) -> Result<(), Fault> {
        self.seen.note(self.jobs.fetch_add(1, Ordering::Relaxed));
        assert_ne!(input.n, 1, "panics with its state half-updated");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_panicked_is_made_anew_before_the_next_job_sees_it() -> Tested {
    let (made, seen) = (Arc::new(AtomicU32::new(0)), Seen::new());
    let agent = Agent::new("stateful").consumes(one::<A>()).concurrency(1).engine_with({
        let (made, seen) = (Arc::clone(&made), seen.clone());
        move || {
            made.fetch_add(1, Ordering::Relaxed);
            Counting { jobs: AtomicU32::new(0), seen: seen.clone() }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(0, 0), a(0, 1), a(0, 2), a(0, 3)]).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [0, 1, 0, 1], "state is kept between jobs, and lost with a panic");
    assert_eq!(made.load(Ordering::Relaxed), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_panic_runs_on_a_new_engine() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("stateful")
        .consumes(one::<A>())
        .concurrency(1)
        .retry(Retry::fixed(2, SECOND))
        .engine_with({
            let seen = seen.clone();
            move || Counting { jobs: AtomicU32::new(0), seen: seen.clone() }
        });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(0, 0), a(0, 1)]).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [0, 1, 0]);
    Ok(())
}

/// Breaks with a panic at the first attempt of every job, and tells whether it is used afterwards.
struct Brittle {
    broken: AtomicBool,
    used_broken: Arc<AtomicU32>,
}

impl Engine<A> for Brittle {
    type Output = ();

    async fn run(&self, _: A, ctx: Context) -> Result<(), Fault> {
        if self.broken.load(Ordering::Acquire) {
            self.used_broken.fetch_add(1, Ordering::AcqRel);
        }
        if ctx.attempt() == 1 {
            self.broken.store(true, Ordering::Release);
            panic!("breaks");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_attempt_ever_sees_an_engine_that_has_panicked() -> Tested {
    let used_broken = Arc::new(AtomicU32::new(0));
    let agent = Agent::new("brittle")
        .intensity(Intensity { restarts: 1_000, within: SECOND })
        .consumes(one::<A>())
        .concurrency(1)
        .retry(Retry::fixed(2, std::time::Duration::ZERO))
        .engine_with({
            let used_broken = Arc::clone(&used_broken);
            move || Brittle { broken: AtomicBool::new(false), used_broken: Arc::clone(&used_broken) }
        });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((0..200).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    volery.until_idle().await?;
    assert_eq!(tally(&volery, "brittle").await?.consumed, 200);
    assert_eq!(used_broken.load(Ordering::Acquire), 0);
    Ok(())
}

/// Panics at the first job it is given, and once more when it is dropped after that.
struct Thorny {
    broken: AtomicBool,
}

impl Engine<A> for Thorny {
    type Output = ();

    async fn run(&self, input: A, _: Context) -> Result<(), Fault> {
        self.broken.store(input.n == 1, Ordering::Release);
        assert_ne!(input.n, 1, "breaks");
        Ok(())
    }
}

impl Drop for Thorny {
    fn drop(&mut self) {
        assert!(!self.broken.load(Ordering::Acquire), "and cannot be dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_panics_when_it_is_dropped_does_not_harm_the_next_job() -> Tested {
    let agent = Agent::new("thorny")
        .consumes(one::<A>())
        .concurrency(1)
        .engine_with(|| Thorny { broken: AtomicBool::new(false) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(0, 1), a(0, 2), a(0, 3)]).await?;
    volery.until_idle().await?;
    let status = status_of(&volery, "thorny").await?;
    assert_eq!((status.tally.dead, status.tally.consumed, status.restarts), (1, 2, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panicking_predicate_discards_with_its_reason_and_the_publisher_is_not_disturbed() -> Tested {
    let seen = Seen::new();
    let picky = Agent::new("picky")
        .consumes(one::<A>().filter(|a| {
            assert_ne!(a.n, 1, "cannot judge one");
            true
        }))
        .engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let other = Agent::new("other").consumes(one::<A>()).engine(seen.engine());
    let volery = Volery::builder("t").agents([picky, other]).start().await?;
    let mut feed = volery.feed();
    volery.publish(a(0, 1)).await?;
    let Outcome::Discarded(Discard::ClosurePanicked(text)) = outcome(&mut feed).await.1 else {
        panic!("the panic is the reason")
    };
    assert!(text.contains("cannot judge one"), "{text}");
    volery.publish(a(0, 2)).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [a(0, 1), a(0, 2)]);
    let picky = tally(&volery, "picky").await?;
    assert_eq!((picky.discarded, picky.consumed), (1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panicking_key_discards_with_its_reason() -> Tested {
    let shape = join(by(|a: &A| 10_u32.checked_div(a.key).expect("no key 0")), by(|b: &B| b.key));
    let agent = Agent::new("keys").consumes(shape).engine(|_: (A, B), _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    volery.publish(a(0, 1)).await?;
    let (_, how) = outcome(&mut feed).await;
    assert!(
        matches!(&how, Outcome::Discarded(Discard::ClosurePanicked(text)) if text.contains("no key 0")),
        "{how:?}"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failing_job_is_tried_again_after_its_back_off() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("again")
        .consumes(one::<A>())
        .retry(Retry::exponential(4, SECOND).jitter(0.0))
        .engine(failing(2, &seen));
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("retry").publish(a(0, 1)).await?;
    let report = run.settled().await?;
    assert_eq!((report.tally.consumed, report.tally.dead), (1, 0));
    let (attempts, times): (Vec<u32>, Vec<Timestamp>) = seen.all().into_iter().unzip();
    assert_eq!(attempts, [1, 2, 3]);
    assert!(times[1].since(times[0]) >= SECOND && times[2].since(times[1]) >= 2 * SECOND, "{times:?}");
    assert!(volery.dead_letters().await?.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_dies_when_its_attempts_are_used_up() -> Tested {
    let engine = Script::<()>::new().fails("not yet").repeats();
    let agent =
        Agent::new("again").consumes(one::<A>()).retry(Retry::fixed(3, SECOND)).engine(engine.clone());
    let test = Test::new().agent(agent).start().await?;
    let run = test.run("retry").publish(a(0, 1)).await?;
    test.expect(&run).dead(1).await;
    assert_eq!(engine.calls(), 3);
    assert_eq!(test.expect_dead_letter("again").await.attempts, 3);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn errors_that_are_not_worth_it_are_not_tried_again() -> Tested {
    let seen = Seen::new();
    let retry = Retry::fixed(3, SECOND).only_if(|error| error.to_string().contains("busy"));
    let agent = Agent::new("picky").consumes(one::<A>()).retry(retry).engine({
        let seen = seen.clone();
        move |input: A, ctx: Context| {
            seen.note((input.n, ctx.attempt()));
            async move { Err::<(), _>(if input.n == 1 { "busy" } else { "bad input" }) }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all(vec![a(0, 1), a(0, 2)]).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(1, 1), (2, 1), (1, 2), (1, 3)]);
    Ok(())
}

/// An error with a cause.
#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the order cannot be read")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_job_is_a_dead_letter_and_a_failure_artifact_with_the_whole_chain_of_causes() -> Tested {
    let heard = Seen::new();
    let reader = Agent::new("reader")
        .consumes(one::<A>())
        .engine(|_: A, _| async { "x".parse::<u32>().map(drop).map_err(Outer) });
    let nurse = Agent::new("nurse").consumes(one::<Failure>()).engine(heard.engine());
    let volery = Volery::builder("t").agents([reader, nurse]).start().await?;
    let run = volery.run("fails").open();
    let input = run.publish(a(0, 1)).await?;
    let report = run.settled().await?;

    assert_eq!((report.tally.dead, report.tally.consumed), (1, 1), "the failure was consumed");
    let chain = ["the order cannot be read", "invalid digit found in string"];
    let letters = volery.dead_letters().await?;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].agent.as_str(), &*letters[0].error), ("reader", &chain.map(str::to_owned)[..]));
    assert_eq!(letters[0].inputs, [input.offset]);
    let failure = &heard.all()[0];
    assert_eq!(
        (&*failure.agent, failure.attempts, &*failure.error),
        ("reader", 1, &chain.map(str::to_owned)[..])
    );
    assert_eq!(failure.inputs, [input.id.to_string()]);
    assert_eq!(failure.job, letters[0].job.to_string());
    let page = volery.artifacts(&Filter::all().run(run.id()).producer(Producer::Runtime)).await?;
    assert_eq!(page.artifacts[0].causes(), [input.id], "it belongs to the run and knows its cause");
    Ok(())
}

#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("even its text panics")
    }
}

impl std::error::Error for Unspeakable {}

#[tokio::test(start_paused = true)]
async fn an_error_whose_text_panics_kills_its_job_like_any_other() -> Tested {
    let agent = Agent::new("any").consumes(one::<A>()).engine(|_: A, _| async { Err::<(), _>(Unspeakable) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("unspeakable").publish(a(0, 0)).await?;
    assert_eq!(soon(run.settled()).await?.tally.dead, 1);
    let letters = volery.dead_letters().limit(9).await?;
    assert!(letters[0].error[0].contains("even its text panics"), "{:?}", letters[0].error);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failing_failure_handler_ends() -> Tested {
    let fails = |text| Script::<()>::new().fails(text).repeats();
    let worker = Agent::new("worker").consumes(one::<A>()).engine(fails("first"));
    let nurse = Agent::new("nurse").consumes(one::<Failure>()).engine(fails("second"));
    let test = Test::new().agents([worker, nurse]).start().await?;
    let run = test.run("fails").publish(a(0, 1)).await?;
    test.expect(&run).dead(2).await;
    assert_eq!(test.expect_published::<Failure>().await.len(), 1, "no failure of a failure");
    let letters = test.dead_letters().await?;
    assert_eq!(letters.iter().map(|letter| letter.agent.as_str()).collect::<Vec<_>>(), ["worker", "nurse"]);
    assert_eq!(test.dead_letters().after(letters[0].number).await?, letters[1..], "the list has pages");
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_failed_job_is_published() -> Tested {
    mod impostor {
        /// Another type with the kind name of [`crate::support::B`].
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub(super) struct B;
    }
    let agent = Agent::new("half").consumes(one::<A>()).engine(|_: A, _| async {
        // The second output cannot be published: its kind's name belongs to another type.
        Ok::<_, Fault>(Outputs::none().with(b(0, 1)).with(impostor::B))
    });
    let reader = Agent::new("reader").consumes(one::<B>()).engine(|_: B, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agents([agent, reader]).start().await?;
    let run = volery.run("half").publish(a(0, 1)).await?;
    assert_eq!(run.settled().await?.tally.dead, 1);
    assert!(run.artifacts::<B>().await?.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_refuses_publishers_and_loses_nothing() -> Tested {
    let store = FailingStore::over(Memory::new());
    let (agent, probe) = Probe::<A>::agent("any");
    let test = Test::new().agent(agent).store(store.clone()).start().await?;
    store.refuse_writes();
    let refused = test.publish(a(0, 1)).await.expect_err("the store is down");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    store.accept_writes();
    test.publish(a(0, 2)).await?;
    test.expect_agent("any").consumed(1).await;
    assert_eq!(probe.received(), [a(0, 2)]);
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ends_while_the_store_is_down_runs_again() -> Tested {
    let (store, gate) = (FailingStore::over(Memory::new()), Gate::new());
    let engine = Script::new().waits_for(&gate).returns(Publish(b(0, 0))).repeats();
    let agent = Agent::new("any").consumes(one::<A>()).engine(engine.clone());
    let test = Test::new().agent(agent).store(store.clone()).start().await?;
    let run = test.run("down").publish(a(0, 1)).await?;
    gate.reached().await;
    store.refuse_writes();
    gate.open_for_good();
    test.advance(60 * SECOND).await;
    assert!(run.artifacts::<B>().await?.is_empty(), "its end could not be written");
    store.accept_writes();
    test.expect(&run).consumed(1).await;
    assert_eq!(engine.calls(), 2, "at least once");
    assert_eq!(run.artifacts::<B>().await?, [b(0, 0)], "its effect stands once");
    test.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn time_is_the_clocks() {
    // The helper above reads times from the context; this shows that they are the runtime's.
    let at = Timestamp::from_millis_since_epoch(1_000);
    let seen = Seen::new();
    let agent = Agent::new("when").consumes(one::<A>()).engine(failing(0, &seen));
    let started = Volery::builder("t").agent(agent).clock(Clock::fixed(at, 7)).start().await;
    let volery = started.expect("the definition is in order");
    volery.publish(a(0, 1)).await.expect("the store is up");
    volery.until_idle().await.expect("it runs");
    assert_eq!(seen.all(), [(1, at)]);
}

/// An agent whose jobs fail three times, with a fallback.
fn falling_back<E: Engine<(A, volery::agent::GaveUp)>>(
    attempts: &Seen<(u32, Timestamp)>,
    fallback: E,
) -> Agent {
    Agent::new("careful")
        .consumes(one::<A>())
        .retry(Retry::fixed(2, SECOND))
        .fallback(fallback)
        .engine(failing(9, attempts))
}

#[tokio::test(start_paused = true)]
async fn a_fallback_runs_once_when_attempts_are_used_up_and_its_outputs_end_the_job() -> Tested {
    let (attempts, told) = (Seen::new(), Seen::new());
    let noting = told.clone();
    let agent = falling_back(&attempts, move |(input, gave_up): (A, volery::agent::GaveUp), ctx: Context| {
        noting.note((gave_up.to_string(), ctx.attempt()));
        async move { Ok::<_, Fault>(Publish(b(input.key, input.n))) }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("w").publish(a(3, 4)).await?;
    let report = run.settled().await?;
    assert_eq!((report.tally.consumed, report.tally.dead), (1, 0));
    assert_eq!(attempts.all().len(), 2);
    assert_eq!(told.all(), [("gave up after 2 attempts: not yet".to_owned(), 2)]);
    assert_eq!(on_board::<B>(&volery).await?, [b(3, 4)]);
    assert!(volery.dead_letters().await?.is_empty() && on_board::<Failure>(&volery).await?.is_empty());
    let page = volery.query().kind("B").await?;
    assert_eq!(
        page.artifacts[0].producer(),
        &Producer::Agent("careful".into()),
        "with the lineage of an output"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_fails_or_panics_gives_the_job_up_with_both_errors() -> Tested {
    for (n, wanted) in
        [(0, "the fallback failed as well: no luck"), (1, "the fallback failed as well: it panicked: boom")]
    {
        let agent =
            falling_back(&Seen::new(), |(input, _): (A, volery::agent::GaveUp), _: Context| async move {
                assert_eq!(input.n, 0, "boom");
                Err::<(), Fault>("no luck".into())
            });
        let volery = Volery::builder("t").agent(agent).start().await?;
        volery.publish(a(0, n)).await?;
        volery.until_idle().await?;
        let letter = volery.dead_letter(1).await?;
        assert!(letter.error[0].starts_with("the fallback failed as well: "), "{:?}", letter.error);
        assert!(
            letter.error[0].contains(wanted.rsplit(": ").next().unwrap_or_default()),
            "{:?}",
            letter.error
        );
        assert_eq!((letter.error[1].as_str(), letter.attempts), ("not yet", 2));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fallback_follows_a_time_out_and_is_cancelled_with_its_run() -> Tested {
    let gate = Gate::new();
    let entered = gate.clone();
    let agent = Agent::new("slow")
        .consumes(one::<A>())
        .timeout(SECOND)
        .fallback(move |(input, _): (A, volery::agent::GaveUp), ctx: Context| {
            let gate = entered.clone();
            async move {
                assert!(!ctx.is_cancelled(), "its time is its own");
                if input.n == 1 {
                    ctx.progress_on("making up for it");
                    gate.pass().await;
                }
                Ok::<_, Fault>(Publish(b(0, input.n)))
            }
        })
        .engine(|_: A, _: Context| std::future::pending::<Result<(), Fault>>());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(0, 0)).await?;
    soon(volery.until_idle()).await?;
    assert_eq!(on_board::<B>(&volery).await?, [b(0, 0)]);
    let run = volery.run("w").publish(a(0, 1)).await?;
    gate.reached().await;
    let running = volery.running().await?;
    let [job] = &running[..] else { panic!("one runs: {running:?}") };
    assert_eq!(job.note.as_deref(), Some("making up for it"));
    assert_eq!(job.state, RunningState::Running, "only the engine's time is over");
    run.cancel();
    let tally = soon(run.settled()).await?.tally;
    assert_eq!((tally.cancelled, tally.consumed), (1, 0));
    assert_eq!(on_board::<B>(&volery).await?.len(), 1);
    Ok(())
}
