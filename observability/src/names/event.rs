//! The events on spans, as data.

use super::attribute;

/// One event: what happened on a span, at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// The keys of its attributes.
    pub attributes: &'static [&'static str],
    /// Its meaning, in one line.
    pub says: &'static str,
}

/// Declares a constant per event, and the table of all of them.
macro_rules! events {
    ($($name:ident = $text:literal, [$($attribute:ident),*], $says:literal;)*) => {
        $(#[doc = $says] pub const $name: &str = $text;)*

        /// Every event, in the order of the documentation.
        pub const ALL: &[Event] =
            &[$(Event { name: $text, attributes: &[$(attribute::$attribute),*], says: $says }),*];
    };
}

events! {
    EXCEPTION = "exception", [EXCEPTION_TYPE, EXCEPTION_MESSAGE], "One error of a chain of causes; the root cause comes first.";
    RETRY_SCHEDULED = "retry.scheduled", [ATTEMPT, RETRY_DELAY_MS, ERROR_TYPE], "The job will be tried again.";
    AGENT_RESTARTED = "agent.restarted", [RESTART_COUNT, RESTART_STRATEGY, RESTART_BACKOFF_MS, RESTART_CAUSE], "The agent was restarted; on the attempt and on the job.";
    CANCEL_REQUESTED = "cancel.requested", [CANCEL_BY], "Somebody asked for the end.";
    DEADLINE_EXCEEDED = "deadline.exceeded", [DEADLINE_CLOCK], "A clock of the attempt ran out.";
    ROLLED_OVER = "rolled_over", [NEXT_TRACE], "The run goes on in another trace.";
    HANDED_TO = "handed_to", [NEXT_TRACE], "An artifact of the run went into a job over several runs.";
    STEP = "step", [STEP, DURATION_US], "A step of the attempt that is too short for a span.";
}
