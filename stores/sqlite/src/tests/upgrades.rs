//! Files of earlier versions: what they hold is there when they are opened, under the ids that it had.

use super::faults::{left, start};
use super::*;
use volery_blackboard::job::{PairVerdict, Resumed, Start};
use volery_blackboard::store::{ClaimRecord, Death, Finish, JobEnd, Redrive};
use volery_blackboard::{CloseReason, Discard, JobId, Offset, Outcome, Producer, Tally};

/// Makes a file of an earlier version, with artifacts, letters and pairs of a store of today, and with these
/// rows.
fn older(scratch: &Scratch, version: i64, fill: impl FnOnce(&Sqlite), rows: &str) {
    let today = scratch.0.join("today.db");
    let store = open(&today).expect("it opens");
    fill(&store);
    block_on(store.close()).expect("it closes");
    let tool = rusqlite::Connection::open(scratch.file()).expect("it opens");
    schema::make_older(&tool, version).expect("its tables are made");
    tool.execute("ATTACH ?1 AS today", [today.display().to_string()]).expect("it is there");
    tool.execute_batch(
        "INSERT INTO name SELECT * FROM today.name;
         INSERT INTO subscription SELECT * FROM today.subscription;
         INSERT INTO artifact SELECT * FROM today.artifact;
         INSERT INTO era SELECT * FROM today.era;
         INSERT INTO dead SELECT * FROM today.dead;
         INSERT INTO attempt SELECT * FROM today.attempt;
         INSERT INTO pair(number, sub, job, dead, first, count, open)
             SELECT number, sub, job, dead, first, count, open FROM today.pair;
         INSERT INTO pair_member SELECT * FROM today.pair_member;",
    )
    .expect("they are the same");
    tool.execute_batch(rows).expect("they can be written");
}

const RUN: &str =
    "INSERT INTO run VALUES ((SELECT run FROM artifact WHERE seq = 1), 1, 'test', 6, 0, 0, 0, 0, 1);";

/// A row of `started`, for an input of a job with this number as its id.
fn started(place: u64, job: u8, order: u32, shared: bool, head: &str) -> String {
    let shared = u8::from(shared);
    format!("INSERT INTO started VALUES (1, {place}, x'{job:032x}', {order}, 0, 0, {shared}, {head});")
}

fn old(job: u8) -> JobId {
    JobId::from_uuid(Uuid::from_u128(job.into()))
}

fn unfinished(store: &Sqlite) -> Vec<Resumed> {
    let (jobs, _) = block_on(store.unfinished(Cursor::default(), 10)).expect("it reads");
    let job = |unfinished| match unfinished {
        Unfinished::Job(resumed) => resumed,
        pair @ Unfinished::Pair { .. } => panic!("jobs come first: {pair:?}"),
    };
    jobs.into_iter().map(job).collect()
}

#[test]
fn claims_of_an_older_file_are_read_and_those_that_were_damaged_stay_so() {
    let plain = |place: u64, crc: Option<u32>| {
        let crc = crc.map_or("NULL".to_owned(), |crc| crc.to_string());
        format!("INSERT INTO claim VALUES (1, {place}, 0, 1, NULL, NULL, NULL, NULL, NULL, NULL, {crc});")
    };
    // A claim without anything else: the numbers, and neither times nor texts.
    let sum = |place: u64| {
        let mut bytes = [1_u64.to_le_bytes(), place.to_le_bytes()].concat();
        bytes.extend_from_slice(&[0, 0, 1, 0, 0, 0]);
        bytes.extend_from_slice(&[0; 18 + 32]);
        crc32fast::hash(&bytes)
    };
    let whole =
        "INSERT INTO claim VALUES (1, 4, 3, 7, '\"k\"', '\"l\"', 5, 6, NULL, '{\"arrivals\":2}', NULL);";
    for version in [2, 3] {
        let scratch = Scratch::new();
        let rows =
            [plain(1, None), plain(2, Some(sum(2))), plain(3, Some(0)), whole.to_owned(), RUN.to_owned()];
        let rows = rows.concat();
        older(&scratch, version, |store| fill(store, 1..5).expect("it writes"), &rows);
        let store = open(&scratch.file()).expect("it is brought forward");
        assert_eq!(left(&store).1, [(1, false), (2, false), (3, true), (4, false)]);
        let claims = block_on(store.claims(&[SubscriptionIndex(0)], None, 9)).expect("it reads");
        let Claim { side, weight, key, lane, event_time, visible_at, refused, marks, .. } =
            claims[3].published.claims[0].clone();
        let times = [event_time, visible_at].map(|time| time.map(Timestamp::as_micros_since_epoch));
        assert_eq!((side, weight, times, refused), (3, 7, [Some(5), Some(6)], None));
        assert_eq!((key, lane), (Some("\"k\"".into()), Some("\"l\"".into())));
        assert_eq!(marks.map(|marks| marks.arrivals), Some(2));
    }
    let scratch = Scratch::new();
    let row = "INSERT INTO claim VALUES (1, 1, 0, 1, NULL, NULL, NULL, NULL, NULL, NULL);";
    older(&scratch, 1, |store| fill(store, 1..2).expect("it writes"), &[row, RUN].concat());
    let store = open(&scratch.file()).expect("the first version had no checksums");
    assert_eq!(left(&store).1, [(1, false)]);
    fill(&store, 2..3).expect("it goes on");
    assert_eq!(left(&store).1, [(1, false), (2, false)]);
}

