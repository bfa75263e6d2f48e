//! The attempt: one try of a job, as one shared object.
//!
//! Its owner is the execution in the attempt's task (`execution.rs`); the slot, the engine's contexts and
//! readers hold it besides. An attempt is *present*, in the table of its agent's slots, until its owner has
//! ended and nothing of it goes on: no function that blocks its thread, no protected section.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use volery_blackboard::job::Start;
use volery_blackboard::store::Artifacts;
use volery_blackboard::{AgentName, Artifact, Timestamp};
use volery_observability::trace::Scope;

use super::child::Children;
use super::poll::PollWatch;
use super::progress::{AtomicTime, Progress};
use super::slots::Slots;
use crate::hold::{Hold, Protection};

/// One try of a job.
pub(crate) struct Attempt {
    pub(crate) start: Arc<Start>,
    pub(crate) began: Timestamp,
    pub(super) slots: Arc<Slots>,
    /// Set when they have been read.
    inputs: OnceLock<Artifacts>,
    /// When it was cancelled with its run, or because the runtime stops.
    called_off: AtomicTime,
    /// Wakes those who wait for a cancellation, of whichever cause.
    cancelled: Notify,
    pub(super) engine: Call,
    /// Few jobs come to it.
    fallback: OnceLock<Box<Call>>,
    poll: PollWatch,
    /// Those of tasks that its engine started beside itself.
    child_polls: Mutex<Vec<Weak<PollWatch>>>,
    /// Whether its engine, or its fallback, is being run.
    at_work: AtomicBool,
    protected: Hold,
    /// Its owner, if that has not ended, and all that goes on besides.
    present: AtomicUsize,
}

/// One call of the user's code within an attempt: of the engine, or of the fallback.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// When its time was over, if nobody had called the attempt off before.
    timed_out: AtomicTime,
    pub(super) progress: Progress,
    /// Made when it starts something beside itself; `None` once it has ended without that.
    children: OnceLock<Option<Children>>,
    /// Where it runs, as traces see it; set when it begins.
    scope: OnceLock<Scope>,
}

/// The readable state of an attempt that runs.
#[derive(Clone, Debug)]
pub(crate) struct AttemptStatus {
    pub(crate) last_progress: Option<Timestamp>,
    pub(crate) cancelled_at: Option<Timestamp>,
    pub(crate) note: Option<String>,
}

/// Keeps an attempt present while something of it goes on beside its owner.
#[derive(Debug)]
pub(super) struct PresenceGuard(Arc<Attempt>);

impl Attempt {
    /// An attempt that begins, and is present with its owner.
    pub(super) fn new(start: Arc<Start>, slots: Arc<Slots>) -> Self {
        Self {
            start,
            began: slots.clock.now(),
            slots,
            inputs: OnceLock::new(),
            called_off: AtomicTime::default(),
            cancelled: Notify::new(),
            engine: Call::default(),
            fallback: OnceLock::new(),
            poll: PollWatch::default(),
            child_polls: Mutex::default(),
            at_work: AtomicBool::new(false),
            protected: Hold::default(),
            present: AtomicUsize::new(1),
        }
    }

    pub(crate) fn agent(&self) -> &AgentName {
        &self.slots.agent
    }

    /// Sets the inputs, once they have been read; the first ones stay.
    pub(super) fn set_inputs(&self, inputs: Artifacts) {
        self.inputs.get_or_init(|| inputs);
    }

    /// Returns the inputs; none before they are known.
    pub(super) fn inputs(&self) -> &[Arc<Artifact>] {
        self.inputs.get().map_or(&[], |inputs| inputs)
    }

    pub(super) fn fallback(&self) -> &Call {
        self.fallback.get_or_init(Box::default)
    }

    /// Cancels it, with its run or because the runtime stops; the first time counts.
    pub(super) fn call_off(&self, now: Timestamp) {
        self.called_off.set_once(now);
        self.cancelled.notify_waiters();
    }

    /// Tells whether a call is cancelled, and not because its time was over.
    pub(super) fn is_called_off(&self, call: &Call) -> bool {
        self.called_off.has_come() && !call.timed_out.has_come()
    }

    /// Cancels a call because its time is over; a fallback may follow.
    pub(super) fn time_out(&self, call: &Call, now: Timestamp) {
        if !self.called_off.has_come() {
            call.timed_out.set_once(now);
        }
        self.cancelled.notify_waiters();
    }

    /// Tells whether a call is cancelled, of whichever cause.
    pub(super) fn is_cancelled(&self, call: &Call) -> bool {
        self.called_off.has_come() || call.timed_out.has_come()
    }

    /// Waits until a call is cancelled, of whichever cause. Cancel safe.
    pub(super) async fn cancelled(&self, call: &Call) {
        loop {
            let mut cancelled = pin!(self.cancelled.notified());
            // Listens before it looks, so that the cancellation cannot fall in between.
            cancelled.as_mut().enable();
            if self.is_cancelled(call) {
                return;
            }
            cancelled.await;
        }
    }

    /// Keeps the attempt present; `None` when it is gone.
    pub(super) fn keep_present(self: &Arc<Self>) -> Option<PresenceGuard> {
        let one_more = |present: usize| (present > 0).then_some(present + 1);
        let stays = self.present.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        stays.is_ok().then(|| PresenceGuard(Arc::clone(self)))
    }

