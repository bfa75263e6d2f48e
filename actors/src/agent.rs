//! Agents: their definition, the context and the outputs of engines, and the actor that runs attempts.
//!
//! An agent is a name, subscriptions with an engine each, and limits. Its actor has a slot for each job that
//! may run at once, and runs every attempt as a unit of its own, so that neither a slow nor a panicking
//! engine can block its mailbox.

mod actor;
mod attempt;
mod call;
mod cell;
mod child;
mod context;
mod definition;
mod engine;
mod environment;
mod execution;
mod failure;
mod outputs;
mod poll;
#[cfg(feature = "process")]
mod process;
mod progress;
mod retry;
mod slot;
mod slots;
#[cfg(test)]
mod tests;
mod timeout;

pub use call::{OpenModelCall, OpenToolCall};
pub use child::{ChildError, ChildTask};
pub use context::Context;
pub use definition::{Agent, AgentDraft};
pub use engine::{Engine, OnThread, on_thread};
pub use failure::{Failure, GaveUp};
pub use outputs::{IntoOutputs, Outputs, Publish};
#[cfg(feature = "process")]
pub use process::Process;
pub use retry::Retry;
pub use timeout::{TimedOut, TimeoutKind};

pub(crate) use actor::{AgentActor, AgentMessage};
pub(crate) use attempt::Attempt;
pub(crate) use definition::AgentParts;
pub(crate) use engine::Calls;
pub(crate) use environment::{Environment, Services};
pub(crate) use outputs::Output;
pub(crate) use slots::{Attempts, Given, Instruments, Slots, Taken};
#[cfg(test)]
pub(crate) use tests::{Present, job};
