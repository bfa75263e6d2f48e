//! Joins: by key, within windows of time and count, outer, every pair, by event time.

use std::time::Duration;

use volery::artifact::Expiry;
use volery::prelude::*;
use volery::{Fault, Outcome, Timestamp};

use crate::support::{A, B, C, D, HOUR, SECOND, Seen, Tested, a, b, c, d, outcome, tally};

fn a_key() -> volery::shape::By<A> {
    by(|a: &A| a.key)
}

fn b_key() -> volery::shape::By<B> {
    by(|b: &B| b.key)
}

/// Sides whose number is the event time in seconds.
fn timed() -> volery::shape::Join<(A, B)> {
    let time = |n: u32| Timestamp::from_millis_since_epoch(i64::from(n) * 1_000);
    join(a_key().at(move |a| time(a.n)), b_key().at(move |b| time(b.n)))
}

#[tokio::test(start_paused = true)]
async fn a_join_pairs_by_key_in_declaration_order() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("join").consumes(join(a_key(), b_key())).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((vec![b(1, 10), b(2, 20)], vec![a(3, 3), a(2, 2), a(1, 1)])).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(a(2, 2), b(2, 20)), (a(1, 1), b(1, 10))]);
    assert_eq!(tally(&volery, "join").await?.outstanding(), 1, "key 3 waits for its partner");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_join_uses_the_oldest_of_a_key_first_and_keeps_the_rest() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("join").consumes(join(a_key(), b_key())).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((vec![a(1, 1), a(1, 2)], vec![b(1, 10), b(1, 20)])).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(a(1, 1), b(1, 10)), (a(1, 2), b(1, 20))]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_join_of_four_waits_for_all_sides() -> Tested {
    let seen = Seen::new();
    let shape = join(a_key(), b_key()).and(by(|c: &C| c.key)).and(by(|d: &D| d.key)).within(HOUR);
    let agent = Agent::new("join").consumes(shape).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish_all((vec![d(1, 4)], vec![c(1, 3)], vec![b(1, 2)], vec![a(2, 9)])).await?;
    volery.until_idle().await?;
    assert!(seen.all().is_empty());
    volery.publish(a(1, 1)).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(a(1, 1), b(1, 2), c(1, 3), d(1, 4))]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_input_without_a_key_is_not_joined() -> Tested {
    let shape = join(by(|a: &A| (a.key > 0).then_some(a.key)), b_key());
    let agent = Agent::new("join").consumes(shape).engine(|_: (A, B), _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("keyless").publish(a(0, 0)).await?;
    let report = run.settled().await?;
    assert_eq!(report.tally.matched, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_waited_longer_than_the_time_window_expires() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("join").consumes(join(a_key(), b_key()).within(10 * SECOND)).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let late = volery.publish(a(1, 1)).await?;
    assert_eq!(outcome(&mut feed).await, (late.offset, Outcome::Expired(Expiry::TimeWindow)));
    volery.publish(b(1, 2)).await?;
    volery.until_idle().await?;
    assert!(seen.all().is_empty(), "its partner came too late");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_comes_within_the_time_window_is_joined() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("join").consumes(join(a_key(), b_key()).within(10 * SECOND)).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(1, 1)).await?;
    tokio::time::advance(9 * SECOND).await;
    volery.publish(b(1, 2)).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(a(1, 1), b(1, 2))]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_count_window_expires_what_too_many_came_after() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("join").consumes(join(a_key(), b_key()).within_count(2)).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let first = volery.publish(a(1, 1)).await?;
    volery.publish_all(vec![b(8, 0), b(9, 0)]).await?;
    assert_eq!(tally(&volery, "join").await?.expired, 0, "two later ones are within the window");
    volery.publish(b(1, 2)).await?;
    assert_eq!(outcome(&mut feed).await, (first.offset, Outcome::Expired(Expiry::CountWindow)));
    volery.until_idle().await?;
    assert!(seen.all().is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_outer_join_fires_at_expiry_with_the_sides_that_are_there() -> Tested {
    let seen = Seen::new();
    let agent =
        Agent::new("outer").consumes(join(a_key(), b_key()).within(SECOND).outer()).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("outer").open();
    run.publish_all((vec![a(1, 1), a(2, 2)], vec![b(2, 3)])).await?;
    let report = run.settled().await?;
    assert_eq!(seen.all(), [(Some(a(2, 2)), Some(b(2, 3))), (Some(a(1, 1)), None)]);
    assert_eq!(report.tally.consumed, 3, "a partial group is consumed, not expired");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_outer_join_fires_partially_when_its_run_is_finished() -> Tested {
    let seen = Seen::new();
    let agent =
        Agent::new("outer").consumes(join(a_key(), b_key()).within(HOUR).outer()).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("outer").publish(b(1, 1)).await?;
    let report = run.finish().await?;
    assert_eq!(seen.all(), [(None, Some(b(1, 1)))]);
    assert!(report.is_complete());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_pair_within_the_window_fires_and_inputs_end_once() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("pairs")
        .consumes(join(a_key(), b_key()).within(10 * SECOND).every_pair())
        .concurrency(1)
        .engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("pairs").open();
    run.publish_all((vec![a(1, 1), a(1, 2)], vec![b(1, 3), b(2, 4), b(1, 5)])).await?;
    let report = run.settled().await?;
    let pairs = [(a(1, 1), b(1, 3)), (a(1, 2), b(1, 3)), (a(1, 1), b(1, 5)), (a(1, 2), b(1, 5))];
    assert_eq!(seen.all(), pairs);
    assert_eq!(report.tally.outstanding(), 5, "inputs stay until their window closes");

    let report = run.finish().await?;
    assert_eq!((report.tally.consumed, report.tally.expired), (4, 1), "only key 2 had no partner");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_pair_ends_when_its_window_closes() -> Tested {
    let agent = Agent::new("pairs")
        .consumes(join(a_key(), b_key()).within(SECOND).every_pair())
        .engine(|_: (A, B), _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    volery.publish_all((vec![a(1, 1)], vec![b(1, 2)], vec![b(2, 3)])).await?;
    let mut outcomes = [outcome(&mut feed).await, outcome(&mut feed).await, outcome(&mut feed).await];
    outcomes.sort_by_key(|(offset, _)| *offset);
    let outcomes = outcomes.map(|(_, outcome)| outcome);
    assert_eq!(outcomes, [Outcome::Consumed, Outcome::Consumed, Outcome::Expired(Expiry::TimeWindow)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn by_event_time_what_lies_within_the_window_is_joined_whenever_it_comes() -> Tested {
    let seen = Seen::new();
    let agent = Agent::new("events").consumes(timed().within(10 * SECOND)).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    volery.publish(a(1, 100)).await?;
    tokio::time::advance(60 * SECOND).await;
    volery.publish(b(1, 95)).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(a(1, 100), b(1, 95))]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn by_event_time_what_the_watermark_has_passed_expires() -> Tested {
    let agent = Agent::new("events")
        .consumes(timed().within(10 * SECOND))
        .engine(|_: (A, B), _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let old = volery.publish(a(1, 100)).await?;
    volery.publish(b(2, 110)).await?;
    assert_eq!(tally(&volery, "events").await?.expired, 0, "exactly one window apart still belongs together");
    volery.publish(b(3, 111)).await?;
    assert_eq!(outcome(&mut feed).await, (old.offset, Outcome::Expired(Expiry::Watermark)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn lateness_holds_the_watermark_back() -> Tested {
    let seen = Seen::new();
    let shape = timed().within(10 * SECOND).lateness(Duration::from_secs(30));
    let agent = Agent::new("events").consumes(shape).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let first = volery.publish(a(1, 100)).await?;
    volery.publish(b(2, 140)).await?;
    volery.publish(b(1, 105)).await?;
    volery.until_idle().await?;
    assert_eq!(seen.all(), [(a(1, 100), b(1, 105))], "late, but within the allowed lateness");
    assert_eq!(outcome(&mut feed).await, (first.offset, Outcome::Consumed));

    let second = volery.publish(a(1, 101)).await?;
    volery.publish(b(3, 142)).await?;
    let (offset, how) = loop {
        let next = outcome(&mut feed).await;
        if next.0 == second.offset {
            break next;
        }
    };
    assert_eq!((offset, how), (second.offset, Outcome::Expired(Expiry::Watermark)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn patience_ends_the_waiting_for_a_side_that_went_quiet() -> Tested {
    let shape = timed().within(10 * SECOND).patience(60 * SECOND);
    let agent = Agent::new("events").consumes(shape).engine(|_: (A, B), _| async { Ok::<_, Fault>(()) });
    let volery = Volery::builder("t").agent(agent).start().await?;
    let mut feed = volery.feed();
    let lonely = volery.publish(a(1, 100)).await?;
    tokio::time::advance(59 * SECOND).await;
    assert_eq!(tally(&volery, "events").await?.outstanding(), 1);
    assert_eq!(outcome(&mut feed).await, (lonely.offset, Outcome::Expired(Expiry::Patience)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn groups_of_a_join_come_in_batches() -> Tested {
    let seen = Seen::new();
    let shape = join(a_key(), b_key()).within(HOUR).batch(Batch::of(2));
    let agent = Agent::new("pairs").consumes(shape).engine(seen.engine());
    let volery = Volery::builder("t").agent(agent).start().await?;
    let run = volery.run("pairs").open();
    run.publish_all((vec![b(1, 10), b(2, 20), b(3, 30)], vec![a(3, 3), a(2, 2), a(1, 1)])).await?;
    run.settled().await?;
    assert_eq!(seen.all(), [vec![(a(3, 3), b(3, 30)), (a(2, 2), b(2, 20))]]);
    run.finish().await?;
    assert_eq!(seen.all()[1], [(a(1, 1), b(1, 10))], "the rest comes when the run is finished");
    Ok(())
}
