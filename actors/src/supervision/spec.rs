//! Specs: a tree as data, plus the factories of its lives.
//!
//! A spec starts nothing. It is validated as a whole, child supervisors included, before anything starts.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::backoff::Backoff;
use super::intensity::Intensity;
use super::keeper::LifeFactory;
use super::life::{ActorFactory, Fault, Life};
use super::report::StartError;
use super::restart::Restart;
use super::strategy::Strategy;
use super::subtree::SubtreeFactory;

/// The time a child has to stop unless its spec says otherwise. Halved, a flush to a slow disk may be cut
/// off; doubled, a handful of stuck children uses up what an orchestrator grants the whole process.
const SHUTDOWN_DEFAULT: Duration = Duration::from_secs(5);

/// How many children may be added to a running supervisor unless its spec says otherwise. It guards
/// against a leak, not against load: about 10 MiB of idle actors.
const DYNAMIC_CHILDREN_MAX_DEFAULT: usize = 1024;

/// Names a child among its siblings, or a supervisor. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(Arc<str>);

impl ChildId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ChildId {
    fn from(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl From<String> for ChildId {
    fn from(name: String) -> Self {
        Self(Arc::from(name))
    }
}

impl From<&ChildId> for ChildId {
    fn from(id: &ChildId) -> Self {
        id.clone()
    }
}

impl Borrow<str> for ChildId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Says how a child is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Asked to stop; killed if it has not ended, clean-up included, after this time.
    ///
    /// The same time bounds the clean-up after a failure.
    After(Duration),
    /// Killed at once, without clean-up. (After a failure of its own the clean-up still runs, for at most
    /// five seconds.)
    Kill,
    /// Asked to stop and waited for, however long it takes. Meant for child supervisors.
    WaitForever,
}

impl Shutdown {
    /// The time for the clean-up after a failure.
    pub(super) fn cleanup_time(self) -> Option<Duration> {
        match self {
            Self::After(time) => Some(time),
            Self::Kill => Some(SHUTDOWN_DEFAULT),
            Self::WaitForever => None,
        }
    }
}

/// Says whether a supervisor ends when its significant children have ended by themselves.
///
/// Only an end without a restart counts: a transient child that finished, a temporary one however it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoShutdown {
    /// It does not.
    #[default]
    Never,
    /// As soon as one of them has.
    AnySignificant,
    /// Once all of them have.
    AllSignificant,
}

/// The data of a child, without its factory.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) id: ChildId,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) significant: bool,
    pub(super) intensity: Option<Intensity>,
    pub(super) backoff: Backoff,
}

impl Terms {
    pub(super) fn new(id: ChildId) -> Self {
        Self {
            id,
            restart: Restart::default(),
            shutdown: Shutdown::After(SHUTDOWN_DEFAULT),
            significant: false,
            intensity: None,
            backoff: Backoff::default(),
        }
    }

    fn problem(&self, auto_shutdown: AutoShutdown) -> Option<&'static str> {
        if self.intensity.is_some_and(|intensity| intensity.within.is_zero()) {
            Some("the window of its intensity is zero")
        } else if self.significant && self.restart == Restart::Permanent {
            Some("a permanent child is always restarted and cannot be significant")
        } else if self.significant && auto_shutdown == AutoShutdown::Never {
            Some("it is significant, but its supervisor never shuts down automatically")
        } else {
            self.backoff.problem()
        }
    }
}

/// Describes a child: its id, its terms and the factory of its lives.
///
/// Defaults: [`Restart::Permanent`]; five seconds to stop (a child supervisor: as long as it takes); not
/// significant; no intensity of its own besides the supervisor's; [`Backoff::default`]; up to 1024 messages
/// waiting between two lives. Dropping a spec that was never started ends its address.
#[must_use = "a spec starts nothing until it is given to a supervisor"]
pub struct ChildSpec {
    pub(super) terms: Terms,
    pub(super) factory: Arc<dyn LifeFactory>,
}

