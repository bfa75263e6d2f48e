//! The register of findings: each is there from the moment it is found until it is over.
//!
//! A finding is logged, fed and counted when it begins and when it is over. The register looks for nothing
//! itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use volery_blackboard::AgentName;
use volery_observability::Metrics;

use crate::feed::{Event, Feed};
use crate::finding::{Finding, FindingKey, FindingKind};

/// The findings of now. They belong to the runtime, and outlive the lookout's lives.
#[derive(Debug)]
pub(crate) struct Findings {
    current: Mutex<BTreeMap<FindingKey, Finding>>,
    feed: Feed,
    metrics: Metrics,
}

impl Findings {
    pub(crate) fn new(feed: Feed, metrics: Metrics) -> Self {
        Self { current: Mutex::default(), feed, metrics }
    }

    pub(crate) fn all(&self) -> Vec<Finding> {
        self.lock().values().cloned().collect()
    }

    /// Takes what there is of one kind now; says what is new and what is over. Saying the same again changes
    /// nothing.
    pub(super) fn replace(&self, kind: FindingKind, found: Vec<Finding>) {
        let found: BTreeMap<FindingKey, Finding> =
            found.into_iter().map(|finding| (finding.key(), finding)).collect();
        let (mut begun, mut over) = (Vec::new(), Vec::new());
        {
            let mut current = self.lock();
            current.retain(|key, finding| {
                let stays = key.kind != kind || found.contains_key(key);
                if !stays {
                    over.push(finding.clone());
                }
                stays
            });
            for (key, finding) in found {
                if current.insert(key, finding.clone()).is_none() {
                    begun.push(finding);
                }
            }
        }
        // Subscribers and meters are code of the service: not under the lock.
        over.into_iter().for_each(|finding| self.announce_end(finding));
        begun.into_iter().for_each(|finding| self.announce_begin(finding));
    }

    /// The runtime has stopped, and nobody looks any more: its meter shows no finding of it.
    pub(crate) fn close(&self) {
        for finding in std::mem::take(&mut *self.lock()).into_values() {
            self.count(&finding, -1);
        }
    }

    fn announce_begin(&self, finding: Finding) {
        tracing::warn!(target: "volery::lookout", %finding, "found");
        self.count(&finding, 1);
        self.feed.tell(|| Event::Found(finding));
    }

    fn announce_end(&self, finding: Finding) {
        tracing::info!(target: "volery::lookout", %finding, "over");
        self.count(&finding, -1);
        self.feed.tell(|| Event::Over(finding));
    }

    fn count(&self, finding: &Finding, change: i64) {
        let agent = finding.agent().map(AgentName::as_str).unwrap_or_default();
        self.metrics.finding(finding.kind().as_str(), agent, change);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FindingKey, Finding>> {
        // Plain data; nothing under the lock can panic.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
