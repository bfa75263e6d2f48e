//! Files that are not as they should be: the store says so in one clear error, and touches nothing.

use std::fs;
use std::io::{Read as _, Seek, SeekFrom, Write as _};

use super::*;
use volery_blackboard::claim::{Claimed, Settled};
use volery_blackboard::job::{Member, Start};
use volery_blackboard::outcome::Quarantine;
use volery_blackboard::{AgentIndex, Discard, JobId, JobIndex, Offset, Outcome};

fn error(result: Result<Sqlite, StoreError>) -> StoreError {
    result.expect_err("it does not open")
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let scratch = Scratch::new();
    let first = open(&scratch.file()).expect("it opens");
    match error(Sqlite::open(scratch.file())) {
        StoreError::InUse { pid, host, .. } => {
            assert_eq!(pid, std::process::id().to_string());
            assert!(!host.is_empty() && host != "unknown");
        }
        other => panic!("it is in use: {other}"),
    }
    fill(&first, 1..3).expect("the first is not disturbed");
    block_on(first.close()).expect("it closes");
    let second = open(&scratch.file()).expect("it is free now");
    drop(second);
    open(&scratch.file()).expect("a dropped store is free at once, too");
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let scratch = Scratch::new();
    fs::write(scratch.file(), b"this is a letter to my aunt, and nothing else at all").expect("written");
    assert!(matches!(error(Sqlite::open(scratch.file())), StoreError::NotADatabase { .. }));
    let text = fs::read_to_string(scratch.file()).expect("it is there");
    assert!(text.starts_with("this is a letter"));
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let scratch = Scratch::new();
    let other = rusqlite::Connection::open(scratch.file()).expect("it opens");
    other.execute_batch("CREATE TABLE aunt(letter TEXT); INSERT INTO aunt VALUES ('dear')").expect("made");
    drop(other);
    assert!(matches!(error(Sqlite::open(scratch.file())), StoreError::NotADatabase { .. }));
    let other = rusqlite::Connection::open(scratch.file()).expect("it opens");
    let tables: i64 =
        other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("it reads");
    assert_eq!(tables, 1, "nothing was added");
}

#[test]
fn a_newer_schema_is_refused_naming_both_versions() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..3).expect("it writes");
    block_on(store.close()).expect("it closes");
    let newer = rusqlite::Connection::open(scratch.file()).expect("it opens");
    newer.execute("UPDATE meta SET value = 99 WHERE key = 'schema'", []).expect("changed");
    let epoch = |conn: &rusqlite::Connection| -> i64 {
        conn.query_row("SELECT value FROM meta WHERE key = 'epoch'", [], |row| row.get(0)).expect("it reads")
    };
    let before = epoch(&newer);
    let StoreError::NewerSchema { found, known, .. } = error(Sqlite::open(scratch.file())) else {
        panic!("it is newer")
    };
    assert_eq!((found, known), (99, schema::VERSION));
    assert_eq!(epoch(&newer), before, "it was not touched");
}

#[test]
fn an_empty_file_is_new_only_if_it_was_never_in_use() {
    let scratch = Scratch::new();
    fs::write(scratch.file(), b"").expect("written");
    let store = open(&scratch.file()).expect("an empty file is as good as none");
    fill(&store, 1..3).expect("it writes");
    block_on(store.close()).expect("it closes");
    fs::write(scratch.file(), b"").expect("somebody empties it");
    assert!(matches!(error(Sqlite::open(scratch.file())), StoreError::Corrupt { .. }));
}

/// A beginning that lost power before anything was on disk leaves its lock file and an empty file.
#[test]
fn a_beginning_that_was_cut_short_is_begun_again() {
    let scratch = Scratch::new();
    let mut lock = scratch.file().into_os_string();
    lock.push(".lock");
    fs::write(&lock, b"1 somewhere\n").expect("written");
    fs::write(scratch.file(), b"").expect("written");
    let store = open(&scratch.file()).expect("it begins again");
    fill(&store, 1..3).expect("it writes");
    drop(store);
    assert_eq!(numbers(&open(&scratch.file()).expect("it opens")).expect("it reads"), [1, 2]);
}

