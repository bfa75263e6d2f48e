//! Many runs at once, with everything that can happen to one: the laws of traces hold for all of them.
//!
//! `VOLERY_STRESS_RUNS` sets how many runs there are (default 500).

use std::collections::BTreeMap;
use std::time::Duration;

use volery::prelude::*;
use volery::telemetry::TraceSettings;
use volery::{Fault, Publish};
use volery_otlp_receiver::laws;

use crate::support::{LIMIT, MS, Note, Order, Payment, Receipt, Tested, Watched, tree};

fn runs() -> u32 {
    std::env::var("VOLERY_STRESS_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(500)
}

/// Fails, panics, waits or succeeds, as the number says.
async fn act(n: u32, context: &Context) -> Result<(), Fault> {
    tokio::time::sleep(Duration::from_millis(u64::from(n % 4))).await;
    match (n % 11, context.attempt()) {
        (1, 1) => Err("try again".into()),
        (2, _) => Err("never".into()),
        (3, 1) => panic!("boom"),
        (4, _) => {
            tokio::time::sleep(60 * MS).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn agents() -> Vec<Agent> {
    let never = volery::supervision::Intensity { restarts: u32::MAX, within: MS };
    vec![
        Agent::new("settle")
            .concurrency(16)
            .intensity(never)
            .timeout(50 * MS)
            .consumes(join(by(|o: &Order| o.key), by(|p: &Payment| p.key)).within(3_600_000 * MS))
            .retry(Retry::fixed(3, 2 * MS))
            .engine(async |(order, _): (Order, Payment), context: Context| {
                act(order.n, &context).await?;
                Ok::<_, Fault>((
                    Publish(Receipt { key: order.key, n: order.n }),
                    Publish(Note { key: 0, n: order.n }),
                ))
            }),
        Agent::new("mail")
            .concurrency(16)
            .consumes(one::<Receipt>())
            .engine(async |_: Receipt, _: Context| Ok::<_, Fault>(())),
        // Over several runs.
        Agent::new("audit")
            .consumes(one::<Note>().batch(Batch::of(7).or_after(5 * MS)))
            .retry(Retry::fixed(2, MS))
            .engine(async |notes: Vec<Note>, context: Context| {
                if notes[0].n.is_multiple_of(5) && context.attempt() == 1 {
                    return Err("once more".into());
                }
                Ok::<_, Fault>(notes[0].n.is_multiple_of(2).then_some(Receipt { key: 1, n: 0 }))
            }),
    ]
}

async fn one_run(volery: Volery, n: u32) -> volery::Result<()> {
    let run = volery.run("stress").publish(Order { key: n, n }).await?;
    if n % 13 == 5 {
        // Never has its partner.
        run.cancel();
        return run.settled().await.map(drop);
    }
    run.publish(Payment { key: n, n }).await?;
    if n % 17 == 3 {
        run.cancel();
    }
    if n.is_multiple_of(3) {
        drop(run);
        return Ok(());
    }
    run.settled().await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn no_parent_is_broken_and_every_run_has_one_root_whatever_happens() -> Tested {
    let runs = runs();
    let watched = Watched::traced(TraceSettings::default());
    let volery = watched.builder().agents(agents()).start().await?;
    let mut flying = tokio::task::JoinSet::new();
    for n in 0..runs {
        flying.spawn(one_run(volery.clone(), n));
        if n % 100 == 50 {
            let actor = ["settle", "mail", "audit", "curator"][(n / 100) as usize % 4];
            volery.kill(actor).await?;
            // The runtime gives up when its parts are restarted more often than five times in ten seconds.
            tokio::time::sleep(11_000 * MS).await;
        }
        if flying.len() > 64 {
            flying.join_next().await;
        }
    }
    // A publish whose answer was lost with the curator may or may not be there; so may its run.
    while flying.join_next().await.is_some() {}
    volery.until_idle().await?;
    let report = volery.shutdown().await?;
    let sent = watched.telemetry.flush(LIMIT).await;
    assert!(sent.is_complete(), "{sent}; {report}");
    let spans = watched.receiver.spans();
    laws::assert_all(&spans);
    let mut roots: BTreeMap<&str, u32> = BTreeMap::new();
    for root in spans.iter().filter(|span| span.parent_id.is_empty() && span.name == "run stress") {
        *roots.entry(root.attribute("volery.run.id")).or_default() += 1;
    }
    let several: Vec<_> = roots.iter().filter(|(_, count)| **count != 1).collect();
    assert!(several.is_empty(), "{several:?}");
    assert_eq!(roots.len(), runs as usize, "every run has a root");
    let left: Vec<_> = spans
        .iter()
        .filter(|span| {
            span.attribute("volery.outcome") == "abandoned"
                || span.attribute("volery.run.status") == "abandoned"
        })
        .cloned()
        .collect();
    assert!(left.len() < 64, "only what died with a curator is abandoned:\n{}", tree(&left));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_loses_no_root_of_a_run_that_had_finished() -> Tested {
    let watched = Watched::new();
    let sink = Agent::new("sink")
        .concurrency(64)
        .consumes(one::<Order>())
        .engine(async |_: Order, _: Context| Ok::<_, Fault>(()));
    let volery = watched.builder().agent(sink).start().await?;
    let orders: Vec<_> = (0..1_000).map(|n| Order { key: n, n }).collect();
    for order in orders {
        volery.publish(order).await?;
    }
    volery.until_idle().await?;
    let report = volery.shutdown().await?;
    assert!(report.is_graceful(), "{report}");
    // Nothing else flushes: the report speaks of the spans that are here.
    let spans = watched.spans();
    let roots = spans.iter().filter(|span| span.parent_id.is_empty()).count();
    assert_eq!(roots, 1_000);
    assert_eq!(report.phase(volery::report::Phase::Telemetry).map(|row| row.remaining), Some(0));
    Ok(())
}
