//! The lookout: finds attempts and agents that make no progress.
//!
//! This loop finds attempts that take longer than their agent expects, and agents whose oldest job has waited
//! for too long. The `sentry`, a thread, finds blocked worker threads, because a loop could not run then. The
//! lookout ends nothing and restarts nothing; it says what it finds (see `findings.rs`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use volery_blackboard::Timestamp;
use volery_blackboard::board::Board;

use super::periodic::{Loop, NextTick};
use crate::agent::Attempts;
use crate::clock::Clock;
use crate::fault::Fault;
use crate::finding::{Finding, FindingKind};
use crate::ingress::Ingress;

mod findings;
mod sentry;

pub(crate) use findings::Findings;
pub(super) use sentry::Sentry;
pub(crate) use sentry::SentryParts;

/// How long the curator may take to list the agents. It answers in milliseconds; a curator that does not is
/// being restarted, and then the next tick asks again.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Looks at the agents in `oldest_age`. The board counts all that waits to answer, so it is not asked at
/// every look; an age is found late by a tenth at most.
const LOOKS_AT_AGENTS: u32 = 10;

/// The parts that the lookout needs.
pub(super) struct Lookout {
    pub(super) period: Duration,
    pub(super) oldest_age: Duration,
    pub(super) attempts: Attempts,
    pub(super) findings: Arc<Findings>,
    pub(super) ingress: Arc<Ingress>,
    pub(super) clock: Clock,
    /// When the agents are looked at again.
    pub(super) agents_from: Timestamp,
}

impl Lookout {
    fn look_at_attempts(&self, now: Timestamp) {
        let overdue = self.attempts.pick(|attempt| attempt.overdue(now).is_some());
        let found = overdue.iter().filter_map(|attempt| {
            let (expected, since) = (attempt.overdue(now)?, attempt.began);
            let (agent, job, attempt) = (attempt.agent().clone(), attempt.start.job, attempt.start.attempt);
            Some(Finding::AttemptOverdue { agent, job, attempt, since, expected })
        });
        self.findings.replace(FindingKind::AttemptOverdue, found.collect());
    }

    async fn look_at_agents(&self, now: Timestamp) -> Result<(), Fault> {
        let agents = timeout(ANSWER_WITHIN, self.ingress.ask(Board::agents)).await??;
        let aging = agents.into_iter().filter_map(|agent| {
            let since = agent.oldest_queued?;
            (now.since(since) > self.oldest_age).then_some(Finding::AgentAging { agent: agent.name, since })
        });
        self.findings.replace(FindingKind::AgentAging, aging.collect());
        Ok(())
    }
}

impl Loop for Lookout {
    fn next(&self, _: Timestamp) -> NextTick {
        NextTick::Every(self.period)
    }

    async fn tick(&mut self) -> Result<(), Fault> {
        let now = self.clock.now();
        self.look_at_attempts(now);
        if now >= self.agents_from {
            self.agents_from = now.after(self.oldest_age / LOOKS_AT_AGENTS);
            self.look_at_agents(now).await?;
        }
        Ok(())
    }
}
