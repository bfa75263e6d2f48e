//! Child processes of engines: each in a group of its own, which ends with its attempt, whatever the group
//! has started.
//!
//! The group is kept by a child task of the attempt, so that an attempt's end is sent only when its processes
//! have ended.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Output};

#[cfg(windows)]
use process_wrap::tokio::JobObject;
#[cfg(unix)]
use process_wrap::tokio::ProcessGroup;
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::child::ChildTask;
use super::context::Context;

/// A process that an engine started with [`Context::process`], together with all that it starts.
///
/// It is killed when this is dropped, at the latest at the end of its attempt. When it ends by itself, what
/// is left of its group is killed. A process that leaves its group (a daemon, a shell with job control) is
/// not found any more.
#[must_use = "the process is killed when this is dropped"]
pub struct Process {
    /// Its input, if it is piped.
    pub stdin: Option<ChildStdin>,
    /// Its output, if it is piped.
    pub stdout: Option<ChildStdout>,
    /// Its errors, if they are piped.
    pub stderr: Option<ChildStderr>,
    id: Option<u32>,
    exit: ChildTask<io::Result<ExitStatus>>,
    status: Option<ExitStatus>,
    kill: DropGuard,
}

impl Context {
    /// Starts a process that lives no longer than this attempt, and neither does what it starts: they are one
    /// process group (a job object on Windows), which is killed when the engine's future is dropped or has
    /// ended. So a cancelled or timed out attempt leaves no process behind.
    ///
    /// Input, output and errors are the service's own unless the command says otherwise.
    ///
    /// # Errors
    /// When the process cannot be started, or the attempt has ended.
    pub fn process(&self, command: Command) -> io::Result<Process> {
        let ended = || io::Error::other("the attempt has ended and starts no process");
        let children = self.children().ok_or_else(ended)?;
        let mut command = CommandWrap::from(command);
        #[cfg(unix)]
        command.wrap(ProcessGroup::leader());
        #[cfg(windows)]
        command.wrap(JobObject);
        command.wrap(KillOnDrop);
        let mut group = GroupGuard(command.spawn()?);
        let (stdin, stdout, stderr) =
            (group.0.stdin().take(), group.0.stdout().take(), group.0.stderr().take());
        let (id, kill) = (group.0.id(), CancellationToken::new());
        let dropped = kill.clone();
        let exit = children.spawn_until(|attempt_ended| wait_for_end(group, attempt_ended, dropped));
        Ok(Process { stdin, stdout, stderr, id, exit, status: None, kill: kill.drop_guard() })
    }
}

impl Process {
    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.id
    }

    /// Waits until it has ended, and closes its input first. Cancel safe.
    ///
    /// # Errors
    /// When it cannot be waited for, or the attempt was dropped.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        if let Some(status) = self.status {
            return Ok(status);
        }
        let status = (&mut self.exit).await.map_err(io::Error::other)??;
        self.status = Some(status);
        Ok(status)
    }

    /// Waits until it has ended, and returns what it wrote to pipes, all of it in memory. Dropped, it kills
    /// the process.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait), or when a pipe cannot be read.
    pub async fn output(mut self) -> io::Result<Output> {
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let (status, stdout, stderr) = tokio::try_join!(self.wait(), read_all(stdout), read_all(stderr))?;
        Ok(Output { status, stdout, stderr })
    }

    /// Kills it and what it has started. Its end is in [`wait`](Self::wait).
    pub fn kill(&self) {
        self.kill.token().cancel();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A process group that is killed when it is dropped.
struct GroupGuard(Box<dyn ChildWrapper>);

impl Drop for GroupGuard {
    fn drop(&mut self) {
        // It fails when nothing is left of the group.
        drop(self.0.start_kill());
    }
}

/// Waits until the group ends or is to end.
async fn wait_for_end(
    mut group: GroupGuard,
    attempt_ended: CancellationToken,
    dropped: CancellationToken,
) -> io::Result<ExitStatus> {
    tokio::select! {
        biased;
        status = group.0.wait() => return status,
        () = attempt_ended.cancelled() => {}
        () = dropped.cancelled() => {}
    }
    // It fails when nothing is left of the group, and then there is nothing to wait for but the status.
    drop(group.0.start_kill());
    group.0.wait().await
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
