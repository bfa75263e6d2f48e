//! The step to version 4: claims, outcomes, runs and unfinished jobs become blocks, and so do the indexes of
//! kinds and producers.
//!
//! Damage stays damage: a claim that is not what was written is refused for that from then on, and of a job
//! whose rows do not fit together only the inputs are kept.

use crc32fast::Hasher;
use rusqlite::{Connection, Row};
use volery_blackboard::claim::Claim;
use volery_blackboard::job::{Member, Start};
use volery_blackboard::store::Few;
use volery_blackboard::{AgentIndex, Discard, Key, Marks, Offset, SubscriptionIndex, Tally, Timestamp};

use crate::block::{
    Block, Claims, Inputs, JobRecord, Jobs, OffsetRange, Outcomes, PLACES, Progress, Run, Runs, Taken,
};
use crate::fault::Fault;
use crate::row;
use crate::session::{StatementCache, refused};

const TABLES: &str = "
DROP VIEW claim_readable;
ALTER TABLE claim RENAME TO claim_3;
ALTER TABLE outcome RENAME TO outcome_3;
ALTER TABLE run RENAME TO run_3;
CREATE TABLE claim(key INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE outcome(key INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE run(key INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE reason(
    seq INTEGER NOT NULL, sub INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY(seq, sub)
) STRICT, WITHOUT ROWID;
CREATE TABLE job(key INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE facet(
    tenant INTEGER NOT NULL, facet INTEGER NOT NULL, name INTEGER NOT NULL, block INTEGER NOT NULL,
    PRIMARY KEY(tenant, facet, name, block)
) STRICT, WITHOUT ROWID;
INSERT INTO facet SELECT DISTINCT tenant, 0, kind, seq / 32 FROM artifact;
INSERT INTO facet SELECT DISTINCT tenant, 1, producer, seq / 32 FROM artifact WHERE producer IS NOT NULL;
DROP INDEX artifact_kind;
DROP INDEX artifact_producer;
";

const REST: &str = "
INSERT INTO reason SELECT seq, sub, reason FROM outcome_3 WHERE reason IS NOT NULL;
DROP TABLE claim_3;
DROP TABLE outcome_3;
DROP TABLE run_3;
DROP TABLE started;
CREATE VIEW claim_readable AS
WITH RECURSIVE place(n) AS (VALUES(0) UNION ALL SELECT n + 1 FROM place WHERE n < 31)
SELECT s.name AS subscription, (c.key & 1099511627775) * 32 + p.n AS seq, 'outstanding' AS outcome, NULL AS reason
FROM claim c JOIN subscription s ON s.id = c.key >> 40 JOIN place p ON substr(c.value, 1 + p.n, 1) <> x'00'
UNION ALL
SELECT s.name, (o.key >> 20) * 32 + p.n,
    CASE substr(o.value, 1 + p.n, 1) WHEN x'01' THEN 'consumed' WHEN x'02' THEN 'expired' WHEN x'03' THEN 'discarded'
        WHEN x'04' THEN 'cancelled' ELSE 'dead' END,
    r.value
FROM outcome o JOIN subscription s ON s.id = o.key & 1048575 JOIN place p ON substr(o.value, 1 + p.n, 1) <> x'00'
LEFT JOIN reason r ON r.seq = (o.key >> 20) * 32 + p.n AND r.sub = s.id;
";

pub(super) fn fill(conn: &Connection) -> Result<(), Fault> {
    conn.execute_batch(TABLES)?;
    {
        let conn = StatementCache::new(conn);
        claims(&conn)?;
        outcomes(&conn)?;
        runs(&conn)?;
        jobs(&conn)?;
    }
    Ok(conn.execute_batch(REST)?)
}

/// The block at hand of a table that is filled in its order.
struct Filling<'a, 'conn, B> {
    conn: &'a StatementCache<'conn>,
    key: i64,
    block: B,
}

impl<'a, 'conn, B: Block> Filling<'a, 'conn, B> {
    fn new(conn: &'a StatementCache<'conn>) -> Self {
        Self { conn, key: 0, block: B::default() }
    }

    fn at(&mut self, key: i64) -> Result<&mut B, Fault> {
        if key != self.key {
            self.write()?;
            self.key = key;
        }
        Ok(&mut self.block)
    }

    fn write(&mut self) -> Result<(), Fault> {
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            let sql = format!("INSERT INTO {} VALUES (?1, ?2)", B::TABLE);
            self.conn.prepare_cached(&sql)?.execute((self.key, &*block.bytes()))?;
        }
        Ok(())
    }
}

fn claims(conn: &StatementCache<'_>) -> Result<(), Fault> {
    let mut filling = Filling::<'_, '_, Claims>::new(conn);
    let mut statement = conn.prepare(
        "SELECT sub, seq, side, weight, key, lane, event_time, visible_at, refused, marks, crc
         FROM claim_3 ORDER BY sub, seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (sub, seq) = (row.get(0)?, row.get(1)?);
        let damaged = |cause| refused(SubscriptionIndex(0), Discard::Damaged(cause));
        let claim = claim(row, (sub, seq)).or_else(|fault| fault.damage().map(damaged))?;
        filling.at(Claims::key(sub, seq))?.put((sub, seq), &claim, claim.marks.as_deref())?;
    }
    filling.write()
}

fn outcomes(conn: &StatementCache<'_>) -> Result<(), Fault> {
    let mut filling = Filling::<'_, '_, Outcomes>::new(conn);
    let mut statement = conn.prepare(
        "SELECT seq, sub, code, job, coalesce(first, 0), coalesce(count, 0) FROM outcome_3
         ORDER BY seq / 32, sub, seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, sub): (u64, i64) = (row.get(0)?, row.get(1)?);
        let published = OffsetRange { first: row.get(4)?, count: row.get(5)? };
        let taken = row::job(row, 3).ok().map(|job| Taken { job, published });
        filling.at(Outcomes::key(sub, seq))?.put(seq, row.get(2)?, taken);
    }
    filling.write()
}

fn runs(conn: &StatementCache<'_>) -> Result<(), Fault> {
    let mut filling = Filling::<'_, '_, Runs>::new(conn);
    let mut statement = conn.prepare(
        "SELECT number, workflow, matched, consumed, expired, discarded, cancelled, dead FROM (
             SELECT (SELECT min(seq) FROM artifact a INDEXED BY artifact_run WHERE a.run = r.run) AS number, r.*
             FROM run_3 r
         ) WHERE number IS NOT NULL ORDER BY number",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (number, workflow): (u64, String) = (row.get(0)?, row.get(1)?);
        let count = |column: usize| row.get(column).unwrap_or_default();
        let tally = Tally {
            matched: count(2),
            consumed: count(3),
            expired: count(4),
            discarded: count(5),
            cancelled: count(6),
            dead: count(7),
        };
        let workflow = name(conn, &workflow)?;
        filling.at(Runs::key(number))?.put(number, Run { workflow, tally });
    }
    filling.write()
}

fn name(conn: &StatementCache<'_>, text: &str) -> Result<i64, Fault> {
    conn.prepare_cached("INSERT INTO name(text) VALUES (?1) ON CONFLICT DO NOTHING")?.execute([text])?;
    Ok(conn.prepare_cached("SELECT id FROM name WHERE text = ?1")?.query_row([text], |row| row.get(0))?)
}

fn jobs(conn: &StatementCache<'_>) -> Result<(), Fault> {
    let mut filling = Filling::<'_, '_, Jobs>::new(conn);
    let mut statement = conn.prepare(
        "SELECT g.sub, g.job, g.shared, h.agent, h.run, h.opens_run, h.at, h.closed, h.attempt, h.failed, h.alone,
             h.failures, h.until, h.running, h.interruptions, h.deaths_alone, h.number, h.crc
         FROM (SELECT sub, job, max(shared) AS shared FROM started GROUP BY sub, job) g
         LEFT JOIN started h ON h.sub = g.sub AND h.job = g.job AND h.number IS NOT NULL
         ORDER BY h.number IS NULL, h.number",
    )?;
    let mut rows = statement.query([])?;
    let mut number = 0;
    while let Some(row) = rows.next()? {
        let sub: i64 = row.get(0)?;
        let (members, is_whole) =
            members(conn, sub, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
        let inputs = Inputs { sub, shared: row.get(2)?, members };
        number += 1;
        if inputs.members.len() > usize::try_from(PLACES).unwrap_or_default() {
            number = u64::next_multiple_of(number, PLACES);
        }
        let jobs = filling.at(Jobs::key(number))?;
        match job(row, &inputs).map_err(Fault::damage) {
            Ok((agent, start, progress)) if is_whole => {
                jobs.put(number, &JobRecord { sub, agent, start: &start, progress })?;
            }
            Ok(_) | Err(Ok(_)) => jobs.put_inputs(number, &inputs),
            Err(Err(fault)) => return Err(fault),
        }
    }
    filling.write()
}

fn job(row: &Row<'_>, inputs: &Inputs) -> Result<(i64, Start, Progress), Fault> {
    let time =
        |column| Ok::<_, Fault>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros_since_epoch));
    let closed: Option<String> = row.get(7)?;
    let start = Start {
        job: row::job(row, 1)?,
        agent: AgentIndex(0),
        subscription: SubscriptionIndex(0),
        members: inputs.members.clone(),
        attempt: row.get(8)?,
        failures: row.get(9)?,
        run: row::run(row, 4)?,
        opens_run: row.get(5)?,
        at: time(6)?.unwrap_or_default(),
        closed: closed.map(|text| serde_json::from_str(&text)).transpose()?,
        shared: inputs.shared,
        alone: row.get(10)?,
        index: volery_blackboard::JobIndex::default(),
        observed: None,
    };
    let progress = Progress {
        failures: row.get(11)?,
        until: time(12)?,
        is_running: row.get(13)?,
        interruptions: row.get(14)?,
        deaths_alone: row.get(15)?,
    };
    let (agent, closed) = (row.get(3)?, row.get_ref(7)?.as_str_or_null().map_err(rusqlite::Error::from)?);
    let parts = JobParts { owners: (inputs.sub, agent), number: row.get(16)?, start: &start, closed };
    // Versions 1 and 2 had no checksums.
    if row.get::<_, Option<u32>>(17)?.is_some_and(|crc| crc != parts.checksum()) {
        return Err(Fault::Damaged(None, "its checksum does not match".to_owned()));
    }
    Ok((agent, start, progress))
}

