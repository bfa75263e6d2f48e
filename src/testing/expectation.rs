//! Outcomes as a test expects them: of a run, of an agent, of everything.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;

use super::harness::Harness;
use super::{PATIENCE, answered, fail, within_patience};
use crate::{Result, Run, Tally};

/// How many artifacts are to have ended how. Awaited, it waits until nothing moves, then compares and returns
/// the outcomes.
///
/// An outcome that is not named is expected to be 0, so that nothing goes unseen. Made by [`Harness::expect`]
/// and its siblings.
///
/// ```
/// # use std::time::Duration;
/// # use volery::prelude::*;
/// # use volery::testing::Test;
/// # #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
/// # struct Order { id: u32 }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> volery::Result<()> {
/// # let pairs = Agent::new("pairs").consumes(count::<Order>(2)).engine(|_: Vec<Order>, _| async { Ok::<_, volery::Fault>(()) });
/// # let test = Test::new().agent(pairs).start().await?;
/// # let run = test.run("pairs").open();
/// # run.publish_all((1..=3).map(|id| Order { id }).collect::<Vec<_>>()).await?;
/// test.expect(&run).consumed(2).outstanding(1).await;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is checked until it is awaited"]
pub struct Expectation<'a> {
    harness: &'a Harness,
    subject: Subject,
    expected: Counts,
    moment: Moment,
    at: &'static Location<'static>,
}

/// Whose outcomes are counted.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    Run(Run),
    Agent(String),
    Board,
}

/// When they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    WhenNothingMoves,
    Now,
}

/// A tally without what matched, which the others add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    consumed: u64,
    expired: u64,
    discarded: u64,
    cancelled: u64,
    dead: u64,
    outstanding: u64,
}

impl<'a> Expectation<'a> {
    pub(super) fn new(harness: &'a Harness, subject: Subject, at: &'static Location<'static>) -> Self {
        let (expected, moment) = (Counts::default(), Moment::WhenNothingMoves);
        Self { harness, subject, expected, moment, at }
    }

    /// Expects this many to be consumed.
    pub fn consumed(mut self, count: u64) -> Self {
        self.expected.consumed = count;
        self
    }

    /// Expects this many to have expired.
    pub fn expired(mut self, count: u64) -> Self {
        self.expected.expired = count;
        self
    }

    /// Expects this many to be discarded.
    pub fn discarded(mut self, count: u64) -> Self {
        self.expected.discarded = count;
        self
    }

    /// Expects this many to be cancelled.
    pub fn cancelled(mut self, count: u64) -> Self {
        self.expected.cancelled = count;
        self
    }

    /// Expects this many to be dead: inputs of jobs that failed for good.
    pub fn dead(mut self, count: u64) -> Self {
        self.expected.dead = count;
        self
    }

    /// Expects this many to have no outcome yet.
    pub fn outstanding(mut self, count: u64) -> Self {
        self.expected.outstanding = count;
        self
    }

    /// Compares at once, instead of waiting until nothing moves: for what hangs, runs or backs off.
    pub fn now(mut self) -> Self {
        self.moment = Moment::Now;
        self
    }

    /// Waits until nothing moves; returns why that did not come about.
    async fn rest(&self) -> Result<Option<String>> {
        let volery = self.harness.volery();
        let settled = async {
            match &self.subject {
                Subject::Run(run) => run.settled().await.map(drop),
                Subject::Agent(_) | Subject::Board => volery.until_idle().await,
            }
        };
        match within_patience(settled).await {
            Some(settled) => settled.map(|()| None),
            None => Ok(Some(format!("still moves after {PATIENCE:?}"))),
        }
    }

    async fn tally(&self) -> Result<Tally> {
        let volery = self.harness.volery();
        match &self.subject {
            Subject::Run(run) => run.tally().await,
            Subject::Agent(name) => {
                let agents = volery.agents().await?;
                let found = agents.iter().find(|agent| agent.name.as_str() == name);
                found
                    .map(|agent| agent.tally)
                    .ok_or_else(|| crate::Error::other(format!("there is no agent `{name}`")))
            }
            Subject::Board => {
                let mut tally = Tally::default();
                volery.agents().await?.iter().for_each(|agent| tally += agent.tally);
                Ok(tally)
            }
        }
    }

    async fn check(self) -> Tally {
        let ended = match self.moment {
            Moment::WhenNothingMoves => self.rest().await,
            Moment::Now => Ok(None),
        };
        let tally = match answered(self.tally()).await {
            Ok(tally) => tally,
            Err(error) => fail(self.at, &format!("{} cannot be asked: {error}", self.subject)),
        };
        let counts = Counts::of(&tally);
        let trouble = match ended {
            Ok(None) if counts == self.expected => return tally,
            Ok(None) => "ended otherwise than expected".to_owned(),
            Ok(Some(trouble)) => trouble,
            Err(error) => format!("did not come to rest: {error}"),
        };
        let run = match &self.subject {
            Subject::Run(run) => Some(run),
            Subject::Agent(_) | Subject::Board => None,
        };
        let evidence = self.harness.evidence(run).await;
        let text = format!(
            "{} {trouble}\n  expected: {}\n  actual:   {counts}{evidence}",
            self.subject, self.expected
        );
        fail(self.at, &text)
    }
}

impl<'a> IntoFuture for Expectation<'a> {
    type Output = Tally;
    type IntoFuture = Pin<Box<dyn Future<Output = Tally> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.check())
    }
}

impl fmt::Debug for Expectation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectation")
            .field("subject", &self.subject)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Counts {
    fn of(tally: &Tally) -> Self {
        Self {
            consumed: tally.consumed,
            expired: tally.expired,
            discarded: tally.discarded,
            cancelled: tally.cancelled,
            dead: tally.dead,
            outstanding: tally.outstanding(),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.consumed, "consumed"),
            (self.expired, "expired"),
            (self.discarded, "discarded"),
            (self.cancelled, "cancelled"),
            (self.dead, "dead"),
            (self.outstanding, "outstanding"),
        ];
        let named = parts.iter().filter(|(count, _)| *count > 0);
        let words: Vec<String> = named.map(|(count, word)| format!("{count} {word}")).collect();
        f.write_str(if words.is_empty() { "nothing" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => write!(f, "run `{}`", run.workflow()),
            Self::Agent(agent) => write!(f, "agent `{agent}`"),
            Self::Board => f.write_str("the board"),
        }
    }
}
