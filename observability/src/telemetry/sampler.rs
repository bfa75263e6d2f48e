//! The sampler: decides once, at the root, whether a run is recorded; everything below follows its parent.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::names::attribute;

/// Which share of runs is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampling {
    /// Every run. The default.
    Always,
    /// No run, but those that are to be recorded always, and what a caller samples.
    Never,
    /// A share from 0 to 1, drawn by the trace id.
    Share(f64),
}

/// The sampler of the set-up.
///
/// A root that says that its decision was made (`volery.sampling`) is recorded: the parts of a run that is
/// recorded, a run that goes on after a restart, a workflow that is always recorded.
#[derive(Clone, Debug)]
pub(super) struct RootSampler {
    share: Sampler,
}

impl RootSampler {
    pub(super) fn new(sampling: Sampling) -> Self {
        let root = match sampling {
            Sampling::Always => Sampler::AlwaysOn,
            Sampling::Never => Sampler::AlwaysOff,
            Sampling::Share(share) => Sampler::TraceIdRatioBased(share),
        };
        Self { share: Sampler::ParentBased(Box::new(root)) }
    }
}

impl ShouldSample for RootSampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_root = !parent_context.is_some_and(|parent| parent.span().span_context().is_valid());
        if is_root && attributes.iter().any(|attribute| attribute.key.as_str() == attribute::SAMPLING) {
            return SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: TraceState::default(),
            };
        }
        self.share.should_sample(parent_context, trace_id, name, span_kind, attributes, links)
    }
}
