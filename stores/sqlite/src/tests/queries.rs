//! Queries that a memory store does not have to think about: times as places, many tenants, retention in a
//! file.

use std::time::Duration;

use super::*;
use volery_blackboard::Tenant;

fn commit_all(store: &Sqlite, artifacts: Vec<Artifact>) {
    let artifacts = artifacts.into_iter().map(|artifact| publish(artifact, Vec::new())).collect();
    commit(store, vec![Write::Publish(artifacts)]).expect("it writes");
}

fn found(store: &Sqlite, filter: Filter) -> Vec<u64> {
    let page = block_on(store.find(&filter)).expect("it finds");
    page.artifacts.iter().map(|artifact| artifact.offset().get()).collect()
}

#[test]
fn times_find_what_was_published_out_of_order_and_across_eras() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    let at = |second: i64| Timestamp::from_micros_since_epoch(second * 1_000_000);
    let artifact = |n: u32, second: i64| {
        let id = ArtifactId::from_uuid(Uuid::from_u128(u128::from(n)));
        Artifact::new(id, Kind::of::<u32>(), Body::typed(Arc::new(n)), run(1), at(second))
    };
    // One a second, but a few that were published long before, or long after, they were committed.
    let second = |n: u32| match n {
        500 => 9_000,
        3_000 => 5,
        n => i64::from(n),
    };
    commit_all(&store, (1..=4_000).map(|n| artifact(n, second(n))).collect());
    for (since, until) in
        [(0, 10), (1_000, 1_030), (3_990, 9_001), (2_047, 2_049), (4_500, 8_000), (6_000, 6_001)]
    {
        let in_range = |n: &u32| (since..until).contains(&second(*n));
        let wanted: Vec<u64> = (1..=4_000).filter(in_range).map(u64::from).collect();
        let filter = Filter::all().since(at(since)).until(at(until));
        assert_eq!(found(&store, filter.clone()), wanted, "{since}..{until}");
        let backwards: Vec<u64> = wanted.into_iter().rev().collect();
        assert_eq!(found(&store, filter.newest_first()), backwards, "{since}..{until}, newest first");
    }
}

#[test]
fn many_tenants_are_found_together_and_apart() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    let of = |n: u32| number(n).with_tenant(Tenant::from(format!("tenant-{}", n % 7)));
    commit_all(&store, (1..=70).map(of).collect());
    assert_eq!(found(&store, Filter::all().any_tenant()), (1..=70).collect::<Vec<_>>());
    let of_three: Vec<u64> = (1..=70).filter(|n| n % 7 == 3).collect();
    assert_eq!(found(&store, Filter::all().tenant("tenant-3")), of_three);
    let kind = Kind::of::<u32>();
    let newest = Filter::all().any_tenant().kind(kind.name()).newest_first().limit(3);
    assert_eq!(found(&store, newest), [70, 69, 68]);
}

#[test]
fn retention_gives_room_back_and_keeps_what_is_open() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..3).expect("it writes");
    commit_all(&store, (10..3_010).map(|n| number(n).with_tags(["t".to_owned()].into())).collect());
    let now = Timestamp::from_micros_since_epoch(3_010 * 1_000_000);
    let pages = || -> i64 {
        let conn = rusqlite::Connection::open(scratch.file()).expect("it opens");
        conn.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("it counts")
    };
    let before = pages();
    let policy = bound(|policy| policy.age_max = Some(Duration::from_secs(10)));
    let mut removed = 0;
    loop {
        let retained = block_on(store.retain(&policy, now, 1_000)).expect("it removes");
        removed += retained.removed;
        if !retained.more {
            break;
        }
    }
    assert_eq!(removed, 2_990, "all but the last ten seconds");
    assert_eq!(found(&store, Filter::all()).len(), 2 + 10, "and what is open");
    assert!(pages() < before / 3, "the file is smaller: {before} pages, then {}", pages());
    let conn = rusqlite::Connection::open(scratch.file()).expect("it opens");
    for (table, left) in [("artifact", 12), ("claim", 1), ("tag", 10), ("run", 1), ("facet", 2)] {
        let count: i64 = conn
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .expect("it counts");
        assert_eq!(count, left, "{table}");
    }
}

#[test]
fn retention_by_bytes_and_by_kind_removes_the_oldest() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    let text = |n: u32| {
        let id = ArtifactId::from_uuid(Uuid::from_u128(u128::from(n)));
        let body = Body::typed(Arc::new("x".repeat(98)));
        Artifact::new(id, Kind::of::<String>(), body, run(2), Timestamp::default())
    };
    commit_all(&store, (1..=10).map(text).collect());
    commit_all(&store, (11..=20).map(number).collect());
    let kind = Kind::of::<String>();
    let policy = bound(|policy| policy.bytes_max = Some(6))
        .with_kind(kind.name(), volery_blackboard::store::Bounds::count(2));
    let removed = block_on(store.retain(&policy, Timestamp::default(), 100)).expect("it removes").removed;
    assert_eq!(removed, 8 + 7);
    assert_eq!(
        found(&store, Filter::all()),
        [9, 10, 18, 19, 20],
        "two texts, and three numbers of two bytes each"
    );
}

#[test]
fn any_tool_reads_the_file_while_it_is_written() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..3).expect("it writes");
    let tool = rusqlite::Connection::open(scratch.file()).expect("it opens");
    let row: (String, String, String, String) = tool
        .query_row(
            "SELECT a.kind, a.producer, a.published, c.outcome FROM artifact_readable a
             JOIN claim_readable c ON c.seq = a.seq WHERE a.seq = 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .expect("the views speak plainly");
    let kind = Kind::of::<u32>();
    let wanted = (kind.name(), "external", "1970-01-01 00:00:01", "outstanding");
    assert_eq!((row.0.as_str(), row.1.as_str(), row.2.as_str(), row.3.as_str()), wanted);
}
