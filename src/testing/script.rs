//! Scripted engines: what an engine does at its first call, at its second, and so on, written down before.

use std::fmt;
use std::future::pending;
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::gate::Gate;
use crate::agent::IntoOutputs;
use crate::{Context, Engine, Fault};

/// An engine that does what is written down: one step for each call.
///
/// A step is any number of waits ([`waits_for`](Self::waits_for), [`takes`](Self::takes),
/// [`blocks`](Self::blocks)) and an end ([`returns`](Self::returns), [`fails`](Self::fails),
/// [`panics`](Self::panics), [`hangs`](Self::hangs), [`then`](Self::then)). Calls are counted over all jobs,
/// in the order in which attempts begin; with [`by_attempt`](Self::by_attempt), every job goes through the
/// steps by itself. A call behind the last step fails its attempt and says that the script is exhausted,
/// unless the script [`repeats`](Self::repeats).
///
/// It takes any input. A clone counts with the original, which can so tell how often it was
/// [called](Self::calls).
///
/// ```
/// use std::time::Duration;
/// use volery::prelude::*;
/// use volery::testing::{Script, Test};
///
/// # #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
/// # struct Order { id: u32 }
/// # #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
/// # struct Receipt { id: u32 }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> volery::Result<()> {
/// let bank = Script::new().fails("busy").panics("broken").returns(Publish(Receipt { id: 7 }));
/// let agent = Agent::new("bank")
///     .consumes(one::<Order>())
///     .retry(Retry::fixed(3, Duration::from_secs(60)))
///     .engine(bank.clone());
/// let test = Test::new().agent(agent).start().await?;
/// test.publish(Order { id: 7 }).await?;
/// assert_eq!(test.expect_published::<Receipt>().await, [Receipt { id: 7 }]);
/// assert_eq!(bank.calls(), 3);
/// # test.finish().await;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Script<O> {
    steps: Vec<Arc<Step<O>>>,
    /// Waits that have no end yet.
    waits: Vec<Wait>,
    counting: Counting,
    last: Last,
    calls: Arc<AtomicUsize>,
}

struct Step<O> {
    waits: Vec<Wait>,
    end: End<O>,
}

#[derive(Clone, Debug)]
enum Wait {
    Gate(Gate),
    Blocked(Gate),
    Time(Duration),
}

type Play<O> = dyn Fn(&Context) -> Result<O, Fault> + Send + Sync;

enum End<O> {
    Hang,
    Play(Box<Play<O>>),
}

/// The next number of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    OverAllJobs,
    ByAttempt,
}

/// The rule after the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Exhausts,
    Repeats,
}

impl<O: IntoOutputs> Script<O> {
    /// Returns a script without steps.
    pub fn new() -> Self {
        Self {
            steps: Vec::new(),
            waits: Vec::new(),
            counting: Counting::OverAllJobs,
            last: Last::Exhausts,
            calls: Arc::default(),
        }
    }

    /// Ends a step with outputs. Outputs that cannot be cloned are made by [`then`](Self::then).
    pub fn returns(self, outputs: O) -> Self
    where
        O: Clone + Sync,
    {
        self.then(move |_| Ok(outputs.clone()))
    }

    /// Ends a step with an error of this text.
    pub fn fails(self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.then(move |_| Err(text.clone().into()))
    }

    /// Ends a step with a panic of this text.
    pub fn panics(self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.then(move |_| panic!("{text}"))
    }

    /// Ends a step by never ending: until it is cancelled, or cut off by a shutdown.
    pub fn hangs(self) -> Self {
        self.end(End::Hang)
    }

    /// Ends a step with what a function makes of the attempt.
    pub fn then(self, play: impl Fn(&Context) -> Result<O, Fault> + Send + Sync + 'static) -> Self {
        self.end(End::Play(Box::new(play)))
    }

    /// Lets the next step wait at a gate first.
    pub fn waits_for(mut self, gate: &Gate) -> Self {
        self.waits.push(Wait::Gate(gate.clone()));
        self
    }

    /// Lets the next step take this much of the test's time first.
    pub fn takes(mut self, time: Duration) -> Self {
        self.waits.push(Wait::Time(time));
        self
    }

    /// Lets the next step block a thread at a gate first, like an engine of [`on_thread`](crate::on_thread):
    /// cancelled, it goes on until the gate opens.
    ///
    /// Paused time does not move by itself while a thread is blocked, so no deadline comes before the gate is
    /// opened.
    pub fn blocks(mut self, gate: &Gate) -> Self {
        self.waits.push(Wait::Blocked(gate.clone()));
        self
    }

    /// Repeats the last step for all further calls.
    pub fn repeats(mut self) -> Self {
        self.last = Last::Repeats;
        self
    }

    /// Lets every job go through the steps by itself: the first attempt takes the first step, the second the
    /// second.
    pub fn by_attempt(mut self) -> Self {
        self.counting = Counting::ByAttempt;
        self
    }

    /// Returns how often it was called so far, clones included.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Acquire)
    }

    fn end(mut self, end: End<O>) -> Self {
        let waits = take(&mut self.waits);
        self.steps.push(Arc::new(Step { waits, end }));
        self
    }

    /// The step of this call, or why there is none.
    fn step(&self, context: &Context) -> Result<Arc<Step<O>>, String> {
        let call = self.calls.fetch_add(1, Ordering::AcqRel);
        let number = match self.counting {
            Counting::OverAllJobs => call,
            Counting::ByAttempt => context.attempt().saturating_sub(1) as usize,
        };
        if !self.waits.is_empty() {
            return Err(
                "the script ends in a wait; say what follows it: returns, fails, panics, hangs, then".into(),
            );
        }
        let last = (self.last == Last::Repeats).then(|| self.steps.last()).flatten();
        self.steps.get(number).or(last).map(Arc::clone).ok_or_else(|| {
            format!(
                "the script is exhausted: it has {} steps, and this is call {} (agent `{}`, attempt {}); write more, or let \
                 it repeat its last",
                self.steps.len(),
                number + 1,
                context.agent(),
                context.attempt()
            )
        })
    }

    pub(super) async fn play(&self, context: Context) -> Result<O, Fault> {
        let step = self.step(&context)?;
        for wait in &step.waits {
            match wait {
                Wait::Gate(gate) => gate.pass().await,
                Wait::Time(time) => tokio::time::sleep(*time).await,
                Wait::Blocked(gate) => {
                    let (handle, pass) = (Handle::current(), gate.pass());
                    spawn_blocking(move || handle.block_on(pass)).await?;
                }
            }
        }
        match &step.end {
            End::Hang => pending().await,
            End::Play(play) => play(&context),
        }
    }
}

impl<I: Send + 'static, O: IntoOutputs> Engine<I> for Script<O> {
    type Output = O;

    async fn run(&self, _: I, context: Context) -> Result<O, Fault> {
        self.play(context).await
    }
}

impl<O: IntoOutputs> Default for Script<O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O> Clone for Script<O> {
    fn clone(&self) -> Self {
        Self {
            steps: self.steps.clone(),
            waits: self.waits.clone(),
            counting: self.counting,
            last: self.last,
            calls: Arc::clone(&self.calls),
        }
    }
}

impl<O> fmt::Debug for Script<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("steps", &self.steps.len())
            .field("counting", &self.counting)
            .field("last", &self.last)
            .field("calls", &self.calls.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
