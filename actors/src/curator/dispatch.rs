//! Jobs on their way to agents: attempts are handed over, taken back, and cancelled.

use std::sync::Arc;

use volery_blackboard::input::Input;
use volery_blackboard::job::{Start, Verdict};
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Few, Write};
use volery_blackboard::{AgentIndex, JobId};

use super::actor::{Curator, TRY_AGAIN_AFTER};
use super::step::{Finished, Then};
use crate::agent::AgentMessage;
use crate::observer::ObservedAttempt;
use crate::supervision::SendRefusal;

impl Curator {
    /// Hands a job to its agent, with its inputs if the store has them at hand; one that is given up, without
    /// an attempt.
    pub(super) fn dispatch(&mut self, start: Arc<Start>, burial: Option<Burial>) {
        if burial.is_none() {
            self.parts.feed.tell_started(&start);
        }
        let agent = start.agent;
        let inputs = match start.members.as_ref() {
            [only] => self.parts.store.read(&[only.offset]),
            members => {
                self.offsets.extend(members.iter().map(|member| member.offset));
                let inputs = self.parts.store.read(&self.offsets);
                self.offsets.clear();
                inputs
            }
        };
        let epoch = self.epoch;
        let message = match burial {
            None => AgentMessage::Run { start, inputs, epoch },
            Some(why) => AgentMessage::Bury { start, inputs, epoch, why },
        };
        if let Err(error) = self.parts.agents[agent.at()].send(message) {
            let given = match error.message {
                AgentMessage::Run { start, .. } | AgentMessage::Bury { start, .. } => start,
                _ => return,
            };
            self.return_job(given, error.reason);
        }
    }

    /// An agent's actor takes no jobs, because it is between two lives: the job goes back, and its agent is
    /// tried again after a while. Others go on.
    fn return_job(&mut self, start: Arc<Start>, reason: SendRefusal) {
        let agent = self.parts.feed.name(start.agent);
        tracing::warn!(target: "volery::curator", job = %start.job, agent = %agent, %reason, "an agent cannot be given a job");
        self.handle(Input::AgentUnavailable { agent: start.agent, until: self.now.after(TRY_AGAIN_AFTER) });
        // Recorded, so that it is no interruption.
        let job = start.job;
        let finished = Finished {
            verdict: Verdict::Released,
            claims: Few::new(),
            error: Vec::new(),
            attempts: start.failures,
            observed: ObservedAttempt::default(),
            start,
        };
        self.write(Write::Release(job), Then::Finished(finished));
    }

    /// Tells an agent to cancel an attempt.
    pub(super) fn cancel(&self, agent: AgentIndex, job: JobId) {
        if let Err(error) = self.parts.agents[agent.at()].send(AgentMessage::Cancel(job)) {
            // An agent that has ended runs nothing; its attempts have handed their jobs back.
            tracing::debug!(target: "volery::curator", %job, reason = %error.reason, "agent cannot be told to cancel");
        }
    }
}
