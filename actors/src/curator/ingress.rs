//! The way in to the curator: a queue that outlives every life of it, with room for a bounded number of publishes.
//!
//! Publishes wait for room; ends of attempts need none, because the board's credit bounds them; other commands come from
//! callers that await an answer. The queue is drained in order.
//!
//! | command | answered with | fails with |
//! | --- | --- | --- |
//! | `Publish` | where the artifacts stand in the log | shutting down, overloaded, store error |
//! | `Ended` | nothing | never; ends of attempts that are not current are dropped |
//! | `Input`, `SeenNote` | nothing | never |
//! | `Letter` | the job of a redriven letter | as `Publish`; the letter is decided |
//! | `Ask` | what the board shows | never |
//! | `WhenQuiet` | the outcomes, once nothing moves | never |

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, Semaphore, SetOnce, oneshot};
use volery_blackboard::board::{AgentStanding, AgentStatus, InLog, RunningJob, WaitingFilter};
use volery_blackboard::input::Input;
use volery_blackboard::store::{Few, NewArtifact, Note, StoreError, Stored};
use volery_blackboard::{AgentIndex, AgentName, JobId, RunId, Tally, Timestamp, Waiting};

use super::actor::CuratorMessage;
use super::decisions::Decided;
use super::letters::LetterDecision;
use super::panics::Panics;
use super::recovery::Recovered;
use super::scope::Scope;
use crate::agent::Ended;
use crate::error::{Cause, Result};
use crate::seen::{PublishSeen, SeenNote, class_of};
use crate::settings::Overflow;
use crate::supervision::{Address, SendRefusal};

/// Publishes that may be in the queue. Enough for two full commits: one being written, one being gathered. Twice as
/// many would only add to the time a publisher waits.
const PUBLISHES_MAX: usize = 2_048;

/// What the curator is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Commit these artifacts, all or nothing.
    Publish {
        artifacts: Few<NewArtifact>,
        answer: oneshot::Sender<Result<Few<Stored>, StoreError>>,
        seen: PublishSeen,
    },
    /// An attempt ended.
    Ended(Ended),
    /// Decide about a dead letter.
    Letter(LetterDecision),
    /// Tell the board something that needs no record.
    Input(Input),
    /// Write a note about what is seen of the runtime.
    SeenNote(Note, SeenNote),
    /// Show something.
    Ask(Question),
    /// Answer when it is quiet.
    WhenQuiet { scope: Scope, answer: oneshot::Sender<Tally> },
}

/// What can be asked about the board.
#[derive(Debug)]
pub(crate) enum Question {
    /// What waits in memory, and who has more in the log.
    Waiting(WaitingFilter, oneshot::Sender<(Vec<Waiting>, Vec<InLog>)>),
    Agents(oneshot::Sender<Vec<AgentStatus>>),
    /// Which of them are given jobs, without a look at what waits.
    Standings(oneshot::Sender<Vec<AgentStanding>>),
    Running(oneshot::Sender<Vec<RunningJob>>),
    Tally(RunId, oneshot::Sender<Option<Tally>>),
    NextDeadline(oneshot::Sender<Option<Timestamp>>),
}

/// The queue in front of the curator.
#[derive(Debug)]
pub(crate) struct Ingress {
    runtime: String,
    queue: Mutex<VecDeque<Command>>,
    /// A wake-up is under way; later commands need not send another.
    woken: AtomicBool,
    curator: OnceLock<Address<CuratorMessage>>,
    room: Semaphore,
    open: AtomicBool,
    /// Nobody takes commands any more. Changed under the queue's lock only.
    abandoned: AtomicBool,
    /// Lives of the curator so far.
    epoch: AtomicU64,
    /// Claims that wait for an agent or run, as the curator last counted them.
    queued: AtomicU64,
    /// Claims that collectors hold.
    collected: AtomicU64,
    limits: Limits,
    relief: Notify,
    /// Since when, and why, nothing is started.
    store_trouble: Mutex<Option<(Timestamp, String)>>,
    /// Since when a commit has been under way.
    committing: Mutex<Option<Timestamp>>,
    watch: Mutex<Watch>,
    /// The agent that asked for a stop of everything.
    escalation: SetOnce<AgentName>,
}

