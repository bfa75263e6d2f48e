//! Slots: where an agent's jobs wait for their turn and run, and those of a whole runtime for readers.
//!
//! The curator gives jobs to the queue here, with their inputs, and the tasks of the slots (`slot.rs`) take
//! them. The board knows which jobs should run; the slots know which attempts do, down to a function that
//! still blocks its thread. The lookout and its sentry, the list of running jobs and the stop read the slots
//! without waiting for an actor, and keep no attempt present.
//!
//! Locks are taken in the order table, slot, then the others. No code of the user runs under one.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use volery_blackboard::job::Start;
use volery_blackboard::store::{Artifacts, Response};
use volery_blackboard::{AgentName, JobId};
use volery_observability::Metrics;

use super::attempt::Attempt;
use super::poll::Looks;
use crate::clock::Clock;
use crate::hold::Hold;

/// The slots of an agent, and what its engines reach from there.
pub(crate) struct Slots {
    pub(super) agent: AgentName,
    concurrency: usize,
    /// How long its engines should take at most.
    pub(super) expected: Option<Duration>,
    pub(super) clock: Clock,
    /// Where calls of models and tools are counted.
    pub(super) metrics: Metrics,
    pub(super) looks: Arc<Looks>,
    /// Child tasks of the agent's engines.
    pub(super) children: TaskTracker,
    /// Room for calls that block their thread, as much as the agent's concurrency; an attempt may end before
    /// its call does.
    pub(super) blocking: Arc<Semaphore>,
    table: Mutex<Vec<Arc<Slot>>>,
    queue: Mutex<Queue>,
    /// Attempts that have ended, and of which something goes on.
    lingering: Mutex<Vec<Arc<Attempt>>>,
    /// Slots that are busy, and attempts that linger.
    present: Hold,
    /// The runtime is stopping: attempts that are cancelled hand their jobs back, and no other begins.
    stopping: AtomicBool,
    /// Attempts that do not end are not waited for.
    cut_off: AtomicBool,
}

/// The parts that the slots of all agents share.
#[derive(Clone, Debug)]
pub(crate) struct Instruments {
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) looks: Arc<Looks>,
}

/// A job on its way to a slot.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) start: Arc<Start>,
    pub(crate) inputs: Response<Artifacts>,
    /// The curator's life that gave it.
    pub(crate) epoch: u64,
}

/// The result of giving a job.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A slot takes it, now or when it is free.
    Yes,
    /// It waits, and the agent is to open another slot.
    OpenSlot,
    /// The runtime is stopping: the job is handed back.
    No(Arc<Start>),
}

/// The jobs that wait for a slot, and the slots that wait for a job.
#[derive(Debug, Default)]
struct Queue {
    given: VecDeque<Given>,
    /// Slots that wait, by number; the one that came last is woken first.
    idle: Vec<usize>,
    /// By number: how to wake a slot that waits, and nothing for one that is busy.
    wakers: Vec<Option<Waker>>,
    /// Slots of the agent's present life, and those that it was asked to open.
    open: usize,
    /// Panics that the curator has not counted yet: no job begins before it has.
    held: usize,
}

/// Room for one attempt, with the task that fills it.
#[derive(Debug)]
pub(super) struct Slot {
    number: usize,
    attempt: Mutex<Option<Arc<Attempt>>>,
    task: OnceLock<AbortHandle>,
    /// The life of the agent is over.
    retired: AtomicBool,
}

