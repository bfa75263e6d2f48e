//! Schedules: artifacts that are published at planned times.
//!
//! The plan is a function of the clock alone (`timing.rs`), so a restarted schedule, or a second schedule of
//! the same name over the same store, plans the same firings; each has an idempotency key of its own, and is
//! published once.

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::store::{Few, NewArtifact, StoreError, Stored};
use volery_blackboard::{Artifact, BlackboardError, Body, Filter, Kind, Kinds, Payload, Timestamp};
use volery_observability::Metrics;
use volery_observability::metrics::Counted;

use super::periodic::{Loop, NextTick};
use crate::agent::Services;
use crate::error::{Cause, ErrorKind, Result};
use crate::fault::{Fault, take_text};
use crate::ingress::PublishCall;
use crate::kinds::KindTable;
use crate::observer::{OfRun, Source};

mod timing;

use timing::Timing;

/// Shorter periods would publish faster than anything that is planned by the clock makes sense.
const PERIOD_MIN: Duration = Duration::from_millis(10);

/// When a store that could not say what was missed is asked again. A tenth would only fill the log while it
/// is away; ten times as much would delay the firing noticeably.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The treatment of firings whose planned time passed while they could not be published: the process was
/// down, or a firing before them waited for room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// They are skipped; the next one comes at its planned time.
    #[default]
    Skip,
    /// One firing, as soon as it is possible, makes up for all of them. Over a restart of the process this
    /// needs the schedule's last artifact to be in the store still; without one the schedule has never fired,
    /// and has missed nothing.
    Once,
}

/// Makes the payload of a firing.
type Make = dyn Fn(&KindTable) -> Result<(Kind, Body), BlackboardError> + Send + Sync;

/// Publishes an artifact at planned times, each in a run of its own that is named after the schedule.
///
/// The artifact carries the tag `schedule:<name>` and the idempotency key `schedule:<name>:<planned time>`,
/// so that neither a restart nor a second runtime over the same store repeats a firing that is kept. The
/// closure runs in a task of the runtime: it must not block; a panic in it is logged and counted, and so is a
/// publish that is refused. The next firing comes as planned. Schedules stop first at a shutdown.
#[derive(Clone)]
#[must_use = "a schedule fires nothing until it is given to a runtime"]
pub struct Schedule {
    name: Arc<str>,
    /// The plan, or the fault of the expression.
    timing: Result<Timing, String>,
    missed: Missed,
    make: Arc<Make>,
    register: fn(&mut Kinds) -> Result<(), BlackboardError>,
}

impl Schedule {
    /// Fires at every multiple of `period` since the Unix epoch: every minute, on the minute. At least 10 ms.
    ///
    /// The name is unique within a runtime and stable over restarts.
    pub fn every<T: Payload>(
        name: impl Into<Arc<str>>,
        period: Duration,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self::new(name.into(), Ok(Timing::Every(period)), make)
    }

    /// Fires when a cron expression of five fields says so: minute, hour, day of month, month, day of week.
    ///
    /// Times are in UTC, unless the expression ends with the name of a time zone: `0 3 * * * Europe/Berlin`.
    /// Names of time zones are looked up in the system's database. An expression that makes no sense is
    /// refused at the start.
    #[cfg(feature = "cron")]
    pub fn cron<T: Payload>(
        name: impl Into<Arc<str>>,
        expression: &str,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        Self::new(name.into(), Timing::cron(expression), make)
    }

    fn new<T: Payload>(
        name: Arc<str>,
        timing: Result<Timing, String>,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        let make = move |kinds: &KindTable| Ok((kinds.kind_of::<T>()?, Body::typed(Arc::new(make()))));
        let register = |kinds: &mut Kinds| kinds.register::<T>().map(drop);
        Self { name, timing, missed: Missed::default(), make: Arc::new(make), register }
    }

