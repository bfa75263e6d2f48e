//! The place that code of the service runs in: its spans become children, its log lines have the ids of the
//! attempt.
//!
//! An opaque value over a context of OpenTelemetry, so that a runtime needs no name of that crate.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::TraceContextExt as _;

use super::attempt::LogIds;
use super::call::Here;
use super::propagation::{self, Propagation};

/// Where code runs. Cheap to clone; the default is nowhere, and costs nothing.
#[derive(Clone, Default)]
pub struct Scope {
    pub(super) context: Option<Context>,
    /// Where calls of models and tools have their spans, if they have any.
    pub(super) here: Option<Arc<Here>>,
}

impl Scope {
    /// Nowhere.
    #[must_use]
    pub const fn none() -> Self {
        Self { context: None, here: None }
    }

    pub(crate) const fn of(context: Option<Context>) -> Self {
        Self { context, here: None }
    }

    /// The place that an artifact carries, which is recorded somewhere else or not at all.
    #[must_use]
    pub fn at(propagation: &Propagation) -> Self {
        Self::of(Some(Context::new().with_remote_span_context(propagation.span_context())))
    }

    /// The same place, with the ids that belong on log lines.
    #[must_use]
    pub fn with_ids(self, ids: LogIds) -> Self {
        Self { context: Some(ids.attach(self.context)), here: self.here }
    }

    /// Runs a future here: its context is the current one during each of its polls.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        match &self.context {
            None => future.await,
            Some(context) => future.with_context(context.clone()).await,
        }
    }

    /// Calls a function here.
    pub fn call<T>(&self, function: impl FnOnce() -> T) -> T {
        let entered = self.context.clone().map(Context::attach);
        let result = function();
        drop(entered);
        result
    }

    pub(super) fn here(&self) -> Option<&Here> {
        self.here.as_deref()
    }

    /// The place, for the next service. `None` when there is no trace.
    #[must_use]
    pub fn propagation(&self) -> Option<Propagation> {
        let context = self.context.as_ref()?.span().span_context().clone();
        let (trace, span) = propagation::ids(&context);
        Propagation::from_ids(trace, span, u8::from(context.is_sampled()), None)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&self.context.is_some()).finish()
    }
}
