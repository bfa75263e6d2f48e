//! The all-of shape: one artifact of each kind in a tuple, a kind named twice meaning two of it.
//!
//! Pure: no I/O, no clock.

use std::any::TypeId;
use std::marker::PhantomData;

use super::sealed::Sealed;
use super::{Inputs, Shape, Take};
use crate::error::BlackboardError;
use crate::id::AgentName;
use crate::kind::Payload;
use crate::subscription::{Collecting, Side, Subscription};

/// Waits for one of each. Made by [`all_of`].
#[derive(Clone, Debug)]
pub struct AllOf<T> {
    sides: Vec<Side>,
    input: PhantomData<fn() -> T>,
}

/// Subscribes to a tuple of kinds: `all_of::<(Order, Payment)>()` gives the engine `(Order, Payment)`.
///
/// Artifacts are used in log order. A kind that stands twice is needed twice. Surplus waits for the next
/// group.
///
/// ```
/// use volery_blackboard::shape::{Shape, all_of};
///
/// # fn given<I>(_: impl Shape<Input = I>) {}
/// given::<(u32, String)>(all_of::<(u32, String)>()); // a number and a text
/// given::<(u32, u32, String)>(all_of::<(u32, u32, String)>().filter(|n: &u32| n % 2 == 0)); // two even numbers and a text
/// ```
#[must_use]
pub fn all_of<T: AllOfTuple>() -> AllOf<T> {
    AllOf { sides: T::sides(), input: PhantomData }
}

impl<T: AllOfTuple> AllOf<T> {
    /// Takes only payloads of type `P` for which `keep` is true; other kinds of the tuple are not touched.
    #[must_use]
    pub fn filter<P: Payload>(mut self, keep: impl Fn(&P) -> bool + Clone + Send + Sync + 'static) -> Self {
        for side in self.sides.iter_mut().filter(|side| side.kind.is::<P>()) {
            side.add_filter::<P>(keep.clone());
        }
        self
    }

    /// Takes only artifacts published by one of the named agents, for every kind of the tuple.
    #[must_use]
    pub fn from_agent(mut self, agent: impl Into<AgentName>) -> Self {
        let agent = agent.into();
        for side in &mut self.sides {
            side.from.push(agent.clone());
        }
        self
    }
}

impl<T> Sealed for AllOf<T> {}

impl<T: AllOfTuple> Shape for AllOf<T> {
    type Input = T;

    fn subscription(self) -> Subscription {
        Subscription { sides: self.sides, collecting: Collecting::AllOf, batch: None }
    }

    fn assemble(inputs: &mut Inputs<'_>) -> Result<T, BlackboardError> {
        T::assemble(inputs)
    }
}

/// Tuples that [`all_of`] understands: two to six inputs. Sealed.
pub trait AllOfTuple: Sealed + Sized + Send + 'static {
    #[doc(hidden)]
    fn sides() -> Vec<Side>;

    #[doc(hidden)]
    fn assemble(inputs: &mut Inputs<'_>) -> Result<Self, BlackboardError>;
}

/// A payload type of the tuple, and how to make its side.
type Mention = (TypeId, fn() -> Side);

/// One side per distinct kind, in order of first mention, needing as many as there are mentions.
fn sides(kinds: &[Mention]) -> Vec<Side> {
    let mut sides: Vec<Side> = Vec::new();
    for (position, (type_id, make)) in kinds.iter().enumerate() {
        let side = side_of(kinds, position);
        match sides.get_mut(side) {
            Some(known) if known.kind.type_id() == *type_id => known.need += 1,
            _ => sides.push(make()),
        }
    }
    sides
}

/// The side that a position of the tuple takes from: distinct kinds counted in order of first mention.
fn side_of(kinds: &[Mention], position: usize) -> usize {
    let wanted = kinds[position].0;
    let first = kinds.iter().position(|(kind, _)| *kind == wanted).unwrap_or(position);
    (0..first).filter(|&at| kinds[..at].iter().all(|(kind, _)| *kind != kinds[at].0)).count()
}

macro_rules! all_of_tuple {
    ($($input:ident at $position:literal),+) => {
        impl<$($input: Take),+> Sealed for ($($input,)+) {}

        impl<$($input: Take),+> AllOfTuple for ($($input,)+) {
            fn sides() -> Vec<Side> {
                sides(&[$((TypeId::of::<$input::Payload>(), || Side::of::<$input::Payload>(1))),+])
            }

            fn assemble(inputs: &mut Inputs<'_>) -> Result<Self, BlackboardError> {
                let kinds: &[Mention] =
                    &[$((TypeId::of::<$input::Payload>(), || Side::of::<$input::Payload>(1))),+];
                Ok(($(inputs.take::<$input>(side_of(kinds, $position))?,)+))
            }
        }
    };
}

all_of_tuple!(A at 0, B at 1);
all_of_tuple!(A at 0, B at 1, C at 2);
all_of_tuple!(A at 0, B at 1, C at 2, D at 3);
all_of_tuple!(A at 0, B at 1, C at 2, D at 3, E at 4);
all_of_tuple!(A at 0, B at 1, C at 2, D at 3, E at 4, F at 5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_named_twice_is_needed_twice() {
        let sides = all_of::<(u32, String, u32)>().subscription().sides;
        let needs: Vec<_> = sides.iter().map(|side| (side.kind.is::<u32>(), side.need)).collect();
        assert_eq!(needs, [(true, 2), (false, 1)]);
    }

    #[test]
    fn positions_take_from_the_side_of_their_kind() {
        let kinds: &[Mention] = &[
            (TypeId::of::<u8>(), || Side::of::<u8>(1)),
            (TypeId::of::<u16>(), || Side::of::<u16>(1)),
            (TypeId::of::<u8>(), || Side::of::<u8>(1)),
            (TypeId::of::<u32>(), || Side::of::<u32>(1)),
        ];
        let sides: Vec<_> = (0..4).map(|position| side_of(kinds, position)).collect();
        assert_eq!(sides, [0, 1, 0, 2]);
    }
}
