//! The way in to the curator: a queue that outlives every life of it, with room for a bounded number of
//! publishes.
//!
//! Publishes wait for room; ends of attempts need none, because the slots of agents bound them; other
//! commands come from callers that await an answer. Commands of either sort are taken in order, and in each
//! turn of the curator both have their share. Beside the queue stands what the
//! next life of the curator has to know: decisions, waiters, and counts of panics.
//!
//! | command | answered with | fails with |
//! | --- | --- | --- |
//! | `Publish` | where the artifacts stand in the log | shutting down, overloaded, store error |
//! | `Ended` | nothing | never; ends of attempts that are not current are dropped |
//! | `Input`, `RunResumed`, `SpanNote` | nothing | never |
//! | `Letter` | the job of a redriven letter | as `Publish`; the letter is decided |
//! | `Ask` | what the board shows | never |
//! | `Wait` | the outcomes, once it has come so far | never |

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{SetOnce, oneshot};
use volery_blackboard::board::Board;
use volery_blackboard::input::Input;
use volery_blackboard::store::StoreError;
use volery_blackboard::{AgentName, JobId, RunId, Tally};

use crate::error::{Cause, Error, Result};
use crate::observer::{Host, SpanNote};
use crate::supervision::{Address, SendRefusal};

mod admission;
mod command;
mod decisions;
mod end;
mod panics;
mod publish;
mod status;
mod waiters;

pub(crate) use admission::Limits;
pub(crate) use command::{Command, DecisionAnswer, LetterDecision, PublishAnswer, Question, reply};
pub(crate) use decisions::{Decisions, RunDecision};
pub(crate) use end::{AttemptEnd, Ended, EngineState};
pub(crate) use panics::{PanicVerdict, Panics};
pub(crate) use publish::PublishCall;
pub use status::Recovered;
pub(crate) use waiters::{Until, Waiters};

use admission::Admission;
use decisions::Handles;
use status::CuratorStatus;

/// The message in the curator's mailbox: there is something in the ingress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wake;

/// The queues in front of the curator.
#[derive(Debug)]
pub(crate) struct Ingress {
    queue: Mutex<Queues>,
    /// A wake-up is under way; later commands need not send another.
    woken: AtomicBool,
    curator: OnceLock<Address<Wake>>,
    admission: Admission,
    /// Nobody takes commands any more. Changed under the queue's lock only.
    abandoned: AtomicBool,
    /// Lives of the curator so far.
    epoch: AtomicU64,
    decisions: Mutex<Decisions>,
    waiters: Mutex<Waiters>,
    status: Mutex<CuratorStatus>,
    /// The agent that asked for a stop of everything.
    escalation: SetOnce<AgentName>,
}

/// Commands in order, those that had to wait for room apart: whatever their number, the others are taken with
/// them.
#[derive(Debug, Default)]
struct Queues {
    /// Publishes, and decisions about dead letters.
    entered: VecDeque<Command>,
    /// Ends of attempts, and all others.
    others: VecDeque<Command>,
}

impl Queues {
    fn push(&mut self, command: Command) {
        match command {
            Command::Publish { .. } | Command::Letter(_) => self.entered.push_back(command),
            other => self.others.push_back(other),
        }
    }
}

impl Ingress {
    pub(crate) fn new(runtime: String, limits: Limits, panics: Panics) -> Self {
        Self {
            queue: Mutex::default(),
            woken: AtomicBool::new(false),
            curator: OnceLock::new(),
            admission: Admission::new(runtime, limits),
            abandoned: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            decisions: Mutex::new(Decisions::new(panics)),
            waiters: Mutex::default(),
            status: Mutex::default(),
            escalation: SetOnce::new(),
        }
    }

