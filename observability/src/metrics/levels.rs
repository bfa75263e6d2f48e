//! Levels: the counts of waiting and running work, as a snapshot that the gauges read when the meter
//! collects.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use crate::names::metric::{self, Metric, label};

/// The levels of a runtime at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// One entry per agent.
    pub agents: Vec<AgentLevels>,
    /// Messages that wait, per actor.
    pub mailboxes: Vec<NamedLevel>,
    /// Events that the slowest reader of a feed has before it, per feed.
    pub feeds: Vec<NamedLevel>,
    /// Changes that wait for a commit, per store.
    pub store_backlog: Vec<NamedLevel>,
    /// Artifacts that wait in the store and not in memory, per store.
    pub store_spilled: Vec<NamedLevel>,
}

/// The levels of one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentLevels {
    /// Its name.
    pub agent: Arc<str>,
    /// Jobs that wait.
    pub queued: u64,
    /// The age of the oldest of them; nothing when none waits.
    pub oldest: Duration,
    /// Attempts that run.
    pub in_flight: u64,
    /// Attempts that may run at a time.
    pub limit: u64,
    /// Joins that wait for a side; `None` when nobody counted them.
    pub joins: Option<u64>,
}

/// One level with a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedLevel {
    /// The labels of the level.
    pub name: Arc<str>,
    /// The level.
    pub level: u64,
}

/// Registers the gauges. The meter keeps the callbacks for its life; they show nothing once the metrics are
/// gone.
pub(super) fn observe(meter: &Meter, common: &[KeyValue], cell: &Arc<Mutex<Arc<Levels>>>) {
    let labels = |key: &'static str| {
        let common = common.to_vec();
        move |value: &Arc<str>| {
            let own = KeyValue::new(key, Arc::clone(value));
            common.iter().cloned().chain([own]).collect::<Vec<_>>()
        }
    };
    let agent = |metric: &'static Metric, level: fn(&AgentLevels) -> Option<u64>| {
        let labels = labels(label::AGENT);
        gauge(meter, metric, cell, move |levels, observer| {
            for of in &levels.agents {
                if let Some(level) = level(of) {
                    observer.observe(level, &labels(&of.agent));
                }
            }
        });
    };
    agent(&metric::QUEUE_DEPTH, |levels| Some(levels.queued));
    agent(&metric::JOBS_IN_FLIGHT, |levels| Some(levels.in_flight));
    agent(&metric::JOBS_LIMIT, |levels| Some(levels.limit));
    agent(&metric::JOIN_PENDING, |levels| levels.joins);
    oldest_age(meter, cell, labels(label::AGENT));

    let named = |metric: &'static Metric, levels_of: fn(&Levels) -> &[NamedLevel]| {
        let labels = labels(metric.labels[0]);
        gauge(meter, metric, cell, move |levels, observer| {
            for of in levels_of(levels) {
                observer.observe(of.level, &labels(&of.name));
            }
        });
    };
    named(&metric::MAILBOX_DEPTH, |levels| &levels.mailboxes);
    named(&metric::FEED_LAG, |levels| &levels.feeds);
    named(&metric::STORE_BACKLOG, |levels| &levels.store_backlog);
    named(&metric::STORE_SPILLED, |levels| &levels.store_spilled);
}

fn gauge(
    meter: &Meter,
    metric: &'static Metric,
    cell: &Arc<Mutex<Arc<Levels>>>,
    show: impl Fn(&Levels, &dyn AsyncInstrument<u64>) + Send + Sync + 'static,
) {
    let cell = Arc::downgrade(cell);
    meter
        .u64_observable_gauge(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.says)
        .with_callback(move |observer| {
            if let Some(levels) = read(&cell) {
                show(&levels, observer);
            }
        })
        .build();
}

fn oldest_age(
    meter: &Meter,
    cell: &Arc<Mutex<Arc<Levels>>>,
    labels: impl Fn(&Arc<str>) -> Vec<KeyValue> + Send + Sync + 'static,
) {
    let metric = metric::QUEUE_OLDEST_AGE;
    let cell = Arc::downgrade(cell);
    meter
        .f64_observable_gauge(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.says)
        .with_callback(move |observer| {
            let Some(levels) = read(&cell) else { return };
            for of in &levels.agents {
                observer.observe(of.oldest.as_secs_f64(), &labels(&of.agent));
            }
        })
        .build();
}

fn read(cell: &Weak<Mutex<Arc<Levels>>>) -> Option<Arc<Levels>> {
    cell.upgrade().map(|cell| Arc::clone(&cell.lock().unwrap_or_else(PoisonError::into_inner)))
}
