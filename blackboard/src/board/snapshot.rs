//! What the board shows of itself: who waits and why, who runs, how agents stand.
//!
//! Pure: no I/O, no clock.

use super::queue::Ready;
use super::{Board, JobState};
use crate::collect::Entry;
use crate::id::{AgentIndex, AgentName, RunId, SubscriptionIndex};
use crate::outcome::{Tally, Waiting, WaitingReason};
use crate::time::Timestamp;

/// Which waiting artifacts to list.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WaitingFilter {
    /// Only this run's.
    pub run: Option<RunId>,
    /// Only for this agent.
    pub agent: Option<AgentIndex>,
    /// At most this many.
    pub limit: Option<usize>,
}

/// How an agent stands. Counts begin with the curator's present life.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentStatus {
    /// The agent's name.
    pub name: AgentName,
    /// Attempts that are running.
    pub running: u32,
    /// Complete sets of inputs that wait for a slot.
    pub queued: usize,
    /// Since when the job waits that waits longest for the agent: its inputs are complete since then.
    pub oldest_queued: Option<Timestamp>,
    /// Jobs that ended in the curator's present life, whatever their outcome.
    pub ended: u64,
    /// Whether it is paused.
    pub paused: bool,
    /// Outcomes over all of its subscriptions, in the curator's present life.
    pub tally: Tally,
}

impl Board {
    /// Lists artifacts that wait, with their reasons, in no order that matters.
    #[must_use]
    pub fn waiting(&self, filter: &WaitingFilter) -> Vec<Waiting> {
        let mut found = Vec::new();
        let limit = filter.limit.unwrap_or(usize::MAX);
        self.visit_waiting(&mut |index, entry, reason| {
            let subscription = &self.subscriptions[index.at()];
            let wanted = filter.run.is_none_or(|run| entry.run == run)
                && filter.agent.is_none_or(|agent| subscription.agent == agent);
            if wanted && found.len() < limit {
                found.push(Waiting {
                    offset: entry.offset,
                    run: entry.run,
                    agent: self.agents[subscription.agent.at()].name.clone(),
                    subscription: subscription.ordinal,
                    since: entry.at,
                    reason,
                });
            }
        });
        found
    }

    /// Returns how many attempts are running, over all agents.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.agents.iter().map(|agent| u64::from(agent.queue.running())).sum()
    }

    /// Tells how every agent stands, in registration order.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentStatus> {
        let status = |(index, agent): (u32, &super::Agent)| {
            let mut tally = Tally::default();
            for subscription in self.subscriptions.iter().filter(|s| s.agent == AgentIndex(index)) {
                tally += subscription.tally;
            }
            AgentStatus {
                name: agent.name.clone(),
                running: agent.queue.running(),
                queued: agent.queue.waiting().count(),
                oldest_queued: agent.queue.waiting().filter_map(|ready| self.complete_since(ready)).min(),
                ended: agent.ended,
                paused: agent.queue.is_paused(),
                tally,
            }
        };
        (0..).zip(&self.agents).map(status).collect()
    }

    fn complete_since(&self, ready: &Ready) -> Option<Timestamp> {
        let complete = match ready {
            Ready::New { complete, .. } => complete,
            Ready::Again { job: id, .. } => &self.jobs.get(id)?.complete,
        };
        complete.entries.iter().map(|entry| entry.at).max()
    }

    /// Returns one run's outcomes so far, if the board still knows the run.
    #[must_use]
    pub fn tally(&self, run: RunId) -> Option<Tally> {
        self.runs.get(&run).map(|state| state.tally)
    }

    /// Visits every artifact that waits. An input of several waiting pairs is visited for each.
    pub(super) fn visit_waiting(&self, visit: &mut dyn FnMut(SubscriptionIndex, &Entry, WaitingReason)) {
        for (index, subscription) in (0..).map(SubscriptionIndex).zip(&self.subscriptions) {
            subscription.collector.visit_waiting(&mut |entry, reason| visit(index, entry, reason));
        }
        for ((opens, index, _), (entry, _)) in &self.delayed {
            visit(*index, entry, WaitingReason::NotVisibleUntil(*opens));
        }
        for agent in &self.agents {
            let reason = match () {
                () if agent.queue.is_paused() => WaitingReason::AgentPaused,
                () if (self.held || self.store_down) && agent.queue.has_slot() => {
                    WaitingReason::StoreUnavailable
                }
                () => WaitingReason::NoCredit,
            };
            for ready in agent.queue.front() {
                self.visit_ready(ready, &reason, visit);
            }
            for ((_, key), ready) in agent.queue.behind() {
                self.visit_ready(ready, &WaitingReason::BehindKey(key.clone()), visit);
            }
        }
        for job in self.jobs.values() {
            if let JobState::BackingOff(until) = job.state {
                for entry in &job.complete.entries {
                    visit(job.subscription, entry, WaitingReason::BackOffUntil(until));
                }
            }
        }
    }

    fn visit_ready(
        &self,
        ready: &Ready,
        reason: &WaitingReason,
        visit: &mut dyn FnMut(SubscriptionIndex, &Entry, WaitingReason),
    ) {
        let found = match ready {
            Ready::New { subscription, complete, .. } => Some((*subscription, complete)),
            Ready::Again { job: id, .. } => self.jobs.get(id).map(|job| (job.subscription, &job.complete)),
        };
        if let Some((subscription, complete)) = found {
            for entry in &complete.entries {
                visit(subscription, entry, reason.clone());
            }
        }
    }
}
