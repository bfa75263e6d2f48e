//! The join shape: artifacts of several kinds that share a key.
//!
//! Pure: no I/O, no clock.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;

use super::sealed::Sealed;
use super::{Inputs, Shape, Take, side_modifiers};
use crate::body::Shared;
use crate::error::BlackboardError;
use crate::kind::Payload;
use crate::subscription::{Collecting, JoinMode, JoinRule, Side, Subscription, Window};
use crate::time::Timestamp;

/// One side of a join: a kind and the key to join it by. Made by [`by`].
#[derive(Clone, Debug)]
pub struct By<I> {
    side: Side,
    input: PhantomData<fn() -> I>,
}

/// Names a side of a join by its key closure. The key may be anything that serialises; `None` means "not
/// joined".
#[must_use]
pub fn by<T: Payload, K: Serialize>(key: impl Fn(&T) -> K + Send + Sync + 'static) -> By<T> {
    let mut side = Side::of::<T>(1);
    side.set_key::<T, K>(key);
    By { side, input: PhantomData }
}

impl<T: Payload> By<T> {
    side_modifiers!(T);

    /// Judges the window by this time of the payload instead of the time of publication. Needed on all sides
    /// or none.
    #[must_use]
    pub fn at<W: Into<Timestamp>>(mut self, time: impl Fn(&T) -> W + Send + Sync + 'static) -> Self {
        self.side.set_event_time::<T, W>(time);
        self
    }

    /// Gives the engine `Shared<T>` on this side: no copy of the payload, and `T` need not be `Clone`.
    #[must_use]
    pub fn shared(self) -> By<Shared<T>> {
        By { side: self.side, input: PhantomData }
    }
}

/// Inputs are used up by the first complete group.
#[derive(Clone, Copy, Debug)]
pub struct Once;

/// An input that expires fires with the sides that are there.
#[derive(Clone, Copy, Debug)]
pub struct Outer;

/// Every pair within the window fires; inputs stay until they expire.
#[derive(Clone, Copy, Debug)]
pub struct EveryPair;

/// Waits for artifacts with the same key. Made by [`join`].
#[derive(Clone, Debug)]
pub struct Join<T, M = Once> {
    sides: Vec<Side>,
    rule: JoinRule,
    input: PhantomData<fn() -> (T, M)>,
}

/// Joins two kinds by key: the engine is given `(A, B)` once for every complete pair, in declaration order.
///
/// Without a window inputs wait until their partner comes. [`Join::and`] adds further sides.
///
/// ```
/// use std::time::Duration;
///
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// use volery_blackboard::shape::{Shape, by, join};
///
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// struct Order { id: u64 }
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// struct Payment { order: u64 }
///
/// let paid = || join(by(|order: &Order| order.id), by(|payment: &Payment| payment.order));
/// # fn given<I>(_: impl Shape<Input = I>) {}
/// // A payment that comes within an hour, or none at all.
/// given::<(Order, Payment)>(paid().within(Duration::from_secs(3_600)));
/// // After an hour without the other side, the engine is given the side that is there.
/// given::<(Option<Order>, Option<Payment>)>(paid().within(Duration::from_secs(3_600)).outer());
/// // Each payment with each order of the last hour.
/// given::<(Order, Payment)>(paid().within(Duration::from_secs(3_600)).every_pair());
/// ```
#[must_use]
pub fn join<A, B>(first: By<A>, second: By<B>) -> Join<(A, B)> {
    Join { sides: vec![first.side, second.side], rule: JoinRule::default(), input: PhantomData }
}

impl<T, M> Join<T, M> {
    /// Joins only inputs within this time of each other. An input that waited longer expires.
    #[must_use]
    pub fn within(mut self, window: Duration) -> Self {
        self.rule.window = Some(Window::Time(window));
        self
    }

    /// Expires an input after this many later artifacts of this subscription. Other subscriptions do not
    /// count.
    #[must_use]
    pub fn within_count(mut self, artifacts: u64) -> Self {
        self.rule.window = Some(Window::Count(artifacts));
        self
    }

    /// Allows each side to be this much out of order in event time before partners count as expired.
    /// Default 0.
    #[must_use]
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.rule.lateness = lateness;
        self
    }

    /// Lets an input wait at most this long in wall time when event time decides, so that a side that went
    /// quiet cannot hold the others for ever. Default one hour.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.rule.patience = Some(patience);
        self
    }

    fn into_subscription(self, mode: JoinMode) -> Subscription {
        let event_time = self.sides.iter().any(|side| side.event_time.is_some());
        let rule = JoinRule { mode, event_time, ..self.rule };
        Subscription { sides: self.sides, collecting: Collecting::Join(rule), batch: None }
    }

    fn into_mode<N>(self) -> Join<T, N> {
        Join { sides: self.sides, rule: self.rule, input: PhantomData }
    }
}

impl<T> Join<T, Once> {
    /// Fires also for inputs whose partners did not come in time; the engine is given an `Option` for each
    /// side.
    #[must_use]
    pub fn outer(self) -> Join<T, Outer> {
        self.into_mode()
    }
}

impl<A, B> Join<(A, B), Once> {
    /// Fires for every pair within the window; an input may take part many times until it expires.
    #[must_use]
    pub fn every_pair(self) -> Join<(A, B), EveryPair> {
        self.into_mode()
    }

    /// Adds a third side.
    #[must_use]
    pub fn and<C>(self, third: By<C>) -> Join<(A, B, C)> {
        let mut sides = self.sides;
        sides.push(third.side);
        Join { sides, rule: self.rule, input: PhantomData }
    }
}

impl<A, B, C> Join<(A, B, C), Once> {
    /// Adds a fourth side.
    #[must_use]
    pub fn and<D>(self, fourth: By<D>) -> Join<(A, B, C, D)> {
        let mut sides = self.sides;
        sides.push(fourth.side);
        Join { sides, rule: self.rule, input: PhantomData }
    }
}

impl<T, M> Sealed for Join<T, M> {}

impl<A: Take, B: Take> Shape for Join<(A, B), EveryPair> {
    type Input = (A, B);

    fn subscription(self) -> Subscription {
        self.into_subscription(JoinMode::EveryPair)
    }

    fn assemble(inputs: &mut Inputs<'_>) -> Result<Self::Input, BlackboardError> {
        Ok((inputs.take(0)?, inputs.take(1)?))
    }
}

macro_rules! join_shape {
    ($($input:ident at $side:literal),+) => {
        impl<$($input: Take),+> Shape for Join<($($input,)+), Once> {
            type Input = ($($input,)+);

            fn subscription(self) -> Subscription {
                self.into_subscription(JoinMode::Once)
            }

            fn assemble(inputs: &mut Inputs<'_>) -> Result<Self::Input, BlackboardError> {
                Ok(($(inputs.take::<$input>($side)?,)+))
            }
        }

        impl<$($input: Take),+> Shape for Join<($($input,)+), Outer> {
            type Input = ($(Option<$input>,)+);

            fn subscription(self) -> Subscription {
                self.into_subscription(JoinMode::Outer)
            }

            fn assemble(inputs: &mut Inputs<'_>) -> Result<Self::Input, BlackboardError> {
                Ok(($(inputs.take_if_any::<$input>($side)?,)+))
            }
        }
    };
}

join_shape!(A at 0, B at 1);
join_shape!(A at 0, B at 1, C at 2);
join_shape!(A at 0, B at 1, C at 2, D at 3);
