//! Dead letters that are over leave the file, and nothing else does.

use std::time::Duration;

use super::faults::start;
use super::*;
use volery_blackboard::store::{Death, Finish, JobEnd, Redrive};

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros_since_epoch(second * 1_000_000)
}

/// Lets the jobs on these places fail for good.
fn fail(store: &Sqlite, places: std::ops::RangeInclusive<u64>) {
    for place in places {
        let start = start(place);
        let death = Death { attempts: 1, error: vec!["no luck".to_owned()], at: at(50) };
        let end = JobEnd::Dead(Box::new(death));
        let finish = Finish { job: start.job, start: None, end, outputs: Few::new() };
        commit(store, vec![Write::Start(Arc::new(start)), Write::Finish(finish)]).expect("it writes");
    }
}

fn discard(store: &Sqlite, letter: u64, second: i64) {
    let discard = Write::Discard { letter, at: at(second), reason: "of no use".to_owned() };
    commit(store, vec![discard]).expect("it writes");
}

fn listed(store: &Sqlite) -> Vec<u64> {
    let letters = block_on(store.dead_letters(&DeadFilter::all())).expect("it lists");
    letters.iter().map(|letter| letter.number).collect()
}

fn attempts(scratch: &Scratch) -> i64 {
    let tool = rusqlite::Connection::open(scratch.file()).expect("tools may open the file");
    tool.query_row("SELECT count(*) FROM attempt", [], |row| row.get(0)).expect("it counts")
}

#[test]
fn letters_that_are_over_go_by_age_and_count_and_open_ones_never() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..7).expect("it writes");
    fail(&store, 1..=6);
    (2..=5).for_each(|letter| discard(&store, letter, 100 + i64::try_from(letter).expect("few")));
    let redrive = Redrive { letter: 6, at: at(60), edits: Vec::new() };
    commit(&store, vec![Write::Redrive(redrive)]).expect("it runs again");
    let retain =
        |policy: Retention, limit| block_on(store.retain(&policy, at(200), limit)).expect("it removes");
    let of_age = || bound(|policy| policy.letters_age_max = Some(Duration::from_secs(97)));
    assert_eq!(retain(of_age(), 100), Retained { letters: 1, ..Retained::default() });
    assert_eq!(listed(&store), [1, 3, 4, 5, 6], "the sixth was decided first, and its job is under way");
    let of_count = || bound(|policy| policy.letters_count_max = Some(1));
    assert_eq!(retain(of_count(), 1), Retained { letters: 1, more: true, ..Retained::default() });
    assert_eq!(retain(of_count(), 1), Retained { letters: 1, ..Retained::default() });
    assert_eq!((listed(&store), attempts(&scratch)), (vec![1, 5, 6], 3), "with their attempts");
    let finish = Finish { job: start(6).job, start: None, end: JobEnd::Done, outputs: Few::new() };
    commit(&store, vec![Write::Finish(finish)]).expect("it ends");
    let none = || bound(|policy| policy.letters_count_max = Some(0));
    assert_eq!(retain(none(), 100), Retained { letters: 2, ..Retained::default() });
    assert_eq!((listed(&store), attempts(&scratch)), (vec![1], 1), "what is open stays");
    assert_eq!(found(&store), [1, 2, 3, 4, 5, 6], "artifacts have no bound");
}

fn found(store: &Sqlite) -> Vec<u32> {
    numbers(store).expect("it reads")
}

#[test]
fn numbers_of_letters_are_not_given_again() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..4).expect("it writes");
    fail(&store, 1..=2);
    discard(&store, 2, 100);
    let none = bound(|policy| policy.letters_count_max = Some(0));
    block_on(store.retain(&none, at(200), 100)).expect("it removes");
    block_on(store.close()).expect("it closes");
    let store = open(&scratch.file()).expect("it opens");
    fail(&store, 3..=3);
    assert_eq!(listed(&store), [1, 3]);
}
