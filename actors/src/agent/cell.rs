//! The cell of an engine, which is made once, by the first attempt that needs it.
//!
//! The factory is code of the user, so it runs in an attempt's task and never in the agent's actor. A cell
//! whose engine panicked is not used again; the actor puts a fresh one in its place.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::OnceCell;
use volery_blackboard::AgentName;

use super::engine::{Calls, Rescue, Runner};
use crate::fault::{Fault, take_text};

/// One life of one engine. Dropping it drops the engine, which is code of the user: should that panic, it
/// goes no further.
pub(super) struct EngineCell {
    agent: AgentName,
    calls: Calls,
    /// Attempts that come while it is being made wait for it; when that fails, the next of them tries anew.
    made: OnceCell<Arc<dyn Runner>>,
    /// The engine panicked and may be half-updated. Set before the end of the attempt is sent, so that no
    /// attempt that follows from that end can come first.
    suspect: AtomicBool,
}

/// The factory of an engine failed or panicked. Cause: what it said.
#[derive(Debug, thiserror::Error)]
#[error("engine could not be made")]
pub(super) struct NotMade(#[source] Fault);

impl EngineCell {
    pub(super) fn new(agent: &AgentName, calls: &Calls) -> Self {
        let (agent, calls) = (agent.clone(), calls.clone());
        Self { agent, calls, made: OnceCell::new(), suspect: AtomicBool::new(false) }
    }

    /// A cell for the next life of the engine.
    pub(super) fn anew(&self) -> Self {
        Self::new(&self.agent, &self.calls)
    }

    /// Returns the fallback of the engine's subscription, if it has one.
    pub(super) fn fallback(&self) -> Option<&dyn Rescue> {
        self.calls.fallback.as_deref()
    }

    /// Returns the engine, if it is there.
    pub(super) fn made(&self) -> Option<&dyn Runner> {
        self.made.get().map(AsRef::as_ref)
    }

    /// Returns the engine; makes it if nobody has. Cancel safe: what was being made is then made by the next
    /// attempt.
    pub(super) async fn runner(&self) -> Result<&dyn Runner, NotMade> {
        let make = || async {
            match catch_unwind(AssertUnwindSafe(|| (self.calls.make)())) {
                Ok(made) => made.map_err(NotMade),
                Err(panic) => Err(NotMade(format!("panicked: {}", take_text(panic)).into())),
            }
        };
        self.made.get_or_try_init(make).await.map(AsRef::as_ref)
    }

    pub(super) fn suspect(&self) {
        self.suspect.store(true, Ordering::Release);
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }
}

impl Drop for EngineCell {
    fn drop(&mut self) {
        let engine = self.made.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(engine))) {
            let text = take_text(panic);
            tracing::warn!(target: "volery::agent", agent = %self.agent, text, "an engine panicked when it was dropped");
        }
    }
}

impl fmt::Debug for EngineCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineCell")
            .field("agent", &self.agent)
            .field("made", &self.made.initialized())
            .field("suspect", &self.is_suspect())
            .finish_non_exhaustive()
    }
}
