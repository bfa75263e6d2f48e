//! Support: payloads, gates inside engines, and short words for what tests look at.
//!
//! It knows no rule of the runtime; the tests do.

use std::fmt;
use std::future::{Future, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use volery::prelude::*;
use volery::store::{
    Answer, Batch as Write, Catalogue, Commit, Cursor, DeadLetter, Read, Store, StoreError, Unfinished,
};
use volery::{CloseReason, Event, Fault, FeedItem, FeedReader, Offset, Outcome, Page, RunId, Tally};

/// What a test returns.
pub(crate) type Tested = volery::Result<()>;

/// One second, the step of paused time in these tests.
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Longer than anything here takes.
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

macro_rules! payloads {
    ($($name:ident, $make:ident;)+) => {$(
        /// A payload: a key to group by, a number to tell it apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name {
            pub(crate) key: u32,
            pub(crate) n: u32,
        }

        pub(crate) fn $make(key: u32, n: u32) -> $name {
            $name { key, n }
        }
    )+};
}

payloads! {
    A, a;
    B, b;
    C, c;
    D, d;
}

/// What engines were given, in order.
#[derive(Debug)]
pub(crate) struct Seen<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone + Send + 'static> Seen<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn note(&self, what: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An engine that notes its input and publishes nothing.
    pub(crate) fn engine(
        &self,
    ) -> impl Fn(T, Context) -> std::future::Ready<Result<(), Fault>> + Send + Sync + 'static + use<T> {
        let seen = self.clone();
        move |input, _| {
            seen.note(input);
            ready(Ok(()))
        }
    }
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A place in an engine where it waits until the test lets it go on.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<(Semaphore, Semaphore)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    /// For the engine: says that it is there, and waits.
    pub(crate) async fn pass(&self) {
        self.0.0.add_permits(1);
        self.0.1.acquire().await.expect("the gate is never closed").forget();
    }

    /// For the test: waits until one more engine is there.
    pub(crate) async fn reached(&self) {
        soon(self.0.0.acquire()).await.expect("the gate is never closed").forget();
    }

    /// For the test: lets this many through.
    pub(crate) fn open(&self, engines: usize) {
        self.0.1.add_permits(engines);
    }

    /// How many came and were not waited for.
    pub(crate) fn unseen(&self) -> usize {
        self.0.0.available_permits()
    }
}

/// Tells whether something was dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dropped(Arc<AtomicBool>);

impl Dropped {
    pub(crate) fn guard(&self) -> impl Drop + Send + use<> {
        Guard(Arc::clone(&self.0))
    }

    pub(crate) fn is_true(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Waits for what must come; a test that would hang fails instead.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(24 * HOUR, future).await.expect("it should have come long ago")
}

/// Lets everybody else come as far as they can without time passing.
pub(crate) async fn turns() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Tells whether a future is not ready, once everybody else had a turn.
pub(crate) async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    turns().await;
    tokio::select! {
        biased;
        _ = future => false,
        () = ready(()) => true,
    }
}

/// Takes what the feed holds by now.
pub(crate) async fn drain(feed: &mut FeedReader) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let item = tokio::task::unconstrained(async {
            tokio::select! {
                biased;
                item = feed.next() => item,
                () = ready(()) => None,
            }
        });
        match item.await {
            Some(FeedItem::Event(event)) => events.push(event),
            Some(_) => panic!("the feed is large enough for a test"),
            None => return events,
        }
    }
}

/// Waits for the first event that `pick` takes.
pub(crate) async fn event<T>(feed: &mut FeedReader, pick: impl Fn(&Event) -> Option<T>) -> T {
    soon(async {
        loop {
            match feed.next().await {
                Some(FeedItem::Event(event)) => {
                    if let Some(picked) = pick(&event) {
                        return picked;
                    }
                }
                Some(_) => panic!("the feed is large enough for a test"),
                None => panic!("the runtime ended before the event came"),
            }
        }
    })
    .await
}

/// Waits for the next outcome: which artifact, and how it ended.
pub(crate) async fn outcome(feed: &mut FeedReader) -> (Offset, Outcome) {
    let settled = |event: &Event| match event {
        Event::Settled { settled, .. } => Some((settled.offset, settled.outcome.clone())),
        _ => None,
    };
    event(feed, settled).await
}

/// Waits for the next failed attempt that is to be followed by another.
pub(crate) async fn retrying(feed: &mut FeedReader) {
    event(feed, |event| matches!(event, Event::Retrying { .. }).then_some(())).await;
}

/// Why batches were closed, as far as the feed tells by now.
pub(crate) async fn closes(feed: &mut FeedReader) -> Vec<CloseReason> {
    let started = |event| match event {
        Event::Started { start, .. } => start.closed,
        _ => None,
    };
    drain(feed).await.into_iter().filter_map(started).collect()
}

/// How an agent's inputs ended so far.
pub(crate) async fn tally(volery: &Volery, agent: &str) -> volery::Result<Tally> {
    let agents = volery.agents().await?;
    Ok(agents.iter().find(|status| status.name.as_str() == agent).expect("the agent is declared").tally)
}

/// Every payload of one kind on the board, oldest first.
pub(crate) async fn on_board<T: volery::Take<Payload = T> + volery::Payload>(
    volery: &Volery,
) -> volery::Result<Vec<T>> {
    let kind = volery::Kind::of::<T>();
    let page = volery.artifacts(&Filter::all().kind(kind.name())).await?;
    page.artifacts.iter().map(|artifact| T::take(artifact).map_err(volery::Error::from)).collect()
}

/// A memory store that can be told to fail, and to be slow to close.
#[derive(Debug, Default)]
pub(crate) struct Moody {
    inner: Memory,
    pub(crate) mood: Arc<Mood>,
}

/// How a [`Moody`] store feels.
#[derive(Default)]
pub(crate) struct Mood {
    pub(crate) down: AtomicBool,
    pub(crate) close_never: AtomicBool,
    /// Called when it is told to close.
    pub(crate) on_close: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl fmt::Debug for Mood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mood").field("down", &self.down).finish_non_exhaustive()
    }
}

impl Moody {
    pub(crate) fn new() -> (Self, Arc<Mood>) {
        let store = Self::default();
        let mood = Arc::clone(&store.mood);
        (store, mood)
    }
}

impl Store for Moody {
    fn name(&self) -> String {
        "moody".to_owned()
    }

    fn open(&self, catalogue: Catalogue) -> Answer<'_, ()> {
        self.inner.open(catalogue)
    }

    fn commit(&self, batch: Write) -> Commit {
        if self.mood.down.load(Ordering::Acquire) {
            return Commit::Done(Err(StoreError::Unavailable {
                store: self.name(),
                cause: "told to".into(),
            }));
        }
        self.inner.commit(batch)
    }

    fn read(&self, offsets: &[Offset]) -> Read {
        self.inner.read(offsets)
    }

    fn find<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Page> {
        self.inner.find(filter)
    }

    fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)> {
        self.inner.unfinished(after, limit)
    }

    fn tally(&self, run: RunId) -> Answer<'_, Tally> {
        self.inner.tally(run)
    }

    fn dead_letters(&self, after: u64, limit: usize) -> Answer<'_, Vec<DeadLetter>> {
        self.inner.dead_letters(after, limit)
    }

    fn close(&self) -> Answer<'_, ()> {
        if let Some(tell) = &*self.mood.on_close.lock().unwrap_or_else(PoisonError::into_inner) {
            tell();
        }
        if self.mood.close_never.load(Ordering::Acquire) {
            return Box::pin(std::future::pending());
        }
        self.inner.close()
    }
}
