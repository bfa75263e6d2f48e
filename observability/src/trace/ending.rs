//! Ends of jobs, attempts and engine calls, as status, attributes and events of their spans.
//!
//! An attempt that failed, panicked or ran out of time is an error with a class; a cancelled one is not, it
//! says so in its outcome. The chain of causes becomes `exception` events, the root cause first.

use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::Status;

use super::nested::{End, NestedSpan};
use super::text::{cut, text};
use crate::names::{attribute, event};

/// Longest chain of causes that is shown; the outermost ones give way.
const CAUSES_MAX: usize = 16;

/// Bytes of a whole chain's texts on one span. A failed job has three spans with it, and when everything
/// fails they are all that an export holds: 512 of them stay under the 4 MiB of a usual receiver.
const CHAIN_MAX: usize = 4 * 1024;

/// Bytes of a status: the exception events say the rest.
const STATUS_MAX: usize = 512;

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending<'a> {
    /// It did what it should.
    Ok,
    /// It failed.
    Failed(Failure<'a>),
    /// It panicked, with this message.
    Panicked(&'a str),
    /// A clock ran out: `total`, `idle` or `queue`.
    TimedOut(&'a str),
    /// It was cancelled; by `run`, `shutdown`, `deadline` or `caller`.
    Cancelled(&'a str),
    /// The job will not be tried again.
    Dead {
        /// Why: `attempts`, `not_retryable` and the like.
        reason: &'a str,
        /// The error of the last attempt.
        failure: Failure<'a>,
    },
    /// It was dropped without an attempt, for this reason.
    Discarded(&'a str),
}

/// An error: its class, and what caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The class: of low cardinality, such as a type's name. It becomes `error.type`.
    pub class: &'a str,
    /// The error's message and those of its causes, the root cause last.
    pub causes: &'a [String],
}

impl<'a> Failure<'a> {
    /// The message of the error itself.
    fn message(&self) -> &'a str {
        self.causes.first().map_or("", String::as_str)
    }
}

impl Ending<'_> {
    /// The word for it, which metrics use as well.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(_) => "failed",
            Self::Panicked(_) => "panicked",
            Self::TimedOut(_) => "timed_out",
            Self::Cancelled(_) => "cancelled",
            Self::Dead { .. } => "dead",
            Self::Discarded(_) => "discarded",
        }
    }

    /// The class of the error, for what is one.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        match self {
            Self::Failed(failure) | Self::Dead { failure, .. } => Some(failure.class),
            Self::Panicked(_) => Some("panic"),
            Self::TimedOut(_) => Some("timeout"),
            Self::Ok | Self::Cancelled(_) | Self::Discarded(_) => None,
        }
    }

    /// Ends a span this way.
    pub(crate) fn close(&self, nested: &NestedSpan, at: SystemTime) -> bool {
        self.events(nested, at);
        let mut attributes = vec![KeyValue::new(attribute::OUTCOME, self.outcome())];
        if let Some(class) = self.error_type() {
            attributes.push(text(attribute::ERROR_TYPE, class));
        }
        if let Self::Dead { reason, .. } | Self::Discarded(reason) | Self::Cancelled(reason) = self {
            attributes.push(text(attribute::REASON, reason));
        }
        nested.end(End { at, attributes, status: self.status() })
    }

    fn events(&self, nested: &NestedSpan, at: SystemTime) {
        match self {
            Self::Failed(failure) | Self::Dead { failure, .. } => {
                let mut room = CHAIN_MAX;
                let shown = failure.causes.len().min(CAUSES_MAX);
                for (place, (index, message)) in
                    failure.causes.iter().enumerate().rev().take(shown).enumerate()
                {
                    // The class is that of the error itself; of its causes only the texts are known.
                    let class = if index == 0 { failure.class } else { "cause" };
                    // Bytes that a short text leaves are for those after it.
                    let message = cut(message, room / (shown - place));
                    room -= message.len();
                    exception(nested, at, class, &message);
                }
            }
            Self::Panicked(message) => exception(nested, at, "panic", &cut(message, CHAIN_MAX)),
            Self::TimedOut(clock) => {
                nested.event(event::DEADLINE_EXCEEDED, at, vec![text(attribute::DEADLINE_CLOCK, clock)]);
            }
            Self::Cancelled(by) => {
                nested.event(event::CANCEL_REQUESTED, at, vec![text(attribute::CANCEL_BY, by)]);
            }
            Self::Ok | Self::Discarded(_) => {}
        }
    }

    fn status(&self) -> Status {
        let message = match self {
            Self::Failed(failure) | Self::Dead { failure, .. } => failure.message(),
            Self::Panicked(message) => message,
            Self::TimedOut(clock) => return Status::error(format!("the {clock} time ran out")),
            Self::Ok | Self::Cancelled(_) | Self::Discarded(_) => return Status::Unset,
        };
        Status::error(cut(message, STATUS_MAX).into_owned())
    }
}

fn exception(nested: &NestedSpan, at: SystemTime, class: &str, message: &str) {
    let attributes =
        vec![text(attribute::EXCEPTION_TYPE, class), text(attribute::EXCEPTION_MESSAGE, message)];
    nested.event(event::EXCEPTION, at, attributes);
}
