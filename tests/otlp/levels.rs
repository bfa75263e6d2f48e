//! Gauges, and that no metric is only a name: what waits somewhere is shown, and every metric of the table is
//! recorded.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;
use volery::Memory;
use volery::agent::ModelCall;
use volery::letters::DeadFilter;
use volery::prelude::*;
use volery::supervision::Intensity;
use volery::testing::{FailingStore, Gate};
use volery::{Fault, Publish, Resource, Schedule};
use volery_observability::names::metric;

use crate::numbers::{check, numbers};
use crate::support::{LIMIT, MS, Note, Order, Payment, Receipt, Tested, Watched, order, payment};

const SECOND: Duration = Duration::from_secs(1);

/// Holds every job at a gate.
fn held(gate: &Gate) -> Agent {
    let gate = gate.clone();
    Agent::new("act").concurrency(1).consumes(one::<Order>()).engine(move |_: Order, _: Context| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, Fault>(())
        }
    })
}

fn settle() -> Agent {
    Agent::new("settle")
        .consumes(join(by(|r: &Receipt| r.key), by(|p: &Payment| p.key)).within(500 * MS))
        .engine(async |(receipt, _): (Receipt, Payment), context: Context| {
            let mut call = context.model_call(ModelCall::chat("example", "small"));
            call.tokens_input(1).tokens_output(1);
            call.end();
            Ok::<_, Fault>(Publish(Note { key: receipt.key, n: receipt.n }))
        })
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_log_in_a_join_and_for_a_reader_is_shown() -> Tested {
    let (watched, gate) = (Watched::new(), Gate::new());
    let configure = |settings: &mut volery::Settings| {
        settings.jobs_in_memory_max = 2;
        settings.levels_every = 100 * MS;
    };
    let builder = watched.builder().configure(configure);
    let volery = builder.agents([held(&gate), settle()]).start().await?;
    let reader = volery.feed();
    for n in 0..6 {
        volery.publish(order(n)).await?;
    }
    for key in 0..3 {
        volery.publish(payment(key)).await?;
    }
    gate.arrived(1).await;
    sleep(101 * MS).await;
    let report = watched.telemetry.flush(LIMIT).await;
    assert!(report.is_complete(), "{report}");
    let numbers = numbers(&watched);
    let wanted = [
        ("volery.jobs.in_flight{act}", 1.0),
        ("volery.queue.depth{act}", 2.0),
        ("volery.store.spilled{memory}", 3.0),
        ("volery.join.pending{settle}", 3.0),
        ("volery.mailbox.depth{act}", 0.0),
        ("volery.mailbox.depth{curator}", 0.0),
        // Nine publishes, and one start.
        ("volery.feed.lag{feed}", 10.0),
    ];
    check(&numbers, &wanted);
    assert!(!numbers.contains_key("volery.join.pending{act}"), "it has no join");
    drop(reader);
    gate.open_for_good();
    volery.until_idle().await?;
    volery.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_commit_is_shown_while_the_store_hangs() -> Tested {
    let (watched, commits) = (Watched::new(), Gate::new());
    let store = FailingStore::over(Memory::new());
    let configure = |settings: &mut volery::Settings| settings.levels_every = 100 * MS;
    let volery = watched.builder().store(store.clone()).configure(configure).start().await?;
    store.delay_commits({
        let commits = commits.clone();
        move || commits.pass()
    });
    let first = volery.publish(order(1)).into_future();
    let others = async {
        commits.reached().await;
        let publish = async { tokio::join!(volery.publish(order(2)), volery.publish(order(3))) };
        let look = async {
            // A curator that waits for a commit is asked in vain for a second.
            sleep(2 * SECOND).await;
            let report = watched.telemetry.flush(LIMIT).await;
            assert!(report.is_complete(), "{report}");
            // The two publishes, and what the runtime's own loops asked.
            let backlog = numbers(&watched).get("volery.store.backlog{memory}").copied();
            assert!(backlog >= Some(2.0), "{backlog:?}");
            commits.open_for_good();
        };
        tokio::join!(publish, look)
    };
    let (first, ((second, third), ())) = tokio::join!(first, others);
    first.and(second).and(third)?;
    volery.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn letters_that_are_driven_again_at_a_rate_wait_for_it() -> Tested {
    let watched = Watched::new();
    let act = Agent::new("act")
        .consumes(one::<Order>())
        .engine(async |_: Order, _: Context| Err::<(), Fault>("no".into()));
    let volery = watched.builder().agent(act).start().await?;
    for n in 0..3 {
        volery.publish(order(n)).await?;
    }
    volery.until_idle().await?;
    assert_eq!(volery.redrive(DeadFilter::all()).per_second(10).await?.redriven, 3);
    volery.until_idle().await?;
    volery.shutdown().await?;
    check(&numbers(&watched), &[("volery.rate_limit.wait{redrive}", 3.0)]);
    Ok(())
}

/// Recorded in real time only, by a thread: shown by the lookout's own tests.
const OF_REAL_TIME: &[&str] = &["volery.worker.lag"];

#[tokio::test(start_paused = true)]
async fn every_metric_of_the_table_is_recorded() -> Tested {
    let (watched, gate) = (Watched::new(), Gate::new());
    let store = FailingStore::over(Memory::new());
    let configure = |settings: &mut volery::Settings| {
        settings.levels_every = 100 * MS;
        settings.janitor_every = 100 * MS;
        settings.look_every = 100 * MS;
        settings.evict_every = 100 * MS;
        settings.oldest_age = SECOND;
        settings.retention.count_max = Some(1);
    };
    let model = Resource::new("model", async |_: String| Ok::<_, Fault>(7)).idle_after(10 * MS);
    let audit = Agent::new("audit")
        .intensity(Intensity { restarts: 1, within: 10 * SECOND })
        .retry(Retry::fixed(2, MS))
        .consumes(one::<Note>().batch(Batch::of(2).or_after(15 * MS)))
        .engine(async |_: Vec<Note>, _: Context| -> Result<(), Fault> { panic!("boom") });
    let volery = watched
        .builder()
        .store(store.clone())
        .configure(configure)
        .resource(&model)
        .schedule(Schedule::every("minutely", 60 * SECOND, || Payment { key: 9, n: 9 }))
        .agents([held(&gate), settle(), audit])
        .start()
        .await?;
    drop(model.lease("small").await?);
    volery.publish(Receipt { key: 1, n: 1 }).await?;
    volery.publish(payment(1)).await?;
    volery.publish(order(1)).await?;
    volery.publish(order(2)).await?;
    sleep(61 * SECOND).await;
    gate.open_for_good();
    sleep(SECOND).await;
    drop(volery.redrive(DeadFilter::all()).per_second(10).await?);
    store.fail_commit(1);
    drop(volery.publish(order(3)).await);
    sleep(2 * SECOND).await;
    let report = watched.telemetry.flush(LIMIT).await;
    assert!(report.is_complete(), "{report}");
    volery.shutdown().await?;
    let metrics = watched.receiver.metrics();
    let recorded: BTreeSet<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    let never = metric::ALL.iter().map(|metric| metric.name).filter(|name| !recorded.contains(name));
    assert_eq!(never.filter(|name| !OF_REAL_TIME.contains(name)).collect::<Vec<_>>(), [""; 0]);
    Ok(())
}
