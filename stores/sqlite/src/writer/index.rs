//! The index: the writer's memory of the file, and the changes that a transaction has yet to write.
//!
//! All of it can be read back from the file, and is after every fault. Unfinished jobs are here because the
//! board holds them as well, so that they are no more than fit into memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::Row;
use rustc_hash::FxHashMap;
use volery_blackboard::job::{Member, Start};
use volery_blackboard::store::Few;
use volery_blackboard::{Artifact, JobId, Marks, Offset, RunId, SubscriptionIndex, Tally, Timestamp};

use super::damage::Broken;
use super::tables::Tables;
use crate::fault::Fault;
use crate::row::{self, JobParts};
use crate::schema::ERA;
use crate::session::Session;

/// Names kept in memory: kinds, agents and tenants. With more of them than this, they are looked up again.
const NAMES_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Index {
    /// The last place in the log.
    pub(super) last_seq: u64,
    pub(super) last_job: u64,
    pub(super) last_pair: u64,
    pub(super) last_dead: u64,
    pub(super) jobs: FxHashMap<JobId, OpenJob>,
    /// The same by number.
    pub(super) numbers: BTreeMap<u64, JobId>,
    pub(super) marks: HashMap<i64, Marks>,
    pub(super) names: HashMap<Arc<str>, i64>,
    pub(super) pending: Pending,
    /// Jobs whose records cannot be read as what was written.
    pub(super) broken: Vec<Broken>,
}

/// A job that has no end.
pub(super) struct OpenJob {
    pub(super) number: u64,
    pub(super) start: Arc<Start>,
    pub(super) failures: u32,
    pub(super) until: Option<Timestamp>,
    pub(super) interruptions: u32,
    pub(super) deaths_alone: u32,
}

/// The changes that are written once per transaction, however many writes make them.
#[derive(Default)]
pub(super) struct Pending {
    runs: FxHashMap<RunId, RunChange>,
    eras: BTreeMap<u64, (i64, i64)>,
    pub(super) marks: BTreeSet<i64>,
    /// New artifacts for the cache, with the length of their JSON.
    pub(super) fresh: Vec<(Arc<Artifact>, usize)>,
}

/// The counts that a transaction adds to a run.
#[derive(Default)]
struct RunChange {
    /// Tenant and workflow, when an artifact of the run was published.
    head: Option<(i64, Arc<str>)>,
    more: Tally,
    /// Claims that are dead no more.
    revived: u64,
}

impl Pending {
    pub(super) fn run_published(&mut self, run: RunId, head: (i64, &Arc<str>), matched: u64) {
        let change = self.runs.entry(run).or_default();
        change.more.matched += matched;
        if change.head.is_none() {
            change.head = Some((head.0, Arc::clone(head.1)));
        }
    }

    pub(super) fn run_ended(&mut self, run: RunId, count: impl FnOnce(&mut Tally)) {
        count(&mut self.runs.entry(run).or_default().more);
    }

    pub(super) fn run_revived(&mut self, run: RunId) {
        self.runs.entry(run).or_default().revived += 1;
    }

    pub(super) fn moment(&mut self, seq: u64, at: i64) {
        let (min, max) = self.eras.entry(seq / ERA).or_insert((at, at));
        (*min, *max) = ((*min).min(at), (*max).max(at));
    }
}

impl Tables<'_> {
    /// Writes down what is pending.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        let (runs, eras) =
            (std::mem::take(&mut self.index.pending.runs), std::mem::take(&mut self.index.pending.eras));
        for (run, change) in runs {
            let RunChange { head, more, revived } = change;
            let dead =
                i64::try_from(more.dead).unwrap_or(i64::MAX) - i64::try_from(revived).unwrap_or(i64::MAX);
            let run = run.as_uuid();
            match head {
                Some((tenant, workflow)) => self.run(
                    "INSERT INTO run VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT(run) DO UPDATE SET
                         matched = matched + excluded.matched, consumed = consumed + excluded.consumed,
                         expired = expired + excluded.expired, discarded = discarded + excluded.discarded,
                         cancelled = cancelled + excluded.cancelled, dead = dead + excluded.dead",
                    (
                        run.as_bytes(),
                        tenant,
                        &*workflow,
                        more.matched,
                        more.consumed,
                        more.expired,
                        more.discarded,
                        more.cancelled,
                        dead,
                    ),
                )?,
                None => self.run(
                    "UPDATE run SET matched = matched + ?2, consumed = consumed + ?3, expired = expired + ?4,
                         discarded = discarded + ?5, cancelled = cancelled + ?6, dead = dead + ?7 WHERE run = ?1",
                    (
                        run.as_bytes(),
                        more.matched,
                        more.consumed,
                        more.expired,
                        more.discarded,
                        more.cancelled,
                        dead,
                    ),
                )?,
            };
        }
        for (block, (min, max)) in eras {
            self.run(
                "INSERT INTO era VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET
                     at_min = min(at_min, excluded.at_min), at_max = max(at_max, excluded.at_max)",
                (block, min, max),
            )?;
        }
        for sub in std::mem::take(&mut self.index.pending.marks) {
            let text = serde_json::to_string(&self.index.marks.entry(sub).or_default())?;
            self.run(
                "INSERT INTO marks VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
                (sub, text),
            )?;
        }
        Ok(())
    }
}

