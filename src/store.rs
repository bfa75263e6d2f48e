//! Stores: retention, and the contract that a store of your own fulfils.
//!
//! A new store begins with [`Log`]; a runtime runs over it as soon as the conformance suite's part for that
//! trait passes. [`History`] and [`Letters`] may be empty until then: they answer that they are not offered.
//! This store keeps everything in another one, and counts the commits:
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use volery::prelude::*;
//! use volery::store::*;
//! # use volery::{Memory, Offset, RunId, Tally};
//!
//! #[derive(Debug, Default)]
//! struct Counting { inner: Memory, commits: Arc<AtomicU64> }
//!
//! impl Log for Counting {
//!     fn name(&self) -> String {
//!         "counting".to_owned()
//!     }
//!     fn open(&self, catalogue: Catalogue) -> Answer<'_, ()> {
//!         self.inner.open(catalogue)
//!     }
//!     fn commit(&self, writes: Vec<Write>) -> Response<Vec<Written>> {
//!         self.commits.fetch_add(1, Ordering::Relaxed);
//!         self.inner.commit(writes)
//!     }
//!     fn read(&self, offsets: &[Offset]) -> Response<Artifacts> {
//!         self.inner.read(offsets)
//!     }
//!     // … and so do the others.
//! #   fn notes(&self) -> Answer<'_, Vec<Note>> {
//! #       self.inner.notes()
//! #   }
//! #   fn marks(&self) -> Answer<'_, Vec<(SubscriptionIndex, Marks)>> {
//! #       self.inner.marks()
//! #   }
//! #   fn claims<'a>(
//! #       &'a self,
//! #       of: &'a [SubscriptionIndex],
//! #       after: Option<Offset>,
//! #       limit: usize,
//! #   ) -> Answer<'a, Vec<Claimed>> {
//! #       self.inner.claims(of, after, limit)
//! #   }
//! #   fn backlog(&self) -> Answer<'_, Vec<Backlog>> {
//! #       self.inner.backlog()
//! #   }
//! #   fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)> {
//! #       self.inner.unfinished(after, limit)
//! #   }
//! #   fn tally(&self, run: RunId) -> Answer<'_, Tally> {
//! #       self.inner.tally(run)
//! #   }
//! #   fn workflow(&self, run: RunId) -> Answer<'_, Option<Arc<str>>> {
//! #       self.inner.workflow(run)
//! #   }
//! #   fn close(&self) -> Answer<'_, ()> {
//! #       self.inner.close()
//! #   }
//! }
//! impl History for Counting {}
//! impl Letters for Counting {}
//!
//! # #[tokio::main]
//! # async fn main() -> volery::Result<()> {
//! let name = Agent::new("name").consumes(one::<u32>());
//! let name = name.engine(|n: u32, _| async move { Ok::<_, volery::Fault>(Publish(n.to_string())) });
//! let commits = Arc::<AtomicU64>::default();
//! let store = Counting { commits: Arc::clone(&commits), ..Counting::default() };
//! let volery = Volery::builder("counts").store(store).agent(name).start().await?;
//! let run = volery.run("once").publish(7_u32).await?;
//! assert_eq!(run.settled().await?.tally.consumed, 1);
//! assert!(commits.load(Ordering::Relaxed) >= 2, "an artifact, an end");
//! let refused = run.artifacts::<String>().await.expect_err("it has no history");
//! assert_eq!(refused.to_string(), "store `counting` offers no queries; use one that does");
//! volery.shutdown().await?;
//! # Ok(())
//! # }
//! ```

pub use volery_blackboard::claim::{Backlog, Claim, Claimed, LogEntry, Settled};
pub use volery_blackboard::job::{AttemptId, Member, Observed, PairVerdict, Resumed, Start, Wait, WaitsFor};
#[cfg(feature = "testing")]
pub use volery_blackboard::store::conformance;
pub use volery_blackboard::store::{
    Answer, Artifacts, Bounds, Catalogue, Cursor, Damage, Death, Few, Filing, Finish, First, History, JobEnd,
    Letters, Log, NewArtifact, Note, Redrive, Response, Retained, Retention, Store, StoreError, Stored,
    Subject, Unfinished, Write, Written,
};
pub use volery_blackboard::{AgentIndex, JobIndex, Marks, SubscriptionIndex};
