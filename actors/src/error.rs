//! The one error that crosses the public line: opaque, with a coarse kind that says what to do.

use std::fmt;
use std::sync::Arc;

use volery_blackboard::BlackboardError;
use volery_blackboard::store::StoreError;

use crate::fault::Fault;
use crate::supervision::SendRefusal;

mod class;

pub use class::Classed;
pub(crate) use class::{class_of, class_of_fault, class_of_store};

/// The reaction that an [`Error`] asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The same call may succeed later: the store or the runtime is busy or briefly unavailable.
    Retry,
    /// The call cannot succeed as it is: fix the input or the configuration.
    FixInput,
    /// The runtime is stopping or has stopped: stop calling it.
    Stop,
    /// Something that should not happen: report it.
    Report,
}

/// An error of the runtime.
///
/// `Display` says what happened; [`Error::kind`] says what to do; `source` keeps the cause.
pub struct Error(Box<Cause>);

/// A result with the runtime's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("runtime `{0}` is shutting down and accepts nothing more")]
    ShuttingDown(String),
    #[error("{count} artifacts are {what}, which is the limit; publish again when some are done")]
    Overloaded { what: &'static str, count: u64 },
    #[error("the curator was restarted before it answered; what was asked may or may not have been done")]
    Unanswered,
    #[error("agent `{agent}` does not take this {kind}; see its subscriptions")]
    NotTaken { agent: String, kind: String },
    #[error("there is no dead letter {0}; `dead_letters()` lists them")]
    NoSuchLetter(u64),
    #[error(
        "dead letter {0} was driven again already; should its job have failed again, that is another letter"
    )]
    LetterRedriven(u64),
    #[error("dead letter {0} was discarded already: {1}")]
    LetterDiscarded(u64, String),
    #[error("dead letter {letter} cannot be driven again like this: {what}")]
    LetterEdit { letter: u64, what: String },
    #[error("dead letter {0} was refused")]
    LetterRefused(u64, #[source] StoreError),
    #[error("{0}")]
    Misuse(&'static str),
    #[error("agent `{0}` is declared twice; agents of one runtime need different names")]
    AgentTwice(String),
    #[error("there is no agent `{0}`")]
    NoSuchAgent(String),
    #[error("there is no actor `{0}`; `tree()` lists them")]
    NoSuchActor(String),
    #[error("agent `{0}` has no subscription; add `.consumes(..).engine(..)`")]
    NoSubscription(String),
    #[error("{setting} is {value}, but {rule}")]
    Setting { setting: &'static str, value: String, rule: &'static str },
    #[error("{limit} of agent `{agent}` is {span:?}, but it must be at least 1 ms")]
    TooShort { agent: String, limit: &'static str, span: std::time::Duration },
    #[error("the runtime must be started inside a tokio runtime; use #[tokio::main] or the blocking facade")]
    NoTokio,
    #[error("schedule `{name}` cannot run: {what}")]
    Schedule { name: String, what: String },
    #[error("there is no loop `{0}`; see the list of loops")]
    NoSuchLoop(String),
    #[error("loop `{name}` was not nudged: {reason}")]
    NotNudged { name: String, reason: SendRefusal },
    #[error("resource `{resource}` could not load `{key}`; the next lease tries again")]
    Load { resource: String, key: String, source: Arc<dyn std::error::Error + Send + Sync> },
    #[error("{what} failed")]
    Start { what: String, source: Fault },
    #[error(transparent)]
    Blackboard(#[from] BlackboardError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Other(Classed),
}

impl Error {
    /// Wraps any other error, for services that use one error type throughout. Its kind is
    /// [`ErrorKind::Report`].
    pub fn other<E: Into<Fault>>(error: E) -> Self {
        Cause::Other(Classed::by_type(error)).into()
    }

    /// Says that a call cannot succeed as it is; for facades over this crate. Its kind is
    /// [`ErrorKind::FixInput`].
    #[must_use]
    pub fn misuse(what: &'static str) -> Self {
        Cause::Misuse(what).into()
    }

    /// The class of an error that is not the runtime's.
    pub(crate) fn foreign_class(&self) -> Option<&'static str> {
        if let Cause::Other(error) = &*self.0 { Some(error.class()) } else { None }
    }

    pub(crate) fn cause(&self) -> &Cause {
        &self.0
    }

    /// Returns what can be done about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Cause::ShuttingDown(_) | Cause::Store(StoreError::Closed { .. }) => ErrorKind::Stop,
            Cause::Overloaded { .. }
            | Cause::Unanswered
            | Cause::Store(StoreError::Unavailable { .. } | StoreError::Full { .. }) => ErrorKind::Retry,
            Cause::NotNudged { reason, .. } => match reason {
                SendRefusal::Ended => ErrorKind::Stop,
                SendRefusal::Full => ErrorKind::Retry,
            },
            Cause::AgentTwice(_)
            | Cause::Schedule { .. }
            | Cause::NoSuchLoop(_)
            | Cause::NoSuchAgent(_)
            | Cause::NoSuchActor(_)
            | Cause::NoSubscription(_)
            | Cause::Setting { .. }
            | Cause::TooShort { .. }
            | Cause::NoTokio
            | Cause::NotTaken { .. }
            | Cause::NoSuchLetter(_)
            | Cause::LetterRedriven(_)
            | Cause::LetterDiscarded(..)
            | Cause::LetterEdit { .. }
            | Cause::LetterRefused(..)
            | Cause::Misuse(_)
            | Cause::Blackboard(_)
            | Cause::Store(StoreError::Missing { .. } | StoreError::NotOffered { .. }) => ErrorKind::FixInput,
            Cause::Start { .. } | Cause::Load { .. } | Cause::Store(_) | Cause::Other(_) => ErrorKind::Report,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    /// Writes the message and every cause, because that is what `main` prints when it returns an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self(Box::new(cause))
    }
}

impl From<BlackboardError> for Error {
    fn from(error: BlackboardError) -> Self {
        Cause::from(error).into()
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Cause::from(error).into()
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::other(error)
    }
}
