//! A payload in memory: the typed value, its JSON, or both, each made from the other when first asked for.
//!
//! In one process a payload travels as a shared value and is never copied; JSON is written only for a store
//! or a wire. Pure: no I/O, no clock.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::error::BlackboardError;
use crate::kind::{AnyValue, Kind, Payload};

/// The payload of one artifact. Reading it as a value or as JSON converts at most once.
#[derive(Clone)]
pub struct Body(Form);

/// The form in which a payload came, and the other once it was asked for.
#[derive(Clone)]
enum Form {
    Value(AnyValue, OnceLock<Arc<str>>),
    Json(Arc<str>, OnceLock<AnyValue>),
}

impl Body {
    /// Holds a typed value.
    #[must_use]
    pub fn typed<T: Payload>(value: Arc<T>) -> Self {
        Self(Form::Value(value, OnceLock::new()))
    }

    /// Holds JSON text read from a store or a wire. It is parsed when first asked for as a value.
    #[must_use]
    pub fn json(text: impl Into<Arc<str>>) -> Self {
        Self(Form::Json(text.into(), OnceLock::new()))
    }

    /// Holds what JSON text says as a value of the kind's type; what the type does not know is dropped.
    ///
    /// # Errors
    /// [`BlackboardError::Decode`] when the text does not fit.
    pub fn checked(kind: &Kind, text: &str) -> Result<Self, BlackboardError> {
        Ok(Self(Form::Value(kind.decode(text)?, OnceLock::new())))
    }

    /// Returns the payload as a value of its Rust type.
    ///
    /// # Errors
    /// [`BlackboardError::Decode`] when the JSON does not fit, or `T` is not the kind's type.
    pub fn value<T: Payload>(&self, kind: &Kind) -> Result<Arc<T>, BlackboardError> {
        let value = match &self.0 {
            Form::Value(value, _) => value,
            Form::Json(text, value) => match value.get() {
                Some(value) => value,
                None => {
                    // Two readers may parse at once; both get an equal value and one of the two is kept.
                    let parsed = kind.decode(text)?;
                    value.get_or_init(|| parsed)
                }
            },
        };
        Arc::clone(value).downcast::<T>().map_err(|_| BlackboardError::Decode {
            kind: kind.name().into(),
            rust: std::any::type_name::<T>().into(),
            cause: format!("the kind's type is `{}`", kind.rust_type()),
        })
    }

    /// Returns the payload as JSON text.
    ///
    /// # Errors
    /// [`BlackboardError::Encode`] when the value's `Serialize` fails (a map with keys that are not strings,
    /// say).
    pub fn text(&self, kind: &Kind) -> Result<Arc<str>, BlackboardError> {
        match &self.0 {
            Form::Json(text, _) => Ok(Arc::clone(text)),
            Form::Value(value, json) => match json.get() {
                Some(text) => Ok(Arc::clone(text)),
                None => {
                    let text: Arc<str> = kind.encode(value.as_ref())?.into();
                    Ok(Arc::clone(json.get_or_init(|| text)))
                }
            },
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body(…)")
    }
}

/// An input taken without copying: dereferences to the payload, which every reader shares.
///
/// Subscribe with `one::<Shared<Order>>()` where `one::<Order>()` would clone the payload for the engine.
pub struct Shared<T>(pub(crate) Arc<T>);

impl<T> Shared<T> {
    /// Returns the shared value itself.
    #[must_use]
    pub fn into_arc(self) -> Arc<T> {
        self.0
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_and_text_convert_once() {
        let kind = Kind::of::<Vec<u8>>();
        let body = Body::typed(Arc::new(vec![1_u8, 2]));
        let text = body.text(&kind).expect("a list serialises");
        assert_eq!(&*text, "[1,2]");
        assert!(Arc::ptr_eq(&text, &body.text(&kind).expect("kept")));

        let read = Body::json("[3]");
        let value = read.value::<Vec<u8>>(&kind).expect("fits");
        assert_eq!(*value, [3]);
        assert!(Arc::ptr_eq(&value, &read.value::<Vec<u8>>(&kind).expect("kept")));
    }

    #[test]
    fn text_that_does_not_fit_says_what_was_wanted() {
        let kind = Kind::of::<Vec<u8>>();
        let error = Body::json("{}").value::<Vec<u8>>(&kind).expect_err("an object is no list");
        assert!(error.to_string().contains("Vec<u8>"), "{error}");
    }
}
