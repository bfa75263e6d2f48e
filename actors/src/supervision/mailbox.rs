//! The queue behind an address: it outlives the lives that read from it.
//!
//! Because the queue belongs to the address, a life that crashes takes only the message it was handling with
//! it. A life is woken for new messages, once until it has emptied the queue. The mailbox does not run lives
//! and does not know how one is woken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tells the current life that there is something to take.
pub(super) type WakeUp = Arc<dyn Fn() + Send + Sync>;

/// How many messages may wait while no life takes any, unless the child's spec says otherwise: a second or
/// two of traffic for a busy actor. Much less would refuse senders during an ordinary restart; much more
/// would hand a recovering life a backlog nobody waits for.
pub(super) const WAITING_MAX_DEFAULT: usize = 1024;

/// Capacity kept in an empty queue; what a burst took beyond it goes back to the allocator.
const CAPACITY_KEPT: usize = 1024;

/// The queue of one child.
pub(super) struct Mailbox<M> {
    inner: Mutex<Inner<M>>,
}

struct Inner<M> {
    queue: VecDeque<M>,
    state: MailboxState,
    waiting_max: usize,
    /// The life was woken and the life has not found the queue empty since.
    woken: bool,
    /// The current life was asked to end by itself.
    finishing: bool,
}

enum MailboxState {
    /// No life takes messages: not started yet, stopping, or between two lives.
    Waiting,
    /// A life takes messages.
    Open(WakeUp),
    /// There will be no further life.
    Ended,
}

/// Why a message was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    Ended,
}

/// The result of a life's look into its mailbox.
pub(super) enum Next<M> {
    Message(M),
    Empty,
    /// The life was asked to end by itself.
    Finish,
    /// The mailbox is no longer open: take nothing more.
    Closed,
}