impl Index {
    /// Reads everything back from the file.
    pub(super) fn read(session: &Session) -> Result<Self, Fault> {
        let one = |sql: &str| -> Result<u64, Fault> {
            Ok(session.conn.query_row(sql, [], |row| row.get::<_, Option<u64>>(0))?.unwrap_or_default())
        };
        let mut index = Self {
            last_seq: one(
                "SELECT max(value, coalesce((SELECT max(seq) FROM artifact), 0)) FROM meta WHERE key = 'last_seq'",
            )?,
            last_job: one("SELECT max(number) FROM started")?,
            last_pair: one("SELECT max(number) FROM pair")?,
            last_dead: one("SELECT max(coalesce((SELECT max(number) FROM dead), 0),
                     coalesce((SELECT value FROM meta WHERE key = 'last_dead'), 0))")?,
            marks: session.all_marks()?.0.into_iter().collect(),
            ..Self::default()
        };
        index.read_jobs(session)?;
        Ok(index)
    }

    /// Reads unfinished jobs. Those of agents and subscriptions that the program has no more stay where they
    /// are.
    fn read_jobs(&mut self, session: &Session) -> Result<(), Fault> {
        let map = session.shared.map();
        let mut statement = session.conn.prepare_cached(
            "SELECT job, number, sub, agent, run, opens_run, at, closed, attempt, failed, failures, until, alone,
                 interruptions, deaths_alone, shared, hex(job), crc FROM started WHERE number IS NOT NULL",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let sub: i64 = row.get(2)?;
            let Some(subscription) = map.index_of(sub) else { continue };
            match open_job(session, row, subscription) {
                Ok(open) => {
                    self.numbers.insert(open.number, open.start.job);
                    self.jobs.insert(open.start.job, open);
                }
                Err(fault) => {
                    let (job, cause) = (row.get(16)?, fault.damage()?);
                    self.broken.push(Broken { sub, job, cause });
                }
            }
        }
        Ok(())
    }

    pub(super) fn remember_name(&mut self, text: Arc<str>, id: i64) {
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        self.names.insert(text, id);
    }

    /// Moves the marks of a subscription, and returns how they stood before.
    pub(super) fn note_marks(&mut self, sub: i64, claim: &volery_blackboard::claim::Claim) -> Marks {
        let marks = self.marks.entry(sub).or_default();
        let before = marks.clone();
        marks.note(claim);
        self.pending.marks.insert(sub);
        before
    }
}

/// Reads a job from the row of its first input, and checks that it is what was written.
fn open_job(session: &Session, row: &Row<'_>, subscription: SubscriptionIndex) -> Result<OpenJob, Fault> {
    let map = session.shared.map();
    let damaged = |cause: &str| Fault::Damaged(None, cause.to_owned());
    let (job, number, sub): (JobId, u64, i64) = (row::job(row, 0)?, row.get(1)?, row.get(2)?);
    let agent = row.get(3)?;
    let closed: Option<String> = row.get(7)?;
    let start = Start {
        job,
        agent: map.agent_of(agent).ok_or_else(|| damaged("its agent is not that of its inputs"))?,
        subscription,
        members: members(session, sub, job)?,
        attempt: row.get(8)?,
        failures: row.get(9)?,
        run: row::run(row, 4)?,
        opens_run: row.get(5)?,
        at: Timestamp::from_micros_since_epoch(row.get(6)?),
        closed: closed.as_deref().map(serde_json::from_str).transpose()?,
        shared: row.get(15)?,
        alone: row.get(12)?,
        observed: None,
    };
    let crc: Option<u32> = row.get(17)?;
    let parts = JobParts { owners: (sub, agent), number, start: &start, closed: closed.as_deref() };
    if crc.is_some_and(|crc| parts.checksum() != crc) {
        return Err(damaged("its checksum does not match"));
    }
    Ok(OpenJob {
        number,
        start: Arc::new(start),
        failures: row.get(10)?,
        until: row.get::<_, Option<i64>>(11)?.map(Timestamp::from_micros_since_epoch),
        interruptions: row.get(13)?,
        deaths_alone: row.get(14)?,
    })
}

/// The members of a job in input order.
fn members(session: &Session, sub: i64, job: JobId) -> Result<Few<Member>, Fault> {
    let mut statement = session
        .conn
        .prepare_cached("SELECT seq, side, grp, ord FROM started WHERE sub = ?1 AND job = ?2 ORDER BY ord")?;
    let mut rows = statement.query((sub, job.as_uuid().as_bytes()))?;
    let mut members = Few::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, usize>(3)? != members.len() {
            return Err(Fault::Damaged(None, "one of its inputs is missing".to_owned()));
        }
        members.push(Member { offset: Offset::new(row.get(0)?), side: row.get(1)?, group: row.get(2)? });
    }
    Ok(members)
}
