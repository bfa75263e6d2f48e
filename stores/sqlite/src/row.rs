//! Rows: artifacts as columns, and the checksum over an artifact.
//!
//! SQLite notices few of the bits that a disk may flip; the checksum covers everything that an artifact is.
//! Names are covered as text, so that a damaged table of names is noticed as well.

use std::collections::BTreeSet;
use std::sync::Arc;

use crc32fast::Hasher;
use rusqlite::Row;
use rusqlite::types::ValueRef;
use uuid::Uuid;
use volery_blackboard::{
    Artifact, ArtifactId, Body, Causes, JobId, Key, Offset, Producer, RunId, Tenant, Timestamp, TraceContext,
    Visibility,
};

use super::fault::Fault;
use super::session::Session;

/// The columns that [`artifact`] reads, in its order, of a table named `a`.
pub(super) const ARTIFACT: &str = "a.seq, a.id, a.tenant, a.kind, a.version, a.run, a.at, a.producer, a.generation, \
     a.causes, a.tags, a.visibility, a.partition, a.trace, a.idem, a.crc, a.payload";

/// How the column `producer` says that the runtime published it; names have higher numbers.
pub(super) const RUNTIME: i64 = 0;

/// The bytes of an artifact that the checksum covers.
pub(super) struct Parts<'a> {
    pub(super) seq: u64,
    pub(super) id: &'a [u8],
    pub(super) tenant: &'a str,
    pub(super) kind: &'a str,
    pub(super) version: i64,
    pub(super) run: &'a [u8],
    pub(super) at: i64,
    /// `None` from outside, empty for the runtime.
    pub(super) producer: Option<&'a str>,
    pub(super) generation: i64,
    pub(super) causes: Option<&'a [u8]>,
    pub(super) tags: Option<&'a str>,
    pub(super) visibility: Option<&'a str>,
    pub(super) partition: Option<&'a str>,
    pub(super) trace: Option<&'a str>,
    pub(super) idem: Option<&'a str>,
    pub(super) payload: &'a [u8],
}

impl Parts<'_> {
    pub(super) fn checksum(&self) -> u32 {
        let mut hasher = Hasher::new();
        let mut number = |number: i64| hasher.update(&number.to_le_bytes());
        number(i64::try_from(self.seq).unwrap_or(i64::MAX));
        number(self.version);
        number(self.at);
        number(self.generation);
        // Lengths keep parts from running into each other; an absent one has none.
        let texts = [self.producer, self.tags, self.visibility, self.partition, self.trace, self.idem];
        let bytes = [Some(self.id), Some(self.run), self.causes, Some(self.payload)];
        let known = [Some(self.tenant.as_bytes()), Some(self.kind.as_bytes())];
        let all = known.into_iter().chain(bytes).chain(texts.map(|text| text.map(str::as_bytes)));
        for part in all {
            match part {
                Some(part) => {
                    hasher.update(&(part.len() as u64 + 1).to_le_bytes());
                    hasher.update(part);
                }
                None => hasher.update(&0_u64.to_le_bytes()),
            }
        }
        hasher.finalize()
    }
}

/// Reads an artifact and checks that it is what was written.
pub(super) fn artifact(session: &Session, row: &Row<'_>) -> Result<Arc<Artifact>, Fault> {
    let seq: u64 = row.get(0)?;
    let damaged = |cause: String| Fault::Damaged(Some(Offset::new(seq)), cause);
    read_artifact(session, row, seq).map_err(|fault| match fault {
        // A value of the wrong type, in a column that has but one.
        Fault::Sqlite(error) if error.sqlite_error_code().is_none() => damaged(error.to_string()),
        Fault::Damaged(None, cause) => damaged(cause),
        other => other,
    })
}