/// How much may wait before publishers are held back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) queued_max: u64,
    pub(crate) collected_max: u64,
    pub(crate) overflow: Overflow,
}

/// Who waits for what: it outlives the curator's lives, so that nobody waits in vain for one that is gone.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Runs that handles exist to.
    pub(crate) pins: HashMap<RunId, Pin>,
    pub(crate) paused: BTreeSet<AgentIndex>,
    /// How often engines panicked, and whose agents are in quarantine.
    pub(super) panics: Panics,
    /// What was decided about runs that are not over.
    pub(super) decided: BTreeMap<RunId, Decided>,
    /// What the store has noted was taken over.
    pub(super) reconciled: bool,
    /// The runtime is stopping and starts nothing more.
    pub(crate) held: bool,
    pub(crate) runs: HashMap<RunId, Vec<oneshot::Sender<Tally>>>,
    pub(crate) idle: Vec<oneshot::Sender<Tally>>,
    pub(crate) jobs: Vec<oneshot::Sender<Tally>>,
    pub(crate) attempts: Vec<oneshot::Sender<Tally>>,
    pub(super) windows: Vec<(AgentIndex, oneshot::Sender<Tally>)>,
    /// What the latest life of the curator found.
    pub(crate) recovered: Recovered,
}

/// What is known of a run that handles exist to.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) workflow: Arc<str>,
    handles: usize,
    pub(crate) finishing: bool,
    pub(crate) cancelled: bool,
    /// Its deadline came before its end.
    pub(crate) timed_out: bool,
}

impl Ingress {
    pub(crate) fn new(runtime: String, limits: Limits, panics: Panics) -> Self {
        Self {
            runtime,
            queue: Mutex::default(),
            woken: AtomicBool::new(false),
            curator: OnceLock::new(),
            room: Semaphore::new(PUBLISHES_MAX),
            open: AtomicBool::new(true),
            abandoned: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            collected: AtomicU64::new(0),
            limits,
            relief: Notify::new(),
            store_trouble: Mutex::default(),
            committing: Mutex::default(),
            watch: Mutex::new(Watch { panics, ..Watch::default() }),
            escalation: SetOnce::new(),
        }
    }

    /// Begins a life of the curator.
    pub(super) fn begin_epoch(&self) -> u64 {
        // The store could be read just now; the next write tells whether it can be written to.
        self.note_store_trouble(None);
        self.note_committing(None);
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Names the curator to wake. Called once, when the tree is built.
    pub(crate) fn connect(&self, curator: Address<CuratorMessage>) {
        let first = self.curator.set(curator).is_ok();
        debug_assert!(first, "a runtime has one curator");
    }

    /// Publishes artifacts and returns once they are committed.
    ///
    /// Cancel safe in this sense: dropped while it waits for room, nothing is published; dropped later, the artifacts
    /// may or may not be.
    pub(crate) async fn publish(
        &self,
        artifacts: Few<NewArtifact>,
        mut seen: PublishSeen,
    ) -> Result<Few<Stored>> {
        if let Err(error) = self.enter().await {
            seen.failed(class_of(&error));
            return Err(error);
        }
        let (answer, answered) = oneshot::channel();
        seen.sent();
        self.push(Command::Publish { artifacts, answer, seen });
        answered.await.map_err(|_| self.unanswered())?.map_err(Into::into)
    }

    /// Decides about a dead letter; returns the job if it is driven again. Waits for room as a publish does.
    ///
    /// Cancel safe as a publish is.
    pub(crate) async fn decide_letter<'a>(
        &'a self,
        decision: impl FnOnce(oneshot::Sender<Result<Option<JobId>, StoreError>>) -> LetterDecision + 'a,
    ) -> Result<Option<JobId>> {
        self.enter().await?;
        let (answer, answered) = oneshot::channel();
        self.push(Command::Letter(decision(answer)));
        answered.await.map_err(|_| self.unanswered())?.map_err(Into::into)
    }

    /// Waits for room for one command that adds work.
    async fn enter(&self) -> Result<()> {
        let room = loop {
            self.admit().await?;
            let Ok(room) = self.room.acquire().await else { return Err(self.shut()) };
            // The backlog may have grown while it waited for its place in the queue.
            if self.backlog_has_room() {
                break room;
            }
        };
        if !self.is_open() {
            return Err(self.shut());
        }
        room.forget();
        Ok(())
    }

