//! A span's place in its trace as text: the W3C Trace Context `traceparent` header, version 00.
//!
//! It moves trace ids between a span and a header. It makes no spans, and it carries neither `tracestate` nor
//! baggage.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};

use crate::trace::{Propagation, ids};

/// Returns the `traceparent` of a span, to be sent along with what the span does.
///
/// `None` when the span is in no trace: it is disabled, or the subscriber has no OpenTelemetry layer. Asking
/// fixes the span's trace, so [`set_parent`] on it fails from then on.
#[must_use]
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let place = context.span().span_context().clone();
    let (trace, id) = ids(&place);
    Propagation::from_ids(trace, id, place.trace_flags().to_u8(), None).map(|place| place.traceparent())
}

/// Makes a span a child of the one that a `traceparent` header names, so that it joins that trace.
///
/// It must be called before the span is entered for the first time.
///
/// # Errors
/// [`ParentError`] says what to change; the span is as it was then.
pub fn set_parent(span: &Span, traceparent: &str) -> Result<(), ParentError> {
    let place = Propagation::parse(traceparent, None);
    let place = place.map_err(|error| ParentError::Malformed { header: error.header })?;
    let context = Context::new().with_remote_span_context(place.span_context());
    span.set_parent(context).map_err(ParentError::refused)
}

/// Why a span did not become a child of the named one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParentError {
    /// The text is not a `traceparent` header.
    Malformed {
        /// The text, cut after 80 characters.
        header: String,
    },
    /// The subscriber has no OpenTelemetry layer.
    NoLayer,
    /// The span was entered, or asked for its trace, before.
    TooLate,
    /// The span is disabled by a filter.
    Disabled,
}

impl fmt::Display for ParentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { header } => write!(f, "`{header}` is not a traceparent header"),
            Self::NoLayer => f.write_str("the subscriber has no OpenTelemetry layer; add one"),
            Self::TooLate => f.write_str("the span has begun already; set its parent before it is entered"),
            Self::Disabled => f.write_str("the span is disabled; check the filter"),
        }
    }
}

impl std::error::Error for ParentError {}

impl ParentError {
    /// The reason of the bridge, whose own type stays out of the signatures here.
    fn refused(error: SetParentError) -> Self {
        match error {
            SetParentError::LayerNotFound => Self::NoLayer,
            SetParentError::AlreadyStarted => Self::TooLate,
            SetParentError::SpanDisabled => Self::Disabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// Runs `test` where spans are in traces.
    fn traced(test: impl FnOnce()) {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let subscriber =
            tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
        tracing::subscriber::with_default(subscriber, test);
    }

    #[test]
    fn a_span_joins_the_trace_that_a_header_names() {
        traced(|| {
            let span = tracing::info_span!("import");
            assert_eq!(set_parent(&span, HEADER), Ok(()));
            let own = traceparent_of(&span).expect("the span is in a trace");
            assert_eq!(own[..36], HEADER[..36], "same trace");
            assert_ne!(own[36..52], HEADER[36..52], "another span");
            assert_eq!(own[52..], HEADER[52..], "still sampled");
        });
    }

    #[test]
    fn what_one_span_sends_another_can_take() {
        traced(|| {
            let sender = traceparent_of(&tracing::info_span!("send")).expect("the span is in a trace");
            let receiver = tracing::info_span!("receive");
            assert_eq!(set_parent(&receiver, &sender), Ok(()));
            let receiver = traceparent_of(&receiver).expect("the span is in a trace");
            assert_eq!(receiver[..36], sender[..36]);
        });
    }

    #[test]
    fn a_span_that_has_begun_keeps_its_parent() {
        traced(|| {
            let span = tracing::info_span!("import");
            let own = traceparent_of(&span);
            assert_eq!(set_parent(&span, HEADER), Err(ParentError::TooLate));
            assert_eq!(traceparent_of(&span), own);
        });
    }

    #[test]
    fn without_a_layer_there_is_no_trace() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let span = tracing::info_span!("import");
            assert_eq!(traceparent_of(&span), None);
            assert_eq!(set_parent(&span, HEADER), Err(ParentError::NoLayer));
        });
        let span = Span::none();
        assert_eq!(traceparent_of(&span), None);
        assert_eq!(set_parent(&span, HEADER), Err(ParentError::Disabled));
    }

    #[test]
    fn a_malformed_header_is_refused_and_cut_in_the_error() {
        traced(|| {
            let refused = set_parent(&tracing::info_span!("import"), &"x".repeat(1_000));
            assert_eq!(refused, Err(ParentError::Malformed { header: "x".repeat(80) }));
        });
    }
}
