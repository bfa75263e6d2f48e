//! The builder: components and settings in, a running tree out.
//!
//! Everything is validated before anything starts.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use volery_blackboard::matching::Matcher;
use volery_blackboard::store::{Memory, Store};
use volery_blackboard::{AgentName, SubscriptionIndex};
use volery_observability::{Metrics, Providers};

use super::plan::Plan;
use super::{Parts, Volery};
use crate::agent::{
    Agent, AgentActor, AgentMessage, AgentParts, Attempts, Calls, Environment, Instruments, Services, Slots,
};
use crate::clock::Clock;
use crate::curator::{AgentHandle, Curator, CuratorParts, Timekeeper};
use crate::error::{Cause, Result};
use crate::feed::{Event, Feed};
use crate::ingress::{Ingress, Limits, Panics};
use crate::kinds::KindTable;
use crate::observer::{self, AgentFacts, Host, SubscriptionFacts};
use crate::resource::{Evict, Registration, Resource};
use crate::root::Root;
use crate::settings::Settings;
use crate::supervision::{
    Address, ChildSpec, Intensity, LifeEvent, Observer, Shutdown, Strategy, Supervisor, SupervisorSpec,
};
use crate::upkeep::{Findings, Loops, Mailboxes, Schedule, SentryParts, Upkeep, check_schedules};

/// Restarts of a part of the runtime before the runtime gives up: what fails more often than that does not
/// mend itself, and the platform's restart of the whole process is the better cure.
pub(super) const INTENSITY: Intensity = Intensity { restarts: 5, within: Duration::from_secs(10) };

/// How long a part may take to stop before it is killed. Only agents have anything to wait for: the dropping
/// of attempts.
const STOP_WITHIN: Duration = Duration::from_millis(500);

/// Collects what a runtime is made of. Made by [`Volery::builder`].
#[must_use]
pub struct Builder {
    name: String,
    agents: Vec<Agent>,
    store: Arc<dyn Store>,
    settings: Settings,
    clock: Option<Clock>,
    extras: Extras,
}

/// Schedules, resources and instruments: everything but the agents.
#[derive(Default)]
struct Extras {
    schedules: Vec<Schedule>,
    resources: Vec<Arc<dyn Evict>>,
    metrics: Metrics,
    providers: Providers,
}

impl Extras {
    /// The observer of the runtime.
    fn observer(&self, runtime: &str, plan: &Plan, clock: &Clock, store: &'static str) -> observer::Observer {
        let providers = self.providers.clone();
        let spans = providers.spans();
        let metrics = self.metrics.for_runtime(runtime);
        let metrics = if metrics.is_on() {
            metrics.watch_spans(&spans);
            metrics
        } else {
            providers.metrics(runtime, &spans)
        };
        let facts =
            |agent: &AgentParts| AgentFacts::new(agent.viewer.name.clone(), agent.concurrency, agent.models);
        let agents = plan.agents.iter().map(facts);
        let subscriptions =
            plan.subscriptions().map(|(agent, _, subscription)| SubscriptionFacts::new(agent, subscription));
        observer::Observer::new((providers, spans, metrics), clock.clone(), store, agents, subscriptions)
    }
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            agents: Vec::new(),
            store: Arc::new(Memory::new()),
            settings: Settings::default(),
            clock: None,
            extras: Extras::default(),
        }
    }

    /// Adds an agent.
    pub fn agent(mut self, agent: Agent) -> Self {
        self.agents.push(agent);
        self
    }

    /// Adds several agents.
    pub fn agents(mut self, agents: impl IntoIterator<Item = Agent>) -> Self {
        self.agents.extend(agents);
        self
    }

    /// Publishes artifacts at planned times.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.extras.schedules.push(schedule);
        self
    }

    /// Has values of a resource evicted when they are idle, and all of them dropped after the agents have
    /// stopped.
    pub fn resource<T: Send + Sync + 'static>(mut self, resource: &Resource<T>) -> Self {
        self.extras.resources.push(Arc::new(resource.clone()));
        self
    }

    /// Records numbers on the service's meter: `.metrics(Metrics::new(&meter))`. Default: nothing is
    /// recorded.
    #[cfg(feature = "telemetry")]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.extras.metrics = metrics;
        self
    }

    /// Shows traces and metrics by the service's providers: those of `telemetry::init` (feature `otlp`), or
    /// `Providers::none().tracer(tracer_provider).meter(meter_provider)`. Default: nothing is shown.
    ///
    /// Every run is a trace then; `docs/observability.md` in the repository says what is in it. The shutdown
    /// exports the spans and metrics that are still in memory as its last phase, if the providers know how.
    #[cfg(feature = "telemetry")]
    pub fn telemetry(mut self, providers: Providers) -> Self {
        self.extras.providers = providers;
        self
    }

    /// Sets the store. Default: [`Memory`], which loses everything with the process.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// Sets every knob, for settings read from a file.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Changes some knobs: `.configure(|settings| settings.shutdown_within = Duration::from_secs(5))`.
    pub fn configure(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Sets the clock; for tests that want the same ids every time.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Validates everything, then starts it in order.
    ///
    /// # Errors
    /// Of kind [`FixInput`](crate::ErrorKind::FixInput) when an agent's name stands twice, two types claim
    /// one kind name (the error names both), a subscription or a setting makes no sense, or no tokio runtime
    /// is there; store errors when the store does not open; of kind `Report` when a part does not start.
    /// Nothing is left running then, nor when this is dropped before it is done.
    pub async fn start(self) -> Result<Volery> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Cause::NoTokio.into());
        }
        self.settings.validate()?;
        let mut plan = Plan::new(self.agents)?;
        check_schedules(&self.extras.schedules, &mut plan.kinds)?;
        self.store.open(plan.catalogue()).await?;
        for damage in self.store.damage() {
            tracing::error!(target: "volery::curator", store = self.store.name(), %damage, "a record was set aside");
        }
        let clock = self.clock.unwrap_or_else(Clock::system);
        let mut matcher = Matcher::new(self.settings.generations_max);
        for (agent, index, subscription) in plan.subscriptions() {
            matcher.add(index, subscription, &plan.agents[agent.at()].viewer);
        }
        let limits = Limits {
            queued_max: self.settings.queued_max,
            collected_max: self.settings.collected_max,
            overflow: self.settings.overflow,
        };
        let observer = Arc::new(self.extras.observer(&self.name, &plan, &clock, self.store.system()));
        let panics = Panics::new(plan.agents.iter().map(|agent| agent.rule));
        let ingress = Arc::new(Ingress::new(self.name.clone(), limits, panics));
        let host: Arc<dyn Host> = Arc::<Ingress>::clone(&ingress);
        observer.connect(Arc::downgrade(&host));
        let services = Arc::new(Services {
            store: self.store,
            ingress,
            matcher,
            kinds: KindTable::new(plan.kinds.clone()),
            clock,
            observer,
        });
        assemble(self.name, self.settings, services, plan, self.extras).await
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("agents", &self.agents)
            .field("store", &self.store)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Builds the tree, connects its parts and starts it.
