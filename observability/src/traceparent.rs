//! A span's place in its trace as text: the W3C Trace Context `traceparent` header, version 00.
//!
//! It moves trace ids between a span and a header. It makes no spans, and it carries neither `tracestate` nor
//! baggage.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};

/// Returns the `traceparent` of a span, to be sent along with what the span does.
///
/// `None` when the span is in no trace: it is disabled, or the subscriber has no OpenTelemetry layer. Asking
/// fixes the span's trace, so [`set_parent`] on it fails from then on.
#[must_use]
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let place = context.span().span_context().clone();
    place.is_valid().then(|| {
        let (trace, parent, flags) = (place.trace_id(), place.span_id(), place.trace_flags().to_u8());
        format!("00-{trace}-{parent}-{flags:02x}")
    })
}

/// Makes a span a child of the one that a `traceparent` header names, so that it joins that trace.
///
/// It must be called before the span is entered for the first time.
///
/// # Errors
/// [`ParentError`] says what to change; the span is as it was then.
pub fn set_parent(span: &Span, traceparent: &str) -> Result<(), ParentError> {
    let place = parse(traceparent).ok_or_else(|| ParentError::malformed(traceparent))?;
    span.set_parent(Context::new().with_remote_span_context(place)).map_err(ParentError::refused)
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

impl ParentError {
    /// A header comes from outside and may be of any length; an error that repeats it must not be.
    fn malformed(header: &str) -> Self {
        Self::Malformed { header: header.chars().take(80).collect() }
    }
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

/// Reads a header. Versions after 00 may have more fields, which are passed over; ff is forbidden.
fn parse(header: &str) -> Option<SpanContext> {
    let mut fields = header.trim().split('-');
    let version = hex(fields.next()?, 2)?;
    let (trace, span, flags) = (hex(fields.next()?, 32)?, hex(fields.next()?, 16)?, hex(fields.next()?, 2)?);
    if version == "ff" || (version == "00" && fields.next().is_some()) {
        return None;
    }
    let place = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    place.is_valid().then_some(place)
}

fn hex(field: &str, length: usize) -> Option<&str> {
    let digits = field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (field.len() == length && digits).then_some(field)
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
    fn malformed_headers_are_refused() {
        let long = "x".repeat(1_000);
        traced(|| {
            for header in [
                "",
                "00-0-0-0",
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
                "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                &long,
            ] {
                let refused = set_parent(&tracing::info_span!("import"), header);
                assert_eq!(refused, Err(ParentError::malformed(header)));
            }
        });
    }

    #[test]
    fn a_later_version_may_say_more() {
        assert!(parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
    }
}
