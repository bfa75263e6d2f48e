//! The world's side of the log: what is written after the board has decided it, and read after that was
//! written.
//!
//! A lazy world writes and reads only when told to, so that everything the curator may do in between is
//! tried.

use std::collections::VecDeque;

use super::world::World;
use crate::effect::Effect;
use crate::input::Input;
use crate::outcome::Outcome;
use crate::store::conformance::block_on;
use crate::store::{Log as _, Write, Written};

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) lazy: bool,
    /// The board has not been told all that is committed: nothing may be read.
    pub(super) untold: u32,
    /// In the order in which the board gave them.
    pub(super) unwritten: VecDeque<Effect>,
    /// Questions whose turn to be read has come.
    asked: Vec<Effect>,
}

impl World {
    pub(super) fn lazy(mut self) -> Self {
        self.log.lazy = true;
        self
    }

    /// Writes and reads at once, as an idle curator does.
    pub(super) fn settle_up(&mut self) {
        if !self.is_concluded() {
            return;
        }
        if self.log.untold == 0 {
            self.recall();
        }
        if !self.log.lazy {
            self.settle_all();
        }
    }

    pub(super) fn settle_all(&mut self) {
        while self.log.untold == 0 && !(self.log.unwritten.is_empty() && self.log.asked.is_empty()) {
            self.write();
            self.read(false);
        }
    }

    /// Writes what the board has decided.
    pub(super) fn write(&mut self) {
        let mut answers = Vec::new();
        for effect in std::mem::take(&mut self.log.unwritten) {
            match effect {
                Effect::Settle(settled) => drop(self.try_commit(Write::Settle(settled))),
                Effect::CancelSpilled { run, behind } => {
                    let covered = |index, offset| {
                        let mut open = self.open.values().filter(|start| !start.shared);
                        open.any(|start| {
                            start.subscription == index && start.members.iter().any(|m| m.offset == offset)
                        })
                    };
                    let ends = |(index, offset)| {
                        let claim = &self.claims[&(index, offset)];
                        let lies_behind =
                            behind.iter().any(|(of, after)| *of == index && Some(offset) > *after);
                        claim.run == run && claim.outcome.is_none() && lies_behind && !covered(index, offset)
                    };
                    let ended: Vec<_> = self.claims.keys().copied().filter(|claim| ends(*claim)).collect();
                    let wanted = ended.len() as u64;
                    ended
                        .into_iter()
                        .for_each(|(index, offset)| self.record(index, offset, Outcome::Cancelled));
                    let Some(Written::Cancelled(cancelled)) =
                        self.try_commit(Write::CancelClaims { run, behind })
                    else {
                        panic!("claims can be cancelled")
                    };
                    assert_eq!(
                        cancelled.iter().map(|(_, count)| count).sum::<u64>(),
                        wanted,
                        "just these end"
                    );
                    answers.push(Input::SpilledCancelled { run, cancelled });
                }
                question => self.log.asked.push(question),
            }
        }
        self.board.written();
        let life = self.life;
        for answer in answers {
            if self.life == life {
                self.handle_at(answer, self.now);
            }
        }
    }

    /// Reads what the board has asked for; pages cannot be read when it `fails`.
    pub(super) fn read(&mut self, fails: bool) {
        let life = self.life;
        for question in std::mem::take(&mut self.log.asked) {
            if self.life != life {
                return;
            }
            let answer = match question {
                Effect::LoadPage(page) if fails => {
                    Input::PageFailed { agent: page.agent, ticket: page.ticket }
                }
                Effect::LoadPage(page) => {
                    let claims = self.store.claims(&page.subscriptions, Some(page.after), page.limit);
                    let claims = block_on(claims).expect("memory reads");
                    Input::PageLoaded { agent: page.agent, ticket: page.ticket, claims }
                }
                Effect::Recount { run, ticket } => {
                    let tally = block_on(self.store.tally(run)).expect("memory reads");
                    Input::Recounted { run, ticket, tally }
                }
                other => panic!("only questions are read: {other:?}"),
            };
            self.handle_at(answer, self.now);
        }
    }

    /// The loss of a crash: outcomes that were decided and not written.
    pub(super) fn lose_unwritten(&mut self) {
        self.log.asked.clear();
        for effect in std::mem::take(&mut self.log.unwritten) {
            if let Effect::Settle(settled) = effect {
                let claim = self.claims.get_mut(&(settled.subscription, settled.offset));
                claim.expect("only claims have outcomes").outcome = None;
                self.may_start_again(settled.subscription, settled.offset);
            }
        }
    }

    pub(super) fn backlog(&self) -> Vec<Input> {
        let backlog = block_on(self.store.backlog()).expect("memory reads");
        backlog.into_iter().map(Input::Backlog).collect()
    }
}
