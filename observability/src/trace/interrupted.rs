//! Spans that a process left open when it died: what is known of them, and who can still export them.

use std::fmt::{Debug, Display};
use std::time::SystemTime;

use opentelemetry::KeyValue;

use super::carried::OpenSpan;
use super::text::{count, shown, text};
use crate::names::attribute;

/// A span that was open.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Interrupted<'a> {
    /// The root of a run.
    Run {
        /// The run's id.
        run: &'a dyn Display,
        /// Its workflow.
        workflow: &'a str,
    },
    /// A job.
    Job {
        /// The run's id.
        run: &'a dyn Display,
        /// Its workflow.
        workflow: &'a str,
        /// The agent.
        agent: &'a str,
        /// The job's id.
        job: &'a dyn Display,
    },
    /// An attempt.
    Attempt {
        /// The run's id.
        run: &'a dyn Display,
        /// Its workflow.
        workflow: &'a str,
        /// The agent.
        agent: &'a str,
        /// Which attempt of its job, from 1.
        attempt: u32,
    },
    /// An engine's call.
    Evaluate {
        /// The run's id.
        run: &'a dyn Display,
        /// Its workflow.
        workflow: &'a str,
        /// The agent.
        agent: &'a str,
        /// The engine.
        engine: &'a str,
    },
}

impl Debug for Interrupted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interrupted({})", self.name(1))
    }
}

impl Interrupted<'_> {
    /// The name that the span had.
    fn name(&self, part: u32) -> String {
        match self {
            Self::Run { workflow, .. } if part > 1 => format!("run {workflow} (part {part})"),
            Self::Run { workflow, .. } => format!("run {workflow}"),
            Self::Job { agent, .. } => format!("job {agent}"),
            Self::Attempt { agent, .. } => format!("attempt {agent}"),
            Self::Evaluate { engine, .. } => format!("evaluate {engine}"),
        }
    }

    fn attributes(&self, part: u32) -> Vec<KeyValue> {
        let (Self::Run { run, workflow }
        | Self::Job { run, workflow, .. }
        | Self::Attempt { run, workflow, .. }
        | Self::Evaluate { run, workflow, .. }) = *self;
        let mut attributes = vec![shown(attribute::RUN_ID, run), text(attribute::WORKFLOW, workflow)];
        match self {
            Self::Run { .. } => {
                attributes.push(KeyValue::new(attribute::RUN_STATUS, "interrupted"));
                attributes.push(count(attribute::RUN_PART, part));
            }
            Self::Job { agent, job, .. } => {
                attributes.push(text(attribute::AGENT, agent));
                attributes.push(shown(attribute::JOB_ID, job));
            }
            Self::Attempt { agent, attempt, .. } => {
                attributes.push(text(attribute::AGENT, agent));
                attributes.push(count(attribute::ATTEMPT, *attempt));
            }
            Self::Evaluate { agent, engine, .. } => {
                attributes.push(text(attribute::AGENT, agent));
                attributes.push(text(attribute::ENGINE, engine));
            }
        }
        attributes.push(KeyValue::new(attribute::OUTCOME, "interrupted"));
        attributes
    }
}

/// A whole span, made afterwards.
#[derive(Clone, Debug)]
pub struct ClosedSpan {
    /// Its ids and its begin.
    pub open: OpenSpan,
    /// Its name.
    pub name: String,
    /// Whether it is an attempt, which has the kind `consumer`; the others are internal.
    pub is_attempt: bool,
    /// Its attributes, as far as they are known. Its events and links are lost.
    pub attributes: Vec<KeyValue>,
    /// Its end: the last that is known of the run. Never before its begin.
    pub end: SystemTime,
}

/// Exports whole spans, with their ids. The set-up of this crate does; see `Telemetry::providers`.
pub trait Closer: Debug + Send + Sync {
    /// Takes a span for export. It must not block.
    fn close(&self, span: ClosedSpan);
}

pub(crate) fn closed(open: &OpenSpan, what: &Interrupted<'_>, end: SystemTime) -> ClosedSpan {
    ClosedSpan {
        open: *open,
        name: what.name(open.root.part),
        is_attempt: matches!(what, Interrupted::Attempt { .. }),
        attributes: what.attributes(open.root.part),
        end: end.max(open.start()),
    }
}
