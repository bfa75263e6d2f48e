//! The inputs of the board, as a closed set.
//!
//! Everything in an input is in the store already, or needs no record. The curator gives inputs to the board
//! in the order of the log. Pure: no I/O, no clock.

use std::sync::Arc;

use crate::claim::{Backlog, Claimed, LogEntry};
use crate::id::{AgentIndex, Offset, RunId, SubscriptionIndex};
use crate::job::{AttemptId, PairVerdict, Resumed, Verdict};
use crate::marks::Marks;
use crate::outcome::{CloseReason, Quarantine, Tally};
use crate::time::Timestamp;

/// An input of the board. Everything here is already in the store, or needs no record.
#[derive(Clone, Debug)]
pub enum Input {
    /// An artifact was committed, with the claims that subscriptions made on it.
    Published(LogEntry),
    /// A job that had been started before a restart is unfinished.
    Resumed(Box<Resumed>),
    /// The job of a dead letter is unfinished again.
    Redriven {
        /// The job.
        resumed: Box<Resumed>,
        /// Those of its inputs that had been dead; the others are new and were published with it.
        dead: Vec<Offset>,
    },
    /// A pair of an every-pair join had been finished before a restart; it must not run again.
    PairFinished {
        /// The join.
        subscription: SubscriptionIndex,
        /// The places of its inputs, in ascending order.
        inputs: Vec<Offset>,
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
        /// The attempt.
        attempt: AttemptId,
        /// The verdict.
        verdict: Verdict,
        /// Whether the attempt was short beside a commit.
        is_short: bool,
    },
    /// The start of an attempt that runs is being recorded; its job was handed to its agent without.
    StartNoted(AttemptId),
    /// That was refused.
    NoteRefused(AttemptId),
    /// The start of an attempt could not be committed, or was taken back before it had begun. When several
    /// are handed back, [`Input::Hold`] comes first and [`Input::Unhold`] after, so that none of them is
    /// overtaken while the others are still out.
    StartRefused(AttemptId),
    /// The store refused the start of this attempt and of nothing else. It is tried again after a back-off
    /// that grows from one refusal to the next; other jobs of its agent go on, except those behind its key.
    StartDeferred(AttemptId),
    /// Time has passed: what is due by now is due.
    Tick,
    /// A handle to the run exists: keep its counts until [`Input::ReleaseRun`].
    PinRun {
        /// The run.
        run: RunId,
        /// The workflow's name.
        workflow: Arc<str>,
        /// The store's counts of the run, when the board is being read back.
        tally: Option<Tally>,
    },
    /// The last handle to the run is gone.
    ReleaseRun(RunId),
    /// No more input comes for the run: flush its batches, and expire its inputs that wait for partners.
    FinishRun(RunId),
    /// End everything of the run that has not finished.
    CancelRun(RunId),
    /// When this time comes, the run is cancelled, unless everything of it has an outcome by then. Ignored
    /// for a run that the board does not know.
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
    /// The agent's engines panicked more often than it may: start no jobs of it until it is resumed, or until
    /// the time that the quarantine names.
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
    /// Claims of a subscription wait in the log: given when the board is read back, before any other input of
    /// it.
    Backlog(Backlog),
    /// The answer to [`Effect::LoadPage`](crate::effect::Effect::LoadPage). Between the read and this input
    /// the board is given no other input.
    PageLoaded {
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
    /// The log is damaged where the agent would read on. It is not asked for again until the agent is
    /// resumed.
    PageDamaged {
        /// The agent.
        agent: AgentIndex,
        /// As in the effect.
        ticket: u64,
    },
    /// The answer to [`Effect::Recount`](crate::effect::Effect::Recount). Between the read and this input the
    /// board is given no other input.
    Recounted {
        /// The run.
        run: RunId,
        /// As in the effect.
        ticket: u64,
        /// The store's counts.
        tally: Tally,
    },
    /// The answer to [`Effect::CancelSpilled`](crate::effect::Effect::CancelSpilled): so many claims were
    /// cancelled, by subscription.
    SpilledCancelled {
        /// The run.
        run: RunId,
        /// How many, for every subscription that had any.
        cancelled: Vec<(SubscriptionIndex, u64)>,
    },
    /// An [`Effect::CancelSpilled`](crate::effect::Effect::CancelSpilled) was refused; the board asks again
    /// with the next tick.
    CancelRefused(RunId),
}
