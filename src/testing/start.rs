//! The start of a test: what its runtime is made of, its seed, and paused time.

use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

use super::harness::Harness;
use crate::runtime::Clock;
use crate::{Agent, Builder, Error, Result, Settings, Timestamp, Volery, store};

/// The time at which tests start by default: 2026-01-01 00:00 UTC. Any fixed point would do.
const STARTED_AT: Timestamp = Timestamp::from_millis_since_epoch(1_767_225_600_000);

/// Starts a service's own runtime for a test, with seed 0. Short for [`Test::of`] and [`Test::start`].
///
/// # Errors
/// As for [`Test::start`].
pub async fn start(builder: Builder) -> Result<Harness> {
    Test::of(builder).start().await
}

/// Collects what the runtime of one test is made of.
#[derive(Debug)]
#[must_use]
pub struct Test {
    builder: Builder,
    seed: u64,
    started_at: Timestamp,
}

impl Test {
    /// Begins a test with an empty runtime of the name `test`.
    pub fn new() -> Self {
        Self::of(Volery::builder("test"))
    }

    /// Begins a test with what a service itself would start. The test sets its clock, and turns the sentry
    /// off (`blocked_after` is 0): its thread looks in real time. [`configure`](Self::configure) can turn it
    /// on.
    pub fn of(builder: Builder) -> Self {
        let builder = builder.configure(|settings| settings.blocked_after = Duration::ZERO);
        Self { builder, seed: 0, started_at: STARTED_AT }
    }

    /// Sets the seed. Default 0. The same seed gives artifacts and runs the same ids, and restarts of actors
    /// the same jitter; the jitter of a job's retries depends on the job alone.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets the time at which the test begins. Default: 2026-01-01 00:00 UTC.
    pub fn started_at(self, time: Timestamp) -> Self {
        Self { started_at: time, ..self }
    }

    /// See [`Builder::agent`].
    pub fn agent(self, agent: Agent) -> Self {
        Self { builder: self.builder.agent(agent), ..self }
    }

    /// See [`Builder::agents`].
    pub fn agents(self, agents: impl IntoIterator<Item = Agent>) -> Self {
        Self { builder: self.builder.agents(agents), ..self }
    }

    /// See [`Builder::store`].
    pub fn store(self, store: impl store::Store) -> Self {
        Self { builder: self.builder.store(store), ..self }
    }

    /// See [`Builder::configure`].
    pub fn configure(self, change: impl FnOnce(&mut Settings)) -> Self {
        Self { builder: self.builder.configure(change), ..self }
    }

    /// Starts the runtime under paused time. Where time runs still, it is paused from here on.
    ///
    /// # Errors
    /// In an async runtime of several threads, where time cannot be paused; else as for [`Builder::start`].
    pub async fn start(self) -> Result<Harness> {
        pause()?;
        let tasks_before = Handle::current().metrics().num_alive_tasks();
        let volery = self.builder.clock(Clock::fixed(self.started_at, self.seed)).start().await?;
        Ok(Harness::new(volery, self.seed, tasks_before))
    }
}

impl Default for Test {
    fn default() -> Self {
        Self::new()
    }
}

/// Sees to it that time is paused.
fn pause() -> Result<()> {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::CurrentThread) => {
            if !Clock::is_paused() {
                tokio::time::pause();
            }
            Ok(())
        }
        // The builder says that a runtime is missing.
        Err(_) => Ok(()),
        Ok(_) => Err(Error::misuse(
            "volery::testing needs paused time, which an async runtime of several threads does not have; use \
             #[tokio::test(start_paused = true)] without `flavor = \"multi_thread\"`",
        )),
    }
}
