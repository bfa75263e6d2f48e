//! A slot at work: its task, which runs one attempt after the other.
//!
//! The task is opened when a job waits and no slot is free, and waits for the next job from then on, until
//! the life of its agent ends. It keeps the memory of the engine's future from one call to the next.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use volery_blackboard::job::Start;
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Artifacts, Response};
use volery_blackboard::{AgentName, SubscriptionIndex};

use super::cell::EngineCell;
use super::engine::{Calls, Room};
use super::environment::Environment;
use super::execution::{Execution, bury, run};
use super::slots::Slot;

/// The engines of an agent's life, one for each subscription.
pub(super) struct Cells {
    /// The agent's first subscription; the others follow it.
    first: SubscriptionIndex,
    cells: Box<[Mutex<Arc<EngineCell>>]>,
}

impl Cells {
    pub(super) fn new(agent: &AgentName, first: SubscriptionIndex, calls: &[Calls]) -> Self {
        let cells = calls.iter().map(|calls| Mutex::new(Arc::new(EngineCell::new(agent, calls))));
        Self { first, cells: cells.collect() }
    }

    fn ordinal(&self, start: &Start) -> usize {
        (start.subscription.0 - self.first.0) as usize
    }

    /// Returns the cell of an engine, and the one before if that one's engine panicked and this is the first
    /// to come since.
    fn current(&self, ordinal: usize) -> (Arc<EngineCell>, Option<Arc<EngineCell>>) {
        // Nothing under the lock can panic.
        let mut cell = self.cells[ordinal].lock().unwrap_or_else(PoisonError::into_inner);
        if !cell.is_suspect() {
            return (Arc::clone(&cell), None);
        }
        let anew = Arc::new(cell.anew());
        let retired = std::mem::replace(&mut *cell, Arc::clone(&anew));
        (anew, Some(retired))
    }
}

/// Runs jobs in a slot until the task is aborted.
pub(super) async fn serve(environment: Arc<Environment>, cells: Arc<Cells>, slot: Arc<Slot>) {
    let slots = &environment.slots;
    let _closed = Closed { environment: &environment, slot: &slot };
    let mut rooms: Vec<Room> = Vec::new();
    rooms.resize_with(cells.cells.len(), Room::default);
    let mut busy = None;
    loop {
        let next = poll_fn(|task| {
            let next = slots.poll_next(&slot, task);
            if next.is_pending() {
                busy = None;
            } else if busy.is_none() {
                busy = Some(slots.occupy());
            }
            next
        });
        let (attempt, given) = next.await;
        if given.epoch != environment.services.ingress.epoch() {
            // A job that an earlier life of the curator sent has been started anew by this one.
            slots.free(&slot);
            continue;
        }
        let ordinal = cells.ordinal(&attempt.start);
        let execution = Execution::new(attempt, &environment, &slot);
        if slots.is_stopping() {
            drop(execution);
            continue;
        }
        let (cell, retired) = cells.current(ordinal);
        // Dropping an engine is code of the user.
        drop(retired);
        run(execution, given.inputs, &cell, &mut rooms[ordinal]).await;
        // Engines that never wait would keep the other tasks of the thread waiting.
        tokio::task::coop::consume_budget().await;
    }
}

/// Gives a job up beside the slots.
pub(super) async fn give_up(
    environment: Arc<Environment>,
    slot: Arc<Slot>,
    start: Arc<Start>,
    inputs: Response<Artifacts>,
    why: Burial,
) {
    let _closed = Closed { environment: &environment, slot: &slot };
    let _busy = environment.slots.occupy();
    let attempt = environment.slots.fill(&slot, start);
    let execution = Execution::new(attempt, &environment, &slot);
    if !environment.slots.is_stopping() {
        bury(execution, inputs, why).await;
    }
}

/// Closes a slot when its task ends, however that may be.
struct Closed<'a> {
    environment: &'a Environment,
    slot: &'a Arc<Slot>,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.environment.slots.close(self.slot);
    }
}