    /// Ends the hold of its owner if that is the only one; returns whether it was.
    pub(super) fn release_last(&self) -> bool {
        self.present.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Ends one of the holds that kept it present; returns whether it was the last. Called under the lock of
    /// the lingering ones, so that an attempt that goes on is found where it belongs.
    pub(super) fn release_one(&self) -> bool {
        self.present.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(crate) fn is_present(&self) -> bool {
        self.present.load(Ordering::Acquire) > 0
    }

    /// Begins a protected section; one that begins when the attempt is gone protects nothing.
    pub(super) fn protect(self: &Arc<Self>) -> Protection {
        self.keep_present().map_or_else(Protection::none, |presence| {
            self.protected.raise();
            Protection::of(Section(presence))
        })
    }

    pub(crate) fn is_protected(&self) -> bool {
        self.protected.count() > 0
    }

    /// Waits until the attempt is in no protected section. Cancel safe.
    pub(super) async fn unprotected(&self) {
        self.protected.free().await;
    }

    /// Runs the engine or the fallback, and watches its polls. Cancel safe if that is.
    pub(super) fn watch_call<'a, F: Future>(
        &'a self,
        mut work: Pin<&'a mut F>,
    ) -> impl Future<Output = F::Output> + Unpin + use<'a, F> {
        let at_work = AtWork::begin(self);
        poll_fn(move |task| at_work.watch(|| work.as_mut().poll(task)))
    }

    /// Runs a task that the engine started, and watches its polls. It does not keep the attempt present.
    pub(super) fn watch_child<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let (looks, watch) = (Arc::clone(&self.slots.looks), Arc::new(PollWatch::default()));
        {
            let mut children = self.child_polls.lock().unwrap_or_else(PoisonError::into_inner);
            children.retain(|child| child.strong_count() > 0);
            children.push(Arc::downgrade(&watch));
        }
        async move {
            let mut work = pin!(work);
            poll_fn(|task| watch.during(&looks, || work.as_mut().poll(task))).await
        }
    }

    /// Returns how many looks ago the longest present poll of it began; 0 when it is not being polled.
    pub(crate) fn looks_in_poll(&self, look: u64) -> u64 {
        let children = self.child_polls.lock().unwrap_or_else(PoisonError::into_inner);
        let children = children.iter().filter_map(Weak::upgrade).map(|child| child.looks_in_poll(look));
        children.fold(self.poll.looks_in_poll(look), u64::max)
    }

    /// Returns how long it should take, if it is at work and takes longer by now.
    pub(crate) fn overdue(&self, now: Timestamp) -> Option<Duration> {
        let at_work = self.at_work.load(Ordering::Relaxed);
        self.slots.expected.filter(|expected| at_work && now.since(self.began) > *expected)
    }

    /// Reads what is known of it: of its fallback once that has begun.
    pub(crate) fn status(&self) -> AttemptStatus {
        let call = self.fallback.get().map_or(&self.engine, Box::as_ref);
        AttemptStatus {
            last_progress: call.progress.last(),
            cancelled_at: call.timed_out.time().or_else(|| self.called_off.time()),
            note: call.progress.note().map(|note| note.text.into_owned()),
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("agent", self.agent())
            .field("job", &self.start.job)
            .field("run", &self.start.run)
            .field("attempt", &self.start.attempt)
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// Makes known where it runs; the first one stays.
    pub(super) fn enter(&self, scope: Scope) -> Scope {
        self.scope.get_or_init(|| scope).clone()
    }

    /// Returns where it runs; nowhere before it has begun.
    pub(super) fn scope(&self) -> Scope {
        self.scope.get().cloned().unwrap_or_default()
    }

    /// Returns what it starts beside itself; `None` when it has ended.
    pub(super) fn children(&self, slots: &Slots) -> Option<&Children> {
        self.children.get_or_init(|| Some(Children::new(&slots.children))).as_ref()
    }

    /// Cuts off what it started beside itself, and waits until it is gone.
    pub(super) async fn end_children(&self) {
        if let Some(Some(children)) = self.children.get() {
            children.end().await;
        }
    }

    /// Returns a guard that cuts children off at the end of the call, also when the attempt is dropped.
    /// Nothing can be started from then on.
    pub(super) fn cut_off_children(&self) -> impl Drop + Send + use<'_> {
        CutOffGuard(self)
    }
}

struct CutOffGuard<'a>(&'a Call);

impl Drop for CutOffGuard<'_> {
    fn drop(&mut self) {
        if let Some(children) = self.0.children.get_or_init(|| None) {
            children.cut_off();
        }
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        self.0.slots.end_presence(&self.0);
    }
}

/// An attempt whose engine, or fallback, is being run.
struct AtWork<'a>(&'a Attempt);

impl<'a> AtWork<'a> {
    fn begin(attempt: &'a Attempt) -> Self {
        attempt.at_work.store(true, Ordering::Relaxed);
        Self(attempt)
    }

    fn watch<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.0.poll.during(&self.0.slots.looks, poll)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.store(false, Ordering::Relaxed);
    }
}

/// One protected section of an attempt.
struct Section(PresenceGuard);

impl Drop for Section {
    fn drop(&mut self) {
        self.0.0.protected.lower();
    }
}