impl<M> Mailbox<M> {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                state: MailboxState::Waiting,
                waiting_max: WAITING_MAX_DEFAULT,
                woken: false,
                finishing: false,
            }),
        }
    }

    /// Takes a message in, or hands it back with the reason.
    pub(super) fn push(&self, message: M) -> Result<(), (Refusal, M)> {
        let mut inner = self.lock();
        let wake_up = match &inner.state {
            MailboxState::Ended => return Err((Refusal::Ended, message)),
            MailboxState::Waiting if inner.queue.len() >= inner.waiting_max => {
                return Err((Refusal::Full, message));
            }
            MailboxState::Waiting => None,
            MailboxState::Open(_) if inner.woken => None,
            MailboxState::Open(wake_up) => Some(Arc::clone(wake_up)),
        };
        inner.queue.push_back(message);
        inner.woken |= wake_up.is_some();
        drop(inner);
        // Woken outside the lock. Should the life have ended meanwhile, the next one looks by itself.
        if let Some(wake_up) = wake_up {
            wake_up();
        }
        Ok(())
    }

    /// Takes the next message out, for the current life.
    pub(super) fn next(&self) -> Next<M> {
        let mut inner = self.lock();
        match &inner.state {
            MailboxState::Waiting | MailboxState::Ended => return Next::Closed,
            MailboxState::Open(_) if inner.finishing => return Next::Finish,
            MailboxState::Open(_) => {}
        }
        if let Some(message) = inner.queue.pop_front() {
            return Next::Message(message);
        }
        inner.woken = false;
        if inner.queue.capacity() > CAPACITY_KEPT {
            inner.queue.shrink_to(CAPACITY_KEPT);
        }
        Next::Empty
    }

    /// Opens the mailbox for a new life, which is woken at once if messages are waiting.
    pub(super) fn open(&self, wake_up: WakeUp) {
        let mut inner = self.lock();
        inner.finishing = false;
        inner.woken = !inner.queue.is_empty();
        let wake_now = inner.woken.then(|| Arc::clone(&wake_up));
        inner.state = MailboxState::Open(wake_up);
        drop(inner);
        if let Some(wake_up) = wake_now {
            wake_up();
        }
    }

    /// Closes the mailbox after a life; queued messages wait for the next one.
    pub(super) fn pause(&self) {
        let mut inner = self.lock();
        let state = match inner.state {
            MailboxState::Open(_) => std::mem::replace(&mut inner.state, MailboxState::Waiting),
            MailboxState::Waiting | MailboxState::Ended => return,
        };
        drop(inner);
        drop(state);
    }

    /// Ends the address: queued messages are dropped, later ones refused. A new life may open it again.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        let state = std::mem::replace(&mut inner.state, MailboxState::Ended);
        let queue = std::mem::take(&mut inner.queue);
        drop(inner);
        // Messages may run code of their own when dropped: not under the lock.
        drop(queue);
        drop(state);
    }

    /// Makes an ended address wait again, for a child that will be started anew.
    pub(super) fn revive(&self) {
        let mut inner = self.lock();
        if matches!(inner.state, MailboxState::Ended) {
            inner.state = MailboxState::Waiting;
        }
    }

    /// Asks the current life to end by itself after the message at hand.
    pub(super) fn finish(&self) {
        let mut inner = self.lock();
        let wake_up = match &inner.state {
            MailboxState::Waiting | MailboxState::Ended => return,
            MailboxState::Open(_) if inner.woken => None,
            MailboxState::Open(wake_up) => Some(Arc::clone(wake_up)),
        };
        inner.finishing = true;
        inner.woken = true;
        drop(inner);
        if let Some(wake_up) = wake_up {
            wake_up();
        }
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.lock().queue.len()
    }

    pub(super) fn set_waiting_max(&self, waiting_max: usize) {
        self.lock().waiting_max = waiting_max;
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.lock().state, MailboxState::Ended)
    }

    /// No code of others runs under the lock, so a poisoned one still holds a consistent queue.
    fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let state = match inner.state {
            MailboxState::Waiting => "waiting",
            MailboxState::Open(_) => "open",
            MailboxState::Ended => "ended",
        };
        f.debug_struct("Mailbox").field("state", &state).field("queued", &inner.queue.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn wake_up() -> (WakeUp, Arc<AtomicUsize>) {
        let wake_ups = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&wake_ups);
        let wake_up = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        (Arc::new(wake_up), wake_ups)
    }

    fn taken(mailbox: &Mailbox<u32>) -> Vec<u32> {
        std::iter::from_fn(|| match mailbox.next() {
            Next::Message(message) => Some(message),
            Next::Empty | Next::Finish | Next::Closed => None,
        })
        .collect()
    }

    #[test]
    fn a_life_is_woken_once_until_it_found_the_queue_empty() {
        let (mailbox, (wake_up, wake_ups)) = (Mailbox::new(), wake_up());
        mailbox.open(wake_up);
        for message in 0..3 {
            mailbox.push(message).expect("open");
        }
        assert_eq!(wake_ups.load(Ordering::SeqCst), 1);
        assert_eq!(taken(&mailbox), [0, 1, 2]);
        mailbox.push(3).expect("open");
        assert_eq!(wake_ups.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn messages_wait_for_the_next_life_in_order_up_to_the_bound() {
        let (mailbox, (first, _), (second, wake_ups)) = (Mailbox::new(), wake_up(), wake_up());
        mailbox.set_waiting_max(4);
        mailbox.open(first);
        mailbox.push(1).expect("open");
        mailbox.push(2).expect("open");
        mailbox.pause();
        assert!(matches!(mailbox.next(), Next::Closed));
        mailbox.push(3).expect("room");
        mailbox.push(4).expect("room");
        assert_eq!(mailbox.len(), 4);
        assert_eq!(mailbox.push(5), Err((Refusal::Full, 5)));
        mailbox.open(second);
        assert_eq!(wake_ups.load(Ordering::SeqCst), 1);
        assert_eq!(taken(&mailbox), [1, 2, 3, 4]);
    }

    #[test]
    fn an_ended_mailbox_hands_messages_back_and_forgets_its_queue() {
        let mailbox = Mailbox::new();
        mailbox.push(1).expect("room");
        mailbox.end();
        assert_eq!(mailbox.push(2), Err((Refusal::Ended, 2)));
        mailbox.revive();
        mailbox.push(3).expect("room");
        mailbox.open(wake_up().0);
        assert_eq!(taken(&mailbox), [3]);
    }

    #[test]
    fn finish_comes_before_queued_messages_which_stay() {
        let mailbox = Mailbox::new();
        mailbox.open(wake_up().0);
        mailbox.push(1).expect("open");
        mailbox.finish();
        assert!(matches!(mailbox.next(), Next::Finish));
        mailbox.pause();
        mailbox.open(wake_up().0);
        assert_eq!(taken(&mailbox), [1]);
    }
}
