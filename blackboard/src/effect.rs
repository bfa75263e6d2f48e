//! What goes into the board and what comes out: the closed sets of inputs and effects.
//!
//! An effect is data before it is an action; the curator performs it. Pure: no I/O, no clock.

use std::sync::Arc;

use crate::id::{AgentIndex, JobId, Key, Offset, RunId, SubscriptionIndex};
use crate::marks::Marks;
use crate::matching::Claim;
use crate::outcome::{Burial, CloseReason, Outcome, Quarantine, Tally};
use crate::shape::Member;
use crate::store::{Backlog, Claimed, Few};
use crate::time::Timestamp;

/// What the board is told. Everything here is already in the store, or needs no record.
#[derive(Clone, Debug)]
pub enum Input {
    /// An artifact was committed, with the claims that subscriptions made on it.
    Published(Published),
    /// A job that had been started before a restart is unfinished.
    Resumed(Resumed),
    /// The job of a dead letter is unfinished again.
    Redriven {
        /// The job.
        resumed: Resumed,
        /// Those of its inputs that had been dead; the others are new and were published with it.
        dead: Vec<Offset>,
    },
    /// A pair of an every-pair join had been finished before a restart; it must not run again.
    PairFinished {
        /// The join.
        subscription: SubscriptionIndex,
        /// The pair's job.
        job: JobId,
        /// How it ended.
        verdict: PairVerdict,
    },
    /// The log has come this far for a subscription; its collector may have met less of it since a restart.
    Marks {
        /// The subscription.
        subscription: SubscriptionIndex,
        /// How far.
        marks: Marks,
    },
    /// An attempt ended, and what follows from it is committed.
    Finished {
        /// The job.
        job: JobId,
        /// The attempt, as numbered in [`Start`].
        attempt: u32,
        /// What follows.
        verdict: Verdict,
    },
    /// The start of a job could not be committed. When several are handed back, [`Input::Hold`] comes first and
    /// [`Input::Unhold`] after, so that none of them is overtaken while the others are still out.
    StartRefused(JobId),
    /// The store refused the start of this job and of nothing else. It is tried again after a back-off that grows from one
    /// refusal to the next; other jobs of its agent go on, except those behind its key.
    StartDeferred(JobId),
    /// The agent could not be given a job: start none of it before this time. Nobody else waits for it.
    AgentAway {
        /// The agent.
        agent: AgentIndex,
        /// When it is tried again. Ignored for one that is away already.
        until: Timestamp,
    },
    /// Time has passed: what is due by now is due.
    Tick,
    /// A handle to the run exists: keep its counts until [`Input::ReleaseRun`].
    PinRun {
        /// The run.
        run: RunId,
        /// The workflow's name.
        workflow: Arc<str>,
        /// What the store has counted for the run, when the board is being read back.
        tally: Option<Tally>,
    },
    /// The last handle to the run is gone.
    ReleaseRun(RunId),
    /// No more input comes for the run: flush what its batches hold, expire what waits in vain.
    FinishRun(RunId),
    /// End everything of the run that has not finished.
    CancelRun(RunId),
    /// When this time comes, the run is cancelled, unless everything of it has an outcome by then. Ignored for a run that
    /// the board does not know.
    DeadlineRun {
        /// The run.
        run: RunId,
        /// The deadline. A later one replaces an earlier one.
        at: Timestamp,
    },
    /// Start no jobs of this agent until further notice.
    Pause(AgentIndex),
    /// Start jobs of this agent again, whether it was paused, quarantined or both.
    Resume(AgentIndex),
    /// An engine of this agent panicked, or could not be made.
    Restarted(AgentIndex),
    /// The agent's engines panicked more often than it may: start no jobs of it until it is resumed, or until the time that
    /// the quarantine names.
    Quarantine {
        /// The agent.
        agent: AgentIndex,
        /// Since when, after how much, until when.
        quarantine: Quarantine,
    },
    /// The store refuses writes: start no jobs until [`Input::StoreUp`], whatever else is said.
    StoreDown,
    /// The store works again.
    StoreUp,
    /// Start no jobs at all: the runtime is stopping, or being read back.
    Hold,
    /// Start jobs again.
    Unhold,
    /// Close every open batch, with this reason.
    Flush(CloseReason),
    /// Claims of a subscription wait in the log: told when the board is read back, before anything else of it.
    Backlog(Backlog),
    /// The answer to [`Effect::Page`]. Between the read and this input the board is told nothing else.
    Paged {
        /// The agent.
        agent: AgentIndex,
        /// As in the effect.
        ticket: u64,
        /// The next claims on the agent's subscriptions, in log order.
        claims: Vec<Claimed>,
    },
    /// The log could not be read; the board asks again with the next tick.
    PageFailed {
        /// The agent.
        agent: AgentIndex,
        /// As in the effect.
        ticket: u64,
    },
    /// The log is damaged where the agent would read on. It is not asked for again until the agent is resumed.
    PageDamaged {
        /// The agent.
        agent: AgentIndex,
        /// As in the effect.
        ticket: u64,
    },
    /// The answer to [`Effect::Recount`]. Between the read and this input the board is told nothing else.
    Recounted {
        /// The run.
        run: RunId,
        /// As in the effect.
        ticket: u64,
        /// What the store has counted.
        tally: Tally,
    },
    /// The answer to [`Effect::CancelSpilled`]: so many claims were cancelled, by subscription.
    SpilledCancelled {
        /// The run.
        run: RunId,
        /// How many, for every subscription that had any.
        cancelled: Vec<(SubscriptionIndex, u64)>,
    },
    /// An [`Effect::CancelSpilled`] was refused; the board asks again with the next tick.
    CancelRefused(RunId),
}

