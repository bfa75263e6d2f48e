//! Lives of the store: what outlives a close, a drop and a takeover; writes that fail alone.

use super::*;
use volery_blackboard::{Offset, Producer};

#[test]
fn what_was_accepted_is_there_after_a_drop() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..100).expect("it writes");
    drop(store);
    let store = open(&scratch.file()).expect("it opens");
    assert_eq!(numbers(&store).expect("it reads"), (1..100).collect::<Vec<_>>());
    let next = store.commit(vec![Write::Publish(Few::from([publish(number(100), vec![])]))]);
    let Response::Pending(answer) = next else { panic!("the writer answers later") };
    drop(store);
    let results = block_on(answer).expect("what was told is done before the end");
    assert!(matches!(results.as_slice(), [Written::Done(_)]));
}

#[test]
fn a_commit_that_nobody_waits_for_is_done_before_the_next() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    let forgotten = store.commit(vec![Write::Publish(Few::from([publish(number(1), vec![])]))]);
    drop(forgotten);
    fill(&store, 2..3).expect("it writes");
    assert_eq!(numbers(&store).expect("it reads"), [1, 2]);
}

#[test]
fn a_stale_owner_changes_nothing() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..2).expect("it writes");
    let other = rusqlite::Connection::open(scratch.file()).expect("tools may open the file");
    other.execute("UPDATE meta SET value = value + 1 WHERE key = 'epoch'", []).expect("a later owner");
    let refused = fill(&store, 2..3).expect_err("it is stale");
    assert!(matches!(refused, StoreError::Superseded { .. }), "{refused}");
    assert_eq!(numbers(&store).expect("it still reads"), [1]);
}

#[test]
fn a_write_that_cannot_be_done_fails_alone() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    // A claim of a subscription that nobody registered is found only after its artifact was written.
    let bad = Claim { subscription: SubscriptionIndex(9), ..claim() };
    let one = |n, claims| Write::Publish(Few::from([publish(number(n), claims)]));
    let writes = vec![one(1, vec![claim()]), one(2, vec![bad]), one(3, vec![claim()])];
    let results = commit(&store, writes).expect("the others are written");
    let done: Vec<bool> = results.iter().map(|result| matches!(result, Written::Done(_))).collect();
    assert_eq!(done, [true, false, true]);
    assert_eq!(numbers(&store).expect("it reads"), [1, 3]);
    let tally = block_on(store.tally(run(1))).expect("it counts");
    assert_eq!(tally.matched, 2, "nothing of the bad write is counted");
    fill(&store, 4..5).expect("and it goes on");
    let read = block_on(store.read(&[1, 2, 3].map(Offset::new)).wait()).expect("places have no gap");
    assert_eq!(read.len(), 3);
}

#[test]
fn a_payload_that_panics_when_written_is_refused_alone() {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Bomb;
    impl serde::Serialize for Bomb {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("boom")
        }
    }
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    let id = ArtifactId::from_uuid(Uuid::from_u128(7));
    let bomb =
        Artifact::new(id, Kind::of::<Bomb>(), Body::typed(Arc::new(Bomb)), run(1), Timestamp::default());
    let writes = [bomb, number(1)].map(|artifact| Write::Publish(Few::from([publish(artifact, vec![])])));
    let results = commit(&store, Vec::from(writes)).expect("the other is written");
    assert!(matches!(results.as_slice(), [Written::Refused(_), Written::Done(_)]), "{results:?}");
}

#[test]
fn what_was_just_committed_is_read_without_waiting() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..3).expect("it writes");
    let Response::Ready(Ok(read)) = store.read(&[Offset::new(2), Offset::new(1)]) else {
        panic!("it is at hand")
    };
    let ids: Vec<_> = read.iter().map(|artifact| artifact.id()).collect();
    assert_eq!(ids, [number(2).id(), number(1).id()]);
}

#[test]
fn kinds_that_the_program_does_not_know_are_read_as_json() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    let id = ArtifactId::from_uuid(Uuid::from_u128(7));
    let body = Body::typed(Arc::new(vec![1_u8, 2]));
    let list = Artifact::new(id, Kind::of::<Vec<u8>>(), body, run(1), Timestamp::default());
    let list = list.caused_by(Producer::Agent("gone".into()), vec![number(1).id()], 3);
    commit(&store, vec![Write::Publish(Few::from([publish(list, vec![])]))]).expect("it writes");
    drop(store);
    let store = open(&scratch.file()).expect("it opens");
    let read = block_on(store.read(&[Offset::new(1)]).wait()).expect("it reads");
    assert!(read[0].kind().is_foreign());
    assert_eq!(&*read[0].json().expect("it is JSON"), "[1,2]");
    assert_eq!(*read[0].payload::<Vec<u8>>().expect("and fits its type"), [1, 2]);
}

#[test]
fn a_subscription_that_is_gone_keeps_its_claims() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..3).expect("it writes");
    drop(store);
    let store = Sqlite::open(scratch.file()).expect("it opens");
    let other =
        Catalogue { agents: vec!["other".into()], subscriptions: vec!["other/0".into()], ..catalogue() };
    block_on(store.open(other)).expect("a program without the agent");
    assert_eq!(block_on(store.backlog()).expect("it counts"), []);
    drop(store);
    let store = open(&scratch.file()).expect("it opens");
    assert_eq!(block_on(store.backlog()).expect("it counts")[0].count, 2, "the agent is back");
}

#[test]
fn places_are_not_given_again_when_the_newest_artifact_was_removed() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    let one = |n| vec![Write::Publish(Few::from([publish(number(n), vec![])]))];
    commit(&store, one(1)).expect("it writes");
    let policy = bound(|policy| policy.count_max = Some(0));
    let removed = block_on(store.retain(&policy, Timestamp::default(), 10)).expect("it removes");
    assert_eq!(removed.removed, 1);
    drop(store);
    let store = open(&scratch.file()).expect("it opens");
    commit(&store, one(2)).expect("it writes");
    let gone = block_on(store.read(&[Offset::new(1)]).wait()).expect_err("it was removed");
    assert!(matches!(gone, StoreError::Missing { .. }));
    assert_eq!(block_on(store.read(&[Offset::new(2)]).wait()).expect("it is there").len(), 1);
}

#[test]
fn a_note_of_an_open_span_is_read_under_its_stored_name() {
    let scratch = Scratch::new();
    drop(open(&scratch.file()).expect("it opens"));
    let place = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    let value = format!(r#"{{"shown":{{"place":"{place}","open":"a record"}}}}"#);
    let row = [&format!("shown:{place}"), "open", &value];
    let tool = rusqlite::Connection::open(scratch.file()).expect("tools may open the file");
    tool.execute("INSERT INTO note VALUES (?1, ?2, ?3)", row).expect("it writes");
    let store = open(&scratch.file()).expect("it opens");
    let open = Note::Span { place: place.into(), open: Some("a record".to_owned()) };
    assert_eq!(block_on(store.notes()).expect("it reads"), std::slice::from_ref(&open));
    let exported = Note::Span { place: place.into(), open: None };
    commit(&store, vec![Write::Note(exported)]).expect("it writes");
    assert_eq!(block_on(store.notes()).expect("it reads"), []);
    commit(&store, vec![Write::Note(open)]).expect("it writes");
    let written: String = tool
        .query_row("SELECT value FROM note WHERE subject = ?1", [row[0]], |row| row.get(0))
        .expect("it is there");
    assert_eq!(written, value);
}
