//! Patterns: events that a test expects, each with a name that a failure can say.

use std::fmt;

use crate::feed::Event;
use crate::{Kind, Outcome, Payload, RunId};

/// An event that a test expects.
#[must_use]
pub struct Pattern {
    name: String,
    takes: Box<dyn Fn(&Event) -> bool + Send + Sync>,
}

impl Pattern {
    /// Describes an event: in words, for failures, and by a closure.
    pub fn new(name: impl Into<String>, takes: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        Self { name: name.into(), takes: Box::new(takes) }
    }

    /// An artifact of this kind was published.
    pub fn published<T: Payload>() -> Self {
        let kind = Kind::of::<T>().name().to_owned();
        Self::new(
            format!("a {kind} to be published"),
            move |event| matches!(event, Event::Published { artifact, .. } if artifact.kind().name() == kind),
        )
    }

    /// An attempt of this agent was started.
    pub fn started(agent: &str) -> Self {
        Self::of(
            agent,
            "a start",
            |event, of| matches!(event, Event::Started { agent, .. } if agent.as_str() == of),
        )
    }

    /// An attempt of this agent failed, and another is to follow.
    pub fn retrying(agent: &str) -> Self {
        Self::of(
            agent,
            "a retry",
            |event, of| matches!(event, Event::Retrying { agent, .. } if agent.as_str() == of),
        )
    }

    /// A job of this agent is done.
    pub fn done(agent: &str) -> Self {
        Self::of(
            agent,
            "a job done",
            |event, of| matches!(event, Event::Done { agent, .. } if agent.as_str() == of),
        )
    }

    /// A job of this agent failed for good.
    pub fn dead(agent: &str) -> Self {
        Self::of(
            agent,
            "a dead job",
            |event, of| matches!(event, Event::Dead { agent, .. } if agent.as_str() == of),
        )
    }

    /// An artifact got this outcome for this agent.
    pub fn outcome(agent: &str, outcome: Outcome) -> Self {
        let name = format!("the outcome {outcome:?}");
        Self::of(
            agent,
            &name,
            move |event, of| matches!(event, Event::Settled { agent, settled } if agent.as_str() == of && settled.outcome == outcome),
        )
    }

    /// Everything of this run has an outcome, and no more is expected: no handle to it is left, or it was
    /// finished.
    pub fn run_settled(run: RunId) -> Self {
        Self::new(
            format!("run {run} to have all its outcomes"),
            move |event| matches!(event, Event::RunSettled { run: settled, .. } if *settled == run),
        )
    }

    /// Returns the name that failures say.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether this is such an event.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        (self.takes)(event)
    }

    fn of(agent: &str, what: &str, takes: impl Fn(&Event, &str) -> bool + Send + Sync + 'static) -> Self {
        let (name, agent) = (format!("{what} of agent `{agent}`"), agent.to_owned());
        Self::new(name, move |event| takes(event, &agent))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pattern").field("name", &self.name).finish_non_exhaustive()
    }
}
