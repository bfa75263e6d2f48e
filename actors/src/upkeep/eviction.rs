//! Eviction: drops values of resources that nobody has leased for their time.

use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::Timestamp;
use volery_observability::Metrics;
use volery_observability::metrics::Counted;

use super::periodic::{Loop, NextTick};
use crate::fault::Fault;
use crate::resource::{Evict, drop_values};

/// The parts that the eviction needs.
pub(super) struct Eviction {
    pub(super) period: Duration,
    pub(super) resources: Arc<[Arc<dyn Evict>]>,
    pub(super) metrics: Metrics,
}

impl Loop for Eviction {
    fn next(&self, _: Timestamp) -> NextTick {
        NextTick::Every(self.period)
    }

    async fn tick(&mut self) -> Result<(), Fault> {
        for resource in &*self.resources {
            let idle = resource.take_idle();
            let (name, counts) = (resource.name(), resource.counts());
            self.metrics.loads(name, Counted::Ok, counts.loaded);
            self.metrics.loads(name, Counted::Error, counts.failed);
            self.metrics.evictions(name, counts.evicted);
            drop_values(idle).await;
        }
        Ok(())
    }
}
