//! Spans that may outlive their process: what the log keeps of one that is open, and who can still export it.
//!
//! One rule makes a trace whole after `kill -9`: *nothing leaves the process before what is above it has left, or is in
//! the log as open*. A [`Closer`] keeps spans back until then; for what is open for longer than
//! [`TraceSettings::wait`](super::TraceSettings::wait) the runtime writes a [`SpanRecord`] into its log. The next process
//! exports a span for each record that it finds. A record is removed when its span has been exported.

use std::fmt::{self, Debug};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::{KeyValue, Value};

use super::carried::{CarriedError, OpenSpan};
use super::text::text;
use crate::names::attribute;

/// A span's place: its trace and its own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanKey {
    pub(crate) trace: u128,
    pub(crate) span: u64,
}

impl fmt::Display for SpanKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{:016x}", self.trace, self.span)
    }
}

/// An open span as the log keeps it. Its text, by `Display`, is read back by `FromStr`.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanRecord {
    pub(crate) open: OpenSpan,
    pub(crate) name: String,
    pub(crate) is_attempt: bool,
    /// Texts and integers only.
    pub(crate) attributes: Vec<KeyValue>,
}

impl SpanRecord {
    /// Its place.
    #[must_use]
    pub const fn key(&self) -> SpanKey {
        SpanKey { trace: self.open.trace, span: self.open.span }
    }

    /// The whole span, made afterwards.
    pub(crate) fn closed(&self, end: SystemTime) -> ClosedSpan {
        let mut attributes = self.attributes.clone();
        attributes.push(text(attribute::OUTCOME, "interrupted"));
        if self.attributes.iter().any(|known| known.key.as_str() == attribute::RUN_PART) {
            attributes.push(text(attribute::RUN_STATUS, "interrupted"));
        }
        ClosedSpan {
            open: self.open,
            name: self.name.clone(),
            is_attempt: self.is_attempt,
            attributes,
            end: end.max(self.open.start()),
        }
    }
}

/// A line for the ids, one for the name, and one for each attribute; `a` is an attempt, `s` a text, `i` an integer.
impl fmt::Display for SpanRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sort = if self.is_attempt { 'a' } else { '-' };
        write!(f, "{}\n{sort}{}", self.open, escaped(&self.name))?;
        for KeyValue { key, value, .. } in &self.attributes {
            match value {
                Value::I64(number) => write!(f, "\ni{key}={number}")?,
                Value::String(text) => write!(f, "\ns{key}={}", escaped(text.as_str()))?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl FromStr for SpanRecord {
    type Err = CarriedError;

    fn from_str(record: &str) -> Result<Self, Self::Err> {
        let malformed = || CarriedError { header: record.chars().take(80).collect() };
        let mut lines = record.split('\n');
        let open: OpenSpan = lines.next().unwrap_or_default().parse()?;
        let (sort, name) = lines.next().and_then(|line| line.split_at_checked(1)).ok_or_else(malformed)?;
        let attribute = |line: &str| {
            let (sort, rest) = line.split_at_checked(1)?;
            let (key, value) = rest.split_once('=')?;
            let key = key.to_owned();
            match sort {
                "i" => Some(KeyValue::new(key, value.parse::<i64>().ok()?)),
                "s" => Some(KeyValue::new(key, unescaped(value))),
                _ => None,
            }
        };
        let attributes = lines.map(attribute).collect::<Option<_>>().ok_or_else(malformed)?;
        Ok(Self { open, name: unescaped(name), is_attempt: sort == "a", attributes })
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescaped(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.as_str().starts_with('n') => {
                chars.next();
                whole.push('\n');
            }
            '\\' => whole.extend(chars.next()),
            other => whole.push(other),
        }
    }
    whole
}

/// A whole span, made afterwards.
#[derive(Clone, Debug)]
pub struct ClosedSpan {
    /// Its ids and its begin.
    pub open: OpenSpan,
    /// Its name.
    pub name: String,
    /// Whether it is an attempt, which has the kind `consumer`; the others are internal.
    pub is_attempt: bool,
    /// Its attributes, as far as they are known. Its events and links are lost.
    pub attributes: Vec<KeyValue>,
    /// Its end: when it was found, for nobody knows when it ended. Never before its begin.
    pub end: SystemTime,
}

/// Keeps spans back until it is safe to export them, and exports whole ones with their ids. The set-up of this crate does;
/// see `Telemetry::providers`.
///
/// Nothing here may block.
pub trait Closer: Debug + Send + Sync {
    /// A root is open: what ends below it waits for it.
    fn opened(&self, root: SpanKey);

    /// The span is about to be recorded: should it end meanwhile, it waits for that. `false` when it has ended.
    fn recording(&self, span: SpanKey) -> bool;

    /// The log has the span: what waited for it goes out. `told` is told when it has been exported, or is lost.
    fn recorded(&self, span: SpanKey, told: Arc<dyn Exported>);

    /// The log did not take it: all is as it was before [`recording`](Self::recording).
    fn not_recorded(&self, span: SpanKey);

    /// Takes a span of a process that is gone for export.
    fn close(&self, span: ClosedSpan, told: Arc<dyn Exported>);
}

/// Who is told that a recorded span has been exported, so that its record can be removed.
pub trait Exported: Debug + Send + Sync {
    /// It was exported, or is lost for good. Called by the thread that exports; must not block.
    fn exported(&self, span: SpanKey);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_from_its_text() {
        let open = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-5f3759df-2-0000000000000000-01";
        let record = SpanRecord {
            open: open.parse().expect("it is one"),
            name: "job a\\n\nb".to_owned(),
            is_attempt: true,
            attributes: vec![
                KeyValue::new("volery.agent.name", "a=b\n\\"),
                KeyValue::new("volery.run.part", 2),
            ],
        };
        let text = record.to_string();
        assert_eq!(text.parse(), Ok(record));
        for broken in ["", open, &text.replace("\ni", "\nx"), &text.replace('=', "")] {
            assert!(broken.parse::<SpanRecord>().is_err(), "{broken:?}");
        }
    }
}
