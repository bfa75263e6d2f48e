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
//! agent wants; [`IntoOutputs`](agent::IntoOutputs) for the values that its engine may return; [`Schedule`] for artifacts
//! that are published by the clock; [`Resource`] for values that engines share; [`Volery`] for a running runtime.
//! The root has the names that a service writes; the modules have those that it is given.
//! `docs/semantics.md` in the repository lists what is guaranteed and which test shows it.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeCompiles;

pub mod blocking;
pub mod prelude;
#[cfg(feature = "testing")]
pub mod testing;

pub use volery_actors::{
    Agent, Builder, Context, Engine, Error, ErrorKind, Failure, Fault, Outputs, Publish, Published, Resource,
    Result, Retry, Run, Schedule, Settings, Volery, on_thread,
};
pub use volery_blackboard::shape::{all_of, by, count, join, one};
pub use volery_blackboard::store::Memory;
pub use volery_blackboard::{
    Artifact, ArtifactId, Batch, Filter, Kind, Offset, Outcome, Payload, RunId, Shape, Shared, Tally,
    Timestamp, Visibility, Waiting, WaitingReason,
};
#[cfg(feature = "sqlite")]
pub use volery_sqlite::Sqlite;

/// The supervision kit under the runtime: child specs, strategies, lives. It knows nothing of artifacts.
#[doc(inline)]
pub use volery_actors::supervision;

/// Agents: the types around a declaration, an engine and its attempt.
pub mod agent {
    #[cfg(feature = "process")]
    pub use volery_actors::Process;
    pub use volery_actors::{
        AgentDraft, ChildError, ChildTask, Classed, GaveUp, IntoOutputs, Lease, Loaded, ModelCall, OnThread,
        OpenModelCall, OpenToolCall, PastIntensity, Protection, TimedOut, TimeoutKind, ToolCall,
    };
    pub use volery_blackboard::AgentName;
}

/// Artifacts: the types of their parts.
pub mod artifact {
    pub use volery_blackboard::visibility::Admission;
    pub use volery_blackboard::{
        BlackboardError, Body, Discard, Expiry, JobId, Key, Kinds, Producer, Tenant, TraceContext, Viewer,
    };
}

/// The feed: what happens in a runtime, as it happens.
///
/// An [`Event`](feed::Event) hands out records of [`store`] and of [`supervision`].
pub mod feed {
    pub use volery_actors::{Event, FeedItem, FeedReader};
}

/// Dead letters: jobs that failed for good. [`Volery::dead_letters`] lists them.
pub mod letters {
    pub use volery_actors::{DeadLetters, Letter, RedriveAll, Redriven, Redriving};
    pub use volery_blackboard::store::{DeadFilter, DeadLetter, DeadState, FailedAttempt, Inspected};
}

/// Queries: artifacts page by page, counts of them, and the lineage of one. [`Volery::query`] and [`Volery::lineage`]
/// begin one.
pub mod query {
    pub use volery_actors::{CauseTree, ClaimTree, LineageQuery, LineageTree, Pages, Query, ResultTree};
    pub use volery_blackboard::Page;
    pub use volery_blackboard::store::{ClaimRecord, Lineage, Summary, SummaryBy};
}

/// Reports: how runs ended, how the runtime is, and how it stopped.
pub mod report {
    pub use volery_actors::{
        CallbackReport, CutOff, EXIT_CODE_ESCALATED, EXIT_CODE_FAILED, EXIT_CODE_GAVE_UP,
        EXIT_CODE_INTERRUPTED, EXIT_CODE_STOPPED, Finding, Health, LoopStatus, Phase, PhaseReport,
        PhaseStatus, Reason, Recovered, RunReport, Severity, ShutdownReport, StopCause, Tree, TreeNode,
    };
    pub use volery_blackboard::board::{AgentStatus, RunningJob, RunningState};
    pub use volery_blackboard::outcome::Quarantine;
}

/// The runtime: values of its settings, its clock, and the builders that its methods return.
pub mod runtime {
    #[cfg(unix)]
    pub use volery_actors::Systemd;
    pub use volery_actors::{Clock, Missed, Overflow, Partial, Publishing, RunPublishing, RunStart};
}

/// Shapes: the types that [`one`], [`all_of`], [`count`], [`join`] and [`by`] return.
pub mod shape {
    pub use volery_blackboard::shape::{
        AllOf, AllOfTuple, Batched, By, Count, EveryPair, Inputs, Join, Once, One, Outer, Take,
    };
    pub use volery_blackboard::{CloseReason, Subscription};
}

/// The options of [`Sqlite`].
#[cfg(feature = "sqlite")]
pub mod sqlite {
    pub use volery_sqlite::{Durability, Options};
}

