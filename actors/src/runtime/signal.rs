//! Signals, for services that ask for them: the first drains, the second aborts, the third exits.
//!
//! They are heard by a thread and not by a task, so that they count also when engines block every worker
//! thread.

use std::sync::{Arc, Weak};

use super::{Parts, Volery};
use crate::error::Result;
use crate::root::EXIT_CODE_INTERRUPTED;

#[cfg(unix)]
pub(super) use with_signals::Signals;
#[cfg(not(unix))]
pub(super) use without_signals::Signals;

#[cfg(unix)]
mod with_signals {
    use std::sync::atomic::{AtomicBool, Ordering};

    use signal_hook::SigId;
    use signal_hook::consts::signal::{SIGINT, SIGTERM};
    use signal_hook::flag::register_conditional_default;
    use signal_hook::iterator::{Handle, Signals as Arriving};
    use signal_hook::low_level::{signal_name, unregister};

    use super::{Arc, Parts, Result, Weak, act_on};

    const HEARD: [i32; 2] = [SIGINT, SIGTERM];

    /// The signals that a runtime has registered; none unless asked to.
    #[derive(Debug, Default)]
    pub(in super::super) struct Signals {
        listener: Option<Handle>,
        defaults: Vec<SigId>,
        /// Whether the signals do to the process what they do by default.
        by_default: Arc<AtomicBool>,
    }

    impl Signals {
        /// Registers, and starts the thread that acts on them. It ends with the runtime.
        pub(in super::super) fn listen(&mut self, parts: &Arc<Parts>) -> Result<()> {
            if self.listener.is_some() {
                return Ok(());
            }
            if self.defaults.is_empty() {
                for signal in HEARD {
                    self.defaults.push(register_conditional_default(signal, Arc::clone(&self.by_default))?);
                }
            }
            let mut arriving = Arriving::new(HEARD)?;
            let listener = arriving.handle();
            let parts: Weak<Parts> = Arc::downgrade(parts);
            std::thread::Builder::new().name("volery-signals".to_owned()).spawn(move || {
                for signal in arriving.forever() {
                    let name = signal_name(signal).unwrap_or("signal");
                    if !act_on(&parts, name) {
                        return;
                    }
                }
            })?;
            self.listener = Some(listener);
            self.by_default.store(false, Ordering::SeqCst);
            Ok(())
        }

        /// Gives the signals back to their default effect, which ends the process.
        pub(in super::super) fn ignore(&mut self) {
            if let Some(listener) = self.listener.take() {
                listener.close();
                self.by_default.store(true, Ordering::SeqCst);
            }
        }

        /// Unregisters everything. The signals then have no effect, unless other code listens.
        pub(in super::super) fn close(&mut self) {
            if let Some(listener) = self.listener.take() {
                listener.close();
            }
            for id in self.defaults.drain(..) {
                let known = unregister(id);
                debug_assert!(known, "it was registered");
            }
        }
    }
}

#[cfg(not(unix))]
mod without_signals {
    use tokio::task::AbortHandle;

    use super::{Arc, Parts, Result, Weak, act_on};

    /// The signals that a runtime has registered; none unless asked to.
    #[derive(Debug, Default)]
    pub(in super::super) struct Signals {
        listener: Option<AbortHandle>,
    }

    impl Signals {
        /// Registers for Ctrl-C and starts the task that acts on it. It ends with the runtime.
        pub(in super::super) fn listen(&mut self, parts: &Arc<Parts>) -> Result<()> {
            let parts: Weak<Parts> = Arc::downgrade(parts);
            self.listener.get_or_insert_with(|| {
                let listener = tokio::spawn(async move {
                    while tokio::signal::ctrl_c().await.is_ok() && act_on(&parts, "Ctrl-C") {}
                });
                listener.abort_handle()
            });
            Ok(())
        }

        /// Stops listening. Ctrl-C then has no effect.
        pub(in super::super) fn ignore(&mut self) {
            self.close();
        }

        pub(in super::super) fn close(&mut self) {
            if let Some(listener) = self.listener.take() {
                listener.abort();
            }
        }
    }
}

/// Acts on a signal. Returns whether there is anything left to act on.
fn act_on(parts: &Weak<Parts>, signal: &str) -> bool {
    let Some(parts) = parts.upgrade() else { return false };
    let runtime = Volery(parts);
    tracing::info!(target: "volery::root", runtime = runtime.name(), signal, "signal received");
    if !runtime.interrupt() {
        tracing::error!(target: "volery::root", runtime = runtime.name(), signal, "exiting at once");
        std::process::exit(EXIT_CODE_INTERRUPTED);
    }
    true
}
