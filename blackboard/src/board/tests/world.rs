//! A world around the board: a memory store, agents that finish when told, and every law checked after every
//! input.
//!
//! It stands where the curator stands: it commits first, tells the board then, and performs effects in order.
//! It can throw the board away and rebuild it from the store. It knows nothing about how collecting works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::log::Log;
use super::shapes::{at, name};
use crate::artifact::Artifact;
use crate::board::{Board, WaitingFilter};
use crate::body::Body;
use crate::claim::{Claim, LogEntry, Settled};
use crate::effect::{Effect, RecordStart};
use crate::id::{AgentIndex, AgentName, ArtifactId, JobId, Key, Offset, RunId, SubscriptionIndex};
use crate::input::Input;
use crate::job::{Start, Verdict};
use crate::kind::Kind;
use crate::outcome::{Burial, CloseReason, Outcome, Overdue, Quarantine};
use crate::store::conformance::block_on;
use crate::store::{
    Catalogue, Cursor, Death, Finish, JobEnd, Log as _, Memory, NewArtifact, Response, Stored, Unfinished,
    Write, Written,
};
use crate::subscription::Subscription;
use crate::time::Timestamp;

/// The constants of a world: agents by concurrency, and their subscriptions.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) agents: Vec<u32>,
    /// How many microseconds jobs of any agent may wait for a slot.
    pub(super) patience: Option<u64>,
    /// How many jobs an agent may have in memory.
    pub(super) window: Option<usize>,
    /// Agent and shape, in registration order.
    pub(super) subscriptions: Vec<(u32, Subscription)>,
    /// Subscriptions whose jobs complete by their newest input, so that first starts follow the log.
    pub(super) in_log_order: BTreeSet<u32>,
}

#[derive(Debug)]
pub(super) struct KnownClaim {
    pub(super) run: RunId,
    lane: Option<Key>,
    delayed: bool,
    pub(super) outcome: Option<Outcome>,
}

#[derive(Debug)]
pub(super) struct World {
    setup: Setup,
    pub(super) board: Board,
    pub(super) store: Memory,
    pub(super) now: Timestamp,
    published: u32,
    pub(super) claims: BTreeMap<(SubscriptionIndex, Offset), KnownClaim>,
    /// Starts that are not committed yet, in order.
    pub(super) fresh: Vec<Arc<Start>>,
    /// Running attempts whose start is committed.
    pub(super) running: BTreeMap<JobId, Arc<Start>>,
    /// Jobs that the store holds as unfinished, with the newest attempt.
    pub(super) open: BTreeMap<JobId, Arc<Start>>,
    /// Jobs that ended, with the members they had.
    pub(super) ended: BTreeMap<JobId, (Arc<Start>, Verdict)>,
    cancelling: BTreeSet<JobId>,
    /// Those of the fresh and running ones that waited too long.
    pub(super) buried: BTreeMap<JobId, Burial>,
    /// Agents in quarantine.
    quarantined: BTreeSet<AgentIndex>,
    cancelled: BTreeSet<RunId>,
    last_start: BTreeMap<SubscriptionIndex, Offset>,
    pub(super) runs: BTreeSet<RunId>,
    pinned: BTreeSet<RunId>,
    replaying: bool,
    restarted: bool,
    /// How many effects of the next input are still performed before the process crashes.
    pub(super) crash_after: Option<usize>,
    /// Counts crashes and restarts.
    pub(super) life: u32,
    /// Starts are recorded late, or never.
    late: bool,
    /// Attempts are short, so that agents are given more jobs than they have slots.
    brisk: bool,
    /// Jobs whose newest attempt is not recorded.
    unrecorded: BTreeMap<JobId, Arc<Start>>,
    recalls: Vec<AgentIndex>,
    pub(super) told: Vec<Effect>,
    pub(super) log: Log,
    /// Whether the board is given publications and ends of attempts together, as those of one commit.
    batches: bool,
    /// The effects of those that it has been given since it concluded last.
    taken: Option<Vec<Effect>>,
}

