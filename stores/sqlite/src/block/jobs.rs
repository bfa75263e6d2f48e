//! Jobs that have no end.
//!
//! A job's record begins with its inputs, which have a checksum of their own: they can be ended also when the
//! rest of the record is damaged. Pure: no I/O, no clock.

use std::borrow::Cow;

use crc32fast::hash;
use uuid::Uuid;
use volery_blackboard::job::{Member, Start};
use volery_blackboard::store::Few;
use volery_blackboard::{AgentIndex, JobId, JobIndex, Offset, RunId, SubscriptionIndex, Timestamp};

use super::bytes::{Cursor, put_number, put_text};
use super::entries::{self, Entry};
use super::{Block, PLACES};
use crate::fault::Fault;

/// No file has that many blocks.
const KEY_MAX: i64 = (1 << 40) - 1;

/// The jobs whose numbers lie in the block.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    bytes: Vec<u8>,
    /// The jobs that are not what was written, with their inputs as far as these are.
    lost: Vec<Option<Inputs>>,
}

/// A job as it stands in a block.
#[derive(Debug)]
pub(crate) enum Found {
    /// With its number.
    Job(u64, JobRecord<Start>),
    /// It is not what was written. Its inputs may be.
    Lost(Option<Inputs>),
}

/// An unfinished job, with the file's ids of its subscription and its agent; those within `start` mean
/// nothing when it is read.
#[derive(Debug)]
pub(crate) struct JobRecord<S> {
    pub(crate) sub: i64,
    pub(crate) agent: i64,
    pub(crate) start: S,
    pub(crate) progress: Progress,
}

/// The part of a job that changes between its attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) failures: u32,
    pub(crate) until: Option<Timestamp>,
    pub(crate) is_running: bool,
    pub(crate) interruptions: u32,
    pub(crate) deaths_alone: u32,
}

/// The inputs of a job.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) sub: i64,
    /// Whether they may take part in further jobs: the job covers none of them then.
    pub(crate) shared: bool,
    pub(crate) members: Few<Member>,
}

impl JobRecord<Start> {
    fn inputs(self) -> Option<Inputs> {
        Some(Inputs { sub: self.sub, shared: self.start.shared, members: self.start.members })
    }
}

impl Jobs {
    pub(crate) fn key(number: u64) -> i64 {
        (number / PLACES).cast_signed()
    }

    /// The lowest number of the block with a key. A key that is higher than any is damaged.
    fn first_number(key: i64) -> u64 {
        (key & KEY_MAX).cast_unsigned() * PLACES
    }

    /// The number of the last job of the block with a key.
    pub(crate) fn last_number(key: i64) -> u64 {
        Self::first_number(key) + PLACES - 1
    }

    /// Puts a job in, or in the place of its former record.
    pub(crate) fn put(&mut self, number: u64, record: &JobRecord<&Start>) -> Result<(), Fault> {
        let mut body = inputs_bytes(record.sub, record.start.shared, &record.start.members);
        rest_bytes(&mut body, record)?;
        self.take(number);
        entries::put(&mut self.bytes, (Self::key(number), number), &body);
        Ok(())
    }

    /// Puts a job in of which only the inputs are known.
    pub(crate) fn put_inputs(&mut self, number: u64, Inputs { sub, shared, members }: &Inputs) {
        entries::put(&mut self.bytes, (Self::key(number), number), &inputs_bytes(*sub, *shared, members));
    }

    pub(crate) fn take(&mut self, number: u64) {
        if let Some(entry) = entries::find(&self.bytes, 0, number) {
            let range = entry.range;
            self.bytes.drain(range);
        }
    }

    /// Every job of the block with this key.
    pub(crate) fn all(self, key: i64) -> impl Iterator<Item = Found> {
        let first = Self::first_number(key);
        let job =
            |entry: Entry<'_>| Some(Found::Job(first + u64::from(entry.place), read_job(entry.body).ok()?));
        let jobs: Vec<Found> = entries::entries(&self.bytes, 0).filter_map(job).collect();
        jobs.into_iter().chain(self.lost.into_iter().map(Found::Lost))
    }
}

impl Block for Jobs {
    const TABLE: &'static str = "job";

