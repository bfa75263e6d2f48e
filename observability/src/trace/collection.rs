//! The spans of a batch and of a join: from their first input until they closed.
//!
//! They are made when they are over, since nothing happens inside of them. A job links to them.

use std::time::SystemTime;

use super::propagation::Propagation;
use super::root::{Draft, INSTANT};
use super::run::{RunTrace, State};
use super::settings::Detail;
use super::text::{count, text, texts};
use crate::names::attribute;

/// A batch that closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchClosed<'a> {
    /// The agent.
    pub agent: &'a str,
    /// `size`, `weight`, `deadline` or `shutdown`.
    pub reason: &'a str,
    /// The key, if batches are kept by key.
    pub key: Option<&'a str>,
    /// When its first input came.
    pub start: SystemTime,
    /// When it closed.
    pub end: SystemTime,
}

/// A join that matched, or whose window ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinClosed<'a> {
    /// The agent.
    pub agent: &'a str,
    /// The key that the inputs share.
    pub key: &'a str,
    /// `matched`, `expired` or `partial`.
    pub result: &'a str,
    /// The kinds that did not come.
    pub missing: &'a [&'a str],
    /// When its first input came.
    pub start: SystemTime,
    /// When it closed.
    pub end: SystemTime,
}

impl RunTrace {
    /// Makes the span of a batch, with a link to each input. Returns the context that the batch's job links
    /// to.
    #[must_use = "the batch's job links to it"]
    pub fn batch(
        &self,
        batch: &BatchClosed<'_>,
        inputs: impl IntoIterator<Item = Propagation>,
    ) -> Option<Propagation> {
        self.collection(batch.agent, batch.end, |recorder| {
            let mut total = 0_u64;
            let inputs = inputs.into_iter().inspect(|_| total += 1);
            let mut draft = Draft::internal(format!("batch {}", batch.agent), batch.start)
                .with(text(attribute::AGENT, batch.agent))
                .with(text(attribute::BATCH_CLOSE_REASON, batch.reason))
                .linked(recorder, inputs, "input");
            draft.attributes.extend(batch.key.map(|key| text(attribute::BATCH_KEY, key)));
            draft.with(count(attribute::MESSAGING_BATCH_COUNT, total))
        })
    }

    /// Makes the span of a join, with a link to each input. Returns the context that the join's job links to.
    #[must_use = "the join's job links to it"]
    pub fn join(
        &self,
        join: &JoinClosed<'_>,
        inputs: impl IntoIterator<Item = Propagation>,
    ) -> Option<Propagation> {
        self.collection(join.agent, join.end, |recorder| {
            let draft = Draft::internal(format!("join {}", join.agent), join.start)
                .with(text(attribute::AGENT, join.agent))
                .with(text(attribute::JOIN_KEY, join.key))
                .with(text(attribute::JOIN_RESULT, join.result))
                .linked(recorder, inputs, "input");
            if join.missing.is_empty() {
                draft
            } else {
                draft.with(texts(attribute::JOIN_MISSING, join.missing))
            }
        })
    }

    fn collection(
        &self,
        agent: &str,
        end: SystemTime,
        draft: impl FnOnce(&super::spans::Recorder) -> Draft,
    ) -> Option<Propagation> {
        let State::Sampled(run) = &self.0 else { return None };
        let detail = run.recorder().settings.of_agent(agent, run.facts.detail);
        if detail < Detail::Job {
            run.root().suppress();
            return None;
        }
        let (root, span) = run.child(draft(run.recorder()), Detail::Job, detail);
        let span = span?;
        let propagation = root.propagation(&span.nested);
        // Not together with the job that gave the last input, or the path would never go through that one.
        span.end(end - INSTANT);
        Some(propagation)
    }
}