    /// Begins a life of the curator.
    pub(crate) fn begin_epoch(&self) -> u64 {
        let mut status = self.status();
        // The store could be read just now; the next write tells whether it can be written to.
        (status.store_trouble, status.committing) = (None, None);
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Names the curator to wake. Called once, when the tree is built.
    pub(crate) fn connect(&self, curator: Address<Wake>) {
        let first = self.curator.set(curator).is_ok();
        debug_assert!(first, "a runtime has one curator");
    }

    /// Decides about a dead letter; returns the job if it is driven again. Waits for room as a publish does.
    ///
    /// Cancel safe as a publish is.
    pub(crate) async fn decide_letter<'a>(
        &'a self,
        decision: impl FnOnce(oneshot::Sender<Result<Option<JobId>, StoreError>>) -> LetterDecision + 'a,
    ) -> Result<Option<JobId>> {
        self.admission.enter().await?;
        let (answer, answered) = oneshot::channel();
        self.push(Command::Letter(decision(answer)));
        answered.await.map_err(|_| self.unanswered())?.map_err(Into::into)
    }

    /// Tells the end of an attempt.
    pub(crate) fn ended(&self, ended: Ended) {
        self.push(Command::Ended(ended));
    }

    /// Tells the board something. A decision is kept for the next life of the curator.
    pub(crate) fn input(&self, input: Input) {
        {
            // Queued before the list is released, so that decisions and commands come in one order.
            let mut decisions = self.decisions();
            decisions.note(&input);
            self.enqueue(Command::Input(input));
        }
        self.wake();
    }

