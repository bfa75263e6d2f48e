//! The index: the writer's memory of the file, and the changes that a transaction has yet to write.
//!
//! All of it can be read back from the file, and is after every fault. Unfinished jobs are here because the
//! board holds them as well, so that they are no more than fit into memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::OptionalExtension;
use rustc_hash::{FxHashMap, FxHashSet};
use uuid::Uuid;
use volery_blackboard::claim::Claim;
use volery_blackboard::job::Start;
use volery_blackboard::{Artifact, JobId, Marks, RunId};

use super::blocks::Blocks;
use super::damage::Broken;
use super::tables::Tables;
use crate::block::{Claims, Found, Inputs, JobRecord, Jobs, Outcomes, PLACES, Progress, Run, Runs};
use crate::fault::Fault;
use crate::schema::ERA;
use crate::session::Session;

/// Names kept in memory: kinds, agents, tenants and workflows. With more of them than this, they are looked
/// up again.
const NAMES_MAX: usize = 10_000;

/// Runs kept in memory. With fewer, an artifact of an older run looks for its run in the file.
const RUNS_MAX: usize = 8_192;

#[derive(Default)]
pub(super) struct Index {
    /// The last place in the log.
    pub(super) last_seq: u64,
    pub(super) last_job: u64,
    pub(super) last_pair: u64,
    pub(super) last_dead: u64,
    pub(super) jobs: FxHashMap<JobId, OpenJob>,
    pub(super) claims: Blocks<Claims>,
    pub(super) outcomes: Blocks<Outcomes>,
    pub(super) runs: Blocks<Runs>,
    pub(super) started: Blocks<Jobs>,
    pub(super) newest_runs: NewestRuns,
    pub(super) marks: HashMap<i64, Marks>,
    pub(super) names: FxHashMap<Arc<str>, i64>,
    /// The facets of the newest block: tenant, facet and name.
    facets: (u64, FxHashSet<(i64, i64, i64)>),
    /// Kinds of which all threads know the type.
    pub(super) learned: FxHashSet<i64>,
    pub(super) pending: Pending,
    /// Jobs whose records cannot be read as what was written.
    pub(super) broken: Vec<Broken>,
}

/// A job that has no end.
#[derive(Debug)]
pub(super) struct OpenJob {
    /// Its place in the order of first starts.
    pub(super) number: u64,
    pub(super) start: Arc<Start>,
    pub(super) progress: Progress,
    /// Whether its block has it.
    pub(super) is_stored: bool,
    /// Whether that is not how it stands.
    pub(super) is_changed: bool,
}

/// The changes that are written once per transaction, however many writes make them, beside those of blocks.
#[derive(Default)]
pub(super) struct Pending {
    eras: BTreeMap<u64, (i64, i64)>,
    /// Tenant, facet, name and block.
    facets: Vec<(i64, i64, i64, u64)>,
    pub(super) marks: BTreeSet<i64>,
    /// Jobs to be written, unless they have ended by then.
    pub(super) jobs: Vec<JobId>,
    /// New artifacts for the cache, with the length of their JSON.
    pub(super) fresh: Vec<(Arc<Artifact>, usize)>,
}

impl Pending {
    pub(super) fn moment(&mut self, seq: u64, at: i64) {
        let (min, max) = self.eras.entry(seq / ERA).or_insert((at, at));
        (*min, *max) = ((*min).min(at), (*max).max(at));
    }
}

/// The newest runs by their numbers, the places of their first artifacts. It has every run whose id is above
/// the floor: ids begin with their time, so that a run that is not here is a new one in nearly all cases.
#[derive(Default)]
pub(super) struct NewestRuns {
    numbers: FxHashMap<RunId, u64>,
    floor: Option<RunId>,
}

impl NewestRuns {
    fn note(&mut self, run: RunId, number: u64) {
        self.numbers.insert(run, number);
        if self.numbers.len() > RUNS_MAX {
            let mut ids: Vec<RunId> = self.numbers.keys().copied().collect();
            let middle = *ids.select_nth_unstable(RUNS_MAX / 2).1;
            self.numbers.retain(|id, _| *id > middle);
            self.floor = self.floor.max(Some(middle));
        }
    }

    /// Notes that a run has another first artifact, or none.
    pub(super) fn moved(&mut self, run: RunId, number: Option<u64>) {
        self.numbers.remove(&run);
        if let Some(number) = number {
            self.note(run, number);
        }
    }
}

