//! Identities: artifacts, runs, jobs, agents, tenants, and places in the log.
//!
//! Ids are made elsewhere (time and randomness have one home, the runtime's clock) or derived here from other
//! ids. Pure: no I/O, no clock.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::time::Timestamp;

macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

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
        let mut name = Vec::with_capacity(64);
        for member in members {
            name.extend_from_slice(&member.0.to_le_bytes());
        }
        name.extend_from_slice(subscription.as_bytes());
        Self(derive(Uuid::NAMESPACE_OID, &name, at))
    }

    /// Derives the id of this job's output number `index`.
    #[must_use]
    pub fn output(self, index: u32, at: Timestamp) -> ArtifactId {
        ArtifactId(derive(self.0, &index.to_le_bytes(), at))
    }

    /// Derives the id of the run that this job opens when its inputs come from several runs.
    #[must_use]
    pub fn run(self, at: Timestamp) -> RunId {
        RunId(derive(self.0, b"run", at))
    }
}

/// Hashes a name within a namespace (UUID v5) and lays the result out as a UUID v7 of the given time.
fn derive(namespace: Uuid, name: &[u8], at: Timestamp) -> Uuid {
    let hash = Uuid::new_v5(&namespace, name);
    let mut tail = [0_u8; 10];
    tail.copy_from_slice(&hash.as_bytes()[..10]);
    Builder::from_unix_timestamp_millis(at.as_millis_since_epoch(), &tail).into_uuid()
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

/// An agent's number within one runtime: its place in registration order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentIndex(pub u32);

/// A subscription's number within one runtime: its place in registration order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionIndex(pub u32);

impl AgentIndex {
    /// Returns the place as an array index.
    #[must_use]
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

impl SubscriptionIndex {
    /// Returns the place as an array index.
    #[must_use]
    pub const fn at(self) -> usize {
        self.0 as usize
    }
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

impl Default for Tenant {
    fn default() -> Self {
        Self(Arc::from("default"))
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
        assert_eq!(first.as_uuid().get_version_num(), 7);
        assert!(first < second);
        assert_ne!(job(&[1]).output(0, early), job(&[1]).output(1, early));
    }
}