#[test]
fn a_file_that_is_cut_short_is_refused() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..500).expect("it writes");
    block_on(store.close()).expect("it closes");
    let file = fs::OpenOptions::new().write(true).open(scratch.file()).expect("it is there");
    file.set_len(file.metadata().expect("it has a length").len() / 2).expect("cut");
    assert!(matches!(error(Sqlite::open(scratch.file())), StoreError::Corrupt { .. }));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_said_so() {
    // Nobody, not even root, may make a file there.
    if cfg!(target_os = "linux") {
        let refused = error(Sqlite::open("/sys/kernel/volery.db"));
        assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused}");
    }
    let missing = error(Sqlite::open(Scratch::new().0.join("no/such/folder/store.db")));
    assert!(missing.to_string().contains("no/such/folder"), "{missing}");
}

#[test]
fn a_log_that_is_cut_short_leaves_an_earlier_commit() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    for n in 1..=20 {
        fill(&store, n..n + 1).expect("it writes");
    }
    // As the machine would find it after a loss of power, with a part of the log gone.
    let copy = scratch.0.join("copy.db");
    fs::copy(scratch.file(), &copy).expect("copied");
    let log = fs::read(scratch.0.join("store.db-wal")).expect("there is a log");
    fs::write(scratch.0.join("copy.db-wal"), &log[..log.len() * 2 / 3]).expect("written");
    drop(store);
    let store = open(&copy).expect("it opens without help");
    let found = numbers(&store).expect("it reads");
    assert!(found.len() < 20, "the log was cut");
    let upto = u32::try_from(found.len()).expect("few");
    assert_eq!(found, (1..=upto).collect::<Vec<_>>(), "what is left is whole commits, in order");
    fill(&store, 50..51).expect("and it goes on");
    let check: String = rusqlite::Connection::open(&copy)
        .and_then(|conn| conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
        .expect("it can be checked");
    assert_eq!(check, "ok");
}

/// Changes the only block of a table.
fn edit(scratch: &Scratch, table: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let tool = rusqlite::Connection::open(scratch.file()).expect("tools may open the file");
    let sql = format!("SELECT key, value FROM {table}");
    let block = tool.query_row(&sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let (key, mut value) = block.expect("there is one");
    change(&mut value);
    tool.execute(&format!("UPDATE {table} SET value = ?2 WHERE key = ?1"), (key, value)).expect("changed");
}

/// Where the claim on a place stands in its block, if all are plain: its place, its length, a body of one
/// byte, and a checksum.
fn plain_claim(place: usize) -> usize {
    32 + (place - 1) * 7
}

/// Flips one bit of the file where `needle` stands.
fn flip(path: &Path, needle: &[u8]) {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).expect("it is there");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("it reads");
    let at = bytes.windows(needle.len()).position(|window| window == needle).expect("it is in the file");
    file.seek(SeekFrom::Start(at as u64)).expect("it seeks");
    file.write_all(&[bytes[at] ^ 1]).expect("it writes");
}

#[test]
fn a_flipped_bit_is_reported_and_not_served() {
    for needle in [&b"marked-payload"[..], b"marked-tag", b"marked-partition"] {
        let scratch = Scratch::new();
        let store = open(&scratch.file()).expect("it opens");
        let id = ArtifactId::from_uuid(Uuid::from_u128(7));
        let body = Body::typed(Arc::new("marked-payload".to_owned()));
        let text = Artifact::new(id, Kind::of::<String>(), body, run(1), Timestamp::default())
            .with_partition("marked-partition".into())
            .with_tags(["marked-tag".to_owned()].into());
        let artifacts = vec![publish(number(1), Vec::new()), publish(text, vec![claim()])];
        commit(&store, vec![Write::Publish(artifacts.into())]).expect("it writes");
        block_on(store.close()).expect("it closes");
        flip(&scratch.file(), needle);
        let store = open(&scratch.file()).expect("the damage is in one artifact");
        let read = |offset| block_on(store.read(&[Offset::new(offset)]).wait());
        read(1).expect("the other one is sound");
        match read(2) {
            Err(StoreError::Corrupt { store: name, offset: Some(offset), .. }) => {
                assert_eq!((PathBuf::from(name), offset.get()), (scratch.file(), 2));
            }
            other => panic!("damage to {:?} is seen: {other:?}", String::from_utf8_lossy(needle)),
        }
    }
}