async fn assemble(
    name: String,
    settings: Settings,
    services: Arc<Services>,
    plan: Plan,
    extras: Extras,
) -> Result<Volery> {
    let names = plan.agents.iter().map(|agent| agent.viewer.name.clone()).collect();
    let owners = plan.subscriptions().map(|(agent, ..)| agent).collect();
    let feed = Feed::new(settings.feed_capacity, names, owners);
    let outlives_process = services.store.outlives_process();
    let board = plan.board(settings.jobs_in_memory_max, services.observer.is_on(), outlives_process);
    let AgentChildren { tree: agent_specs, addresses: agents, attempts } = agent_children(plan, &services);
    let (clock, ingress) = (services.clock.clone(), Arc::clone(&services.ingress));
    let (timekeeper_spec, timekeeper) = {
        let (clock, ingress) = (clock.clone(), Arc::clone(&ingress));
        ChildSpec::actor("timekeeper", move |own| {
            let life = Timekeeper::new(clock.clone(), Arc::clone(&ingress), own);
            async move { Ok(life) }
        })
    };
    let parts = Arc::new(CuratorParts {
        store: services.store.clone(),
        ingress: Arc::clone(&ingress),
        clock: clock.clone(),
        feed: feed.clone(),
        agents: attempts
            .slots()
            .zip(&agents)
            .map(|(slots, (_, actor))| AgentHandle { slots: Arc::clone(slots), actor: actor.clone() })
            .collect(),
        timekeeper: timekeeper.clone(),
        observer: Arc::clone(&services.observer),
        board,
    });
    let (curator_spec, curator) = ChildSpec::actor("curator", move |_| Curator::begin(Arc::clone(&parts)));
    let mailboxes = Mailboxes::of(&agents, &timekeeper, &curator);
    ingress.connect(curator);
    let metrics = services.observer.metrics().clone();
    let findings = Arc::new(Findings::new(feed.clone(), metrics.clone()));
    let resources: Arc<[Arc<dyn Evict>]> = extras.resources.into();
    let registrations: Vec<Registration> = resources.iter().cloned().map(Registration::new).collect();
    let sentry = Arc::new(SentryParts {
        blocked_after: settings.blocked_after,
        attempts: attempts.clone(),
        findings: Arc::clone(&findings),
        clock: clock.clone(),
        metrics: metrics.clone(),
        threads: Mutex::default(),
    });
    let (upkeep, loops) = upkeep_children(
        &settings,
        Upkeep {
            services: Arc::clone(&services),
            sentry: Arc::clone(&sentry),
            metrics,
            feed: feed.clone(),
            mailboxes,
            schedules: extras.schedules,
            resources,
        },
    );
    let tree = SupervisorSpec::new(name.clone())
        .strategy(Strategy::RestForOne)
        .intensity(INTENSITY)
        .seed(clock.draw())
        .child(timekeeper_spec.shutdown(Shutdown::After(STOP_WITHIN)))
        .child(curator_spec.shutdown(Shutdown::After(STOP_WITHIN)))
        .child(ChildSpec::supervisor(agent_specs))
        .child(ChildSpec::supervisor(upkeep));
    let lives = Arc::new(LifeObserver(feed.clone(), Arc::clone(&services.observer)));
    let supervisor = Supervisor::start(tree, lives)
        .await
        .map_err(|error| Cause::Start { what: format!("starting runtime `{name}`"), source: error.into() })?;
    let root = Root {
        name: name.clone(),
        clock,
        settings,
        supervisor: supervisor.clone(),
        ingress,
        feed: feed.clone(),
        store: services.store.clone(),
        attempts: attempts.clone(),
        resources: registrations,
        sentry,
        silent: AtomicBool::new(false),
        observer: Arc::clone(&services.observer),
    };
    let root = root.start_stopper();
    Ok(Volery(Arc::new(Parts {
        name,
        services,
        feed,
        root,
        agents,
        supervisor,
        signals: Mutex::default(),
        notifier: Mutex::default(),
        first_seen: Mutex::default(),
        loops,
        findings,
        attempts,
    })))
}