pub(super) fn run(number: u8) -> RunId {
    RunId::from_uuid(Uuid::from_u128(u128::from(number) + 1))
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let store = Memory::new();
        block_on(store.open(catalogue(&setup))).expect("memory opens");
        Self {
            board: board(&setup, false),
            setup,
            store,
            now: at(1_000_000),
            published: 0,
            claims: BTreeMap::new(),
            fresh: Vec::new(),
            running: BTreeMap::new(),
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            cancelling: BTreeSet::new(),
            buried: BTreeMap::new(),
            quarantined: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            last_start: BTreeMap::new(),
            runs: BTreeSet::new(),
            pinned: BTreeSet::new(),
            replaying: false,
            restarted: false,
            crash_after: None,
            life: 0,
            late: false,
            brisk: false,
            unrecorded: BTreeMap::new(),
            recalls: Vec::new(),
            told: Vec::new(),
            log: Log::default(),
            batches: false,
            taken: None,
        }
    }

    /// Has starts recorded late or never, and agents given jobs beyond their slots.
    pub(super) fn brisk(self, brisk: bool) -> Self {
        Self { board: board(&self.setup, brisk), late: brisk, brisk, ..self }
    }

    /// Has the board given publications and ends of attempts together, as those of one commit.
    pub(super) fn batched(self, batches: bool) -> Self {
        Self { batches, ..self }
    }

    pub(super) fn advance(&mut self, span: u64) {
        self.now = self.now.after(super::shapes::micros(span));
    }

    /// Ticks. A microsecond early, so that no tick and no publication ever fall on the same instant.
    pub(super) fn tick(&mut self) {
        self.handle_at(Input::Tick, self.now.before(super::shapes::micros(1)));
        self.settle_up();
    }

    pub(super) fn publish(&mut self, of: RunId, claims: Vec<Claim>) -> Offset {
        let publish = self.new_publish(of, claims);
        let stored = self.commit(Write::Publish(vec![publish.0].into()));
        self.offer(stored, vec![publish.1]).pop().expect("one artifact was published")
    }

    fn new_publish(&mut self, of: RunId, claims: Vec<Claim>) -> (NewArtifact, Arc<[Claim]>) {
        self.published += 1;
        let id = ArtifactId::from_uuid(Uuid::from_u128(u128::from(self.published)));
        let body = Body::typed(Arc::new(self.published));
        let artifact = Arc::new(Artifact::new(id, Kind::of::<u32>(), body, of, self.now));
        let claims: Arc<[Claim]> = claims.into();
        (NewArtifact { artifact, workflow: Arc::from("test"), claims: Arc::clone(&claims) }, claims)
    }

    /// Tells the board of what was published.
    fn offer(&mut self, stored: Vec<Stored>, claims: Vec<Arc<[Claim]>>) -> Vec<Offset> {
        let (mut offsets, mut inputs) = (Vec::new(), Vec::new());
        for (stored, claims) in stored.into_iter().zip(claims) {
            let Stored::New(artifact) = stored else { panic!("ids are fresh") };
            let (offset, of) = (artifact.offset(), artifact.run());
            self.runs.insert(of);
            for claim in claims.iter() {
                let delayed = claim.visible_at.is_some();
                let known = KnownClaim { run: of, lane: claim.lane.clone(), delayed, outcome: None };
                self.claims.insert((claim.subscription, offset), known);
            }
            offsets.push(offset);
            let workflow = Arc::from("test");
            let at = artifact.published_at();
            inputs.push(Input::Published(LogEntry { offset, run: of, workflow, at, claims }));
        }
        self.handle_in_this_life(inputs);
        offsets
    }

    pub(super) fn pin(&mut self, of: RunId) {
        self.pinned.insert(of);
        self.runs.insert(of);
        self.handle(Input::PinRun { run: of, workflow: Arc::from("test"), tally: None });
    }

    pub(super) fn release(&mut self, of: RunId) {
        self.pinned.remove(&of);
        self.handle(Input::ReleaseRun(of));
    }

    pub(super) fn cancel(&mut self, of: RunId) {
        if self.board.tally(of).is_some() {
            self.cancelled.insert(of);
        }
        self.handle(Input::CancelRun(of));
    }

    pub(super) fn quarantine(&mut self, agent: AgentIndex, resumes_at: Option<Timestamp>) {
        self.quarantined.insert(agent);
        let quarantine = Quarantine { since: self.now, restarts: 3, resumes_at };
        self.handle(Input::Restarted(agent));
        self.handle(Input::Quarantine { agent, quarantine });
    }

    /// A job that waited too long and could not be given up may start after others that were complete later.
    fn forgive_order(&mut self, lost: &[Arc<Start>]) {
        for start in lost.iter().filter(|start| self.buried.contains_key(&start.job)) {
            self.setup.in_log_order.remove(&start.subscription.0);
        }
        for start in lost {
            self.buried.remove(&start.job);
        }
    }

    /// The laws of jobs that waited too long.
    pub(super) fn overdue(&self) -> Vec<&Overdue> {
        let all = self.buried.values().filter_map(|why| match why {
            Burial::Overdue(overdue) => Some(overdue),
            Burial::DiedAlone(_) | Burial::EndRefused { .. } => None,
        });
        all.collect()
    }

    /// Commits the starts that wait for it.
    pub(super) fn commit_starts(&mut self) {
        for start in std::mem::take(&mut self.fresh) {
            self.commit(Write::Start(Arc::clone(&start)));
            let unrecorded = self.unrecorded.remove(&start.job).is_some();
            let first = self.open.insert(start.job, Arc::clone(&start)).is_none() && !unrecorded;
            if first && !self.buried.contains_key(&start.job) {
                self.check_first_start(&start);
            }
            self.running.insert(start.job, start);
        }
    }

    /// Refuses the starts that wait for being committed, as a store does that has become unavailable; `hold`
    /// tells whether it stays so.
    pub(super) fn refuse_starts(&mut self, hold: bool) {
        let refused = std::mem::take(&mut self.fresh);
        self.forgive_order(&refused);
        let refused = refused.iter().map(|start| Input::StartRefused(start.id()));
        let after = (!hold).then_some(Input::Unhold);
        let inputs = std::iter::once(Input::Hold).chain(refused).chain(after).collect();
        self.handle_in_this_life(inputs);
    }

    /// Refuses each start that waits for being committed by itself, as a store does that works otherwise.
    pub(super) fn defer_starts(&mut self) {
        let refused = std::mem::take(&mut self.fresh);
        for start in &refused {
            // Others of its subscription do not wait for it.
            self.setup.in_log_order.remove(&start.subscription.0);
            self.buried.remove(&start.job);
        }
        self.handle_in_this_life(refused.iter().map(|start| Input::StartDeferred(start.id())).collect());
    }

    /// Tells the board of these inputs, unless the process crashes before.
    fn handle_in_this_life(&mut self, inputs: Vec<Input>) {
        let life = self.life;
        self.log.untold += 1;
        for input in inputs {
            if self.life == life {
                self.handle(input);
            }
        }
        self.log.untold -= 1;
        self.settle_up();
    }

    /// Records the starts of all running jobs that are not recorded.
    pub(super) fn record_starts(&mut self) {
        let runs = |(job, _): &(&JobId, &Arc<Start>)| self.running.contains_key(*job);
        let starts: Vec<Arc<Start>> =
            self.unrecorded.iter().filter(runs).map(|(_, start)| Arc::clone(start)).collect();
        for start in &starts {
            self.commit(Write::Start(Arc::clone(start)));
            self.unrecorded.remove(&start.job);
            self.open.insert(start.job, Arc::clone(start));
        }
        self.handle_in_this_life(starts.iter().map(|start| Input::StartNoted(start.id())).collect());
    }

    /// A start that is not recorded has taken effect.
    fn start_unrecorded(&mut self, start: &Arc<Start>) {
        self.fresh.retain(|fresh| fresh.job != start.job);
        let before = self.unrecorded.insert(start.job, Arc::clone(start));
        if before.is_none() && !self.open.contains_key(&start.job) {
            self.check_first_start(start);
        }
        self.running.insert(start.job, Arc::clone(start));
    }

    /// A job may start once more as if it never had.
    fn forget_start(&mut self, start: &Start) {
        let newest = start.members.iter().map(|member| member.offset).max().unwrap_or_default();
        self.may_start_again(start.subscription, newest);
    }

    /// A job whose newest input lies at this place may start, whatever started before.
    pub(super) fn may_start_again(&mut self, index: SubscriptionIndex, newest: Offset) {
        let last = self.last_start.entry(index).or_default();
        *last = (*last).min(Offset::new(newest.get() - 1));
    }

    /// Takes back what agents were given beyond their slots.
    pub(super) fn recall(&mut self) {
        for agent in std::mem::take(&mut self.recalls) {
            let of_agent =
                |start: &&Arc<Start>| start.agent == agent && !self.buried.contains_key(&start.job);
            let mut given: Vec<Arc<Start>> = self.running.values().filter(of_agent).cloned().collect();
            given.sort_by_key(|start| start.members.iter().map(|member| member.offset).max());
            for start in given.split_off(given.len().min(self.setup.agents[agent.at()] as usize)) {
                if self.board.is_start_noted(start.id()) {
                    self.end(start.job, Verdict::Released, Vec::new());
                } else {
                    self.running.remove(&start.job);
                    self.unrecorded.remove(&start.job);
                    let attempt = start.attempt - 1;
                    if attempt > 0 {
                        self.unrecorded
                            .insert(start.job, Arc::new(Start { attempt, ..Start::clone(&start) }));
                    } else {
                        self.forget_start(&start);
                    }
                    self.cancelling.remove(&start.job);
                    self.handle(Input::StartRefused(start.id()));
                }
            }
        }
    }

    /// Ends a running attempt; `outputs` are published with a job that is done.
    pub(super) fn end(&mut self, job: JobId, verdict: Verdict, outputs: Vec<Vec<Claim>>) {
        self.commit_starts();
        let start = self.running.remove(&job).expect("only running jobs end");
        assert!(self.board.is_current(start.id()), "the board knows the attempt");
        let buried = self.buried.remove(&job).is_some();
        let verdict = match verdict {
            Verdict::Done | Verdict::Retry(_) if buried => Verdict::Dead,
            Verdict::Cancelled if !self.cancelling.contains(&job) => Verdict::Released,
            other => other,
        };
        let end = match verdict {
            Verdict::Done => Some(JobEnd::Done),
            Verdict::Dead => {
                let death = Death { attempts: start.attempt, error: Vec::new(), at: self.now };
                Some(JobEnd::Dead(Box::new(death)))
            }
            Verdict::Cancelled => Some(JobEnd::Cancelled),
            Verdict::Released => {
                if self.board.is_start_noted(start.id()) {
                    self.commit(Write::Release(job));
                }
                None
            }
            Verdict::Retry(until) => {
                let (failures, told) = (start.failures + 1, self.told_with(&start));
                let at = self.now;
                self.commit(Write::Retry { job, start: told, failures, until, at, error: Vec::new() });
                self.unrecorded.remove(&job);
                self.open.insert(job, Arc::clone(&start));
                None
            }
        };
        let life = self.life;
        self.log.untold += 1;
        if let Some(end) = end {
            self.finish(&start, end, verdict, outputs);
        }
        if self.life == life {
            let (attempt, is_short) = (start.id(), self.brisk);
            self.handle(Input::Finished { attempt, verdict, is_short });
        }
        self.log.untold -= 1;
        self.settle_up();
    }

    fn finish(&mut self, start: &Arc<Start>, end: JobEnd, verdict: Verdict, outputs: Vec<Vec<Claim>>) {
        let (publishes, claims): (Vec<_>, Vec<_>) =
            outputs.into_iter().map(|claims| self.new_publish(start.run, claims)).unzip();
        let (job, told) = (start.job, self.told_with(start));
        let stored = self.commit(Write::Finish(Finish { job, start: told, end, outputs: publishes.into() }));
        self.note_end(start, verdict);
        self.offer(stored, claims);
    }

    /// The start that the end of a job tells.
    fn told_with(&self, start: &Arc<Start>) -> Option<Arc<Start>> {
        (!self.board.is_start_recorded(start.id())).then(|| Arc::clone(start))
    }

    fn note_end(&mut self, start: &Arc<Start>, verdict: Verdict) {
        self.open.remove(&start.job);
        self.unrecorded.remove(&start.job);
        self.ended.insert(start.job, (Arc::clone(start), verdict));
        let outcome = match verdict {
            Verdict::Done => Outcome::Consumed,
            Verdict::Dead => Outcome::Dead,
            _ => Outcome::Cancelled,
        };
        if !start.shared {
            for member in &start.members {
                self.record(start.subscription, member.offset, outcome.clone());
            }
        }
    }

    pub(super) fn record(&mut self, index: SubscriptionIndex, offset: Offset, outcome: Outcome) {
        let claim = self.claims.get_mut(&(index, offset)).expect("only claims have outcomes");
        let before = claim.outcome.replace(outcome);
        assert_eq!(before, None, "{index:?} {offset} has one outcome only");
    }

    fn commit(&mut self, write: Write) -> Vec<Stored> {
        let text = format!("{write:?}");
        match self.try_commit(write) {
            Some(Written::Done(stored)) => stored.into_vec(),
            other => panic!("the store accepts {text}: {other:?}"),
        }
    }

    pub(super) fn try_commit(&mut self, write: Write) -> Option<Written> {
        let Response::Ready(result) = self.store.commit(vec![write]) else {
            panic!("memory answers at once")
        };
        result.expect("memory does not fail").pop()
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.handle_at(input, self.now);
        self.settle_up();
    }

    pub(super) fn handle_at(&mut self, input: Input, now: Timestamp) {
        let text = format!("{input:?}");
        if self.batches && matches!(input, Input::Published(_) | Input::Finished { .. }) {
            let taken = self.taken.get_or_insert_default();
            self.board.take(input, now, taken);
            return self.board.audit().unwrap_or_else(|error| panic!("after {text}: {error}"));
        }
        let mut effects = self.taken.take().unwrap_or_default();
        self.board.handle(input, now, &mut effects);
        self.perform_all(effects, &text);
    }

    /// Everything of a commit has been given to the board.
    pub(super) fn conclude(&mut self) {
        if let Some(mut effects) = self.taken.take() {
            self.board.conclude(&mut effects);
            self.perform_all(effects, "a batch");
            self.settle_up();
        }
    }

    pub(super) fn is_concluded(&self) -> bool {
        self.taken.is_none()
    }

    fn perform_all(&mut self, effects: Vec<Effect>, text: &str) {
        self.board.audit().unwrap_or_else(|error| panic!("after {text}: {error}"));
        for (standing, status) in self.board.standings().iter().zip(self.board.agents()) {
            let known = (standing.queued, standing.paused, standing.quarantine);
            assert_eq!(known, (status.queued, status.paused, status.quarantine), "{text}");
        }
        let mut quiescent = BTreeSet::new();
        for (number, effect) in effects.into_iter().enumerate() {
            if self.crash_after.is_some_and(|crash| crash == number) {
                return self.restart(3);
            }
            if let Effect::Quiescent { run, .. } = &effect {
                assert!(quiescent.insert(*run), "{run} comes to rest once per input: {text}");
            }
            self.perform(&effect);
            self.told.push(effect);
        }
        // The requests about a run are forgotten with the run.
        self.cancelled.retain(|run| self.board.tally(*run).is_some());
    }

    fn perform(&mut self, effect: &Effect) {
        match effect {
            Effect::Start { start, record } => {
                self.check_credit(start);
                self.begin(start);
                if *record == RecordStart::Later {
                    self.start_unrecorded(start);
                }
            }
            Effect::Recall(agent) => self.recalls.push(*agent),
            Effect::Bury { start, why } => {
                match &**why {
                    Burial::Overdue(overdue) => {
                        let patience = self.setup.patience.expect("somebody has to be in a hurry");
                        assert!(overdue.waited >= super::shapes::micros(patience), "{overdue:?}");
                    }
                    Burial::DiedAlone(times) => assert!(*times >= 3, "{times} deaths are not too many"),
                    Burial::EndRefused { .. } => panic!("the board cannot know that"),
                }
                let of_agent = |other: &&Arc<Start>| other.agent == start.agent;
                let buried = self.running.values().chain(&self.fresh).filter(of_agent);
                let buried = buried.filter(|other| self.buried.contains_key(&other.job)).count();
                assert!(buried < self.setup.agents[start.agent.at()] as usize, "burials are bounded");
                self.buried.insert(start.job, Burial::clone(why));
                self.begin(start);
            }
            Effect::QuarantineLifted(agent) => {
                assert!(self.quarantined.remove(agent), "only a quarantine that there is ends");
            }
            Effect::RunTimedOut { run, .. } => {
                assert!(self.replaying || self.outstanding(*run) > 0, "{run} is not settled");
                self.cancelled.insert(*run);
            }
            Effect::Cancel { agent, job } => {
                let start = self.running.get(job).or_else(|| self.fresh.iter().find(|s| s.job == *job));
                assert_eq!(start.expect("only running jobs are cancelled").agent, *agent);
                self.cancelling.insert(*job);
            }
            Effect::Drop(job) => {
                assert!(!self.running.contains_key(job), "running jobs are not dropped");
                let start = self.open.get(job).cloned().expect("only committed jobs are dropped");
                let end =
                    Finish { job: *job, start: None, end: JobEnd::Cancelled, outputs: Vec::new().into() };
                self.commit(Write::Finish(end));
                self.note_end(&start, Verdict::Cancelled);
            }
            Effect::Settle(settled) => {
                let covered = self.open.values().any(|start| !start.shared && covers(start, settled));
                assert!(!covered, "a job settles its inputs itself: {settled:?}");
                self.record(settled.subscription, settled.offset, settled.outcome.clone());
                self.log.unwritten.push_back(effect.clone());
            }
            Effect::Settled(settled) => {
                let claim = &self.claims[&(settled.subscription, settled.offset)];
                assert_eq!(claim.outcome.as_ref(), Some(&settled.outcome), "as committed: {settled:?}");
            }
            Effect::JoinExpired(expired) => {
                let first = expired.inputs.iter().map(|input| input.offset).min();
                assert!(first.is_some_and(|first| self.claims.contains_key(&(expired.subscription, first))));
            }
            Effect::LoadPage(_) | Effect::Recount { .. } | Effect::CancelSpilled { .. } => {
                self.log.unwritten.push_back(effect.clone());
            }
            Effect::Quiescent { run, tally } => {
                assert!(self.pinned.contains(run), "only runs with a handle are told of");
                self.check_rest(*run);
                assert_eq!(tally.outstanding(), self.outstanding(*run), "outstanding of {run}");
            }
            Effect::RunSettled { run, tally, .. } => {
                self.check_rest(*run);
                assert_eq!(tally.outstanding(), 0, "{run} is settled as far as the board knows");
                assert_eq!(self.outstanding(*run), 0, "{run} is settled");
                self.cancelled.remove(run);
            }
        }
    }

    fn check_credit(&self, start: &Arc<Start>) {
        let busy = self.running.values().chain(&self.fresh);
        let busy: Vec<_> = busy.filter(|other| !self.buried.contains_key(&other.job)).collect();
        let of_agent = busy.iter().filter(|other| other.agent == start.agent).count();
        let slots = self.setup.agents[start.agent.at()] as usize;
        assert!(self.brisk || of_agent < slots, "credit is kept: {start:?}");
        if let Some(lane) = self.lane(start) {
            let overlap = busy.iter().any(|other| self.lane(other) == Some(lane.clone()));
            assert!(!overlap, "jobs of one lane do not overlap: {start:?}");
        }
    }

    fn begin(&mut self, start: &Arc<Start>) {
        let job = start.job;
        let busy: Vec<_> = self.running.values().chain(&self.fresh).cloned().collect();
        assert!(busy.iter().all(|other| other.job != job), "a job runs once at a time: {start:?}");
        assert!(!self.has_finished(job), "a finished job does not run again: {start:?}");
        let beside = busy.iter().filter(|other| !self.buried.contains_key(&other.job)).collect::<Vec<_>>();
        let accompanied = start.alone || beside.iter().any(|other| other.alone);
        assert!(!accompanied || beside.is_empty(), "what runs alone runs alone: {start:?} beside {beside:?}");
        assert!(!self.quarantined.contains(&start.agent), "nothing of a quarantined agent starts: {start:?}");
        let of_runs: BTreeSet<RunId> =
            start.members.iter().map(|m| self.claims[&(start.subscription, m.offset)].run).collect();
        let cancelled = of_runs.len() == 1 && of_runs.is_subset(&self.cancelled);
        assert!(!cancelled, "nothing of a cancelled run starts: {start:?}");
        assert_eq!(start.opens_run, of_runs.len() > 1, "inputs of several runs open one");
        if let Some(before) = self.unrecorded.get(&job).or_else(|| self.open.get(&job)) {
            assert!(before.attempt < start.attempt, "attempts are numbered: {start:?}");
            assert_eq!(before.members, start.members, "a job keeps its inputs");
        } else {
            assert_eq!(start.attempt, 1, "the first attempt has the number 1: {start:?}");
        }
        self.fresh.push(Arc::clone(start));
    }

    /// A pair that was cancelled is not remembered over a restart, everything else that ended is.
    fn has_finished(&self, job: JobId) -> bool {
        let cancelled = |start: &Start, verdict: Verdict| start.shared && verdict == Verdict::Cancelled;
        self.ended.get(&job).is_some_and(|(start, verdict)| !cancelled(start, *verdict))
    }

    fn lane(&self, start: &Start) -> Option<(SubscriptionIndex, Key)> {
        let lane =
            |offset| self.claims.get(&(start.subscription, offset)).and_then(|claim| claim.lane.clone());
        let key = start.members.iter().find_map(|member| lane(member.offset))?;
        Some((start.subscription, key))
    }

    fn check_first_start(&mut self, start: &Start) {
        if !self.setup.in_log_order.contains(&start.subscription.0) {
            return;
        }
        let claim = |offset| &self.claims[&(start.subscription, offset)];
        if start.members.iter().any(|member| claim(member.offset).delayed) {
            return;
        }
        let newest = start.members.iter().map(|member| member.offset).max().unwrap_or_default();
        let last = self.last_start.entry(start.subscription).or_default();
        assert!(*last < newest, "jobs of a subscription start in log order: {start:?} after {last}");
        *last = newest;
    }

    fn check_rest(&self, of: RunId) {
        let moves = self.running.values().chain(&self.fresh).find(|start| {
            start.members.iter().any(|m| self.claims[&(start.subscription, m.offset)].run == of)
        });
        assert!(moves.is_none(), "nothing of {of} runs: {moves:?}");
    }

    fn outstanding(&self, of: RunId) -> u64 {
        self.claims.values().filter(|claim| claim.run == of && claim.outcome.is_none()).count() as u64
    }

    /// Ends the life of the process: what runs is interrupted.
    pub(super) fn die(&mut self) {
        block_on(self.store.open(catalogue(&self.setup))).expect("memory opens");
        self.restart(3);
    }

    /// Throws the board away, as a crash does, and rebuilds it from the store in slices of `limit`.
    pub(super) fn restart(&mut self, limit: usize) {
        self.lose_unwritten();
        self.taken = None;
        self.board = board(&self.setup, self.late);
        for (job, start) in std::mem::take(&mut self.unrecorded) {
            if !self.open.contains_key(&job) {
                self.forget_start(&start);
            }
        }
        self.recalls.clear();
        let lost = std::mem::take(&mut self.fresh);
        self.forgive_order(&lost);
        self.buried.clear();
        self.quarantined.clear();
        self.running.clear();
        self.cancelling.clear();
        self.cancelled.clear();
        self.pinned.clear();
        (self.replaying, self.restarted) = (true, true);
        self.crash_after = None;
        self.life += 1;
        let mut inputs = self.backlog();
        let mut after = Some(Cursor::default());
        while let Some(cursor) = after {
            let (slice, next) = block_on(self.store.unfinished(cursor, limit)).expect("memory reads");
            inputs.extend(slice.into_iter().map(|entry| match entry {
                Unfinished::Job(resumed) => Input::Resumed(Box::new(resumed)),
                Unfinished::Pair { subscription, inputs, verdict } => {
                    Input::PairFinished { subscription, inputs, verdict }
                }
            }));
            after = next;
        }
        inputs.extend(
            block_on(self.store.marks())
                .expect("memory reads")
                .into_iter()
                .map(|(subscription, marks)| Input::Marks { subscription, marks }),
        );
        self.handle_in_this_life(inputs);
        self.replaying = false;
        self.tick();
    }

    /// Lets everything end: jobs are done, time passes, runs are finished; then nothing may be left.
    pub(super) fn finish_everything(&mut self) {
        self.crash_after = None;
        self.conclude();
        self.handle(Input::Unhold);
        for agent in (0..self.setup.agents.len() as u32).map(AgentIndex) {
            self.handle(Input::Resume(agent));
        }
        self.let_pass();
        for of in self.runs.clone() {
            self.handle(Input::FinishRun(of));
            self.let_pass();
        }
        for of in self.runs.clone() {
            self.release(of);
        }
        self.settle_all();
        let left: Vec<_> = self.claims.iter().filter(|(_, claim)| claim.outcome.is_none()).collect();
        assert!(left.is_empty(), "everything ends: {left:?}\n{:?}", self.board);
        assert_eq!(self.board.waiting(&WaitingFilter::default()), [], "nothing waits");
        assert!(self.board.is_idle() && self.board.next_deadline().is_none(), "nothing moves");
        for of in &self.runs {
            assert_eq!(self.board.tally(*of), None, "no run is kept");
            let settled = |effect: &Effect| matches!(effect, Effect::RunSettled { run, .. } if run == of);
            // A run that is settled already, but has a handle, is not told of when the handle is lost in a
            // crash.
            assert!(self.restarted || self.told.iter().any(settled), "{of} was told to be settled");
        }
        assert_eq!(block_on(self.store.backlog()).expect("memory reads"), [], "no claim is left in the log");
        let mut after = Some(Cursor::default());
        while let Some(cursor) = after {
            let (unfinished, next) = block_on(self.store.unfinished(cursor, 1_000)).expect("memory reads");
            assert!(unfinished.is_empty(), "the store holds nothing open: {unfinished:?}");
            after = next;
        }
    }

    /// Lets jobs finish and time pass until nothing moves by itself.
    pub(super) fn let_pass(&mut self) {
        self.tick();
        for _ in 0..100_000 {
            self.conclude();
            self.commit_starts();
            self.settle_all();
            self.commit_starts();
            if let Some(job) = self.running.keys().next().copied() {
                self.end(job, Verdict::Done, Vec::new());
            } else if let Some(deadline) = self.board.next_deadline() {
                self.now = self.now.max(deadline.after(super::shapes::micros(2)));
                self.tick();
            } else {
                return;
            }
        }
        panic!("the board comes to rest: {:?}", self.board);
    }

    /// Lets jobs finish; no time passes.
    pub(super) fn let_pass_jobs(&mut self) {
        self.commit_starts();
        while let Some(job) = self.running.keys().find(|job| !self.buried.contains_key(job)).copied() {
            self.end(job, Verdict::Done, Vec::new());
            self.conclude();
            self.commit_starts();
        }
    }

    pub(super) fn outcome(&self, subscription: u32, offset: Offset) -> Option<Outcome> {
        self.claims[&(SubscriptionIndex(subscription), offset)].outcome.clone()
    }

    /// The inputs of what is starting or running, in the order of the starts.
    pub(super) fn busy(&self) -> Vec<Vec<u64>> {
        self.running.values().chain(&self.fresh).map(|start| inputs(start)).collect()
    }

    /// The inputs and closing reasons of every job that ended as done, by subscription, sorted.
    pub(super) fn done(&self) -> Vec<(u32, Vec<u64>, Option<CloseReason>)> {
        let done = self.ended.values().filter(|(_, verdict)| *verdict == Verdict::Done);
        let mut all: Vec<_> =
            done.map(|(start, _)| (start.subscription.0, inputs(start), start.closed)).collect();
        all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        all
    }
}

