//! Snapshots of the board: the claims that wait and why, the attempts that run, the states of agents.
//!
//! Pure: no I/O, no clock.

use super::Board;
use super::agent::Agent;
use super::job::{JobIds, JobState};
use super::ready::Ready;
use crate::claim::LogEntry;
use crate::collect::Entry;
use crate::id::{AgentIndex, AgentName, JobId, Offset, RunId, SubscriptionIndex};
use crate::outcome::{Quarantine, Tally, Waiting, WaitingReason};
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
    /// Inputs that are in the log only, because there is no room for its jobs in memory.
    pub spilled: u64,
    /// Whether those cannot be read, because the store is damaged there. They wait until the agent is
    /// resumed.
    pub stuck: bool,
    /// Keys under which inputs of its joins wait; `None` for an agent without a join.
    pub joins: Option<u64>,
    /// Jobs that ended in the curator's present life, whatever their outcome.
    pub ended: u64,
    /// Whether it is paused.
    pub paused: bool,
    /// Its quarantine, if it is in one.
    pub quarantine: Option<Quarantine>,
    /// Engines that panicked or could not be made.
    pub restarts: u64,
    /// Attempts that are being cancelled; they count as running, too.
    pub cancelling: u32,
    /// When the attempt was started that runs longest.
    pub oldest_running: Option<Timestamp>,
    /// Outcomes over all of its subscriptions, in the curator's present life.
    pub tally: Tally,
}

/// Whether an agent is given jobs, and how many wait for it in memory. No job is visited for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentStanding {
    /// The agent's name.
    pub name: AgentName,
    /// Complete sets of inputs that wait for a slot.
    pub queued: usize,
    /// Whether it is paused.
    pub paused: bool,
    /// Its quarantine, if it is in one.
    pub quarantine: Option<Quarantine>,
    /// As [`AgentStatus::stuck`], with how many inputs wait for that.
    pub stuck: Option<u64>,
}

/// One running attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningJob {
    /// The job.
    pub job: JobId,
    /// Its agent.
    pub agent: AgentName,
    /// The run of its outputs.
    pub run: RunId,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// When it was started.
    pub since: Timestamp,
    /// How it stands.
    pub state: RunningState,
    /// When its engine last reported progress, or was called; `None` when it was not called yet, or its agent
    /// does not answer. The board does not know it.
    pub last_progress: Option<Timestamp>,
    /// The last note of its engine. The board does not know it.
    pub note: Option<String>,
}

/// How a running attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunningState {
    /// It runs.
    Running,
    /// It was asked to end and has not yet: its run was cancelled, it timed out, or the runtime is stopping.
    /// The board knows only the first of these.
    Cancelling {
        /// When it was asked.
        since: Timestamp,
    },
}

/// The claims of an agent that are in the log only.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InLog {
    /// The agent.
    pub agent: AgentIndex,
    /// Its name.
    pub name: AgentName,
    /// Its subscriptions, each with its number among the agent's.
    pub subscriptions: Vec<(SubscriptionIndex, u32)>,
    /// Claims behind this place are in the log only.
    pub after: Offset,
    /// Jobs of the agent that are in memory and go before them.
    pub jobs: u64,
}

impl InLog {
    /// Returns what an artifact that was read from the log waits for: the agent, once for each claim of it.
    pub fn waiting<'a>(&'a self, published: &'a LogEntry) -> impl Iterator<Item = Waiting> + 'a {
        published.claims.iter().filter_map(|claim| {
            let own = self.subscriptions.iter().find(|(index, _)| *index == claim.subscription);
            own.map(|(_, ordinal)| Waiting {
                offset: published.offset,
                run: published.run,
                agent: self.name.clone(),
                subscription: *ordinal,
                since: published.at,
                reason: WaitingReason::InLog { behind: self.jobs },
            })
        })
    }
}

