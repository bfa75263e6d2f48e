//! Telling systemd: ready, stopping, alive. The protocol is one line of text in a datagram; see
//! `sd_notify(3)`.
//!
//! The watchdog is fed only while the runtime is live, so that a process that is stuck is restarted.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::{PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::{Parts, Volery};
use crate::error::{Error, Result};
use crate::root::Stopping;

/// Where systemd listens, and how often it wants to hear of a live process.
#[derive(Debug)]
pub struct Systemd {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` from the environment. `None` when this
    /// process was not started by systemd as a service of `Type=notify`.
    ///
    /// # Errors
    /// When the socket's name is not one.
    pub fn from_environment() -> Result<Option<Self>> {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(None) };
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let own = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| own && *micros > 0).map(Duration::from_micros);
        Self::new(path, watchdog).map(Some)
    }

    /// Speaks to the socket at this path, abstract if it begins with `@`, within the watchdog's interval if
    /// there is one.
    ///
    /// # Errors
    /// When the path is not one of a socket.
    pub fn new(path: impl AsRef<Path>, watchdog: Option<Duration>) -> Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not block a worker thread.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address: address(path.as_ref())?, watchdog })
    }

    fn send(&self, text: &str) {
        if let Err(error) = self.socket.send_to_addr(text.as_bytes(), &self.address) {
            tracing::warn!(target: "volery::root", %error, "systemd could not be told");
        }
    }
}

#[cfg(target_os = "linux")]
fn address(path: &Path) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;

    match path.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    }
}

#[cfg(not(target_os = "linux"))]
fn address(path: &Path) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(path)
}

impl Volery {
    /// Tells systemd, for a service of `Type=notify`: `READY=1` now, `STOPPING=1` when a stop begins, and in
    /// between `WATCHDOG=1` twice per `WatchdogSec`, but only while the runtime is
    /// [live](crate::Health::live).
    ///
    /// Returns false, and does nothing, when this process was not started by systemd. The task that does it
    /// ends with the runtime.
    ///
    /// # Errors
    /// Of kind `FixInput` when it is notified already; when the socket's name is not one.
    pub fn notify_systemd(&self) -> Result<bool> {
        let Some(systemd) = Systemd::from_environment()? else { return Ok(false) };
        self.notify_systemd_at(systemd).map(|()| true)
    }

    /// The same at a socket of your own, with an interval of your own.
    ///
    /// # Errors
    /// Of kind `FixInput` when systemd is notified already.
    pub fn notify_systemd_at(&self, systemd: Systemd) -> Result<()> {
        let mut notifier = self.0.notifier.lock().unwrap_or_else(PoisonError::into_inner);
        if notifier.is_some() {
            return Err(Error::misuse("systemd is told already; call it once"));
        }
        let (stopping, parts) = (self.0.root.watch_stopping(), std::sync::Arc::downgrade(&self.0));
        // Ends with the runtime, which aborts it at the latest when the last handle is dropped.
        *notifier = Some(tokio::spawn(notify(systemd, stopping, parts)).abort_handle());
        Ok(())
    }
}

async fn notify(systemd: Systemd, mut stopping: watch::Receiver<Stopping>, parts: Weak<Parts>) {
    systemd.send("READY=1\nSTATUS=ready");
    // Half of the interval, as systemd advises: one word may come late.
    let feed_every = systemd.watchdog.map(|interval| interval / 2);
    let mut pause = feed_every;
    loop {
        tokio::select! {
            // An error means that the runtime is gone.
            _ = stopping.wait_for(|level| *level > Stopping::No) => break,
            () = sleep_for(pause) => {}
        }
        let Some(runtime) = parts.upgrade().map(Volery) else { break };
        let health = runtime.health().await;
        let status = format!("STATUS={}", health.to_string().replace('\n', ";"));
        if health.live {
            systemd.send(&format!("WATCHDOG=1\n{status}"));
            pause = feed_every;
        } else {
            tracing::error!(target: "volery::root", runtime = runtime.name(), %health, "the watchdog is not fed");
            systemd.send(&status);
            // Looked at sooner, so that a runtime that recovers is fed before the interval is over.
            pause = feed_every.map(|every| every / 4);
        }
    }
    systemd.send("STOPPING=1\nSTATUS=stopping");
}

/// Waits; for ever when there is no watchdog.
async fn sleep_for(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