pub(super) fn inputs(start: &Start) -> Vec<u64> {
    start.members.iter().map(|member| member.offset.get()).collect()
}

fn covers(start: &Start, settled: &Settled) -> bool {
    start.subscription == settled.subscription
        && start.members.iter().any(|member| member.offset == settled.offset)
}

fn catalogue(setup: &Setup) -> Catalogue {
    let subscriptions = (0..).map(SubscriptionIndex).zip(&setup.subscriptions);
    let marked = subscriptions.filter(|(_, (_, subscription))| subscription.keeps_marks());
    Catalogue { marked: marked.map(|(index, _)| index).collect(), ..Catalogue::default() }
}

fn board(setup: &Setup, late: bool) -> Board {
    let mut board = Board::new();
    board.observe();
    board.tell_settled(true);
    if let Some(window) = setup.window {
        board.set_jobs_in_memory_max(window);
    }
    for (number, concurrency) in setup.agents.iter().enumerate() {
        let agent = board.add_agent(AgentName::from(name(number)), *concurrency);
        if let Some(patience) = setup.patience {
            board.set_queue_timeout(agent, super::shapes::micros(patience));
        }
    }
    for (agent, subscription) in &setup.subscriptions {
        board.add_subscription(AgentIndex(*agent), subscription);
    }
    if !late {
        board.record_first_starts();
    }
    board
}
