//! Jobs that were running when the process died: who starts alone, and who is given up.
//!
//! A payload that aborts or exhausts the process would take down whatever runs beside it, again and again. A job that was
//! interrupted twice therefore runs alone: it waits until nothing is in flight, and nothing else starts until its attempt
//! has ended. Such jobs go before all others, one after the other, so that innocents which merely were in flight are done
//! soon. One that has died alone three times is given up. An attempt that ends, or is handed back, changes nothing about
//! the others. Pure: no I/O, no clock.

use std::sync::Arc;

use super::{Board, Effect, JobState};
use crate::id::JobId;
use crate::outcome::Burial;

/// Interruptions after which a job runs alone. The first may be anybody's: a deployment that killed, a machine that failed.
const INTERRUPTIONS_MAX: u32 = 2;

/// Deaths alone after which a job is given up. With nothing beside it, chance is a bad explanation for three.
const DEATHS_MAX: u32 = 3;

/// How a job is to be run after what it went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Care {
    /// Beside others.
    #[default]
    None,
    /// With nothing else in flight.
    Alone,
    /// No more: the process died so often while it ran alone.
    GiveUp(u32),
}

impl Care {
    pub(super) fn after(interruptions: u32, deaths_alone: u32) -> Self {
        match (interruptions, deaths_alone) {
            (_, deaths) if deaths >= DEATHS_MAX => Self::GiveUp(deaths),
            (interruptions, _) if interruptions >= INTERRUPTIONS_MAX => Self::Alone,
            _ => Self::None,
        }
    }
}

/// Jobs that need care.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// In the order in which they came back.
    jobs: Vec<(JobId, Care)>,
    /// The last one that was started alone.
    started: Option<JobId>,
    /// Others had to wait.
    pub(super) shut: bool,
}

impl Suspects {
    pub(super) fn add(&mut self, job: JobId, care: Care) {
        if care != Care::None {
            self.jobs.push((job, care));
        }
    }

    pub(super) fn runs_alone(&self, job: JobId) -> bool {
        self.started == Some(job)
    }
}

impl Board {
    /// Gives up and starts what needs care. Tells whether others may start.
    pub(super) fn others_may_start(&mut self, effects: &mut Vec<Effect>) -> bool {
        if self.suspects.jobs.is_empty() || !self.may_start() {
            return true;
        }
        let jobs = &self.jobs;
        self.suspects.jobs.retain(|(id, _)| jobs.contains_key(id));
        for (id, care) in self.suspects.jobs.clone() {
            if let Care::GiveUp(deaths) = care {
                self.give_up(id, deaths, effects);
            }
        }
        let runs = |id: JobId| self.jobs.get(&id).is_some_and(|job| job.state == JobState::Running);
        if self.suspects.started.is_some_and(runs) {
            return false;
        }
        let next = self.suspects.jobs.iter().find(|(id, care)| *care == Care::Alone && self.is_at_front(*id));
        let Some((id, _)) = next.copied() else { return true };
        if self.attempts() == 0 {
            self.start_alone(id, effects);
        }
        false
    }

    fn is_at_front(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| {
            let queue = &self.agents[job.agent.at()].queue;
            job.state == JobState::Queued && queue.takes_jobs() && queue.is_at_front(job.order)
        })
    }

    fn start_alone(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (agent, order) = (job.agent, job.order);
        let Some(ready) = self.agents[agent.at()].queue.pop_this(order) else { return };
        self.suspects.started = Some(id);
        if let Some(start) = self.start(agent, ready, JobState::Running) {
            effects.push(Effect::Start(Arc::new(start)));
        }
    }

    fn give_up(&mut self, id: JobId, deaths: u32, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.state == JobState::Queued) else { return };
        let agent = job.agent;
        if !self.agents[agent.at()].queue.takes_jobs() {
            return;
        }
        for (mut ready, leads_lane) in self.agents[agent.at()].queue.take_to_bury(id) {
            if leads_lane && let Some(lane) = self.lane_of(&ready) {
                self.agents[agent.at()].queue.leave_lane(&lane, self.now);
            }
            if !leads_lane {
                ready.come_to_front(self.now);
            }
            if let Some(start) = self.start(agent, ready, JobState::Burying) {
                effects.push(Effect::Bury { start: Arc::new(start), why: Burial::DiedAlone(deaths) });
            }
        }
    }
}
