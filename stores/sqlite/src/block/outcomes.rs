//! Claims that have ended, of one subscription.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;
use std::ops::Range;

use uuid::Uuid;
use volery_blackboard::{JobId, Offset};

use super::bytes::{Cursor, put_number};
use super::{Block, HEAD, PLACES, slot, with_head};

/// Bits of a key that tell the subscription. The others tell the block.
const SUBSCRIPTION_BITS: u32 = 20;

/// Subscriptions that a file can have, over all programs that it ever had.
pub(crate) const SUBSCRIPTIONS_MAX: i64 = 1 << SUBSCRIPTION_BITS;

/// The claims of one subscription that have ended.
///
/// Those that a job took have an entry: their place, the job, and the first and the number of the artifacts
/// that it published.
#[derive(Debug)]
pub(crate) struct Outcomes(Vec<u8>);

/// The job that took an ended claim, and the artifacts that it published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) job: JobId,
    pub(crate) published: OffsetRange,
}

/// Artifacts that follow each other in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OffsetRange {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl OffsetRange {
    pub(crate) fn offsets(self) -> impl Iterator<Item = Offset> {
        (self.first..self.first.saturating_add(self.count)).map(Offset::new)
    }
}

impl Outcomes {
    /// The number of the outcome of an artifact `a` in the block `o`.
    pub(crate) const CODE: &str = "substr(o.value, 1 + a.seq % 32, 1)";

    /// That an artifact `a` has an outcome in the block `o`.
    pub(crate) const OF_ARTIFACT: &str = "o.key BETWEEN a.seq / 32 << 20 AND (a.seq / 32 << 20) + 1048575 \
         AND substr(o.value, 1 + a.seq % 32, 1) <> x'00'";

    pub(crate) fn key(sub: i64, seq: u64) -> i64 {
        Self::keys_at(seq).0 | sub
    }

    /// The keys of the blocks of all subscriptions that a place belongs to.
    pub(crate) fn keys_at(seq: u64) -> (i64, i64) {
        let first = (seq / PLACES).cast_signed() << SUBSCRIPTION_BITS;
        (first, first + SUBSCRIPTIONS_MAX - 1)
    }

    /// The subscription of the block with a key.
    pub(crate) fn subscription(key: i64) -> i64 {
        key & (SUBSCRIPTIONS_MAX - 1)
    }

    /// The number of an outcome; 0 where there is none.
    pub(crate) fn code(&self, seq: u64) -> u8 {
        self.0[usize::from(slot(seq))]
    }

    pub(crate) fn put(&mut self, seq: u64, code: u8, taken: Option<Taken>) {
        self.0[usize::from(slot(seq))] = code;
        let Some(Taken { job, published }) = taken else { return };
        self.0.push(slot(seq));
        self.0.extend_from_slice(job.as_uuid().as_bytes());
        put_number(&mut self.0, published.first);
        put_number(&mut self.0, published.count);
    }

    pub(crate) fn remove(&mut self, seq: u64) {
        if let Some((range, _)) = self.entry(seq) {
            self.0.drain(range);
        }
        self.0[usize::from(slot(seq))] = 0;
    }

    pub(crate) fn taken(&self, seq: u64) -> Option<Taken> {
        self.entry(seq).map(|(_, taken)| taken)
    }

    fn entry(&self, seq: u64) -> Option<(Range<usize>, Taken)> {
        entries(&self.0).find(|(_, place, _)| *place == slot(seq)).map(|(range, _, taken)| (range, taken))
    }
}

/// Goes through the entries, as far as they can be told apart.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (Range<usize>, u8, Taken)> + '_ {
    let mut at = HEAD;
    std::iter::from_fn(move || {
        let mut rest = Cursor(bytes.get(at..)?);
        let place = rest.byte()?;
        let job = JobId::from_uuid(Uuid::from_bytes(rest.array()?));
        let published = OffsetRange { first: rest.number()?, count: rest.number()? };
        let range = at..bytes.len() - rest.0.len();
        at = range.end;
        Some((range, place, Taken { job, published }))
    })
}

impl Block for Outcomes {
    const TABLE: &'static str = "outcome";

    fn read(_: i64, bytes: Vec<u8>) -> Self {
        let mut bytes = with_head(bytes);
        let end = entries(&bytes).last().map_or(HEAD, |(range, ..)| range.end);
        bytes.truncate(end);
        Self(bytes)
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }

    fn is_empty(&self) -> bool {
        self.0[..HEAD].iter().all(|byte| *byte == 0)
    }
}

impl Default for Outcomes {
    fn default() -> Self {
        Self(vec![0; HEAD])
    }
}