/// The agents' supervisor, the way to each of them, and their slots.
struct AgentChildren {
    tree: SupervisorSpec,
    addresses: Vec<(AgentName, Address<AgentMessage>)>,
    attempts: Attempts,
}

fn agent_children(plan: Plan, services: &Arc<Services>) -> AgentChildren {
    let mut tree = SupervisorSpec::new("agents").strategy(Strategy::OneForOne).intensity(INTENSITY);
    let mut addresses = Vec::with_capacity(plan.agents.len());
    let mut all_slots = Vec::with_capacity(plan.agents.len());
    let mut first = SubscriptionIndex(0);
    let instruments = Instruments {
        clock: services.clock.clone(),
        metrics: services.observer.metrics().clone(),
        looks: Arc::default(),
    };
    for agent in plan.agents {
        let name = agent.viewer.name;
        let slots = Slots::new(name.clone(), agent.concurrency, agent.expected, instruments.clone());
        let slots = Arc::new(slots);
        all_slots.push(Arc::clone(&slots));
        let environment = Arc::new(Environment {
            workflow: Arc::from(name.as_str()),
            retry: agent.retry,
            cancel_grace: agent.cancel_grace,
            timeouts: agent.timeouts,
            slots,
            services: Arc::clone(services),
        });
        let calls: Vec<Calls> = agent.subscriptions.into_iter().map(|(_, calls)| calls).collect();
        let (own_first, count) = (first, u32::try_from(calls.len()).unwrap_or(u32::MAX));
        let (spec, address) = ChildSpec::actor(name.as_str().to_owned(), move |_| {
            let life = AgentActor::new(Arc::clone(&environment), own_first, &calls);
            async move { Ok(life) }
        });
        // At most the opening of each slot, and a burial for each, can be in the mailbox at once.
        let bound = (agent.concurrency as usize).saturating_mul(2).saturating_add(16);
        tree = tree.child(spec.mailbox(bound).shutdown(Shutdown::After(STOP_WITHIN)));
        addresses.push((name, address));
        first = SubscriptionIndex(first.0 + count);
    }
    AgentChildren { tree, addresses, attempts: Attempts::new(all_slots, instruments.looks) }
}

fn upkeep_children(settings: &Settings, upkeep: Upkeep) -> (SupervisorSpec, Loops) {
    let tree = SupervisorSpec::new("upkeep").strategy(Strategy::OneForOne).intensity(INTENSITY);
    upkeep.children(tree, settings, |child| child.shutdown(Shutdown::After(STOP_WITHIN)))
}

/// Puts life events into the feed, and counts restarts.
struct LifeObserver(Feed, Arc<observer::Observer>);

impl Observer for LifeObserver {
    fn observe(&self, event: &LifeEvent) {
        if let LifeEvent::Restarting { child, .. } = event {
            self.1.actor_restarted(child.as_str());
        }
        self.0.tell(|| Event::Life(event.clone()));
    }
}
