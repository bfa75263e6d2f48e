//! Cases of history: lineage and summaries.

use super::*;
use crate::artifact::Producer;
use crate::outcome::{Discard, Expiry};
use crate::store::{ClaimRecord, SummaryBy};

pub(super) async fn lineage_tells_causes_and_outcomes(case: &Case<'_>) {
    let artifacts = vec![
        publish(number(1), vec![claim(0, 0), claim(1, 0), claim(2, 0)]),
        publish(number(2), vec![claim(0, 0)]),
    ];
    let places = case.places(case.write(Write::Publish(artifacts.into())).await);
    let job = start(0, &places);
    let output =
        |n| number(n).caused_by(Producer::Agent("reader".into()), vec![number(1).id(), number(2).id()], 1);
    let outputs = (3..5).map(|n| publish(output(n), Vec::new())).collect();
    case.commit(vec![begin(&job), finish(job.job, JobEnd::Done, outputs)]).await;
    let reason = Outcome::Discarded(Discard::ClosurePanicked("why".to_owned()));
    case.write(settle(1, places[0], reason.clone())).await;
    let of = |n| number(n).id();
    let first = case.good(case.store().lineage(of(1)).await, "tells");
    let Some(first) = first else { panic!("{}: the artifact is there", case.name) };
    let published = vec![Offset::new(3), Offset::new(4)];
    let record = |subscription: &str, outcome, job, published| ClaimRecord {
        subscription: subscription.to_owned(),
        outcome,
        job,
        published,
    };
    let wanted = vec![
        record("joiner/0", Some(reason), None, Vec::new()),
        record("joiner/1", None, None, Vec::new()),
        record("reader/0", Some(Outcome::Consumed), Some(job.job), published),
    ];
    case.same(
        first.claims,
        wanted,
        "who took it and what came of it, who refused it and why, who has not ended",
    );
    case.same(first.causes.len(), 0, "it came from outside");
    let third = case.good(case.store().lineage(of(3)).await, "tells");
    let causes: Vec<_> = third.iter().flat_map(|found| found.causes.iter().map(|cause| cause.id())).collect();
    case.same(causes, vec![of(1), of(2)], "what led to it, in input order");
    case.same(
        case.good(case.store().lineage(of(9)).await, "tells").is_none(),
        true,
        "an unknown one has none",
    );
}

pub(super) async fn the_lineage_of_a_pair_names_every_pair(case: &Case<'_>) {
    let artifacts = [(1, 0), (2, 1), (3, 1)].map(|(n, side)| publish(number(n), vec![claim(2, side)]));
    let places = case.places(case.write(Write::Publish(Vec::from(artifacts).into())).await);
    let mut wanted = Vec::new();
    for (n, other) in [(10, places[1]), (11, places[2])] {
        let job = Start { shared: true, ..start(2, &[places[0], other]) };
        let outputs = vec![publish(number(n), Vec::new())];
        case.commit(vec![begin(&job), finish(job.job, JobEnd::Done, outputs)]).await;
        wanted.push((job.job, vec![Offset::new(u64::from(n) - 6)]));
    }
    case.write(settle(2, places[0], Outcome::Consumed)).await;
    let found = case.good(case.store().lineage(number(1).id()).await, "tells");
    let claims = found.map(|found| found.claims).unwrap_or_default();
    case.same(
        claims.iter().all(|claim| claim.outcome == Some(Outcome::Consumed)),
        true,
        "the input's outcome",
    );
    let found: Vec<_> = claims.into_iter().filter_map(|claim| Some((claim.job?, claim.published))).collect();
    case.same(found, wanted, "each pair with what it published");
}

pub(super) async fn summaries_count_what_a_filter_accepts(case: &Case<'_>) {
    let id = ArtifactId::from_uuid(Uuid::from_u128(99));
    let body = Body::typed(Arc::new("x".to_owned()));
    let text = Artifact::new(id, Kind::of::<String>(), body, run(2), at(3));
    let made = number(2).caused_by(Producer::Agent("reader".into()), Vec::new(), 1);
    let artifacts = vec![
        publish(number(1), vec![claim(0, 0), claim(1, 0)]),
        publish(made, vec![claim(0, 0)]),
        publish(text, vec![claim(1, 0)]),
    ];
    case.write(Write::Publish(artifacts.into())).await;
    case.write(settle(1, Offset::new(1), Outcome::Expired(Expiry::Patience))).await;
    let (numbers, texts) = (Kind::of::<u32>(), Kind::of::<String>());
    let of_run = || Filter::all().run(run(1));
    for (what, filter, by, mut wanted) in [
        ("kinds", Filter::all(), SummaryBy::Kind, vec![(numbers.name(), 2), (texts.name(), 1)]),
        ("producers", Filter::all(), SummaryBy::Producer, vec![("external", 2), ("reader", 1)]),
        ("outcomes", Filter::all(), SummaryBy::Outcome, vec![("expired", 1), ("outstanding", 3)]),
        ("outcomes of a run", of_run(), SummaryBy::Outcome, vec![("expired", 1), ("outstanding", 2)]),
        ("nothing", Filter::all().kind("nobody"), SummaryBy::Kind, vec![]),
    ] {
        let found = case.good(case.store().summary(&filter, by).await, "counts");
        let found: Vec<_> = found.iter().map(|row| (row.name.as_str(), row.count)).collect();
        wanted.sort_unstable();
        case.same(found, wanted, what);
    }
}
