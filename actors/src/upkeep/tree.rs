//! The upkeep part of the supervision tree: which loops a runtime has, and how they are reached.

use std::collections::HashSet;
use std::sync::Arc;

use volery_blackboard::{Kinds, Timestamp};
use volery_observability::Metrics;

use super::eviction::Eviction;
use super::gauges::{Gauges, Mailboxes};
use super::janitor::Janitor;
use super::lookout::{Lookout, Sentry, SentryParts};
use super::periodic::{Loop, Periodic, PeriodicMessage};
use super::schedule::{Firing, Schedule};
use super::spans::SpanNotes;
use super::status::{LoopRecord, LoopStatus};
use super::sweep::Sweep;
use crate::agent::Services;
use crate::clock::Clock;
use crate::error::{Cause, Result};
use crate::fault::Fault;
use crate::feed::Feed;
use crate::resource::Evict;
use crate::settings::Settings;
use crate::supervision::{Address, ChildSpec, SupervisorSpec};

/// The parts that the loops need.
pub(crate) struct Upkeep {
    pub(crate) services: Arc<Services>,
    pub(crate) sentry: Arc<SentryParts>,
    pub(crate) metrics: Metrics,
    pub(crate) feed: Feed,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) resources: Arc<[Arc<dyn Evict>]>,
}

/// The loops of a runtime, from outside. They stay reachable over restarts.
#[derive(Debug, Default)]
pub(crate) struct Loops {
    known: Vec<(Arc<LoopRecord>, Address<PeriodicMessage>)>,
}

impl Loops {
    pub(crate) fn status(&self) -> Vec<LoopStatus> {
        self.known.iter().map(|(record, _)| record.status()).collect()
    }

    /// Has a loop tick now.
    pub(crate) fn nudge(&self, name: &str) -> Result<()> {
        let found = self.known.iter().find(|(record, _)| record.status().name == name);
        let (_, address) = found.ok_or_else(|| Cause::NoSuchLoop(name.to_owned()))?;
        // Refused only once the runtime has stopped, or by a loop that has a thousand nudges before it.
        address
            .send(PeriodicMessage::Nudge)
            .map_err(|refused| Cause::NotNudged { name: name.to_owned(), reason: refused.reason })?;
        Ok(())
    }
}

/// Checks schedules before anything starts, and notes their kinds.
pub(crate) fn check_schedules(schedules: &[Schedule], kinds: &mut Kinds) -> Result<()> {
    let mut names = HashSet::new();
    for schedule in schedules {
        schedule.register(kinds)?;
        if !names.insert(schedule.name()) {
            let what = "it is declared twice; schedules of one runtime need different names".to_owned();
            return Err(Cause::Schedule { name: schedule.name().to_owned(), what }.into());
        }
    }
    Ok(())
}

impl Upkeep {
    /// Adds every loop to the supervisor of upkeep, each child changed by `terms`.
    pub(crate) fn children(
        self,
        tree: SupervisorSpec,
        settings: &Settings,
        terms: impl Fn(ChildSpec) -> ChildSpec,
    ) -> (SupervisorSpec, Loops) {
        let (clock, ingress) = (self.services.clock.clone(), Arc::clone(&self.services.ingress));
        let mut grove = Grove {
            tree,
            loops: Loops::default(),
            clock: clock.clone(),
            metrics: self.metrics.clone(),
            terms,
        };
        for (name, period) in [
            ("batch-timeouts", settings.batch_sweep_every),
            ("correlation-cleanup", settings.correlation_sweep_every),
        ] {
            let ingress = Arc::clone(&ingress);
            grove.plant(name, move || Ok(Sweep { period, ingress: Arc::clone(&ingress) }));
        }
        let parts = (Arc::clone(&self.services), settings.clone(), self.metrics.clone());
        grove.plant("janitor", move || {
            let (services, settings, metrics) = &parts;
            Ok(Janitor {
                period: settings.janitor_every,
                policy: settings.retention.clone(),
                store: services.store.clone(),
                clock: services.clock.clone(),
                metrics: metrics.clone(),
            })
        });
        let parts = (Arc::clone(&self.services), settings.clone(), Arc::clone(&self.sentry));
        grove.plant("lookout", move || {
            let (services, settings, sentry) = &parts;
            Ok(Lookout {
                period: settings.look_every,
                oldest_age: settings.oldest_age,
                attempts: sentry.attempts.clone(),
                findings: Arc::clone(&sentry.findings),
                ingress: Arc::clone(&services.ingress),
                clock: services.clock.clone(),
                agents_from: Timestamp::MIN,
            })
        });
        if !settings.blocked_after.is_zero() {
            grove.post(self.sentry);
        }
        if !self.resources.is_empty() {
            let (period, resources, metrics) = (settings.evict_every, self.resources, self.metrics.clone());
            grove.plant("eviction", move || {
                Ok(Eviction { period, resources: Arc::clone(&resources), metrics: metrics.clone() })
            });
        }
        if self.metrics.is_on() {
            let (period, services, feed) =
                (settings.levels_every, Arc::clone(&self.services), self.feed.clone());
            let mailboxes = self.mailboxes.clone();
            grove.plant("gauges", move || {
                let (services, feed) = (Arc::clone(&services), feed.clone());
                Ok(Gauges { period, services, feed, mailboxes: mailboxes.clone(), agents: Vec::new() })
            });
        }
        if let Some(period) = self.services.observer.notes_after() {
            let services = Arc::clone(&self.services);
            grove.plant("spans", move || Ok(SpanNotes { period, services: Arc::clone(&services) }));
        }
        for schedule in self.schedules {
            let (services, metrics) = (Arc::clone(&self.services), self.metrics.clone());
            grove.plant(&format!("schedule/{}", schedule.name()), move || {
                Firing::new(schedule.clone(), Arc::clone(&services), metrics.clone())
            });
        }
        (grove.tree, grove.loops)
    }
}

/// The supervisor of upkeep while its children are added.
struct Grove<F> {
    tree: SupervisorSpec,
    loops: Loops,
    clock: Clock,
    metrics: Metrics,
    terms: F,
}

impl<F: Fn(ChildSpec) -> ChildSpec> Grove<F> {
    /// Adds a loop; `make` begins each of its lives.
    fn plant<L: Loop>(&mut self, name: &str, make: impl Fn() -> Result<L, Fault> + Send + Sync + 'static) {
        let record = Arc::new(LoopRecord::new(name.to_owned(), self.metrics.clone()));
        let (clock, of_life) = (self.clock.clone(), Arc::clone(&record));
        let (spec, address) = ChildSpec::actor(name.to_owned(), move |own| {
            let life = make().map(|work| Periodic::new(work, clock.clone(), Arc::clone(&of_life), own));
            async move { life }
        });
        self.add(spec);
        self.loops.known.push((record, address));
    }

    fn post(&mut self, parts: Arc<SentryParts>) {
        let (spec, _) = ChildSpec::actor("sentry", move |own| {
            let life = Sentry::new(Arc::clone(&parts), own);
            async move { Ok(life) }
        });
        self.add(spec);
    }

    fn add(&mut self, spec: ChildSpec) {
        let none = SupervisorSpec::new("upkeep");
        let tree = std::mem::replace(&mut self.tree, none);
        self.tree = tree.child((self.terms)(spec));
    }
}
