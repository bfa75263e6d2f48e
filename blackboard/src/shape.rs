//! Typed subscriptions: what a user writes after `consumes`, and how a job's inputs become the engine's
//! argument.
//!
//! Every builder ends in an untyped [`Subscription`]; the shape's type alone knows how to read a job's inputs
//! back. Pure: no I/O, no clock.

use std::sync::Arc;

use serde::Serialize;

use crate::artifact::Artifact;
use crate::body::Shared;
use crate::error::BlackboardError;
use crate::id::Key;
use crate::job::Member;
use crate::kind::{Kind, Payload};
use crate::subscription::{Batch, SIDES_MAX, Side, Subscription};
use crate::time::Timestamp;

mod join;
mod sealed;
mod tuple;
mod unit;

use sealed::Sealed;

pub use join::{By, EveryPair, Join, Once, Outer, by, join};
pub use tuple::{AllOf, AllOfTuple, all_of};
pub use unit::{Count, One, count, one};

/// A subscription whose type fixes the engine's input.
///
/// The trait is sealed: the shapes are [`one`], [`count`], [`all_of`], [`join`], and each of them in batches.
/// A runtime reads a shape with methods that are not public.
pub trait Shape: Sealed + Sized {
    /// The input of the engine.
    type Input: Send + 'static;

    /// Returns the subscription without its types.
    #[doc(hidden)]
    fn subscription(self) -> Subscription;

    /// Reads one group of a job's inputs.
    ///
    /// # Errors
    /// [`BlackboardError`] when an input is missing or does not fit its type.
    #[doc(hidden)]
    fn assemble(inputs: &mut Inputs<'_>) -> Result<Self::Input, BlackboardError>;

    /// Collects what this shape yields into batches; the engine is given a `Vec`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use volery_blackboard::Batch;
    /// use volery_blackboard::shape::{Shape, one};
    ///
    /// # fn given<I>(_: impl Shape<Input = I>) {}
    /// // The engine is given up to 25 numbers, the first of which has waited for at most two seconds.
    /// given::<Vec<u32>>(one::<u32>().batch(Batch::of(25).or_after(Duration::from_secs(2))));
    /// ```
    fn batch(self, batch: Batch) -> Batched<Self> {
        Batched { inner: self, batch }
    }
}

/// How an engine takes one input: by value (`T`, cloned from the shared payload) or shared (`Shared<T>`, no
/// copy).
#[diagnostic::on_unimplemented(
    message = "an engine cannot take `{Self}`",
    note = "a payload taken by value is Clone + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static",
    note = "a payload `T` that is not Clone is taken as `Shared<T>`"
)]
pub trait Take: Sized + Send + 'static {
    /// The payload type.
    type Payload: Payload;

    /// Takes the payload out of an artifact.
    ///
    /// # Errors
    /// [`BlackboardError::Decode`] when stored JSON does not fit the type.
    fn take(artifact: &Artifact) -> Result<Self, BlackboardError>;
}

impl<T: Payload + Clone> Take for T {
    type Payload = T;

    fn take(artifact: &Artifact) -> Result<Self, BlackboardError> {
        artifact.payload::<T>().map(|payload| T::clone(&payload))
    }
}

impl<T: Payload> Take for Shared<T> {
    type Payload = T;

    fn take(artifact: &Artifact) -> Result<Self, BlackboardError> {
        artifact.payload::<T>()
    }
}

/// A job's inputs while they are being read, group by group.
#[derive(Debug)]
pub struct Inputs<'a> {
    members: &'a [Member],
    artifacts: &'a [Arc<Artifact>],
    group: u32,
    /// Where the search for each side's next input goes on.
    from: [usize; SIDES_MAX],
}

impl<'a> Inputs<'a> {
    /// Starts at the first group. `artifacts` stand in the order of `members`.
    #[must_use]
    pub fn new(members: &'a [Member], artifacts: &'a [Arc<Artifact>]) -> Self {
        Self { members, artifacts, group: 0, from: [0; SIDES_MAX] }
    }

    /// Takes the next artifact of a side within the current group.
    pub(crate) fn next(&mut self, side: usize) -> Option<&'a Artifact> {
        let from = self.from.get_mut(side)?;
        let wanted = |member: &Member| member.group == self.group && usize::from(member.side) == side;
        let index = *from + self.members.get(*from..)?.iter().position(wanted)?;
        *from = index + 1;
        self.artifacts.get(index).map(AsRef::as_ref)
    }

    pub(crate) fn take<T: Take>(&mut self, side: usize) -> Result<T, BlackboardError> {
        match self.next(side) {
            Some(artifact) => T::take(artifact),
            None => Err(BlackboardError::Inputs(format!("side {side} has no input left"))),
        }
    }

    pub(crate) fn take_if_any<T: Take>(&mut self, side: usize) -> Result<Option<T>, BlackboardError> {
        self.next(side).map(T::take).transpose()
    }

    fn groups(&self) -> u32 {
        self.members.last().map_or(0, |member| member.group + 1)
    }

    /// Narrows the view to one group; what was taken before is forgotten.
    fn enter(&self, group: u32, range: std::ops::Range<usize>) -> Inputs<'a> {
        Inputs {
            members: &self.members[range.clone()],
            artifacts: &self.artifacts[range],
            group,
            from: [0; SIDES_MAX],
        }
    }
}

