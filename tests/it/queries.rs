//! Queries: what is on the board, found by any condition, page by page, and counted.

use volery::artifact::Producer;
use volery::feed::Event;
use volery::prelude::*;
use volery::query::Query;
use volery::query::SummaryBy;

use crate::support::{A, B, SECOND, Tested, a, b, event};

/// Publishes four `A` and, through an agent, two `B`.
async fn filled() -> volery::Result<(Volery, Run)> {
    let even = one::<A>().filter(|a: &A| a.n.is_multiple_of(2));
    let doubling = Agent::new("doubling").consumes(even).engine(|input: A, _: Context| async move {
        Ok::<_, volery::Error>(Publish(b(input.key, input.n * 2)))
    });
    let volery = Volery::builder("t").agent(doubling).start().await?;
    let run = volery.run("w").open();
    run.publish(a(1, 1)).tagged("red").tagged("round").await?;
    run.publish(a(2, 2)).tagged("red").partitioned_by(&"p").await?;
    run.settled().await?;
    tokio::time::advance(SECOND).await;
    volery.publish(a(3, 3)).tagged("round").await?;
    volery.publish(a(4, 5)).visible_to(Visibility::only(["doubling"])).tenant("other").await?;
    volery.until_idle().await?;
    Ok((volery, run))
}

/// The numbers of what a question finds, with the kind's name.
async fn found(query: Query) -> volery::Result<Vec<String>> {
    let page = query.await?;
    page.artifacts
        .iter()
        .map(|artifact| Ok(format!("{}{}", artifact.kind().name(), artifact.offset())))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn artifacts_are_found_by_every_condition() -> Tested {
    let (volery, run) = filled().await?;
    let all = || volery.query().any_tenant();
    let every = all().await?.artifacts;
    let third = every.iter().find(|artifact| artifact.has_tag("round") && !artifact.has_tag("red"));
    let third = third.expect("it is there");
    let (offset, at) = (third.offset(), third.published_at());
    for (what, query, wanted) in [
        ("the default tenant", volery.query(), 4),
        ("every tenant", all(), 5),
        ("a tenant", volery.query().tenant("other"), 1),
        ("kind", all().kind("A"), 4),
        ("type", all().kind_of::<B>(), 1),
        ("agent", all().by_agent("doubling"), 1),
        ("outside", all().produced_by(Producer::External), 4),
        ("run", all().run(run.id()), 3),
        ("all tags", all().tagged("red").tagged("round"), 1),
        ("any tag", all().tagged_any("red").tagged_any("round"), 3),
        ("partition", all().partition(&"p"), 1),
        ("visibility", all().visibility(Visibility::only(["doubling"])), 1),
        ("since", all().since(at), 2),
        ("until", all().until(at), 3),
        ("from", all().from_offset(offset), 2),
        ("to", all().to_offset(offset), 3),
        ("two at once", all().kind("A").since(at), 2),
    ] {
        assert_eq!(found(query).await?.len(), wanted, "{what}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn pages_follow_each_other_in_either_order() -> Tested {
    let (volery, _) = filled().await?;
    let whole = found(volery.query().any_tenant()).await?;
    for newest_first in [false, true] {
        let query = volery.query().any_tenant().limit(2);
        let mut pages = if newest_first { query.newest_first() } else { query }.pages();
        let (mut read, mut sizes) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await? {
            sizes.push(page.artifacts.len());
            read.extend(page.artifacts.iter().map(|one| format!("{}{}", one.kind().name(), one.offset())));
        }
        if newest_first {
            read.reverse();
        }
        assert_eq!(read, whole);
        assert_eq!(sizes.iter().filter(|size| **size > 0).count(), 3, "{sizes:?}");
        assert!(pages.next().await?.is_none(), "it stays at the end");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn summaries_count_by_kind_producer_and_outcome() -> Tested {
    let (volery, run) = filled().await?;
    let count = async |query: Query, by| -> volery::Result<Vec<(String, u64)>> {
        Ok(query.summary(by).await?.into_iter().map(|summary| (summary.name, summary.count)).collect())
    };
    let named = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    assert_eq!(count(volery.query(), SummaryBy::Kind).await?, named(&[("A", 3), ("B", 1)]));
    assert_eq!(count(volery.query(), SummaryBy::Producer).await?, named(&[("doubling", 1), ("external", 3)]));
    assert_eq!(count(volery.query().run(run.id()), SummaryBy::Outcome).await?, named(&[("consumed", 1)]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn lineage_tells_causes_consumers_and_refusals() -> Tested {
    let doubling = Agent::new("doubling").consumes(one::<A>()).engine(|input: A, _: Context| async move {
        Ok::<_, volery::Error>(Publish(b(input.key, input.n * 2)))
    });
    let failing = Agent::new("failing")
        .consumes(one::<B>())
        .engine(|_: B, _: Context| async { Err::<(), volery::Fault>("no".into()) });
    let panicking = Agent::new("choosy")
        .consumes(one::<B>().filter(|_: &B| panic!("no idea")))
        .engine(|_: B, _: Context| async { Ok::<_, volery::Error>(()) });
    let waiting = Agent::new("waiting")
        .consumes(count::<B>(2))
        .engine(|_: Vec<B>, _: Context| async { Ok::<_, volery::Error>(()) });
    let volery = Volery::builder("t").agents([doubling, failing, panicking, waiting]).start().await?;
    let mut feed = volery.feed();
    let first = volery.publish(a(0, 1)).await?;
    volery.until_idle().await?;
    let middle = event(&mut feed, |event| match event {
        Event::Published { artifact, .. } if artifact.kind().name() == "B" => Some(artifact.id()),
        _ => None,
    })
    .await;
    let tree = volery.lineage(middle).await?.expect("it is there");
    let drawn = "B #2 by doubling\n\
        ├─ caused by A #1 by external\n\
        ├─ choosy/0: discarded: a closure of the subscription panicked: no idea\n\
        ├─ failing/0: dead\n\
        │  └─ Failure #3 by runtime\n\
        └─ waiting/0: outstanding";
    assert_eq!(tree.to_string(), drawn);
    let tree = volery.lineage(first.id).await?.expect("it is there");
    assert_eq!(tree.claims[0].published[0].artifact.id(), middle, "and down from the other end");
    assert_eq!(tree.claims[0].published[0].claims.len(), 3);
    assert!(!tree.cut);
    let tree = volery.lineage(first.id).depth(0).await?.expect("it is there");
    assert_eq!(
        (tree.cut, tree.to_string()),
        (true, "A #1 by external\n├─ doubling/0: consumed\n└─ … and more".into())
    );
    let nobody = volery::ArtifactId::from_uuid(first.run.as_uuid());
    assert!(volery.lineage(nobody).await?.is_none());
    Ok(())
}
