//! Claims without an outcome, of one subscription.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;

use volery_blackboard::claim::Claim;
use volery_blackboard::{Key, Marks, SubscriptionIndex, Timestamp};

use super::bytes::{Cursor, put_number, put_text};
use super::entries::{self, Entry};
use super::{Block, HEAD, PLACES, slot, with_head};
use crate::fault::Fault;

/// Bits of a key that tell the block. The others tell the subscription.
const BLOCK_BITS: u32 = 40;

/// The claims of one subscription without an outcome, each with an entry.
#[derive(Debug)]
pub(crate) struct Claims(Vec<u8>);

impl Claims {
    /// That a subscription `s` has a claim on an artifact `a`, in the block `c`.
    pub(crate) const OF_ARTIFACT: &str =
        "c.key = s.id << 40 | a.seq / 32 AND substr(c.value, 1 + a.seq % 32, 1) <> x'00'";

    pub(crate) fn key(sub: i64, seq: u64) -> i64 {
        sub << BLOCK_BITS | (seq / PLACES).cast_signed()
    }

    /// The keys of all claims of a subscription from the block of a place on.
    pub(crate) fn keys_from(sub: i64, seq: u64) -> (i64, i64) {
        (Self::key(sub, seq), ((sub + 1) << BLOCK_BITS) - 1)
    }

    /// The first place of the block with a key.
    pub(crate) fn first_place(key: i64) -> u64 {
        (key & ((1 << BLOCK_BITS) - 1)).cast_unsigned() * PLACES
    }

    pub(crate) fn has(&self, seq: u64) -> bool {
        self.0[usize::from(slot(seq))] != 0 || self.entry(seq).is_some()
    }

    /// Adds a claim.
    ///
    /// # Errors
    /// When the subscription has one on that place.
    pub(crate) fn put(
        &mut self,
        (sub, seq): (i64, u64),
        claim: &Claim,
        marks: Option<&Marks>,
    ) -> Result<(), Fault> {
        let body = claim_body(claim, marks)?;
        if std::mem::replace(&mut self.0[usize::from(slot(seq))], 1) != 0 {
            return Err(Fault::Refused(format!("artifact {seq} has two claims of one subscription")));
        }
        entries::put(&mut self.0, (Self::key(sub, seq), seq), &body);
        Ok(())
    }

    /// Removes a claim; tells whether there was one.
    pub(crate) fn take(&mut self, seq: u64) -> bool {
        let entry = self.entry(seq).map(|entry| entry.range);
        let is_there = std::mem::take(&mut self.0[usize::from(slot(seq))]) != 0 || entry.is_some();
        if let Some(range) = entry {
            self.0.drain(range);
        }
        is_there
    }

    /// The places with a claim, in order.
    pub(crate) fn places(&self, key: i64) -> impl Iterator<Item = u64> + '_ {
        let first = Self::first_place(key);
        (first..first + PLACES).filter(|seq| self.has(*seq))
    }

    /// Reads a claim, if it is what was written.
    pub(crate) fn claim(&self, seq: u64, subscription: SubscriptionIndex) -> Result<Claim, Fault> {
        let damaged = || Fault::Damaged(None, "it is not what was written".to_owned());
        let entry = self.entry(seq).ok_or_else(damaged)?;
        read_claim(entry.body, subscription)?.ok_or_else(damaged)
    }

    fn entry(&self, seq: u64) -> Option<Entry<'_>> {
        entries::find(&self.0, HEAD, seq)
    }
}

impl Block for Claims {
    const TABLE: &'static str = "claim";

    fn read(key: i64, bytes: Vec<u8>) -> Self {
        let mut bytes = with_head(bytes);
        // The places of claims that are lost still say that they were there.
        entries::sift(&mut bytes, HEAD, |entry| entry.is_sound(key));
        Self(bytes)
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }

    fn is_empty(&self) -> bool {
        self.0.len() == HEAD && self.0.iter().all(|byte| *byte == 0)
    }
}

impl Default for Claims {
    fn default() -> Self {
        Self(vec![0; HEAD])
    }
}

/// The parts of a claim that a body has only if they differ from those of most claims, as the bits of its
/// first byte.
const SIDE: u8 = 1;
const WEIGHT: u8 = 1 << 1;
const KEY: u8 = 1 << 2;
const LANE: u8 = 1 << 3;
const EVENT_TIME: u8 = 1 << 4;
const VISIBLE_AT: u8 = 1 << 5;
const REFUSED: u8 = 1 << 6;
const MARKS: u8 = 1 << 7;

fn claim_body(claim: &Claim, marks: Option<&Marks>) -> Result<Vec<u8>, Fault> {
    let mut body = vec![0];
    let has = |body: &mut Vec<u8>, part: u8| body[0] |= part;
    if claim.side != 0 {
        has(&mut body, SIDE);
        put_number(&mut body, claim.side.into());
    }
    if claim.weight != 1 {
        has(&mut body, WEIGHT);
        put_number(&mut body, claim.weight.into());
    }
    for (part, key) in [(KEY, &claim.key), (LANE, &claim.lane)] {
        if let Some(key) = key {
            has(&mut body, part);
            put_text(&mut body, key.as_str());
        }
    }
    for (part, time) in [(EVENT_TIME, claim.event_time), (VISIBLE_AT, claim.visible_at)] {
        if let Some(time) = time {
            has(&mut body, part);
            body.extend_from_slice(&time.as_micros_since_epoch().to_le_bytes());
        }
    }
    if let Some(refused) = &claim.refused {
        has(&mut body, REFUSED);
        put_text(&mut body, &serde_json::to_string(refused)?);
    }
    if let Some(marks) = marks {
        has(&mut body, MARKS);
        put_text(&mut body, &serde_json::to_string(marks)?);
    }
    Ok(body)
}

fn read_claim(body: &[u8], subscription: SubscriptionIndex) -> Result<Option<Claim>, Fault> {
    let mut rest = Cursor(body);
    let Some(parts) = rest.byte() else { return Ok(None) };
    let mut read = || {
        let has = |part: u8| parts & part != 0;
        let side = if has(SIDE) { rest.number()?.try_into().ok()? } else { 0 };
        let weight = if has(WEIGHT) { rest.number()?.try_into().ok()? } else { 1 };
        let mut key = |part: u8| Some(if has(part) { Some(Key::from(rest.text()?)) } else { None });
        let (key, lane) = (key(KEY)?, key(LANE)?);
        let mut time = |part: u8| {
            let time = |bytes| Timestamp::from_micros_since_epoch(i64::from_le_bytes(bytes));
            Some(if has(part) { Some(time(rest.array()?)) } else { None })
        };
        let (event_time, visible_at) = (time(EVENT_TIME)?, time(VISIBLE_AT)?);
        let mut json = |part: u8| Some(if has(part) { Some(rest.text()?) } else { None });
        let (refused, marks) = (json(REFUSED)?, json(MARKS)?);
        let claim = Claim {
            subscription,
            side,
            weight,
            key,
            lane,
            event_time,
            visible_at,
            refused: None,
            marks: None,
        };
        Some((claim, refused, marks))
    };
    let Some((claim, refused, marks)) = read() else { return Ok(None) };
    let refused = refused.map(serde_json::from_str).transpose()?;
    let marks = marks.map(serde_json::from_str).transpose()?;
    Ok(Some(Claim { refused, marks, ..claim }))
}
