//! A subscription without its types: which artifacts it takes, and how it collects them into jobs.
//!
//! Users write subscriptions with the typed builders in [`crate::shape`]; those end here. Judging one
//! artifact happens in [`crate::matching`], collecting in `collect`. Pure: no I/O, no clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::artifact::Artifact;
use crate::error::BlackboardError;
use crate::id::{AgentName, Key};
use crate::kind::Kind;
use crate::time::Timestamp;

type Judge<T> = Arc<dyn Fn(&Artifact) -> Result<T, BlackboardError> + Send + Sync>;

/// How many sides a subscription may have; a side's number fits the small tables used while collecting.
pub(crate) const SIDES_MAX: usize = 8;

/// The artifacts that one agent takes, and how it collects them.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub(crate) sides: Vec<Side>,
    pub(crate) collecting: Collecting,
    pub(crate) batch: Option<Batch>,
}

/// One kind of artifact that a subscription takes.
#[derive(Clone)]
pub struct Side {
    pub(crate) kind: Kind,
    /// How many of it one group needs.
    pub(crate) need: u32,
    pub(crate) from: Vec<AgentName>,
    pub(crate) tags_any: Vec<String>,
    pub(crate) filters: Vec<Judge<bool>>,
    pub(crate) key: Option<Judge<Option<Key>>>,
    pub(crate) lane: Option<Judge<Option<Key>>>,
    pub(crate) event_time: Option<Judge<Timestamp>>,
    pub(crate) weight: Option<Judge<u32>>,
}

impl Side {
    pub(crate) fn new(kind: Kind, need: u32) -> Self {
        Self {
            kind,
            need,
            from: Vec::new(),
            tags_any: Vec::new(),
            filters: Vec::new(),
            key: None,
            lane: None,
            event_time: None,
            weight: None,
        }
    }

    /// Tells whether judging an artifact runs code of the user.
    pub(crate) fn runs_user_code(&self) -> bool {
        !self.filters.is_empty()
            || self.key.is_some()
            || self.lane.is_some()
            || self.event_time.is_some()
            || self.weight.is_some()
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.need, self.kind.name())
    }
}

/// How artifacts become groups.
#[derive(Clone, Debug)]
pub(crate) enum Collecting {
    /// Every artifact is a group of its own.
    Each,
    /// One group takes what every side needs, in log order.
    AllOf,
    /// One group takes what every side needs among artifacts with the same key.
    Join(JoinRule),
}

/// How a join pairs and forgets.
#[derive(Clone, Debug, Default)]
pub(crate) struct JoinRule {
    pub(crate) mode: JoinMode,
    pub(crate) window: Option<Window>,
    pub(crate) event_time: bool,
    /// How far a side may be out of order in event time.
    pub(crate) lateness: Duration,
    /// How long an input may wait in wall time when event time decides.
    pub(crate) patience: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum JoinMode {
    /// Inputs are used up by the group they complete.
    #[default]
    Once,
    /// Like `Once`, and what expires fires with the sides that are there.
    Outer,
    /// Every pair inside the window is a group; inputs stay until they expire.
    EveryPair,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Time(Duration),
    Count(u64),
}

/// When a batch closes: by number of groups, by weight, or by the time its first group has waited.
///
/// Whichever bound is reached first closes the batch. With or without a bound ([`Batch::until_finished`]), it
/// also closes when a run with inputs in it is finished, or the runtime stops and flushes. Time counts from
/// the publication of the last input of its first group.
///
/// ```
/// use std::time::Duration;
///
/// use volery_blackboard::Batch;
///
/// let small = Batch::of(25).or_after(Duration::from_secs(2)); // 25 groups, or two seconds
/// let heavy = Batch::weighing(8_000).or_after(Duration::from_secs(2)); // 8,000 tokens, say
/// let all = Batch::until_finished(); // everything of a run, when the run is finished
/// # let _ = (small, heavy, all);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Batch {
    pub(crate) size: Option<u32>,
    pub(crate) wait: Option<Duration>,
    pub(crate) weight: Option<u64>,
}

impl Batch {
    /// Closes at `size` groups.
    pub fn of(size: u32) -> Self {
        Self { size: Some(size), ..Self::default() }
    }

    /// Closes when the last input of its first group was published this long ago.
    pub fn after(wait: Duration) -> Self {
        Self { wait: Some(wait), ..Self::default() }
    }

    /// Closes when its groups weigh this much together; see `weight` on the shapes. A group that would exceed
    /// the weight closes the batch before it, and a heavier one is a batch of its own.
    pub fn weighing(weight: u64) -> Self {
        Self { weight: Some(weight), ..Self::default() }
    }

    /// Has no bound: closes when a run with inputs in it is finished (see `Run::finish` of the facade), or
    /// the runtime stops and flushes.
    pub fn until_finished() -> Self {
        Self::default()
    }

