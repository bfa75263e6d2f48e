//! Cases of the log: places, repeats, reading back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::artifact::Producer;
use crate::id::{Key, Tenant};
use crate::outcome::{Discard, Expiry, Tally};
use crate::trace::TraceContext;
use crate::visibility::Visibility;

pub(super) async fn offsets_are_dense_and_in_log_order(case: &Case<'_>) {
    let writes = vec![
        Write::Publish(vec![publish(number(1), Vec::new()), publish(number(2), Vec::new())].into()),
        Write::Publish(vec![publish(number(3), Vec::new())].into()),
    ];
    let mut places = Vec::new();
    for result in case.commit(writes).await {
        match result {
            Written::Done(stored) => places.extend(case.places(stored)),
            other => panic!("{}: it publishes: {other:?}", case.name),
        }
    }
    places.extend(case.claimed(4..6).await);
    case.same(places, (1..=5).map(Offset::new).collect(), "places are numbered from 1 without a gap");
}

pub(super) async fn artifacts_come_back_as_they_were(case: &Case<'_>) {
    let rich = number(7)
        .caused_by(Producer::Agent("reader".into()), vec![number(1).id(), number(2).id()], 4)
        .with_tenant(Tenant::from("acme"))
        .with_tags(BTreeSet::from(["hot".to_owned(), "cold".to_owned()]))
        .with_visibility(Visibility::After {
            delay: Duration::from_millis(1_500),
            then: Box::new(Visibility::only(["reader"])),
        })
        .with_partition(Key::from("\"p\""))
        .with_trace(TraceContext {
            trace_id: u128::MAX,
            span_id: u64::MAX,
            flags: 1,
            state: Some("volery=00f067aa0ba902b7,other=x".into()),
        })
        .with_idempotency_key("once".into());
    let id = ArtifactId::from_uuid(Uuid::from_u128(99));
    let body = Body::typed(Arc::new("ä\"\n".to_owned()));
    let text = Artifact::new(id, Kind::of::<String>(), body, run(2), Timestamp::from_micros_since_epoch(-1))
        .caused_by(Producer::Runtime, Vec::new(), 0);
    let originals = [rich, text];
    let writes = originals.iter().cloned().map(|artifact| publish(artifact, Vec::new())).collect();
    let places = case.places(case.write(Write::Publish(writes)).await);
    let read = case.good(case.store().read(&places).wait().await, "reads");
    for (found, wanted) in read.iter().zip(&originals) {
        case.same(described(found), described(wanted), "an artifact comes back as it was");
    }
    case.same(read.iter().map(|found| found.offset()).collect(), places, "and knows its place");
    let value = case.good(read[1].payload::<String>(), "reads the payload");
    case.same(value.as_str(), "ä\"\n", "the payload is the same");
}

/// Everything that can be asked of an artifact but its place.
fn described(artifact: &Artifact) -> String {
    let tags: Vec<&str> = artifact.tags().collect();
    format!(
        "{} {:?} {:?} {} {:?} {:?} {:?} {} {} {tags:?} {:?} {:?} {:?} {:?}",
        artifact.id(),
        artifact.kind(),
        artifact.json(),
        artifact.run(),
        artifact.published_at(),
        artifact.producer(),
        artifact.causes(),
        artifact.generation(),
        artifact.tenant(),
        artifact.visibility(),
        artifact.partition(),
        artifact.trace(),
        artifact.idempotency_key(),
    )
}

/// Publishes the second artifact and checks that it is taken for the first, and that nothing was written.
async fn check_repeat(case: &Case<'_>, first: Artifact, second: Artifact) {
    let id = first.id();
    case.write(Write::Publish(vec![publish(first, vec![claim(0, 0)])].into())).await;
    let again = case.write(Write::Publish(vec![publish(second, vec![claim(1, 0)])].into())).await;
    match &again[..] {
        [Stored::Repeat(first)] => {
            let found = (first.id, first.offset.get(), first.run);
            case.same(found, (id, 1, run(1)), "a repeat names the first artifact");
        }
        other => panic!("{}: it is a repeat: {other:?}", case.name),
    }
    case.same(case.offsets().await, vec![1], "a repeat writes nothing");
    case.same(case.unfinished().await.claims, vec![(1, 0)], "a repeat adds no claim");
    let tally = case.good(case.store().tally(run(1)).await, "counts");
    case.same(tally.matched, 1, "a repeat counts nothing");
    case.same(case.claimed(50..51).await, vec![Offset::new(2)], "a repeat leaves no gap");
}

pub(super) async fn an_idempotency_key_returns_the_first_artifact(case: &Case<'_>) {
    let key = |artifact: Artifact| artifact.with_idempotency_key("order 7".into());
    check_repeat(case, key(number(1)), key(number_in(2, 2))).await;
}

pub(super) async fn an_idempotency_key_belongs_to_its_tenant(case: &Case<'_>) {
    let of = |value, tenant: &str| {
        number(value).with_tenant(Tenant::from(tenant)).with_idempotency_key("order 7".into())
    };
    let artifacts = vec![publish(of(1, "acme"), Vec::new()), publish(of(2, "umbrella"), Vec::new())];
    let stored = case.write(Write::Publish(artifacts.into())).await;
    case.same(case.places(stored).len(), 2, "two tenants may use the same key");
}

