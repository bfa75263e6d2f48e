//! The board's effects, made into steps of the next commit.
//!
//! Nothing is done here that the next commit could still refuse: a job whose start needs no record goes to
//! its agent at once, and everything else waits for its commit.

use std::sync::Arc;

use volery_blackboard::claim::Settled;
use volery_blackboard::effect::{Effect, RecordStart};
use volery_blackboard::store::Write;
use volery_blackboard::{AgentName, Discard, Outcome};

use super::actor::Curator;
use super::log::LogRead;
use super::step::{Action, Record, Then};
use crate::feed::Event;

impl Curator {
    pub(super) fn perform_effects(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Start { start, record: RecordStart::First } => {
                    self.starts_wait = true;
                    self.write(Write::Start(Arc::clone(&start)), Then::Started(start, None));
                }
                Effect::Start { start, record: RecordStart::Later } => {
                    self.record_soon();
                    // Not before the jobs whose starts come first.
                    if self.starts_wait {
                        self.plan(Action::Start(start));
                    } else {
                        self.dispatch(start, None);
                    }
                }
                Effect::Recall(agent) => self.recall(agent),
                Effect::Cancel { agent, job } => self.plan(Action::Cancel { agent, job }),
                Effect::Drop(job) => {
                    self.parts.observer.job_dropped(job, self.now);
                    self.write_record(Record::Job(job));
                }
                Effect::Settle(settled) => {
                    self.parts.observer.settled(&settled);
                    if let Outcome::Discarded(Discard::Damaged(cause)) = &settled.outcome {
                        self.log_damage(&settled, cause);
                    }
                    self.parts.feed.tell_settled(&settled);
                    self.write_record(Record::Claim(settled));
                }
                Effect::Settled(settled) => {
                    self.parts.observer.settled(&settled);
                    self.parts.feed.tell_settled(&settled);
                }
                Effect::Bury { start, why } => {
                    self.write(Write::Start(Arc::clone(&start)), Then::Started(start, Some(*why)));
                }
                Effect::JoinExpired(expired) => {
                    let observed = self.parts.observer.join_expired(*expired, self.now);
                    observed
                        .into_iter()
                        .for_each(|observed| self.plan(Action::Read(LogRead::Expired(observed))));
                }
                Effect::QuarantineLifted(agent) => self.note_resumed(agent),
                Effect::RunTimedOut { run, workflow } => self.note_timed_out(run, workflow),
                Effect::Quiescent { run, tally } => {
                    self.parts.observer.run_rests(run, &tally, self.committed.done.max(self.now));
                    self.quiescent.push((run, tally));
                }
                Effect::LoadPage(page) => self.plan(Action::Read(LogRead::Page(*page))),
                Effect::Recount { run, ticket } => {
                    self.plan(Action::Read(LogRead::Recount { run, ticket }));
                }
                Effect::CancelSpilled { run, behind } => {
                    self.write(Write::CancelClaims { run, behind }, Then::SpilledCancelled(run));
                }
                Effect::RunSettled { run, workflow, tally } => {
                    self.forget_run(run);
                    // Artifacts that were published beside an unclaimed one may have set it in motion again.
                    if self.board.tally(run).is_none_or(|now| now.outstanding() == 0) {
                        self.parts.observer.run_settled(run, &tally, self.committed.done.max(self.now));
                    }
                    self.parts.feed.tell(|| Event::RunSettled { run, workflow, tally });
                }
            }
        }
        self.effects = effects;
    }

    fn log_damage(&self, settled: &Settled, cause: &str) {
        let (run, offset) = (settled.run, settled.offset);
        let agent = self.parts.feed.owner(settled.subscription).map(|agent| self.parts.feed.name(agent));
        tracing::error!(
            target: "volery::curator", %run, %offset, agent = agent.as_ref().map(AgentName::as_str), cause,
            "an input is damaged in the store; it was discarded, and the others go on"
        );
    }
}
