//! The handle to a running tree, for its owner.
//!
//! It only asks. `shell.rs` is the actor that answers, `rules.rs` has the rules.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::event::Observer;
use super::report::{ChildInfo, ChildStop, StartError, StopChildError, StopReport, SupervisorExit};
use super::shell::{Addresses, ReadyAnswer, Request, Shell};
use super::spec::{ChildId, ChildSpec, SupervisorSpec};

/// A handle to a running tree. Cheap to clone; dropping handles does not stop the tree.
///
/// Calls that wait for the tree ([`stop`](Self::stop), [`ended`](Self::ended),
/// [`stop_child`](Self::stop_child)) must not be made from within a life of that tree: they would wait for
/// themselves, until the life's time to stop runs out.
#[derive(Clone)]
#[must_use = "the tree runs on when its handles are dropped; stop it"]
pub struct Supervisor {
    shell: Arc<Shell>,
}

impl Supervisor {
    /// Validates the whole tree, then starts its children in order.
    ///
    /// Resolves once every child of every level has started. Cancelled, what had started is
    /// stopped again in the background.
    ///
    /// # Errors
    ///
    /// An invalid spec starts nothing. A child that does not start has those before it stopped again, in
    /// reverse order, before the error is returned.
    pub async fn start(spec: SupervisorSpec, observer: Arc<dyn Observer>) -> Result<Self, StartError> {
        spec.validate()?;
        let (supervisor, ready) = Self::begin(&spec, observer, Addresses::EndWithMe);
        drop(spec);
        let unwatched = StopOnDrop(Some(supervisor.clone()));
        let started = ready.await.unwrap_or_else(|_| Err(supervisor.ending()));
        unwatched.disarm();
        if started.is_err() {
            supervisor.ended().await;
        }
        started.map(|()| supervisor)
    }

    /// Stops the children in reverse order, each within its own limit, and tells how each of them stopped.
    ///
    /// Idempotent: every caller gets the same report, also when the supervisor had ended by itself. Cancel
    /// safe; the stop goes on. A child that blocks its thread is waited for.
    pub async fn stop(&self) -> StopReport {
        self.request(Request::Stop);
        self.shell.ended().await.report
    }

    /// Adds a child after all others and starts it.
    ///
    /// Resolves once it has started. Cancelled, the child is started all the same.
    ///
    /// # Errors
    ///
    /// Nothing has changed when it fails: the id is taken, the spec is invalid, the bound on dynamic
    /// children is reached, the child did not start, or the supervisor is ending.
    pub async fn start_child(&self, spec: ChildSpec) -> Result<(), StartError> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::StartChild { spec, reply });
        answer.await.unwrap_or_else(|_| Err(self.ending()))
    }

    /// Stops a child and forgets it, so that its id is free again.
    ///
    /// A child that had ended before is forgotten at once. Cancelled, the child is stopped all the same.
    ///
    /// # Errors
    ///
    /// There is no such child, or the supervisor has ended.
    pub async fn stop_child(&self, id: impl Into<ChildId>) -> Result<ChildStop, StopChildError> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::StopChild { id: id.into(), reply });
        answer.await.unwrap_or_else(|_| Err(StopChildError::Ended { supervisor: self.id().clone() }))
    }

    /// Describes the children in start order; none once the supervisor has ended.
    pub async fn children(&self) -> Vec<ChildInfo> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Children { reply });
        answer.await.unwrap_or_default()
    }

    /// The handle of a child supervisor's current life. It does not follow the child into its next life.
    pub async fn subtree(&self, id: impl Into<ChildId>) -> Option<Self> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Subtree { id: id.into(), reply });
        answer.await.ok().flatten()
    }

    /// Resolves when the supervisor has ended, by itself or because it was stopped, and says why.
    ///
    /// Cancel safe, and resolves for every caller.
    pub async fn ended(&self) -> SupervisorExit {
        self.shell.ended().await.exit
    }

    /// Kills the current life of a child at its next await; its restart type decides what follows.
    ///
    /// Returns at once. Unknown ids and children without a life are ignored; a child waiting for its
    /// back-off counts the kill as a failed start.
    pub fn kill_child(&self, id: impl Into<ChildId>) {
        self.request(Request::KillChild { id: id.into() });
    }

    /// The supervisor's id.
    #[must_use]
    pub fn id(&self) -> &ChildId {
        self.shell.id()
    }

    /// Begins a supervisor of a validated spec; never blocks. The receiver tells when it has started.
    pub(super) fn begin(
        spec: &SupervisorSpec,
        observer: Arc<dyn Observer>,
        addresses: Addresses,
    ) -> (Self, ReadyAnswer) {
        let (shell, ready) = Shell::start(spec, observer, addresses);
        (Self { shell: Arc::new(shell) }, ready)
    }

    /// A supervisor that has ended refuses the request; the drop of its reply wakes the caller.
    pub(super) fn request(&self, request: Request) {
        self.shell.request(request);
    }

    fn ending(&self) -> StartError {
        StartError::Ending { supervisor: self.id().clone() }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("id", self.id()).finish_non_exhaustive()
    }
}

/// Stops a tree whose start was cancelled.
struct StopOnDrop(Option<Supervisor>);

impl StopOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.0 {
            supervisor.request(Request::Stop);
        }
    }
}