/// Stores: retention, and the contract that a store of your own fulfils.
///
/// A new store begins with [`Log`](store::Log); a runtime runs over it as soon as the conformance suite's part for that
/// trait passes. [`History`](store::History) and [`Letters`](store::Letters) may be empty until then: they answer that
/// they are not offered. This store keeps everything in another one, and counts the commits:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use volery::prelude::*;
/// use volery::store::*;
/// # use volery::{Memory, Offset, RunId, Tally};
///
/// #[derive(Debug, Default)]
/// struct Counting { inner: Memory, commits: Arc<AtomicU64> }
///
/// impl Log for Counting {
///     fn name(&self) -> String {
///         "counting".to_owned()
///     }
///     fn open(&self, catalogue: Catalogue) -> Answer<'_, ()> {
///         self.inner.open(catalogue)
///     }
///     fn commit(&self, writes: Vec<Write>) -> Response<Vec<Written>> {
///         self.commits.fetch_add(1, Ordering::Relaxed);
///         self.inner.commit(writes)
///     }
///     fn read(&self, offsets: &[Offset]) -> Response<Artifacts> {
///         self.inner.read(offsets)
///     }
///     // … and so do the others.
/// #   fn notes(&self) -> Answer<'_, Vec<Note>> {
/// #       self.inner.notes()
/// #   }
/// #   fn marks(&self) -> Answer<'_, Vec<(SubscriptionIndex, Marks)>> {
/// #       self.inner.marks()
/// #   }
/// #   fn claims<'a>(
/// #       &'a self,
/// #       of: &'a [SubscriptionIndex],
/// #       after: Option<Offset>,
/// #       limit: usize,
/// #   ) -> Answer<'a, Vec<Claimed>> {
/// #       self.inner.claims(of, after, limit)
/// #   }
/// #   fn backlog(&self) -> Answer<'_, Vec<Backlog>> {
/// #       self.inner.backlog()
/// #   }
/// #   fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)> {
/// #       self.inner.unfinished(after, limit)
/// #   }
/// #   fn tally(&self, run: RunId) -> Answer<'_, Tally> {
/// #       self.inner.tally(run)
/// #   }
/// #   fn workflow(&self, run: RunId) -> Answer<'_, Option<Arc<str>>> {
/// #       self.inner.workflow(run)
/// #   }
/// #   fn close(&self) -> Answer<'_, ()> {
/// #       self.inner.close()
/// #   }
/// }
/// impl History for Counting {}
/// impl Letters for Counting {}
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let name = Agent::new("name").consumes(one::<u32>());
/// let name = name.engine(|n: u32, _| async move { Ok::<_, volery::Fault>(Publish(n.to_string())) });
/// let commits = Arc::<AtomicU64>::default();
/// let store = Counting { commits: Arc::clone(&commits), ..Counting::default() };
/// let volery = Volery::builder("counts").store(store).agent(name).start().await?;
/// let run = volery.run("once").publish(7_u32).await?;
/// assert_eq!(run.settled().await?.tally.consumed, 1);
/// assert!(commits.load(Ordering::Relaxed) >= 3, "an artifact, a start, an end");
/// let refused = run.artifacts::<String>().await.expect_err("it has no history");
/// assert_eq!(refused.to_string(), "store `counting` offers no queries; use one that does");
/// volery.shutdown().await?;
/// # Ok(())
/// # }
/// ```
pub mod store {
    pub use volery_blackboard::claim::{Backlog, Claim, Claimed, LogEntry, Settled};
    pub use volery_blackboard::job::{Member, Observed, PairVerdict, Resumed, Start, Wait, WaitsFor};
    #[cfg(feature = "testing")]
    pub use volery_blackboard::store::conformance;
    pub use volery_blackboard::store::{
        Answer, Artifacts, Bounds, Catalogue, Cursor, Damage, Few, Filing, Finish, History, JobEnd, Letters,
        Log, NewArtifact, Note, Redrive, Response, Retained, Retention, Store, StoreError, Stored, Subject,
        Unfinished, Write, Written,
    };
    pub use volery_blackboard::{AgentIndex, Marks, SubscriptionIndex};
}

/// Telemetry: providers and settings of the service for [`Builder::telemetry`], and a set-up for services that have
/// none.
///
/// Features: `otlp` exports over OTLP, `otlp-tls` over TLS as well, `prometheus` gives metrics as text, `subscriber`
/// writes log lines with trace ids.
pub mod telemetry {
    pub use volery_actors::{Detail, Metrics, PayloadRecording, Providers, TraceSettings};
    #[cfg(feature = "subscriber")]
    pub use volery_observability::LogFormat;
    #[cfg(feature = "otlp")]
    pub use volery_observability::Otlp;
    #[cfg(any(feature = "otlp", feature = "prometheus", feature = "subscriber"))]
    pub use volery_observability::{
        Environment, Sampling, Telemetry, TelemetryBuilder, TelemetryError, init,
    };
    pub use volery_observability::{FlushReport, Flusher, ParentError, set_parent, traceparent_of};
}
