//! Tests that start themselves again in a process of their own, which then dies.
//!
//! The child says words on its output, one line and one write each, so that what it said before it died was
//! said.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

/// Set in the child; what it is to do.
const ROLE: &str = "VOLERY_CRASH_CHILD";

/// Returns what this process is to do, if it is a child.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// For the child: says a line.
pub(crate) fn say(word: &str) {
    if role().is_none() {
        return;
    }
    let line = format!("@{word}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).expect("the parent reads");
}

/// For the child: runs on two threads.
pub(crate) fn run<T>(work: impl Future<Output = volery::Result<T>>) -> T {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    tokio.expect("threads can be started").block_on(work).expect("the service runs")
}

/// A test that runs in a process of its own, perhaps under another program.
pub(crate) struct Child {
    child: std::process::Child,
    lines: BufReader<ChildStdout>,
}

impl Child {
    /// Starts the named test again.
    pub(crate) fn start(test: &str, role: &str) -> Self {
        Self::start_under(&[], test, role)
    }

    /// The same below another program, named with its arguments.
    pub(crate) fn start_under(program: &[&str], test: &str, role: &str) -> Self {
        let this = std::env::current_exe().expect("a test has a path");
        let mut command = match program.split_first() {
            None => Command::new(this),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(this);
                command
            }
        };
        let mut child = command
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a test can be run again");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    /// Waits for the next word, and returns it; `None` when the child has ended. A line without an end was
    /// not said.
    pub(crate) fn next_word(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            self.lines.read_line(&mut line).expect("it writes text");
            let whole = line.strip_suffix('\n')?;
            // The harness may have begun a line before it.
            if let Some((_, word)) = whole.split_once('@') {
                return Some(word.to_owned());
            }
        }
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is a child of this process");
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status();
        assert!(sent.expect("there is a shell").success());
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("it is a child of this process")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Fails when it has ended, which is how it should be.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
