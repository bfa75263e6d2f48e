//! Shapes with a single kind: one artifact at a time, or a fixed count of them.
//!
//! Pure: no I/O, no clock.

use std::marker::PhantomData;

use serde::Serialize;

use super::sealed::Sealed;
use super::{Inputs, Shape, Take, side_modifiers};
use crate::error::BlackboardError;
use crate::subscription::{Collecting, JoinRule, Side, Subscription};

/// Takes every artifact of one kind by itself. Made by [`one`].
#[derive(Clone, Debug)]
pub struct One<I> {
    side: Side,
    input: PhantomData<fn() -> I>,
}

/// Subscribes to one kind: the engine is given `I`, which is the payload type or `Shared` of it.
///
/// ```
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// use volery_blackboard::shape::{Shape, one};
///
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// struct Order { customer: String, cents: u64 }
///
/// // Large orders, those of one customer one after the other.
/// let large = one::<Order>()
///     .filter(|order| order.cents >= 10_000)
///     .ordered_by(|order| order.customer.clone());
/// # fn given<I>(_: impl Shape<Input = I>) {}
/// given::<Order>(large);
/// ```
#[must_use]
pub fn one<I: Take>() -> One<I> {
    One { side: Side::of::<I::Payload>(1), input: PhantomData }
}

impl<I: Take> One<I> {
    side_modifiers!(I::Payload);

    /// Keeps one batch per key, when this shape is collected into batches. Artifacts without a key (`None`)
    /// are not taken.
    #[must_use]
    pub fn per<K: Serialize>(mut self, key: impl Fn(&I::Payload) -> K + Send + Sync + 'static) -> Self {
        self.side.set_key::<I::Payload, K>(key);
        self
    }
}

impl<I> Sealed for One<I> {}

impl<I: Take> Shape for One<I> {
    type Input = I;

    fn subscription(self) -> Subscription {
        Subscription { sides: vec![self.side], collecting: Collecting::Each, batch: None }
    }

    fn assemble(inputs: &mut Inputs<'_>) -> Result<I, BlackboardError> {
        inputs.take(0)
    }
}

/// Takes a fixed count of artifacts of one kind. Made by [`count`].
#[derive(Clone, Debug)]
pub struct Count<I> {
    side: Side,
    input: PhantomData<fn() -> I>,
}

/// Subscribes to `need` artifacts of one kind at a time, in log order; surplus artifacts wait for the next
/// job.
///
/// ```
/// use volery_blackboard::shape::{Shape, count};
///
/// # fn given<I>(_: impl Shape<Input = I>) {}
/// given::<Vec<String>>(count::<String>(3)); // three at a time
/// given::<Vec<String>>(count::<String>(3).per(|word| word.len())); // three of the same length at a time
/// ```
#[must_use]
pub fn count<I: Take>(need: u32) -> Count<I> {
    Count { side: Side::of::<I::Payload>(need), input: PhantomData }
}

impl<I: Take> Count<I> {
    side_modifiers!(I::Payload);

    /// Counts per key. Artifacts without a key (`None`) are not taken.
    #[must_use]
    pub fn per<K: Serialize>(mut self, key: impl Fn(&I::Payload) -> K + Send + Sync + 'static) -> Self {
        self.side.set_key::<I::Payload, K>(key);
        self
    }
}

impl<I> Sealed for Count<I> {}

impl<I: Take> Shape for Count<I> {
    type Input = Vec<I>;

    fn subscription(self) -> Subscription {
        let collecting =
            if self.side.key.is_some() { Collecting::Join(JoinRule::default()) } else { Collecting::AllOf };
        Subscription { sides: vec![self.side], collecting, batch: None }
    }

    fn assemble(inputs: &mut Inputs<'_>) -> Result<Vec<I>, BlackboardError> {
        let mut all = Vec::new();
        while let Some(next) = inputs.take_if_any(0)? {
            all.push(next);
        }
        Ok(all)
    }
}
