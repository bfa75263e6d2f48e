//! Probes: agents that stand in for neighbours, note what they are given, and answer from a script.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::script::Script;
use super::{fail, list, settle, within_patience};
use crate::agent::{AgentName, IntoOutputs};
use crate::shape::Take;
use crate::{Agent, Context, Engine, Fault, Shape, one};

/// One attempt of a probe, with its input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Given<I> {
    /// The engine's input.
    pub input: I,
    /// The attempt: its number, job, run, input artifacts.
    pub context: Context,
}

impl<I> Given<I> {
    /// Returns the number of the attempt, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.context.attempt()
    }
}

/// Notes what an engine is given. A clone is the same probe.
///
/// ```
/// use volery::prelude::*;
/// use volery::testing::{Probe, Test};
///
/// # #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
/// # struct Receipt { id: u32 }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> volery::Result<()> {
/// let (ledger, probe) = Probe::<Receipt>::agent("ledger");
/// let test = Test::new().agent(ledger).start().await?;
/// test.publish(Receipt { id: 7 }).await?;
/// assert_eq!(probe.next().await.input, Receipt { id: 7 });
/// probe.expect_nothing().await;
/// assert_eq!(probe.received(), [Receipt { id: 7 }]);
/// # test.finish().await;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Probe<I>(Arc<Parts<I>>);

struct Parts<I> {
    name: String,
    notes: Mutex<Notes<I>>,
    noted: Notify,
}

struct Notes<I> {
    all: Vec<Given<I>>,
    /// How many of them `next` has returned.
    taken: usize,
}

impl<I: Clone + Debug + Send + Sync + 'static> Probe<I> {
    /// Returns a probe for an engine of the test's own agent. The name appears in failures.
    pub fn new(name: impl Into<String>) -> Self {
        let notes = Mutex::new(Notes { all: Vec::new(), taken: 0 });
        Self(Arc::new(Parts { name: name.into(), notes, noted: Notify::new() }))
    }

    /// Returns an agent that takes every artifact of one kind and publishes nothing, and its probe.
    pub fn agent(name: impl Into<AgentName>) -> (Agent, Self)
    where
        I: Take,
    {
        Self::stand_in(name, one::<I>(), Script::new().returns(()).repeats())
    }

    /// Returns an agent of any shape that answers from a script, and its probe.
    pub fn stand_in<S, O>(name: impl Into<AgentName>, shape: S, script: Script<O>) -> (Agent, Self)
    where
        S: Shape<Input = I> + 'static,
        O: IntoOutputs,
    {
        let name = name.into();
        let probe = Self::new(name.as_str());
        (Agent::new(name).consumes(shape).engine(probe.answering(script)), probe)
    }

    /// Returns an engine that notes what it is given and publishes nothing.
    pub fn engine(&self) -> Probed<I, ()> {
        self.answering(Script::new().returns(()).repeats())
    }

    /// Returns an engine that notes what it is given, then plays the script.
    pub fn answering<O>(&self, script: Script<O>) -> Probed<I, O> {
        Probed { probe: self.clone(), script }
    }

    /// Waits for the next attempt, and returns what was given to it; each is returned once, in the order in
    /// which they began. Cancel safe.
    ///
    /// # Panics
    /// When nothing more comes within an hour of the test's time; the text lists what did come.
    #[track_caller]
    pub fn next(&self) -> impl Future<Output = Given<I>> + Send + use<I> {
        let (at, probe) = (Location::caller(), self.clone());
        async move {
            let next = within_patience(async {
                loop {
                    let noted = probe.0.noted.notified();
                    if let Some(given) = probe.take() {
                        return given;
                    }
                    noted.await;
                }
            });
            match next.await {
                Some(given) => given,
                None => probe.fail(at, "was given nothing more within an hour"),
            }
        }
    }

    /// Returns every input so far, in the order in which the attempts began.
    #[must_use]
    pub fn received(&self) -> Vec<I> {
        self.notes().all.iter().map(|given| given.input.clone()).collect()
    }

    /// Returns everything that is known of every attempt so far.
    #[must_use]
    pub fn given(&self) -> Vec<Given<I>> {
        self.notes().all.clone()
    }

    /// Lets every task run until it waits (a millisecond of the test's time passes), and checks that nothing
    /// came which [`next`](Self::next) has not returned.
    ///
    /// # Panics
    /// When something came; the text lists it.
    #[track_caller]
    pub fn expect_nothing(&self) -> impl Future<Output = ()> + Send + use<I> {
        let (at, probe) = (Location::caller(), self.clone());
        async move {
            settle().await;
            let more = {
                let notes = probe.notes();
                notes.all.len() - notes.taken
            };
            if more > 0 {
                probe.fail(at, &format!("was given {more} more, and nothing was expected"));
            }
        }
    }

    fn take(&self) -> Option<Given<I>> {
        let mut notes = self.notes();
        let next = notes.all.get(notes.taken).cloned()?;
        notes.taken += 1;
        Some(next)
    }

    fn note(&self, given: Given<I>) {
        self.notes().all.push(given);
        self.0.noted.notify_waiters();
    }

    fn notes(&self) -> MutexGuard<'_, Notes<I>> {
        // Notes are only added; a panic beside them leaves them readable.
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, at: &Location<'_>, what: &str) -> ! {
        let line = |given: &Given<I>| format!("{:?}, attempt {}", given.input, given.attempt());
        let all: VecDeque<String> = self.notes().all.iter().map(line).collect();
        fail(at, &format!("probe `{}` {what}{}", self.0.name, list("given so far", &all)))
    }
}

impl<I> Clone for Probe<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> Debug for Probe<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// An engine that notes what it is given, and plays a script. Made by [`Probe::engine`] and
/// [`Probe::answering`].
#[derive(Debug)]
pub struct Probed<I, O> {
    probe: Probe<I>,
    script: Script<O>,
}

impl<I, O> Engine<I> for Probed<I, O>
where
    I: Clone + Debug + Send + Sync + 'static,
    O: IntoOutputs,
{
    type Output = O;

    async fn run(&self, input: I, context: Context) -> Result<O, Fault> {
        self.probe.note(Given { input, context: context.clone() });
        self.script.play(context).await
    }
}
