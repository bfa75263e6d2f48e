//! How things end, and why they wait: closed sets of outcomes, their reasons, and waiting reasons.
//!
//! Every artifact that matched a subscription ends with exactly one [`Outcome`] there; until then it is
//! running or has a [`WaitingReason`]. Pure: no I/O, no clock.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{AgentName, JobId, Key, Offset, RunId};
use crate::time::Timestamp;

/// How an artifact ended for one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A job that took it as input finished.
    Consumed,
    /// It waited for company that did not come in time.
    Expired(Expiry),
    /// It was refused before any job took it.
    Discarded(Discard),
    /// Its run was cancelled.
    Cancelled,
    /// The job that took it failed for good; the error is in the dead letter.
    Dead,
}

impl Outcome {
    /// Returns the outcome's name in snake case, for grouping and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Consumed => "consumed",
            Self::Expired(_) => "expired",
            Self::Discarded(_) => "discarded",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for Outcome {
    /// Writes the name, and the reason if there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(why) => write!(f, "expired: {why}"),
            Self::Discarded(why) => write!(f, "discarded: {why}"),
            Self::Consumed | Self::Cancelled | Self::Dead => f.write_str(self.name()),
        }
    }
}

/// Why an input stopped waiting for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Expiry {
    /// The time window of its join closed.
    TimeWindow,
    /// More artifacts than the count window allows came after it.
    CountWindow,
    /// The watermark of the other sides passed its window.
    Watermark,
    /// No watermark passed its window within the join's patience.
    Patience,
    /// Its run was finished: nothing more was to come.
    EndOfInput,
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimeWindow => "its time window closed",
            Self::CountWindow => "too many came after it",
            Self::Watermark => "the watermark passed its window",
            Self::Patience => "the join's patience was over",
            Self::EndOfInput => "no more input was to come",
        })
    }
}

/// Why an artifact was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Discard {
    /// A predicate or a key, weight or time closure panicked; the text is the panic's.
    ClosurePanicked(String),
    /// The payload could not be read as the kind's type, or a key could not be written as JSON.
    Unreadable(String),
    /// The chain of jobs that led to it is longer than the runtime allows.
    LoopGuard,
    /// The store's record of the input is damaged; the text says how.
    Damaged(String),
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosurePanicked(text) => write!(f, "a closure of the subscription panicked: {text}"),
            Self::Unreadable(text) => write!(f, "it could not be read: {text}"),
            Self::LoopGuard => f.write_str("too many jobs led to it"),
            Self::Damaged(text) => write!(f, "its claim in the store is damaged: {text}"),
        }
    }
}

/// Counts of outcomes. Addition is per field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Artifacts that matched a subscription, counted once per subscription.
    pub matched: u64,
    /// Ended as [`Outcome::Consumed`].
    pub consumed: u64,
    /// Ended as [`Outcome::Expired`].
    pub expired: u64,
    /// Ended as [`Outcome::Discarded`].
    pub discarded: u64,
    /// Ended as [`Outcome::Cancelled`].
    pub cancelled: u64,
    /// Ended as [`Outcome::Dead`].
    pub dead: u64,
}

impl Tally {
    /// Returns how many have no outcome yet.
    #[must_use]
    pub const fn outstanding(&self) -> u64 {
        self.matched - (self.consumed + self.expired + self.discarded + self.cancelled + self.dead)
    }

    /// Takes back an outcome as [`Outcome::Dead`], together with its match, if one is counted here.
    pub(crate) fn revive(&mut self) {
        if self.dead > 0 {
            self.dead -= 1;
            self.matched -= 1;
        }
    }

