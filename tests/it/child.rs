//! Tests that start themselves again in a process of its own: signals and exit codes are seen from outside
//! only.
//!
//! The two processes speak by lines: the child says words on its output, the parent sends signals and lines.
//! Nobody sleeps.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

/// Set in the child.
const ROLE: &str = "VOLERY_TEST_CHILD";

/// Tells whether this process is the child.
pub(crate) fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// For the child: says a line.
pub(crate) fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{word}").and_then(|()| out.flush()).expect("the parent reads");
}

/// For the child: waits for a line, or for the parent's end of it. Blocks its thread.
pub(crate) fn listen() -> bool {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0)
}

/// A test that runs in a process of its own.
pub(crate) struct Child {
    child: std::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts the named test again.
    pub(crate) fn start(test: &str) -> Self {
        Self::start_with(test, &[])
    }

    /// The same with variables in its environment.
    pub(crate) fn start_with(test: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a test has a path"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROLE, "1")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a test can be run again");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, lines }
    }

    /// Waits for the next word, and returns it; empty when the child has ended without one.
    pub(crate) fn next_word(&mut self) -> String {
        let said = self.lines.by_ref().map(|line| line.expect("it writes text"));
        said.filter_map(|line| line.strip_prefix('@').map(str::to_owned)).next().unwrap_or_default()
    }

    /// Waits for the next word, which is to be this one.
    pub(crate) fn hears(&mut self, word: &str) {
        assert_eq!(self.next_word(), word);
    }

    /// Sends a signal by its short name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
        assert!(sent.expect("there is a shell").success());
    }

    /// Sends a line.
    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("it reads");
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
