//! The handle of a store in a file: it hands writes to the writer and questions to the readers.
//!
//! It writes and reads nothing itself; the curator and the runtime call it through the trait `Store`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};
use volery_blackboard::claim::{Backlog, Claimed};
use volery_blackboard::store::{
    Answer, Artifacts, Catalogue, Cursor, Damage, DeadFilter, DeadLetter, History, Inspected, Letters,
    Lineage, Log, Note, Response, Retained, Retention, StoreError, Summary, SummaryBy, Unfinished, Write,
    Written,
};
use volery_blackboard::{
    ArtifactId, Filter, Marks, Offset, Page, RunId, SubscriptionIndex, Tally, Timestamp,
};

use crate::fault::Place;
use crate::options::Options;
use crate::reader::Readers;
use crate::session::Session;
use crate::shared::Shared;
use crate::writer::{Command, Reply, Writer};
use crate::{file, schema, session, writer};

/// A store in one SQLite file.
///
/// Dropped without [`Log::close`], it ends its threads all the same, and waits for them; what was committed
/// is kept either way.
#[derive(Debug)]
pub struct Sqlite {
    shared: Arc<Shared>,
    readers: Readers,
    /// `None` once it is closed.
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held until the writer has ended.
    lock: Mutex<Option<file::Lock>>,
}

impl Sqlite {
    /// Opens a store with the default [`Options`]. Makes the file if there is none. Blocks for milliseconds.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::options(path).open()
    }

    /// Begins with the options of a store.
    pub fn options(path: impl Into<PathBuf>) -> Options {
        Options::new(path.into())
    }

    pub(crate) fn start(options: Options) -> Result<Self, StoreError> {
        let place = Place::new(&options.path);
        if !options.allow_network {
            file::refuse_network(&place, file::type_of)?;
        }
        let (mut lock, was_used) = file::lock(&place)?;
        file::inspect(&place, was_used)?;
        let shared = Arc::new(Shared::new(place, options));
        let opened = file::open_writer(&shared.place, &shared.options).and_then(|conn| {
            let epoch = schema::prepare(&conn, &shared.place)?;
            if !was_used {
                file::mark_used(&mut lock, &conn, &shared.place)?;
            }
            Ok((conn, epoch))
        });
        let (conn, epoch) = opened.map_err(|fault| shared.error(fault))?;
        let readers = Readers::start(&shared)?;
        let (commands, receiver) = mpsc::channel(writer::WAITING_MAX);
        let writer = Writer::new(Arc::clone(&shared), epoch, receiver);
        let thread = thread::Builder::new().name("volery-write".to_owned()).spawn(move || writer.run(conn));
        let thread =
            thread.map_err(|error| shared.place.io_error(&error, "starting the thread that writes"))?;
        let (writer, lock) = (Mutex::new(Some(thread)), Mutex::new(Some(lock)));
        Ok(Self { shared, readers, commands: Mutex::new(Some(commands)), writer, lock })
    }

    fn commands(&self) -> MutexGuard<'_, Option<mpsc::Sender<Command>>> {
        // Nothing panics under the lock.
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the writer a command, now, and waits for its answer.
    fn tell<T: Send + 'static>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Answer<'static, T> {
        let (reply, answer) = oneshot::channel();
        let sent = match &*self.commands() {
            Some(commands) => commands.try_send(command(reply)),
            None => return Box::pin(std::future::ready(Err(self.shared.place.closed()))),
        };
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            match sent {
                Ok(()) => {
                    answer.await.unwrap_or_else(|_| Err(shared.place.unavailable("the writer has ended")))
                }
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Err(shared.place.unavailable("too many writes wait for the disk"))
                }
                Err(mpsc::error::TrySendError::Closed(_)) => Err(shared.place.closed()),
            }
        })
    }

    fn is_closed(&self) -> bool {
        self.commands().is_none()
    }

    /// Waits for the writer's end and gives the lock back.
    fn end(&self) {
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The writer catches panics; should one get through, the drop of the replies wakes the callers.
            drop(writer.join().err());
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.readers.close();
        // The writer ends after every command before.
        drop(self.commands().take());
        self.end();
    }
}

impl Log for Sqlite {
    fn name(&self) -> String {
        self.shared.place.name()
    }

