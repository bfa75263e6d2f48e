//! The feed: a live side stream of events.
//!
//! It never blocks the board and holds a bounded number of events; a reader that is too slow learns how many
//! it missed. Nothing is built while nobody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use volery_blackboard::claim::Settled;
use volery_blackboard::job::{Start, Verdict};
use volery_blackboard::outcome::Quarantine;
use volery_blackboard::{AgentIndex, AgentName, Artifact, JobId, RunId, SubscriptionIndex, Tally, Timestamp};

use crate::finding::Finding;
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
        /// Its agent.
        agent: AgentName,
        /// The started job.
        start: Arc<Start>,
    },
    /// A job is done.
    Done {
        /// The job.
        job: JobId,
        /// Its agent.
        agent: AgentName,
        /// Its run.
        run: RunId,
    },
    /// An attempt failed; another one is to follow.
    Retrying {
        /// The job.
        job: JobId,
        /// Its agent.
        agent: AgentName,
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
        agent: AgentName,
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
        agent: AgentName,
    },
    /// An attempt was handed back unfinished, because its agent was stopped or restarted.
    Released {
        /// The job.
        job: JobId,
        /// Its agent.
        agent: AgentName,
    },
    /// An artifact got its outcome for one subscription.
    Settled {
        /// The agent that the subscription belongs to.
        agent: AgentName,
        /// The outcome of a claim.
        settled: Settled,
    },
    /// Everything of a run has an outcome.
    RunSettled {
        /// The run.
        run: RunId,
        /// The workflow's name.
        workflow: Arc<str>,
        /// Its outcomes.
        tally: Tally,
    },
    /// The lookout found a lack of progress.
    Found(Finding),
    /// The job of a dead letter runs again.
    Redriven {
        /// The letter's number.
        letter: u64,
        /// The job; another one than before if inputs were replaced.
        job: JobId,
    },
    /// A dead letter was given up by a decision.
    LetterDiscarded {
        /// The letter's number.
        letter: u64,
        /// Why.
        reason: String,
    },
    /// A finding of the lookout is over.
    Over(Finding),
    /// A run's deadline came before its end, and it is being cancelled.
    RunTimedOut {
        /// The run.
        run: RunId,
        /// The workflow's name.
        workflow: Arc<str>,
    },
    /// An engine panicked, or could not be made. If it comes from a factory, it is made anew for the next
    /// attempt.
    Restarted {
        /// Its agent.
        agent: AgentName,
        /// How many of these the agent's window holds now.
        restarts: u32,
    },
    /// An agent passed its intensity and is given no jobs any more.
    Quarantined {
        /// The agent.
        agent: AgentName,
        /// After how much, until when.
        quarantine: Quarantine,
    },
    /// An agent's quarantine is over.
    Resumed {
        /// The agent.
        agent: AgentName,
    },
    /// Something happened to an actor: a start, an end, a restart.
    Life(LifeEvent),
}

/// The sending end. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    sender: broadcast::Sender<Event>,
    /// Counted here because the channel takes a lock to tell.
    readers: Arc<AtomicUsize>,
    ended: CancellationToken,
    agents: Arc<[AgentName]>,
    /// The agent of every subscription.
    owners: Arc<[AgentIndex]>,
}

impl Feed {
    pub(crate) fn new(capacity: usize, agents: Vec<AgentName>, owners: Vec<AgentIndex>) -> Self {
        Self {
            sender: broadcast::Sender::new(capacity),
            readers: Arc::default(),
            ended: CancellationToken::new(),
            agents: agents.into(),
            owners: owners.into(),
        }
    }

    /// Tells readers that nothing more comes.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    pub(crate) fn tell_started(&self, start: &Arc<Start>) {
        self.tell(|| Event::Started { agent: self.name(start.agent), start: Arc::clone(start) });
    }

    pub(crate) fn tell_settled(&self, settled: &Settled) {
        self.tell(|| Event::Settled {
            agent: self.owner(settled.subscription).map(|owner| self.name(owner)).unwrap_or_default(),
            settled: settled.clone(),
        });
    }

    pub(crate) fn tell_attempt(&self, start: &Start, verdict: Verdict, error: Vec<String>) {
        self.tell(|| {
            let (job, agent, run, attempt) = (start.job, self.name(start.agent), start.run, start.attempt);
            match verdict {
                Verdict::Done => Event::Done { job, agent, run },
                Verdict::Retry(until) => Event::Retrying { job, agent, attempt, until, error },
                Verdict::Dead => Event::Dead { job, agent, run, error },
                Verdict::Cancelled => Event::Cancelled { job, agent },
                Verdict::Released => Event::Released { job, agent },
            }
        });
    }

    /// The agent that a subscription belongs to.
    pub(crate) fn owner(&self, subscription: SubscriptionIndex) -> Option<AgentIndex> {
        self.owners.get(subscription.at()).copied()
    }

    /// A subscription by its stable name: its agent and its number there.
    pub(crate) fn subscription(&self, name: &str) -> Option<SubscriptionIndex> {
        let (agent, ordinal) = name.rsplit_once('/')?;
        let agent = self.agents.iter().position(|known| known.as_str() == agent)?;
        let all = (0..).map(SubscriptionIndex).zip(self.owners.iter());
        let mut own = all.filter(|(_, owner)| owner.at() == agent).map(|(index, _)| index);
        own.nth(ordinal.parse().ok()?)
    }

    pub(crate) fn name(&self, agent: AgentIndex) -> AgentName {
        self.agents.get(agent.at()).cloned().unwrap_or_default()
    }

    /// Tells an event to the readers there are; builds it only if there are some.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.has_readers() {
            // It fails only when the last reader has just gone.
            drop(self.sender.send(event()));
        }
    }

    /// Tells whether anybody reads.
    pub(crate) fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    /// How many events the slowest reader has before it.
    pub(crate) fn lag(&self) -> usize {
        self.sender.len()
    }

    pub(crate) fn read(&self) -> FeedReader {
        self.readers.fetch_add(1, Ordering::Relaxed);
        FeedReader {
            receiver: self.sender.subscribe(),
            readers: Arc::clone(&self.readers),
            ended: self.ended.clone(),
        }
    }
}

/// Reads the feed from the moment it was asked for.
#[derive(Debug)]
#[must_use]
pub struct FeedReader {
    receiver: broadcast::Receiver<Event>,
    readers: Arc<AtomicUsize>,
    ended: CancellationToken,
}

/// The result of a read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FeedItem {
    /// The next event.
    Event(Event),
    /// The reader was too slow: this many events are gone.
    Skipped(u64),
}

impl FeedReader {
    /// Waits for the next item; `None` once the runtime has stopped and everything was read. Cancel safe.
    pub async fn next(&mut self) -> Option<FeedItem> {
        let received = tokio::select! {
            biased;
            received = self.receiver.recv() => received,
            () = self.ended.cancelled() => return self.try_next(),
        };
        match received {
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
