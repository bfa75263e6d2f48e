//! The steps of an attempt: its engine's call, its fallback's, and what lies around them.
//!
//! A step around the engine is shown if it takes time. Of an attempt that is not recorded nothing is
//! measured.

use std::time::Duration;

use volery_blackboard::Timestamp;
use volery_observability::trace::Scope;

use super::attempts::{How, ObservedAttempt, OpenAttempt};

/// Shorter steps are not even an event: in memory nearly all are, and an event on each attempt would say
/// nothing.
const STEP_MIN: Duration = Duration::from_micros(100);

/// A step around the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The store fetched the inputs.
    Read,
    /// The factory made the engine.
    Make,
    /// Outputs became artifacts.
    Check,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read inputs",
            Self::Make => "make engine",
            Self::Check => "check outputs",
        }
    }
}

impl ObservedAttempt {
    /// A step is over that began then.
    pub(crate) fn step(&self, step: Step, since: Timestamp) {
        if let Some(open) = &self.0 {
            open.step(step, since);
        }
    }

    /// Outputs have been turned into artifacts since the engine's part was over.
    pub(crate) fn checked(&self) {
        if let Some(open) = &self.0
            && let Some(since) = open.ended
        {
            open.step(Step::Check, since);
        }
    }

    /// The engine is called. Returns where it runs; none for an attempt that is not recorded.
    pub(crate) fn evaluate(&mut self) -> Option<Scope> {
        let open = self.0.as_mut()?;
        let spans = open.spans.as_mut()?;
        let at = open.observer.clock.now().into();
        let evaluate = spans.attempt.as_ref()?.evaluate(open.observer.agent(open.start.agent), at);
        let scope = evaluate.scope();
        spans.evaluate = Some(evaluate);
        let scope = open.with_ids(scope);
        open.scope = Some(scope.clone());
        Some(scope)
    }

    /// The fallback is called, once the engine's part is over. Returns where it runs; none for an attempt
    /// that is not recorded.
    pub(crate) fn fallback(&mut self) -> Option<Scope> {
        let open = self.0.as_mut()?;
        let spans = open.spans.as_mut()?;
        let at = open.observer.clock.now().into();
        let fallback = spans.attempt.as_ref()?.fallback(open.observer.agent(open.start.agent), at);
        let scope = fallback.scope();
        spans.evaluate = Some(fallback);
        Some(open.with_ids(scope))
    }

    /// The fallback returned, or its future was dropped. How the attempt ended is known already.
    pub(crate) fn fallback_over(&mut self, how: &How, error: &[String]) {
        let Some(open) = &mut self.0 else { return };
        if let Some(fallback) = open.spans.as_mut().and_then(|spans| spans.evaluate.take()) {
            let at = open.observer.clock.now();
            fallback.end(&how.ending(error), at.into());
        }
    }
}

impl OpenAttempt {
    /// A place within the attempt, with the ids of its log lines.
    pub(super) fn with_ids(&self, scope: Scope) -> Scope {
        self.ids.iter().cloned().fold(scope, Scope::with_ids)
    }

    fn step(&self, step: Step, since: Timestamp) {
        let Some(attempt) = self.spans.as_ref().and_then(|spans| spans.attempt.as_ref()) else { return };
        let now = self.observer.clock.now();
        if now.since(since) >= STEP_MIN {
            attempt.step(step.as_str(), since.into(), now.into());
        }
    }
}