    /// Waits until the backlog has room, or refuses.
    async fn admit(&self) -> Result<()> {
        loop {
            if !self.is_open() {
                return Err(self.shut());
            }
            let collected = self.collected.load(Ordering::Acquire);
            if collected >= self.limits.collected_max {
                // Waiting could wait for ever: what collectors hold may be waiting for this very publish.
                return Err(Cause::Overloaded { what: "collected", count: collected }.into());
            }
            if self.queued.load(Ordering::Acquire) < self.limits.queued_max {
                return Ok(());
            }
            // Listens before it looks again, so that neither relief nor the end in between is missed.
            let relief = self.relief.notified();
            if !self.is_open() {
                return Err(self.shut());
            }
            let queued = self.queued.load(Ordering::Acquire);
            if queued < self.limits.queued_max {
                return Ok(());
            }
            match self.limits.overflow {
                Overflow::Refuse => return Err(Cause::Overloaded { what: "queued", count: queued }.into()),
                Overflow::Wait => relief.await,
            }
        }
    }

    fn backlog_has_room(&self) -> bool {
        self.queued.load(Ordering::Acquire) < self.limits.queued_max
            && self.collected.load(Ordering::Acquire) < self.limits.collected_max
    }

    /// Tells the end of an attempt.
    pub(crate) fn ended(&self, ended: Ended) {
        self.push(Command::Ended(ended));
    }

    /// Tells the board something. What must outlive the curator's life is noted here.
    pub(crate) fn input(&self, input: Input) {
        {
            // Queued before the list is released, so that notes and commands come in one order.
            let mut watch = self.watch();
            watch.note(&input);
            self.enqueue(Command::Input(input));
        }
        self.wake();
    }

