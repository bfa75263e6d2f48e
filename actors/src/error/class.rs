//! The class of an engine's error: what `error.type` says of it on spans and metrics.
//!
//! A class is of low cardinality: the path of a type, or a word of the service's own. It is looked for only
//! when an attempt has failed.

use std::any::type_name;
use std::error::Error as StdError;
use std::fmt;

use volery_blackboard::BlackboardError;
use volery_blackboard::store::StoreError;

use super::{Error, ErrorKind};
use crate::fault::Fault;

/// The class of an error of which nothing is known.
pub(crate) const UNKNOWN: &str = "_OTHER";

/// An error that says its own class. It reads like the error in it: same text, same cause.
///
/// The class becomes `error.type` of spans and metrics, so there should be few of them: `rate_limited`, not
/// the address of who said so. Without one the class of an error is the path of its type. An engine returns
/// it like any error; put into another as its cause it counts as well.
///
/// ```
/// # use volery_actors::{Classed, Fault};
/// fn ask() -> Result<String, Fault> {
///     Err(Classed::new("rate_limited", "429 Too Many Requests").into())
/// }
/// # assert_eq!(ask().unwrap_err().to_string(), "429 Too Many Requests");
/// ```
pub struct Classed {
    class: &'static str,
    error: Fault,
}

impl Classed {
    /// Gives an error a class.
    pub fn new(class: &'static str, error: impl Into<Fault>) -> Self {
        Self { class, error: error.into() }
    }

    /// Gives an error its type as its class.
    pub(crate) fn by_type<E: Into<Fault>>(error: E) -> Self {
        Self { class: class_of_type(type_name::<E>()).unwrap_or(UNKNOWN), error: error.into() }
    }

    /// Returns the class.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        self.class
    }

    /// Returns the error itself, for who wants to downcast it.
    #[must_use]
    pub fn error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self.error.as_ref()
    }
}

impl fmt::Display for Classed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for Classed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.class).field(&self.error).finish()
    }
}

impl StdError for Classed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

/// The class of an error: what it says of itself, else what it is to the runtime, else the path of its type,
/// by the name that the engine gives.
pub(crate) fn class_of_fault(fault: &Fault, named: Option<&'static str>) -> &'static str {
    if let Some(own) = said(fault.as_ref()) {
        return own;
    }
    if let Some(error) = fault.downcast_ref::<Error>() {
        return class_of(error);
    }
    if let Some(error) = fault.downcast_ref::<StoreError>() {
        return class_of_store(error);
    }
    if fault.is::<BlackboardError>() {
        return "input";
    }
    named.and_then(class_of_type).unwrap_or(UNKNOWN)
}

/// The class of an error, for spans: what a caller can do about it, or that of an error that is not the
/// runtime's.
pub(crate) fn class_of(error: &Error) -> &'static str {
    if let Some(class) = error.foreign_class() {
        return class;
    }
    match error.kind() {
        ErrorKind::Retry => "retry",
        ErrorKind::FixInput => "fix_input",
        ErrorKind::Stop => "stop",
        ErrorKind::Report => "report",
    }
}

/// The class of a store's error.
pub(crate) const fn class_of_store(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable { .. } => "unavailable",
        StoreError::Missing { .. } => "missing",
        StoreError::Conflict { .. } => "conflict",
        StoreError::Closed { .. } => "closed",
        _ => "_OTHER",
    }
}

/// The class that an error says, or the first of its causes that says one.
fn said(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    match error.downcast_ref::<Classed>() {
        Some(classed) => Some(classed.class),
        None => error.source().and_then(said),
    }
}

/// The path of a type, without what it is generic over. `None` for types that any error becomes: texts and
/// boxes.
fn class_of_type(name: &'static str) -> Option<&'static str> {
    let boxed = name.strip_prefix("alloc::boxed::Box<").and_then(|name| name.strip_suffix('>'));
    let name = boxed.unwrap_or(name);
    let path = name.split('<').next().unwrap_or_default();
    let is_text = path.starts_with('&') || path == type_name::<String>() || path == "alloc::borrow::Cow";
    let is_path = !is_text && !path.contains(' ') && !path.is_empty() && !path.starts_with('(');
    is_path.then_some(path)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::marker::PhantomData;

    use super::*;

    struct Odd<T>(PhantomData<T>);

    #[test]
    fn the_class_of_a_type_is_its_path_without_generics() {
        let odd = concat!(module_path!(), "::Odd");
        assert_eq!(class_of_type(type_name::<Odd<Odd<u8>>>()), Some(odd));
        assert_eq!(class_of_type(type_name::<Box<Odd<u8>>>()), Some(odd));
        assert_eq!(class_of_type(type_name::<std::fmt::Error>()), Some("core::fmt::Error"));
    }

    #[test]
    fn texts_and_boxes_have_no_class() {
        for name in [
            type_name::<Fault>(),
            type_name::<Box<dyn StdError>>(),
            type_name::<String>(),
            type_name::<&str>(),
            type_name::<Cow<'static, str>>(),
        ] {
            assert_eq!(class_of_type(name), None, "{name}");
        }
    }

    #[test]
    fn an_error_says_its_own_class_also_as_a_cause() {
        let own: Fault = Classed::new("rate_limited", "429").into();
        assert_eq!(class_of_fault(&own, Some("my::Error")), "rate_limited");
        let around: Fault = std::io::Error::other(Classed::new("rate_limited", "429")).into();
        assert_eq!(
            class_of_fault(&around, Some("std::io::Error")),
            "std::io::Error",
            "io::Error hides itself"
        );
        #[derive(Debug, thiserror::Error)]
        #[error("asking failed")]
        struct Asking(#[source] Classed);
        let around: Fault = Asking(Classed::new("rate_limited", "429")).into();
        assert_eq!(class_of_fault(&around, None), "rate_limited");
    }

    #[test]
    fn an_error_wrapped_for_the_runtime_keeps_the_type_that_it_had() {
        let wrapped: Fault = Error::other(std::fmt::Error).into();
        assert_eq!(class_of_fault(&wrapped, Some("volery_actors::error::Error")), "core::fmt::Error");
        let text: Fault = Error::other("no").into();
        assert_eq!(class_of_fault(&text, None), UNKNOWN);
        let misuse: Fault = Error::misuse("no").into();
        assert_eq!(class_of_fault(&misuse, None), "fix_input");
    }
}
