//! Unfinished work: claims in pages, their counts, pairs, and the inputs of jobs.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;
use volery_blackboard::claim::{Backlog, Claim, Claimed, LogEntry};
use volery_blackboard::job::{PairVerdict, Start};
use volery_blackboard::store::{Cursor, Unfinished};
use volery_blackboard::{Discard, Offset, RunId, SubscriptionIndex, Tally, Timestamp};

use super::Session;
use super::runs::RunsRead;
use crate::block::{Block, Claims, Found, JobRecord};
use crate::fault::Fault;
use crate::row;

/// The blocks of one subscription's claims, from a key to a key.
pub(crate) const CLAIMS: &str = "SELECT key, value FROM claim WHERE key BETWEEN ?1 AND ?2 ORDER BY key";

impl Session<'_> {
    /// Reads one page of claims, merged from the subscriptions' own orders.
    pub(crate) fn claims(
        &self,
        subscriptions: &[SubscriptionIndex],
        after: Option<Offset>,
        limit: usize,
    ) -> Result<Vec<Claimed>, Fault> {
        let map = self.shared.map();
        let first = after.unwrap_or_default().next().get();
        let mut runs = RunsRead::default();
        let mut found: BTreeMap<u64, (LogEntry, Tally, Vec<Claim>)> = BTreeMap::new();
        for index in subscriptions {
            let sub = map.subscription(*index)?;
            let covered = self.covered(sub)?;
            let mut taken = 0;
            self.each_claim(sub, first, |seq, claims| {
                if covered.contains(&seq) {
                    return Ok(true);
                }
                // Behind a full page nothing can come into it any more.
                let is_full =
                    found.len() >= limit && found.last_key_value().is_some_and(|(last, _)| seq > *last);
                if taken >= limit || is_full {
                    return Ok(false);
                }
                taken += 1;
                let (published, tally) = self.readable(claims, seq, *index, &mut runs)?;
                let claim = published.claims[0].clone();
                found.entry(seq).or_insert_with(|| (published, tally, Vec::new())).2.push(claim);
                Ok(true)
            })?;
        }
        let first = found.into_values().take(limit);
        Ok(first
            .map(|(published, tally, mut claims)| {
                claims.sort_by_key(|claim| claim.subscription);
                Claimed { published: LogEntry { claims: claims.into(), ..published }, tally }
            })
            .collect())
    }

    /// Goes through the claims of a subscription from a place on, in order, as long as it is told to.
    fn each_claim(
        &self,
        sub: i64,
        from: u64,
        mut see: impl FnMut(u64, &Claims) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let mut statement = self.conn.prepare_cached(CLAIMS)?;
        let mut rows = statement.query(Claims::keys_from(sub, from))?;
        while let Some(row) = rows.next()? {
            let key = row.get(0)?;
            let claims = Claims::read(key, row.get(1)?);
            for seq in claims.places(key).filter(|seq| *seq >= from) {
                if !see(seq, &claims)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The places that unfinished jobs of a subscription cover. The jobs of pairs cover nothing.
    fn covered(&self, sub: i64) -> Result<HashSet<u64>, Fault> {
        let mut covered = HashSet::new();
        self.each_job(|_, found| match found {
            Found::Job(_, JobRecord { sub: of, start, .. }) if of == sub && !start.shared => {
                covered.extend(start.members.iter().map(|member| member.offset.get()));
                Ok(())
            }
            Found::Job(..) => Ok(()),
            Found::Lost(_) => Err(Fault::Damaged(None, "a job under way is not what was written".to_owned())),
        })?;
        Ok(covered)
    }

    /// Counts what [`Session::claims`] would read.
    pub(crate) fn backlog(&self) -> Result<Vec<Backlog>, Fault> {
        let mut all = Vec::new();
        for (subscription, sub) in self.shared.map().subscriptions() {
            let covered = self.covered(sub)?;
            let (mut count, mut ends) = (0, None);
            self.each_claim(sub, 0, |seq, _| {
                if !covered.contains(&seq) {
                    count += 1;
                    ends = Some((ends.map_or(seq, |(first, _)| first), seq));
                }
                Ok(true)
            })?;
            if let Some((first, last)) = ends {
                let (first, last) = (Offset::new(first), Offset::new(last));
                all.push(Backlog { subscription, count, first, last });
            }
        }
        Ok(all)
    }

    /// Reads the next slice of finished pairs.
    pub(crate) fn pairs(&self, after: u64, limit: usize) -> Result<(Vec<Unfinished>, Option<Cursor>), Fault> {
        let map = self.shared.map();
        let mut statement = self.conn.prepare_cached(
            "SELECT number, sub, inputs, dead FROM pair INDEXED BY pair_open
             WHERE open = 1 AND number > ?1 ORDER BY number LIMIT ?2",
        )?;
        let mut rows = statement.query((after, limit))?;
        let (mut pairs, mut next) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            next = Some(Cursor::Pairs(row.get(0)?));
            let pair = || -> Result<_, Fault> {
                let inputs: String = row.get(2)?;
                Ok((map.index_of(row.get(1)?), serde_json::from_str(&inputs)?, row.get(3)?))
            };
            match pair() {
                Ok((Some(subscription), inputs, dead)) => {
                    let verdict = if dead { PairVerdict::Dead } else { PairVerdict::Done };
                    pairs.push(Unfinished::Pair { subscription, inputs, verdict });
                }
                Ok((None, ..)) => {}
                // The pair forms again then, and what it publishes is there already, unless its id was
                // derived by an earlier build.
                Err(fault) => drop(fault.damage()?),
            }
        }
        Ok((pairs, next))
    }

    /// Reads the inputs of a job, with the job's claim on each.
    pub(crate) fn inputs(&self, start: &Start) -> Result<Vec<LogEntry>, Fault> {
        let sub = self.shared.map().subscription(start.subscription)?;
        let mut runs = RunsRead::default();
        let mut inputs = Vec::with_capacity(start.members.len());
        for member in &start.members {
            let seq = member.offset.get();
            let claims: Claims = self.block(Claims::key(sub, seq))?;
            if claims.has(seq) {
                // The job runs all the same: what its attempt cannot read either, it fails with.
                inputs.push(self.readable(&claims, seq, start.subscription, &mut runs)?.0);
            }
        }
        Ok(inputs)
    }

    /// Reads a claim with its artifact and how the run stands. A claim that is damaged, or whose artifact is,
    /// is refused for that, so that it keeps nobody from reading what comes after it; with it comes what can
    /// still be known of the artifact.
    fn readable(
        &self,
        claims: &Claims,
        seq: u64,
        subscription: SubscriptionIndex,
        runs: &mut RunsRead,
    ) -> Result<(LogEntry, Tally), Fault> {
        let mut damage = None;
        let mut sound = |fault: Fault| -> Result<(), Fault> {
            damage.get_or_insert(fault.damage()?);
            Ok(())
        };
        let mut entry = LogEntry {
            offset: Offset::new(seq),
            run: RunId::from_uuid(Uuid::nil()),
            workflow: "".into(),
            at: Timestamp::default(),
            claims: [].into(),
        };
        let gone = |what: &str| Fault::Damaged(None, format!("its {what} is not there"));
        let mut statement = self.conn.prepare_cached("SELECT run, at FROM artifact WHERE seq = ?1")?;
        let mut rows = statement.query([seq])?;
        match rows.next()? {
            Some(row) => {
                entry.at = row.get(1).map(Timestamp::from_micros_since_epoch).unwrap_or_default();
                row::run(row, 0).map(|run| entry.run = run).or_else(&mut sound)?;
            }
            None => sound(gone("artifact"))?,
        }
        let run = runs.run(self, entry.run, seq)?;
        match run {
            Some(run) => self.name(run.workflow).map(|name| entry.workflow = name).or_else(&mut sound)?,
            None => sound(gone("run"))?,
        }
        let claim = claims.claim(seq, subscription).map(Some).or_else(|fault| sound(fault).map(|()| None))?;
        let claim = match (claim, damage) {
            (Some(claim), None) => claim,
            (_, damage) => refused(subscription, Discard::Damaged(damage.unwrap_or_default())),
        };
        entry.claims = [claim].into();
        Ok((entry, run.map(|run| run.tally).unwrap_or_default()))
    }
}

/// A claim that is refused, of which nothing else is known.
pub(crate) fn refused(subscription: SubscriptionIndex, why: Discard) -> Claim {
    Claim {
        subscription,
        side: 0,
        weight: 0,
        key: None,
        lane: None,
        event_time: None,
        visible_at: None,
        refused: Some(Box::new(why)),
        marks: None,
    }
}
