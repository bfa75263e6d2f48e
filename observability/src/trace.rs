//! The spans of a runtime, over a tracer that the service brings: one trace per run.
//!
//! [`Spans`] opens traces. A [`RunTrace`] is kept with its run, a [`JobTrace`] with its job, an
//! [`AttemptTrace`] goes with its attempt; each ends once, at a time that the caller gives. `names::span`
//! shows the whole tree. Nothing here is global, spawns, blocks or reads a clock.
//!
//! ```
//! use std::time::SystemTime;
//! use opentelemetry_sdk::trace::SdkTracerProvider;
//! use volery_observability::Providers;
//! use volery_observability::trace::{Ending, Input, JobStart, Publish, RunEnd, RunStart, RunStatus};
//!
//! # let now = SystemTime::UNIX_EPOCH;
//! let spans = Providers::none().tracer(SdkTracerProvider::builder().build()).spans();
//! let run = spans.run(RunStart::new(&"run-7", "checkout", now));
//!
//! let publish = run.publish(&Publish::new("Order", &"order-1", now)).expect("the run is sampled");
//! let propagation = Some(publish.propagation().clone()); // goes into the log with the artifact
//! publish.end(now); // committed
//!
//! let inputs = [Input { id: "order-1", kind: "Order", propagation }];
//! let job = run.job(&JobStart::new("settle", &"job-1", now), inputs).expect("the run is sampled");
//! let attempt = job.attempt(1, 0, now);
//! let call = attempt.evaluate("settle", now); // the engine runs under `call.context()`
//! call.end(&Ending::Ok, now);
//! let output = attempt.publish(&Publish::new("Receipt", &"receipt-1", now));
//! output.end(now);
//! attempt.end(&Ending::Ok, now);
//! job.end(&Ending::Ok, now);
//!
//! let status = RunStatus::Completed;
//! run.end(RunEnd { status, published: 2, jobs_ok: 1, jobs_failed: 0, jobs_cancelled: 0, at: now });
//! ```

mod attempt;
mod baggage;
mod call;
mod collection;
mod ending;
mod job;
mod nested;
mod open;
mod propagation;
mod publish;
mod root;
mod run;
mod scope;
mod settings;
mod shutdown;
mod spans;
mod text;

pub use attempt::{AttemptTrace, EvaluateTrace, LogId, LogIds};
pub use call::{ModelCall, OpenCall, ToolCall};
pub use collection::{BatchClosed, JoinClosed};
pub use ending::{Ending, Failure};
pub use job::{Input, JobStart, JobTrace, Restart};
pub use open::{Given, OnExported, OpenSpan, OpenSpans, SpanKey};
#[cfg(feature = "sdk")]
pub(crate) use propagation::context;
#[cfg(any(feature = "sdk", feature = "traceparent"))]
pub(crate) use propagation::ids;
pub use propagation::{Propagation, PropagationError};
pub use publish::{Commit, Publish, PublishTrace};
pub use run::{DeadLetter, RunEnd, RunStatus, RunTrace};
pub use scope::Scope;
pub use settings::{Detail, PayloadRecording, TraceSettings};
pub use shutdown::ShutdownTrace;
#[cfg(feature = "sdk")]
pub(crate) use spans::instrumentation_scope;
pub use spans::{LeftOut, RunStart, Spans};
pub(crate) use text::cut;
