//! What lives in a Volery runtime: a supervision tree of actors around a pure board.
//!
//! ```text
//! root (rest-for-one)
//! ├─ timekeeper            one timer, armed for the board's next deadline
//! ├─ curator               owner of the board, its only writer
//! ├─ agents (one-for-one)  one actor per agent; every attempt is a task that its agent owns
//! └─ upkeep (one-for-one)
//!    ├─ batch-timeouts       1 s    a safety net behind the timekeeper
//!    ├─ correlation-cleanup  5 s    a safety net behind the timekeeper
//!    ├─ janitor              60 s   has the store remove what retention lets go
//!    ├─ lookout              1 s    finds what does not come on
//!    ├─ sentry               a thread that sees blocked worker threads
//!    ├─ eviction             5 s    lets idle resources go, if there are resources
//!    └─ schedule/<name>      one for each schedule
//! ```
//!
//! This is the only crate that names ractor, and it does so in one module. Embedding services use the `volery` crate.

pub mod agent;
pub mod clock;
mod curator;
mod error;
pub mod feed;
pub mod health;
mod kinds;
pub mod resource;
pub mod root;
pub mod runtime;
mod seen;
pub mod supervision;
mod upkeep;

#[cfg(feature = "process")]
pub use agent::Process;
pub use agent::{
    Agent, AgentDraft, Blocking, ChildError, ChildTask, Classed, Context, Engine, Failure, Fault, GaveUp,
    IntoOutputs, OpenModelCall, OpenToolCall, Outputs, Publish, Retry, TimedOut, TimeoutKind, blocking,
};
pub use clock::Clock;
pub use curator::{PastIntensity, Recovered};
pub use error::{Error, ErrorKind, Result};
pub use feed::{Event, FeedItem, FeedReader};
pub use health::{Health, Reason, Severity};
pub use resource::{Lease, Loaded, Resource};
pub use root::{
    CallbackReport, CutOff, EXIT_CODE_ESCALATED, EXIT_CODE_FAILED, EXIT_CODE_GAVE_UP, EXIT_CODE_INTERRUPTED,
    EXIT_CODE_STOPPED, Phase, PhaseReport, PhaseStatus, Protection, ShutdownReport, StopCause,
};
#[cfg(unix)]
pub use runtime::Systemd;
pub use runtime::{
    Draft, Edit, Overflow, Partial, Published, Redriven, Runtime, RuntimeBuilder, Settings, Tree, TreeNode,
};
pub use upkeep::{Finding, LoopStatus, Missed, Schedule};
pub use volery_observability::trace::{Detail, PayloadRecording, TraceSettings};
pub use volery_observability::trace::{ModelCall, ToolCall};
pub use volery_observability::{FlushReport, Metrics, Providers};
