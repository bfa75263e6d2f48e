//! Signals, for services that ask for them: the first drains, the second aborts, the third exits.

use std::sync::Weak;

use tokio::task::AbortHandle;

use super::{EXIT_CODE_INTERRUPTED, Parts, Runtime};
use crate::error::Result;

/// Registers for SIGINT and SIGTERM and starts the task that acts on them. It ends with the runtime.
#[cfg(unix)]
pub(super) fn listen(parts: Weak<Parts>) -> Result<AbortHandle> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            let Some(parts) = parts.upgrade() else { return };
            act(&Runtime(parts), name);
        }
    });
    Ok(listener.abort_handle())
}

/// Registers for Ctrl-C and starts the task that acts on it. It ends with the runtime.
#[cfg(not(unix))]
pub(super) fn listen(parts: Weak<Parts>) -> Result<AbortHandle> {
    let listener = tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            let Some(parts) = parts.upgrade() else { return };
            act(&Runtime(parts), "Ctrl-C");
        }
    });
    Ok(listener.abort_handle())
}

fn act(runtime: &Runtime, signal: &str) {
    tracing::info!(target: "volery::root", runtime = runtime.name(), signal, "signal received");
    if !runtime.interrupt() {
        tracing::error!(target: "volery::root", runtime = runtime.name(), signal, "exiting at once");
        std::process::exit(EXIT_CODE_INTERRUPTED);
    }
}
