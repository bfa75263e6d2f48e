//! Events as a test expects them: patterns in the feed, one by one, in order, or in any order.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::timeout;

use super::{PATIENCE, fail, list, settle};
use crate::feed::{Event, FeedItem, FeedReader};

mod line;
mod pattern;

pub(super) use line::line;
pub use pattern::Pattern;

/// Events that a failure lists at most. A test that waits among more of them is helped by the last ones only.
pub(super) const LISTED: usize = 20;

/// Reads the feed for a test: from the moment it was made, and each event once.
///
/// Every expectation goes on behind the event that the one before it ended with; what lies between is
/// skipped. When what is expected does not come, it fails and lists what came instead. Made by
/// [`Harness::events`](super::Harness::events), or from any feed with [`Events::of`].
#[derive(Debug)]
#[must_use]
pub struct Events {
    reader: FeedReader,
    within: Duration,
    /// The last events that were read, as text.
    came: VecDeque<String>,
}

/// Why an expectation ended without its event.
#[derive(Debug)]
enum Missing {
    TimeUp(Duration),
    Stopped,
    Skipped(u64),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimeUp(within) => write!(f, "it did not come within {within:?}"),
            Self::Stopped => f.write_str("the runtime stopped first"),
            Self::Skipped(count) => {
                write!(f, "the feed had skipped {count} events; raise `feed_capacity` or look more often")
            }
        }
    }
}

impl Events {
    /// Reads a feed from where it stands.
    pub fn of(reader: FeedReader) -> Self {
        Self { reader, within: PATIENCE, came: VecDeque::new() }
    }

    /// Waits at most this long, in the test's time, for what is expected from here on. Default: one hour.
    pub fn within(self, time: Duration) -> Self {
        Self { within: time, ..self }
    }

    /// Waits for the next event of a pattern, and returns it. Cancel safe: what was skipped by then stays
    /// skipped.
    ///
    /// # Panics
    /// When it does not come in time; the text lists what came instead.
    #[track_caller]
    pub fn expect(&mut self, pattern: Pattern) -> impl Future<Output = Event> + Send {
        let at = Location::caller();
        async move {
            match self.find(|event| pattern.takes(event).then(|| event.clone())).await {
                Ok(event) => event,
                Err(missing) => self.fail(at, &format!("expected {}, but {missing}", pattern.name())),
            }
        }
    }

    /// Waits for the next event that a closure takes. See [`expect`](Self::expect).
    ///
    /// # Panics
    /// As [`expect`](Self::expect) does.
    #[track_caller]
    pub fn expect_that(
        &mut self,
        takes: impl Fn(&Event) -> bool + Send + Sync + 'static,
    ) -> impl Future<Output = Event> + Send {
        self.expect(Pattern::new("an event that the closure takes", takes))
    }

    /// Waits for the next event that a closure makes something of, and returns that. See
    /// [`expect`](Self::expect).
    ///
    /// # Panics
    /// As [`expect`](Self::expect) does.
    #[track_caller]
    pub fn pick<T: Send>(
        &mut self,
        what: &str,
        pick: impl Fn(&Event) -> Option<T> + Send,
    ) -> impl Future<Output = T> + Send {
        let at = Location::caller();
        async move {
            match self.find(pick).await {
                Ok(picked) => picked,
                Err(missing) => self.fail(at, &format!("expected {what}, but {missing}")),
            }
        }
    }

    /// Waits for an event of each pattern, one after the other; others may lie between. The time is for all
    /// of them.
    ///
    /// # Panics
    /// When one does not come in time; the text says which, and lists what came instead.
    #[track_caller]
    pub fn expect_in_order(
        &mut self,
        patterns: impl IntoIterator<Item = Pattern, IntoIter: Send>,
    ) -> impl Future<Output = Vec<Event>> + Send {
        let (at, patterns) = (Location::caller(), patterns.into_iter());
        async move {
            let mut found: Vec<Event> = Vec::new();
            let (mut at_hand, within) = (String::new(), self.within);
            let all = async {
                for pattern in patterns {
                    pattern.name().clone_into(&mut at_hand);
                    let next = self.next_that(|event| pattern.takes(event).then(|| event.clone()));
                    found.push(next.await?);
                }
                Ok(())
            };
            let ended = timeout(within, all).await;
            let missing = match ended {
                Ok(Ok(())) => return found,
                Ok(Err(missing)) => missing,
                Err(_) => Missing::TimeUp(within),
            };
            self.fail(at, &format!("expected {at_hand} as event {} in order, but {missing}", found.len() + 1))
        }
    }

