//! Identities: artifacts, runs, jobs, agents, tenants, and places in the log.
//!
//! Ids are made elsewhere (time and randomness have one home, the runtime's clock) or derived here from other
//! ids. Pure: no I/O, no clock.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Timestamp;

macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        /// As two words: a hash of sixteen single bytes takes longer.
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                let (high, low) = self.0.as_u64_pair();
                state.write_u64(high);
                state.write_u64(low);
            }
        }

        impl $name {
            /// Wraps a UUID made elsewhere.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Returns the UUID.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// Names an artifact: UUID v7, so that ids sort by time.
    ArtifactId
}
uuid_id! {
    /// Names a run: everything caused by one external publish.
    RunId
}
uuid_id! {
    /// Names a job: one complete set of inputs for one agent. The same inputs always give the same id.
    JobId
}

impl JobId {
    /// Derives the id of the job that `subscription` runs on `members`, given in input order.
    ///
    /// The same subscription and members give the same id in every process, which makes the ids of a repeated
    /// job's outputs repeat too. `at` becomes the visible time part of the id.
    #[must_use]
    pub fn derive(subscription: &str, at: Timestamp, members: impl Iterator<Item = Offset>) -> Self {
        JobKey::of(subscription).job(at, members)
    }

    /// Derives the id of this job's output number `index`.
    #[must_use]
    pub fn output(self, index: u32, at: Timestamp) -> ArtifactId {
        ArtifactId(laid_out(mix(mix(self.0.as_u128(), u128::from(index) | OUTPUT), 0), at))
    }

    /// Derives the id of the run that this job opens when its inputs come from several runs.
    #[must_use]
    pub fn run(self, at: Timestamp) -> RunId {
        RunId(laid_out(mix(mix(self.0.as_u128(), RUN), 0), at))
    }
}

/// The part that a subscription has in the ids of its jobs: made once from its stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobKey(u128);

impl JobKey {
    /// Returns the key of the subscription with this stable name.
    #[must_use]
    pub fn of(subscription: &str) -> Self {
        let mut key = MULTIPLIER;
        for chunk in subscription.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            key = mix(key, u64::from_le_bytes(word).into());
        }
        Self(mix(mix(key, subscription.len() as u128), 0))
    }

    /// Derives the id of a job, as [`JobId::derive`] does.
    #[must_use]
    pub fn job(self, at: Timestamp, members: impl Iterator<Item = Offset>) -> JobId {
        let (mut hash, mut count) = (self.0, 0);
        for member in members {
            hash = mix(hash, member.0.into());
            count += 1;
        }
        JobId(laid_out(mix(hash, count), at))
    }
}

/// An odd number whose bits look random: the golden ratio's.
const MULTIPLIER: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

/// Keep the ids that are derived from one job apart, whatever they are of.
const OUTPUT: u128 = 1 << 64;
const RUN: u128 = 2 << 64;

/// One round of a hash: the product carries every bit upwards, and its upper half comes down. A round can be
/// undone, so that two words never give the same hash.
const fn mix(hash: u128, word: u128) -> u128 {
    let product = (hash ^ word).wrapping_mul(MULTIPLIER);
    product ^ (product >> 64)
}

/// Lays a hash out as a UUID v7 of the given time: 74 of its bits are kept.
const fn laid_out(hash: u128, at: Timestamp) -> Uuid {
    const VERSION: u128 = 7 << 76;
    const VARIANT: u128 = 2 << 62;
    const RANDOM: u128 = (0xfff << 64) | (u64::MAX >> 2) as u128;
    let time = (at.as_millis_since_epoch() as u128) << 80;
    Uuid::from_u128(time | VERSION | VARIANT | (hash & RANDOM))
}