impl Board {
    /// Lists the jobs that agents have, the oldest first. Of an agent that was given more than it has slots,
    /// the last ones have not begun.
    #[must_use]
    pub fn running(&self) -> Vec<RunningJob> {
        let running = self.jobs.values().filter(|job| job.state == JobState::Running);
        let listed = running.filter_map(|job| {
            let JobIds { job: id, run } = job.ids?;
            let state = match job.cancelling {
                Some(since) => RunningState::Cancelling { since },
                None => RunningState::Running,
            };
            Some(RunningJob {
                job: id,
                agent: self.agents[job.agent.at()].name.clone(),
                run,
                attempt: job.attempt,
                since: job.since,
                state,
                last_progress: None,
                note: None,
            })
        });
        let mut listed: Vec<RunningJob> = listed.collect();
        listed.sort_unstable_by_key(|running| (running.since, running.job));
        listed
    }

    /// Lists artifacts that wait, with their reasons, in no order that matters.
    #[must_use]
    pub fn waiting(&self, filter: &WaitingFilter) -> Vec<Waiting> {
        let mut found = Vec::new();
        let limit = filter.limit.unwrap_or(usize::MAX);
        let run = filter.run.map(|run| self.run_index(run));
        self.visit_waiting(&mut |index, entry, reason| {
            let subscription = &self.subscriptions[index.at()];
            let wanted = run.is_none_or(|run| run == Some(entry.run))
                && filter.agent.is_none_or(|agent| subscription.agent == agent);
            if wanted
                && found.len() < limit
                && let Some(run) = self.runs.get(entry.run)
            {
                found.push(Waiting {
                    offset: entry.offset,
                    run: run.id,
                    agent: self.agents[subscription.agent.at()].name.clone(),
                    subscription: subscription.ordinal,
                    since: entry.at,
                    reason,
                });
            }
        });
        found
    }

    /// Returns where each agent's claims that are in the log only begin: the agent, its subscriptions, the
    /// place behind which they lie, and how many jobs of the agent go before them.
    #[must_use]
    pub fn in_log(&self) -> Vec<InLog> {
        let behind = self.agent_indices().filter(|agent| self.agents[agent.at()].reading.is_behind());
        behind
            .map(|agent| InLog {
                agent,
                name: self.agents[agent.at()].name.clone(),
                subscriptions: self
                    .subscriptions_of(agent)
                    .map(|index| (index, self.subscriptions[index.at()].ordinal))
                    .collect(),
                after: self.agents[agent.at()].reading.taken(),
                jobs: self.jobs_in_memory(agent) as u64,
            })
            .collect()
    }