/// A committed artifact, as far as the board needs to know it.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its place in the log.
    pub offset: Offset,
    /// Its run.
    pub run: RunId,
    /// The workflow's name, for a run that the board has not met.
    pub workflow: Arc<str>,
    /// When it was published.
    pub at: Timestamp,
    /// The claims on it. Empty for an artifact that nobody subscribes to.
    pub claims: Arc<[Claim]>,
}

/// An unfinished job read back from the store.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// What was started.
    pub start: Start,
    /// The inputs' claims and runs, in the order of `start.members`.
    pub inputs: Vec<Published>,
    /// Failed attempts so far; `start` may tell of an earlier moment.
    pub failures: u32,
    /// When the next attempt may start, for a job that was backing off.
    pub until: Option<Timestamp>,
    /// Attempts that were cut short by the end of the process. They did not fail.
    pub interruptions: u32,
    /// Those of them that ran alone.
    pub deaths_alone: u32,
}

/// How a finished pair ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairVerdict {
    /// Its outputs are on the board.
    Done,
    /// It failed for good.
    Dead,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The job is done; its inputs are consumed.
    Done,
    /// The attempt failed; another one may start at this time.
    Retry(Timestamp),
    /// The job failed for good; its inputs are dead.
    Dead,
    /// The attempt was cancelled together with its run.
    Cancelled,
    /// The attempt was handed back unfinished and counts for nothing.
    Released,
}

/// What the board wants done. The curator performs effects in the order in which they are given.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Commit the start of this job; once that is done, hand it to its agent.
    Start(Arc<Start>),
    /// This job waited too long for a slot, or cost the process too many lives: commit its start, then have its agent write its failure instead of calling an
    /// engine. It ends like an attempt, and takes no slot.
    Bury {
        /// The job.
        start: Arc<Start>,
        /// Why it is given up.
        why: Burial,
    },
    /// Tell the agent to cancel the running attempt of this job.
    Cancel {
        /// The agent.
        agent: AgentIndex,
        /// The job.
        job: JobId,
    },
    /// Commit that a job which was not running ended with its run's cancellation.
    Drop(JobId),
    /// Commit this outcome of an artifact that no job's end settles.
    Settle(Settled),
    /// An outcome that is committed already, together with its job.
    Settled(Settled),
    /// Inputs of a join waited in vain: told to those who look on.
    JoinExpired(JoinExpired),
    /// The agent's quarantine is over: it was resumed, or its time has come.
    QuarantineLifted(AgentIndex),
    /// The run's deadline passed before everything of it had an outcome, and it is cancelled.
    RunTimedOut {
        /// The run.
        run: RunId,
        /// The workflow's name.
        workflow: Arc<str>,
    },
    /// Nothing of the run moves any more; what is outstanding waits for input or for a person.
    Quiescent {
        /// The run.
        run: RunId,
        /// Its outcomes so far.
        tally: Tally,
    },
    /// Everything of the run has an outcome.
    RunSettled {
        /// The run.
        run: RunId,
        /// The workflow's name.
        workflow: Arc<str>,
        /// Its outcomes.
        tally: Tally,
    },
    /// Read the next claims of an agent from the log, once everything that earlier effects write is written.
    Page(Page),
    /// Count the outcomes of a run in the store, once everything that earlier effects write is written.
    Recount {
        /// The run.
        run: RunId,
        /// To be given back.
        ticket: u64,
    },
    /// Commit that every claim of the run that waits in the log only is cancelled.
    CancelSpilled {
        /// The run.
        run: RunId,
        /// The places behind which claims are in the log only.
        behind: Vec<(SubscriptionIndex, Option<Offset>)>,
    },
}

