//! Agents: what a user declares, what an engine may see and do, and the actor that runs attempts.
//!
//! An agent is a name, subscriptions with an engine each, and limits. Its actor accepts jobs within its credit and runs
//! every attempt as a unit of its own, so that neither a slow nor a panicking engine can block its mailbox.

mod actor;
mod attempt;
mod bench;
mod call;
mod child;
mod context;
mod definition;
mod engine;
mod failure;
mod fallback;
mod outputs;
#[cfg(feature = "process")]
mod process;
mod pulse;
mod retry;
mod roll;
mod seat;
mod timeout;
mod watch;

pub use call::{OpenModelCall, OpenToolCall};
pub use child::{ChildError, ChildTask};
pub use context::Context;
pub use definition::{Agent, AgentDraft};
pub use engine::{Engine, OnThread, on_thread};
pub use failure::Failure;
pub use fallback::GaveUp;
pub use outputs::{IntoOutputs, Outputs, Publish};
#[cfg(feature = "process")]
pub use process::Process;
pub use retry::Retry;
pub use timeout::{TimedOut, TimeoutKind};

pub(crate) use actor::{AgentActor, AgentMessage};
pub(crate) use attempt::{AttemptEnd, Ended, EngineState};
pub(crate) use bench::{Bench, Workshop};
pub(crate) use definition::AgentParts;
pub(crate) use fallback::Fallbacks;
pub(crate) use outputs::Output;
#[cfg(test)]
pub(crate) use roll::tests::enter;
pub(crate) use roll::{Entry, Roll};