    /// Shows the board as the commands before left it.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Board) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.push(Command::Ask(Question::new(look, answer)));
        answered.await.map_err(|_| self.unanswered())
    }

    /// Waits until it has come so far; for a run, returns its outcomes. Cancel safe.
    pub(crate) async fn wait(&self, until: Until) -> Result<Tally> {
        let (answer, answered) = oneshot::channel();
        self.push(Command::Wait { until, answer });
        answered.await.map_err(|_| self.unanswered())
    }

    /// Counts a handle to a run; while there are some, the board keeps the run's counts.
    pub(crate) fn add_handle(&self, run: RunId, workflow: &Arc<str>) {
        let mut decisions = self.decisions();
        let handles = decisions.handles.entry(run).or_insert_with(|| Handles::none(workflow));
        handles.count += 1;
        if handles.count == 1 {
            // Queued before the list is released, so that these commands come in the order of the counts.
            let pin = Input::PinRun { run, workflow: Arc::clone(workflow), tally: None };
            self.enqueue(Command::Input(pin));
            drop(decisions);
            self.wake();
        }
    }

    /// Forgets one handle to a run.
    pub(crate) fn drop_handle(&self, run: RunId) {
        let mut decisions = self.decisions();
        let left = decisions.handles.get_mut(&run).map_or(0, |handles| {
            handles.count -= 1;
            handles.count
        });
        if left == 0 {
            decisions.handles.remove(&run);
            self.enqueue(Command::Input(Input::ReleaseRun(run)));
            drop(decisions);
            self.waiters().forget_gone(run);
            self.wake();
        }
    }

    /// Asks for a stop of the whole runtime, because of this agent. The report names the first one.
    pub(crate) fn escalate(&self, agent: AgentName) {
        // Taken already: another agent asked before.
        drop(self.escalation.set(agent));
    }

    /// Waits until an agent asks for a stop of the whole runtime. Cancel safe.
    pub(crate) async fn escalated(&self) -> AgentName {
        self.escalation.wait().await.clone()
    }

    /// Tells whether a run that handles exist to was cancelled by its deadline.
    pub(crate) fn has_timed_out(&self, run: RunId) -> bool {
        self.decisions().handles.get(&run).is_some_and(|handles| handles.timed_out)
    }

    /// Refuses every further publish, the waiting ones included.
    pub(crate) fn close(&self) {
        self.admission.close();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.admission.is_open()
    }

    /// Takes up to `limit` commands of either sort, each in order, into two empty lists: those that waited
    /// for room, and the others, which go before them.
    pub(crate) fn take(&self, limit: usize, entered: &mut VecDeque<Command>, others: &mut VecDeque<Command>) {
        {
            let mut queue = self.queue();
            take_up_to(limit, &mut queue.entered, entered);
            take_up_to(limit, &mut queue.others, others);
        }
        self.admission.leave(entered.len());
    }

    /// Allows the next command to send a wake-up. Called before taking commands, so that none is overlooked.
    pub(crate) fn awake(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Takes the count of the backlog, and lets publishers in again when there is room.
    pub(crate) fn count_backlog(&self, queued: u64, collected: u64) {
        self.admission.count_backlog(queued, collected);
    }

    /// How much waits, its limit, and in what way, as the curator last counted it.
    pub(crate) fn backlog(&self) -> [(u64, u64, &'static str); 2] {
        self.admission.backlog()
    }

    /// Commands that the curator has not taken yet.
    pub(crate) fn waiting_commands(&self) -> usize {
        let queue = self.queue();
        queue.entered.len() + queue.others.len()
    }

    pub(crate) fn decisions(&self) -> MutexGuard<'_, Decisions> {
        lock(&self.decisions)
    }

    pub(crate) fn waiters(&self) -> MutexGuard<'_, Waiters> {
        lock(&self.waiters)
    }

    pub(crate) fn status(&self) -> MutexGuard<'_, CuratorStatus> {
        lock(&self.status)
    }

    /// Answers every caller that still waits, by dropping its reply. Called when the runtime has stopped.
    pub(crate) fn abandon(&self) {
        self.close();
        let abandoned = {
            let mut queue = self.queue();
            self.abandoned.store(true, Ordering::Release);
            std::mem::take(&mut *queue)
        };
        drop(abandoned);
        *self.waiters() = Waiters::default();
    }

    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Some(curator) = self.curator.get()
            && let Err(error) = curator.send(Wake)
            && error.reason == SendRefusal::Ended
        {
            // The curator has ended for good: no command will be taken any more.
            self.abandon();
        }
    }

    fn push(&self, command: Command) {
        self.enqueue(command);
        self.wake();
    }

    /// Queues a command. Once no commands are taken any more it is dropped, which answers its sender.
    fn enqueue(&self, command: Command) {
        let mut queue = self.queue();
        if !self.abandoned.load(Ordering::Acquire) {
            queue.push(command);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queues> {
        lock(&self.queue)
    }

    /// Why an answer was dropped without being given: the runtime has stopped, or the curator died over it.
    fn unanswered(&self) -> Error {
        if self.abandoned.load(Ordering::Acquire) { self.admission.shut() } else { Cause::Unanswered.into() }
    }
}

impl Host for Ingress {
    fn has_handle(&self, run: RunId) -> bool {
        self.decisions().handles.contains_key(&run)
    }

    fn run_resumed(&self, run: RunId, times: u32) {
        self.push(Command::RunResumed(run, times));
    }

    fn span_note(&self, note: SpanNote) {
        self.push(Command::SpanNote(note));
    }
}

/// Moves up to so many commands into an empty list.
fn take_up_to(limit: usize, from: &mut VecDeque<Command>, to: &mut VecDeque<Command>) {
    // The lists change places, so that a sender of a command waits for an instant only.
    if from.len() <= limit {
        std::mem::swap(from, to);
    } else {
        to.extend(from.drain(..limit));
    }
}

/// Every change to a list is a single step; a panic cannot leave one half-changed.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::observer::ObservedPublish;

    #[tokio::test]
    async fn ends_of_attempts_are_taken_beside_any_number_of_publishes() -> Result<()> {
        let limits = Limits { queued_max: 1, overflow: crate::settings::Overflow::Wait, collected_max: 1 };
        let ingress = Ingress::new("t".to_owned(), limits, Panics::default());
        for _ in 0..2_000 {
            let (answer, _) = oneshot::channel();
            let (artifacts, observed) = (volery_blackboard::store::Few::new(), ObservedPublish::default());
            ingress.enqueue(Command::Publish { artifacts, answer, observed });
        }
        ingress.enqueue(Command::Input(Input::Tick));
        let (mut entered, mut others) = (VecDeque::new(), VecDeque::new());
        ingress.take(1_000, &mut entered, &mut others);
        assert_eq!((entered.len(), others.len()), (1_000, 1));
        entered.clear();
        others.clear();
        ingress.take(1_000, &mut entered, &mut others);
        assert_eq!((entered.len(), others.len()), (1_000, 0));
        Ok(())
    }
}
