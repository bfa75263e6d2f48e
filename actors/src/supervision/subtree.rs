//! A whole supervisor as the child of another.
//!
//! It translates between a keeper and the supervisor it keeps; the rules of that supervisor are its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::event::Observer;
use super::exit::Exit;
use super::keeper::{LifeEnd, LifeFactory, Running};
use super::report::{StartError, SupervisorExit};
use super::shell::{Addresses, ReadyAnswer, Request};
use super::spec::SupervisorSpec;
use super::supervisor::Supervisor;

/// Makes the lives of a child supervisor.
pub(super) struct SubtreeFactory {
    spec: SupervisorSpec,
    current: Mutex<Option<Supervisor>>,
}

impl SubtreeFactory {
    pub(super) fn new(spec: SupervisorSpec) -> Self {
        Self { spec, current: Mutex::new(None) }
    }
}

impl LifeFactory for SubtreeFactory {
    fn begin(&self, _cleanup_time: Option<Duration>, observer: &Arc<dyn Observer>) -> Box<dyn Running> {
        let (supervisor, ready) = Supervisor::begin(&self.spec, Arc::clone(observer), Addresses::OutliveMe);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor.clone());
        Box::new(RunningSubtree { supervisor, ready: Some(ready), failed: None })
    }

    fn retire(&self) {
        self.spec.children.iter().for_each(|child| child.factory.retire());
    }

    fn revive(&self) {
        self.spec.children.iter().for_each(|child| child.factory.revive());
    }

    fn validate(&self) -> Result<(), StartError> {
        self.spec.validate()
    }

    fn supervisor(&self) -> Option<Supervisor> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A child supervisor that has begun, for its keeper.
struct RunningSubtree {
    supervisor: Supervisor,
    ready: Option<ReadyAnswer>,
    failed: Option<Exit>,
}

impl Running for RunningSubtree {
    fn started(&mut self) -> BoxFuture<'_, Result<(), Exit>> {
        Box::pin(async {
            if let Some(ready) = &mut self.ready {
                let answer = ready.await;
                self.ready = None;
                match answer {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) => self.failed = Some(Exit::StartFailed(error.to_string())),
                    Err(_) => self.failed = Some(Exit::Aborted),
                }
            }
            let exit = self.supervisor.ended().await;
            let killed = exit == SupervisorExit::Killed;
            Err(self.failed.take().filter(|_| !killed).unwrap_or(Exit::Killed))
        })
    }

    fn stop(&mut self) {
        self.supervisor.request(Request::Stop);
    }

    fn kill(&mut self) {
        self.supervisor.request(Request::Kill);
    }

    fn ended(&mut self) -> BoxFuture<'_, LifeEnd> {
        Box::pin(async {
            let exit = Exit::from(&self.supervisor.ended().await);
            LifeEnd { exit, cleanup: None, cut_in_cleanup: false }
        })
    }
}

impl Drop for RunningSubtree {
    fn drop(&mut self) {
        self.kill();
    }
}