#[test]
fn random_flips_are_never_a_panic_and_never_served_as_truth() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    // Long texts, so that most of the file is payload and most flips hit one.
    let text = |n: u32| format!("{n} {}", "x".repeat(2_000));
    let artifact = |n: u32| {
        let (id, body) = (Uuid::from_u128(u128::from(n)), Body::typed(Arc::new(text(n))));
        let id = ArtifactId::from_uuid(id);
        publish(Artifact::new(id, Kind::of::<String>(), body, run(1), Timestamp::default()), vec![claim()])
    };
    commit(&store, vec![Write::Publish((1..200).map(artifact).collect())]).expect("it writes");
    block_on(store.close()).expect("it closes");
    let sound = fs::read(scratch.file()).expect("it reads");
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..60 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = usize::try_from(seed % sound.len() as u64).expect("in range");
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (seed >> 61);
        let copy = scratch.0.join("copy.db");
        for suffix in ["", "-wal", "-shm", ".lock"] {
            drop(fs::remove_file(scratch.0.join(format!("copy.db{suffix}"))).err());
        }
        fs::write(&copy, &bytes).expect("written");
        let Ok(store) = open(&copy) else { continue };
        for n in 1..200_u32 {
            if let Ok(read) = block_on(store.read(&[Offset::new(n.into())]).wait()) {
                let value =
                    read[0].payload::<String>().expect("what passes the checksum is JSON of its kind");
                assert_eq!(*value, text(n), "byte {at} was flipped, and a wrong artifact was served");
            }
        }
        drop(block_on(store.find(&Filter::all())).err());
        drop(block_on(store.unfinished(Cursor::default(), 1_000)).err());
        drop(block_on(store.claims(&[SubscriptionIndex(0)], None, 1_000)).err());
    }
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    let scratch = Scratch::new();
    let store = Sqlite::options(scratch.file()).size_max(600_000).open().expect("it opens");
    block_on(store.open(catalogue())).expect("it opens");
    let mut written = 0_u32;
    let full = loop {
        match fill(&store, written + 1..written + 51) {
            Ok(()) => written += 50,
            Err(error) => break error,
        }
        assert!(written < 100_000, "it fills up at last");
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    assert!(written > 0, "something was written before");
    let again = fill(&store, 1..2).err();
    assert!(again.is_none(), "what is there already needs no room: {again:?}");
    let count = || {
        let kind = Kind::of::<u32>();
        let rows = block_on(store.summary(&Filter::all(), SummaryBy::Kind)).expect("it counts");
        rows.iter().find(|row| row.name == kind.name()).map_or(0, |row| row.count)
    };
    assert_eq!(count(), u64::from(written), "everything accepted is there, and nothing else");
    block_on(store.close()).expect("it closes");
    let store = open(&scratch.file()).expect("it opens with room");
    fill(&store, written + 1..written + 51).expect("it goes on where it was");
}

#[test]
fn a_damaged_claim_is_refused_and_keeps_nobody_from_reading_the_others() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..7).expect("it writes");
    edit(&scratch, "claim", |claims| claims[plain_claim(2)] ^= 1);
    // The third one loses its place: nothing but the head of the block tells of it.
    edit(&scratch, "claim", |claims| drop(claims.drain(plain_claim(3)..plain_claim(4))));
    let tool = rusqlite::Connection::open(scratch.file()).expect("tools may open the file");
    for damage in ["UPDATE artifact SET run = x'00' WHERE seq = 4", "DELETE FROM artifact WHERE seq = 5"] {
        tool.execute(damage, []).expect("damaged");
    }
    let claims = block_on(store.claims(&[SubscriptionIndex(0)], None, 10)).expect("it reads");
    let read: Vec<(u64, bool)> = claims
        .iter()
        .map(|claimed| {
            let refused = claimed.published.claims[0].refused.as_deref();
            (claimed.published.offset.get(), matches!(refused, Some(Discard::Damaged(_))))
        })
        .collect();
    assert_eq!(read, [(1, false), (2, true), (3, true), (4, true), (5, true), (6, false)]);
    assert_eq!(claims[1].published.run, run(1), "what can be told is told");
    let settle = |claimed: &Claimed| {
        Write::Settle(Settled {
            subscription: SubscriptionIndex(0),
            offset: claimed.published.offset,
            run: claimed.published.run,
            side: 0,
            outcome: Outcome::Discarded(Discard::clone(
                claimed.published.claims[0].refused.as_deref().expect("it is refused"),
            )),
        })
    };
    let results = commit(&store, claims[1..5].iter().map(settle).collect()).expect("it writes");
    assert!(results.iter().all(|result| matches!(result, Written::Done(_))), "{results:?}");
    let backlog = block_on(store.backlog()).expect("it counts");
    assert_eq!(backlog.iter().map(|backlog| backlog.count).sum::<u64>(), 2, "they have ended");
}

