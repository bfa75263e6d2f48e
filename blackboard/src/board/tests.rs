//! The board against schedules: rules by example, random schedules with every law checked after every input,
//! and restarts from the store at random moments.

mod agent;
mod backlog;
mod log;
mod poison;
mod refusal;
mod restore;
mod rules;
mod schedule;
pub(crate) mod shapes;
mod world;
