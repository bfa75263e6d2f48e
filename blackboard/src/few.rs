//! A list that is nearly always of length one, and then needs no memory of its own.
//!
//! Pure: no I/O, no clock.

/// A list that is nearly always of length one, and then needs no memory of its own.
pub type Few<T> = smallvec::SmallVec<[T; 1]>;
