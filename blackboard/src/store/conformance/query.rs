//! Cases of queries: filters, pages, tallies, dead letters.

use std::collections::BTreeSet;

use super::*;
use crate::artifact::Producer;
use crate::filter::PAGE_MAX;
use crate::id::{Key, Tenant};
use crate::visibility::Visibility;

/// Six artifacts that differ in what filters ask for.
async fn assorted(case: &Case<'_>) {
    let id = ArtifactId::from_uuid(Uuid::from_u128(99));
    let text = Artifact::new(id, Kind::of::<String>(), Body::typed(Arc::new("x".to_owned())), run(1), at(3));
    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<BTreeSet<_>>();
    let artifacts = [
        number(1).with_tags(tags(&["a"])).with_partition(Key::from("\"p\"")),
        number_in(2, 2).caused_by(Producer::Agent("reader".into()), Vec::new(), 1),
        text,
        number(4).with_tags(tags(&["a", "b"])),
        number_in(5, 2).with_visibility(Visibility::only(["reader"])).caused_by(
            Producer::Agent("joiner".into()),
            Vec::new(),
            1,
        ),
        number(6).with_tags(tags(&["b"])).caused_by(Producer::Runtime, Vec::new(), 1),
    ];
    let artifacts: Vec<_> = artifacts.into_iter().map(|artifact| publish(artifact, Vec::new())).collect();
    case.write(Write::Publish(artifacts.into())).await;
}

pub(super) async fn find_obeys_every_condition(case: &Case<'_>) {
    assorted(case).await;
    let all = Filter::all;
    for (what, filter, wanted) in [
        ("no condition", all(), vec![1, 2, 3, 4, 5, 6]),
        ("kind", all().kind(Kind::of::<String>().name()), vec![3]),
        ("an unknown kind", all().kind("nobody"), vec![]),
        ("run", all().run(run(2)), vec![2, 5]),
        ("an unknown run", all().run(run(77)), vec![]),
        ("external", all().producer(Producer::External), vec![1, 3, 4]),
        ("one agent", all().producer(Producer::Agent("reader".into())), vec![2]),
        ("the runtime", all().producer(Producer::Runtime), vec![6]),
        ("one tag", all().tagged("a"), vec![1, 4]),
        ("both tags", all().tagged("a").tagged("b"), vec![4]),
        ("either tag", all().tagged_any("a").tagged_any("b"), vec![1, 4, 6]),
        ("either tag and another", all().tagged_any("a").tagged("b"), vec![4]),
        ("an unknown tag", all().tagged_any("c"), vec![]),
        ("partition", all().partition(Key::from("\"p\"")), vec![1]),
        ("visibility", all().visibility(Visibility::only(["reader"])), vec![5]),
        ("public ones", all().visibility(Visibility::Public), vec![1, 2, 3, 4, 6]),
        ("places", all().from_offset(Offset::new(2)).to_offset(Offset::new(4)), vec![2, 3]),
        ("since, inclusive", all().since(at(5)), vec![5, 6]),
        ("until, exclusive", all().until(at(2)), vec![1]),
        ("since and until", all().since(at(2)).until(at(5)), vec![2, 3, 4]),
        ("run and time", all().run(run(1)).since(at(3)), vec![3, 4, 6]),
        ("run and kind", all().run(run(1)).kind(Kind::of::<u32>().name()), vec![1, 4, 6]),
        ("run and tag", all().run(run(1)).tagged("b"), vec![4, 6]),
        ("run and producer", all().run(run(2)).producer(Producer::External), vec![]),
        ("a cursor", all().after(Offset::new(4)), vec![5, 6]),
    ] {
        case.same(case.find(filter).await, wanted, what);
    }
}

pub(super) async fn find_lists_the_newest_first(case: &Case<'_>) {
    assorted(case).await;
    let newest = || Filter::all().newest_first();
    case.same(case.find(newest()).await, vec![6, 5, 4, 3, 2, 1], "everything");
    case.same(case.find(newest().run(run(1)).limit(2)).await, vec![6, 4], "one run, two of it");
    case.same(case.find(newest().after(Offset::new(3))).await, vec![2, 1], "behind a cursor");
}

pub(super) async fn pages_cover_everything_exactly_once(case: &Case<'_>) {
    let artifacts: Vec<_> = (1..24).map(|n| publish(number_in(n, u128::from(n % 2)), Vec::new())).collect();
    case.write(Write::Publish(artifacts.into())).await;
    for filter in [
        Filter::all(),
        Filter::all().newest_first(),
        Filter::all().run(run(1)),
        Filter::all().run(run(1)).newest_first(),
        Filter::all().since(at(10)),
        Filter::all().run(run(5)),
    ] {
        let whole = case.find(filter.clone()).await;
        for limit in [1, 3, 4, 12, 23, 24] {
            let pages = paged(case, filter.clone().limit(limit), limit).await;
            case.same(pages, whole.clone(), &format!("pages of {limit} for {filter:?}"));
        }
    }
}

async fn paged(case: &Case<'_>, filter: Filter, limit: usize) -> Vec<u64> {
    let (mut all, mut next) = (Vec::new(), filter.clone());
    for _ in 0..100 {
        let page = case.good(case.store().find(&next).await, "finds");
        assert!(page.artifacts.len() <= limit, "{}: a page holds at most {limit}", case.name);
        all.extend(page.artifacts.iter().map(|artifact| artifact.offset().get()));
        match page.next {
            Some(after) => next = filter.clone().after(after),
            None => return all,
        }
        assert!(!page.artifacts.is_empty(), "{}: a page with a next one is not empty", case.name);
    }
    panic!("{}: the pages end", case.name)
}

pub(super) async fn pages_have_limits(case: &Case<'_>) {
    let many = u32::try_from(PAGE_MAX).unwrap_or(u32::MAX) + 1;
    let artifacts: Vec<_> = (0..many).map(|n| publish(number(n), Vec::new())).collect();
    case.write(Write::Publish(artifacts.into())).await;
    for (asked, wanted) in [(None, PAGE_MAX), (Some(usize::MAX), PAGE_MAX), (Some(0), 1), (Some(7), 7)] {
        let filter = asked.map_or(Filter::all(), |limit| Filter::all().limit(limit));
        let page = case.good(case.store().find(&filter).await, "finds");
        case.same(page.artifacts.len(), wanted, &format!("limit {asked:?}"));
        case.same(page.next.map(Offset::get), Some(wanted as u64), "the next page begins behind the last");
    }
}

pub(super) async fn tenants_see_their_own(case: &Case<'_>) {
    let artifacts = [(1, "acme"), (2, "default"), (3, "umbrella"), (4, "acme")]
        .map(|(value, tenant)| publish(number(value).with_tenant(Tenant::from(tenant)), Vec::new()));
    case.write(Write::Publish(Vec::from(artifacts).into())).await;
    case.same(case.find(Filter::all()).await, vec![2], "the default tenant");
    case.same(case.find(Filter::all().tenant("acme")).await, vec![1, 4], "another tenant");
    case.same(case.find(Filter::all().tenant("acme").run(run(1))).await, vec![1, 4], "another's run");
    case.same(case.find(Filter::all().tenant("nobody")).await, vec![], "an unknown tenant");
}

pub(super) async fn a_closed_history_refuses(case: &Case<'_>) {
    case.good(case.store().close().await, "closes");
    let filter = Filter::all();
    let error = case.store().find(&filter).await.err();
    case.same(matches!(error, Some(StoreError::Closed { .. })), true, "it says that it is closed");
}
