//! The seal of the traits that only the shapes of this crate implement. Pure: no I/O, no clock.

/// Keeps a trait from being implemented elsewhere.
pub trait Sealed {}