impl Tables<'_> {
    /// The number of a run; `None` when nothing of it is there.
    pub(super) fn run_number(&mut self, run: RunId) -> Result<Option<u64>, Fault> {
        let newest = &mut self.index.newest_runs;
        if let Some(number) = newest.numbers.get(&run) {
            return Ok(Some(*number));
        }
        if Some(run) > newest.floor {
            return Ok(None);
        }
        let first = self.session.run_number(run)?;
        if let Some(number) = first {
            newest.note(run, number);
        }
        Ok(first)
    }

    /// Returns the number of a run, and gives it one if nothing of it is there: the place of its artifact.
    pub(super) fn run_of_new(&mut self, run: RunId, seq: u64, workflow: &str) -> Result<u64, Fault> {
        if let Some(number) = self.run_number(run)? {
            return Ok(number);
        }
        let workflow = self.intern(workflow)?;
        let entry = Run { workflow, ..Run::default() };
        self.index.runs.change(&self.session.conn, Runs::key(seq))?.put(seq, entry);
        self.index.newest_runs.note(run, seq);
        Ok(seq)
    }

    /// Writes down what is pending.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        let Self { session, index, .. } = self;
        let (conn, map) = (&session.conn, session.shared.map());
        for job in index.pending.jobs.drain(..) {
            let Some(open) = index.jobs.get_mut(&job).filter(|open| open.is_changed) else { continue };
            let start = &*open.start;
            let (sub, agent) = (map.subscription(start.subscription)?, map.agent(start.agent)?);
            let record = JobRecord { sub, agent, start, progress: open.progress };
            index.started.change(conn, Jobs::key(open.number))?.put(open.number, &record)?;
            (open.is_stored, open.is_changed) = (true, false);
        }
        index.claims.flush(conn)?;
        index.outcomes.flush(conn)?;
        index.runs.flush(conn)?;
        index.started.flush(conn)?;
        for facet in index.pending.facets.drain(..) {
            conn.prepare_cached("INSERT OR IGNORE INTO facet VALUES (?1, ?2, ?3, ?4)")?.execute(facet)?;
        }
        for (block, (min, max)) in std::mem::take(&mut index.pending.eras) {
            conn.prepare_cached(
                "INSERT INTO era VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET
                     at_min = min(at_min, excluded.at_min), at_max = max(at_max, excluded.at_max)",
            )?
            .execute((block, min, max))?;
        }
        for sub in std::mem::take(&mut index.pending.marks) {
            let text = serde_json::to_string(&index.marks.entry(sub).or_default())?;
            conn.prepare_cached("REPLACE INTO marks VALUES (?1, ?2)")?.execute((sub, text))?;
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
        let last_job: Option<i64> =
            session.conn.query_row("SELECT max(key) FROM job", [], |row| row.get(0))?;
        let floor = "SELECT run FROM artifact INDEXED BY artifact_run ORDER BY run DESC LIMIT 1";
        let floor: Option<Vec<u8>> = session.conn.query_row(floor, [], |row| row.get(0)).optional()?;
        let floor = floor.map(|id| Uuid::from_slice(&id).unwrap_or(Uuid::max())).map(RunId::from_uuid);
        let mut index = Self {
            last_seq: one(
                "SELECT max(value, coalesce((SELECT max(seq) FROM artifact), 0)) FROM meta WHERE key = 'last_seq'",
            )?,
            last_job: last_job.map(Jobs::last_number).unwrap_or_default(),
            last_pair: one("SELECT max(number) FROM pair")?,
            last_dead: one("SELECT max(coalesce((SELECT max(number) FROM dead), 0),
                     coalesce((SELECT value FROM meta WHERE key = 'last_dead'), 0))")?,
            newest_runs: NewestRuns { floor, ..NewestRuns::default() },
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
        session.each_job(|key, found| {
            let (number, JobRecord { sub, agent, start, progress }) = match found {
                Found::Job(number, job) => (number, job),
                Found::Lost(inputs) => {
                    self.broken.push(Broken { key, number: None, inputs });
                    return Ok(());
                }
            };
            let Some(subscription) = map.index_of(sub) else { return Ok(()) };
            let Some(agent) = map.agent_of(agent) else {
                let inputs = Some(Inputs { sub, shared: start.shared, members: start.members });
                self.broken.push(Broken { key, number: Some(number), inputs });
                return Ok(());
            };
            let start = Arc::new(Start { subscription, agent, ..start });
            let (is_stored, is_changed) = (true, false);
            self.jobs.insert(start.job, OpenJob { number, start, progress, is_stored, is_changed });
            Ok(())
        })
    }

    /// Notes that an artifact with a kind or producer lies in a block.
    pub(super) fn note_facet(&mut self, seq: u64, facet: (i64, i64, i64)) {
        let (block, noted) = &mut self.facets;
        if *block != seq / PLACES {
            *block = seq / PLACES;
            noted.clear();
        }
        if noted.insert(facet) {
            self.pending.facets.push((facet.0, facet.1, facet.2, seq / PLACES));
        }
    }

    pub(super) fn forget_facets(&mut self) {
        self.facets.1.clear();
    }

    pub(super) fn remember_name(&mut self, text: Arc<str>, id: i64) {
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
        }
        self.names.insert(text, id);
    }

    /// Moves the marks of a subscription, and returns how they stood before.
    pub(super) fn note_marks(&mut self, sub: i64, claim: &Claim) -> Marks {
        let marks = self.marks.entry(sub).or_default();
        let before = marks.clone();
        marks.note(claim);
        self.pending.marks.insert(sub);
        before
    }
}