/// The members of a job in input order, and whether none is missing.
fn members(conn: &StatementCache<'_>, sub: i64, job: &[u8]) -> Result<(Few<Member>, bool), Fault> {
    let mut statement = conn
        .prepare_cached("SELECT seq, side, grp, ord FROM started WHERE sub = ?1 AND job = ?2 ORDER BY ord")?;
    let mut rows = statement.query((sub, job))?;
    let (mut members, mut is_whole) = (Few::new(), true);
    while let Some(row) = rows.next()? {
        is_whole &= row.get::<_, usize>(3).is_ok_and(|order| order == members.len());
        let (side, group) = (row.get(1), row.get(2));
        is_whole &= side.is_ok() && group.is_ok();
        let offset = Offset::new(row.get(0)?);
        members.push(Member { offset, side: side.unwrap_or_default(), group: group.unwrap_or_default() });
    }
    Ok((members, is_whole))
}

/// The numbers and texts of a claim that its checksum covers.
struct ClaimParts<'a> {
    /// The file's id of the subscription, the place, and the side.
    key: (i64, u64, u16),
    weight: u32,
    times: [Option<i64>; 2],
    /// Key, lane, refusal and marks.
    texts: [Option<&'a str>; 4],
}

impl ClaimParts<'_> {
    fn checksum(&self) -> u32 {
        let mut hasher = Hasher::new();
        let (sub, seq, side) = self.key;
        hasher.update(&sub.to_le_bytes());
        hasher.update(&seq.to_le_bytes());
        hasher.update(&side.to_le_bytes());
        hasher.update(&self.weight.to_le_bytes());
        // Lengths keep parts from running into each other; an absent one has none.
        for time in self.times {
            hasher.update(&[u8::from(time.is_some())]);
            hasher.update(&time.unwrap_or_default().to_le_bytes());
        }
        for text in self.texts {
            hasher.update(&text.map_or(0, |text| text.len() as u64 + 1).to_le_bytes());
            hasher.update(text.unwrap_or_default().as_bytes());
        }
        hasher.finalize()
    }
}