    /// Returns how many attempts are running, over all agents; jobs whose failure is being written count as
    /// well.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        let out = |agent: &Agent| agent.queue.running() + agent.queue.burying();
        self.agents.iter().map(|agent| u64::from(out(agent))).sum()
    }

    /// Tells whether every agent is given jobs, in registration order. Costs the same however much waits.
    #[must_use]
    pub fn standings(&self) -> Vec<AgentStanding> {
        let standing = |agent: &Agent| AgentStanding {
            name: agent.name.clone(),
            queued: agent.queue.len() + agent.queue.excess() as usize,
            paused: agent.queue.is_paused(),
            quarantine: agent.queue.quarantine(),
            stuck: agent.reading.is_stuck().then(|| agent.reading.spilled()),
        };
        self.agents.iter().map(standing).collect()
    }

    /// Tells how every agent stands, in registration order. Looks at every job that waits in memory.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentStatus> {
        let mut attempts = vec![(0_u32, None::<Timestamp>); self.agents.len()];
        for job in self.jobs.values().filter(|job| job.state == JobState::Running) {
            let (cancelling, oldest) = &mut attempts[job.agent.at()];
            *cancelling += u32::from(job.cancelling.is_some());
            *oldest = Some(oldest.map_or(job.since, |oldest| oldest.min(job.since)));
        }
        let status = |((index, agent), (cancelling, oldest_running)): ((u32, &Agent), _)| {
            let (mut tally, mut joins) = (Tally::default(), None);
            for subscription in self.subscriptions.iter().filter(|s| s.agent == AgentIndex(index)) {
                tally += subscription.tally;
                if let Some(waiting) = subscription.collector.joins() {
                    *joins.get_or_insert(0) += waiting as u64;
                }
            }
            let excess = agent.queue.excess();
            AgentStatus {
                name: agent.name.clone(),
                running: agent.queue.running() - excess,
                queued: agent.queue.waiting().count() + excess as usize,
                oldest_queued: agent.queue.waiting().filter_map(|ready| self.complete_since(ready)).min(),
                spilled: agent.reading.spilled(),
                stuck: agent.reading.is_stuck(),
                joins,
                ended: agent.ended,
                paused: agent.queue.is_paused(),
                quarantine: agent.queue.quarantine(),
                restarts: agent.restarts,
                cancelling,
                oldest_running,
                tally,
            }
        };
        (0..).zip(&self.agents).zip(attempts).map(status).collect()
    }

    fn complete_since(&self, ready: &Ready) -> Option<Timestamp> {
        self.jobs.get(ready.job)?.group.entries.iter().map(|entry| entry.at).max()
    }

    /// Returns one run's outcomes so far, if the board still knows the run.
    #[must_use]
    pub fn tally(&self, run: RunId) -> Option<Tally> {
        self.run(run).map(|state| state.tally)
    }

    /// Visits every artifact that waits. An input of several waiting pairs is visited for each.
    pub(super) fn visit_waiting(&self, visit: &mut dyn FnMut(SubscriptionIndex, &Entry, WaitingReason)) {
        for (index, subscription) in (0..).map(SubscriptionIndex).zip(&self.subscriptions) {
            subscription.collector.visit_waiting(&mut |entry, reason| visit(index, entry, reason));
        }
        for ((index, _), delayed) in &self.delayed {
            visit(*index, &delayed.entry, WaitingReason::NotVisibleUntil(delayed.opens));
        }
        for agent in &self.agents {
            let reason = match agent.queue.quarantine() {
                _ if agent.queue.is_paused() => WaitingReason::AgentPaused,
                Some(quarantine) => WaitingReason::AgentQuarantined(quarantine),
                None if self.halt.waits_for_lone_job() => WaitingReason::JobRunsAlone,
                None if !self.halt.lets_start() && agent.queue.has_slot() => WaitingReason::StoreUnavailable,
                None => WaitingReason::NoSlot,
            };
            for ready in agent.queue.front() {
                self.visit_ready(ready, &reason, visit);
            }
            for ((_, key), ready) in agent.queue.behind() {
                self.visit_ready(ready, &WaitingReason::BehindKey(key.clone()), visit);
            }
        }
        for agent in self.agent_indices() {
            self.visit_excess(agent, visit);
        }
        for job in self.jobs.values() {
            if let JobState::BackingOff(until) = job.state {
                let reason = match job.refusals {
                    0 => WaitingReason::BackOffUntil(until),
                    _ => WaitingReason::StoreUnavailable,
                };
                for entry in &job.group.entries {
                    visit(job.subscription, entry, reason.clone());
                }
            }
        }
    }

    /// Visits the inputs of jobs that an agent has and that wait for one of its slots: those that it was
    /// given last.
    fn visit_excess(
        &self,
        agent: AgentIndex,
        visit: &mut dyn FnMut(SubscriptionIndex, &Entry, WaitingReason),
    ) {
        let queue = &self.agents[agent.at()].queue;
        if queue.excess() == 0 {
            return;
        }
        let has = |job: &&super::Job| job.agent == agent && job.state == JobState::Running;
        let mut given: Vec<&super::Job> = self.jobs.values().filter(has).collect();
        given.sort_unstable_by_key(|job| (job.since, job.order));
        for job in given.into_iter().skip(queue.slots() as usize) {
            for entry in &job.group.entries {
                visit(job.subscription, entry, WaitingReason::NoSlot);
            }
        }
    }

    fn visit_ready(
        &self,
        ready: &Ready,
        reason: &WaitingReason,
        visit: &mut dyn FnMut(SubscriptionIndex, &Entry, WaitingReason),
    ) {
        let Some(job) = self.jobs.get(ready.job) else { return };
        for entry in &job.group.entries {
            visit(job.subscription, entry, reason.clone());
        }
    }
}
