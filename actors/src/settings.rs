//! Settings: knobs as data, with limits. Components (stores, engines) are objects and go into the builder.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use volery_blackboard::store::Retention;

use crate::error::{Cause, Result};

/// The treatment of publishes while too many artifacts wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overflow {
    /// The publisher waits until there is room.
    #[default]
    Wait,
    /// The publisher gets an error of kind [`Retry`](crate::ErrorKind::Retry).
    Refuse,
}

/// The treatment of batches that are not full when the runtime stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Partial {
    /// Keep them on a store that outlives the process, flush them on one that does not.
    #[default]
    ByStore,
    /// They are closed and run before the agents stop.
    Flush,
    /// They stay open; a durable store brings them back.
    Keep,
}

/// A runtime's knobs. Every field has a default; a configuration file may name any of them.
///
/// The struct is non-exhaustive: start from [`Settings::default`] and set fields, or use the builder's
/// `configure`. A value outside of its limits is refused at the start, by name. Where no limit is named,
/// there is none. In a configuration file a duration is a table of whole seconds and nanoseconds, both named,
/// as serde writes it: `{ secs = 1, nanos = 500000000 }` in TOML, `{"secs": 1, "nanos": 500000000}` in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Inputs that wait for an agent, in memory or in the log, run or back off, counted once per
    /// subscription, before publishers are held back. Default 100,000; at least 1. A publisher at full speed
    /// has published so much after about a second, and is from then on as fast as the agents. A service that
    /// publishes slowly and has to outlast an outage of its agents sets more: with a durable store it bounds
    /// the log, not the memory, and may be as large as the disk allows. Outputs of agents are never held
    /// back, so that cascades cannot deadlock.
    pub queued_max: u64,
    /// The treatment of publishes then. Default: wait.
    pub overflow: Overflow,
    /// Inputs that joins, counts and batches hold, before publishers are refused. Default 1,000,000; at
    /// least 1. They never wait here, because what is held may wait for just what they would publish.
    pub collected_max: u64,
    /// Jobs of each agent that wait in memory; running ones do not count, and of those that back off, or wait
    /// behind another of their key, four count like one. Further inputs of the agent stay in the log until
    /// half of them are gone, and wait there in order. Default 10,000; at least 1. A tenth would read the log
    /// ten times as often; ten times as many take ten times the memory.
    pub jobs_in_memory_max: u32,
    /// Jobs between an external publish and an artifact before the loop guard discards it. Default 1,000.
    /// With 0, agents are given only what is published from outside.
    pub generations_max: u32,
    /// Events that the feed keeps for slow readers. Default 1,024; between 1 and 1,048,576.
    pub feed_capacity: usize,
    /// Time for a whole shutdown. Default 20 s, below the 30 s after which Kubernetes kills. Of it,
    /// `closing_within` is kept to cancel what is left and to stop what comes after the agents. With 0
    /// nothing is drained: what runs is cancelled at once. It wins over every other limit; a shutdown is late
    /// by a fifth of a second at most, also when engines ignore it. When engines block every worker thread,
    /// the report comes no sooner than after 1.1 s.
    pub shutdown_within: Duration,
    /// Time of a shutdown in which agents drain; what they have not done by then is cancelled. Default: all
    /// that `shutdown_within` leaves; at most that.
    pub drain_within: Option<Duration>,
    /// Time of `shutdown_within` that is kept for what follows the draining: cancelling, `on_flush`
    /// callbacks, closing the store. Default 1 s. It never takes more than half of `shutdown_within`.
    pub closing_within: Duration,
    /// Time for each callback of a shutdown. Default 5 s; at least 1 ms. All of them together have no more
    /// than `shutdown_within` leaves: those of `on_shutdown` share the time with the draining, those of
    /// `on_flush` have what is left after it.
    pub callback_within: Duration,
    /// Whether a shutdown runs jobs that wait for a slot (true), or only those that run already (false).
    /// Default true, because the memory store would lose them.
    pub drain_queued: bool,
    /// The treatment of batches that are not full at a shutdown. Default: keep them on a store that outlives
    /// the process, where they close by their original deadline in the next life; flush them on the memory
    /// store.
    pub partial_batches: Partial,
    /// Period of the sweep for batch time-outs that the timekeeper may have missed. Default 1 s; at least 10
    /// ms.
    pub batch_sweep_every: Duration,
    /// Period of the cleanup of expired joins that the timekeeper may have missed. Default 5 s; at least 10
    /// ms.
    pub correlation_sweep_every: Duration,
    /// Period of the janitor, which has the store remove what `retention` lets go. Default 60 s; at least 10
    /// ms.
    pub janitor_every: Duration,
    /// How much of what is finished the store keeps. Default: no bound but the store's own.
    pub retention: Retention,
    /// Period of the lookout, which finds attempts that are overdue and agents whose jobs wait for long.
    /// Default 1 s; at least 10 ms.
    pub look_every: Duration,
    /// How often the levels that gauges show are read: depth and age of queues, what runs. Default 5 s; at
    /// least 10 ms. Without a meter they are not read.
    pub levels_every: Duration,
    /// How long a poll of an engine may take, and a ready task may wait for a worker thread, before the
    /// lookout says so. Default 1 s; at least 10 ms, or 0 to look for neither and have no thread for it.
    pub blocked_after: Duration,
    /// How long a job may wait for its agent before the lookout says so. Default 60 s; at least 10 ms.
    pub oldest_age: Duration,
    /// Period of the eviction of idle resources. Default 5 s; at least 10 ms.
    pub evict_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queued_max: 100_000,
            overflow: Overflow::default(),
            collected_max: 1_000_000,
            jobs_in_memory_max: 10_000,
            generations_max: 1_000,
            feed_capacity: 1_024,
            shutdown_within: Duration::from_secs(20),
            drain_within: None,
            closing_within: Duration::from_secs(1),
            callback_within: Duration::from_secs(5),
            drain_queued: true,
            partial_batches: Partial::default(),
            batch_sweep_every: Duration::from_secs(1),
            correlation_sweep_every: Duration::from_secs(5),
            janitor_every: Duration::from_secs(60),
            retention: Retention::default(),
            look_every: Duration::from_secs(1),
            levels_every: Duration::from_secs(5),
            blocked_after: Duration::from_secs(1),
            oldest_age: Duration::from_secs(60),
            evict_every: Duration::from_secs(5),
        }
    }
}