/// A shape collected into batches; the engine is given a `Vec` of what the shape yields.
#[derive(Clone, Debug)]
pub struct Batched<S> {
    inner: S,
    batch: Batch,
}

impl<S> Sealed for Batched<S> {}

impl<S: Shape> Shape for Batched<S> {
    type Input = Vec<S::Input>;

    fn subscription(self) -> Subscription {
        Subscription { batch: Some(self.batch), ..self.inner.subscription() }
    }

    fn assemble(inputs: &mut Inputs<'_>) -> Result<Self::Input, BlackboardError> {
        let mut start = 0;
        let mut groups = Vec::with_capacity(inputs.groups() as usize);
        for group in 0..inputs.groups() {
            let length = inputs.members[start..].iter().take_while(|member| member.group == group).count();
            groups.push(S::assemble(&mut inputs.enter(group, start..start + length))?);
            start += length;
        }
        Ok(groups)
    }
}

/// Writes a key in canonical form. JSON `null` (a key closure that returns `None`) means "no key".
fn canonical<K: Serialize>(key: &K, kind: &Kind) -> Result<Option<Key>, BlackboardError> {
    match serde_json::to_string(key) {
        Ok(text) if text == "null" => Ok(None),
        Ok(text) => Ok(Some(Key::from(text))),
        Err(cause) => Err(BlackboardError::Encode { kind: kind.name().into(), cause: cause.to_string() }),
    }
}

impl Side {
    pub(crate) fn of<T: Payload>(need: u32) -> Self {
        Self::new(Kind::of::<T>(), need)
    }

    fn add_filter<T: Payload>(&mut self, keep: impl Fn(&T) -> bool + Send + Sync + 'static) {
        self.filters.push(Arc::new(move |artifact| Ok(keep(&*artifact.payload::<T>()?))));
    }

    fn set_key<T: Payload, K: Serialize>(&mut self, key: impl Fn(&T) -> K + Send + Sync + 'static) {
        self.key =
            Some(Arc::new(move |artifact| canonical(&key(&*artifact.payload::<T>()?), artifact.kind())));
    }

    fn set_lane<T: Payload, K: Serialize>(&mut self, key: impl Fn(&T) -> K + Send + Sync + 'static) {
        self.lane =
            Some(Arc::new(move |artifact| canonical(&key(&*artifact.payload::<T>()?), artifact.kind())));
    }

    fn set_weight<T: Payload>(&mut self, weight: impl Fn(&T) -> u32 + Send + Sync + 'static) {
        self.weight = Some(Arc::new(move |artifact| Ok(weight(&*artifact.payload::<T>()?))));
    }

    fn set_event_time<T: Payload, W: Into<Timestamp>>(
        &mut self,
        time: impl Fn(&T) -> W + Send + Sync + 'static,
    ) {
        self.event_time = Some(Arc::new(move |artifact| Ok(time(&*artifact.payload::<T>()?).into())));
    }
}

/// Modifiers that every shape with a single side offers in the same words.
macro_rules! side_modifiers {
    ($payload:ty) => {
        /// Takes only payloads for which `keep` is true. A panic in it discards the artifact for this
        /// subscription, with the reason.
        #[must_use]
        pub fn filter(mut self, keep: impl Fn(&$payload) -> bool + Send + Sync + 'static) -> Self {
            self.side.add_filter::<$payload>(keep);
            self
        }

        /// Takes only artifacts published by one of the named agents. May be called several times.
        #[must_use]
        pub fn from_agent(mut self, agent: impl Into<crate::id::AgentName>) -> Self {
            self.side.from.push(agent.into());
            self
        }

        /// Takes only artifacts that carry at least one of the named tags. May be called several times.
        #[must_use]
        pub fn tagged(mut self, tag: impl Into<String>) -> Self {
            self.side.tags_any.push(tag.into());
            self
        }

        /// Runs jobs whose first input has the same key one at a time, in log order; other keys run in
        /// parallel.
        #[must_use]
        pub fn ordered_by<K: serde::Serialize>(
            mut self,
            key: impl Fn(&$payload) -> K + Send + Sync + 'static,
        ) -> Self {
            self.side.set_lane::<$payload, K>(key);
            self
        }

        /// Gives each input a weight for batches closed by weight. Without it an input weighs 1.
        #[must_use]
        pub fn weight(mut self, weight: impl Fn(&$payload) -> u32 + Send + Sync + 'static) -> Self {
            self.side.set_weight::<$payload>(weight);
            self
        }
    };
}
use side_modifiers;