/// A job that was started and not finished, on the input at this place.
pub(super) fn start(place: u64) -> Start {
    let offset = Offset::new(place);
    let at = Timestamp::from_micros_since_epoch(i64::try_from(place).expect("it is small") * 1_000_000);
    Start {
        job: JobId::derive("reader/0", at, std::iter::once(offset)),
        agent: AgentIndex(0),
        subscription: SubscriptionIndex(0),
        members: [Member { offset, side: 0, group: 0 }].into(),
        attempt: 1,
        failures: 0,
        run: run(1),
        opens_run: false,
        at,
        closed: None,
        shared: false,
        alone: false,
        index: JobIndex::default(),
        observed: None,
    }
}

/// Unfinished work: the places of jobs' inputs, and of claims with whether they are damaged.
pub(super) fn left(store: &Sqlite) -> (Vec<u64>, Vec<(u64, bool)>) {
    let (mut jobs, mut cursor) = (Vec::new(), Cursor::default());
    while let Cursor::Jobs(_) = cursor {
        let (found, next) = block_on(store.unfinished(cursor, 10)).expect("it reads");
        jobs.extend(found.into_iter().filter_map(|unfinished| match unfinished {
            Unfinished::Job(resumed) => Some(resumed.start.members[0].offset.get()),
            Unfinished::Pair { .. } => None,
        }));
        cursor = next.expect("pairs follow");
    }
    let claims = block_on(store.claims(&[SubscriptionIndex(0)], None, 100)).expect("it reads");
    let claim = |claimed: Claimed| {
        let refused = claimed.published.claims[0].refused.as_deref().cloned();
        (claimed.published.offset.get(), matches!(refused, Some(Discard::Damaged(_))))
    };
    (jobs, claims.into_iter().map(claim).collect())
}

/// Unfinished work that a life finds, and how many damaged records.
type Life = (Vec<u64>, Vec<(u64, bool)>, usize);