    /// Says what becomes of firings that were missed. Default: [`Missed::Skip`].
    pub fn missed(self, missed: Missed) -> Self {
        Self { missed, ..self }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Checks the schedule and notes the kind that it publishes.
    pub(crate) fn register(&self, kinds: &mut Kinds) -> Result<()> {
        let refuse = |what: &str| Cause::Schedule { name: self.name.to_string(), what: what.to_owned() };
        match &self.timing {
            Err(problem) => return Err(refuse(problem).into()),
            Ok(Timing::Every(period)) if *period < PERIOD_MIN => {
                return Err(refuse("its period must be at least 10 ms").into());
            }
            Ok(_) if self.name.is_empty() => return Err(refuse("it needs a name").into()),
            Ok(_) => {}
        }
        Ok((self.register)(kinds)?)
    }

    fn tag(&self) -> String {
        format!("schedule:{}", self.name)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("name", &self.name)
            .field("timing", &self.timing)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// The loop of one schedule.
pub(super) struct Firing {
    schedule: Schedule,
    timing: Timing,
    services: Arc<Services>,
    metrics: Metrics,
    /// The planned time of the next firing; `MAX` when there is none.
    upcoming: Timestamp,
    /// Whether the store still has to be asked what was missed.
    unsure: bool,
}

impl Firing {
    pub(super) fn new(schedule: Schedule, services: Arc<Services>, metrics: Metrics) -> Result<Self, Fault> {
        let timing = schedule.timing.clone()?;
        let now = services.clock.now();
        let unsure = schedule.missed == Missed::Once;
        let upcoming = if unsure { now } else { timing.after(now) };
        Ok(Self { schedule, timing, services, metrics, upcoming, unsure })
    }

    /// Asks the store for the last firing, and plans the first one that was missed since.
    async fn look_back(&mut self, now: Timestamp) -> Result<()> {
        // Should the store fail, it is asked again soon, so that what was missed does not wait for the next
        // planned firing.
        let planned = self.timing.after(now);
        self.upcoming = planned.min(now.after(LOOK_AGAIN_AFTER));
        let last = Filter::all().tagged(self.schedule.tag()).newest_first().limit(1);
        let last = match self.services.store.find(&last).await {
            Ok(page) => page.artifacts.into_iter().next(),
            Err(error @ StoreError::NotOffered { .. }) => {
                let child = &*self.schedule.name;
                tracing::warn!(target: "volery::upkeep", child, %error, "missed firings are not known");
                None
            }
            Err(error) => return Err(error.into()),
        };
        self.upcoming = last.map_or(planned, |last| self.timing.after(last.published_at()));
        self.unsure = false;
        Ok(())
    }

    async fn fire(&self, planned: Timestamp) -> Result<Counted, Fault> {
        let make = || (self.schedule.make)(&self.services.kinds);
        let made = catch_unwind(AssertUnwindSafe(make));
        let (kind, body) = made.map_err(|panic| format!("the closure panicked: {}", take_text(panic)))??;
        let (clock, now) = (&self.services.clock, self.services.clock.now());
        let tag = self.schedule.tag();
        let artifact = Artifact::new(clock.artifact_id(now), kind, body, clock.run_id(now), now)
            .with_idempotency_key(format!("{tag}:{planned}").into())
            .with_tags(BTreeSet::from([tag]));
        let claims = self.services.matcher.claims(&artifact);
        let workflow = Arc::clone(&self.schedule.name);
        let mut observed = self.services.observer.publish(Source::Schedule);
        let of = OfRun { workflow: &workflow, fresh: true, origin: None };
        let artifact = Arc::new(observed.artifact(artifact, of));
        let publish = NewArtifact { claims, artifact, workflow };
        let mut call = PublishCall::new(Few::from([publish]), observed);
        let stored = poll_fn(|task| call.poll(&self.services.ingress, task)).await?;
        let repeat = stored.iter().any(|stored| matches!(stored, Stored::Repeat(_)));
        Ok(if repeat { Counted::Repeat } else { Counted::Ok })
    }
}

impl Loop for Firing {
    fn next(&self, _: Timestamp) -> NextTick {
        NextTick::At(self.upcoming)
    }

    async fn tick(&mut self) -> Result<(), Fault> {
        let now = self.services.clock.now();
        if self.unsure {
            self.look_back(now).await?;
        }
        let planned = self.upcoming;
        if planned > now {
            return Ok(());
        }
        // Planned before anything can fail or be cut off: this firing makes up for all that were due by now.
        self.upcoming = self.timing.after(now);
        let fired = self.fire(planned).await;
        if self.schedule.missed == Missed::Skip {
            self.upcoming = self.timing.after(self.services.clock.now());
        }
        let outcome = fired.as_ref().map_or(Counted::Error, |outcome| *outcome);
        self.metrics.firing(&self.schedule.name, outcome);
        match fired {
            Err(error) if is_stopping(&error) => {
                tracing::debug!(target: "volery::upkeep", child = &*self.schedule.name, "a firing came while stopping");
                Ok(())
            }
            fired => fired.map(drop),
        }
    }
}

fn is_stopping(error: &Fault) -> bool {
    error.downcast_ref::<crate::error::Error>().is_some_and(|error| error.kind() == ErrorKind::Stop)
}
