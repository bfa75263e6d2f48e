//! How a service asks how its runtime is, and tells its platform.
//!
//! `examples/11_service.rs` answers probes with it, `deploy/` has the platform's side.

use volery_actors::Health;
#[cfg(unix)]
use volery_actors::{Result, Systemd};

use crate::volery::Volery;

impl Volery {
    /// Tells whether the runtime lives, whether it should be given work, and what speaks against it.
    ///
    /// It asks the supervisors and the curator, and answers within a second whoever is dead or stuck, as long as the async
    /// runtime runs tasks at all; when engines block every worker thread nothing answers, and the platform's probe runs
    /// into its time-out. Cheap: a probe may call it every second. Cancel safe.
    ///
    /// A runtime that stops is live and not ready; one that has stopped is neither.
    /// `docs/supervision.md` has the table of what affects what.
    pub async fn health(&self) -> Health {
        self.runtime().health().await
    }

    /// Tells systemd, for a service of `Type=notify`: `READY=1` now, `STOPPING=1` when a stop begins, and in between
    /// `WATCHDOG=1` twice per `WatchdogSec`, but only while the runtime is [live](Health::live).
    ///
    /// Returns false, and does nothing, when this process was not started by systemd. The task that does it ends with the
    /// runtime.
    ///
    /// # Errors
    /// Of kind `FixInput` when it is told already; when the socket's name is not one.
    #[cfg(unix)]
    pub fn notify_systemd(&self) -> Result<bool> {
        let Some(systemd) = Systemd::from_environment()? else { return Ok(false) };
        self.notify_systemd_at(systemd).map(|()| true)
    }

    /// The same at a socket of your own, with an interval of your own.
    ///
    /// # Errors
    /// Of kind `FixInput` when systemd is told already.
    #[cfg(unix)]
    pub fn notify_systemd_at(&self, systemd: Systemd) -> Result<()> {
        self.runtime().notify(systemd)
    }
}