/// A part of the log that an agent wants to have read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The agent.
    pub agent: AgentIndex,
    /// To be given back: an answer to an earlier question is no answer to a later one.
    pub ticket: u64,
    /// The agent's subscriptions.
    pub subscriptions: Vec<SubscriptionIndex>,
    /// Where to go on.
    pub after: Offset,
    /// How many artifacts at most.
    pub limit: usize,
}

/// One artifact's outcome for one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The subscription.
    pub subscription: SubscriptionIndex,
    /// The artifact's place in the log.
    pub offset: Offset,
    /// The artifact's run.
    pub run: RunId,
    /// The side of the subscription that took it, and with it the artifact's kind. Not for stores.
    pub side: u16,
    /// How it ended.
    pub outcome: Outcome,
}

/// A job to be started: the unit of execution, retry and acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The job, the same for every attempt.
    pub job: JobId,
    /// The agent that runs it.
    pub agent: AgentIndex,
    /// The subscription that collected it.
    pub subscription: SubscriptionIndex,
    /// Its inputs in the order in which the engine gets them.
    pub members: Box<[Member]>,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// Attempts that failed before; one that was handed back did not.
    pub failures: u32,
    /// The run of its outputs: its inputs' run, or a new one when they come from several.
    pub run: RunId,
    /// Whether `run` is a new one.
    pub opens_run: bool,
    /// When its last input was published; the time part of derived ids.
    pub at: Timestamp,
    /// Why its batch closed, if it is one.
    pub closed: Option<CloseReason>,
    /// Whether its inputs may take part in further jobs (every pair).
    pub shared: bool,
    /// Whether this attempt runs with nothing else in flight, because attempts of the job were interrupted before.
    pub alone: bool,
    /// What is told to those who look on.
    pub aside: Aside,
}

/// What is no part of a job and is known when it starts, for those who look on. A store need not keep it, and gives back
/// the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// Since when the job has waited for this attempt: its inputs are complete, or its last attempt or back-off is over.
    pub since: Timestamp,
    /// When the board took in the first of its inputs.
    pub first: Timestamp,
    /// What it waited for from then on, in order of time. Empty when it was started at once.
    pub waits: Few<Wait>,
    /// The key that its inputs share in a join, or their batch's.
    pub key: Option<Key>,
    /// The workflow's name, unless the job opens a run.
    pub workflow: Option<Arc<str>>,
}

/// One part of a job's wait for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What for.
    pub what: WaitsFor,
    /// Until when. It began when the part before was over.
    pub until: Timestamp,
}

/// What a job that is complete waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// Others with its key, which go first.
    Partition,
    /// A slot of its agent.
    Concurrency,
    /// Its agent is paused.
    Paused,
    /// Its agent is quarantined.
    Quarantine,
    /// The store refuses writes, or the board is held.
    Store,
    /// A job that has to run alone.
    Alone,
}

impl WaitsFor {
    /// Returns its name in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Concurrency => "concurrency",
            Self::Paused => "paused",
            Self::Quarantine => "quarantine",
            Self::Store => "store",
            Self::Alone => "alone",
        }
    }
}

/// Inputs of a join that waited in vain, and those that had come to go with them. Their outcomes are told by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinExpired {
    /// The join.
    pub subscription: SubscriptionIndex,
    /// The key that they share.
    pub key: Key,
    /// The inputs.
    pub inputs: Vec<JoinInput>,
    /// When the first of them was published.
    pub first: Timestamp,
    /// The name of the first one's workflow.
    pub workflow: Option<Arc<str>>,
}

/// An input of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinInput {
    /// Its place in the log.
    pub offset: Offset,
    /// The side that took it.
    pub side: u16,
    /// Its run.
    pub run: RunId,
}