fn read_artifact(session: &Session, row: &Row<'_>, seq: u64) -> Result<Arc<Artifact>, Fault> {
    let (tenant, kind) = (session.name(row.get(2)?)?, session.name(row.get(3)?)?);
    let (version, at, generation) = (row.get(4)?, row.get(6)?, row.get(8)?);
    let producer = match row.get::<_, Option<i64>>(7)? {
        None => None,
        Some(RUNTIME) => Some(Arc::from("")),
        Some(id) => Some(session.name(id)?),
    };
    let payload = match row.get_ref(16)? {
        ValueRef::Text(payload) => payload,
        _ => return Err(Fault::Damaged(None, "the payload is no text".to_owned())),
    };
    let parts = Parts {
        seq,
        id: row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?,
        tenant: &tenant,
        kind: &kind,
        version,
        run: row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?,
        at,
        producer: producer.as_deref(),
        generation,
        causes: row.get_ref(9)?.as_blob_or_null().map_err(rusqlite::Error::from)?,
        tags: row.get_ref(10)?.as_str_or_null().map_err(rusqlite::Error::from)?,
        visibility: row.get_ref(11)?.as_str_or_null().map_err(rusqlite::Error::from)?,
        partition: row.get_ref(12)?.as_str_or_null().map_err(rusqlite::Error::from)?,
        trace: row.get_ref(13)?.as_str_or_null().map_err(rusqlite::Error::from)?,
        idem: row.get_ref(14)?.as_str_or_null().map_err(rusqlite::Error::from)?,
        payload,
    };
    if i64::from(parts.checksum()) != row.get::<_, i64>(15)? {
        return Err(Fault::Damaged(None, "its checksum does not match".to_owned()));
    }
    build(session, &parts)
}

fn build(session: &Session, parts: &Parts<'_>) -> Result<Arc<Artifact>, Fault> {
    let not_utf8 = |_| Fault::Damaged(None, "the payload is no UTF-8".to_owned());
    let body = Body::json(std::str::from_utf8(parts.payload).map_err(not_utf8)?);
    let kind = session.shared.kind(parts.kind, u32::try_from(parts.version).unwrap_or_default());
    let (id, run) = (ArtifactId::from_uuid(uuid(parts.id)?), RunId::from_uuid(uuid(parts.run)?));
    let at = Timestamp::from_micros_since_epoch(parts.at);
    let mut artifact = Artifact::new(id, kind, body, run, at);
    let producer = match parts.producer {
        None => Producer::External,
        Some("") => Producer::Runtime,
        Some(agent) => Producer::Agent(agent.into()),
    };
    if producer != Producer::External || parts.causes.is_some() || parts.generation != 0 {
        let causes =
            parts.causes.unwrap_or_default().chunks(16).map(|id| Ok(ArtifactId::from_uuid(uuid(id)?)));
        let causes = causes.collect::<Result<Causes, Fault>>()?;
        artifact = artifact.caused_by(producer, causes, u32::try_from(parts.generation).unwrap_or_default());
    }
    if parts.tenant != "default" {
        artifact = artifact.with_tenant(Tenant::from(parts.tenant));
    }
    if let Some(tags) = parts.tags {
        artifact = artifact.with_tags(serde_json::from_str::<BTreeSet<String>>(tags)?);
    }
    if let Some(visibility) = parts.visibility {
        artifact = artifact.with_visibility(serde_json::from_str::<Visibility>(visibility)?);
    }
    if let Some(partition) = parts.partition {
        artifact = artifact.with_partition(Key::from(partition));
    }
    if let Some(trace) = parts.trace {
        let malformed = |_| Fault::Damaged(None, "its trace context is malformed".to_owned());
        artifact = artifact.with_trace(trace.parse::<TraceContext>().map_err(malformed)?);
    }
    if let Some(key) = parts.idem {
        artifact = artifact.with_idempotency_key(key.into());
    }
    Ok(Artifact::at_offset(Arc::new(artifact), Offset::new(parts.seq)))
}

pub(super) fn run(row: &Row<'_>, column: usize) -> Result<RunId, Fault> {
    Ok(RunId::from_uuid(uuid(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)?))
}

pub(super) fn job(row: &Row<'_>, column: usize) -> Result<JobId, Fault> {
    Ok(JobId::from_uuid(uuid(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)?))
}

fn uuid(bytes: &[u8]) -> Result<Uuid, Fault> {
    Uuid::from_slice(bytes).map_err(|_| Fault::Damaged(None, "an id is malformed".to_owned()))
}
