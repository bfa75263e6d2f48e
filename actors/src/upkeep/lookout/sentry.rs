//! The sentry: a thread of its own that sees when worker threads of the async runtime are blocked.
//!
//! It cannot be a task, because a task needs a worker to tell that there is none. The thread belongs to one
//! life of this actor: it is started with it, sleeps on a condition between looks, and is woken to end with
//! it. Nobody waits for that before the stopper does, last of all. It looks four times in
//! `blocked_after`, in real time, whatever a test has done to the runtime's clock.
//!
//! Two things are looked at: polls of engines that do not return (see `agent/poll.rs`), which name their
//! agent, and a probe, a task that has nothing to do but to answer when it is polled.
//!
//! A panic in the thread, as a subscriber or a meter of the service may cause, ends this life, so that it is
//! told and the next life begins another thread.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `Lost` | ends this life | the panic that ended the thread |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use volery_observability::Metrics;

use super::findings::Findings;
use crate::agent::Attempts;
use crate::clock::{Clock, Stopwatch};
use crate::fault::Fault;
use crate::fault::take_text;
use crate::finding::{Finding, FindingKind};
use crate::supervision::{Address, Life};

/// Looks in `blocked_after`. Fewer would find a blocked thread late by a large part of that time; more would
/// only wake an idle machine more often.
const LOOKS: u64 = 4;

/// The parts that every life of the sentry needs.
#[derive(Debug)]
pub(crate) struct SentryParts {
    /// 0 turns it off.
    pub(crate) blocked_after: Duration,
    pub(crate) attempts: Attempts,
    pub(crate) findings: Arc<Findings>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// Threads that nobody has joined yet: the present one, and earlier ones that are about to end.
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SentryParts {
    fn add_thread(&self, thread: JoinHandle<()>) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|earlier| !earlier.is_finished());
        threads.push(thread);
    }

    /// Waits for the threads of lives that have ended. They end at once, unless a subscriber blocks them.
    pub(crate) async fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return;
        }
        let join = move || threads.into_iter().filter_map(|thread| thread.join().err()).count();
        match tokio::task::spawn_blocking(join).await {
            Ok(0) => {}
            Ok(panicked) => {
                tracing::error!(target: "volery::lookout", panicked, "threads of the sentry panicked")
            }
            Err(error) => tracing::error!(target: "volery::lookout", %error, "the sentry was not waited for"),
        }
    }
}

/// The messages of the sentry.
#[derive(Debug)]
pub(in crate::upkeep) enum SentryMessage {
    /// The thread has panicked, and watches no more.
    Lost(String),
}

/// One life of the sentry.
pub(in crate::upkeep) struct Sentry {
    parts: Arc<SentryParts>,
    own: Address<SentryMessage>,
    state: Arc<ThreadState>,
    probe: JoinSet<()>,
}

/// The state that the thread and the life share.
#[derive(Debug, Default)]
struct ThreadState {
    stopped: Mutex<bool>,
    wake_up: Condvar,
    probe: Probe,
}

/// A question to the async runtime: is there a worker that takes up a task that is ready?
#[derive(Debug, Default)]
struct Probe {
    asked: AtomicU64,
    answered: AtomicU64,
    ready: Notify,
    since: Mutex<Option<Stopwatch>>,
}

impl Sentry {
    pub(in crate::upkeep) fn new(parts: Arc<SentryParts>, own: Address<SentryMessage>) -> Self {
        Self { parts, own, state: Arc::default(), probe: JoinSet::new() }
    }
}

impl Life for Sentry {
    type Message = SentryMessage;

    async fn started(&mut self) -> Result<(), Fault> {
        let (state, metrics) = (Arc::clone(&self.state), self.parts.metrics.clone());
        self.probe.spawn(async move { state.probe.answer(&metrics).await });
        let (parts, state) = (Arc::clone(&self.parts), Arc::clone(&self.state));
        let (runtime, own) = (Handle::current(), self.own.clone());
        let watch = move || {
            // So that the clock is the runtime's, also where a test owns it.
            let entered = runtime.enter();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| watch_workers(&parts, &state))) {
                // Refused when the runtime has stopped: then nobody is to watch any more.
                drop(own.send(SentryMessage::Lost(take_text(panic))));
            }
            drop(entered);
        };
        let thread = thread::Builder::new().name("volery-sentry".to_owned()).spawn(watch)?;
        self.parts.add_thread(thread);
        Ok(())
    }

    async fn handle(&mut self, message: SentryMessage) -> Result<(), Fault> {
        match message {
            SentryMessage::Lost(panic) => Err(format!("its thread panicked: {panic}").into()),
        }
    }

    async fn ended(&mut self) {
        self.state.stop();
        self.probe.shutdown().await;
    }
}

impl Drop for Sentry {
    fn drop(&mut self) {
        // After a kill as well.
        self.state.stop();
    }
}

impl ThreadState {
    fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake_up.notify_all();
    }

    /// Sleeps; tells whether the thread is to go on.
    fn wait(&self, period: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake_up.wait_timeout_while(stopped, period, |stopped| !*stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Probe {
    /// The task: answers every question, and measures how long it took to be polled.
    async fn answer(&self, metrics: &Metrics) {
        loop {
            self.ready.notified().await;
            let since = self.since.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(since) = since {
                metrics.lag(since.elapsed());
            }
            self.answered.store(self.asked.load(Ordering::Acquire), Ordering::Release);
        }
    }

    /// For the thread: asks anew if the last question was answered. Returns how many looks ago an open one
    /// was asked.
    fn ask(&self, look: u64) -> u64 {
        let asked = self.asked.load(Ordering::Acquire);
        if self.answered.load(Ordering::Acquire) < asked {
            return look.saturating_sub(asked);
        }
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stopwatch::start());
        self.asked.store(look, Ordering::Release);
        self.ready.notify_one();
        0
    }
}

/// The thread: looks until it is stopped.
fn watch_workers(parts: &SentryParts, state: &ThreadState) {
    let period = (parts.blocked_after / u32::try_from(LOOKS).unwrap_or(1)).max(Duration::from_millis(1));
    while state.wait(period) {
        let look = parts.attempts.look();
        let since = |looks: u64| {
            let past = period.saturating_mul(u32::try_from(looks).unwrap_or(u32::MAX));
            parts.clock.now().before(past)
        };
        let blocked = parts.attempts.pick(|attempt| attempt.looks_in_poll(look) >= LOOKS);
        let blocked = blocked.iter().map(|attempt| Finding::WorkerBlocked {
            agent: attempt.agent().clone(),
            job: attempt.start.job,
            attempt: attempt.start.attempt,
            since: since(attempt.looks_in_poll(look).max(LOOKS)),
        });
        parts.findings.replace(FindingKind::WorkerBlocked, blocked.collect());
        let unanswered = state.probe.ask(look);
        let stalled = (unanswered >= LOOKS).then(|| Finding::RuntimeStalled { since: since(unanswered) });
        parts.findings.replace(FindingKind::RuntimeStalled, stalled.into_iter().collect());
    }
}
