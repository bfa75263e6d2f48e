//! Halts: reasons for which no job of any agent may start.
//!
//! Pure: no I/O, no clock.

use super::waits::Closed;
use super::{Board, Effect};
use crate::id::AgentIndex;
use crate::job::WaitsFor;
use crate::time::Timestamp;

/// Why nothing may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HaltReason {
    /// The runtime is stopping or is being read back.
    Held,
    /// The store refuses writes.
    StoreDown,
    /// A job that has to run alone runs, or waits for the others to end.
    RunsAlone,
}

/// The reasons that hold now, and since when one of them has held.
#[derive(Debug, Default)]
pub(super) struct Halt {
    reasons: Vec<HaltReason>,
    since: Option<(Timestamp, WaitsFor)>,
}

impl Halt {
    fn has(&self, reason: HaltReason) -> bool {
        self.reasons.contains(&reason)
    }

    /// Tells whether jobs may start, as far as it does not depend on other jobs.
    pub(super) fn lets_start(&self) -> bool {
        !self.has(HaltReason::Held) && !self.has(HaltReason::StoreDown)
    }

    /// Tells whether jobs wait for one that has to run alone.
    pub(super) fn waits_for_lone_job(&self) -> bool {
        self.has(HaltReason::RunsAlone)
    }
}

impl Board {
    /// Nothing may start from now on.
    pub(super) fn halt(&mut self, reason: HaltReason) {
        let Halt { reasons, since } = &mut self.halt;
        let why = match reason {
            HaltReason::Held | HaltReason::StoreDown => WaitsFor::Store,
            HaltReason::RunsAlone => WaitsFor::Alone,
        };
        since.get_or_insert((self.now, why));
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }

    /// Nothing may start from now on, and what has been given to agents and has not begun is taken back.
    pub(super) fn halt_and_recall(&mut self, reason: HaltReason, effects: &mut Vec<Effect>) {
        self.halt(reason);
        for agent in self.agent_indices() {
            self.recall(agent, effects);
        }
    }

    /// Ends one reason. Until now nothing waited for a slot.
    pub(super) fn end_halt(&mut self, reason: HaltReason) {
        self.halt.reasons.retain(|other| *other != reason);
        let ended = if self.halt.lets_start() { self.halt.since.take() } else { None };
        for agent in &mut self.agents {
            agent.queue.restart_timeouts(self.now);
            if let Some((since, why)) = ended {
                agent.queue.note_closed(Closed { since, until: self.now, why });
            }
        }
        self.agent_indices().for_each(|agent| self.touch_agent(agent));
    }

    /// The last time that nothing of an agent could start; the present one if there is one.
    pub(super) fn closed(&self, agent: AgentIndex) -> Option<Closed> {
        let halted = self.halt.since.map(|(since, why)| Closed { since, until: self.now, why });
        halted.or_else(|| self.agents[agent.at()].queue.closed())
    }
}