    fn read(key: i64, mut bytes: Vec<u8>) -> Self {
        let mut lost = Vec::new();
        let is_cut = entries::sift(&mut bytes, 0, |entry| {
            let job = read_job(entry.body);
            let is_sound = job.is_ok() && entry.is_sound(key);
            if !is_sound {
                lost.push(job.map_or_else(|inputs| inputs, JobRecord::inputs));
            }
            is_sound
        });
        if is_cut {
            lost.push(None);
        }
        Self { bytes, lost }
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

const SHARED: u8 = 1;

fn inputs_bytes(sub: i64, shared: bool, members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(80 + members.len() * 6);
    bytes.push(if shared { SHARED } else { 0 });
    put_number(&mut bytes, sub.cast_unsigned());
    put_number(&mut bytes, members.len() as u64);
    for member in members {
        put_number(&mut bytes, member.offset.get());
        put_number(&mut bytes, member.side.into());
        put_number(&mut bytes, member.group.into());
    }
    let checksum = hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn read_inputs(rest: &mut Cursor<'_>) -> Option<Inputs> {
    let all = rest.0;
    let shared = rest.byte()? == SHARED;
    let sub = rest.number()?.cast_signed();
    let mut members = Few::new();
    for _ in 0..rest.number()? {
        members.push(Member {
            offset: Offset::new(rest.number()?),
            side: rest.number()?.try_into().ok()?,
            group: rest.number()?.try_into().ok()?,
        });
    }
    let length = all.len() - rest.0.len();
    let is_sound = hash(&all[..length]) == u32::from_le_bytes(rest.array()?);
    is_sound.then_some(Inputs { sub, shared, members })
}

const OPENS_RUN: u8 = 1;
const ALONE: u8 = 1 << 1;
const RUNNING: u8 = 1 << 2;
const UNTIL: u8 = 1 << 3;
const CLOSED: u8 = 1 << 4;

fn rest_bytes(bytes: &mut Vec<u8>, record: &JobRecord<&Start>) -> Result<(), Fault> {
    let JobRecord { start, progress, .. } = record;
    let has = |yes: bool, bit: u8| if yes { bit } else { 0 };
    bytes.push(
        has(start.opens_run, OPENS_RUN)
            | has(start.alone, ALONE)
            | has(progress.is_running, RUNNING)
            | has(progress.until.is_some(), UNTIL)
            | has(start.closed.is_some(), CLOSED),
    );
    bytes.extend_from_slice(start.job.as_uuid().as_bytes());
    bytes.extend_from_slice(start.run.as_uuid().as_bytes());
    put_number(bytes, record.agent.cast_unsigned());
    for time in [Some(start.at), progress.until].into_iter().flatten() {
        bytes.extend_from_slice(&time.as_micros_since_epoch().to_le_bytes());
    }
    for count in
        [start.attempt, start.failures, progress.failures, progress.interruptions, progress.deaths_alone]
    {
        put_number(bytes, count.into());
    }
    if let Some(closed) = start.closed {
        put_text(bytes, &serde_json::to_string(&closed)?);
    }
    Ok(())
}

/// Reads a job, or else its inputs.
fn read_job(body: &[u8]) -> Result<JobRecord<Start>, Option<Inputs>> {
    let mut rest = Cursor(body);
    let inputs = read_inputs(&mut rest).ok_or(None)?;
    read_rest(&mut rest, &inputs).ok_or(Some(inputs))
}

fn read_rest(rest: &mut Cursor<'_>, inputs: &Inputs) -> Option<JobRecord<Start>> {
    let parts = rest.byte()?;
    let has = |bit: u8| parts & bit != 0;
    let (job, run) = (Uuid::from_bytes(rest.array()?), Uuid::from_bytes(rest.array()?));
    let agent = rest.number()?.cast_signed();
    let time = |bytes| Timestamp::from_micros_since_epoch(i64::from_le_bytes(bytes));
    let at = time(rest.array()?);
    let until = if has(UNTIL) { Some(time(rest.array()?)) } else { None };
    let mut count = || rest.number()?.try_into().ok();
    let (attempt, failed) = (count()?, count()?);
    let (failures, interruptions, deaths_alone) = (count()?, count()?, count()?);
    let closed = if has(CLOSED) { Some(serde_json::from_str(rest.text()?).ok()?) } else { None };
    let start = Start {
        job: JobId::from_uuid(job),
        agent: AgentIndex(0),
        subscription: SubscriptionIndex(0),
        members: inputs.members.clone(),
        attempt,
        failures: failed,
        run: RunId::from_uuid(run),
        opens_run: has(OPENS_RUN),
        at,
        closed,
        shared: inputs.shared,
        alone: has(ALONE),
        index: JobIndex::default(),
        observed: None,
    };
    let progress = Progress { failures, until, is_running: has(RUNNING), interruptions, deaths_alone };
    Some(JobRecord { sub: inputs.sub, agent, start, progress })
}