impl Settings {
    pub(crate) fn validate(&self) -> Result<()> {
        let period = Duration::from_millis(10);
        let checks = [
            (self.queued_max > 0, "queued_max", self.queued_max.to_string(), "it must be at least 1"),
            (
                self.collected_max > 0,
                "collected_max",
                self.collected_max.to_string(),
                "it must be at least 1",
            ),
            (
                self.jobs_in_memory_max > 0,
                "jobs_in_memory_max",
                self.jobs_in_memory_max.to_string(),
                "it must be at least 1",
            ),
            (
                (1..=1 << 20).contains(&self.feed_capacity),
                "feed_capacity",
                self.feed_capacity.to_string(),
                "it must be between 1 and 1,048,576",
            ),
            (
                self.drain_within.is_none_or(|within| within <= self.shutdown_within),
                "drain_within",
                format!("{:?}", self.drain_within),
                "it must be at most shutdown_within",
            ),
            (
                self.callback_within >= Duration::from_millis(1),
                "callback_within",
                format!("{:?}", self.callback_within),
                "it must be at least 1 ms",
            ),
        ];
        let spans = [
            ("batch_sweep_every", self.batch_sweep_every),
            ("correlation_sweep_every", self.correlation_sweep_every),
            ("janitor_every", self.janitor_every),
            ("look_every", self.look_every),
            ("levels_every", self.levels_every),
            ("oldest_age", self.oldest_age),
            ("evict_every", self.evict_every),
            // 0 turns it off.
            ("blocked_after", if self.blocked_after.is_zero() { period } else { self.blocked_after }),
        ];
        let spans = spans.map(|(setting, span)| {
            (span >= period, setting, format!("{span:?}"), "it must be at least 10 ms")
        });
        for (holds, setting, value, rule) in checks.into_iter().chain(spans) {
            if !holds {
                return Err(Cause::Setting { setting, value, rule }.into());
            }
        }
        Ok(())
    }
}
