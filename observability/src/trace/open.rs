//! Open spans: their records in the log, and their export after the process has died.
//!
//! One rule makes a trace whole after `kill -9`: *no span is exported before its parent is exported, or is in
//! the log as open*. [`OpenSpans`] holds spans back until then. A root, job, attempt or engine call that is
//! open for longer than [`TraceSettings::wait`](super::TraceSettings::wait) is noted in the log. The next
//! process exports an end for each note that it finds. A note is removed when its span has been exported.

use std::fmt::{self, Debug};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::{KeyValue, Value};

use super::propagation::{PropagationError, hex, short_hex, span};
use super::text::text;
use crate::names::attribute;

/// A span's place: its trace and its own id, neither of them zero.
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
pub struct OpenSpan {
    pub(crate) key: SpanKey,
    /// Its parent; 0 if it has none.
    pub(crate) parent: u64,
    /// When it began, in microseconds since the epoch.
    pub(crate) start_us: u64,
    pub(crate) name: String,
    /// An attempt has the kind `consumer`; the others are internal.
    pub(crate) is_attempt: bool,
    /// Attributes that all spans of its run have.
    pub(crate) base: Arc<[KeyValue]>,
    /// Its own.
    pub(crate) attributes: Vec<KeyValue>,
}

impl OpenSpan {
    /// Its place.
    #[must_use]
    pub const fn key(&self) -> SpanKey {
        self.key
    }

    /// When it began.
    #[must_use]
    pub fn start(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.start_us)
    }

    /// Its attributes, and those that say how it ended.
    #[cfg_attr(not(feature = "sdk"), expect(dead_code, reason = "the set-up exports it"))]
    pub(crate) fn interrupted(&self) -> Vec<KeyValue> {
        let mut attributes: Vec<_> = self.base.iter().chain(&self.attributes).cloned().collect();
        attributes.push(text(attribute::OUTCOME, "interrupted"));
        if self.attributes.iter().any(|known| known.key.as_str() == attribute::RUN_PART) {
            attributes.push(text(attribute::RUN_STATUS, "interrupted"));
        }
        attributes
    }
}

