//! Matching: which subscriptions take an artifact, found through an index from kind to subscriptions.
//!
//! Runs in the publisher's task, never inside the curator, because predicates and keys are the user's code. A
//! panic in them is caught and becomes a discard with its reason. Pure: no I/O, no clock.

use std::any::TypeId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::artifact::{Artifact, Producer};
use crate::claim::Claim;
use crate::error::BlackboardError;
use crate::few::Few;
use crate::id::SubscriptionIndex;
use crate::outcome::Discard;
use crate::panic::panic_text;
use crate::subscription::{Side, Subscription};
use crate::time::Timestamp;
use crate::visibility::{Admission, Viewer, Visibility};

/// The index from kind to interested subscriptions.
#[derive(Debug)]
pub struct Matcher {
    by_kind: FxHashMap<TypeId, Interest>,
    generations_max: u32,
    /// Shared by all artifacts that nobody claims.
    nobody: Arc<[Claim]>,
}

/// The subscriptions to a kind.
#[derive(Debug, Default)]
struct Interest {
    candidates: Vec<Candidate>,
    /// The claims on every public artifact, when they depend on nothing else of it.
    plain: Option<Arc<[Claim]>>,
}

#[derive(Debug)]
struct Candidate {
    subscription: SubscriptionIndex,
    side: u16,
    rule: Side,
    keyed: bool,
    viewer: Viewer,
}

impl Matcher {
    /// Returns an index without subscriptions. An artifact further than `generations_max` jobs away from its
    /// external publish is discarded instead of matched, so that agents that feed each other end.
    #[must_use]
    pub fn new(generations_max: u32) -> Self {
        Self { by_kind: FxHashMap::default(), generations_max, nobody: Arc::from([]) }
    }

    /// Adds a subscription of the agent that `viewer` describes.
    pub fn add(&mut self, index: SubscriptionIndex, subscription: &Subscription, viewer: &Viewer) {
        for (side, rule) in (0_u16..).zip(&subscription.sides) {
            let Interest { candidates, plain } = self.by_kind.entry(rule.kind.type_id()).or_default();
            candidates.push(Candidate {
                subscription: index,
                side,
                keyed: rule.key.is_some(),
                rule: rule.clone(),
                viewer: viewer.clone(),
            });
            let all_plain = candidates.iter().all(Candidate::is_plain);
            *plain = all_plain.then(|| first_of_each(candidates, |candidate| Some(candidate.claim(None))));
        }
    }

    /// Returns every subscription's claim on the artifact, at most one per subscription, in registration
    /// order.
    #[must_use]
    pub fn claims(&self, artifact: &Artifact) -> Arc<[Claim]> {
        let looping = artifact.generation() > self.generations_max;
        match self.by_kind.get(&artifact.kind().type_id()) {
            None => Arc::clone(&self.nobody),
            Some(Interest { plain: Some(claims), .. })
                if !looping && *artifact.visibility() == Visibility::Public =>
            {
                Arc::clone(claims)
            }
            Some(Interest { candidates, .. }) => {
                let claims = first_of_each(candidates, |candidate| candidate.judge(artifact, looping));
                if claims.is_empty() { Arc::clone(&self.nobody) } else { claims }
            }
        }
    }
}

/// The first claim of each subscription.
fn first_of_each(candidates: &[Candidate], judge: impl Fn(&Candidate) -> Option<Claim>) -> Arc<[Claim]> {
    let mut claims: Few<Claim> = Few::new();
    for candidate in candidates {
        if claims.last().is_none_or(|last| last.subscription != candidate.subscription) {
            claims.extend(judge(candidate));
        }
    }
    claims.into()
}

impl Candidate {
    fn judge(&self, artifact: &Artifact, looping: bool) -> Option<Claim> {
        let visible_at = match self.viewer_admission(artifact) {
            Admission::Now => None,
            Admission::From(time) => Some(time),
            Admission::Never => return None,
        };
        if !self.takes_source(artifact) {
            return None;
        }
        let plain = self.claim(visible_at);
        let judged =
            if self.rule.runs_user_code() { self.judge_payload(artifact, plain) } else { Some(plain) };
        judged.map(|found| match looping {
            true => Claim { refused: Some(Box::new(Discard::LoopGuard)), ..found },
            false => found,
        })
    }

    /// Tells whether it takes every artifact that it may see.
    fn is_plain(&self) -> bool {
        self.rule.from.is_empty() && self.rule.tags_any.is_empty() && !self.rule.runs_user_code()
    }

    /// The claim of a candidate whose closures say nothing about it.
    fn claim(&self, visible_at: Option<Timestamp>) -> Claim {
        Claim {
            subscription: self.subscription,
            side: self.side,
            weight: 1,
            key: None,
            lane: None,
            event_time: None,
            visible_at,
            refused: None,
            marks: None,
        }
    }

    fn viewer_admission(&self, artifact: &Artifact) -> Admission {
        artifact.visibility().admits(&self.viewer, artifact.published_at())
    }

    fn takes_source(&self, artifact: &Artifact) -> bool {
        let rule = &self.rule;
        let from = rule.from.is_empty()
            || matches!(artifact.producer(), Producer::Agent(name) if rule.from.contains(name));
        from && (rule.tags_any.is_empty() || rule.tags_any.iter().any(|tag| artifact.has_tag(tag)))
    }

    /// Runs the user's closures. `None` when the artifact is not for this side.
    fn judge_payload(&self, artifact: &Artifact, plain: Claim) -> Option<Claim> {
        let refuse = |reason| Some(Claim { refused: Some(Box::new(reason)), ..plain.clone() });
        match catch_unwind(AssertUnwindSafe(|| self.ask_closures(artifact, plain.clone()))) {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => refuse(Discard::Unreadable(error.to_string())),
            Err(panic) => refuse(Discard::ClosurePanicked(panic_text(panic.as_ref()))),
        }
    }

    fn ask_closures(&self, artifact: &Artifact, plain: Claim) -> Result<Option<Claim>, BlackboardError> {
        let rule = &self.rule;
        for keep in &rule.filters {
            if !keep(artifact)? {
                return Ok(None);
            }
        }
        let key = rule.key.as_ref().map(|key| key(artifact)).transpose()?.flatten();
        if self.keyed && key.is_none() {
            return Ok(None);
        }
        Ok(Some(Claim {
            key,
            lane: rule.lane.as_ref().map(|lane| lane(artifact)).transpose()?.flatten(),
            event_time: rule.event_time.as_ref().map(|time| time(artifact)).transpose()?,
            weight: rule.weight.as_ref().map_or(Ok(1), |weight| weight(artifact))?,
            ..plain
        }))
    }
}

#[cfg(test)]
mod tests;
