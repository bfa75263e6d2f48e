//! The W3C trace context that an artifact carries, as a small value.
//!
//! Parsing and printing of the `traceparent` header only; spans are made elsewhere. Pure: no I/O, no clock.

use std::fmt;
use std::str::FromStr;

use crate::error::BlackboardError;

/// Trace id, span id and flags of the span that caused an artifact.
///
/// Reads and prints the W3C Trace Context `traceparent` header, version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace, never zero.
    pub trace_id: u128,
    /// The span, never zero.
    pub span_id: u64,
    /// Bit 0 says that the trace is sampled.
    pub flags: u8,
}

impl TraceContext {
    /// Tells whether the trace is sampled.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = BlackboardError;

    fn from_str(header: &str) -> Result<Self, Self::Err> {
        parse(header).ok_or_else(|| BlackboardError::TraceParent(header.chars().take(80).collect()))
    }
}

fn parse(header: &str) -> Option<TraceContext> {
    let mut fields = header.trim().split('-');
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
    };
    (context.trace_id != 0 && context.span_id != 0).then_some(context)
}

fn hex(field: &str, length: usize) -> Option<u128> {
    let digits = field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (field.len() == length && digits).then(|| u128::from_str_radix(field, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_round_trips() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: TraceContext = header.parse().expect("the example of the specification");
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), header);
    }

    #[test]
    fn malformed_headers_are_refused() {
        for header in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(header.parse::<TraceContext>().is_err(), "{header}");
        }
    }
}