    /// Closes also when the last input of its first group was published this long ago.
    pub fn or_after(self, wait: Duration) -> Self {
        Self { wait: Some(wait), ..self }
    }

    /// Closes also at this weight.
    pub fn or_weighing(self, weight: u64) -> Self {
        Self { weight: Some(weight), ..self }
    }

    /// Closes also at this many groups.
    pub fn or_of(self, size: u32) -> Self {
        Self { size: Some(size), ..self }
    }
}

impl Subscription {
    /// Returns the kinds it takes, in declaration order.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.sides.iter().map(|side| &side.kind)
    }

    /// Checks that the subscription can work.
    ///
    /// # Errors
    /// [`BlackboardError::Subscription`] with what is wrong and what to do about it.
    pub fn validate(&self, agent: &str) -> Result<(), BlackboardError> {
        match self.fault() {
            Some(reason) => Err(BlackboardError::Subscription { agent: agent.into(), reason: reason.into() }),
            None => Ok(()),
        }
    }

    fn fault(&self) -> Option<&'static str> {
        let timed = self.sides.iter().filter(|side| side.event_time.is_some()).count();
        if self.sides.is_empty() || self.sides.len() > SIDES_MAX {
            return Some("it needs between 1 and 8 sides");
        }
        if self.sides.iter().any(|side| side.need == 0) {
            return Some("a count of 0 would never wait; ask for at least 1");
        }
        if self.batch.as_ref().is_some_and(|batch| batch.size == Some(0) || batch.weight == Some(0)) {
            return Some("a batch of size or weight 0 would never fill; use at least 1");
        }
        if self.batch.is_some()
            && matches!(&self.collecting, Collecting::Join(rule) if rule.mode == JoinMode::EveryPair)
        {
            return Some(
                "pairs of an every-pair join cannot be batched; batch what its engine publishes, in another agent",
            );
        }
        match &self.collecting {
            Collecting::Join(rule) => join_fault(rule, timed, &self.sides),
            Collecting::Each | Collecting::AllOf if timed > 0 => {
                Some("event time has a meaning in joins only; drop `.at(..)`")
            }
            Collecting::Each | Collecting::AllOf => None,
        }
    }

    /// Tells whether its collector has clocks that artifacts move, so that a store has to keep
    /// [`Marks`](crate::Marks) for it: a join by event time or with a count window.
    #[must_use]
    pub fn keeps_marks(&self) -> bool {
        let counts = |rule: &JoinRule| matches!(rule.window, Some(Window::Count(_)));
        matches!(&self.collecting, Collecting::Join(rule) if rule.event_time || counts(rule))
    }

    /// Names how it collects, for observers: `single`, `and`, `join` or `batch`. A shape that joins and then
    /// batches is a batch.
    #[must_use]
    pub const fn trigger(&self) -> &'static str {
        match (&self.batch, &self.collecting) {
            (Some(_), _) => "batch",
            (None, Collecting::Each) => "single",
            (None, Collecting::AllOf) => "and",
            (None, Collecting::Join(_)) => "join",
        }
    }

    /// Returns how many groups fill its batch, if a number does.
    #[must_use]
    pub fn batch_size(&self) -> Option<u32> {
        self.batch.as_ref().and_then(|batch| batch.size)
    }

    /// Returns how many artifacts of each of its kinds one group takes, in the order of
    /// [`kinds`](Self::kinds).
    pub fn needs(&self) -> impl Iterator<Item = u32> {
        self.sides.iter().map(|side| side.need)
    }

    pub(crate) fn runs_by_event_time(&self) -> bool {
        matches!(&self.collecting, Collecting::Join(rule) if rule.event_time)
    }
}

fn join_fault(rule: &JoinRule, timed: usize, sides: &[Side]) -> Option<&'static str> {
    if timed != 0 && timed != sides.len() {
        return Some("event time is given for some sides only; give `.at(..)` for every side or for none");
    }
    if !rule.event_time && (rule.lateness > Duration::ZERO || rule.patience.is_some()) {
        return Some("lateness and patience have a meaning by event time only; add `.at(..)` to every side");
    }
    match rule.window {
        Some(Window::Count(0)) => Some("a count window of 0 would never match; use at least 1"),
        Some(Window::Count(_)) if rule.event_time => {
            Some("a count window ignores event time; drop `.at(..)` or use `.within(duration)`")
        }
        None if rule.event_time => Some("event time needs a window; add `.within(duration)`"),
        None if rule.mode == JoinMode::EveryPair => {
            Some("every pair without a window would keep every input for ever; add `.within(duration)`")
        }
        None if rule.mode == JoinMode::Outer => {
            Some("an outer join without a window would never fire partially; add `.within(duration)`")
        }
        _ => None,
    }
}
