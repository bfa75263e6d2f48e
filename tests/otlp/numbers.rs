//! The numbers of a scripted scenario: every count is known beforehand.

use std::collections::BTreeMap;

use tokio::time::sleep;
use volery::Fault;
use volery::Publish;
use volery::prelude::*;
use volery::testing::Gate;

use crate::support::{MS, Order, Payment, Receipt, Tested, Watched, order, payment};

/// The last value of every point: `name{label, label}`, labels in the order of their names without the
/// runtime's.
pub(crate) fn numbers(watched: &Watched) -> BTreeMap<String, f64> {
    let mut numbers = BTreeMap::new();
    for metric in watched.receiver.metrics() {
        for (labels, value) in &metric.points {
            let labels = labels.iter().filter(|(key, _)| *key != "volery.runtime.name");
            let labels: Vec<_> = labels.map(|(_, value)| value.as_str()).collect();
            numbers.insert(format!("{}{{{}}}", metric.name, labels.join(", ")), *value);
        }
    }
    numbers
}

#[track_caller]
pub(crate) fn check(numbers: &BTreeMap<String, f64>, wanted: &[(&str, f64)]) {
    let wrong: Vec<_> = wanted.iter().filter(|(name, value)| numbers.get(*name) != Some(value)).collect();
    assert!(wrong.is_empty(), "{wrong:?} are not in {numbers:#?}");
}