/// Reads a claim of a subscription on a place, and checks that it is what was written.
fn claim(row: &Row<'_>, (sub, seq): (i64, u64)) -> Result<Claim, Fault> {
    let text = |column: usize| row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from);
    let parts = ClaimParts {
        key: (sub, seq, row.get(2)?),
        weight: row.get(3)?,
        times: [row.get(6)?, row.get(7)?],
        texts: [text(4)?, text(5)?, text(8)?, text(9)?],
    };
    // Version 1 had no checksums.
    if row.get::<_, Option<i64>>(10)?.is_some_and(|crc| crc != i64::from(parts.checksum())) {
        return Err(Fault::Damaged(None, "its checksum does not match".to_owned()));
    }
    let [event_time, visible_at] = parts.times.map(|time| time.map(Timestamp::from_micros_since_epoch));
    let [key, lane, refused, marks] = parts.texts;
    Ok(Claim {
        subscription: SubscriptionIndex(0),
        side: parts.key.2,
        weight: parts.weight,
        key: key.map(Key::from),
        lane: lane.map(Key::from),
        event_time,
        visible_at,
        refused: refused.map(serde_json::from_str).transpose()?,
        marks: marks.map(serde_json::from_str::<Marks>).transpose()?.map(Box::new),
    })
}

/// The parts of a job that its checksum covers: they stay as they are until it ends.
struct JobParts<'a> {
    /// The file's ids of the subscription and of the agent.
    owners: (i64, i64),
    number: u64,
    start: &'a Start,
    closed: Option<&'a str>,
}

impl JobParts<'_> {
    fn checksum(&self) -> u32 {
        let Self { owners: (sub, agent), number, start, closed } = self;
        let mut hasher = Hasher::new();
        hasher.update(&sub.to_le_bytes());
        hasher.update(&agent.to_le_bytes());
        hasher.update(&number.to_le_bytes());
        hasher.update(start.job.as_uuid().as_bytes());
        hasher.update(start.run.as_uuid().as_bytes());
        hasher.update(&start.at.as_micros_since_epoch().to_le_bytes());
        hasher.update(&[u8::from(start.opens_run), u8::from(start.shared)]);
        hasher.update(&(start.members.len() as u64).to_le_bytes());
        for Member { offset, side, group } in &start.members {
            hasher.update(&offset.get().to_le_bytes());
            hasher.update(&side.to_le_bytes());
            hasher.update(&group.to_le_bytes());
        }
        hasher.update(closed.unwrap_or_default().as_bytes());
        hasher.finalize()
    }
}
