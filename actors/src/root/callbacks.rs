//! Callbacks: code of the service for two phases of a stop, in the reverse order of registration.
//!
//! Each runs in a task of its own, so that neither a panic nor a blocked thread of one reaches the stopper.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinError;
use volery_blackboard::Timestamp;
use volery_blackboard::panic::panic_text;

use super::phase::Phase;
use super::report::{CallbackReport, PhaseStatus, StopCause};
use super::urgency::Stopping;
use crate::clock::Clock;
use crate::error::{Cause, Result};
use crate::fault::Fault;

/// Callbacks of one phase. A service has a handful; a service that registers one per request would leak, and
/// is refused.
const CALLBACKS_MAX: usize = 1_000;

type Call = Box<dyn FnOnce(StopCause) -> BoxFuture<'static, Result<(), Fault>> + Send>;

/// The callbacks of one phase, with their names; `None` once the phase has begun.
type Registered = Mutex<Option<Vec<(String, Call)>>>;

/// The callbacks that have been registered and not been called.
pub(crate) struct Callbacks {
    notice: Registered,
    flush: Registered,
}

impl Default for Callbacks {
    fn default() -> Self {
        Self { notice: Mutex::new(Some(Vec::new())), flush: Mutex::new(Some(Vec::new())) }
    }
}

/// The limits for the callbacks of one phase.
pub(super) struct Limits<'a> {
    /// For each.
    pub(super) within: Duration,
    /// For all of them.
    pub(super) until: Timestamp,
    /// From this level on they are cut short; never if `None`.
    pub(super) level: Option<&'a mut watch::Receiver<Stopping>>,
}

impl Callbacks {
    /// Registers a callback of the notice or the flush.
    pub(crate) fn register<F, Fut, E>(&self, phase: Phase, runtime: &str, name: String, call: F) -> Result<()>
    where
        F: FnOnce(StopCause) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Fault>,
    {
        let call: Call = Box::new(|cause| call(cause).map(|ended| ended.map_err(Into::into)).boxed());
        match &mut *self.of(phase) {
            None => Err(Cause::ShuttingDown(runtime.to_owned()).into()),
            Some(calls) if calls.len() >= CALLBACKS_MAX => {
                Err(Cause::Misuse("more than 1,000 shutdown callbacks; register one per part").into())
            }
            Some(calls) => {
                calls.push((name, call));
                Ok(())
            }
        }
    }

    /// Calls those of one phase, one after the other, the last registered first. From now on none can be
    /// registered.
    pub(super) async fn run(
        &self,
        phase: Phase,
        cause: &StopCause,
        clock: &Clock,
        mut limits: Limits<'_>,
    ) -> Vec<CallbackReport> {
        let calls = self.of(phase).take().unwrap_or_default();
        let mut reports = Vec::with_capacity(calls.len());
        for (name, call) in calls.into_iter().rev() {
            let since = clock.now();
            let status = run_one(call, cause.clone(), since, clock, &mut limits).await;
            if status != PhaseStatus::Completed {
                tracing::error!(target: "volery::root", callback = name, %phase, %status, "shutdown callback did not end well");
            }
            reports.push(CallbackReport { name, phase, status, duration: clock.now().since(since) });
        }
        reports
    }

    fn of(&self, phase: Phase) -> MutexGuard<'_, Option<Vec<(String, Call)>>> {
        let registered = if phase == Phase::Notice { &self.notice } else { &self.flush };
        registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

async fn run_one(
    call: Call,
    cause: StopCause,
    now: Timestamp,
    clock: &Clock,
    limits: &mut Limits<'_>,
) -> PhaseStatus {
    let until = now.after(limits.within).min(limits.until);
    if until <= now {
        return PhaseStatus::Skipped("no time was left for it".to_owned());
    }
    if limits.level.as_ref().is_some_and(|level| *level.borrow() >= Stopping::Abort) {
        return PhaseStatus::Aborted;
    }
    let aborted = async {
        let raised = match &mut limits.level {
            Some(level) => level.wait_for(|level| *level >= Stopping::Abort).await.is_ok(),
            None => false,
        };
        // Never, or the sender of the level is gone.
        if !raised {
            std::future::pending::<()>().await;
        }
    };
    let mut task = tokio::spawn(async move { call(cause).await });
    let cut = tokio::select! {
        biased;
        ended = &mut task => return status(ended),
        () = aborted => PhaseStatus::Aborted,
        () = clock.sleep_until(until) => PhaseStatus::TimedOut,
    };
    task.abort();
    cut
}

fn status(ended: Result<Result<(), Fault>, JoinError>) -> PhaseStatus {
    match ended {
        Ok(Ok(())) => PhaseStatus::Completed,
        Ok(Err(fault)) => PhaseStatus::Failed(fault.to_string()),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => PhaseStatus::Failed(format!("panicked: {}", panic_text(panic.as_ref()))),
            Err(error) => PhaseStatus::Failed(error.to_string()),
        },
    }
}