impl Slots {
    pub(crate) fn new(
        agent: AgentName,
        concurrency: u32,
        expected: Option<Duration>,
        instruments: Instruments,
    ) -> Self {
        let Instruments { clock, metrics, looks } = instruments;
        let concurrency = concurrency as usize;
        Self {
            agent,
            concurrency,
            expected,
            clock,
            metrics,
            looks,
            children: TaskTracker::new(),
            blocking: Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS))),
            table: Mutex::default(),
            queue: Mutex::default(),
            lingering: Mutex::default(),
            present: Hold::default(),
            stopping: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
        }
    }

    /// Gives the agent a job.
    pub(crate) fn give(&self, given: Given) -> Taken {
        let waker = {
            let mut queue = self.queue();
            // Under the lock, so that no job comes after the stop has emptied the queue.
            if self.is_stopping() {
                return Taken::No(given.start);
            }
            queue.given.push_back(given);
            match queue.idle.pop() {
                Some(number) => queue.wakers[number].take(),
                None if queue.open < self.concurrency => {
                    queue.open += 1;
                    return Taken::OpenSlot;
                }
                None => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Taken::Yes
    }

    /// Takes a job out that no slot has taken yet, or calls its attempt off.
    pub(crate) fn cancel(&self, job: JobId) -> Option<Arc<Start>> {
        let waiting = {
            let mut queue = self.queue();
            let place = queue.given.iter().position(|given| given.start.job == job);
            place.and_then(|place| queue.given.remove(place))
        };
        if waiting.is_none() {
            // A slot that takes a job holds its lock until the attempt can be found in it.
            let now = self.clock.now();
            self.pick(|attempt| attempt.start.job == job).iter().for_each(|attempt| attempt.call_off(now));
        }
        waiting.map(|given| given.start)
    }

    /// Takes out the jobs that no slot has taken yet.
    pub(crate) fn recall(&self) -> Vec<Arc<Start>> {
        let waiting = std::mem::take(&mut self.queue().given);
        waiting.into_iter().map(|given| given.start).collect()
    }

    /// Tells whether a job waits for a slot here.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.queue().given.is_empty()
    }

    /// An engine panicked: no job begins until the curator has counted that, and lets the slots
    /// [go on](Self::go_on).
    pub(super) fn hold(&self) {
        self.queue().held += 1;
    }

    /// Lets slots take jobs again.
    pub(crate) fn go_on(&self) {
        let wakers: Vec<Waker> = {
            let mut queue = self.queue();
            queue.held = queue.held.saturating_sub(1);
            let woken = if queue.held == 0 { queue.given.len().min(queue.idle.len()) } else { 0 };
            let numbers = queue.idle.len() - woken;
            let idle = queue.idle.split_off(numbers);
            idle.into_iter().filter_map(|number| queue.wakers[number].take()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Lets no job begin any more, takes those out that wait, and calls every attempt off.
    pub(crate) fn release(&self) -> Vec<Arc<Start>> {
        let waiting = {
            let mut queue = self.queue();
            self.stopping.store(true, Ordering::Release);
            std::mem::take(&mut queue.given)
        };
        let now = self.clock.now();
        self.pick(|_| true).iter().for_each(|attempt| attempt.call_off(now));
        waiting.into_iter().map(|given| given.start).collect()
    }

    /// Aborts every attempt. An attempt that blocks its thread is left behind.
    pub(crate) fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Release);
        self.abort();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    /// Begins a life of the agent; returns how many slots it is to open at once.
    pub(super) fn begin_life(&self) -> usize {
        let mut queue = self.queue();
        queue.held = 0;
        queue.open = queue.given.len().min(self.concurrency);
        queue.open
    }

    /// Ends a life of the agent: its slots take nothing more. Jobs that wait stay for the next life.
    pub(super) fn end_life(&self) {
        self.table().iter().for_each(|slot| slot.retired.store(true, Ordering::Release));
        let mut queue = self.queue();
        (queue.open, queue.idle, queue.wakers) = (0, Vec::new(), Vec::new());
        drop(queue);
        self.abort();
    }

    /// Opens a slot, unless there are as many as the agent may have: the life before may have been asked.
    pub(super) fn open(&self) -> Option<Arc<Slot>> {
        let number = {
            let mut queue = self.queue();
            if queue.wakers.len() == self.concurrency {
                return None;
            }
            queue.wakers.push(None);
            queue.wakers.len() - 1
        };
        Some(self.enter(number))
    }

    /// Opens room for one attempt that takes no slot.
    pub(super) fn open_beside(&self) -> Arc<Slot> {
        self.enter(usize::MAX)
    }

    fn enter(&self, number: usize) -> Arc<Slot> {
        let (attempt, task, retired) = (Mutex::default(), OnceLock::new(), AtomicBool::new(false));
        let slot = Arc::new(Slot { number, attempt, task, retired });
        self.table().push(Arc::clone(&slot));
        slot
    }

    /// Closes a slot: its task has ended.
    pub(super) fn close(&self, slot: &Arc<Slot>) {
        self.table().retain(|other| !Arc::ptr_eq(other, slot));
    }

    /// Takes the next job of the queue into a slot, or has the slot woken for one. Cancel safe.
    pub(super) fn poll_next(
        self: &Arc<Self>,
        slot: &Slot,
        task: &Context<'_>,
    ) -> Poll<(Arc<Attempt>, Given)> {
        let mut place = slot.lock();
        let mut queue = self.queue();
        if slot.retired.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let next = if queue.held == 0 { queue.given.pop_front() } else { None };
        let Some(given) = next else {
            if queue.wakers[slot.number].replace(task.waker().clone()).is_none() {
                queue.idle.push(slot.number);
            }
            return Poll::Pending;
        };
        if queue.wakers[slot.number].take().is_some() {
            // It came by itself, before anybody woke it.
            queue.idle.retain(|number| *number != slot.number);
        }
        drop(queue);
        let attempt = Arc::new(Attempt::new(Arc::clone(&given.start), Arc::clone(self)));
        *place = Some(Arc::clone(&attempt));
        Poll::Ready((attempt, given))
    }

    /// Begins an attempt in a slot that takes none from the queue.
    pub(super) fn fill(self: &Arc<Self>, slot: &Slot, start: Arc<Start>) -> Arc<Attempt> {
        let attempt = Arc::new(Attempt::new(start, Arc::clone(self)));
        *slot.lock() = Some(Arc::clone(&attempt));
        attempt
    }

    /// Frees a slot: the owner of its attempt has ended.
    pub(super) fn free(&self, slot: &Slot) {
        let mut place = slot.lock();
        let Some(attempt) = place.take() else { return };
        if !attempt.release_last() {
            let mut lingering = self.lingering();
            if !attempt.release_one() {
                self.present.raise();
                lingering.push(Arc::clone(&attempt));
            }
        }
        // Inputs may be dropped with it, and they are the user's: not under the lock.
        drop(place);
    }

    /// Something of an attempt has ended beside its owner.
    pub(super) fn end_presence(&self, attempt: &Arc<Attempt>) {
        let mut lingering = self.lingering();
        if attempt.release_one() {
            lingering.retain(|other| !Arc::ptr_eq(other, attempt));
            drop(lingering);
            self.present.lower();
        }
    }

    /// Counts a slot as busy until this is dropped.
    pub(super) fn occupy(&self) -> impl Drop + Send + use<'_> {
        self.present.raise();
        Occupied(&self.present)
    }

    /// Lists the present attempts that `picks` takes, in no order.
    pub(crate) fn pick(&self, picks: impl Fn(&Attempt) -> bool) -> Vec<Arc<Attempt>> {
        let mut picked = Vec::new();
        for slot in self.table().iter() {
            let place = slot.lock();
            picked.extend(place.iter().filter(|attempt| picks(attempt)).cloned());
        }
        for attempt in self.lingering().iter().filter(|attempt| picks(attempt)) {
            // It may have left its slot since that was looked at.
            if !picked.iter().any(|other| Arc::ptr_eq(other, attempt)) {
                picked.push(Arc::clone(attempt));
            }
        }
        picked
    }

    fn abort(&self) {
        let slots = self.table().clone();
        slots.iter().for_each(|slot| slot.abort());
    }

    fn table(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        lock(&self.table)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    fn lingering(&self) -> MutexGuard<'_, Vec<Arc<Attempt>>> {
        lock(&self.lingering)
    }
}

impl Slot {
    /// Names the task that fills the slot.
    pub(super) fn run_by(&self, task: AbortHandle) {
        let first = self.task.set(task).is_ok();
        debug_assert!(first, "a slot has one task");
    }

    /// Aborts the task at its next await.
    pub(super) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Attempt>>> {
        lock(&self.attempt)
    }
}

/// Every change leaves a list whole: nothing under the locks can panic.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Occupied<'a>(&'a Hold);

impl Drop for Occupied<'_> {
    fn drop(&mut self) {
        self.0.lower();
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("agent", &self.agent)
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}

/// The running attempts of a runtime: the slots of all its agents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts {
    agents: Arc<[Arc<Slots>]>,
    looks: Arc<Looks>,
}

