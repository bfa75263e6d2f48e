//! Runs and waiting for them: settled, finish, cancel, invoke, until, until_idle, pause, overload, the feed.

use std::future::{IntoFuture, pending};

use volery::feed::{Event, FeedItem};
use volery::prelude::*;
use volery::runtime::{Clock, Overflow};
use volery::{Offset, Outcome};

use crate::support::{
    A, B, Dropped, Gate, HOUR, SECOND, Seen, Tested, a, b, drain, event, is_pending, outcome, retrying, soon,
    tally,
};

/// An agent whose engine waits at a gate.
fn gated(name: &'static str, gate: &Gate) -> Agent {
    let gate = gate.clone();
    Agent::new(name).consumes(one::<A>()).engine(move |_: A, _| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Fault>(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_run_settles_when_nothing_of_it_moves_whatever_others_do() -> Tested {
    let gate = Gate::new();
    let quick = Agent::new("quick").consumes(one::<B>()).engine(|_: B, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agents([gated("slow", &gate), quick]).start().await?;
    let slow = volery.run("slow").publish(a(0, 0)).await?;
    gate.reached().await;
    let quick = volery.run("quick").publish(b(0, 0)).await?;
    assert!(quick.settled().await?.is_complete());
    let mut settled = Box::pin(slow.settled());
    assert!(is_pending(&mut settled).await);
    gate.open(1);
    assert!(settled.await?.is_complete());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_never_published_in_is_settled() -> Tested {
    let volery = Volery::builder("t").agent(gated("any", &Gate::new())).start().await?;
    let run = volery.run("empty").open();
    assert_eq!(run.settled().await?.tally, volery::Tally::default());
    assert_eq!(run.finish().await?.to_string(), "empty: nothing matched");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_settled_run_tells_what_is_left_and_goes_on_with_further_input() -> Tested {
    let agent =
        Agent::new("pair").consumes(all_of::<(A, B)>()).engine(|_: (A, B), _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("pair").publish(a(0, 0)).await?;
    let report = run.settled().await?;
    assert_eq!((report.is_complete(), report.tally.outstanding()), (false, 1));
    run.publish(b(0, 0)).await?;
    assert!(run.settled().await?.is_complete());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_reached_again_by_its_id() -> Tested {
    let volery = Volery::builder("t")
        .agent(Agent::new("any").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) }))
        .start()
        .await?;
    let published = volery.publish(a(0, 1)).await?;
    volery.until_idle().await?;
    let run = volery.attach(published.run, "again");
    assert_eq!(run.artifacts::<A>().await?, [a(0, 1)]);
    run.publish(a(0, 2)).await?;
    run.settled().await?;
    assert_eq!(run.artifacts::<A>().await?, [a(0, 1), a(0, 2)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_finished_run_is_told_of_in_the_feed() -> Tested {
    let agent = Agent::new("any").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("told").publish(a(0, 0)).await?;
    run.finish().await?;
    let (id, workflow, tally) = event(&mut feed, |event| match event {
        Event::RunSettled { run, workflow, tally } => Some((*run, workflow.to_string(), *tally)),
        _ => None,
    })
    .await;
    assert_eq!((id, &*workflow, tally.consumed), (run.id(), "told", 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_while_it_is_queued() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(gated("one", &gate).concurrency(1)).start().await?;
    let first = volery.run("first").publish(a(0, 0)).await?;
    gate.reached().await;
    let second = volery.run("second").publish(a(0, 1)).await?;
    second.cancel();
    assert_eq!(second.settled().await?.tally.cancelled, 1);
    gate.open(1);
    assert_eq!(first.settled().await?.tally.consumed, 1, "the other run is not touched");
    assert_eq!(gate.arrivals(), 1, "the cancelled job never ran");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_while_it_collects() -> Tested {
    let pair =
        Agent::new("pair").consumes(all_of::<(A, B)>()).engine(|_: (A, B), _| async { Ok::<_, Fault>(()) });
    let batch = Agent::new("batch")
        .consumes(one::<A>().batch(Batch::of(9).or_after(HOUR)))
        .engine(|_: Vec<A>, _| async { Ok::<_, Fault>(()) });
    let joining = Agent::new("join")
        .consumes(join(by(|a: &A| a.key), by(|b: &B| b.key)).within(HOUR).outer())
        .engine(|_: (Option<A>, Option<B>), _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agents([pair, batch, joining]).start().await?;
    let run = volery.run("half").publish(a(0, 0)).await?;
    run.publish(a(0, 1)).visible_to(volery::Visibility::after(HOUR)).await?;
    run.cancel();
    let report = run.settled().await?;
    assert_eq!((report.tally.matched, report.tally.cancelled), (6, 6));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_while_it_backs_off() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("again").consumes(one::<A>()).retry(Retry::fixed(2, HOUR)).engine({
        let seen = seen.clone();
        move |_: A, ctx: Context| {
            seen.note(ctx.attempt());
            async { Err::<(), _>("no") }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("again").publish(a(0, 0)).await?;
    retrying(&mut feed).await;
    run.cancel();
    assert_eq!(run.settled().await?.tally.cancelled, 1);
    tokio::time::advance(2 * HOUR).await;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [1], "there is no second attempt");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_while_it_runs_and_its_engine_is_dropped() -> Tested {
    let (gate, dropped) = (Gate::new(), Dropped::default());
    let agent = Agent::new("slow").consumes(one::<A>()).engine({
        let (gate, dropped) = (gate.clone(), dropped.clone());
        move |_: A, _| {
            let (gate, guard) = (gate.clone(), dropped.guard());
            async move {
                let _held = guard;
                gate.pass().await;
                Ok::<_, Fault>(Publish(b(0, 0)))
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let run = volery.run("slow").publish(a(0, 0)).await?;
    gate.reached().await;
    volery.cancel(run.id());
    assert_eq!(run.settled().await?.tally.cancelled, 1);
    assert!(dropped.is_true());
    assert_eq!(outcome(&mut feed).await.1, Outcome::Cancelled);
    assert!(run.artifacts::<B>().await?.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_engine_has_its_grace_to_finish() -> Tested {
    let (gate, seen) = (Gate::new(), Seen::new());
    let agent = Agent::new("tidy").consumes(one::<A>()).cancel_grace(10 * SECOND).engine({
        let (gate, seen) = (gate.clone(), seen.clone());
        move |input: A, ctx: Context| {
            let (gate, seen) = (gate.clone(), seen.clone());
            gate.open(1);
            async move {
                gate.pass().await;
                ctx.cancelled().await;
                assert!(ctx.is_cancelled());
                if input.n == 2 {
                    pending::<()>().await;
                }
                seen.note(input.n);
                Ok::<_, Fault>(Publish(b(0, 0)))
            }
        }
    });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let tidy = volery.run("tidy").publish(a(0, 1)).await?;
    let stuck = volery.run("stuck").publish(a(0, 2)).await?;
    gate.reached().await;
    gate.reached().await;
    tidy.cancel();
    stuck.cancel();
    assert_eq!(stuck.settled().await?.tally.cancelled, 1, "its grace is over");
    assert_eq!(tidy.settled().await?.tally.consumed, 1, "what finished stays finished");
    assert_eq!(seen.all(), [1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_published_in_a_cancelled_run_is_cancelled() -> Tested {
    let volery = Volery::builder("t").agent(gated("any", &Gate::new())).start().await?;
    let run = volery.run("over").open();
    run.cancel();
    run.publish(a(0, 0)).await?;
    assert_eq!(run.settled().await?.tally.cancelled, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn cancelling_again_or_after_the_end_changes_nothing() -> Tested {
    let agent = Agent::new("any").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("done").publish(a(0, 0)).await?;
    let before = run.settled().await?;
    run.cancel();
    run.cancel();
    assert_eq!(run.settled().await?, before);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_paused_agent_starts_nothing_until_it_is_resumed() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("any").consumes(one::<A>()).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.pause("any")?;
    let run = volery.run("paused").publish(a(0, 1)).await?;
    assert_eq!(run.settled().await?.tally.outstanding(), 1, "it does not move");
    volery.until_idle().await?;
    assert!(seen.all().is_empty());
    volery.resume("any")?;
    assert!(run.settled().await?.is_complete());
    assert_eq!(seen.all(), [a(0, 1)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_when_its_agent_is_paused_finishes() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(gated("any", &gate)).start().await?;
    let run = volery.run("paused").publish(a(0, 1)).await?;
    gate.reached().await;
    volery.pause("any")?;
    gate.open(1);
    assert!(run.settled().await?.is_complete());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn invoke_gives_one_agent_an_input_that_no_other_sees() -> Tested {
    let others = Seen::new();
    let wanted = Agent::new("wanted")
        .consumes(one::<A>())
        .engine(|input: A, _| async move { Ok::<_, Fault>(Publish(b(0, input.n + 1))) });
    let other = Agent::new("other").consumes(one::<A>()).engine(others.engine());
    let volery = Volery::builder("t").agents([wanted, other]).start().await?;
    let run = volery.invoke("wanted", a(0, 1)).await?;
    assert_eq!(run.artifacts::<B>().await?, [b(0, 2)]);
    assert!(others.all().is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn until_looks_again_whenever_something_happened() -> Tested {
    let agent = Agent::new("any")
        .consumes(one::<A>())
        .concurrency(1)
        .engine(|input: A, _| async move { Ok::<_, Fault>(Publish(b(0, input.n))) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let three = || {
        let volery = volery.clone();
        async move { Ok(crate::support::on_board::<B>(&volery).await?.len() >= 3) }
    };
    let (held, published) =
        tokio::join!(volery.until(three), volery.publish_all((0..3).map(|n| a(0, n)).collect::<Vec<_>>()));
    published?;
    assert!(held?);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn until_ends_with_its_first_error_or_with_the_runtime() -> Tested {
    let volery = Volery::builder("t").agent(gated("any", &Gate::new())).start().await?;
    let error = volery.until(|| async { Err(volery::Error::other("cannot look")) }).await;
    assert_eq!(error.expect_err("the condition failed").to_string(), "cannot look");
    let (held, report) = tokio::join!(volery.until(|| async { Ok(false) }), volery.shutdown());
    report?;
    assert!(!held?, "it can no longer come true");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn until_idle_is_told_and_does_not_look_for_itself() -> Tested {
    let (gate, clock) = (Gate::new(), Clock::system());
    let volery = Volery::builder("t").agent(gated("any", &gate)).clock(clock.clone()).start().await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let mut idle = Box::pin(volery.until_idle());
    assert!(is_pending(&mut idle).await);
    let before = clock.now();
    gate.open(1);
    idle.await?;
    assert_eq!(clock.now(), before, "paused time moves when somebody sleeps; nobody did");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn until_idle_returns_at_once_when_nothing_moves() -> Tested {
    let volery = Volery::builder("t").agent(gated("any", &Gate::new())).start().await?;
    volery.until_idle().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn publishers_wait_while_too_much_is_queued() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t")
        .agent(gated("slow", &gate))
        .configure(|settings| settings.queued_max = 2)
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    volery.publish(a(0, 1)).await?;
    gate.reached().await;
    gate.reached().await;
    let mut third = std::future::IntoFuture::into_future(volery.publish(a(0, 2)));
    assert!(is_pending(&mut third).await);
    gate.open(1);
    soon(third).await?;
    gate.open(2);
    volery.until_idle().await?;
    assert_eq!(tally(&volery, "slow").await?.consumed, 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_stops_waiting_has_published_nothing() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t")
        .agent(gated("slow", &gate))
        .configure(|settings| settings.queued_max = 1)
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    gate.reached().await;
    let mut second = std::future::IntoFuture::into_future(volery.publish(a(0, 1)));
    assert!(is_pending(&mut second).await);
    drop(second);
    gate.open(2);
    volery.until_idle().await?;
    assert_eq!(crate::support::on_board::<A>(&volery).await?, [a(0, 0)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn publishers_are_refused_while_too_much_is_queued_when_told_so() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t")
        .agent(gated("slow", &gate))
        .configure(|settings| {
            settings.queued_max = 1;
            settings.overflow = Overflow::Refuse;
        })
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    let refused = volery.publish(a(0, 1)).await.expect_err("there is no room");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    gate.open(1);
    volery.until_idle().await?;
    volery.publish(a(0, 2)).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn publishers_are_refused_when_collectors_hold_too_much_and_never_wait_for_them() -> Tested {
    let seen = Seen::new();
    let pack = Agent::new("pack").consumes(one::<A>().batch(Batch::until_finished())).engine(seen.engine());
    let volery = Volery::builder("t")
        .agent(pack)
        .configure(|settings| {
            settings.queued_max = 1;
            settings.collected_max = 2;
        })
        .start()
        .await?;
    let run = volery.run("packing").open();
    run.publish(a(0, 0)).await?;
    soon(run.publish(a(0, 1)).into_future()).await?;
    volery.until_idle().await?;
    let refused = soon(run.publish(a(0, 2)).into_future()).await.expect_err("two are held already");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    run.finish().await?;
    assert_eq!(seen.all(), [vec![a(0, 0), a(0, 1)]]);
    run.publish(a(0, 3)).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_not_invoked_with_what_it_does_not_take() -> Tested {
    let volery = Volery::builder("t").agent(gated("any", &Gate::new())).start().await?;
    let refused = volery.invoke("any", b(0, 0)).await.expect_err("it takes A only");
    assert_eq!(refused.kind(), ErrorKind::FixInput);
    assert!(refused.to_string().contains("any"), "{refused}");
    assert_eq!(volery.artifacts(&Filter::all()).await?.artifacts.len(), 0, "nothing was published");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_comes_together_with_a_start_is_not_lost() -> Tested {
    let volery = Volery::builder("t").agent(gated("any", &Gate::new())).start().await?;
    let run = volery.run("cancelled").open();
    // Both commands are in the queue before the curator looks: the start and the cancel are of one commit.
    let (published, ()) = tokio::join!(run.publish(a(0, 0)).into_future(), async { run.cancel() });
    published?;
    let report = soon(run.settled()).await?;
    assert_eq!((report.tally.cancelled, report.tally.outstanding()), (1, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_feed_ends_with_the_runtime() -> Tested {
    let volery = Volery::builder("t").agent(gated("any", &Gate::new())).start().await?;
    let mut feed = volery.feed();
    volery.publish(b(0, 0)).await?;
    volery.shutdown().await?;
    let mut published = 0;
    while let Some(item) = soon(feed.next()).await {
        published += usize::from(matches!(item, FeedItem::Event(Event::Published { .. })));
    }
    assert_eq!(published, 1, "what was told before the end is read before it");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_shows_the_artifacts_of_every_tenant() -> Tested {
    let volery = Volery::builder("t").agent(gated("any", &Gate::new())).start().await?;
    let run = volery.run("tenants").open();
    run.publish(b(0, 0)).await?;
    run.publish(b(0, 1)).tenant("acme").await?;
    assert_eq!(run.artifacts::<B>().await?, [b(0, 0), b(0, 1)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_waiting_list_names_can_be_read() -> Tested {
    let gate = Gate::new();
    let volery = Volery::builder("t").agent(gated("any", &gate)).start().await?;
    volery.pause("any")?;
    volery.publish(a(3, 4)).await?;
    let waiting = volery.waiting().await?;
    let read = volery.read(&[waiting[0].offset]).await?;
    assert_eq!(*read[0].payload::<A>()?, a(3, 4));
    let nowhere = volery.read(&[Offset::new(99)]).await.expect_err("nothing is there");
    assert_eq!(nowhere.kind(), ErrorKind::FixInput);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_agents_publish_is_never_held_back() -> Tested {
    let seen = Seen::new();
    let many = Agent::new("many")
        .consumes(one::<A>())
        .engine(|_: A, _| async { Ok::<_, Fault>((0..50).map(|n| b(0, n)).collect::<Vec<_>>()) });
    let each = Agent::new("each").consumes(one::<B>()).concurrency(1).engine(seen.engine());
    let volery = Volery::builder("t")
        .agents([many, each])
        .configure(|settings| settings.queued_max = 1)
        .start()
        .await?;
    volery.publish(a(0, 0)).await?;
    soon(volery.until_idle()).await?;
    assert_eq!(seen.all().len(), 50);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_feed_tells_what_happened_in_order() -> Tested {
    let agent = Agent::new("any")
        .consumes(one::<A>())
        .retry(Retry::fixed(2, SECOND))
        .engine(|_: A, ctx: Context| async move { if ctx.attempt() == 1 { Err("once") } else { Ok(()) } });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    volery.publish(a(0, 0)).await?;
    volery.until_idle().await?;
    let told: Vec<&str> = drain(&mut feed)
        .await
        .iter()
        .filter_map(|event| match event {
            Event::Published { claims, .. } => Some(if *claims == 1 { "published" } else { "unclaimed" }),
            Event::Started { .. } => Some("started"),
            Event::Retrying { .. } => Some("retrying"),
            Event::Done { .. } => Some("done"),
            Event::Settled { .. } => Some("settled"),
            Event::RunSettled { .. } => Some("run settled"),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["published", "started", "retrying", "started", "done", "settled", "run settled"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_nobody_subscribes_to_is_told_of_and_kept() -> Tested {
    let volery = Volery::builder("t").agent(gated("any", &Gate::new())).start().await?;
    let mut feed = volery.feed();
    volery.publish(b(0, 1)).await?;
    let claims = event(&mut feed, |event| match event {
        Event::Published { claims, .. } => Some(*claims),
        _ => None,
    })
    .await;
    assert_eq!(claims, 0);
    assert_eq!(crate::support::on_board::<B>(&volery).await?, [b(0, 1)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_the_feed_is_told_how_much_it_missed_and_holds_nobody_up() -> Tested {
    let agent = Agent::new("any").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let volery =
        Volery::builder("t").agent(agent).configure(|settings| settings.feed_capacity = 4).start().await?;
    let (mut slow, mut quick) = (volery.feed(), volery.feed());
    let counted = tokio::spawn(async move {
        let mut events = 0_u64;
        while let Some(item) = quick.next().await {
            events += match item {
                FeedItem::Skipped(skipped) => skipped,
                _ => 1,
            };
        }
        events
    });
    volery.publish_all((0..20).map(|n| a(0, n)).collect::<Vec<_>>()).await?;
    volery.until_idle().await?;
    let Some(FeedItem::Skipped(skipped)) = slow.next().await else { panic!("the reader was too slow") };
    volery.shutdown().await?;
    drop(volery);
    let mut read = skipped;
    while let Some(item) = slow.next().await {
        read += match item {
            FeedItem::Skipped(skipped) => skipped,
            _ => 1,
        };
    }
    assert_eq!(read, counted.await.expect("it only counts"), "missed and read make up everything");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_named_by_nobody_is_named_after_its_kind() -> Tested {
    let agent = Agent::new("any").consumes(one::<A>()).engine(|_: A, _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    volery.publish(a(0, 0)).await?;
    let workflow = event(&mut feed, |event| match event {
        Event::RunSettled { workflow, .. } => Some(workflow.to_string()),
        _ => None,
    })
    .await;
    assert_eq!(workflow, "A");
    Ok(())
}
