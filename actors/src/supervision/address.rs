//! The stable address of a child: send, ask, reply.
//!
//! It does not know which life answers, nor whether one is being started; `mailbox.rs` keeps what is sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::mailbox::{Mailbox, Refusal};

/// A stable address: it stays valid over restarts of the child behind it.
///
/// Cloning is cheap. While a life runs, its queue is *unbounded*: an address is for control messages and
/// slots, and a sender of load must bound it itself. Between lives the queue is bounded
/// ([`ChildSpec::mailbox`](super::ChildSpec::mailbox)). A life that fails or is killed loses only the message
/// it was handling; everything else is delivered to the next life, in order. When the child has ended for
/// good, queued messages are dropped.
pub struct Address<M> {
    mailbox: Arc<Mailbox<M>>,
}

impl<M: Send + 'static> Address<M> {
    /// Sends a message. Never blocks.
    ///
    /// # Errors
    ///
    /// [`SendError`] hands the message back: no life is running and the queue is full, or the child has
    /// ended for good.
    pub fn send(&self, message: M) -> Result<(), SendError<M>> {
        self.mailbox.push(message).map_err(|(refusal, message)| SendError {
            reason: match refusal {
                Refusal::Full => SendRefusal::Full,
                Refusal::Ended => SendRefusal::Ended,
            },
            message,
        })
    }

    /// Sends a message carrying a reply port and waits for the reply for at most `within`.
    ///
    /// Cancel safe in so far as nothing breaks: the message stays sent, its reply is thrown away.
    ///
    /// # Errors
    ///
    /// [`AskError`] says whether the message was refused, the time ran out, or the reply port was dropped
    /// (by a handler that did not answer, by a crash, or with a queue that ended).
    pub async fn ask<T: Send + 'static>(
        &self,
        make: impl FnOnce(Reply<T>) -> M,
        within: Duration,
    ) -> Result<T, AskError> {
        let (port, answer) = oneshot::channel();
        self.send(make(Reply { port })).map_err(|refused| match refused.reason {
            SendRefusal::Full => AskError::Full,
            SendRefusal::Ended => AskError::Ended,
        })?;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(AskError::Dropped),
            Err(_) => Err(AskError::TimedOut),
        }
    }

    /// Asks the current life to end by itself, in good order, after the message at hand.
    ///
    /// It runs its clean-up and exits as [`Exit::Finished`](super::Exit::Finished); the child's
    /// [`Restart`](super::Restart) decides what follows. Without a running life nothing happens.
    pub fn finish(&self) {
        self.mailbox.finish();
    }

    /// Returns how many messages wait for the child.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.mailbox.len()
    }

    /// Says whether the child has ended for good, so that every message would be refused.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.mailbox.is_ended()
    }

    pub(super) fn new(mailbox: Arc<Mailbox<M>>) -> Self {
        Self { mailbox }
    }
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { mailbox: Arc::clone(&self.mailbox) }
    }
}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("mailbox", &self.mailbox).finish()
    }
}

/// Answers one [`Address::ask`]. Dropped unused, it answers [`AskError::Dropped`].
#[must_use = "the asker waits until it is answered or dropped"]
pub struct Reply<T> {
    port: oneshot::Sender<T>,
}

impl<T> Reply<T> {
    /// Answers. An asker that gave up meanwhile is ignored.
    pub fn send(self, value: T) {
        // The caller's time ran out, or it was cancelled: no caller is left to answer.
        drop(self.port.send(value));
    }

    /// Says whether the asker no longer waits, so that the work for the answer can be saved.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.port.is_closed()
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("abandoned", &self.port.is_closed()).finish()
    }
}

/// Hands back a message that was not taken in.
#[derive(thiserror::Error, Clone, PartialEq, Eq)]
#[error("message not sent: {reason}")]
pub struct SendError<M> {
    /// Why.
    pub reason: SendRefusal,
    /// The message, untouched.
    pub message: M,
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Says why a message was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendRefusal {
    /// No life is running just now and the queue has reached its bound; a later attempt may succeed.
    #[error("the child is between two lives and its queue is full; try again later")]
    Full,
    /// The child has ended for good.
    #[error("the child has ended")]
    Ended,
}

/// Says why an ask brought no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Not sent: no life is running just now and the queue has reached its bound.
    #[error("not asked: the child is between two lives and its queue is full; try again later")]
    Full,
    /// Not sent: the child has ended for good.
    #[error("not asked: the child has ended")]
    Ended,
    /// Sent, but no reply came in time; it may still be handled.
    #[error("no reply in time")]
    TimedOut,
    /// Sent, but the reply port was dropped; whether it was handled is unknown.
    #[error("the question was dropped without a reply")]
    Dropped,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn ask_names_each_way_to_go_without_a_reply() {
        let mailbox = Arc::new(Mailbox::<Reply<u32>>::new());
        let address = Address::new(Arc::clone(&mailbox));
        assert_eq!(address.ask(|reply| reply, SECOND).await, Err(AskError::TimedOut));
        mailbox.set_waiting_max(1);
        assert_eq!(address.ask(|reply| reply, SECOND).await, Err(AskError::Full));
        mailbox.set_waiting_max(2);
        let (asked, ()) = tokio::join!(address.ask(|reply| reply, SECOND), async { mailbox.end() });
        assert_eq!(asked, Err(AskError::Dropped));
        assert_eq!(address.ask(|reply| reply, SECOND).await, Err(AskError::Ended));
        assert!(address.is_ended());
    }
}
