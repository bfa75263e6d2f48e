//! The W3C trace context that an artifact carries, as a small value.
//!
//! Parsing and printing of `traceparent` and `tracestate` only; spans are made elsewhere. Pure: no I/O, no
//! clock.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::BlackboardError;

/// Longer states are refused; the specification asks to pass on at least 512 characters.
const STATE_LENGTH_MAX: usize = 2_048;

/// Trace id, span id and flags of the span that caused an artifact, and what systems on the way added to
/// them.
///
/// As text it is the W3C Trace Context `traceparent` header, version 00; if there is a state, a space and the
/// `tracestate` header follow. Stores keep that text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace, never zero.
    pub trace_id: u128,
    /// The span, never zero.
    pub span_id: u64,
    /// Bit 0 says that the trace is sampled.
    pub flags: u8,
    /// The `tracestate` header: printable ASCII, at most 2,048 bytes. It is passed on and not understood
    /// here.
    pub state: Option<Arc<str>>,
}

impl TraceContext {
    /// Tells whether the trace is sampled.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Returns the `traceparent` header.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)?;
        self.state.as_ref().map_or(Ok(()), |state| write!(f, " {state}"))
    }
}

impl FromStr for TraceContext {
    type Err = BlackboardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| BlackboardError::TraceParent(text.chars().take(80).collect()))
    }
}

fn parse(text: &str) -> Option<TraceContext> {
    let (header, state) = match text.trim().split_once(' ') {
        Some((header, state)) => (header, Some(parse_state(state)?)),
        None => (text.trim(), None),
    };
    let mut fields = header.split('-');
    let version = hex(fields.next()?, 2)?;
    let (trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?);
    // Version 00 has exactly four fields; later versions may add some, ff is forbidden.
    if version == 0xff || (version == 0 && fields.next().is_some()) {
        return None;
    }
    let context = TraceContext {
        trace_id: hex(trace, 32)?,
        span_id: u64::try_from(hex(span, 16)?).ok()?,
        flags: u8::try_from(hex(flags, 2)?).ok()?,
        state,
    };
    (context.trace_id != 0 && context.span_id != 0).then_some(context)
}

fn parse_state(state: &str) -> Option<Arc<str>> {
    let printable = state.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    (printable && !state.is_empty() && state.len() <= STATE_LENGTH_MAX).then(|| Arc::from(state))
}

fn hex(field: &str, length: usize) -> Option<u128> {
    let digits = field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (field.len() == length && digits).then(|| u128::from_str_radix(field, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_round_trips() {
        let context: TraceContext = HEADER.parse().expect("the example of the specification");
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), HEADER);
        assert_eq!(context.traceparent(), HEADER);
    }

    #[test]
    fn a_state_follows_the_header_and_round_trips() {
        let text = format!("{HEADER} volery=00f067aa0ba902b7,other=a b");
        let context: TraceContext = text.parse().expect("a header and a state");
        assert_eq!(context.state.as_deref(), Some(&text[HEADER.len() + 1..]));
        assert_eq!((context.to_string(), context.traceparent()), (text, HEADER.to_owned()));
    }

    #[test]
    fn malformed_texts_are_refused() {
        let long = format!("{HEADER} a={}", "x".repeat(2_048));
        for header in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 a=\u{e4}",
            &long,
        ] {
            assert!(header.parse::<TraceContext>().is_err(), "{header}");
        }
    }
}
