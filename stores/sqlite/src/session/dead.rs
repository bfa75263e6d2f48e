//! Dead letters: listing, inspecting, and what is kept of a job so that it can run again.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params_from_iter};
use serde::{Deserialize, Serialize};
use volery_blackboard::claim::Claim;
use volery_blackboard::job::{Member, Start};
use volery_blackboard::store::{DeadFilter, DeadLetter, DeadState, FailedAttempt, Inspected, StoreError};
use volery_blackboard::{
    AgentIndex, AgentName, CloseReason, JobId, JobIndex, Key, Marks, Offset, RunId, SubscriptionIndex,
    Timestamp,
};

use super::Session;
use crate::fault::Fault;
use crate::row;

const LETTER: &str = "number, job, agent, run, inputs, kinds, attempts, error, at, state, decided, reason, \
     (SELECT name FROM subscription WHERE id = dead.sub)";

/// The record of a dead job, as JSON: everything that the tables forget when it ends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    run: RunId,
    opens_run: bool,
    at: Timestamp,
    attempt: u32,
    closed: Option<CloseReason>,
    shared: bool,
    inputs: Vec<Input>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Input {
    offset: Offset,
    side: u16,
    group: u32,
    weight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visible_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marks: Option<Box<Marks>>,
}

impl Work {
    /// Takes down a job with its claims, in the order of its inputs.
    pub(crate) fn new(start: &Start, claims: Vec<Claim>) -> Self {
        let input = |(member, claim): (&Member, Claim)| Input {
            offset: member.offset,
            side: member.side,
            group: member.group,
            weight: claim.weight,
            key: claim.key,
            lane: claim.lane,
            event_time: claim.event_time,
            visible_at: claim.visible_at,
            marks: claim.marks,
        };
        Self {
            run: start.run,
            opens_run: start.opens_run,
            at: start.at,
            attempt: start.attempt,
            closed: start.closed,
            shared: start.shared,
            inputs: start.members.iter().zip(claims).map(input).collect(),
        }
    }

    pub(crate) fn start(&self, job: JobId, agent: AgentIndex, subscription: SubscriptionIndex) -> Start {
        let member = |input: &Input| Member { offset: input.offset, side: input.side, group: input.group };
        Start {
            job,
            agent,
            subscription,
            members: self.inputs.iter().map(member).collect(),
            attempt: self.attempt,
            failures: 0,
            run: self.run,
            opens_run: self.opens_run,
            at: self.at,
            closed: self.closed,
            shared: self.shared,
            alone: false,
            index: JobIndex::default(),
            observed: None,
        }
    }

    /// The claims of the job, by place.
    pub(crate) fn claims(
        &self,
        subscription: SubscriptionIndex,
    ) -> impl Iterator<Item = (Offset, Claim)> + '_ {
        self.inputs.iter().map(move |input| {
            let claim = Claim {
                subscription,
                side: input.side,
                weight: input.weight,
                key: input.key.clone(),
                lane: input.lane.clone(),
                event_time: input.event_time,
                visible_at: input.visible_at,
                refused: None,
                marks: input.marks.clone(),
            };
            (input.offset, claim)
        })
    }
}

/// Reads what is needed to let the job of an open letter run again.
pub(crate) fn dead_letter_work(session: &Session, number: u64) -> Result<(Start, Work), Fault> {
    let mut statement =
        session.conn.prepare_cached("SELECT job, agent, sub, work, state FROM dead WHERE number = ?1")?;
    let mut rows = statement.query([number])?;
    let Some(row) = rows.next()? else {
        return Err(Fault::Refused(format!("there is no dead letter {number}")));
    };
    if row.get::<_, i64>(4)? != 0 {
        return Err(Fault::Refused(format!("dead letter {number} is not open")));
    }
    let map = session.shared.map();
    let (Some(agent), Some(subscription)) = (map.agent_of(row.get(1)?), map.index_of(row.get(2)?)) else {
        return Err(Fault::Refused(format!("the agent of dead letter {number} is not here any more")));
    };
    let work: Work = serde_json::from_str(&row.get::<_, String>(3)?)?;
    let start = work.start(row::job(row, 0)?, agent, subscription);
    let mut present = session.conn.prepare_cached("SELECT 1 FROM artifact WHERE seq = ?1")?;
    for member in &start.members {
        if present.query_row([member.offset.get()], |_| Ok(())).optional()?.is_none() {
            return Err(session.missing(member.offset));
        }
    }
    Ok((start, work))
}

