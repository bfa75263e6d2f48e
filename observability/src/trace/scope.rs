//! The place that code of the service runs in: its spans become children, its log lines have the ids of the attempt.
//!
//! An opaque value over a context of OpenTelemetry, so that a runtime needs no name of that crate.

use std::fmt;
use std::future::Future;

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::TraceContextExt as _;

use super::attempt::LogIds;
use super::carried::{self, Carried};

/// Where code runs. Cheap to clone; the default is nowhere, and costs nothing.
#[derive(Clone, Default)]
pub struct Scope(Option<Context>);

impl Scope {
    /// Nowhere.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    pub(crate) const fn of(context: Option<Context>) -> Self {
        Self(context)
    }

    /// The place that an artifact carries, which is recorded somewhere else or not at all.
    #[must_use]
    pub fn at(carried: &Carried) -> Self {
        Self(Some(Context::new().with_remote_span_context(carried.span_context())))
    }

    /// The same place, with the ids that belong on log lines.
    #[must_use]
    pub fn with_ids(self, ids: LogIds) -> Self {
        Self(Some(ids.attach(self.0)))
    }

    /// Runs a future here: its context is the current one during each of its polls.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        match &self.0 {
            None => future.await,
            Some(context) => future.with_context(context.clone()).await,
        }
    }

    /// Calls a function here.
    pub fn call<T>(&self, function: impl FnOnce() -> T) -> T {
        let entered = self.0.clone().map(Context::attach);
        let result = function();
        drop(entered);
        result
    }

    /// The place, for whoever is called next. `None` when there is no trace.
    #[must_use]
    pub fn carried(&self) -> Option<Carried> {
        let context = self.0.as_ref()?.span().span_context().clone();
        let (trace, span) = carried::ids(&context);
        Carried::from_ids(trace, span, u8::from(context.is_sampled()), None)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&self.0.is_some()).finish()
    }
}