    /// Waits for an event of each pattern, in any order; an event counts for one pattern. The time is for all
    /// of them.
    ///
    /// # Panics
    /// When one does not come in time; the text says which are missing, and lists what came instead.
    #[track_caller]
    pub fn expect_all(
        &mut self,
        patterns: impl IntoIterator<Item = Pattern>,
    ) -> impl Future<Output = Vec<Event>> + Send {
        let at = Location::caller();
        let mut missing: Vec<Pattern> = patterns.into_iter().collect();
        async move {
            let mut found = Vec::new();
            let within = self.within;
            let all = async {
                while !missing.is_empty() {
                    let place = |event: &Event| missing.iter().position(|pattern| pattern.takes(event));
                    let taken = |event: &Event| place(event).map(|place| (place, event.clone()));
                    let (place, event) = self.next_that(taken).await?;
                    drop(missing.remove(place));
                    found.push(event);
                }
                Ok(())
            };
            let why = match timeout(within, all).await {
                Ok(Ok(())) => return found,
                Ok(Err(missing)) => missing,
                Err(_) => Missing::TimeUp(within),
            };
            let names: Vec<&str> = missing.iter().map(Pattern::name).collect();
            self.fail(at, &format!("expected {} as well, but {why}", names.join(" and ")))
        }
    }

    /// Lets every task run until it waits (a millisecond of the test's time passes), and checks that no event
    /// of the pattern came behind what was read before. All of them are read by that.
    ///
    /// # Panics
    /// When one came; the text says which.
    #[track_caller]
    pub fn expect_none(&mut self, pattern: Pattern) -> impl Future<Output = ()> + Send {
        let at = Location::caller();
        async move {
            settle().await;
            for event in self.take() {
                if pattern.takes(&event) {
                    self.fail(
                        at,
                        &format!("expected none, but there was {}: {}", pattern.name(), line(&event)),
                    );
                }
            }
        }
    }

    /// Takes every event that has come by now.
    ///
    /// # Panics
    /// When the feed has skipped some, because its capacity is too small for the test.
    #[track_caller]
    pub fn take(&mut self) -> Vec<Event> {
        let at = Location::caller();
        let mut events = Vec::new();
        while let Some(item) = self.reader.try_next() {
            match item {
                FeedItem::Event(event) => {
                    self.note(&event);
                    events.push(event);
                }
                FeedItem::Skipped(count) => self.fail(at, &Missing::Skipped(count).to_string()),
                // The enum is open; what a reader gets besides is no event.
                _ => {}
            }
        }
        events
    }

    async fn find<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> Result<T, Missing> {
        let within = self.within;
        timeout(within, self.next_that(pick)).await.unwrap_or(Err(Missing::TimeUp(within)))
    }

    /// Reads on to the first event that `pick` takes.
    async fn next_that<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> Result<T, Missing> {
        loop {
            match self.reader.next().await {
                Some(FeedItem::Event(event)) => {
                    self.note(&event);
                    if let Some(picked) = pick(&event) {
                        return Ok(picked);
                    }
                }
                Some(FeedItem::Skipped(count)) => return Err(Missing::Skipped(count)),
                // The enum is open; what a reader gets besides is no event.
                Some(_) => {}
                None => return Err(Missing::Stopped),
            }
        }
    }

    fn note(&mut self, event: &Event) {
        if self.came.len() == LISTED {
            self.came.pop_front();
        }
        self.came.push_back(line(event));
    }

    fn fail(&self, at: &Location<'_>, what: &str) -> ! {
        fail(at, &format!("{what}{}", list("events read so far", &self.came)))
    }
}