    /// Counts one outcome.
    pub fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Consumed => self.consumed += 1,
            Outcome::Expired(_) => self.expired += 1,
            Outcome::Discarded(_) => self.discarded += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Dead => self.dead += 1,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.matched += other.matched;
        self.consumed += other.consumed;
        self.expired += other.expired;
        self.discarded += other.discarded;
        self.cancelled += other.cancelled;
        self.dead += other.dead;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.consumed, "consumed"),
            (self.expired, "expired"),
            (self.discarded, "discarded"),
            (self.cancelled, "cancelled"),
            (self.dead, "dead"),
            (self.outstanding(), "outstanding"),
        ];
        let mut first = true;
        for (count, word) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{}{count} {word}", if first { "" } else { ", " })?;
            first = false;
        }
        if first { f.write_str("nothing matched") } else { Ok(()) }
    }
}

/// Why a batch was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CloseReason {
    /// It had as many groups as it may hold.
    Size,
    /// The next group would have made it too heavy, or it reached its weight.
    Weight,
    /// Its first group had waited long enough.
    Deadline,
    /// A run with inputs in it was finished.
    EndOfInput,
    /// The runtime is stopping, and its settings say flush.
    Shutdown,
}

/// Why an artifact or a job is not moving now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitingReason {
    /// Other kinds have not arrived yet; kind and how many of it are missing.
    AllOfMissing(Vec<(String, u32)>),
    /// Partners with this key have not arrived yet; kind and how many of it are missing.
    JoinMissing {
        /// The join key.
        key: Key,
        /// Kind and how many of it are missing.
        missing: Vec<(String, u32)>,
    },
    /// Its window is still open, further partners with this key may come.
    WindowOpen {
        /// The join key.
        key: Key,
    },
    /// Its batch is not full yet.
    BatchFilling {
        /// Groups in the batch.
        have: u32,
        /// Groups that close it.
        size: Option<u32>,
        /// When it closes by itself.
        closes_at: Option<Timestamp>,
        /// The batch's key, for batches per key.
        key: Option<Key>,
    },
    /// Its visibility rule has a delay.
    NotVisibleUntil(Timestamp),
    /// All of the agent's slots are taken.
    NoSlot,
    /// An earlier job with the same order key is not finished.
    BehindKey(Key),
    /// The last attempt failed; the next starts at this time.
    BackOffUntil(Timestamp),
    /// The agent is paused.
    AgentPaused,
    /// The agent's engines panicked too often.
    AgentQuarantined(Quarantine),
    /// The store does not accept the start of the job at the moment.
    StoreUnavailable,
    /// A job that was interrupted before runs, or is about to run, with nothing beside it.
    JobRunsAlone,
    /// The agent has as many jobs in memory as it may; it is read from the log in its turn.
    InLog {
        /// Jobs and inputs of the agent that go before it.
        behind: u64,
    },
}

impl WaitingReason {
    /// Returns the reason's name in snake case, for grouping and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AllOfMissing(_) => "all_of_missing",
            Self::JoinMissing { .. } => "join_missing",
            Self::WindowOpen { .. } => "window_open",
            Self::BatchFilling { .. } => "batch_filling",
            Self::NotVisibleUntil(_) => "not_visible_until",
            Self::NoSlot => "no_slot",
            Self::BehindKey(_) => "behind_key",
            Self::BackOffUntil(_) => "back_off_until",
            Self::AgentPaused => "agent_paused",
            Self::AgentQuarantined(_) => "agent_quarantined",
            Self::StoreUnavailable => "store_unavailable",
            Self::JobRunsAlone => "job_runs_alone",
            Self::InLog { .. } => "in_log",
        }
    }
}

