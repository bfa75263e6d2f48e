//! A publish as its caller awaits it: first room for the command, then the answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use volery_blackboard::store::{Few, NewArtifact, StoreError, Stored};

use super::{Command, Ingress};
use crate::error::{Result, class_of};
use crate::observer::ObservedPublish;

/// A publish that is under way. Dropped while it waits for room, nothing is published; dropped later, the
/// artifacts may or may not be.
pub(crate) struct PublishCall {
    /// The artifacts, until the curator has them.
    draft: Option<(Few<NewArtifact>, ObservedPublish)>,
    stage: Stage,
}

enum Stage {
    Entering,
    /// There was no room at once; few come here.
    Waiting(Pin<Box<dyn Future<Output = Result<()>> + Send>>),
    Sent(oneshot::Receiver<Result<Few<Stored>, StoreError>>),
}

impl PublishCall {
    pub(crate) fn new(artifacts: Few<NewArtifact>, observed: ObservedPublish) -> Self {
        Self { draft: Some((artifacts, observed)), stage: Stage::Entering }
    }

    /// Goes on with it. Not to be called again once it has returned.
    pub(crate) fn poll(
        &mut self,
        ingress: &Arc<Ingress>,
        task: &mut Context<'_>,
    ) -> Poll<Result<Few<Stored>>> {
        loop {
            let entered = match &mut self.stage {
                Stage::Entering if ingress.admission.try_enter() => Ok(()),
                Stage::Entering => {
                    let ingress = Arc::clone(ingress);
                    let wait = async move { ingress.admission.enter().await };
                    self.stage = Stage::Waiting(Box::pin(wait));
                    continue;
                }
                Stage::Waiting(wait) => ready!(wait.as_mut().poll(task)),
                Stage::Sent(answered) => {
                    let answer = ready!(Pin::new(answered).poll(task));
                    let answer = answer.map_err(|_| ingress.unanswered()).and_then(|stored| Ok(stored?));
                    return Poll::Ready(answer);
                }
            };
            let Some((artifacts, mut observed)) = self.draft.take() else { return Poll::Pending };
            if let Err(error) = entered {
                observed.failed(class_of(&error));
                return Poll::Ready(Err(error));
            }
            let (answer, answered) = oneshot::channel();
            observed.sent();
            ingress.push(Command::Publish { artifacts, answer, observed });
            self.stage = Stage::Sent(answered);
        }
    }
}

impl std::fmt::Debug for PublishCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishCall").field("sent", &self.draft.is_none()).finish_non_exhaustive()
    }
}
