//! The effects of the board, as a closed set.
//!
//! An effect is data before it is an action. The curator performs effects in the order in which they are
//! given. Pure: no I/O, no clock.

use std::sync::Arc;

use crate::claim::Settled;
use crate::id::{AgentIndex, JobId, Key, Offset, RunId, SubscriptionIndex};
use crate::job::Start;
use crate::outcome::{Burial, Tally};
use crate::time::Timestamp;

/// An effect of the board. The curator performs effects in the order in which they are given.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Hand this job to its agent.
    Start {
        /// The job.
        start: Arc<Start>,
        /// Whether its start has to be committed before.
        record: RecordStart,
    },
    /// Nothing of this agent may begin any more: take back the jobs that it was given and that have not
    /// begun, by [`Input::StartRefused`](crate::input::Input::StartRefused), or as released if their start
    /// may be recorded.
    Recall(AgentIndex),
    /// This job waited too long for a slot, or cost the process too many lives: commit its start, then have
    /// its agent write its failure instead of calling an engine. It ends like an attempt, and takes no slot.
    Bury {
        /// The job.
        start: Arc<Start>,
        /// Why it is given up.
        why: Box<Burial>,
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
    /// An outcome that is committed already, together with its job: a fact for observers.
    Settled(Settled),
    /// Inputs of a join expired: a fact for observers.
    JoinExpired(Box<JoinExpired>),
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
    LoadPage(Box<PageRequest>),
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

/// When the start of a job is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordStart {
    /// Before the job goes to its agent: something depends on it.
    First,
    /// Once the attempt has lasted for a while, if it does. The end of a job without a record tells the
    /// start.
    Later,
}

/// A part of the log that an agent wants to have read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
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

/// Inputs of a join that expired, and those that had come to go with them. Their outcomes are effects of
/// their own.
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