impl fmt::Display for WaitingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllOfMissing(missing) => write!(f, "missing {}", Missing(missing)),
            Self::JoinMissing { key, missing } => write!(f, "missing {} with key {key}", Missing(missing)),
            Self::WindowOpen { key } => write!(f, "window for key {key} is open"),
            Self::BatchFilling { have, size, closes_at, key } => {
                write!(f, "batch has {have}")?;
                size.map_or(Ok(()), |size| write!(f, " of {size}"))?;
                key.as_ref().map_or(Ok(()), |key| write!(f, " for key {key}"))?;
                closes_at.map_or(Ok(()), |at| write!(f, ", closes at {at}"))
            }
            Self::NotVisibleUntil(at) => write!(f, "not visible until {at}"),
            Self::NoSlot => f.write_str("all slots of the agent are taken"),
            Self::BehindKey(key) => write!(f, "behind an earlier job with key {key}"),
            Self::BackOffUntil(at) => write!(f, "backing off until {at}"),
            Self::AgentPaused => f.write_str("agent is paused"),
            Self::AgentQuarantined(quarantine) => write!(f, "agent is {quarantine}"),
            Self::StoreUnavailable => f.write_str("store is unavailable"),
            Self::JobRunsAlone => f.write_str("a job that was interrupted before runs alone"),
            Self::InLog { behind } => write!(f, "in the log behind {behind} others"),
        }
    }
}

struct Missing<'a>(&'a [(String, u32)]);

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in self.0.iter().enumerate() {
            write!(f, "{}{count} × {kind}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Why and until when an agent is given no jobs, because its engines panicked too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// When it began.
    pub since: Timestamp,
    /// How many panics its window held then.
    pub restarts: u32,
    /// When it ends by itself; without a time it lasts until the agent is resumed.
    pub resumes_at: Option<Timestamp>,
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quarantined since {} after {} panics", self.since, self.restarts)?;
        match self.resumes_at {
            Some(at) => write!(f, ", resumes at {at}"),
            None => f.write_str(", waits to be resumed"),
        }
    }
}

/// Why a job is given up without another attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Burial {
    /// It waited too long for a slot.
    Overdue(Overdue),
    /// The process died while it ran alone, so many times.
    DiedAlone(u32),
    /// The store refused the end of its attempt. The runtime finds that, never the board.
    EndRefused {
        /// Attempts that failed, with the one whose end was refused.
        attempts: u32,
        /// The store's error, and then what the attempt had failed with, if it had.
        error: Vec<String>,
    },
}

/// How long a job waited for its agent before it was given up, and the jobs that had the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// How long it waited.
    pub waited: Duration,
    /// How many of the agent's slots were taken at the end.
    pub taken: u32,
    /// How many slots the agent has.
    pub slots: u32,
    /// The jobs that had them, at most [`Overdue::JOBS_MAX`], the oldest first.
    pub jobs: Vec<JobId>,
    /// The order key that it waited behind, if it was not its turn.
    pub behind: Option<Key>,
}

impl Overdue {
    /// Jobs that are named: enough to find who blocks an agent, few enough for a line of a log.
    pub const JOBS_MAX: usize = 8;
}

/// One artifact that waits, where, since when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Waiting {
    /// The artifact's place in the log.
    pub offset: Offset,
    /// Its run.
    pub run: RunId,
    /// The agent it waits for.
    pub agent: AgentName,
    /// Which of the agent's subscriptions, counted from 0.
    pub subscription: u32,
    /// When it was published.
    pub since: Timestamp,
    /// Why it does not move.
    pub reason: WaitingReason,
}

impl Waiting {
    /// Says behind how many jobs and inputs of its agent it waits in the log.
    #[must_use]
    pub fn behind(self, behind: u64) -> Self {
        Self { reason: WaitingReason::InLog { behind }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_names_only_what_happened() {
        let mut tally = Tally { matched: 3, ..Tally::default() };
        tally.count(&Outcome::Consumed);
        tally.count(&Outcome::Expired(Expiry::TimeWindow));
        assert_eq!(tally.to_string(), "1 consumed, 1 expired, 1 outstanding");
        assert_eq!(Tally::default().to_string(), "nothing matched");
    }

    #[test]
    fn a_waiting_reason_says_what_is_missing() {
        let reason =
            WaitingReason::JoinMissing { key: Key::from("\"7\""), missing: vec![("Payment".into(), 1)] };
        assert_eq!(reason.to_string(), "missing 1 × Payment with key \"7\"");
    }
}
