//! Steps: the curator's work of the next commit, in order.
//!
//! A step either has something written and acts on the store's answer, or acts without a record. One list
//! holds both, because an action may concern a write before it: the cancellation of a job stands behind its
//! start. Data only; the curator's other files act on it. Pure: no I/O, no clock.

use std::sync::Arc;

use volery_blackboard::claim::Claim;
use volery_blackboard::claim::Settled;
use volery_blackboard::input::Input;
use volery_blackboard::job::{AttemptId, Start, Verdict};
use volery_blackboard::outcome::Burial;
use volery_blackboard::store::{Few, Finish, JobEnd, NewArtifact, Note, Write};
use volery_blackboard::{AgentIndex, Artifact, JobId, Offset, RunId};
use volery_observability::trace::Scope;

use super::log::LogRead;
use crate::ingress::{DecisionAnswer, PublishAnswer, Question};
use crate::observer::{ObservedAttempt, ObservedPublish, SpanNote};

/// One step of a commit.
pub(super) enum Step {
    /// Writes, and goes on when the store has answered. The commit takes the write out.
    Write { write: Option<Write>, then: Then },
    /// Needs no record.
    Act(Action),
}

/// The follow-up of a write.
pub(super) enum Then {
    Published {
        claims: Few<ArtifactClaims>,
        answer: PublishAnswer,
        observed: ObservedPublish,
    },
    /// The attempt goes to its agent; a job that is given up goes there without an attempt.
    Started(Arc<Start>, Option<Burial>),
    Finished(Finished),
    /// As [`Finished`](Self::Finished), after the store refused every other end of the job.
    GivenUp(Finished),
    Redriven {
        letter: u64,
        inputs: Vec<Offset>,
        /// The artifacts that take the place of inputs.
        edits: Vec<(Offset, Arc<Artifact>)>,
        answer: DecisionAnswer,
    },
    LetterDiscarded {
        letter: u64,
        reason: String,
        answer: DecisionAnswer,
    },
    /// Nothing; but a record that the store refuses is written again when the store works.
    Recorded(Record),
    /// Nothing: the attempt runs already.
    StartNoted(AttemptId),
    /// A note of a span.
    SpanNoted(SpanNote),
    /// Claims of a cancelled run ended that were in the log only.
    SpilledCancelled(RunId),
}

/// An attempt's end, for the board, the feed and traces.
pub(super) struct Finished {
    pub(super) start: Arc<Start>,
    pub(super) verdict: Verdict,
    /// The claims on what is published with it.
    pub(super) claims: Few<ArtifactClaims>,
    /// The error and its causes, the root cause last.
    pub(super) error: Vec<String>,
    /// Attempts that failed by now, as a dead letter counts them.
    pub(super) attempts: u32,
    pub(super) observed: ObservedAttempt,
    /// Whether the attempt was short beside a commit.
    pub(super) is_short: bool,
}

/// A step that needs no record.
pub(super) enum Action {
    /// Tells the board.
    Input(Input),
    /// Counts a panic of an engine, or of its factory.
    CountPanic(AgentIndex, Scope),
    /// Hands a job to its agent.
    Start(Arc<Start>),
    /// Lets the slots of an agent take jobs again.
    GoOn(AgentIndex),
    /// Hands a job back whose start is not recorded.
    Release(Box<Finished>),
    /// Tells the agent to cancel an attempt.
    Cancel { agent: AgentIndex, job: JobId },
    /// Shows the board as the steps before left it.
    Ask(Question),
    /// Reads the log, once the board has handled all of the commit.
    Read(LogRead),
    /// Looks whether a run is quiescent once the next commit is done.
    Check(RunId),
}

/// A record that no attempt's end writes. The board has decided already, so it is kept until it is written.
#[derive(Clone, Debug)]
pub(super) enum Record {
    /// The outcome of one claim.
    Claim(Settled),
    /// The cancellation of a job that did not run.
    Job(JobId),
    /// A decision from outside.
    Note(Note),
}

/// The part of an artifact that is kept while the store has it.
pub(super) struct ArtifactClaims {
    pub(super) workflow: Arc<str>,
    pub(super) claims: Arc<[Claim]>,
}

impl ArtifactClaims {
    /// Keeps what the board needs of artifacts that are about to be written.
    pub(super) fn of(artifacts: &[NewArtifact]) -> Few<Self> {
        let claims = |publish: &NewArtifact| Self {
            workflow: Arc::clone(&publish.workflow),
            claims: Arc::clone(&publish.claims),
        };
        artifacts.iter().map(claims).collect()
    }
}

impl Record {
    pub(super) fn write(&self) -> Write {
        match self {
            Self::Claim(settled) => Write::Settle(settled.clone()),
            Self::Note(note) => Write::Note(note.clone()),
            Self::Job(job) => {
                Write::Finish(Finish { job: *job, start: None, end: JobEnd::Cancelled, outputs: Few::new() })
            }
        }
    }
}

/// Takes the writes out of the steps, in order.
pub(super) fn take_writes(steps: &mut [Step]) -> Vec<Write> {
    let mut writes = Vec::with_capacity(steps.len());
    for step in steps {
        if let Step::Write { write, .. } = step {
            writes.extend(write.take());
        }
    }
    writes
}
