//! The critical path of Jaeger: a cause has ended when its effect begins.

use tokio::time::sleep;
use volery::Memory;
use volery::prelude::*;
use volery::testing::FailingStore;
use volery::{Fault, Publish};
use volery_otlp_receiver::{Span, laws};

use crate::support::{MS, Note, Order, Payment, Receipt, Tested, Watched, named, only, order, payment, tree};

/// Fails its first attempt, and takes a while for each.
fn settle() -> Agent {
    let pairs = join(by(|o: &Order| o.key), by(|p: &Payment| p.key)).within(500 * MS);
    let again = Retry::fixed(2, 5 * MS);
    Agent::new("settle").consumes(pairs).retry(again).engine(
        async |(order, _): (Order, Payment), ctx: Context| {
            sleep(3 * MS).await;
            match ctx.attempt() {
                1 => Err::<Publish<Receipt>, Fault>("not yet".into()),
                _ => Ok(Publish(Receipt { key: order.key, n: order.n })),
            }
        },
    )
}

fn mail() -> Agent {
    let few = one::<Receipt>().batch(Batch::of(2));
    Agent::new("mail").consumes(few).engine(async |receipts: Vec<Receipt>, _: Context| {
        sleep(3 * MS).await;
        Ok::<_, Fault>(
            receipts.into_iter().map(|receipt| Note { key: receipt.key, n: 0 }).collect::<Vec<_>>(),
        )
    })
}

fn file() -> Agent {
    Agent::new("file").consumes(one::<Note>()).engine(async |_: Note, _: Context| {
        sleep(3 * MS).await;
        Ok::<(), Fault>(())
    })
}

/// The spans directly below a span, in order of their begin.
fn below<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a Span> {
    let own = |span: &&Span| span.trace_id == parent.trace_id && span.parent_id == parent.span_id;
    let mut own: Vec<_> = spans.iter().filter(own).filter(|span| span.name != "store.commit").collect();
    own.sort_by_key(|span| span.start_ns);
    own
}

#[tokio::test(start_paused = true)]
async fn what_leads_to_a_job_has_ended_when_the_job_begins() -> Tested {
    let watched = Watched::new();
    let store = FailingStore::over(Memory::new());
    store.delay_commits(|| sleep(2 * MS));
    let volery = watched.builder().store(store).agent(settle()).agent(mail()).agent(file()).start().await?;
    let run = volery.run("checkout");
    let run = run.publish(order(1)).await?;
    sleep(10 * MS).await;
    run.publish(payment(1)).await?;
    run.publish(order(2)).await?;
    run.publish(payment(2)).await?;
    run.settled().await?;
    drop(run);
    volery.shutdown().await?;
    let spans = watched.spans();
    laws::causes_end_first(&spans).unwrap_or_else(|broken| panic!("{broken:#?}\n{}", tree(&spans)));
    // A join begins when its first input is there, and not when somebody called for it to be published.
    for join in named(&spans, "join settle") {
        let first =
            join.links.iter().filter_map(|link| spans.iter().find(|span| span.span_id == link.span_id));
        let first = first.map(|publish| publish.end_ns).min().expect("it links to its inputs");
        assert_eq!(join.start_ns, first + 1_000, "{}", tree(&spans));
    }
    // A batch ends an instant before the job that gave its last input: the path goes through that one then.
    let last = named(&spans, "job settle").iter().map(|job| job.end_ns).max();
    assert_eq!(last, Some(only(&spans, "batch mail").end_ns + 1_000), "{}", tree(&spans));
    // Within a job, each part ends before the next begins, and nothing is left open between them. A commit is
    // part of its attempt's time.
    for job in named(&spans, "job settle") {
        for pair in below(&spans, job).windows(2) {
            let gap = pair[1].start_ns.saturating_sub(pair[0].end_ns);
            assert!((1_000..=3_000).contains(&gap), "{} and {}: {gap}", pair[0].name, pair[1].name);
        }
    }
    assert_eq!(only(&spans, "run checkout").attribute("volery.run.status"), "completed");
    Ok(())
}
