//! Panics of user code that were caught: their messages. Pure: no I/O, no clock.

/// Returns the message of a panic, as far as it is text.
#[must_use]
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "panic without a message".to_owned()
    }
}
