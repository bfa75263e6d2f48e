//! The blackboard of Volery: artifacts, and the decisions about them.
//!
//! ```text
//! publish ─► matching ─► Log::commit ─► Board::handle ─► collect ─► Effect::Start ─► (an agent runs the job)
//!            claims        log order        decides          groups      a job            │
//!               ▲                                                                         │ outputs + end, one commit
//!               └─────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! This crate is pure: no I/O, no async runtime, no clock, no randomness, no logging. Time and ids come in as
//! values, effects go out as values, and the `actors` crate performs them. Embedding services use the
//! `volery` crate, which re-exports what they need from here.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod artifact;
pub mod board;
pub mod body;
pub mod claim;
mod collect;
pub mod effect;
pub mod error;
mod few;
pub mod filter;
pub mod id;
pub mod input;
pub mod job;
pub mod kind;
mod marks;
pub mod matching;
pub mod outcome;
pub mod panic;
pub mod shape;
mod slab;
pub mod store;
pub mod subscription;
pub mod time;
pub mod trace;
pub mod visibility;

pub use artifact::{Artifact, Causes, Producer};
pub use board::Board;
pub use body::{Body, Shared};
pub use error::BlackboardError;
pub use filter::{Filter, Page};
pub use id::{
    AgentIndex, AgentName, ArtifactId, JobId, JobIndex, Key, Offset, RunId, SubscriptionIndex, Tenant,
};
pub use kind::{Kind, Kinds, Payload};
pub use marks::Marks;
pub use outcome::{
    Burial, CloseReason, Discard, Expiry, Outcome, Overdue, Quarantine, Tally, Waiting, WaitingReason,
};
pub use shape::Shape;
pub use store::Store;
pub use subscription::{Batch, Subscription};
pub use time::Timestamp;
pub use trace::TraceContext;
pub use visibility::{Viewer, Visibility};