#[tokio::test(start_paused = true)]
async fn every_count_of_a_scripted_scenario_is_right() -> Tested {
    let watched = Watched::new();
    let settle = Agent::new("settle")
        .consumes(join(by(|o: &Order| o.key), by(|p: &Payment| p.key)).within(100 * MS))
        .retry(Retry::fixed(2, 20 * MS))
        .engine(async |(order, _): (Order, Payment), context: Context| {
            sleep(5 * MS).await;
            if context.attempt() == 1 {
                return Err::<_, Fault>("the bank says no".into());
            }
            Ok(Publish(Receipt { key: order.key, n: order.n }))
        });
    let audit = Agent::new("audit")
        .consumes(one::<Receipt>().batch(Batch::of(4).or_after(15 * MS)))
        .engine(async |_: Vec<Receipt>, _: Context| Err::<(), Fault>("no paper".into()));
    let volery = watched.builder().agents([settle, audit]).start().await?;
    let run = volery.run("checkout").publish(order(7)).await?;
    run.publish(payment(7)).await?;
    // This one waits in vain.
    run.publish(order(8)).await?;
    run.finish().await?;
    drop(run);
    volery.until_idle().await?;
    volery.shutdown().await?;
    let wanted = [
        ("volery.artifacts.published{Order, external}", 2.0),
        ("volery.artifacts.published{Payment, external}", 1.0),
        ("volery.artifacts.published{Receipt, agent}", 1.0),
        ("volery.artifacts.published{Failure, failure}", 1.0),
        ("volery.artifacts.ended{Order, consumed}", 1.0),
        ("volery.artifacts.ended{Payment, consumed}", 1.0),
        ("volery.artifacts.ended{Order, expired}", 1.0),
        ("volery.artifacts.ended{Receipt, dead}", 1.0),
        ("volery.jobs{settle, ok}", 1.0),
        ("volery.jobs{_OTHER, audit, dead}", 1.0),
        ("volery.attempt.duration{settle, failed}", 1.0),
        ("volery.attempt.duration{settle, ok}", 1.0),
        ("volery.job.duration{settle, ok}", 1.0),
        ("volery.retries{settle, _OTHER}", 1.0),
        ("volery.dead_letters{audit, attempts}", 1.0),
        ("volery.batch.closed{audit, end_of_input}", 1.0),
        ("volery.batch.fill{audit}", 1.0),
        ("volery.join.wait{settle}", 1.0),
        ("volery.join.expired{settle}", 1.0),
        ("volery.run.duration{failed, checkout}", 1.0),
        ("volery.runs.active{checkout}", 0.0),
    ];
    let numbers = numbers(&watched);
    check(&numbers, &wanted);
    assert!(numbers["volery.store.commit.batch{memory}"] > 3.0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn errors_are_counted_by_their_type_or_by_the_class_that_they_say() -> Tested {
    let watched = Watched::new();
    let parse = Agent::new("parse").consumes(one::<Order>()).engine(async |order: Order, _: Context| {
        let text = if order.n == 0 { "zero" } else { "0" };
        text.parse::<u32>().map(drop)
    });
    let ask = Agent::new("ask").consumes(one::<Order>()).engine(async |_: Order, _: Context| {
        Err::<(), _>(volery::agent::Classed::new("rate_limited", "429, try again in 7 s"))
    });
    let wrap = Agent::new("wrap").consumes(one::<Order>()).engine(async |_: Order, _: Context| {
        let text = String::from_utf8(vec![0xff]).map_err(volery::Error::other)?;
        Err::<(), _>(volery::Error::other(text))
    });
    let text =
        Agent::new("text").consumes(one::<Order>()).engine(async |_: Order, _: Context| Err::<(), _>("no"));
    let volery = watched.builder().agents([parse, ask, wrap, text]).start().await?;
    volery.publish(order(0)).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    let wanted = [
        ("volery.jobs{core::num::error::ParseIntError, parse, dead}", 1.0),
        ("volery.jobs{rate_limited, ask, dead}", 1.0),
        ("volery.jobs{alloc::string::FromUtf8Error, wrap, dead}", 1.0),
        ("volery.jobs{_OTHER, text, dead}", 1.0),
    ];
    check(&numbers(&watched), &wanted);
    let failed = watched.spans().into_iter().find(|span| span.name == "attempt parse").expect("it was tried");
    assert_eq!(failed.attribute("error.type"), "core::num::error::ParseIntError");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn gauges_show_what_waits_and_runs() -> Tested {
    let watched = Watched::new();
    let gate = Gate::new();
    let held = gate.clone();
    let act =
        Agent::new("act").concurrency(2).consumes(one::<Order>()).engine(move |_: Order, _: Context| {
            let held = held.clone();
            async move {
                held.pass().await;
                Ok::<_, Fault>(())
            }
        });
    let volery = watched.builder().agent(act).start().await?;
    for n in 0..5 {
        volery.publish(order(n)).await?;
    }
    gate.arrived(2).await;
    sleep(10_001 * MS).await;
    let report = watched.telemetry.flush(crate::support::LIMIT).await;
    assert!(report.is_complete(), "{report}");
    let numbers = numbers(&watched);
    let wanted = [
        ("volery.queue.depth{act}", 3.0),
        ("volery.queue.oldest_age{act}", 10.0),
        ("volery.jobs.in_flight{act}", 2.0),
        ("volery.jobs.limit{act}", 2.0),
        ("volery.runs.active{Order}", 5.0),
        ("volery.feed.lag{feed}", 0.0),
    ];
    check(&numbers, &wanted);
    gate.open_for_good();
    volery.until_idle().await?;
    volery.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn restarts_and_quarantines_are_counted() -> Tested {
    let watched = Watched::new();
    let intensity = volery::supervision::Intensity { restarts: 1, within: 1_000 * MS };
    let act = Agent::new("act").intensity(intensity).consumes(one::<Order>()).engine(
        async |order: Order, _: Context| {
            assert!(order.n > 1, "boom");
            Ok::<_, Fault>(())
        },
    );
    let volery = watched.builder().agent(act).start().await?;
    for n in 0..3 {
        volery.publish(order(n)).await?;
    }
    volery.until_idle().await?;
    volery.kill("timekeeper").await?;
    volery.shutdown().await?;
    let numbers = numbers(&watched);
    let wanted = [
        ("volery.restarts{act, panic}", 2.0),
        ("volery.quarantines{act, quarantined}", 1.0),
        ("volery.jobs{panic, act, dead}", 2.0),
    ];
    check(&numbers, &wanted);
    Ok(())
}
