//! The schema: every table and index of the file, its version, and the way from older versions to this one.
//!
//! `docs/storage.md` explains each column to users of other tools. A change here is a new step at the end of
//! `STEPS`; steps that were released are never edited.

use rusqlite::{Connection, OptionalExtension};

use super::fault::{Fault, Place};
use super::file;
use volery_blackboard::store::StoreError;

mod blocks;

/// The steps from version to version. A file of version n has been through the first n steps.
const STEPS: [Step; 4] =
    [Step::Sql(VERSION_1), Step::Sql(CHECKED_AND_DECIDED), Step::Sql(FREE_OF_IDS), Step::Code(blocks::fill)];

enum Step {
    Sql(&'static str),
    Code(fn(&Connection) -> Result<(), Fault>),
}

impl Step {
    fn take(&self, conn: &Connection) -> Result<(), Fault> {
        match self {
            Self::Sql(sql) => Ok(conn.execute_batch(sql)?),
            Self::Code(work) => work(conn),
        }
    }
}

const VERSION_1: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('schema', 0), ('epoch', 0), ('last_seq', 0);

CREATE TABLE name(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE subscription(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE artifact(
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    tenant INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    version INTEGER NOT NULL,
    run BLOB NOT NULL,
    at INTEGER NOT NULL,
    producer INTEGER,
    generation INTEGER NOT NULL,
    causes BLOB,
    tags TEXT,
    visibility TEXT,
    partition TEXT,
    trace TEXT,
    idem TEXT,
    crc INTEGER NOT NULL,
    payload TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX artifact_id ON artifact(id);
CREATE UNIQUE INDEX artifact_idem ON artifact(tenant, idem) WHERE idem IS NOT NULL;
CREATE INDEX artifact_kind ON artifact(tenant, kind);
CREATE INDEX artifact_run ON artifact(run);
CREATE INDEX artifact_producer ON artifact(tenant, producer) WHERE producer IS NOT NULL;
CREATE INDEX artifact_partition ON artifact(tenant, partition) WHERE partition IS NOT NULL;
CREATE INDEX artifact_visibility ON artifact(tenant, visibility) WHERE visibility IS NOT NULL;
CREATE TABLE tag(
    tenant INTEGER NOT NULL, tag TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(tenant, tag, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE era(block INTEGER PRIMARY KEY, at_min INTEGER NOT NULL, at_max INTEGER NOT NULL) STRICT;

CREATE TABLE run(
    run BLOB PRIMARY KEY,
    tenant INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    matched INTEGER NOT NULL,
    consumed INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    dead INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE claim(
    sub INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    side INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    key TEXT,
    lane TEXT,
    event_time INTEGER,
    visible_at INTEGER,
    refused TEXT,
    marks TEXT,
    PRIMARY KEY(sub, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE outcome(
    seq INTEGER NOT NULL,
    sub INTEGER NOT NULL,
    code INTEGER NOT NULL,
    reason TEXT,
    job BLOB,
    first INTEGER,
    count INTEGER,
    PRIMARY KEY(seq, sub)
) STRICT, WITHOUT ROWID;
CREATE TABLE marks(sub INTEGER PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE started(
    sub INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    job BLOB NOT NULL,
    ord INTEGER NOT NULL,
    side INTEGER NOT NULL,
    grp INTEGER NOT NULL,
    shared INTEGER NOT NULL,
    number INTEGER,
    agent INTEGER,
    run BLOB,
    opens_run INTEGER,
    at INTEGER,
    closed TEXT,
    attempt INTEGER,
    failed INTEGER,
    failures INTEGER,
    until INTEGER,
    running INTEGER,
    alone INTEGER,
    interruptions INTEGER,
    deaths_alone INTEGER,
    PRIMARY KEY(sub, seq, job)
) STRICT, WITHOUT ROWID;
CREATE TABLE attempt(
    job BLOB NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, error TEXT NOT NULL, PRIMARY KEY(job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE pair(
    number INTEGER PRIMARY KEY,
    sub INTEGER NOT NULL,
    job BLOB NOT NULL,
    dead INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    open INTEGER NOT NULL
) STRICT;
CREATE INDEX pair_open ON pair(number) WHERE open = 1;
CREATE TABLE pair_member(
    sub INTEGER NOT NULL, seq INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY(sub, seq, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead(
    number INTEGER PRIMARY KEY,
    job BLOB NOT NULL,
    agent INTEGER NOT NULL,
    sub INTEGER NOT NULL,
    run BLOB NOT NULL,
    inputs TEXT NOT NULL,
    kinds TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT NOT NULL,
    at INTEGER NOT NULL,
    state INTEGER NOT NULL,
    decided INTEGER,
    reason TEXT,
    work TEXT NOT NULL
) STRICT;
CREATE INDEX dead_job ON dead(job);
CREATE INDEX dead_agent ON dead(agent);
CREATE INDEX dead_run ON dead(run);
CREATE INDEX dead_at ON dead(at);
CREATE INDEX dead_open ON dead(number) WHERE state = 0;

CREATE TABLE note(
    subject TEXT NOT NULL, topic TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(subject, topic)
) STRICT, WITHOUT ROWID;

CREATE VIEW artifact_readable AS
SELECT a.seq, lower(hex(a.id)) AS id, t.text AS tenant, k.text AS kind, a.version, lower(hex(a.run)) AS run,
    datetime(a.at / 1000000, 'unixepoch') AS published,
    CASE WHEN a.producer IS NULL THEN 'external' WHEN a.producer = 0 THEN 'runtime' ELSE p.text END AS producer,
    a.tags, a.partition, a.idem, a.payload
FROM artifact a JOIN name t ON t.id = a.tenant JOIN name k ON k.id = a.kind LEFT JOIN name p ON p.id = a.producer;
CREATE VIEW claim_readable AS
SELECT s.name AS subscription, c.seq, 'outstanding' AS outcome, NULL AS reason
FROM claim c JOIN subscription s ON s.id = c.sub
UNION ALL
SELECT s.name, o.seq,
    CASE o.code WHEN 1 THEN 'consumed' WHEN 2 THEN 'expired' WHEN 3 THEN 'discarded' WHEN 4 THEN 'cancelled' ELSE 'dead' END,
    o.reason
FROM outcome o JOIN subscription s ON s.id = o.sub;
";

/// Claims get a checksum: those that are there have none, and count as sound. Dead letters are found by when
/// they were decided.
const CHECKED_AND_DECIDED: &str = "
ALTER TABLE claim ADD COLUMN crc INTEGER;
CREATE INDEX dead_decided ON dead(decided, number) WHERE state <> 0;
";

/// Ids of jobs are derived in another way than before, and records keep those that they have: a started job
/// is checked by a checksum instead of its id (those that are there have none, and count as sound), and a
/// finished pair is known by its inputs.
const FREE_OF_IDS: &str = "
ALTER TABLE started ADD COLUMN crc INTEGER;
ALTER TABLE pair ADD COLUMN inputs TEXT;
UPDATE pair SET inputs = known.inputs
FROM (SELECT number, json_group_array(seq ORDER BY seq) AS inputs FROM pair_member GROUP BY number) known
WHERE pair.number = known.number AND pair.open = 1;
";

/// The newest version that this program knows.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// Artifacts in one row of `era`: the finer, the more rows a query by time looks at first; the coarser, the
/// more artifacts at the ends of its range.
pub(super) const ERA: u64 = 1_024;

/// Brings a file to the newest version, in one transaction, and begins an epoch. Returns the epoch.
///
/// # Errors
/// When the file is newer than this program, or is no store, or the disk cannot be written to.
pub(super) fn prepare(conn: &Connection, place: &Place) -> Result<i64, Fault> {
    // Read first: a file that is not to be touched must not be written to, not even by a lock for writing.
    let found = version(conn)?;
    if found > VERSION {
        let (store, known) = (place.name(), VERSION);
        return Err(StoreError::NewerSchema { store, found, known }.into());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let done = file::write_log_again(place).map_err(Fault::from).and_then(|()| migrate(conn, found));
    conn.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

fn migrate(conn: &Connection, found: i64) -> Result<i64, Fault> {
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or_default()) {
        step.take(conn)?;
    }
    conn.execute("UPDATE meta SET value = ?1 WHERE key = 'schema' AND value <> ?1", [VERSION])?;
    let bump = "UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value";
    Ok(conn.query_row(bump, [], |row| row.get(0))?)
}

/// Makes a file of an earlier version.
#[cfg(test)]
pub(super) fn make_older(conn: &Connection, version: i64) -> Result<(), Fault> {
    for step in STEPS.iter().take(usize::try_from(version).unwrap_or_default()) {
        step.take(conn)?;
    }
    conn.execute("UPDATE meta SET value = ?1 WHERE key = 'schema'", [version])?;
    Ok(())
}

/// The version of the schema in a file: 0 for one with nothing in it.
fn version(conn: &Connection) -> Result<i64, Fault> {
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(0);
    }
    let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'";
    if conn.query_row(table, [], |_| Ok(())).optional()?.is_none() {
        return Err(Fault::Foreign);
    }
    let value = "SELECT value FROM meta WHERE key = 'schema'";
    conn.query_row(value, [], |row| row.get(0)).optional()?.ok_or(Fault::Foreign)
}
