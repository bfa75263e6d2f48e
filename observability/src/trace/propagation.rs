//! The trace context of an artifact, as text: W3C `traceparent` and `tracestate`, with a member of ours.
//!
//! The member `volery` is the span of the trace's root: the trace after a restart links to it. Parsing is
//! strict, because the text may come from outside. Pure: no I/O, no clock.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The key of our member of `tracestate`.
const MEMBER: &str = "volery";
/// A `tracestate` has 32 members at most; ours is one of them.
const MEMBERS_MAX: usize = 32;
/// Longer headers are refused; the specification asks to pass on at least 512 characters.
const STATE_LENGTH_MAX: usize = 2048;

/// An artifact's place in its trace, and the root of that trace.
///
/// It goes with the artifact into the log, and comes back from there after a restart. Two of the same text
/// are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// The trace, never zero.
    pub(crate) trace: u128,
    /// The span, never zero.
    pub(crate) span: u64,
    /// Whether the trace is sampled.
    pub(crate) sampled: bool,
    /// The root of the run's trace, if a runtime of ours made it.
    pub(crate) root: Option<u64>,
    /// Members of other systems, which are passed on.
    pub(crate) foreign: Option<Arc<str>>,
}

impl Propagation {
    /// The key of our member of `tracestate`. A caller's is not to be believed.
    pub const STATE_KEY: &str = MEMBER;

    /// Reads what a caller, or the log, says.
    ///
    /// A `tracestate` that is malformed is passed over, as the specification asks; the `traceparent` counts
    /// then.
    ///
    /// # Errors
    /// [`PropagationError`] when the `traceparent` is malformed.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Result<Self, PropagationError> {
        let malformed = || PropagationError { header: traceparent.chars().take(80).collect() };
        let (trace, span, flags) = parse_traceparent(traceparent).ok_or_else(malformed)?;
        let (root, foreign) = tracestate.and_then(parse_tracestate).unwrap_or_default();
        Ok(Self { trace, span, sampled: flags & 1 == 1, root, foreign })
    }

    /// Puts together what a log keeps as numbers. `None` when an id is zero.
    #[must_use]
    pub fn from_ids(trace: u128, span: u64, flags: u8, tracestate: Option<&str>) -> Option<Self> {
        let (root, foreign) = tracestate.and_then(parse_tracestate).unwrap_or_default();
        (trace != 0 && span != 0).then_some(Self { trace, span, sampled: flags & 1 == 1, root, foreign })
    }

    /// The W3C `traceparent` header, version 00.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags())
    }

    /// The W3C `tracestate` header: our member first, then those of others. Empty when there are none.
    #[must_use]
    pub fn tracestate(&self) -> String {
        match (self.root, &self.foreign) {
            (Some(root), Some(foreign)) => format!("{MEMBER}={root:016x},{foreign}"),
            (Some(root), None) => format!("{MEMBER}={root:016x}"),
            (None, Some(foreign)) => foreign.to_string(),
            (None, None) => String::new(),
        }
    }

    /// The trace's id; never zero.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace
    }

    /// The span's id; never zero.
    #[must_use]
    pub const fn span_id(&self) -> u64 {
        self.span
    }

    /// The flags: bit 0 says that the trace is sampled.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.sampled as u8
    }

    /// Tells whether the trace is sampled.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The context of the span, as one of another process.
    pub(crate) fn span_context(&self) -> SpanContext {
        let state = self.foreign.as_deref().and_then(trace_state).unwrap_or_default();
        context(self.trace, self.span, self.sampled, true, state)
    }
}

/// A text that names no place in a trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{header}` names no place in a trace")]
pub struct PropagationError {
    /// The text, cut after 80 characters.
    pub header: String,
}

/// Microseconds since the epoch; 0 before it.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A span's context from numbers.
pub(crate) fn context(trace: u128, span: u64, sampled: bool, remote: bool, state: TraceState) -> SpanContext {
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(TraceId::from(trace), SpanId::from(span), flags, remote, state)
}

/// The trace's and the span's id as numbers.
pub(crate) fn ids(context: &SpanContext) -> (u128, u64) {
    (u128::from_be_bytes(context.trace_id().to_bytes()), u64::from_be_bytes(context.span_id().to_bytes()))
}

/// The members of others in a span's context.
pub(crate) fn foreign_of(context: &SpanContext) -> Option<Arc<str>> {
    let header = context.trace_state().header();
    parse_tracestate(&header).and_then(|(_, foreign)| foreign)
}

/// Versions after 00 may have more fields, which are passed over; ff is forbidden.
fn parse_traceparent(header: &str) -> Option<(u128, u64, u8)> {
    let mut fields = header.trim_matches([' ', '\t']).split('-');
    let version = hex(fields.next()?, 2)?;
    let (trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?);
    if version == 0xff || (version == 0 && fields.next().is_some()) {
        return None;
    }
    let trace = hex(trace, 32).filter(|id| *id != 0)?;
    Some((trace, self::span(span)?, u8::try_from(hex(flags, 2)?).ok()?))
}

type State = (Option<u64>, Option<Arc<str>>);

/// `None` for a header that breaks the specification: all of it is passed over then.
fn parse_tracestate(header: &str) -> Option<State> {
    if header.len() > STATE_LENGTH_MAX {
        return None;
    }
    let mut root = None;
    let mut keys: Vec<&str> = Vec::new();
    let mut foreign: Vec<&str> = Vec::new();
    for member in header.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS_MAX {
            return None;
        }
        keys.push(key);
        if key == MEMBER {
            root = span(value);
        } else {
            foreign.push(member);
        }
    }
    // Ours has to fit in: the last ones of others give way.
    foreign.truncate(MEMBERS_MAX - 1);
    Some((root, (!foreign.is_empty()).then(|| foreign.join(",").into())))
}

/// A span's id, which is not zero.
pub(crate) fn span(field: &str) -> Option<u64> {
    u64::try_from(hex(field, 16)?).ok().filter(|id| *id != 0)
}

/// A number without leading zeros, as `{:x}` writes it.
pub(crate) fn short_hex(field: &str) -> Option<u64> {
    let canonical = field == "0" || !field.starts_with('0');
    (canonical && (1..=16).contains(&field.len()))
        .then(|| hex(field, field.len()))
        .flatten()
        .and_then(|number| u64::try_from(number).ok())
}

pub(crate) fn hex(field: &str, length: usize) -> Option<u128> {
    let digits = field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (field.len() == length && digits).then(|| u128::from_str_radix(field, 16).ok()).flatten()
}

fn is_key(key: &str) -> bool {
    let first = key.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let rest = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    first && key.len() <= 256 && key.bytes().all(rest)
}

fn is_value(value: &str) -> bool {
    let printable = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b',' && byte != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(printable)
}

fn trace_state(foreign: &str) -> Option<TraceState> {
    TraceState::from_key_value(foreign.split(',').filter_map(|member| member.split_once('='))).ok()
}

#[cfg(test)]
mod tests;
