//! Jobs on their way to agents: attempts are handed over, taken back, and cancelled.

use std::sync::Arc;

use volery_blackboard::input::Input;
use volery_blackboard::job::{Start, Verdict};
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::Few;
use volery_blackboard::{AgentIndex, JobId};

use super::actor::Curator;
use super::parts::AgentHandle;
use super::step::{Action, Finished};
use crate::agent::{AgentMessage, Given, Taken};
use crate::ingress::{AttemptEnd, Ended};
use crate::observer::ObservedAttempt;

impl Curator {
    /// Hands a job to its agent, with its inputs if the store has them at hand; one that is given up, without
    /// an attempt.
    pub(super) fn dispatch(&mut self, start: Arc<Start>, burial: Option<Burial>) {
        if burial.is_none() {
            self.parts.feed.tell_started(&start);
        }
        let agent = start.agent;
        let inputs = match &*start.members {
            [only] => self.parts.store.read(&[only.offset]),
            members => {
                self.offsets.extend(members.iter().map(|member| member.offset));
                let inputs = self.parts.store.read(&self.offsets);
                self.offsets.clear();
                inputs
            }
        };
        let epoch = self.epoch;
        let AgentHandle { slots, actor } = &self.parts.agents[agent.at()];
        let returned = match burial {
            None => match slots.give(Given { start, inputs, epoch }) {
                Taken::Yes => None,
                Taken::No(start) => Some(start),
                Taken::OpenSlot => {
                    if let Err(error) = actor.send(AgentMessage::OpenSlot) {
                        // The life that comes next opens a slot for each job that waits.
                        tracing::debug!(target: "volery::curator", reason = %error.reason, "an agent is between two lives");
                    }
                    None
                }
            },
            Some(why) => {
                let bury = AgentMessage::Bury { start: Arc::clone(&start), inputs, epoch, why };
                actor.send(bury).is_err().then_some(start)
            }
        };
        if let Some(start) = returned {
            self.return_job(start);
        }
    }

    /// The agent does not take the job, or not now: it goes back.
    fn return_job(&mut self, start: Arc<Start>) {
        let (claims, error, attempts) = (Few::new(), Vec::new(), start.failures);
        let (verdict, observed, is_short) = (Verdict::Released, ObservedAttempt::default(), false);
        self.release(Finished { start, verdict, claims, error, attempts, observed, is_short });
    }

    /// Takes back the jobs of an agent that have not begun.
    pub(super) fn recall(&mut self, agent: AgentIndex) {
        for start in self.parts.agents[agent.at()].slots.recall() {
            if self.board.is_start_noted(start.id()) {
                self.return_job(start);
            } else {
                self.plan(Action::Input(Input::StartRefused(start.id())));
            }
        }
    }

    /// Cancels an attempt, or a job that waits for its slot.
    pub(super) fn cancel(&self, agent: AgentIndex, job: JobId) {
        let slots = &self.parts.agents[agent.at()].slots;
        if let Some(start) = slots.cancel(job) {
            self.parts.ingress.ended(Ended::without_attempt(start, AttemptEnd::Cancelled));
        }
    }
}