impl Attempts {
    pub(crate) fn new(agents: impl IntoIterator<Item = Arc<Slots>>, looks: Arc<Looks>) -> Self {
        Self { agents: agents.into_iter().collect(), looks }
    }

    /// Returns the slots of each agent, in registration order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Arc<Slots>> {
        self.agents.iter()
    }

    /// Lists all of them, the longest running first.
    pub(crate) fn all(&self) -> Vec<Arc<Attempt>> {
        let mut present = self.pick(|_| true);
        present.sort_by_key(|attempt| attempt.began);
        present
    }

    /// Lists those that `picks` takes, in no order.
    pub(crate) fn pick(&self, picks: impl Fn(&Attempt) -> bool) -> Vec<Arc<Attempt>> {
        self.agents.iter().flat_map(|slots| slots.pick(&picks)).collect()
    }

    /// Lets no other begin, calls all of them off, and returns the jobs that waited for a slot.
    pub(crate) fn release(&self) -> Vec<Arc<Start>> {
        self.agents.iter().flat_map(|slots| slots.release()).collect()
    }

    /// Aborts all of them.
    pub(crate) fn cut_off(&self) {
        self.agents.iter().for_each(|slots| slots.cut_off());
    }

    /// Counts one more look at what is being polled, and returns it.
    pub(crate) fn look(&self) -> u64 {
        self.looks.look()
    }

    /// Waits until nothing runs. Cancel safe.
    pub(crate) async fn none(&self) {
        while let Some(slots) = self.agents.iter().find(|slots| slots.present.count() > 0) {
            slots.present.free().await;
        }
    }

    /// Tells whether an attempt is in a protected section.
    pub(crate) fn has_protected(&self) -> bool {
        !self.pick(Attempt::is_protected).is_empty()
    }

    /// Waits until no attempt is in a protected section. Cancel safe.
    pub(crate) async fn none_protected(&self) {
        while let Some(attempt) = self.pick(Attempt::is_protected).first() {
            attempt.unprotected().await;
        }
    }
}

#[cfg(test)]
impl Attempts {
    /// The slots of the first agent.
    pub(super) fn only(&self) -> &Arc<Slots> {
        &self.agents[0]
    }
}
