//! Joins that expired: counted at once, and shown when the inputs have been read.
//!
//! The trace context of an input is in the store, so the curator reads and reports it. Until then the value
//! here holds the runs open that are known; dropped on the way, it releases them.

use std::sync::Arc;

use volery_blackboard::effect::JoinExpired;
use volery_blackboard::store::Few;
use volery_blackboard::{Artifact, Offset, RunId, Tally, Timestamp};
use volery_observability::trace::{JoinClosed, RunEnd, RunStatus};

use super::attempts::is_recorded;
use super::runs::OpenRun;
use super::{Observer, SubscriptionFacts, propagation_of};

/// A join that expired and is to be shown.
#[derive(Debug)]
pub(crate) struct ObservedExpiry {
    observer: Arc<Observer>,
    expired: JoinExpired,
    at: Timestamp,
    /// The runs of its inputs that are open, each once.
    held: Few<Arc<OpenRun>>,
}

impl Observer {
    /// Inputs of a join expired. Returns the value to be shown; called before the runs may settle.
    pub(crate) fn join_expired(
        self: &Arc<Self>,
        expired: JoinExpired,
        at: Timestamp,
    ) -> Option<ObservedExpiry> {
        self.metrics.join_expired(self.owner(expired.subscription));
        if !self.spans.is_on() {
            return None;
        }
        let mut held: Few<Arc<OpenRun>> = Few::new();
        for run in expired.inputs.iter().map(|input| input.run) {
            if !held.iter().any(|open_run| open_run.run == run)
                && let Some(open_run) = self.runs.hold_open(run)
            {
                held.push(open_run);
            }
        }
        Some(ObservedExpiry { observer: Arc::clone(self), expired, at, held })
    }

    fn show_expired(self: &Arc<Self>, expired: &JoinExpired, inputs: &[Arc<Artifact>], at: Timestamp) {
        let Some(facts) = self.facts(expired.subscription) else { return };
        let Some(run) = expired.inputs.first().map(|input| input.run) else { return };
        let agent = self.agent(facts.agent);
        let missing = missing(facts, expired);
        let join = JoinClosed {
            agent,
            key: expired.key.as_str(),
            result: "expired",
            missing: &missing,
            start: expired.first.into(),
            end: at.into(),
        };
        let propagation = inputs.iter().filter_map(|input| input.trace()).filter_map(propagation_of);
        // Nothing links to it: no job follows.
        if expired.inputs.iter().any(|input| input.run != run) {
            let shared = self.spans.shared(agent, expired.first.into(), true);
            self.show_handed_to(&shared, inputs, at);
            drop(shared.join(&join, propagation));
            shared.end(RunEnd {
                status: RunStatus::Completed,
                published: 0,
                jobs_ok: 0,
                jobs_failed: 0,
                jobs_cancelled: 0,
                at: at.into(),
            });
            return;
        }
        let open_run = self.runs.find(run).filter(|open_run| open_run.opened().is_some());
        let open_run = open_run
            .unwrap_or_else(|| self.resume_run(run, expired.workflow.as_ref(), expired.first, inputs));
        if let Some(trace) = open_run.opened() {
            drop(trace.join(&join, propagation));
        }
    }
}

impl ObservedExpiry {
    /// The inputs, in the order in which they are to be given.
    pub(crate) fn offsets(&self) -> impl ExactSizeIterator<Item = Offset> {
        self.expired.inputs.iter().map(|input| input.offset)
    }

    /// Shows it, with its inputs. `knows` says which runs the board still knows.
    pub(crate) fn show(self, inputs: &[Arc<Artifact>], knows: impl Fn(RunId) -> bool) {
        if !inputs.iter().any(is_recorded) {
            return;
        }
        self.observer.show_expired(&self.expired, inputs, self.at);
        for run in self.expired.inputs.iter().map(|input| input.run).filter(|run| !knows(*run)) {
            // A run that an earlier process began, and that has settled by now: nobody else will end it.
            if !self.held.iter().any(|open_run| open_run.run == run) {
                self.observer.run_gone(run, &Tally::default(), self.at);
            }
        }
    }
}

impl Drop for ObservedExpiry {
    fn drop(&mut self) {
        for open_run in std::mem::take(&mut self.held) {
            self.observer.release(open_run.run, self.observer.clock.now());
        }
    }
}

/// The kinds that did not come.
fn missing<'a>(facts: &'a SubscriptionFacts, expired: &JoinExpired) -> Vec<&'a str> {
    let come = |side: usize| expired.inputs.iter().filter(|input| usize::from(input.side) == side).count();
    facts.missing(|side, need| (come(side) as u64) < u64::from(need))
}
