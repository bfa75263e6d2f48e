//! Readers: a few threads that answer questions, each over a connection of its own that cannot write.
//!
//! Questions wait in one queue with a bound; a caller waits for room. A question that no caller waits for any
//! more is still answered. A thread whose connection failed opens another one for the next question.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{Semaphore, oneshot};
use volery_blackboard::panic::panic_text;
use volery_blackboard::store::{Answer, StoreError};

use super::fault::Fault;
use super::file;
use super::session::Session;
use super::shared::Shared;

/// Questions that wait. Each is a few hundred bytes; more would only hide that the disk cannot keep up.
const WAITING_MAX: usize = 1_024;

/// A question is given the session, or the reason why there is none. It tells whether the connection goes
/// on.
type Question = Box<dyn FnOnce(Result<&Session<'_>, StoreError>) -> bool + Send>;

/// The threads and their queue.
pub(super) struct Readers {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    interrupts: Vec<Arc<Mutex<Option<InterruptHandle>>>>,
}

#[derive(Default)]
struct Queue {
    line: Mutex<Line>,
    more: Condvar,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Question>,
    closed: bool,
}

/// The parts that one thread needs.
struct Reader {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    interrupt: Arc<Mutex<Option<InterruptHandle>>>,
}

impl Readers {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system has no thread left; those that were started end.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let mut readers = Self {
            shared: Arc::clone(shared),
            room: Arc::new(Semaphore::new(WAITING_MAX)),
            queue: Arc::default(),
            threads: Mutex::default(),
            interrupts: Vec::new(),
        };
        for number in 0..shared.options.readers {
            let interrupt = Arc::new(Mutex::new(None));
            readers.interrupts.push(Arc::clone(&interrupt));
            let reader = Reader { shared: Arc::clone(shared), queue: Arc::clone(&readers.queue), interrupt };
            let thread =
                thread::Builder::new().name(format!("volery-read-{number}")).spawn(move || reader.run());
            let thread =
                thread.map_err(|error| shared.place.io_error(&error, "starting a thread that reads"))?;
            readers.threads().push(thread);
        }
        Ok(readers)
    }

    /// Asks a question. Cancel safe.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Session<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Answer<'static, T> {
        let (shared, queue, room) =
            (Arc::clone(&self.shared), Arc::clone(&self.queue), Arc::clone(&self.room));
        Box::pin(async move {
            let permit = room.acquire_owned().await.map_err(|_| shared.place.closed())?;
            let (answer, answered) = oneshot::channel();
            queue.add(Box::new(move |session| {
                let (found, goes_on) = match session {
                    Ok(session) => answer_over(session, read),
                    Err(error) => (Err(error), false),
                };
                drop(permit);
                // The caller may have gone; an answer that nobody takes is no error.
                drop(answer.send(found).err());
                goes_on
            }));
            answered.await.unwrap_or_else(|_| Err(shared.place.closed()))
        })
    }

    /// Ends the threads: what waits is dropped, what is being read is cut off.
    pub(super) fn close(&self) {
        self.room.close();
        self.queue.close();
        for interrupt in &self.interrupts {
            if let Some(handle) = &*interrupt.lock().unwrap_or_else(PoisonError::into_inner) {
                handle.interrupt();
            }
        }
        for thread in std::mem::take(&mut *self.threads()) {
            // Panics of questions are caught; should one get through, its caller is woken by the drop of the
            // answer.
            drop(thread.join().err());
        }
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("threads", &self.interrupts.len()).finish_non_exhaustive()
    }
}

impl Queue {
    fn add(&self, question: Question) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.closed {
            line.waiting.push_back(question);
            self.more.notify_one();
        }
    }

    /// Waits for the next question; `None` when there will be none.
    fn next(&self) -> Option<Question> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if line.closed {
                return None;
            }
            if let Some(question) = line.waiting.pop_front() {
                return Some(question);
            }
            line = self.more.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.closed = true;
        line.waiting.clear();
        self.more.notify_all();
    }
}

impl Reader {
    /// Answers until the queue is closed.
    fn run(self) {
        while let Some(question) = self.queue.next() {
            match file::open_reader(&self.shared.place) {
                Ok(conn) => self.answer_all(question, &conn),
                Err(fault) => drop(question(Err(self.shared.error(fault)))),
            }
        }
    }

    /// Answers a question and those behind it, until the connection fails.
    fn answer_all(&self, first: Question, conn: &Connection) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(conn.get_interrupt_handle());
        let session = Session::new(conn, Arc::clone(&self.shared));
        let mut next = Some(first);
        while let Some(question) = next.take().or_else(|| self.queue.next()) {
            if !question(Ok(&session)) {
                return;
            }
        }
    }
}

/// Answers one question, and tells whether the connection can go on.
fn answer_over<T>(
    session: &Session<'_>,
    read: impl FnOnce(&Session<'_>) -> Result<T, Fault>,
) -> (Result<T, StoreError>, bool) {
    let shared = &session.shared;
    match catch_unwind(AssertUnwindSafe(|| session.at_once(read))) {
        Ok(Ok(found)) => (Ok(found), true),
        Ok(Err(fault)) => {
            let goes_on = fault.is_of_write();
            (Err(shared.error(fault)), goes_on)
        }
        Err(panic) => {
            let cause = format!("a reader panicked: {}", panic_text(panic.as_ref()));
            (Err(shared.place.unavailable(cause)), false)
        }
    }
}
