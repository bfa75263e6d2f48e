//! Tests of attempts in their slots.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use volery_blackboard::job::Start;
use volery_blackboard::store::Few;
use volery_blackboard::{AgentIndex, JobId, JobIndex, Offset, RunId, SubscriptionIndex, Timestamp};
use volery_observability::Metrics;

use super::attempt::Attempt;
use super::slots::{Attempts, Instruments, Slot, Slots};
use crate::clock::Clock;

/// An attempt that is present, and has no task.
pub(crate) struct Present {
    attempt: Arc<Attempt>,
    slot: Arc<Slot>,
}

impl Present {
    /// Begins one in the only agent.
    pub(crate) fn begin(attempts: &Attempts, job: JobId) -> Self {
        let slots = attempts.only();
        let slot = slots.open_beside();
        Self { attempt: slots.fill(&slot, Arc::new(start(job))), slot }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.attempt.slots.free(&self.slot);
        self.attempt.slots.close(&self.slot);
    }
}

impl Attempts {
    /// The attempts of one agent, whose clock stands at the epoch while time is paused.
    pub(crate) fn of_one_agent() -> Self {
        let clock = Clock::fixed(Timestamp::default(), 7);
        let instruments = Instruments { clock, metrics: Metrics::default(), looks: Arc::default() };
        let looks = Arc::clone(&instruments.looks);
        let slots = Slots::new("agent".into(), 1, Some(Duration::from_secs(5)), instruments);
        Self::new([Arc::new(slots)], looks)
    }
}

pub(crate) fn job(number: u64) -> JobId {
    JobId::derive("agent/0", Timestamp::default(), std::iter::once(Offset::new(number)))
}

fn start(job: JobId) -> Start {
    Start {
        job,
        agent: AgentIndex(0),
        subscription: SubscriptionIndex(0),
        members: Few::new(),
        attempt: 1,
        failures: 0,
        run: RunId::from_uuid(job.as_uuid()),
        opens_run: false,
        at: Timestamp::default(),
        closed: None,
        shared: false,
        alone: false,
        index: JobIndex::default(),
        observed: None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_present_until_the_last_of_it_has_ended() {
    let attempts = Attempts::of_one_agent();
    let present = Present::begin(&attempts, job(0));
    let attempt = Arc::clone(&present.attempt);
    let stays = attempt.keep_present().expect("it is there");
    let read = attempts.all();
    drop(present);
    assert!(attempt.is_present() && attempts.all().len() == 1);
    let next = Present::begin(&attempts, job(1));
    assert_eq!(attempts.all().len(), 2, "its slot is free, and it is still listed");
    drop(stays);
    assert!(!attempt.is_present() && attempts.all().len() == 1, "whoever reads keeps nothing present");
    assert!(attempt.keep_present().is_none(), "and nothing comes back");
    drop((read, next));
    attempts.none().await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_overdue_while_it_is_at_work_and_not_before_or_after() {
    let attempts = Attempts::of_one_agent();
    let present = Present::begin(&attempts, job(0));
    let attempt = &present.attempt;
    let late = attempt.began.after(Duration::from_secs(6));
    assert_eq!(attempt.overdue(late), None);
    let work = pin!(async {
        assert_eq!(attempt.overdue(late), Some(Duration::from_secs(5)));
        assert_eq!(attempt.overdue(attempt.began), None);
    });
    attempt.watch_call(work).await;
    assert_eq!(attempt.overdue(late), None);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_in_a_poll_only_while_it_is_polled() {
    let attempts = Attempts::of_one_agent();
    let present = Present::begin(&attempts, job(0));
    let in_poll = || present.attempt.looks_in_poll(attempts.look());
    let work = pin!(async {
        assert_eq!(in_poll(), 1);
        assert_eq!(in_poll(), 2, "a poll that goes on grows older");
        tokio::task::yield_now().await;
        assert_eq!(in_poll(), 1, "each poll counts for itself");
        std::future::pending::<()>().await;
    });
    let mut work = pin!(present.attempt.watch_call(work));
    for _ in 0..2 {
        assert!(futures_util::poll!(work.as_mut()).is_pending());
        assert_eq!(in_poll(), 0, "one that waits is not polled");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_beside_the_engine_is_watched_for_itself() {
    let attempts = Attempts::of_one_agent();
    let present = Present::begin(&attempts, job(0));
    let attempt = &present.attempt;
    let child = attempt.watch_child(async {
        attempts.look();
        attempt.looks_in_poll(attempts.look())
    });
    assert_eq!(child.await, 2);
    assert_eq!(attempt.looks_in_poll(attempts.look()), 0, "it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_is_over_is_cancelled_and_its_attempt_is_not_called_off() {
    let attempts = Attempts::of_one_agent();
    let present = Present::begin(&attempts, job(0));
    let attempt = &present.attempt;
    attempt.time_out(&attempt.engine, attempt.began);
    attempt.cancelled(&attempt.engine).await;
    assert!(!attempt.is_called_off(&attempt.engine), "its time was over first");
    assert!(!attempt.is_cancelled(attempt.fallback()), "the fallback has a time of its own");
    attempt.call_off(attempt.began);
    attempt.cancelled(attempt.fallback()).await;
    assert!(attempt.is_called_off(attempt.fallback()) && !attempt.is_called_off(&attempt.engine));
}