    fn system(&self) -> &'static str {
        "sqlite"
    }

    fn open(&self, catalogue: Catalogue) -> Answer<'_, ()> {
        self.tell(|reply| Command::Open(catalogue, reply))
    }

    fn writes_payloads(&self) -> bool {
        true
    }

    fn outlives_process(&self) -> bool {
        true
    }

    fn commit(&self, writes: Vec<Write>) -> Response<Vec<Written>> {
        Response::Pending(self.tell(|reply| Command::Commit(writes, reply)))
    }

    fn read(&self, offsets: &[Offset]) -> Response<Artifacts> {
        if self.is_closed() {
            return Response::Ready(Err(self.shared.place.closed()));
        }
        if let Some(found) = self.shared.cache.read(offsets) {
            return Response::Ready(Ok(found));
        }
        let offsets = offsets.to_vec();
        Response::Pending(self.readers.ask(move |session| session.read(&offsets)))
    }

    fn notes(&self) -> Answer<'_, Vec<Note>> {
        self.readers.ask(|session| session.notes())
    }

    fn damage(&self) -> Vec<Damage> {
        self.shared.damage()
    }

    fn marks(&self) -> Answer<'_, Vec<(SubscriptionIndex, Marks)>> {
        self.readers.ask(|session| session.marks())
    }

    fn claims<'a>(
        &'a self,
        subscriptions: &'a [SubscriptionIndex],
        after: Option<Offset>,
        limit: usize,
    ) -> Answer<'a, Vec<Claimed>> {
        let subscriptions = subscriptions.to_vec();
        self.readers.ask(move |session| session.claims(&subscriptions, after, limit))
    }

    fn backlog(&self) -> Answer<'_, Vec<Backlog>> {
        self.readers.ask(|session| session.backlog())
    }

    fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)> {
        match after {
            Cursor::Jobs(after) => self.tell(|reply| Command::Jobs { after, limit, reply }),
            Cursor::Pairs(number) => self.readers.ask(move |session| session.pairs(number, limit)),
        }
    }

    fn tally(&self, run: RunId) -> Answer<'_, Tally> {
        self.readers.ask(move |session| session.tally(run))
    }

    fn workflow(&self, run: RunId) -> Answer<'_, Option<Arc<str>>> {
        self.readers.ask(move |session| session.workflow(run))
    }

    fn close(&self) -> Answer<'_, ()> {
        let ending = self.tell(Command::Close);
        drop(self.commands().take());
        Box::pin(async move {
            // The writer is the last to leave the file, so that it can put the log away.
            self.readers.close();
            let ended = ending.await;
            self.end();
            ended
        })
    }
}

impl History for Sqlite {
    fn find<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Page> {
        let filter = filter.clone();
        self.readers.ask(move |session| session.find(&filter))
    }

    fn summary<'a>(&'a self, filter: &'a Filter, by: SummaryBy) -> Answer<'a, Vec<Summary>> {
        let filter = filter.clone();
        self.readers.ask(move |session| session.summary(&filter, by))
    }

    fn lineage(&self, artifact: ArtifactId) -> Answer<'_, Option<Lineage>> {
        self.readers.ask(move |session| session.lineage(artifact))
    }

    fn retain<'a>(&'a self, policy: &'a Retention, now: Timestamp, limit: usize) -> Answer<'a, Retained> {
        if policy.keeps_everything() {
            return Box::pin(std::future::ready(Ok(Retained::default())));
        }
        Box::pin(async move {
            let policy = policy.clone();
            let search = move |session: &Session<'_>| {
                let letters = session::doomed_letters(session, &policy, now, limit)?;
                Ok((session::doomed(session, &policy, now, limit)?, letters))
            };
            let ((doomed, more), (letters, more_letters)) = self.readers.ask(search).await?;
            let mut retained = Retained::default();
            if !doomed.is_empty() {
                retained.removed = self.tell(|reply| Command::Remove(doomed, reply)).await?;
            }
            if !letters.is_empty() {
                retained.letters = self.tell(|reply| Command::RemoveLetters(letters, reply)).await?;
            }
            retained.more = more && retained.removed > 0 || more_letters && retained.letters > 0;
            Ok(retained)
        })
    }
}

impl Letters for Sqlite {
    fn dead_letters<'a>(&'a self, filter: &'a DeadFilter) -> Answer<'a, Vec<DeadLetter>> {
        let filter = filter.clone();
        self.readers.ask(move |session| session.dead_letters(&filter))
    }

    fn dead_letter(&self, number: u64) -> Answer<'_, Option<Inspected>> {
        self.readers.ask(move |session| session.dead_letter(number))
    }
}
