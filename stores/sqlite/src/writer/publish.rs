//! Publishing: an artifact with its claims and tags, or the first one that has its id or key.

use rusqlite::OptionalExtension;
use volery_blackboard::claim::Claim;
use volery_blackboard::store::{First, NewArtifact, Stored};
use volery_blackboard::{Artifact, ArtifactId, Marks, Offset, Producer, Visibility};

use super::tables::Tables;
use crate::block::{Claims, Runs};
use crate::fault::Fault;
use crate::row::{self, Parts, RUNTIME};
use crate::session::{KIND, PRODUCER};

/// The parts of an artifact that are rarely there, as text.
struct Texts {
    causes: Option<Vec<u8>>,
    tags: Option<String>,
    visibility: Option<String>,
    trace: Option<String>,
}

impl Texts {
    fn of(artifact: &Artifact) -> Result<Self, Fault> {
        let causes = artifact.causes();
        let tags: Vec<&str> = artifact.tags().collect();
        let visibility = artifact.visibility();
        Ok(Self {
            causes: (!causes.is_empty())
                .then(|| causes.iter().flat_map(|cause| *cause.as_uuid().as_bytes()).collect()),
            tags: if tags.is_empty() { None } else { Some(serde_json::to_string(&tags)?) },
            visibility: match visibility {
                Visibility::Public => None,
                other => Some(serde_json::to_string(other)?),
            },
            trace: artifact.trace().map(|trace| trace.to_string()),
        })
    }
}

impl Tables<'_> {
    pub(super) fn publish(&mut self, publish: &mut NewArtifact) -> Result<Stored, Fault> {
        let artifact = &publish.artifact;
        let payload = artifact.json().map_err(|error| Fault::Refused(error.to_string()))?;
        let (texts, tenant_name) = (Texts::of(artifact)?, artifact.tenant_name());
        let tenant = self.intern(tenant_name)?;
        let kind = self.intern(artifact.kind().name())?;
        let (producer, producer_name) = match artifact.producer() {
            Producer::External => (None, None),
            Producer::Agent(name) => (Some(self.intern(name.as_str())?), Some(name.as_str())),
            _ => (Some(RUNTIME), Some("")),
        };
        let (id, run) = (artifact.id().as_uuid(), artifact.run().as_uuid());
        let parts = Parts {
            seq: self.index.last_seq + 1,
            id: id.as_bytes(),
            tenant: tenant_name,
            kind: artifact.kind().name(),
            version: artifact.kind().version().into(),
            run: run.as_bytes(),
            at: artifact.published_at().as_micros_since_epoch(),
            producer: producer_name,
            generation: artifact.generation().into(),
            causes: texts.causes.as_deref(),
            tags: texts.tags.as_deref(),
            visibility: texts.visibility.as_deref(),
            partition: artifact.partition().map(|partition| partition.as_str()),
            trace: texts.trace.as_deref(),
            idem: artifact.idempotency_key().map(|key| &**key),
            payload: payload.as_bytes(),
        };
        if self.insert(&parts, (tenant, kind, producer), &payload)? == 0 {
            return self.first_of(artifact.id(), tenant, parts.idem);
        }
        let (seq, at) = (parts.seq, parts.at);
        self.index.last_seq = seq;
        self.index.pending.moment(seq, at);
        self.index.note_facet(seq, (tenant, KIND, kind));
        if let Some(producer) = producer {
            self.index.note_facet(seq, (tenant, PRODUCER, producer));
        }
        for tag in artifact.tags() {
            self.run("INSERT INTO tag VALUES (?1, ?2, ?3)", (tenant, tag, seq))?;
        }
        if !artifact.kind().is_foreign() && self.index.learned.insert(kind) {
            self.session.shared.learn(artifact.kind());
        }
        let number = self.run_of_new(artifact.run(), seq, &publish.workflow)?;
        if !publish.claims.is_empty() {
            let matched = publish.claims.len() as u64;
            let runs = self.index.runs.change(&self.session.conn, Runs::key(number))?;
            if let Some(run) = runs.get_mut(number) {
                run.tally.matched += matched;
            }
            self.claim_anew(seq, &publish.claims)?;
        }
        Artifact::put_at_offset(&mut publish.artifact, Offset::new(seq));
        self.index.pending.fresh.push((std::sync::Arc::clone(&publish.artifact), payload.len()));
        Ok(Stored::New(std::sync::Arc::clone(&publish.artifact)))
    }

    fn insert(
        &self,
        parts: &Parts<'_>,
        (tenant, kind, producer): (i64, i64, Option<i64>),
        payload: &str,
    ) -> Result<usize, Fault> {
        self.run(
            "INSERT INTO artifact VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
             ON CONFLICT DO NOTHING",
            rusqlite::params![
                parts.seq,
                parts.id,
                tenant,
                kind,
                parts.version,
                parts.run,
                parts.at,
                producer,
                parts.generation,
                parts.causes,
                parts.tags,
                parts.visibility,
                parts.partition,
                parts.trace,
                parts.idem,
                parts.checksum(),
                payload,
            ],
        )
    }

    fn first_of(&self, id: ArtifactId, tenant: i64, key: Option<&str>) -> Result<Stored, Fault> {
        match self.find_first(id, tenant, key)? {
            Some(first) => Ok(first),
            None => Err(Fault::Refused(format!("artifact {id} can neither be written nor found"))),
        }
    }

    /// Returns the artifact that has the id or the tenant's key already.
    pub(super) fn find_first(
        &self,
        id: ArtifactId,
        tenant: i64,
        key: Option<&str>,
    ) -> Result<Option<Stored>, Fault> {
        let repeat = |row: &rusqlite::Row<'_>| {
            Ok((|| {
                let id = ArtifactId::from_uuid(row::job(row, 1)?.as_uuid());
                let first = First { id, offset: Offset::new(row.get(0)?), run: row::run(row, 2)? };
                Ok(Stored::Repeat(Box::new(first)))
            })())
        };
        let conn = &self.session.conn;
        let mut by_id = conn.prepare_cached("SELECT seq, id, run FROM artifact WHERE id = ?1")?;
        if let Some(first) = by_id.query_row([id.as_uuid().as_bytes()], repeat).optional()? {
            return first.map(Some);
        }
        let Some(key) = key else { return Ok(None) };
        let mut by_key =
            conn.prepare_cached("SELECT seq, id, run FROM artifact WHERE tenant = ?1 AND idem = ?2")?;
        by_key.query_row((tenant, key), repeat).optional()?.transpose()
    }

    fn claim_anew(&mut self, seq: u64, claims: &[Claim]) -> Result<(), Fault> {
        let map = self.session.shared.map();
        for claim in claims {
            let sub = map.subscription(claim.subscription)?;
            let marks = map.keeps_marks(sub).then(|| self.index.note_marks(sub, claim));
            self.insert_claim(sub, seq, claim, marks.as_ref())?;
        }
        Ok(())
    }

    /// Makes a claim outstanding.
    pub(super) fn insert_claim(
        &mut self,
        sub: i64,
        seq: u64,
        claim: &Claim,
        marks: Option<&Marks>,
    ) -> Result<(), Fault> {
        self.touched.set(true);
        self.index.claims.change(&self.session.conn, Claims::key(sub, seq))?.put((sub, seq), claim, marks)
    }
}
