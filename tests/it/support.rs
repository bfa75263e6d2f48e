//! Support: payloads, and short words for what tests look at, beside those of `volery::testing`.
//!
//! It knows no rule of the runtime; the tests do.

use std::future::{Future, ready};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use volery::feed::{Event, FeedItem, FeedReader};
use volery::prelude::*;
use volery::report::AgentStatus;
use volery::shape::CloseReason;
use volery::{Fault, Offset, Outcome, Tally};

pub(crate) use volery::testing::Gate;

/// The result of a test.
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

/// The inputs of engines, in order.
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

/// Measures time as the runtime does: paused, in most tests.
#[derive(Debug)]
pub(crate) struct Stopwatch(volery::runtime::Clock, volery::Timestamp);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        let clock = volery::runtime::Clock::system();
        let now = clock.now();
        Self(clock, now)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.now().since(self.1)
    }
}

/// Real time after which a test hangs: far more than any takes on a machine that has other things to do.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// Waits for what must come; a test that would hang fails instead, whether its time is paused or real, and
/// says where.
#[track_caller]
pub(crate) fn soon<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    within(HANGS_AFTER, Location::caller(), future)
}

async fn within<T>(limit: Duration, place: &Location<'_>, future: impl Future<Output = T>) -> T {
    let (over, watched) = tokio::sync::oneshot::channel::<()>();
    let (ended, end) = std::sync::mpsc::channel::<()>();
    // Paused time would not wait for a timer of real time; a thread does, until the future is there or
    // dropped.
    std::thread::spawn(move || {
        // Nobody sends: it ends with the wait, or at the limit.
        if end.recv_timeout(limit).is_err() {
            drop(over);
        }
    });
    let came = tokio::select! {
        biased;
        came = timeout(24 * HOUR, future) => came.ok(),
        Err(_) = watched => None,
    };
    drop(ended);
    came.unwrap_or_else(|| panic!("what is waited for at {place} should have come long ago"))
}

#[tokio::test]
#[should_panic(expected = "tests/it/support.rs")]
async fn a_test_that_hangs_in_real_time_fails_and_says_where() {
    within(Duration::ZERO, Location::caller(), std::future::pending::<()>()).await;
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

/// How an agent stands.
pub(crate) async fn status_of(volery: &Volery, agent: &str) -> volery::Result<AgentStatus> {
    let agents = volery.agents().await?;
    Ok(agents.into_iter().find(|status| status.name.as_str() == agent).expect("the agent is declared"))
}

/// Every payload of one kind on the board, oldest first.
pub(crate) async fn on_board<T: volery::shape::Take<Payload = T> + volery::Payload>(
    volery: &Volery,
) -> volery::Result<Vec<T>> {
    let kind = volery::Kind::of::<T>();
    let page = volery.artifacts(&Filter::all().kind(kind.name())).await?;
    page.artifacts.iter().map(|artifact| T::take(artifact).map_err(volery::Error::from)).collect()
}
