//! The queue behind an address: it outlives the lives that read from it.
//!
//! Because the queue belongs to the address, a life that crashes takes only the message it was handling with
//! it. The bell wakes a life for new messages, once until the life has emptied the queue. The mailbox does
//! not run lives and knows nothing of what the bell does.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tells the current life that there is something to take.
pub(super) type Bell = Arc<dyn Fn() + Send + Sync>;

/// How many messages may wait while no life takes any, unless the child's spec says otherwise: a second or
/// two of traffic for a busy actor. Much less would refuse senders during an ordinary restart; much more
/// would hand a recovering life a backlog nobody waits for.
pub(super) const WAITING_MAX_DEFAULT: usize = 1024;

/// Room kept in an empty queue; what a burst took beyond it goes back to the allocator.
const ROOM_KEPT: usize = 1024;

/// The queue and the door in front of it.
pub(super) struct Mailbox<M> {
    inner: Mutex<Inner<M>>,
}

struct Inner<M> {
    queue: VecDeque<M>,
    door: Door,
    waiting_max: usize,
    /// The bell was rung and the life has not found the queue empty since.
    rung: bool,
    /// The current life was asked to end by itself.
    finishing: bool,
}

enum Door {
    /// No life takes messages: not started yet, stopping, or between two lives.
    Waiting,
    /// A life takes messages.
    Open(Bell),
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
    /// The door is no longer open: take nothing more.
    Shut,
}

impl<M> Mailbox<M> {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                door: Door::Waiting,
                waiting_max: WAITING_MAX_DEFAULT,
                rung: false,
                finishing: false,
            }),
        }
    }

    /// Takes a message in, or hands it back with the reason.
    pub(super) fn push(&self, message: M) -> Result<(), (Refusal, M)> {
        let mut inner = self.lock();
        let bell = match &inner.door {
            Door::Ended => return Err((Refusal::Ended, message)),
            Door::Waiting if inner.queue.len() >= inner.waiting_max => {
                return Err((Refusal::Full, message));
            }
            Door::Waiting => None,
            Door::Open(_) if inner.rung => None,
            Door::Open(bell) => Some(Arc::clone(bell)),
        };
        inner.queue.push_back(message);
        inner.rung |= bell.is_some();
        drop(inner);
        // Rung outside the lock. Should the life have ended meanwhile, the next one looks by itself.
        if let Some(bell) = bell {
            bell();
        }
        Ok(())
    }

    /// Takes the next message out, for the current life.
    pub(super) fn next(&self) -> Next<M> {
        let mut inner = self.lock();
        match &inner.door {
            Door::Waiting | Door::Ended => return Next::Shut,
            Door::Open(_) if inner.finishing => return Next::Finish,
            Door::Open(_) => {}
        }
        if let Some(message) = inner.queue.pop_front() {
            return Next::Message(message);
        }
        inner.rung = false;
        if inner.queue.capacity() > ROOM_KEPT {
            inner.queue.shrink_to(ROOM_KEPT);
        }
        Next::Empty
    }

    /// Opens the mailbox for a new life, which is woken at once if messages are waiting.
    pub(super) fn open(&self, bell: Bell) {
        let mut inner = self.lock();
        inner.finishing = false;
        inner.rung = !inner.queue.is_empty();
        let first_ring = inner.rung.then(|| Arc::clone(&bell));
        inner.door = Door::Open(bell);
        drop(inner);
        if let Some(ring) = first_ring {
            ring();
        }
    }

    /// Shuts the door behind a life; what is queued waits for the next one.
    pub(super) fn pause(&self) {
        let mut inner = self.lock();
        let door = match inner.door {
            Door::Open(_) => std::mem::replace(&mut inner.door, Door::Waiting),
            Door::Waiting | Door::Ended => return,
        };
        drop(inner);
        drop(door);
    }

    /// Ends the address: queued messages are dropped, later ones refused. A new life may open it again.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        let door = std::mem::replace(&mut inner.door, Door::Ended);
        let queue = std::mem::take(&mut inner.queue);
        drop(inner);
        // Messages may run code of their own when dropped: not under the lock.
        drop(queue);
        drop(door);
    }

    /// Makes an ended address wait again, for a child that will be started anew.
    pub(super) fn revive(&self) {
        let mut inner = self.lock();
        if matches!(inner.door, Door::Ended) {
            inner.door = Door::Waiting;
        }
    }

    /// Asks the current life to end by itself after the message at hand.
    pub(super) fn finish(&self) {
        let mut inner = self.lock();
        let bell = match &inner.door {
            Door::Waiting | Door::Ended => return,
            Door::Open(_) if inner.rung => None,
            Door::Open(bell) => Some(Arc::clone(bell)),
        };
        inner.finishing = true;
        inner.rung = true;
        drop(inner);
        if let Some(bell) = bell {
            bell();
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
        matches!(self.lock().door, Door::Ended)
    }

    /// No code of others runs under the lock, so a poisoned one still holds a consistent queue.
    fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let door = match inner.door {
            Door::Waiting => "waiting",
            Door::Open(_) => "open",
            Door::Ended => "ended",
        };
        f.debug_struct("Mailbox").field("door", &door).field("queued", &inner.queue.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn bell() -> (Bell, Arc<AtomicUsize>) {
        let rings = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rings);
        let bell = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        (Arc::new(bell), rings)
    }

    fn taken(mailbox: &Mailbox<u32>) -> Vec<u32> {
        std::iter::from_fn(|| match mailbox.next() {
            Next::Message(message) => Some(message),
            Next::Empty | Next::Finish | Next::Shut => None,
        })
        .collect()
    }

    #[test]
    fn the_bell_rings_once_until_the_queue_was_found_empty() {
        let (mailbox, (bell, rings)) = (Mailbox::new(), bell());
        mailbox.open(bell);
        for message in 0..3 {
            mailbox.push(message).expect("open");
        }
        assert_eq!(rings.load(Ordering::SeqCst), 1);
        assert_eq!(taken(&mailbox), [0, 1, 2]);
        mailbox.push(3).expect("open");
        assert_eq!(rings.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn messages_wait_for_the_next_life_in_order_up_to_the_bound() {
        let (mailbox, (first, _), (second, rings)) = (Mailbox::new(), bell(), bell());
        mailbox.set_waiting_max(4);
        mailbox.open(first);
        mailbox.push(1).expect("open");
        mailbox.push(2).expect("open");
        mailbox.pause();
        assert!(matches!(mailbox.next(), Next::Shut));
        mailbox.push(3).expect("room");
        mailbox.push(4).expect("room");
        assert_eq!(mailbox.len(), 4);
        assert_eq!(mailbox.push(5), Err((Refusal::Full, 5)));
        mailbox.open(second);
        assert_eq!(rings.load(Ordering::SeqCst), 1);
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
        mailbox.open(bell().0);
        assert_eq!(taken(&mailbox), [3]);
    }

    #[test]
    fn finish_comes_before_queued_messages_which_stay() {
        let mailbox = Mailbox::new();
        mailbox.open(bell().0);
        mailbox.push(1).expect("open");
        mailbox.finish();
        assert!(matches!(mailbox.next(), Next::Finish));
        mailbox.pause();
        mailbox.open(bell().0);
        assert_eq!(taken(&mailbox), [1]);
    }
}
