//! Text in attributes: cut to a size, at a character's boundary. Pure: no I/O, no clock.
//!
//! The SDK limits how many attributes there are but not how long; one long text could fill a whole export.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use opentelemetry::{KeyValue, Value};

/// Longest text in an attribute, in bytes. 256 spans with one such text stay under the 4 MiB of a usual
/// receiver; what may be on each of 512 spans has a smaller limit.
pub(crate) const TEXT_MAX: usize = 8 * 1024;

/// Longest name that a publisher chooses, in bytes: it stands on every span and metric of a run.
pub(crate) const NAME_MAX: usize = 256;

/// The mark of a text that was cut. It counts for the size.
const MARK: &str = "…";

/// Cuts a text to `bytes_max` bytes, and to [`TEXT_MAX`] in any case.
pub(crate) fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    let bytes_max = bytes_max.min(TEXT_MAX);
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(MARK.len()));
    let mark = if bytes_max < MARK.len() { "" } else { MARK };
    Cow::Owned(format!("{}{mark}", &text[..end]))
}

/// An attribute with a text, cut.
pub(crate) fn text(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, cut(value, TEXT_MAX).into_owned())
}

/// An attribute with a name that a publisher chooses, cut.
pub(crate) fn name(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, cut(value, NAME_MAX).into_owned())
}

/// An attribute with something that can be shown, cut.
pub(crate) fn shown(key: &'static str, value: &dyn Display) -> KeyValue {
    let whole = value.to_string();
    let value = if whole.len() <= TEXT_MAX { whole } else { cut(&whole, TEXT_MAX).into_owned() };
    KeyValue::new(key, value)
}

/// The same attribute for many spans, which share its text.
pub(crate) fn shared(attribute: KeyValue) -> KeyValue {
    match attribute.value {
        Value::String(text) => KeyValue::new(attribute.key, Arc::<str>::from(text.as_str())),
        value => KeyValue::new(attribute.key, value),
    }
}

/// An attribute with a list of texts, each cut.
pub(crate) fn texts(key: &'static str, values: impl IntoIterator<Item = impl AsRef<str>>) -> KeyValue {
    let values = values.into_iter().map(|value| cut(value.as_ref(), TEXT_MAX).into_owned().into());
    KeyValue::new(key, Value::Array(opentelemetry::Array::String(values.collect())))
}

/// An attribute with a count.
pub(crate) fn count(key: &'static str, value: impl TryInto<i64>) -> KeyValue {
    KeyValue::new(key, value.try_into().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cut_text_is_short_enough_and_begins_like_the_whole(text in ".{0,60}", max in 0_usize..80) {
            let cut = cut(&text, max);
            prop_assert!(cut.len() <= max);
            let kept = cut.strip_suffix(MARK).unwrap_or(&cut);
            prop_assert!(text.starts_with(kept));
            prop_assert_eq!(text.len() <= max, cut == text);
        }
    }

    #[test]
    fn no_text_is_longer_than_8_kib() {
        let long = "é".repeat(10_000);
        assert_eq!(cut(&long, usize::MAX).len(), TEXT_MAX - 1, "cut before the character that does not fit");
    }
}