#[test]
fn outcomes_and_runs_of_an_older_file_are_what_they_were() {
    let scratch = Scratch::new();
    let by_agent = |n| number(n).caused_by(Producer::Agent("reader".into()), vec![number(1).id()], 1);
    let fill = |store: &Sqlite| {
        let artifacts = (1..41).map(|n| publish(if n == 40 { by_agent(n) } else { number(n) }, Vec::new()));
        commit(store, vec![Write::Publish(artifacts.collect())]).expect("it writes");
    };
    let discarded = serde_json::to_string(&Outcome::Discarded(Discard::LoopGuard)).expect("it is data");
    let rows = format!(
        "INSERT INTO run VALUES ((SELECT run FROM artifact WHERE seq = 1), 1, 'test', 5, 1, 0, 1, 1, 1);
         INSERT INTO run VALUES (x'{gone}', 1, 'gone', 1, 1, 0, 0, 0, 0);
         INSERT INTO claim VALUES (1, 39, 0, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
         INSERT INTO outcome VALUES (1, 1, 1, NULL, x'{job:032x}', 40, 1);
         INSERT INTO outcome VALUES (2, 1, 3, '{discarded}', NULL, NULL, NULL);
         INSERT INTO outcome VALUES (35, 1, 4, NULL, NULL, NULL, NULL);
         INSERT INTO outcome VALUES (36, 1, 5, NULL, x'{job:032x}', NULL, NULL);",
        gone = "77".repeat(16),
        job = 9,
    );
    older(&scratch, 3, fill, &rows);
    let store = open(&scratch.file()).expect("it is brought forward");
    let tally = Tally { matched: 5, consumed: 1, discarded: 1, cancelled: 1, dead: 1, ..Tally::default() };
    assert_eq!(block_on(store.tally(run(1))).expect("it counts"), tally);
    assert_eq!(block_on(store.workflow(run(1))).expect("it is there").as_deref(), Some("test"));
    let record = |n, outcome, job, published: &[u64]| {
        let lineage = block_on(store.lineage(number(n).id())).expect("it reads").expect("it is there");
        let published = published.iter().copied().map(Offset::new).collect();
        let wanted = ClaimRecord { subscription: "reader/0".to_owned(), outcome, job, published };
        assert_eq!(lineage.claims, [wanted], "{n}");
    };
    record(1, Some(Outcome::Consumed), Some(old(9)), &[40]);
    record(2, Some(Outcome::Discarded(Discard::LoopGuard)), None, &[]);
    record(35, Some(Outcome::Cancelled), None, &[]);
    record(36, Some(Outcome::Dead), Some(old(9)), &[]);
    record(39, None, None, &[]);
    let count = |filter: Filter| block_on(store.find(&filter)).expect("it finds").artifacts.len();
    assert_eq!(count(Filter::all().kind(Kind::of::<u32>().name())), 40);
    assert_eq!(count(Filter::all().producer(Producer::Agent("reader".into()))), 1);
    let by_outcome = block_on(store.summary(&Filter::all(), SummaryBy::Outcome)).expect("it counts");
    let named: Vec<_> = by_outcome.iter().map(|row| (row.name.as_str(), row.count)).collect();
    assert_eq!(named, [("cancelled", 1), ("consumed", 1), ("dead", 1), ("discarded", 1), ("outstanding", 1)]);
    let policy = bound(|policy| policy.count_max = Some(0));
    let removed = block_on(store.retain(&policy, Timestamp::default(), 100)).expect("it removes").removed;
    assert_eq!(removed, 39, "all but the open one");
    assert_eq!(block_on(store.tally(run(1))).expect("it counts"), tally, "the run goes on without its first");
}

/// Up to version 2, ids of jobs were derived in another way. They stay as they are: those of unfinished jobs,
/// and those of dead letters that are driven again. Finished pairs are known by their inputs.
#[test]
fn jobs_and_pairs_of_an_older_file_are_what_they_were() {
    let scratch = Scratch::new();
    let single = |place| start(place).members[0];
    let pair = |one, other| Start {
        shared: true,
        members: Few::from_iter([single(one), single(other)]),
        ..start(one)
    };
    let (letter, done) = (start(2), pair(4, 3));
    let end = |job, end| Write::Finish(Finish { job, start: None, end, outputs: Few::new() });
    let fill = |store: &Sqlite| {
        fill(store, 1..7).expect("it writes");
        let starts = [&letter, &done].map(|start| Write::Start(Arc::new(start.clone())));
        commit(store, starts.into()).expect("they start");
        let death = Death { attempts: 1, error: vec!["no luck".to_owned()], at: Timestamp::default() };
        let dead = JobEnd::Dead(Box::new(death));
        commit(store, vec![end(letter.job, dead), end(done.job, JobEnd::Done)]).expect("they end");
    };
    let head = |number: u32, at: u32, more: &str| {
        let agent = "(SELECT id FROM name WHERE text = 'reader')";
        format!("{number}, {agent}, (SELECT run FROM artifact WHERE seq = 1), 0, {at}000000, {more}")
    };
    let rows = [
        started(1, 1, 0, false, &head(4, 1, "'\"size\"', 2, 1, 1, NULL, 1, 1, 3, 2")),
        started(5, 3, 0, true, &head(7, 5, "NULL, 1, 0, 0, 99, 0, 0, 0, 0")),
        started(3, 3, 1, true, &vec!["NULL"; 14].join(", ")),
        // Its first input is missing.
        started(6, 5, 1, false, &head(8, 6, "NULL, 1, 0, 0, NULL, 1, 0, 0, 0")),
        "UPDATE dead SET job = x'00000000000000000000000000000002';
         UPDATE attempt SET job = x'00000000000000000000000000000002';
         UPDATE pair SET job = x'00000000000000000000000000000004';
         INSERT INTO outcome VALUES (2, 1, 5, NULL, x'00000000000000000000000000000002', NULL, NULL);"
            .to_owned(),
        RUN.to_owned(),
        [1, 3, 4, 5, 6]
            .map(|place| {
                format!(
                    "INSERT INTO claim VALUES (1, {place}, 0, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL);"
                )
            })
            .concat(),
    ]
    .concat();
    older(&scratch, 2, fill, &rows);
    let store = open(&scratch.file()).expect("it is brought forward");
    assert_eq!(store.damage().len(), 1, "one job is damaged: {:?}", store.damage());
    assert_eq!(left(&store).1, [(3, false), (4, false), (5, false), (6, true)], "and its input is refused");
    let redrive = Redrive { letter: 1, at: Timestamp::default(), edits: Vec::new() };
    commit(&store, vec![Write::Redrive(redrive)]).expect("it runs again");
    block_on(store.close()).expect("it closes");
    let store = open(&scratch.file()).expect("it opens");
    assert_eq!(store.damage(), []);
    let found = unfinished(&store);
    let closed = Some(CloseReason::Size);
    let wanted = [
        Start { job: old(1), attempt: 2, failures: 1, closed, alone: true, ..start(1) },
        Start { job: old(3), ..pair(5, 3) },
        Start { job: old(2), ..letter },
    ];
    assert_eq!(found.iter().map(|job| &job.start).collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
    let counts = |job: &Resumed| (job.failures, job.until.is_some(), job.interruptions, job.deaths_alone);
    assert_eq!(
        found.iter().map(counts).collect::<Vec<_>>(),
        [(1, false, 4, 3), (0, true, 0, 0), (0, false, 0, 0)]
    );
    let (pairs, _) = block_on(store.unfinished(Cursor::Pairs(0), 10)).expect("it reads");
    let [Unfinished::Pair { inputs, verdict: PairVerdict::Done, .. }] = &pairs[..] else {
        panic!("one pair is finished: {pairs:?}")
    };
    assert_eq!(inputs[..], [3, 4].map(Offset::new));
    let ends = [1, 2, 3].map(|number| end(old(number), JobEnd::Done));
    let ended = commit(&store, ends.into()).expect("it writes");
    assert!(ended.iter().all(|end| matches!(end, Written::Done(_))), "{ended:?}");
}