/// A place in the log: artifacts are numbered from 1 in the order in which they were committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The place before the first artifact.
    pub const START: Self = Self(0);

    /// Returns the offset with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the next place.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! index {
    ($(#[$meta:meta])* $visibility:vis $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility struct $name(pub u32);

        impl $name {
            /// Returns the place as an array index.
            #[must_use]
            $visibility const fn at(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// An agent's number within one runtime: its place in registration order.
    pub AgentIndex
}
index! {
    /// A subscription's number within one runtime: its place in registration order.
    pub SubscriptionIndex
}
index! {
    /// A job's number on one board: its place, which is given again when the job has ended.
    pub JobIndex
}
index! {
    /// A run's number on one board, or in one store: its place, which is given again when it is forgotten.
    pub(crate) RunIndex
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
            fn from(name: T) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// An agent's name, unique within a runtime and stable over restarts.
    AgentName
}
name! {
    /// Whose data it is. Every runtime has the tenant `default`.
    Tenant
}
name! {
    /// A join, batch or order key in canonical form: the compact JSON of the value that the key closure
    /// returned.
    Key
}

impl Tenant {
    /// The name of the default tenant.
    pub(crate) const DEFAULT: &str = "default";
}

impl Default for Tenant {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(members: &[u64]) -> JobId {
        let at = Timestamp::from_millis_since_epoch(1_700_000_000_000);
        JobId::derive("settle/0", at, members.iter().copied().map(Offset::new))
    }

    #[test]
    fn the_same_inputs_give_the_same_job() {
        assert_eq!(job(&[1, 2]), job(&[1, 2]));
        assert_ne!(job(&[1, 2]), job(&[2, 1]), "input order is part of a job's identity");
        assert_ne!(job(&[1]), job(&[2]));
    }

    #[test]
    fn derived_ids_are_version_7_and_sort_by_time() {
        let early = Timestamp::from_millis_since_epoch(1_700_000_000_000);
        let late = Timestamp::from_millis_since_epoch(1_700_000_000_001);
        let (first, second) = (job(&[1]).output(0, early), job(&[1]).output(1, late));
        for id in [first.as_uuid(), job(&[1]).as_uuid(), job(&[1]).run(early).as_uuid()] {
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
            assert_eq!(id.get_timestamp().map(|time| time.to_unix()), Some((1_700_000_000, 0)));
        }
        assert!(first < second);
        assert_ne!(job(&[1]).output(0, early), job(&[1]).output(1, early));
    }

    /// Other processes, other machines and later builds have to derive the same.
    #[test]
    fn derived_ids_are_the_same_everywhere() {
        let (job, at) = (job(&[1, 2]), Timestamp::from_millis_since_epoch(1_700_000_000_000));
        let ids = [job.as_uuid(), job.output(0, at).as_uuid(), job.run(at).as_uuid()];
        let texts = ids.map(|id| id.to_string());
        let (job, output, run) = (
            "018bcfe5-6800-7959-a65c-9b76f96d795b",
            "018bcfe5-6800-76c8-9930-c880fc8465d4",
            "018bcfe5-6800-763a-bc3b-cc5258e342cb",
        );
        assert_eq!(texts, [job, output, run]);
    }

    #[test]
    fn no_two_of_many_derived_ids_are_the_same() {
        let at = Timestamp::default();
        let mut ids = Vec::new();
        for name in ["a/0", "a/1", "b/0", "settle/0", "", "\0", "a-long-name-of-a-subscription/12"] {
            let key = JobKey::of(name);
            let job = |members: &[u64]| key.job(at, members.iter().copied().map(Offset::new));
            ids.push(job(&[]).as_uuid());
            for first in 0..20_000 {
                let job = job(&[first]);
                ids.extend([job.as_uuid(), job.run(at).as_uuid()]);
                ids.extend((0..4).chain([u32::MAX]).map(|index| job.output(index, at).as_uuid()));
            }
            for first in 0..150 {
                ids.extend((0..150).map(|second| job(&[first, second]).as_uuid()));
            }
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    /// A bit of an input that changes has to change every bit of an id half of the time: ids are spread, and
    /// none of them tells of another.
    #[test]
    fn every_bit_of_an_input_changes_half_of_an_id() {
        const SAMPLES: u64 = 400;
        let (at, key) = (Timestamp::default(), JobKey::of("settle/0"));
        let of_job = |offset: u64| key.job(at, std::iter::once(Offset::new(offset))).as_uuid();
        let of_pair = |offset: u64| key.job(at, [offset, 7].into_iter().map(Offset::new)).as_uuid();
        let of_output = |index: u64| job(&[1]).output(index as u32, at).as_uuid();
        let of_run = |job: u64| JobId(Uuid::from_u128(job.into())).run(at).as_uuid();
        let of_name = |name: u64| JobKey::of(&format!("{name:064b}")).job(at, std::iter::empty()).as_uuid();
        let derived: [(&dyn Fn(u64) -> Uuid, u32); 5] =
            [(&of_job, 64), (&of_pair, 64), (&of_output, 32), (&of_run, 64), (&of_name, 64)];
        let random = laid_out(u128::MAX, at).as_u128() ^ laid_out(0, at).as_u128();
        assert_eq!(random.count_ones(), 74);
        for (number, (derive, bits)) in derived.into_iter().enumerate() {
            for bit in 0..bits {
                let mut changed = [0_u64; 128];
                for sample in 0..SAMPLES {
                    let difference = derive(sample).as_u128() ^ derive(sample ^ (1 << bit)).as_u128();
                    (0..128).for_each(|bit| changed[bit] += (difference >> bit & 1) as u64);
                }
                for (place, changed) in
                    changed.into_iter().enumerate().filter(|(place, _)| random >> place & 1 == 1)
                {
                    // Eight standard deviations around the half.
                    assert!(
                        (120..=280).contains(&changed),
                        "{number}: bit {bit} changes bit {place} {changed} times"
                    );
                }
            }
        }
    }
}