/// A line for the numbers, one for the name, and one for each attribute; `a` is an attempt, `s` a text, `i`
/// an integer.
impl fmt::Display for OpenSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, parent, start_us, name, is_attempt, base, attributes } = self;
        let sort = if *is_attempt { 'a' } else { '-' };
        write!(f, "{key}-{parent:016x}-{start_us:x}\n{sort}{}", escaped(name))?;
        // Lists are lost.
        for KeyValue { key, value, .. } in base.iter().chain(attributes) {
            match value {
                Value::I64(number) => write!(f, "\ni{key}={number}")?,
                Value::String(text) => write!(f, "\ns{key}={}", escaped(text.as_str()))?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl FromStr for OpenSpan {
    type Err = PropagationError;

    fn from_str(note: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let mut lines = note.split('\n');
            let numbers: Vec<&str> = lines.next()?.split('-').collect();
            let (trace, own, parent, start) = match numbers[..] {
                [trace, own, parent, start] => (trace, own, parent, start),
                // Older records have the number of the root and the flags as well.
                [trace, own, start, _, parent, _] => (trace, own, parent, start),
                _ => return None,
            };
            let trace = hex(trace, 32).filter(|id| *id != 0)?;
            let key = SpanKey { trace, span: span(own)? };
            let parent = u64::try_from(hex(parent, 16)?).ok()?;
            let start_us = short_hex(start)?;
            let (is_attempt, name) = match lines.next()?.split_at_checked(1)? {
                ("a", name) => (true, unescaped(name)),
                ("-", name) => (false, unescaped(name)),
                _ => return None,
            };
            let attributes = lines.map(attribute_of).collect::<Option<_>>()?;
            Some(Self { key, parent, start_us, name, is_attempt, base: Arc::default(), attributes })
        };
        parsed().ok_or_else(|| PropagationError { header: note.chars().take(80).collect() })
    }
}

fn attribute_of(line: &str) -> Option<KeyValue> {
    let (sort, rest) = line.split_at_checked(1)?;
    let (key, value) = rest.split_once('=')?;
    let key = key.to_owned();
    match sort {
        "i" => Some(KeyValue::new(key, value.parse::<i64>().ok()?)),
        "s" => Some(KeyValue::new(key, unescaped(value))),
        _ => None,
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

/// Called when a noted span was exported or is lost for good, so that its note can be removed. The thread
/// that exports calls it; it must not block.
pub type OnExported = Arc<dyn Fn(SpanKey) + Send + Sync>;

/// Takes note of a span that is to be noted.
pub type Given<'a> = dyn FnMut(SpanKey) -> OnExported + 'a;

/// The spans of a set-up that have begun and were not exported yet; see `Telemetry::providers`.
///
/// Nothing here may block.
pub trait OpenSpans: Debug + Send + Sync {
    /// A number for a runtime, by which its spans are told apart from those of others.
    fn join(&self) -> u64;

    /// A span of a runtime has begun that may be open for long. Spans of a trace are held back from its first
    /// root on.
    fn begun(&self, runtime: u64, span: OpenSpan);

    /// Gives the spans of a runtime that began before, are open, and are in no log; parents first. `given` is
    /// called for each before it can end, and names who hears of its export.
    fn to_note(&self, runtime: u64, before: SystemTime, given: &mut Given<'_>) -> Vec<OpenSpan>;

    /// The log has the span: nothing waits for it any more.
    fn noted(&self, span: SpanKey);

    /// Exports a span of a process that is gone. When it ended nobody knows: it ends when it was found.
    fn close(&self, span: &OpenSpan, end: SystemTime, on_exported: OnExported);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open_span() -> impl Strategy<Value = OpenSpan> {
        let attributes =
            vec![KeyValue::new("volery.agent.name", "a=b\n\\"), KeyValue::new("volery.run.part", 2)];
        (1_u128.., 1_u64.., any::<u64>(), any::<u64>(), any::<bool>(), "[a-z\\\\\n]{0,9}").prop_map(
            move |(trace, span, parent, start_us, is_attempt, name)| OpenSpan {
                key: SpanKey { trace, span },
                parent,
                start_us,
                name,
                is_attempt,
                base: Arc::default(),
                attributes: attributes.clone(),
            },
        )
    }

    proptest! {
        #[test]
        fn an_open_span_comes_back_from_its_text(open in open_span()) {
            prop_assert_eq!(open.to_string().parse(), Ok(open));
        }

        #[test]
        fn a_changed_character_never_makes_another_span_pass_for_it(
            at in 0_usize..100, with in "[0-9a-f=,g-]", open in open_span(),
        ) {
            let mut changed = open.to_string();
            if changed.is_char_boundary(at) && changed.is_char_boundary(at + 1) && at < changed.len() {
                changed.replace_range(at..=at, &with);
                // Either refused, or exactly what it says: numbers that are taken are those of what it was
                // read as.
                if let Ok(read) = changed.parse::<OpenSpan>() {
                    let read = read.to_string();
                    prop_assert_eq!(read.lines().next(), changed.lines().next());
                }
            }
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,80}") {
            prop_assert!(text.parse::<OpenSpan>().is_err());
        }
    }

    #[test]
    fn an_older_record_is_read() {
        let older =
            "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-5f3759df-1-00000000000000aa-01\n-job a";
        let open: OpenSpan = older.parse().expect("it is read");
        assert_eq!((open.parent, open.start_us, open.key.span), (0xaa, 0x5f37_59df, 0xb7ad_6b71_6920_3331));
    }

    #[test]
    fn a_broken_text_is_refused() {
        let open = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0000000000000000-5f3759df";
        let whole = format!("{open}\n-job a\nivolery.run.part=2");
        assert!(whole.parse::<OpenSpan>().is_ok());
        for broken in
            ["", open, &whole.replace("\ni", "\nx"), &whole.replace('=', ""), &whole.replace("-job", "job")]
        {
            assert!(broken.parse::<OpenSpan>().is_err(), "{broken:?}");
        }
    }
}
