//! The living part of a Volery runtime: a supervision tree of actors around a pure board.
//!
//! ```text
//! root (rest-for-one)
//! ├─ timekeeper            one timer, armed for the board's next deadline
//! ├─ curator               owner of the board, its only writer
//! ├─ agents (one-for-one)  one actor per agent; every attempt is a task that its agent owns
//! └─ upkeep (one-for-one)
//!    ├─ batch-timeouts       1 s    a safety net behind the timekeeper
//!    ├─ correlation-cleanup  5 s    a safety net behind the timekeeper
//!    ├─ janitor              60 s   removes artifacts beyond the bounds of retention
//!    ├─ lookout              1 s    finds attempts and agents that make no progress
//!    ├─ sentry               a thread that sees blocked worker threads
//!    ├─ eviction             5 s    drops idle values of resources, if there are any
//!    └─ schedule/<name>      one for each schedule
//! ```
//!
//! This is the only crate that names ractor, and it does so in one module. Embedding services use the
//! `volery` crate.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod agent;
pub mod clock;
mod curator;
mod error;
mod fault;
pub mod feed;
mod finding;
pub mod health;
mod hold;
mod ingress;
mod intensity;
mod kinds;
mod observer;
pub mod resource;
pub mod root;
pub mod runtime;
mod settings;
pub mod supervision;
mod upkeep;

#[cfg(feature = "process")]
pub use agent::Process;
pub use agent::{
    Agent, AgentDraft, ChildError, ChildTask, Context, Engine, Failure, GaveUp, IntoOutputs, OnThread,
    OpenModelCall, OpenToolCall, Outputs, Publish, Retry, TimedOut, TimeoutKind, on_thread,
};
pub use clock::Clock;
pub use error::{Classed, Error, ErrorKind, Result};
pub use fault::Fault;
pub use feed::{Event, FeedItem, FeedReader};
pub use finding::Finding;
pub use health::{Health, Reason, Severity};
pub use hold::Protection;
pub use ingress::Recovered;
pub use intensity::PastIntensity;
pub use resource::{Lease, Loaded, Resource};
pub use root::{
    CallbackReport, CutOff, EXIT_CODE_ESCALATED, EXIT_CODE_FAILED, EXIT_CODE_GAVE_UP, EXIT_CODE_INTERRUPTED,
    EXIT_CODE_STOPPED, Phase, PhaseReport, PhaseStatus, ShutdownReport, StopCause,
};
#[cfg(unix)]
pub use runtime::Systemd;
pub use runtime::{
    Builder, CauseTree, ClaimTree, DeadLetters, Letter, LineageQuery, LineageTree, Pages, PublishFuture,
    Published, Publishing, Query, RedriveAll, Redriven, Redriving, ResultTree, Run, RunPublishing, RunReport,
    RunStart, Tree, TreeNode, Volery,
};
pub use settings::{Overflow, Partial, Settings};
pub use upkeep::{LoopStatus, Missed, Schedule};
pub use volery_observability::trace::{Detail, PayloadRecording, TraceSettings};
pub use volery_observability::trace::{ModelCall, ToolCall};
pub use volery_observability::{FlushReport, Metrics, Providers};
