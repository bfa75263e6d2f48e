//! Slots: the table of an agent's running attempts, and all tables of a runtime for those who read them.
//!
//! The board knows which jobs should run; the slots know which attempts do, down to a function that still
//! blocks its thread. The agent's actor fills a slot; the attempt's owner frees it before it sends
//! the end.
//! The lookout and its sentry, the list of what runs and the stop read the tables without waiting for an
//! actor, and keep no attempt present.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use volery_blackboard::AgentName;
use volery_blackboard::job::Start;
use volery_observability::Metrics;

use super::attempt::Attempt;
use super::poll::Looks;
use crate::clock::Clock;
use crate::hold::Hold;

/// The slots of an agent, and what its engines reach from there.
pub(crate) struct Slots {
    pub(super) agent: AgentName,
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
    table: Mutex<Table>,
    present: Hold,
}

/// The parts that the slots of all agents share.
#[derive(Clone, Debug)]
pub(crate) struct Instruments {
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) looks: Arc<Looks>,
}

#[derive(Debug, Default)]
struct Table {
    /// One for each job that the board has given at once: the agent's concurrency, and those given up beside
    /// it. Made when first needed.
    slots: Vec<Slot>,
    /// The free ones; the last one that was freed is filled first.
    free: Vec<usize>,
    /// Attempts that have ended, and of which something goes on.
    lingering: Vec<Arc<Attempt>>,
}

/// Room for one attempt, with the task that runs it.
#[derive(Debug, Default)]
struct Slot {
    attempt: Option<Arc<Attempt>>,
    task: Option<AbortHandle>,
}

/// Which slot of its agent an attempt is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotNumber(usize);

impl Slots {
    pub(crate) fn new(
        agent: AgentName,
        concurrency: u32,
        expected: Option<Duration>,
        instruments: Instruments,
    ) -> Self {
        let Instruments { clock, metrics, looks } = instruments;
        let blocking = Semaphore::new((concurrency as usize).min(Semaphore::MAX_PERMITS));
        Self {
            agent,
            expected,
            clock,
            metrics,
            looks,
            children: TaskTracker::new(),
            blocking: Arc::new(blocking),
            table: Mutex::default(),
            present: Hold::default(),
        }
    }

    /// Begins an attempt in a free slot.
    pub(super) fn fill(self: &Arc<Self>, start: Arc<Start>) -> (Arc<Attempt>, SlotNumber) {
        let attempt = Arc::new(Attempt::new(start, Arc::clone(self)));
        self.present.raise();
        let mut table = self.lock();
        let number = table.free.pop().unwrap_or_else(|| {
            table.slots.push(Slot::default());
            table.slots.len() - 1
        });
        table.slots[number].attempt = Some(Arc::clone(&attempt));
        (attempt, SlotNumber(number))
    }

    /// Notes the task of the attempt that was begun last, unless it has ended already.
    pub(super) fn attach(&self, SlotNumber(number): SlotNumber, task: AbortHandle) {
        let slot = &mut self.lock().slots[number];
        if slot.attempt.is_some() {
            slot.task = Some(task);
        }
    }

    /// Frees a slot: the owner of its attempt has ended.
    pub(super) fn free(&self, SlotNumber(number): SlotNumber) {
        let (freed, gone) = {
            let mut table = self.lock();
            let freed = std::mem::take(&mut table.slots[number]);
            table.free.push(number);
            let gone = freed.attempt.as_ref().is_none_or(|attempt| attempt.release_one());
            if !gone {
                table.lingering.extend(freed.attempt.clone());
            }
            (freed, gone)
        };
        drop(freed);
        if gone {
            self.present.lower();
        }
    }

    /// Something of an attempt has ended beside its owner.
    pub(super) fn end_presence(&self, attempt: &Arc<Attempt>) {
        let gone = {
            let mut table = self.lock();
            let gone = attempt.release_one();
            if gone {
                table.lingering.retain(|lingering| !Arc::ptr_eq(lingering, attempt));
            }
            gone
        };
        if gone {
            self.present.lower();
        }
    }

    /// Aborts the task of every attempt.
    pub(super) fn abort(&self) {
        let tasks: Vec<AbortHandle> = self.lock().slots.iter().filter_map(|slot| slot.task.clone()).collect();
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Lists the present attempts that `picks` takes, in no order.
    pub(super) fn pick(&self, picks: impl Fn(&Attempt) -> bool) -> Vec<Arc<Attempt>> {
        let table = self.lock();
        let present = table.slots.iter().filter_map(|slot| slot.attempt.as_ref()).chain(&table.lingering);
        present.filter(|attempt| picks(attempt)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change leaves the table whole: nothing under the lock can panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
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
