//! Poison jobs: jobs that were running when the process died, which start alone, or are given up.
//!
//! A payload that aborts or exhausts the process would take down the jobs that run beside it, again and
//! again. A job that was interrupted twice therefore runs alone: it waits until no attempt is in flight, and
//! no other job starts until its attempt has ended. Such jobs go before all others, one after the other, so
//! that innocent ones which merely were in flight are done soon. A job that has died alone three times is
//! given up. An attempt that ends, or is handed back, changes nothing about the others. Pure: no I/O, no
//! clock.

use super::job::{Job, JobState};
use super::{Board, Effect};
use crate::id::{JobId, JobIndex};
use crate::outcome::Burial;

/// Interruptions after which a job runs alone. The first may have any cause: a deployment that killed, a
/// machine that failed.
const INTERRUPTIONS_MAX: u32 = 2;

/// Deaths alone after which a job is given up. With nothing beside it, chance is a bad explanation for three.
const DEATHS_MAX: u32 = 3;

/// How a job is run after its interruptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Precaution {
    /// Beside others.
    #[default]
    None,
    /// With nothing else in flight.
    Alone,
    /// Not at all: the process died so often while it ran alone.
    GiveUp(u32),
}

impl Precaution {
    pub(super) fn after(interruptions: u32, deaths_alone: u32) -> Self {
        match (interruptions, deaths_alone) {
            (_, deaths) if deaths >= DEATHS_MAX => Self::GiveUp(deaths),
            (interruptions, _) if interruptions >= INTERRUPTIONS_MAX => Self::Alone,
            _ => Self::None,
        }
    }
}

/// The poison jobs of a board.
#[derive(Debug, Default)]
pub(super) struct PoisonJobs {
    /// In the order in which they came back.
    jobs: Vec<(Suspect, Precaution)>,
    /// The last one that was started alone.
    started: Option<Suspect>,
}

/// A job that came back, by its place on the board; another may have that by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) index: JobIndex,
    pub(super) job: JobId,
}

impl PoisonJobs {
    pub(super) fn add(&mut self, suspect: Suspect, precaution: Precaution) {
        if precaution != Precaution::None {
            self.jobs.push((suspect, precaution));
        }
    }

    pub(super) fn runs_alone(&self, job: JobId) -> bool {
        self.started.is_some_and(|started| started.job == job)
    }
}

impl Board {
    /// Gives up poison jobs, and starts one alone. Tells whether others may start.
    pub(super) fn others_may_start(&mut self, effects: &mut Vec<Effect>) -> bool {
        if self.poison.jobs.is_empty() || !self.halt.lets_start() {
            return true;
        }
        let mut jobs = std::mem::take(&mut self.poison.jobs);
        jobs.retain(|(suspect, _)| self.suspect(*suspect).is_some());
        for (suspect, precaution) in &jobs {
            if let Precaution::GiveUp(deaths) = precaution {
                self.give_up(*suspect, *deaths, effects);
            }
        }
        self.poison.jobs = jobs;
        let runs = |suspect| self.suspect(suspect).is_some_and(|job| job.state == JobState::Running);
        if self.poison.started.is_some_and(runs) {
            return false;
        }
        let next = self
            .poison
            .jobs
            .iter()
            .find(|(suspect, precaution)| *precaution == Precaution::Alone && self.is_at_front(*suspect));
        let Some((suspect, _)) = next.copied() else { return true };
        if self.attempts() == 0 {
            self.start_alone(suspect, effects);
        }
        false
    }

    fn suspect(&self, suspect: Suspect) -> Option<&Job> {
        self.jobs.get(suspect.index).filter(|job| job.id() == Some(suspect.job))
    }

    fn is_at_front(&self, suspect: Suspect) -> bool {
        self.suspect(suspect).is_some_and(|job| {
            let queue = &self.agents[job.agent.at()].queue;
            job.state == JobState::Queued && queue.takes_jobs() && queue.is_at_front(job.order)
        })
    }

    fn start_alone(&mut self, suspect: Suspect, effects: &mut Vec<Effect>) {
        let Some(job) = self.suspect(suspect) else { return };
        let (agent, order) = (job.agent, job.order);
        let Some(index) = self.agents[agent.at()].queue.pop_this(order) else { return };
        self.poison.started = Some(suspect);
        self.start(index, effects);
    }

    fn give_up(&mut self, suspect: Suspect, deaths: u32, effects: &mut Vec<Effect>) {
        let Some(job) = self.suspect(suspect).filter(|job| job.state == JobState::Queued) else { return };
        let agent = job.agent;
        if !self.agents[agent.at()].queue.takes_jobs() {
            return;
        }
        for taken in self.agents[agent.at()].queue.take_to_bury(suspect.index) {
            self.bury(taken, Burial::DiedAlone(deaths), effects);
        }
    }
}
