//! Jobs from before: those that a restart left unfinished, and those of dead letters that are driven again.
//!
//! A redriven job takes the same way as a job that was read back, with its failures counted from 0. Pure: no
//! I/O, no clock.

use super::job::{Job, JobIds, JobState, Recorded, cuts};
use super::pairs::Progress;
use super::poison::{Precaution, Suspect};
use super::run::Motion;
use super::{Board, Effect};
use crate::collect::Group;
use crate::id::{Offset, RunId, SubscriptionIndex};
use crate::job::{Resumed, Start};
use crate::time::Timestamp;

impl Board {
    /// Restores the job of a dead letter. `dead` are those of its inputs that had been dead.
    ///
    /// In a run that was cancelled, and that the board still knows, it is cancelled like everything that
    /// comes later.
    pub(super) fn redrive(&mut self, resumed: Resumed, dead: &[Offset], effects: &mut Vec<Effect>) {
        if self.jobs.values().any(|job| job.id() == Some(resumed.start.job)) {
            return;
        }
        let index = resumed.start.subscription;
        // Claims that an earlier life counted as dead are not in these counts; then they are matched anew.
        for input in resumed.inputs.iter().filter(|input| dead.contains(&input.offset)) {
            self.subscriptions[index.at()].tally.revive();
            if let Some(run) = self.run_mut(input.run) {
                run.tally.revive();
            }
        }
        let runs: Vec<RunId> = resumed.inputs.iter().map(|input| input.run).collect();
        self.resume_job(resumed, self.now);
        for run in runs {
            let Some(index) = self.run_index(run) else { continue };
            if self.runs.get(index).is_some_and(|run| run.cancelled) {
                self.cancel_run(run, effects);
            }
            self.touch_run(index);
        }
    }

    /// Restores a job that was started before a restart; a pair is restored when it forms again.
    pub(super) fn resume_job(&mut self, resumed: Resumed, now: Timestamp) {
        let Resumed { start, inputs, failures, until, interruptions, deaths_alone } = resumed;
        let until = until.filter(|until| *until > now);
        let precaution = Precaution::after(interruptions, deaths_alone);
        let Start { job, run, attempt, .. } = start;
        let ids = JobIds { job, run };
        let progress = Progress { ids, attempts: attempt, failures, until, precaution };
        let index = start.subscription;
        if start.shared {
            let inputs = start.members.iter().map(|member| member.offset).collect();
            self.subscriptions[index.at()].pairs.resume(inputs, progress);
            return;
        }
        let mut entries = Vec::with_capacity(inputs.len());
        for input in &inputs {
            self.subscriptions[index.at()].tally.matched += 1;
            self.outstanding += 1;
            // Others of the run may be in the log.
            let run = self.run_known(input.run, &input.workflow, false);
            if let Some(run) = self.runs.get_mut(run) {
                run.count_claim();
            }
            if let Some(claim) = input.claims.first() {
                entries.push(self.entry(input, claim, run));
            }
        }
        let group = Group {
            entries: entries.into(),
            cuts: cuts(&start.members),
            closed: start.closed,
            shared: false,
            key: start.observed.and_then(|observed| observed.key),
        };
        self.restore_job(index, group, progress);
    }

    /// Queues a job that was started before a restart, or lets it wait for the end of its back-off.
    pub(super) fn restore_job(&mut self, subscription: SubscriptionIndex, group: Group, progress: Progress) {
        let agent = self.subscriptions[subscription.at()].agent;
        self.completed += 1;
        let job = Job {
            ids: Some(progress.ids),
            attempt: progress.attempts,
            failures: progress.failures,
            state: progress.until.map_or(JobState::Queued, JobState::BackingOff),
            recorded: Recorded::Yes,
            ..Job::new(agent, subscription, group, (self.completed, self.now))
        };
        let (runs, lane) = (job.runs.clone(), job.lane());
        let index = self.jobs.insert(job);
        self.poison.add(Suspect { index, job: progress.ids.job }, progress.precaution);
        let Some(until) = progress.until else { return self.enqueue(index) };
        if lane.is_some_and(|lane| !self.agents[agent.at()].queue.hold_lane(lane)) {
            // Pairs may form in another order than before when the visibility of an input was delayed; then
            // one that is new has taken the lane, and this one waits behind it instead of for its time.
            if let Some(job) = self.jobs.get_mut(index) {
                job.state = JobState::Queued;
            }
            return self.enqueue(index);
        }
        self.begin_back_off(agent, index, until);
        for run in runs.iter() {
            self.count(run, Motion::Job, 1);
        }
    }
}