impl Session<'_> {
    pub(crate) fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Fault> {
        let Some((sql, values)) = self.dead_sql(filter)? else { return Ok(Vec::new()) };
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut letters = Vec::new();
        while let Some(row) = rows.next()? {
            letters.push(self.letter(row)?);
        }
        Ok(letters)
    }

    /// Returns the statement for a page, or `None` when nothing can meet the filter.
    pub(crate) fn dead_sql(&self, filter: &DeadFilter) -> Result<Option<(String, Vec<Value>)>, Fault> {
        let (mut conditions, mut values) = (vec!["number > ?"], vec![number(filter.after)]);
        // As for artifacts, the most telling condition names the index.
        let mut from = "dead NOT INDEXED";
        if filter.only_open {
            from = "dead INDEXED BY dead_open";
            conditions.push("state = 0");
        }
        for (time, condition) in [(filter.since, "at >= ?"), (filter.until, "at < ?")] {
            if let Some(time) = time {
                from = "dead INDEXED BY dead_at";
                conditions.push(condition);
                values.push(time.as_micros_since_epoch().into());
            }
        }
        if let Some(agent) = &filter.agent {
            let Some(agent) = self.name_id(agent.as_str())? else { return Ok(None) };
            from = "dead INDEXED BY dead_agent";
            conditions.push("agent = ?");
            values.push(agent.into());
        }
        if let Some(run) = filter.run {
            from = "dead INDEXED BY dead_run";
            conditions.push("run = ?");
            values.push(run.as_uuid().as_bytes().to_vec().into());
        }
        if let Some(kind) = &filter.kind {
            conditions.push("EXISTS (SELECT 1 FROM json_each(dead.kinds) WHERE json_each.value = ?)");
            values.push(kind.clone().into());
        }
        values.push(number(filter.page_size() as u64));
        let conditions = conditions.join(" AND ");
        let sql = format!("SELECT {LETTER} FROM {from} WHERE {conditions} ORDER BY number LIMIT ?");
        Ok(Some((sql, values)))
    }

    fn letter(&self, row: &Row<'_>) -> Result<DeadLetter, Fault> {
        let time = |column| row.get(column).map(Timestamp::from_micros_since_epoch);
        let state = match row.get::<_, i64>(9)? {
            0 => DeadState::Open,
            1 => DeadState::Redriven { at: time(10)? },
            _ => DeadState::Discarded { at: time(10)?, reason: row.get(11)? },
        };
        let texts = |column| -> Result<Vec<String>, Fault> {
            Ok(serde_json::from_str(&row.get::<_, String>(column)?)?)
        };
        Ok(DeadLetter {
            number: row.get(0)?,
            job: row::job(row, 1)?,
            agent: AgentName::from(self.name(row.get(2)?)?),
            subscription: row.get(12)?,
            run: row::run(row, 3)?,
            inputs: serde_json::from_str(&row.get::<_, String>(4)?)?,
            kinds: texts(5)?,
            attempts: row.get(6)?,
            error: texts(7)?,
            at: time(8)?,
            state,
        })
    }

    pub(crate) fn dead_letter(&self, number: u64) -> Result<Option<Inspected>, Fault> {
        let sql = format!("SELECT {LETTER} FROM dead WHERE number = ?1");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([number])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let letter = self.letter(row)?;
        let mut inputs = Vec::with_capacity(letter.inputs.len());
        for offset in &letter.inputs {
            match self.read(&[*offset]) {
                Ok(read) => inputs.extend(read.iter().cloned()),
                Err(Fault::Store(StoreError::Missing { .. })) => {}
                Err(fault) => return Err(fault),
            }
        }
        let mut statement = self
            .conn
            .prepare_cached("SELECT number, at, error FROM attempt WHERE job = ?1 ORDER BY number")?;
        let mut rows = statement.query([letter.job.as_uuid().as_bytes()])?;
        let mut failed = Vec::new();
        while let Some(row) = rows.next()? {
            let at = Timestamp::from_micros_since_epoch(row.get(1)?);
            let error = serde_json::from_str(&row.get::<_, String>(2)?)?;
            failed.push(FailedAttempt { number: row.get(0)?, at, error });
        }
        Ok(Some(Inspected { letter, inputs, failed }))
    }
}

fn number(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