    /// Asks the board something.
    pub(crate) async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.push(Command::Ask(question(answer)));
        answered.await.map_err(|_| self.unanswered())
    }

    /// Waits until it is quiet; for a run, returns its outcomes so far. Cancel safe.
    pub(crate) async fn when_quiet(&self, scope: Scope) -> Result<Tally> {
        let (answer, answered) = oneshot::channel();
        self.push(Command::WhenQuiet { scope, answer });
        answered.await.map_err(|_| self.unanswered())
    }

    /// Keeps a run's counts while handles to it exist.
    pub(crate) fn pin(&self, run: RunId, workflow: &Arc<str>) {
        let mut watch = self.watch();
        let fresh = || Pin {
            workflow: Arc::clone(workflow),
            handles: 0,
            finishing: false,
            cancelled: false,
            timed_out: false,
        };
        let pin = watch.pins.entry(run).or_insert_with(fresh);
        pin.handles += 1;
        if pin.handles == 1 {
            // Queued before the list is released, so that pins and releases come in the order of the counts.
            let pin = Input::PinRun { run, workflow: Arc::clone(workflow), tally: None };
            self.enqueue(Command::Input(pin));
            drop(watch);
            self.wake();
        }
    }

    /// Forgets one handle to a run.
    pub(crate) fn release(&self, run: RunId) {
        let mut watch = self.watch();
        let handles = watch.pins.get_mut(&run).map_or(0, |pin| {
            pin.handles -= 1;
            pin.handles
        });
        if handles == 0 {
            watch.pins.remove(&run);
            if watch.runs.get(&run).is_some_and(|waiting| waiting.iter().all(oneshot::Sender::is_closed)) {
                watch.runs.remove(&run);
            }
            self.enqueue(Command::Input(Input::ReleaseRun(run)));
            drop(watch);
            self.wake();
        }
    }

    /// Asks for a stop of the whole runtime, because of this agent. The first one is told.
    pub(super) fn escalate(&self, agent: AgentName) {
        // Taken already: another agent asked before.
        drop(self.escalation.set(agent));
    }

    /// Waits until an agent asks for a stop of the whole runtime. Cancel safe.
    pub(crate) async fn escalated(&self) -> AgentName {
        self.escalation.wait().await.clone()
    }

    /// Tells whether a run that handles exist to was cancelled by its deadline.
    pub(crate) fn has_timed_out(&self, run: RunId) -> bool {
        self.watch().pins.get(&run).is_some_and(|pin| pin.timed_out)
    }

    /// Refuses every further publish, the waiting ones included.
    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::Release);
        self.room.close();
        self.relief.notify_waiters();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Takes up to `limit` commands, in order, into an empty list.
    pub(crate) fn take(&self, limit: usize, commands: &mut VecDeque<Command>) {
        {
            let mut queue = self.queue();
            // The lists change places, so that whoever wants to leave a command waits for an instant only.
            if queue.len() <= limit && commands.is_empty() {
                std::mem::swap(&mut *queue, commands);
            } else {
                commands.extend(queue.drain(..limit));
            }
        }
        let entered = |command: &&Command| matches!(command, Command::Publish { .. } | Command::Letter(_));
        let entered = commands.iter().filter(entered).count();
        if entered > 0 && self.is_open() {
            self.room.add_permits(entered);
        }
    }

    /// Allows the next command to send a wake-up. Called before taking commands, so that none is overlooked.
    pub(crate) fn awake(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Notes how much waits, and lets publishers in again when there is room.
    pub(crate) fn count_backlog(&self, queued: u64, collected: u64) {
        self.collected.store(collected, Ordering::Release);
        let before = self.queued.swap(queued, Ordering::AcqRel);
        if before >= self.limits.queued_max && queued < self.limits.queued_max {
            self.relief.notify_waiters();
        }
    }

    /// Notes that the store refuses writes, and why, or that it works again.
    pub(super) fn note_store_trouble(&self, trouble: Option<(Timestamp, String)>) {
        *self.store_trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Since when, and why, the store refuses writes, as the curator last found it.
    pub(crate) fn store_trouble(&self) -> Option<(Timestamp, String)> {
        self.store_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the curator waits for a commit since then, or that it does not.
    pub(super) fn note_committing(&self, since: Option<Timestamp>) {
        *self.committing.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Since when the curator has been waiting for a commit, if it does.
    pub(crate) fn committing(&self) -> Option<Timestamp> {
        *self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much waits, its limit, and in what way, as the curator last counted it.
    pub(crate) fn backlog(&self) -> [(u64, u64, &'static str); 2] {
        let (queued, collected) =
            (self.queued.load(Ordering::Acquire), self.collected.load(Ordering::Acquire));
        [(queued, self.limits.queued_max, "queued"), (collected, self.limits.collected_max, "collected")]
    }

    /// Commands that the curator has not taken yet.
    pub(crate) fn waiting_commands(&self) -> usize {
        self.queue().len()
    }

    pub(crate) fn watch(&self) -> MutexGuard<'_, Watch> {
        // Every change to the lists is a single step; a panic cannot leave them half-changed.
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers everybody who still waits, by dropping what they wait for. Called when the runtime has stopped.
    pub(crate) fn abandon(&self) {
        self.close();
        let abandoned = {
            let mut queue = self.queue();
            self.abandoned.store(true, Ordering::Release);
            std::mem::take(&mut *queue)
        };
        drop(abandoned);
        let mut watch = self.watch();
        watch.runs.clear();
        watch.idle.clear();
        watch.jobs.clear();
        watch.attempts.clear();
        watch.windows.clear();
    }

    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Some(curator) = self.curator.get()
            && let Err(error) = curator.send(CuratorMessage::Wake)
            && error.reason == SendRefusal::Ended
        {
            // The curator has ended for good: nobody will take commands any more.
            self.abandon();
        }
    }

    pub(super) fn push(&self, command: Command) {
        self.enqueue(command);
        self.wake();
    }

    /// Queues a command. Once nobody takes commands any more it is dropped, which answers whoever sent it.
    fn enqueue(&self, command: Command) {
        let mut queue = self.queue();
        if !self.abandoned.load(Ordering::Acquire) {
            queue.push_back(command);
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Command>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why an answer was dropped without being given: the runtime has stopped, or the curator died over it.
    fn unanswered(&self) -> crate::error::Error {
        if self.abandoned.load(Ordering::Acquire) { self.shut() } else { Cause::Unanswered.into() }
    }

    fn shut(&self) -> crate::error::Error {
        Cause::ShuttingDown(self.runtime.clone()).into()
    }
}
