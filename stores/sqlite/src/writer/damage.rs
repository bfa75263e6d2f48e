//! Damage: records of unfinished jobs that are not what was written. They are set aside when the store is
//! opened.
//!
//! A job whose record is damaged ends: its inputs become claims that are damaged, and are read and discarded
//! like any of these. A pair of an every-pair join forms again instead, because its inputs may be part of
//! others, and so does a job whose inputs cannot be told.

use volery_blackboard::store::Damage;
use volery_blackboard::{Discard, SubscriptionIndex};

use super::tables::Tables;
use crate::block::{Claims, Inputs};
use crate::fault::Fault;
use crate::session::refused;

/// A job whose record is damaged.
#[derive(Debug)]
pub(super) struct Broken {
    /// The key of its block.
    pub(super) key: i64,
    /// For a record that is sound, but whose agent is not there although its subscription is.
    pub(super) number: Option<u64>,
    pub(super) inputs: Option<Inputs>,
}

impl Tables<'_> {
    /// Ends the jobs whose records are damaged, and notes whatever else was found damaged.
    pub(super) fn set_aside(&mut self) -> Result<(), Fault> {
        let broken = std::mem::take(&mut self.index.broken);
        let (mut damage, marks) = (self.session.all_notes()?.1, self.session.all_marks()?.1);
        damage.extend(marks);
        for job in broken {
            damage.push(self.set_job_aside(job)?);
        }
        self.session.shared.set_damage(damage);
        Ok(())
    }

    fn set_job_aside(&mut self, Broken { key, number, inputs }: Broken) -> Result<Damage, Fault> {
        let (what, cause) = ("the record of a job that was under way", "it is not what was written");
        let done = match inputs {
            Some(Inputs { sub, shared: false, members }) => {
                let why = Discard::Damaged(format!("{what} and took it is damaged: {cause}"));
                for member in members {
                    self.refuse(sub, member.offset.get(), &why)?;
                }
                "the job is over and its inputs are discarded"
            }
            Some(_) => "the pair forms again",
            None => "the job forms again",
        };
        // Written again, the block has sound records only.
        let jobs = self.index.started.change(&self.session.conn, key)?;
        if let Some(number) = number {
            jobs.take(number);
        }
        Ok(Damage { what: what.to_owned(), cause: cause.to_owned(), done: done.to_owned() })
    }

    /// Refuses a claim that is outstanding.
    fn refuse(&mut self, sub: i64, seq: u64, why: &Discard) -> Result<(), Fault> {
        let claims = self.index.claims.change(&self.session.conn, Claims::key(sub, seq))?;
        if claims.take(seq) {
            claims.put((sub, seq), &refused(SubscriptionIndex(0), why.clone()), None)?;
        }
        Ok(())
    }
}