impl ChildSpec {
    /// Describes an actor and returns its stable address.
    ///
    /// `make` builds the value of each life and is called again for every restart; an error or a panic of
    /// it is a failed start. The address takes messages at once: they wait for the first life. `make` gets
    /// that address, too; the running life may keep it.
    pub fn actor<L, F, Fut>(id: impl Into<ChildId>, make: F) -> (Self, Address<L::Message>)
    where
        L: Life,
        F: Fn(Address<L::Message>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<L, Fault>> + Send + 'static,
    {
        let (factory, address) = ActorFactory::new(make);
        (Self { terms: Terms::new(id.into()), factory: Arc::new(factory) }, address)
    }

    /// Describes a whole subtree as a child, under the supervisor's own id.
    ///
    /// Each of its lives builds the subtree anew from the spec; children added while running are not part
    /// of the next life. It is waited for however long it takes to stop, since each of its children has
    /// its own limit.
    pub fn supervisor(spec: SupervisorSpec) -> Self {
        let mut terms = Terms::new(spec.id.clone());
        terms.shutdown = Shutdown::WaitForever;
        Self { terms, factory: Arc::new(SubtreeFactory::new(spec)) }
    }

    /// Sets whether the child gets another life after it ended.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.terms.restart = restart;
        self
    }

    /// Sets how the child is stopped.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.terms.shutdown = shutdown;
        self
    }

    /// Makes the child significant for [`SupervisorSpec::auto_shutdown`].
    pub fn significant(mut self) -> Self {
        self.terms.significant = true;
        self
    }

    /// Limits the restarts of this child alone; passing the limit ends the supervisor.
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.terms.intensity = Some(intensity);
        self
    }

    /// Sets the waits before restarts.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.terms.backoff = backoff;
        self
    }

    /// Bounds the messages waiting between two lives. Has no meaning for a child supervisor.
    pub fn mailbox(self, restart_queue_bound: usize) -> Self {
        self.factory.set_waiting_max(restart_queue_bound);
        self
    }

    /// The child's id.
    #[must_use]
    pub fn id(&self) -> &ChildId {
        &self.terms.id
    }

    /// Checks this spec, and the subtree under it, for a place under `supervisor`.
    pub(super) fn validate(&self, supervisor: &ChildId, auto: AutoShutdown) -> Result<(), StartError> {
        if let Some(problem) = self.terms.problem(auto) {
            let (supervisor, child) = (supervisor.clone(), self.terms.id.clone());
            return Err(StartError::InvalidChild { supervisor, child, problem });
        }
        self.factory.validate()
    }

    /// Another handle on the same child, for the next life of the supervisor above it.
    pub(super) fn share(&self) -> Self {
        Self { terms: self.terms.clone(), factory: Arc::clone(&self.factory) }
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// Describes a supervisor and its children, in start order.
///
/// Defaults: [`Strategy::OneForOne`], [`Intensity::default`], [`AutoShutdown::Never`], up to 1024 dynamic
/// children, seed 0.
#[derive(Debug)]
#[must_use = "a spec starts nothing until it is given to a supervisor"]
pub struct SupervisorSpec {
    pub(super) id: ChildId,
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) dynamic_children_max: usize,
    pub(super) seed: u64,
    pub(super) children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// Describes a supervisor without children. The id appears in events, reports and logs.
    pub fn new(id: impl Into<ChildId>) -> Self {
        Self {
            id: id.into(),
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            auto_shutdown: AutoShutdown::default(),
            dynamic_children_max: DYNAMIC_CHILDREN_MAX_DEFAULT,
            seed: 0,
            children: Vec::new(),
        }
    }

    /// Sets which siblings share the fate of a failed child.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Limits the restarts of all children together; passing the limit ends the supervisor.
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// Adds a child after those added before.
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Bounds the children added while running.
    pub fn dynamic_children_max(mut self, max: usize) -> Self {
        self.dynamic_children_max = max;
        self
    }

    /// Sets whether the end of significant children ends the supervisor.
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// Seeds the jitter of the back-offs, together with the supervisor's id.
    ///
    /// The same seed gives the same waits. Processes that must not restart in step need different seeds.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The supervisor's id.
    #[must_use]
    pub fn id(&self) -> &ChildId {
        &self.id
    }

    /// Checks the whole tree under this spec.
    pub(super) fn validate(&self) -> Result<(), StartError> {
        if self.intensity.within.is_zero() {
            let problem = "the window of its intensity is zero";
            return Err(StartError::InvalidSupervisor { supervisor: self.id.clone(), problem });
        }
        let mut ids = HashSet::new();
        for child in &self.children {
            if !ids.insert(&child.terms.id) {
                let (supervisor, child) = (self.id.clone(), child.terms.id.clone());
                return Err(StartError::DuplicateChild { supervisor, child });
            }
            child.validate(&self.id, self.auto_shutdown)?;
        }
        Ok(())
    }
}
