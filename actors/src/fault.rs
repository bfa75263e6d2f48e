//! Faults: errors of code that is not ours, their texts, and the texts of panics.

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use volery_blackboard::panic::panic_text;

pub use crate::supervision::Fault;

/// Writes an error and its causes, root cause last.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}

/// Returns the text of a panic and drops its payload. A second panic, in that drop, is logged and goes no
/// further.
pub(crate) fn take_text(panic: Box<dyn Any + Send>) -> String {
    let text = panic_text(panic.as_ref());
    if catch_unwind(AssertUnwindSafe(|| drop(panic))).is_err() {
        tracing::warn!(target: "volery::agent", text, "the payload of a panic panicked when it was dropped");
    }
    text
}
