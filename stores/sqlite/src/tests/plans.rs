//! Plans: every statement that runs often finds its rows by an index.
//!
//! A condition that is forgotten in a statement leaves an index unused without any other sign than time.

use rusqlite::Connection;
use volery_blackboard::{Key, Offset, Producer, Visibility};

use super::*;
use crate::fault::Place;
use crate::{
    file,
    options::Options,
    session::{CLAIMS, Session},
    shared::Shared,
};

/// A connection to a file with one artifact of everything.
fn connection(scratch: &Scratch) -> (Connection, Arc<Shared>) {
    let store = open(&scratch.file()).expect("it opens");
    let rich = number(1)
        .caused_by(Producer::Agent("reader".into()), vec![number(0).id()], 1)
        .with_partition(Key::from("1"))
        .with_visibility(Visibility::only(["reader"]))
        .with_tags(["a".to_owned(), "b".to_owned()].into());
    commit(&store, vec![Write::Publish(Few::from([publish(rich, vec![claim()])]))]).expect("it writes");
    block_on(store.close()).expect("it closes");
    let place = Place::new(&scratch.file());
    let conn = file::open_reader(&place).expect("it opens");
    (conn, Arc::new(Shared::new(place, Options::new(scratch.file()))))
}

/// The steps of a plan. Values do not matter to it: it is made from the statement alone.
fn plan(conn: &Connection, sql: &str, values: usize) -> Vec<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("it is a statement");
    let nulls = vec![rusqlite::types::Null; values];
    let rows = statement.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3)).expect("it explains");
    rows.collect::<Result<_, _>>().expect("it is text")
}

fn check(what: &str, plan: &[String], wanted: &str) {
    assert!(plan.iter().any(|step| step.contains(wanted)), "{what} should use {wanted}: {plan:#?}");
    assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{what} should scan nothing: {plan:#?}");
    assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{what} should sort nothing: {plan:#?}");
}

const FACET: &str = "SEARCH f USING PRIMARY KEY (tenant=? AND facet=? AND name=?";

#[test]
fn every_filter_finds_its_artifacts_by_an_index() {
    let scratch = Scratch::new();
    let (conn, shared) = connection(&scratch);
    let session = Session::new(&conn, shared);
    let kind = Kind::of::<u32>();
    let (all, at) = (Filter::all, Timestamp::from_micros_since_epoch);
    for (what, filter, wanted) in [
        ("kind", all().kind(kind.name()), FACET),
        ("run", all().run(run(1)), "artifact_run"),
        ("run of any tenant", all().any_tenant().run(run(1)), "artifact_run"),
        ("run and kind", all().any_tenant().run(run(1)).kind(kind.name()), "artifact_run"),
        ("producer", all().producer(Producer::Agent("reader".into())), FACET),
        ("the runtime", all().producer(Producer::Runtime), FACET),
        ("partition", all().partition(Key::from("1")), "artifact_partition"),
        ("visibility", all().visibility(Visibility::only(["reader"])), "artifact_visibility"),
        ("a tag", all().tagged("a"), "SEARCH t USING PRIMARY KEY"),
        ("both tags", all().tagged("a").tagged("b"), "SEARCH t USING PRIMARY KEY"),
        ("a tag and a kind", all().tagged("a").kind(kind.name()), "SEARCH t USING PRIMARY KEY"),
        ("a run and a tag", all().run(run(1)).tagged("a"), "artifact_run"),
        ("either tag", all().tagged_any("a").tagged_any("b"), "INTEGER PRIMARY KEY (rowid=?)"),
        ("since", all().since(at(1_000_000)), "INTEGER PRIMARY KEY (rowid>?)"),
        ("times", all().since(at(0)).until(at(9_000_000)), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        ("places", all().from_offset(Offset::new(1)).to_offset(Offset::new(9)), "(rowid>? AND rowid<?)"),
        ("kind and times", all().kind(kind.name()).since(at(0)), FACET),
        ("a cursor", all().after(Offset::new(7)), "INTEGER PRIMARY KEY (rowid"),
    ] {
        for filter in [filter.clone(), filter.newest_first()] {
            let (sql, values) = session.find_sql(&filter).expect("it reads").expect("something may match");
            check(what, &plan(&session.conn, &sql, values.len()), wanted);
        }
    }
}

#[test]
fn dead_letters_are_found_by_an_index() {
    let scratch = Scratch::new();
    let (conn, shared) = connection(&scratch);
    let session = Session::new(&conn, shared);
    let (all, at) = (DeadFilter::all, Timestamp::from_micros_since_epoch);
    for (what, filter, wanted, sorts) in [
        ("all", all(), "INTEGER PRIMARY KEY (rowid>?)", false),
        ("open ones", all().only_open(), "dead_open", false),
        ("agent", all().agent("reader"), "dead_agent", false),
        ("run", all().run(run(1)), "dead_run", false),
        ("time", all().since(at(5)), "dead_at", true),
    ] {
        let (sql, values) = session.dead_sql(&filter).expect("it reads").expect("something may match");
        let plan = plan(&session.conn, &sql, values.len());
        assert!(plan.iter().any(|step| step.contains(wanted)), "{what} should use {wanted}: {plan:#?}");
        let sorted = plan.iter().any(|step| step.contains("TEMP B-TREE"));
        assert_eq!(sorted, sorts, "{what}: {plan:#?}");
    }
}

#[test]
fn claims_are_paged_by_their_key() {
    let scratch = Scratch::new();
    let (conn, shared) = connection(&scratch);
    let session = Session::new(&conn, shared);
    let plan = plan(&session.conn, CLAIMS, 2);
    check("a page of claims", &plan, "SEARCH claim USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)");
}

#[test]
fn what_a_commit_runs_finds_its_rows_by_a_key() -> Result<(), StoreError> {
    let scratch = Scratch::new();
    let (conn, shared) = connection(&scratch);
    let session = Session::new(&conn, shared);
    for (sql, values, wanted) in [
        ("SELECT value FROM claim WHERE key = ?1", 1, "SEARCH claim USING INTEGER PRIMARY KEY (rowid=?)"),
        ("SELECT seq FROM artifact WHERE run = ?1 ORDER BY seq LIMIT 1", 1, "artifact_run (run=?)"),
        ("SELECT seq, id, run FROM artifact WHERE id = ?1", 1, "artifact_id (id=?)"),
        ("SELECT seq, id, run FROM artifact WHERE tenant = ?1 AND idem = ?2", 2, "artifact_idem"),
        ("SELECT number FROM pair_member WHERE sub = ?1 AND seq = ?2", 2, "PRIMARY KEY (sub=? AND seq=?)"),
    ] {
        check(sql, &plan(&session.conn, sql, values), wanted);
    }
    Ok(())
}
