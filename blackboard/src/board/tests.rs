//! The board against schedules: rules by example, random schedules with every law checked after every input,
//! and restarts from the store at random moments.

mod alone;
mod deferring;
mod log;
mod redrive;
mod rules;
mod schedule;
pub(crate) mod shapes;
mod standing;
mod window;
mod world;
