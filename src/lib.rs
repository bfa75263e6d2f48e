//! Volery is a supervised blackboard runtime that a Rust service embeds.
//!
//! Typed artifacts are published on a blackboard; agents subscribe to them, alone, in batches, or joined by key; every
//! agent and every background loop is a supervised actor; a root supervisor starts them in order and stops them in
//! reverse.
//!
//! ```
//! use std::time::Duration;
//! use volery::prelude::*;
//!
//! #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
//! struct Order { id: String, cents: u64 }
//! #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
//! struct Payment { order_id: String, cents: u64 }
//! #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
//! struct Receipt { order_id: String }
//!
//! async fn settle((order, payment): (Order, Payment), _ctx: Context) -> volery::Result<Option<Receipt>> {
//!     Ok((payment.cents >= order.cents).then_some(Receipt { order_id: order.id }))
//! }
//!
//! #[tokio::main]
//! async fn main() -> volery::Result<()> {
//!     let settle = Agent::new("settle")
//!         .consumes(
//!             join(by(|o: &Order| o.id.clone()), by(|p: &Payment| p.order_id.clone()))
//!                 .within(Duration::from_secs(3600)),
//!         )
//!         .retry(Retry::exponential(5, Duration::from_millis(200)))
//!         .concurrency(8)
//!         .engine(settle);
//!
//!     let volery = Volery::builder("shop").agent(settle).start().await?;
//!     let run = volery.run("checkout").publish(Order { id: "7".into(), cents: 500 }).await?;
//!     run.publish(Payment { order_id: "7".into(), cents: 500 }).await?;
//!     let report = run.settled().await?;
//!     let receipts: Vec<Receipt> = run.artifacts().await?;
//!     println!("{report}: {receipts:?}");
//! #   assert_eq!(receipts.len(), 1);
//!     volery.shutdown().await?;
//!     Ok(())
//! }
//! ```
//!
//! Where to read on: [`Agent`] and the shapes ([`one`], [`all_of`], [`count`], [`join`], [`Batch`]) to declare what an
//! agent wants; [`IntoOutputs`] for what its engine may return; [`Schedule`] for what is published by the clock; [`Resource`] for what
//! engines share; [`Volery`] for what a running runtime offers.
//! `docs/semantics.md` in the repository lists what is guaranteed and which test shows it.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeCompiles;

pub mod blocking;
pub mod prelude;
#[cfg(feature = "testing")]
pub mod testing;

pub use volery_actors::{
    Builder, CauseTree, DeadLetters, FateTree, Letter, LineageQuery, LineageTree, Pages, Publishing, Query,
    RedriveAll, Redriving, ResultTree, Run, RunPublishing, RunReport, RunStart, Volery,
};

#[cfg(unix)]
pub use volery_actors::Systemd;
pub use volery_actors::supervision::Intensity;
pub use volery_actors::{
    Agent, AgentDraft, Blocking, ChildError, ChildTask, Classed, Clock, Context, Engine, Error, ErrorKind,
    Event, Failure, Fault, FeedItem, FeedReader, Finding, GaveUp, IntoOutputs, Lease, Loaded, LoopStatus,
    Metrics, Missed, ModelCall, OpenModelCall, OpenToolCall, Outputs, Overflow, Partial, Publish, Published,
    Recovered, Redriven, Resource, Result, Retry, Schedule, Settings, ToolCall, Tree, TreeNode, blocking,
};
pub use volery_actors::{
    CallbackReport, CutOff, EXIT_CODE_ESCALATED, EXIT_CODE_FAILED, EXIT_CODE_GAVE_UP, EXIT_CODE_INTERRUPTED,
    EXIT_CODE_STOPPED, Phase, PhaseReport, PhaseStatus, Protection, ShutdownReport, StopCause,
};
pub use volery_actors::{Detail, PayloadRecording, Providers, TraceSettings};
pub use volery_actors::{Health, Reason, Severity};
pub use volery_actors::{PastIntensity, TimedOut, TimeoutKind};
pub use volery_blackboard::board::{AgentStatus, RunningJob, RunningState};
pub use volery_blackboard::outcome::Quarantine;
pub use volery_blackboard::shape::{
    AllOf, AllOfTuple, Batched, By, Count, EveryPair, Join, Once, One, Outer, Take, all_of, by, count, join,
    one,
};
pub use volery_blackboard::{
    AgentName, Artifact, ArtifactId, Batch, BlackboardError, CloseReason, Discard, Expiry, Filter, JobId,
    Key, Kind, Offset, Outcome, Page, Payload, Producer, RunId, Shape, Shared, Tally, Tenant, Timestamp,
    TraceContext, Visibility, Waiting, WaitingReason,
};

/// How a runtime is shown: what a service hands to [`Builder::telemetry`], and a set-up for services that have none.
///
/// Features: `otlp` exports over OTLP, `otlp-tls` over TLS as well, `prometheus` gives metrics as text, `subscriber` writes log lines with trace ids.
pub mod telemetry {
    #[cfg(feature = "subscriber")]
    pub use volery_observability::LogFormat;
    #[cfg(feature = "otlp")]
    pub use volery_observability::Otlp;
    #[cfg(any(feature = "otlp", feature = "prometheus", feature = "subscriber"))]
    pub use volery_observability::{
        Environment, Sampling, Telemetry, TelemetryBuilder, TelemetryError, init,
    };
    pub use volery_observability::{FlushReport, Flusher, ParentError, set_parent, traceparent_of};

    pub use crate::{Detail, PayloadRecording, Providers, TraceSettings};
}

/// Stores, and the contract that a store of your own fulfils.
pub mod store {
    pub use volery_blackboard::claim::{Backlog, Claim, Claimed, LogEntry, Settled};
    pub use volery_blackboard::job::{Member, PairVerdict, Resumed, Start};
    #[cfg(feature = "testing")]
    pub use volery_blackboard::store::conformance;
    pub use volery_blackboard::store::{
        Answer, Artifacts, Bounds, Catalogue, Cursor, Damage, DeadConditions, DeadFilter, DeadLetter,
        DeadParts, DeadState, FailedAttempt, Fate, Few, Filing, Finish, Inspected, JobEnd, Lineage, Memory,
        NewArtifact, Note, Redrive, Response, Retained, Retention, Store, StoreError, Stored, Subject,
        Summary, SummaryBy, Unfinished, Write, Written,
    };
    pub use volery_blackboard::{AgentIndex, Body, Kinds, Marks, SubscriptionIndex};
}

#[cfg(feature = "process")]
pub use volery_actors::Process;

/// The supervision kit under the runtime: child specs, strategies, lives. It knows nothing of artifacts.
pub use volery_actors::supervision;

pub use store::{Bounds, DeadLetter, Memory, Retention};
/// The durable store in one SQLite file.
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use volery_sqlite as sqlite;
#[cfg(feature = "sqlite")]
pub use volery_sqlite::Sqlite;
