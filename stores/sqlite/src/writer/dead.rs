//! Dead letters: adding, driving again, discarding.

use std::sync::Arc;

use volery_blackboard::claim::Claim;
use volery_blackboard::job::{Resumed, Start};
use volery_blackboard::store::{Death, Few, Redrive, Stored};
use volery_blackboard::{Offset, Timestamp};

use super::outcome::DEAD;
use super::tables::Tables;
use crate::block::Outcomes;
use crate::fault::Fault;
use crate::session::{Work, dead_letter_work};

impl Tables<'_> {
    pub(super) fn add_letter(
        &mut self,
        start: &Start,
        Death { attempts, error, at }: &Death,
    ) -> Result<(), Fault> {
        let map = self.session.shared.map();
        let (sub, agent) = (map.subscription(start.subscription)?, map.agent(start.agent)?);
        let inputs: Vec<Offset> = start.members.iter().map(|member| member.offset).collect();
        let mut kinds: Vec<String> = Vec::new();
        for input in &inputs {
            let mut kind = self.session.conn.prepare_cached("SELECT kind FROM artifact WHERE seq = ?1")?;
            let kind = self.session.name(kind.query_row([input.get()], |row| row.get(0))?)?;
            if !kinds.iter().any(|known| **known == *kind) {
                kinds.push(kind.to_string());
            }
        }
        // Pairs are never driven again, and their claims may have ended.
        self.flush()?;
        let claims = if start.shared { Vec::new() } else { self.session.inputs(start)? };
        let claims: Vec<Claim> = claims.iter().filter_map(|input| input.claims.first().cloned()).collect();
        let work = serde_json::to_string(&Work::new(start, claims))?;
        let number = self.index.last_dead + 1;
        self.run(
            "INSERT INTO dead VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, NULL, NULL, ?11)",
            (
                number,
                start.job.as_uuid().as_bytes(),
                agent,
                sub,
                start.run.as_uuid().as_bytes(),
                serde_json::to_string(&inputs)?,
                serde_json::to_string(&kinds)?,
                attempts,
                serde_json::to_string(error)?,
                at.as_micros_since_epoch(),
                work,
            ),
        )?;
        self.index.last_dead = number;
        self.record_attempt(start, *at, error)
    }

    fn decide(&self, letter: u64, state: i64, at: Timestamp, reason: Option<&str>) -> Result<(), Fault> {
        let decided = self.run(
            "UPDATE dead SET state = ?2, decided = ?3, reason = ?4 WHERE number = ?1 AND state = 0",
            (letter, state, at.as_micros_since_epoch(), reason),
        )?;
        if decided == 1 {
            return Ok(());
        }
        Err(Fault::Refused(format!("there is no open dead letter {letter}")))
    }

    pub(super) fn discard(&mut self, letter: u64, at: Timestamp, reason: &str) -> Result<Few<Stored>, Fault> {
        self.decide(letter, 2, at, Some(reason))?;
        Ok(Few::new())
    }

    pub(super) fn redrive(&mut self, redrive: &mut Redrive) -> Result<Resumed, Fault> {
        let (start, work) = dead_letter_work(&self.session, redrive.letter)?;
        redrive.check(&start).map_err(Fault::Refused)?;
        for (_, edit) in &redrive.edits {
            let (artifact, tenant) = (&edit.artifact, edit.artifact.tenant());
            let tenant = self.session.name_id(tenant.as_str())?.unwrap_or_default();
            let key = artifact.idempotency_key().map(|key| &**key);
            if self.find_first(artifact.id(), tenant, key)?.is_some() {
                return Err(Fault::Refused(format!("artifact {} is there already", artifact.id())));
            }
        }
        let mut replaced = Vec::with_capacity(redrive.edits.len());
        for (old, edit) in &mut redrive.edits {
            if let Stored::New(artifact) = self.publish(edit)? {
                replaced.push((*old, artifact.offset(), artifact.published_at()));
            }
        }
        let map = self.session.shared.map();
        let sub = map.subscription(start.subscription)?;
        for (offset, claim) in work.claims(start.subscription) {
            if !replaced.iter().any(|(old, ..)| *old == offset) {
                self.revive(sub, offset.get(), &claim)?;
            }
        }
        let start = Arc::new(start.redriven(map.subscription_name(start.subscription), &replaced));
        self.open_job(&start, false)?;
        self.decide(redrive.letter, 1, redrive.at, None)?;
        self.flush()?;
        let gone = || Fault::Refused(format!("job {} is not open", start.job));
        self.resumed(&start.job)?.ok_or_else(gone)
    }

    /// Makes a dead claim outstanding again.
    fn revive(&mut self, sub: i64, seq: u64, claim: &Claim) -> Result<(), Fault> {
        let key = Outcomes::key(sub, seq);
        if self.index.outcomes.look(&self.session.conn, key)?.code(seq) == DEAD {
            self.touched.set(true);
            self.index.outcomes.change(&self.session.conn, key)?.remove(seq);
            self.insert_claim(sub, seq, claim, claim.marks.as_deref())?;
            self.count(seq, None, |tally| tally.dead = tally.dead.saturating_sub(1))?;
        }
        Ok(())
    }
}
