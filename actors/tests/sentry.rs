//! A panic in the sentry's thread. A process of its own, because it has a subscriber for all threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use volery_actors::supervision::LifeEvent;
use volery_actors::{Agent, Event, Fault, FeedItem, FeedReader, Finding, Volery};
use volery_blackboard::shape::one;

/// Panics once, at the first line of the sentry's thread; the service's subscriber may do so.
struct Panics(AtomicBool);

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "volery::lookout"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        let sentry = std::thread::current().name() == Some("volery-sentry");
        let first = sentry && !self.0.swap(true, Ordering::AcqRel);
        assert!(!first, "a subscriber is broken");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Waits for the first event that `wanted` takes.
async fn event<T>(feed: &mut FeedReader, wanted: impl Fn(Event) -> Option<T>) -> T {
    loop {
        if let FeedItem::Event(event) = feed.next().await.expect("the runtime lives")
            && let Some(found) = wanted(event)
        {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_panic_in_the_sentrys_thread_is_told_and_the_next_one_watches_on() {
    tracing::subscriber::set_global_default(Panics(AtomicBool::new(false))).expect("there is none yet");
    let ((there, reached), (open, opened)) = (mpsc::channel(), mpsc::channel());
    let doors = Mutex::new((there, opened));
    let agent = Agent::new("billing").consumes(one::<u32>()).engine(move |_: u32, _| {
        let (there, opened) = &*doors.lock().unwrap_or_else(PoisonError::into_inner);
        there.send(()).expect("the test is there");
        opened.recv().expect("the test opens");
        async { Ok::<_, Fault>(()) }
    });
    let builder = Volery::builder("t").agent(agent);
    let builder = builder.configure(|settings| settings.blocked_after = Duration::from_millis(10));
    let runtime = builder.start().await.expect("it starts");
    let mut feed = runtime.feed();
    runtime.publish(1_u32).await.expect("it is open");
    reached.recv().expect("the engine is called");
    let exit = event(&mut feed, |event| match event {
        Event::Life(LifeEvent::Ended { child, exit, .. }) => {
            (child.as_str() == "sentry").then(|| exit.to_string())
        }
        _ => None,
    });
    assert!(exit.await.contains("a subscriber is broken"));
    let started = event(&mut feed, |event| match event {
        Event::Life(LifeEvent::Started { child, .. }) => (child.as_str() == "sentry").then_some(()),
        _ => None,
    });
    started.await;
    let health = runtime.health().await.to_string();
    assert!(health.contains("sentry: restarts so far: 1"), "{health}");
    open.send(()).expect("the engine waits");
    let over = event(&mut feed, |event| match event {
        Event::Over(Finding::WorkerBlocked { agent, .. }) => Some(agent),
        _ => None,
    });
    assert_eq!(over.await.as_str(), "billing", "the next thread sees that it is over");
}