pub(super) async fn an_id_returns_the_first_artifact(case: &Case<'_>) {
    check_repeat(case, number(1), number(1).with_idempotency_key("another".into())).await;
}

pub(super) async fn a_repeat_within_one_write_is_a_repeat(case: &Case<'_>) {
    let key = |value| number(value).with_idempotency_key("same".into());
    let artifacts = vec![
        publish(key(1), Vec::new()),
        publish(key(2), Vec::new()),
        publish(number(3), Vec::new()),
        publish(number(1), Vec::new()),
    ];
    let stored = case.write(Write::Publish(artifacts.into())).await;
    let place = |stored: &Stored| match stored {
        Stored::New(artifact) => (true, artifact.offset().get()),
        Stored::Repeat(first) => (false, first.offset.get()),
    };
    let wanted = vec![(true, 1), (false, 1), (true, 2), (false, 1)];
    case.same(stored.iter().map(place).collect(), wanted, "results stand in the order of a write");
}

pub(super) async fn reads_come_in_the_order_asked_for(case: &Case<'_>) {
    case.claimed(1..4).await;
    let asked = [3, 1, 2, 1].map(Offset::new);
    let read = case.good(case.store().read(&asked).wait().await, "reads");
    let values: Vec<u32> =
        read.iter().map(|artifact| *case.good(artifact.payload::<u32>(), "reads the payload")).collect();
    case.same(values, vec![3, 1, 2, 1], "payloads stand in the order asked for");
    let nothing = case.good(case.store().read(&[]).wait().await, "reads nothing");
    case.same(nothing.len(), 0, "nothing asked for, nothing read");
}

pub(super) async fn a_missing_offset_is_an_error(case: &Case<'_>) {
    case.claimed(1..2).await;
    for missing in [0, 2, u64::MAX >> 1].map(Offset::new) {
        match case.store().read(&[Offset::new(1), missing]).wait().await {
            Err(StoreError::Missing { offset, .. }) => {
                case.same(offset, missing, "the error names the place")
            }
            other => panic!("{}: offset {missing} is missing: {other:?}", case.name),
        }
    }
}

pub(super) async fn a_closed_log_refuses(case: &Case<'_>) {
    let places = case.claimed(1..2).await;
    case.good(case.store().close().await, "closes");
    let answers = [
        ("commit", case.try_commit(vec![Write::Publish(Few::new())]).await.err()),
        ("read", case.store().read(&places).wait().await.err()),
        ("unfinished", case.store().unfinished(Cursor::default(), 10).await.err()),
        ("tally", case.store().tally(run(1)).await.err()),
        ("backlog", case.store().backlog().await.err()),
    ];
    for (call, error) in answers {
        assert!(
            matches!(error, Some(StoreError::Closed { .. })),
            "{}: {call} says that it is closed: {error:?}",
            case.name
        );
    }
}

pub(super) async fn the_tally_of_a_run_counts_its_outcomes(case: &Case<'_>) {
    let places = case.claimed(1..8).await;
    let other = publish(number_in(20, 2), vec![claim(0, 0), claim(1, 0)]);
    case.write(Write::Publish(vec![other].into())).await;
    let jobs: Vec<Start> = places[..3].iter().map(|place| start(0, &[*place])).collect();
    for job in &jobs {
        case.write(begin(job)).await;
    }
    case.write(finish(jobs[0].job, JobEnd::Done, Vec::new())).await;
    case.write(finish(jobs[1].job, dead(60), Vec::new())).await;
    case.write(finish(jobs[2].job, JobEnd::Cancelled, Vec::new())).await;
    case.write(settle(0, places[3], Outcome::Expired(Expiry::Patience))).await;
    case.write(settle(0, places[4], Outcome::Discarded(Discard::LoopGuard))).await;
    case.write(settle(0, places[5], Outcome::Cancelled)).await;
    let wanted = Tally { matched: 7, consumed: 1, expired: 1, discarded: 1, cancelled: 2, dead: 1 };
    case.same(case.good(case.store().tally(run(1)).await, "counts"), wanted, "every outcome once");
    let untouched = Tally { matched: 2, ..Tally::default() };
    case.same(case.good(case.store().tally(run(2)).await, "counts"), untouched, "another run");
    case.same(case.good(case.store().tally(run(9)).await, "counts"), Tally::default(), "an unknown run");
}

pub(super) async fn a_run_names_its_workflow(case: &Case<'_>) {
    case.write(Write::Publish([publish(number(1), Vec::new())].into())).await;
    case.die().await;
    let workflow = case.good(case.store().workflow(run(1)).await, "reads a run");
    case.same(workflow.as_deref(), Some("test"), "a run with an artifact");
    let unknown = case.good(case.store().workflow(run(7)).await, "reads a run");
    case.same(unknown.as_deref(), None, "a run without one");
}