/// Opens the store again and ends whatever it refuses as damaged, twice.
fn lives_on(scratch: &Scratch, what: &str) -> [Life; 2] {
    [(); 2].map(|()| {
        let store = open(&scratch.file()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let (jobs, claims) = left(&store);
        let settle = |place| {
            Write::Settle(Settled {
                subscription: SubscriptionIndex(0),
                side: 0,
                offset: Offset::new(place),
                run: run(1),
                outcome: Outcome::Discarded(Discard::Damaged("gone".to_owned())),
            })
        };
        let damaged = claims.iter().filter(|(_, damaged)| *damaged);
        commit(&store, damaged.map(|(place, _)| settle(*place)).collect()).expect("they end");
        let found = store.damage();
        assert!(found.iter().all(|damage| damage.what.contains("job")), "{found:?}");
        block_on(store.close()).expect("it closes");
        (jobs, claims, found.len())
    })
}

#[test]
fn a_damaged_record_of_a_job_ends_the_job_and_keeps_nobody_from_starting() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    fill(&store, 1..5).expect("it writes");
    let starts = (1..4).map(|place| Write::Start(Arc::new(start(place))));
    commit(&store, starts.collect()).expect("it writes");
    block_on(store.close()).expect("it closes");
    let sound = fs::read(scratch.file()).expect("it reads");
    let mut entry = 0..0;
    edit(&scratch, "job", |jobs| entry = jobs.len() / 3..jobs.len() / 3 * 2);
    // The place, the length, the inputs with their checksum, the rest, the checksum of all.
    let (length, inputs) = (entry.start + 1, entry.start + 2..entry.start + 12);
    for at in entry {
        fs::write(scratch.file(), &sound).expect("written");
        edit(&scratch, "job", |jobs| jobs[at] ^= 1);
        let [(jobs, claims, found), next] = lives_on(&scratch, &format!("byte {at}"));
        let (ended, free) = (vec![(2, true), (4, false)], vec![(2, false), (4, false)]);
        if at == length {
            // No entry behind it can be found: the third job forms again.
            assert_eq!((jobs, claims), (vec![1], vec![(2, true), (3, false), (4, false)]), "byte {at}");
        } else if inputs.contains(&at) {
            assert_eq!((jobs, claims), (vec![1, 3], free), "byte {at}: it forms again");
        } else {
            assert_eq!((jobs, claims), (vec![1, 3], ended), "byte {at}: it is over");
        }
        assert!(found > 0, "byte {at}: it is told of");
        assert_eq!(next.2, 0, "byte {at}: it is over");
        assert!(next.1.iter().all(|(_, damaged)| !damaged), "byte {at}: {next:?}");
    }
}

#[test]
fn a_damaged_note_holds_what_it_is_about_and_keeps_nobody_from_starting() {
    let scratch = Scratch::new();
    let store = open(&scratch.file()).expect("it opens");
    let quarantine = Quarantine { since: Timestamp::default(), restarts: 3, resumes_at: None };
    let (at, state) = (Some(Timestamp::from_micros_since_epoch(7)), Some(quarantine));
    let notes = [
        Note::AgentPaused { agent: "reader".into(), paused: true },
        Note::AgentQuarantined { agent: "reader".into(), state },
        Note::RunDeadline { run: run(1), at },
        Note::RunCancelled(run(2)),
        Note::RunFinishing(run(3)),
    ];
    commit(&store, notes.iter().cloned().map(Write::Note).collect()).expect("it writes");
    block_on(store.close()).expect("it closes");
    let tool = rusqlite::Connection::open(scratch.file()).expect("tools may open the file");
    tool.execute("UPDATE note SET value = 'no JSON' WHERE topic <> 'finishing'", []).expect("damaged");
    tool.execute("INSERT INTO note VALUES ('nobody', 'paused', '{}')", []).expect("damaged");
    tool.execute("INSERT INTO marks VALUES (1, 'no JSON')", []).expect("damaged");
    drop(tool);
    let store = open(&scratch.file()).expect("the damage is in a few records");
    let mut found = block_on(store.notes()).expect("it reads");
    found.sort_by_key(|note| (note.subject(), note.topic()));
    let unknown = Quarantine { restarts: 0, ..quarantine };
    let mut held = notes;
    held[1] = Note::AgentQuarantined { agent: "reader".into(), state: Some(unknown) };
    held[2] = Note::RunDeadline { run: run(1), at: Some(Timestamp::default()) };
    assert_eq!(found, held, "what they forbade stays forbidden");
    assert_eq!(block_on(store.marks()).expect("it reads"), []);
    assert_eq!(store.damage().len(), 6, "each is told of: {:?}", store.damage());
}

#[test]
fn a_claim_that_is_not_what_was_written_is_refused() {
    for at in plain_claim(3)..plain_claim(4) {
        for bit in 0..8 {
            let scratch = Scratch::new();
            let store = open(&scratch.file()).expect("it opens");
            fill(&store, 1..4).expect("it writes");
            edit(&scratch, "claim", |claims| claims[at] ^= 1 << bit);
            let (_, claims) = left(&store);
            assert_eq!(claims[..2], [(1, false), (2, false)], "byte {at}");
            assert_eq!(claims[2], (3, true), "byte {at}");
            assert!(claims[3..].iter().all(|(_, damaged)| *damaged), "byte {at}: {claims:?}");
        }
    }
}
