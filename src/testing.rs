//! A kit for tests of agents: paused time, probes, scripted engines, a failing store, and assertions that say
//! why.
//!
//! Feature `testing`, for `[dev-dependencies]`. A test owns its universe: its time, its seed, its store, its
//! runtime. It never sleeps: time is paused, and moves when nothing else can, from one deadline to the next.
//! So an hour's back-off passes at once, and a test whose expectation is not met fails instead of hanging.
//!
//! ```
//! use std::time::Duration;
//! use volery::prelude::*;
//! use volery::testing::{Probe, Script, Test};
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
//! struct Order { id: u32 }
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
//! struct Receipt { id: u32 }
//!
//! // In a test: #[tokio::test(start_paused = true)]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> volery::Result<()> {
//! let bank = Script::new().fails("busy").returns(Publish(Receipt { id: 7 }));
//! let till = Agent::new("till").consumes(one::<Order>()).retry(Retry::fixed(2, Duration::from_secs(60))).engine(bank);
//! let (ledger, probe) = Probe::<Receipt>::agent("ledger");
//! let test = Test::new().agents([till, ledger]).start().await?;
//!
//! let run = test.run("checkout").publish(Order { id: 7 }).await?;
//! test.expect(&run).consumed(2).await;
//! assert_eq!(probe.next().await.input, Receipt { id: 7 });
//! test.finish().await; // shuts down, and checks that nothing is left
//! # Ok(())
//! # }
//! ```
//!
//! | part | what it is for |
//! | --- | --- |
//! | [`Test`], [`Harness`] | a runtime under paused time with a seed; time, assertions, the end |
//! | [`Probe`] | a stand-in for a neighbour: notes what it is given |
//! | [`Script`], [`Gate`] | what an engine does, call by call; where it waits for the test |
//! | [`Events`], [`Pattern`] | what happened, in order or in any order |
//! | [`FailingStore`] | outages, refusals, slow commits |
//!
//! Everything that is expected is waited for up to an hour of the test's time. A failed expectation panics;
//! its text says what came instead, what waits and why, which jobs failed with which errors, and what
//! happened last.
//!
//! Recipes are in `docs/testing.md` of the repository.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{Error, Result};

#[cfg(doctest)]
#[doc = include_str!("../docs/testing.md")]
struct RecipesRun;

mod events;
mod evidence;
mod expectation;
mod gate;
mod harness;
mod probe;
mod script;
mod start;

pub use events::{Events, Pattern};
pub use expectation::Expectation;
pub use gate::Gate;
pub use harness::Harness;
pub use probe::{Given, Probe, Probed};
pub use script::Script;
pub use start::{Test, start};
pub use volery_blackboard::store::FailingStore;

/// How long anything expected is waited for. A tenth would cut off tests of longer back-offs; ten times as
/// much would let a test that fails step through ten times as many sweeps first.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Waits for what must come; `None` when it has not come in time.
async fn within_patience<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(PATIENCE, future).await.ok()
}

/// Waits for an answer of the runtime, but not for ever: while a commit is held, the curator answers nobody.
async fn answered<T>(question: impl Future<Output = Result<T>>) -> Result<T> {
    let none = || Err(Error::other("there was no answer within an hour; is a commit being held?"));
    within_patience(question).await.unwrap_or_else(none)
}

/// Lets every task run until it waits. Paused time moves only when no other task can go on, so everything
/// that could happen before the next millisecond has happened when this returns.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Fails a test at the place of its expectation.
fn fail(at: &Location<'_>, text: &str) -> ! {
    panic!("{text}\n  expected at {at}")
}

/// Writes a list under its heading, as part of a failure.
fn list(heading: &str, lines: &VecDeque<String>) -> String {
    let mut text = format!("\n  {heading} ({}):", lines.len());
    for line in lines {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}
