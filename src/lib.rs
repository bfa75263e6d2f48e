//! Volery is a supervised blackboard runtime that a Rust service embeds.
//!
//! Typed artifacts are published on a blackboard; agents subscribe to them, alone, in batches, or joined by
//! key; every agent and every background loop is a supervised actor; a root supervisor starts them in order
//! and stops them in reverse.
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
//! Where to read on: [`Agent`] and the shapes ([`one`], [`all_of`], [`count`], [`join`], [`Batch`]) to
//! declare what an agent wants; [`IntoOutputs`](agent::IntoOutputs) for the values that its engine may
//! return; [`Schedule`] for artifacts that are published by the clock; [`Resource`] for values that engines
//! share; [`Volery`] for a running runtime. The root has the names that a service writes; the modules have
//! those that it is given. `docs/semantics.md` in the repository lists what is guaranteed and which test
//! shows it.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeCompiles;

pub mod blocking;
pub mod letters;
pub mod prelude;
pub mod query;
pub mod store;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

/// An agent takes artifacts, calls its engine with them, and publishes what the engine returns:
///
/// ```
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let measure = Agent::new("measure")
///     .consumes(one::<String>())
///     .concurrency(4)
///     .engine(|text: String, _: Context| async move { Ok::<_, Fault>(Publish(text.len() as u64)) });
/// let volery = Volery::builder("words").agent(measure).start().await?;
///
/// let run = volery.run("measuring").publish("hello".to_owned()).await?;
/// run.settled().await?;
/// assert_eq!(run.artifacts::<u64>().await?, [5]);
/// # Ok(())
/// # }
/// ```
pub use volery_actors::Agent;
/// A builder names everything that a runtime is made of; nothing runs before [`start`](Builder::start):
///
/// ```
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let greet = Agent::new("greet")
///     .consumes(one::<String>())
///     .engine(|name: String, _: Context| async move { Ok::<_, Fault>(Publish(name.len() as u64)) });
/// let volery = Volery::builder("shop")
///     .agent(greet)
///     .store(Memory::new().keep(1_000))
///     .configure(|settings| settings.queued_max = 10_000)
///     .start()
///     .await?;
///
/// assert_eq!(volery.agents().await?[0].name.as_str(), "greet");
/// assert!(volery.shutdown().await?.is_graceful());
/// # Ok(())
/// # }
/// ```
pub use volery_actors::Builder;
/// A context is what an engine knows of its attempt, and its way to say how it comes on:
///
/// ```
/// use std::time::Duration;
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let charge = Agent::new("charge").consumes(one::<u64>()).retry(Retry::fixed(2, Duration::ZERO)).engine(
///     |cents: u64, context: Context| async move {
///         context.progress_on("asking the bank");
///         // The same for every attempt of the job: the bank sees that it is a repeat.
///         let key = context.idempotency_key();
///         if context.attempt() == 1 { Err("the bank is busy".into()) } else { Ok::<_, Fault>(Publish(format!("{key}: {cents}"))) }
///     },
/// );
/// let volery = Volery::builder("shop").agent(charge).start().await?;
///
/// let run = volery.run("checkout").publish(500_u64).await?;
/// run.settled().await?;
/// assert_eq!(run.artifacts::<String>().await?.len(), 1);
/// # Ok(())
/// # }
/// ```
pub use volery_actors::Context;
/// A resource is loaded once per key, leased by engines, and dropped when it is idle:
///
/// ```
/// use volery::Resource;
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let models = Resource::new("models", |name: String| async move { Ok::<_, Fault>(name.len()) });
/// let ask = Agent::new("ask").consumes(one::<String>()).engine({
///     let models = models.clone();
///     move |question: String, _: Context| {
///         let models = models.clone();
///         async move {
///             let model = models.lease("small").await?;
///             Ok::<_, Fault>(Publish((question.len() * *model) as u64))
///         }
///     }
/// });
/// let volery = Volery::builder("answers").agent(ask).resource(&models).start().await?;
///
/// let run = volery.run("asking").publish("why?".to_owned()).await?;
/// run.settled().await?;
/// assert_eq!(run.artifacts::<u64>().await?, [20]);
/// assert_eq!(models.loaded().len(), 1);
/// # Ok(())
/// # }
/// ```
pub use volery_actors::Resource;
/// A policy says how often a job is tried, how long it waits in between, and for which errors:
///
/// ```
/// use std::time::Duration;
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let retry = Retry::exponential(5, Duration::from_millis(1)).only_if(|error| error.to_string() != "no such order");
/// let ship = Agent::new("ship").consumes(one::<u64>()).retry(retry).engine(|order: u64, context: Context| async move {
///     match (order, context.attempt()) {
///         (7, 1) => Err("the carrier is busy".into()),
///         (7, attempt) => Ok(Publish(attempt)),
///         _ => Err::<_, Fault>("no such order".into()),
///     }
/// });
/// let volery = Volery::builder("shop").agent(ship).start().await?;
///
/// let run = volery.run("shipping").publish(7_u64).await?;
/// run.publish(8_u64).await?;
/// let report = run.settled().await?;
/// assert_eq!((report.tally.consumed, report.tally.dead), (1, 1));
/// assert_eq!(run.artifacts::<u32>().await?, [2]);
/// # Ok(())
/// # }
/// ```
pub use volery_actors::Retry;
/// A run is one workflow: everything that is caused by what is published in it:
///
/// ```
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let double = Agent::new("double")
///     .consumes(one::<u32>())
///     .engine(|n: u32, _: Context| async move { Ok::<_, Fault>(Publish(u64::from(n) * 2)) });
/// let volery = Volery::builder("numbers").agent(double).start().await?;
///
/// let run = volery.run("doubling").publish(1_u32).await?;
/// run.publish_all(vec![2_u32, 3]).await?;
/// let report = run.finish().await?;
/// assert!(report.is_complete());
/// assert_eq!(run.artifacts::<u64>().await?.iter().sum::<u64>(), 12);
/// # Ok(())
/// # }
/// ```
pub use volery_actors::Run;
/// A schedule publishes by the clock, each time in a run of its own:
///
/// ```
/// use std::time::Duration;
/// use volery::Schedule;
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let beat = Schedule::every("beat", Duration::from_millis(10), || "beat".to_owned());
/// let volery = Volery::builder("pulse").schedule(beat).start().await?;
///
/// let fired = volery.until(async || Ok(!volery.query().tagged("schedule:beat").await?.artifacts.is_empty()));
/// assert!(fired.await?);
/// # Ok(())
/// # }
/// ```
pub use volery_actors::Schedule;
/// A function that blocks its thread or computes for long:
///
/// ```
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let sum = Agent::new("sum")
///     .consumes(one::<u64>())
///     .engine(on_thread(|to: u64, _: Context| Ok::<_, Fault>(Publish((0..=to).sum::<u64>().to_string()))));
/// let volery = Volery::builder("sums").agent(sum).start().await?;
///
/// let run = volery.run("summing").publish(1_000_u64).await?;
/// run.settled().await?;
/// assert_eq!(run.artifacts::<String>().await?, ["500500"]);
/// # Ok(())
/// # }
/// ```
pub use volery_actors::on_thread;
pub use volery_actors::{
    Engine, Error, ErrorKind, Failure, Fault, Outputs, Publish, Published, Result, Settings, Volery,
};

/// A batch closes by size, time or weight, whichever comes first:
///
/// ```
/// use std::time::Duration;
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let write = Agent::new("write")
///     .consumes(one::<String>().batch(Batch::of(2).or_after(Duration::from_millis(20))))
///     .engine(|lines: Vec<String>, _: Context| async move { Ok::<_, Fault>(Publish(lines.len() as u64)) });
/// let volery = Volery::builder("log").agent(write).start().await?;
///
/// let run = volery.run("lines").open();
/// run.publish_all(["a", "b", "c"].map(str::to_owned)).await?;
/// run.settled().await?;
/// assert_eq!(run.artifacts::<u64>().await?, [2, 1]);
/// # Ok(())
/// # }
/// ```
pub use volery_blackboard::Batch;
/// A visibility keeps an artifact from all agents but some, or from all of them for a while:
///
/// ```
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let seen = |name: &str| {
///     let name = name.to_owned();
///     Agent::new(name.clone()).consumes(one::<u64>()).engine(move |_: u64, _: Context| {
///         let name = name.clone();
///         async move { Ok::<_, Fault>(Publish(name)) }
///     })
/// };
/// let volery = Volery::builder("books").agents([seen("audit"), seen("sales")]).start().await?;
///
/// let run = volery.run("closing").open();
/// run.publish(7_u64).visible_to(Visibility::only(["audit"])).await?;
/// run.settled().await?;
/// assert_eq!(run.artifacts::<String>().await?, ["audit"]);
/// # Ok(())
/// # }
/// ```
pub use volery_blackboard::Visibility;
/// One artifact of each kind, in whichever order they come:
///
/// ```
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let label = Agent::new("label")
///     .consumes(all_of::<(String, u64)>())
///     .engine(|(name, weight): (String, u64), _: Context| async move { Ok::<_, Fault>(Publish(vec![format!("{name}: {weight}")])) });
/// let volery = Volery::builder("parcels").agent(label).start().await?;
///
/// let run = volery.run("packing").publish(3_u64).await?;
/// run.publish("books".to_owned()).await?;
/// run.settled().await?;
/// assert_eq!(run.artifacts::<Vec<String>>().await?, [["books: 3"]]);
/// # Ok(())
/// # }
/// ```
pub use volery_blackboard::shape::all_of;
pub use volery_blackboard::shape::by;
/// A fixed number of artifacts at a time; what is left over waits for the next job:
///
/// ```
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let pair = Agent::new("pair")
///     .consumes(count::<u32>(2))
///     .engine(|two: Vec<u32>, _: Context| async move { Ok::<_, Fault>(Publish(two.iter().map(|n| u64::from(*n)).sum::<u64>())) });
/// let volery = Volery::builder("pairs").agent(pair).start().await?;
///
/// let run = volery.run("pairing").open();
/// run.publish_all(vec![1_u32, 2, 3]).await?;
/// let report = run.settled().await?;
/// assert_eq!(run.artifacts::<u64>().await?, [3]);
/// assert_eq!(report.tally.outstanding(), 1);
/// # Ok(())
/// # }
/// ```
pub use volery_blackboard::shape::count;
/// Artifacts that share a key, within a time if one is set:
///
/// ```
/// use std::time::Duration;
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
/// struct Order { id: u32 }
/// #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
/// struct Payment { order: u32 }
///
/// let settle = Agent::new("settle")
///     .consumes(join(by(|o: &Order| o.id), by(|p: &Payment| p.order)).within(Duration::from_secs(3_600)))
///     .engine(|(order, _): (Order, Payment), _: Context| async move { Ok::<_, Fault>(Publish(format!("{} is paid", order.id))) });
/// let volery = Volery::builder("shop").agent(settle).start().await?;
///
/// let run = volery.run("checkout").publish(Order { id: 7 }).await?;
/// run.publish(Order { id: 8 }).await?;
/// run.publish(Payment { order: 7 }).await?;
/// run.settled().await?;
/// assert_eq!(run.artifacts::<String>().await?, ["7 is paid"]);
/// # Ok(())
/// # }
/// ```
pub use volery_blackboard::shape::join;
/// Every artifact of a kind by itself, as far as the filters let it through:
///
/// ```
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// let big = Agent::new("big")
///     .consumes(one::<u64>().filter(|cents: &u64| *cents >= 1_000))
///     .engine(|cents: u64, _: Context| async move { Ok::<_, Fault>(Publish(format!("big: {cents}"))) });
/// let volery = Volery::builder("shop").agent(big).start().await?;
///
/// let run = volery.run("orders").open();
/// run.publish_all(vec![500_u64, 1_500]).await?;
/// run.settled().await?;
/// assert_eq!(run.artifacts::<String>().await?, ["big: 1500"]);
/// # Ok(())
/// # }
/// ```
pub use volery_blackboard::shape::one;
pub use volery_blackboard::store::Memory;
pub use volery_blackboard::{
    Artifact, ArtifactId, Filter, Kind, Offset, Outcome, Payload, RunId, Shape, Shared, Tally, Timestamp,
    Waiting, WaitingReason,
};
/// A file keeps the board over the end of the process:
///
/// ```
/// use volery::Sqlite;
/// use volery::prelude::*;
///
/// # #[tokio::main]
/// # async fn main() -> volery::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("volery-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("shop.db");
/// let volery = Volery::builder("shop").store(Sqlite::open(&path)?).start().await?;
/// let published = volery.publish("an order".to_owned()).await?;
/// volery.shutdown().await?;
///
/// // The next life of the process.
/// let volery = Volery::builder("shop").store(Sqlite::open(&path)?).start().await?;
/// let found = volery.read(&[published.offset]).await?;
/// assert_eq!(*found[0].payload::<String>()?, "an order");
/// # volery.shutdown().await?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
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
        BlackboardError, Body, Causes, Discard, Expiry, JobId, Key, Kinds, Producer, Tenant, TraceContext,
        Viewer,
    };
}

/// The feed: what happens in a runtime, as it happens.
///
/// An [`Event`](feed::Event) hands out records of [`store`] and of [`supervision`].
pub mod feed {
    pub use volery_actors::{Event, FeedItem, FeedReader};
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
    pub use volery_actors::{
        Clock, Missed, Overflow, Partial, PublishFuture, Publishing, RunPublishing, RunStart,
    };
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
