//! The clocks of attempts and runs: time in all, time without progress, the wait for a slot, the deadline of
//! a run.

use std::future::pending;
use std::time::Duration;

use volery::agent::{TimedOut, TimeoutKind};
use volery::feed::Event;
use volery::prelude::*;
use volery::report::RunningState;
use volery::supervision::LifeEvent;
use volery::{Fault, Outcome};

use crate::support::{
    A, B, Dropped, Gate, SECOND, Seen, Stopwatch, Tested, a, b, event, on_board, retrying, soon,
};

/// An engine that never ends and says at first what it is at.
async fn stuck(ctx: Context, what: Option<&'static str>) -> Result<(), Fault> {
    if let Some(what) = what {
        ctx.progress_on(what);
    }
    pending().await
}

/// The error of the only dead letter.
async fn error(volery: &Volery) -> volery::Result<String> {
    let letters = volery.dead_letters().await?;
    assert_eq!(letters.len(), 1, "{letters:?}");
    Ok(letters[0].error.join(": "))
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_fails_and_says_what_it_was_at() -> Tested {
    let dropped = Dropped::default();
    let agent = Agent::new("slow").timeout(3 * SECOND).consumes(one::<A>()).engine({
        let dropped = dropped.clone();
        move |_: A, ctx: Context| {
            let guard = dropped.guard();
            async move {
                tokio::time::sleep(SECOND).await;
                let _guard = guard;
                stuck(ctx, Some("calling the model")).await
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let watch = Stopwatch::start();
    let run = volery.run("slow").publish(a(0, 0)).await?;
    assert_eq!(soon(run.settled()).await?.tally.dead, 1);
    assert_eq!(watch.elapsed().as_secs(), 3);
    assert!(dropped.is_true());
    assert_eq!(error(&volery).await?, "timed out after 3s, at: calling the model for 2s");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_tried_again_as_the_retry_policy_says_and_can_be_told_from_other_errors() -> Tested {
    let seen = Seen::new();
    let kinds = seen.clone();
    let retry = Retry::fixed(3, SECOND).only_if(move |error: &Fault| {
        let timed_out = error.downcast_ref::<TimedOut>();
        kinds.note(timed_out.map(|error| (error.kind(), error.elapsed(), error.waiting_for().is_some())));
        timed_out.is_some()
    });
    let agent = Agent::new("slow").retry(retry).timeout(3 * SECOND).consumes(one::<A>()).engine(
        |_: A, ctx: Context| async move {
            match ctx.attempt() {
                1 => stuck(ctx, None).await,
                _ => Err(Fault::from("another error")),
            }
        },
    );
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(0, 0)).await?;
    soon(volery.until_idle()).await?;
    assert_eq!(seen.all(), [Some((TimeoutKind::Attempt, 3 * SECOND, false)), None]);
    assert_eq!(error(&volery).await?, "another error");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn progress_holds_the_idle_clock_back_and_its_absence_does_not() -> Tested {
    let agent = Agent::new("idle").idle_timeout(3 * SECOND).consumes(one::<A>()).engine(
        |input: A, ctx: Context| async move {
            for step in 0..10 {
                tokio::time::sleep(2 * SECOND).await;
                if step < input.n {
                    ctx.progress();
                }
            }
            Ok::<_, Fault>(Publish(b(0, input.n)))
        },
    );
    let volery = Volery::builder("t").agent(agent).start().await?;
    let watch = Stopwatch::start();
    let lively = volery.run("lively").publish(a(0, 10)).await?;
    let tired = volery.run("tired").publish(a(0, 4)).await?;
    assert_eq!(soon(tired.settled()).await?.tally.dead, 1);
    assert_eq!(watch.elapsed().as_secs(), 4 * 2 + 3, "counted from the last progress");
    assert_eq!(soon(lively.settled()).await?.tally.consumed, 1);
    assert_eq!(on_board::<B>(&volery).await?, [b(0, 10)]);
    assert_eq!(error(&volery).await?, "timed out after 3s without progress");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_timed_out_engine_is_told_has_its_grace_and_fails_whatever_it_returns() -> Tested {
    let seen = Seen::new();
    let agent =
        Agent::new("tidy").timeout(3 * SECOND).cancel_grace(10 * SECOND).consumes(one::<A>()).engine({
            let seen = seen.clone();
            move |input: A, ctx: Context| {
                let seen = seen.clone();
                async move {
                    ctx.cancelled().await;
                    tokio::time::sleep(u64_seconds(input.n)).await;
                    seen.note(input.n);
                    Ok::<_, Fault>(Publish(b(0, input.n)))
                }
            }
        });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let watch = Stopwatch::start();
    volery.publish_all(vec![a(0, 2), a(0, 20)]).await?;
    tokio::time::sleep(10 * SECOND).await;
    let running = volery.running().await?;
    let since = running[0].since.after(3 * SECOND);
    assert_eq!((running.len(), running[0].state), (1, RunningState::Cancelling { since }));
    soon(volery.until_idle()).await?;
    assert_eq!(watch.elapsed().as_secs(), 13, "the second was dropped at the end of its grace");
    assert_eq!(seen.all(), [2], "the first ended by itself");
    assert!(on_board::<B>(&volery).await?.is_empty());
    let letters = volery.dead_letters().await?;
    assert!(letters.iter().all(|letter| letter.error[0] == "timed out after 3s"), "{letters:?}");
    assert_eq!(letters.len(), 2);
    Ok(())
}

fn u64_seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// An agent with one slot, whose jobs wait 3 s for it, and whose engine waits at a gate.
fn busy(gate: &Gate) -> Agent {
    let gate = gate.clone();
    Agent::new("busy").consumes(one::<A>()).concurrency(1).queue_timeout(3 * SECOND).engine(move |_: A, _| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Fault>(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_too_long_for_a_slot_is_a_dead_letter_and_a_failure_that_names_who_had_it() -> Tested
{
    let (gate, heard) = (Gate::new(), Seen::new());
    let nurse = Agent::new("nurse").consumes(one::<Failure>()).engine(heard.engine());
    let volery = Volery::builder("t").agents([busy(&gate), nurse]).start().await?;
    let mut feed = volery.feed();
    let blocker = volery.run("blocker").publish(a(0, 1)).await?;
    gate.reached().await;
    let job = volery.running().await?[0].job;
    let run = volery.run("late").open();
    let input = run.publish(a(0, 2)).await?;
    let report = soon(run.settled()).await?;
    assert_eq!((report.tally.dead, report.tally.consumed), (1, 1), "the failure was consumed");
    let text = format!("waited 3s for a slot of agent busy, 1 of 1 taken by {job}");
    assert_eq!(error(&volery).await?, text);
    let letter = &volery.dead_letters().limit(1).await?[0];
    assert_eq!((letter.attempts, &*letter.inputs), (0, &[input.offset][..]));
    let failure = &heard.all()[0];
    assert_eq!((&*failure.error, failure.attempts, &*failure.agent), (&[text][..], 0, "busy"));
    assert_eq!(failure.inputs, [input.id.to_string()]);
    event(&mut feed, |event| matches!(event, Event::Dead { .. }).then_some(())).await;
    gate.open(1);
    assert_eq!(soon(blocker.settled()).await?.tally.consumed, 1, "the one that ran is not disturbed");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn back_off_is_not_waiting_for_a_slot() -> Tested {
    let agent = Agent::new("again")
        .retry(Retry::fixed(2, 60 * SECOND))
        .queue_timeout(3 * SECOND)
        .consumes(one::<A>())
        .engine(|_: A, ctx: Context| async move { if ctx.attempt() == 1 { Err("not yet") } else { Ok(()) } });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("again").publish(a(0, 1)).await?;
    assert_eq!(soon(run.settled()).await?.tally.consumed, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_paused_agent_does_not_let_the_queue_clock_run() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(busy(&gate)).start().await?;
    volery.pause("busy")?;
    let run = volery.run("patient").publish(a(0, 1)).await?;
    tokio::time::sleep(60 * SECOND).await;
    volery.resume("busy")?;
    gate.open(1);
    assert_eq!(soon(run.settled()).await?.tally.consumed, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn limits_that_are_too_short_are_refused_naming_the_agent_and_the_limit() -> Tested {
    let draft = || Agent::new("hasty").consumes(one::<A>());
    let short = Duration::from_micros(999);
    let trial = volery::agent::PastIntensity::Quarantine { resume_after: Some(short) };
    for (draft, limit) in [
        (draft().timeout(short), "timeout"),
        (draft().idle_timeout(Duration::ZERO), "idle_timeout"),
        (draft().queue_timeout(short), "queue_timeout"),
        (draft().intensity(volery::supervision::Intensity { restarts: 1, within: Duration::ZERO }), "window"),
        (draft().past_intensity(trial), "resume_after"),
    ] {
        let agent = draft.engine(|_: A, _| async { Ok::<_, Fault>(()) });
        let refused = Volery::builder("t").agent(agent).start().await.expect_err("it is too short");
        assert_eq!(refused.kind(), ErrorKind::FixInput);
        let text = refused.to_string();
        assert!(text.starts_with(limit) && text.contains("`hasty`") && text.contains("1 ms"), "{text}");
    }
    Ok(())
}

/// A job that runs for ever, one that is done, and one that backs off for ever.
fn workers() -> [Agent; 1] {
    [Agent::new("any").retry(Retry::fixed(2, 3_600 * SECOND)).consumes(one::<A>()).engine(
        |input: A, _| async move {
            match input.n {
                0 => Ok(()),
                1 => Err(Fault::from("later")),
                _ => pending().await,
            }
        },
    )]
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_at_its_deadline_and_its_report_says_so() -> Tested {
    let volery = Volery::builder("t").agents(workers()).start().await?;
    let mut feed = volery.feed();
    let watch = Stopwatch::start();
    let run = volery.run("long").deadline(10 * SECOND).open();
    let other = volery.run("other").publish(a(0, 2)).await?;
    run.publish_all(vec![a(0, 0), a(0, 1), a(0, 2)]).await?;
    let report = soon(run.settled()).await?;
    assert_eq!(watch.elapsed().as_secs(), 10);
    assert!(report.timed_out && report.is_complete());
    assert_eq!((report.tally.consumed, report.tally.cancelled), (1, 2), "what had finished stays");
    assert!(report.to_string().ends_with(", timed out"), "{report}");
    let told = event(&mut feed, |event| match event {
        Event::RunTimedOut { run, workflow } => Some((*run, workflow.to_string())),
        _ => None,
    });
    assert_eq!(told.await, (run.id(), "long".to_owned()));
    run.publish(a(0, 0)).await?;
    assert_eq!(soon(run.settled()).await?.tally.cancelled, 3, "its time is over");
    assert_eq!(other.tally().await?.outstanding(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_in_time_has_not_timed_out() -> Tested {
    let volery = Volery::builder("t").agents(workers()).start().await?;
    let run = volery.run("quick").deadline(10 * SECOND).publish(a(0, 0)).await?;
    assert!(!soon(run.settled()).await?.timed_out);
    tokio::time::sleep(20 * SECOND).await;
    let report = soon(run.settled()).await?;
    assert_eq!((report.timed_out, report.tally.consumed), (false, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_deadline_outlives_the_handles_of_its_run_and_the_curator() -> Tested {
    let volery = Volery::builder("t").agents(workers()).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("long").deadline(10 * SECOND).publish(a(0, 1)).await?;
    retrying(&mut feed).await;
    drop(run);
    volery.kill("curator").await?;
    event(&mut feed, |event| {
        matches!(event, Event::Life(LifeEvent::Started { child, life: 2.. }) if child.as_str() == "curator")
            .then_some(())
    })
    .await;
    let watch = Stopwatch::start();
    let outcome = event(&mut feed, |event| match event {
        Event::Settled { settled, .. } => Some(settled.outcome.clone()),
        _ => None,
    });
    assert_eq!(outcome.await, Outcome::Cancelled);
    assert!(watch.elapsed() <= 10 * SECOND);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_time_out_waits_for_the_end_of_a_protected_section() -> Tested {
    let agent = Agent::new("careful").timeout(3 * SECOND).consumes(one::<A>()).engine(
        |_: A, ctx: Context| async move {
            let section = ctx.protect();
            tokio::time::sleep(10 * SECOND).await;
            drop(section);
            pending::<Result<(), Fault>>().await
        },
    );
    let volery = Volery::builder("t").agent(agent).start().await?;
    let watch = Stopwatch::start();
    let run = volery.run("careful").publish(a(0, 0)).await?;
    assert_eq!(soon(run.settled()).await?.tally.dead, 1);
    assert_eq!(watch.elapsed().as_secs(), 10);
    assert_eq!(error(&volery).await?, "timed out after 3s");
    Ok(())
}
