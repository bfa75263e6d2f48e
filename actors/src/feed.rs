//! The feed: a live side stream of what happens, for whoever wants to look.
//!
//! It never blocks the board and holds a bounded number of events; a reader that is too slow is told how many it
//! missed. Nothing is built while nobody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;
use volery_blackboard::effect::{Settled, Start, Verdict};
use volery_blackboard::{AgentIndex, Artifact, JobId, RunId, Tally, Timestamp};

use crate::supervision::LifeEvent;

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An artifact was committed. With no claims, nobody subscribes to it.
    Published {
        /// The artifact.
        artifact: Arc<Artifact>,
        /// How many subscriptions claim it.
        claims: usize,
    },
    /// An attempt was handed to its agent.
    Started {
        /// What was started.
        start: Arc<Start>,
    },
    /// A job is done.
    Done {
        /// The job.
        job: JobId,
        /// Its agent.
        agent: AgentIndex,
        /// Its run.
        run: RunId,
    },
    /// An attempt failed; another one is to follow.
    Retrying {
        /// The job.
        job: JobId,
        /// Its agent.
        agent: AgentIndex,
        /// The attempt that failed.
        attempt: u32,
        /// When the next may start.
        until: Timestamp,
        /// Why, root cause last.
        error: Vec<String>,
    },
    /// A job failed for good.
    Dead {
        /// The job.
        job: JobId,
        /// Its agent.
        agent: AgentIndex,
        /// Its run.
        run: RunId,
        /// Why, root cause last.
        error: Vec<String>,
    },
    /// A job was cancelled with its run.
    Cancelled {
        /// The job.
        job: JobId,
        /// Its agent.
        agent: AgentIndex,
    },
    /// An attempt was handed back unfinished, because its agent was stopped or restarted.
    Released {
        /// The job.
        job: JobId,
        /// Its agent.
        agent: AgentIndex,
    },
    /// An artifact got its outcome for one subscription.
    Settled(Settled),
    /// Everything of a run has an outcome.
    RunSettled {
        /// The run.
        run: RunId,
        /// The workflow's name.
        workflow: Arc<str>,
        /// Its outcomes.
        tally: Tally,
    },
    /// Something happened to an actor: a start, an end, a restart.
    Life(LifeEvent),
}

impl Event {
    pub(crate) fn of_attempt(start: &Start, verdict: Verdict, error: Vec<String>) -> Self {
        let (job, agent, run, attempt) = (start.job, start.agent, start.run, start.attempt);
        match verdict {
            Verdict::Done => Self::Done { job, agent, run },
            Verdict::Retry(until) => Self::Retrying { job, agent, attempt, until, error },
            Verdict::Dead => Self::Dead { job, agent, run, error },
            Verdict::Cancelled => Self::Cancelled { job, agent },
            Verdict::Released => Self::Released { job, agent },
        }
    }
}

/// The sending end. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    sender: broadcast::Sender<Event>,
    /// Counted here because the channel takes a lock to tell.
    readers: Arc<AtomicUsize>,
}

impl Feed {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { sender: broadcast::Sender::new(capacity), readers: Arc::default() }
    }

    /// Tells an event to the readers there are; builds it only if there are some.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.readers.load(Ordering::Relaxed) > 0 {
            // It fails only when the last reader has just gone.
            drop(self.sender.send(event()));
        }
    }

    pub(crate) fn read(&self) -> FeedReader {
        self.readers.fetch_add(1, Ordering::Relaxed);
        FeedReader { receiver: self.sender.subscribe(), readers: Arc::clone(&self.readers) }
    }
}

/// Reads the feed from the moment it was asked for.
#[derive(Debug)]
#[must_use]
pub struct FeedReader {
    receiver: broadcast::Receiver<Event>,
    readers: Arc<AtomicUsize>,
}

/// What a reader gets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FeedItem {
    /// The next event.
    Event(Event),
    /// The reader was too slow: this many events are gone.
    Skipped(u64),
}

impl FeedReader {
    /// Waits for the next item; `None` once the runtime is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<FeedItem> {
        match self.receiver.recv().await {
            Ok(event) => Some(FeedItem::Event(event)),
            Err(broadcast::error::RecvError::Lagged(skipped)) => Some(FeedItem::Skipped(skipped)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Returns the next item if there is one already.
    pub fn try_next(&mut self) -> Option<FeedItem> {
        match self.receiver.try_recv() {
            Ok(event) => Some(FeedItem::Event(event)),
            Err(broadcast::error::TryRecvError::Lagged(skipped)) => Some(FeedItem::Skipped(skipped)),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => None,
        }
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }
}
