//! Signals, proved from outside: each test starts itself again in a process of its own and signals that.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use volery::EXIT_CODE_INTERRUPTED;

use super::*;

/// Set in the process that is to be signalled.
const ROLE: &str = "VOLERY_TEST_SIGNALLED";

/// What the signalled process says, one word per line.
fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{word}").and_then(|()| out.flush()).expect("the parent reads");
}

struct Signalled {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Signalled {
    /// Starts the named test again, as the process to be signalled.
    fn start(test: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a test has a path"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a test can be run again");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, lines }
    }

    fn hears(&mut self, word: &str) {
        let said = self.lines.by_ref().map(|line| line.expect("it writes text"));
        let heard: Vec<String> =
            said.filter_map(|line| line.strip_prefix('@').map(str::to_owned)).take(1).collect();
        assert_eq!(heard, [word]);
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
        assert!(sent.expect("there is a shell").success());
    }

    fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("it is a child of this process")
    }
}

impl Drop for Signalled {
    fn drop(&mut self) {
        // Fails when it has ended, which is how it should be.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn is_signalled() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// The process that is signalled: one job that runs until a line comes in, and what becomes of it.
fn serve(store: FailingStore) {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    tokio
        .expect("threads can be started")
        .block_on(async {
            let gate = Gate::new();
            let volery = Volery::builder("signalled").agent(stuck(&gate)).store(store).start().await?;
            volery.shutdown_on_signals()?;
            volery.shutdown_on_signals()?;
            volery.publish(a(0, 0)).await?;
            gate.reached().await;
            let opener = gate.clone();
            std::thread::spawn(move || {
                let mut line = String::new();
                if std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
                    opener.open(1);
                }
            });
            say("running");
            volery.shutdown_requested().await;
            say("stopping");
            let report = volery.stopped().await?;
            let agents = report.phase(Phase::Agents).expect("every phase has a row");
            say(&format!("{} {}", agents.status, agents.names.join(",")));
            Ok::<_, volery::Error>(())
        })
        .expect("the runtime starts and stops");
}

#[test]
fn the_first_signal_drains() {
    if is_signalled() {
        return serve(FailingStore::over(Memory::new()));
    }
    for signal in ["TERM", "INT"] {
        let mut service = Signalled::start("shutdown::signals::the_first_signal_drains");
        service.hears("running");
        service.signal(signal);
        service.hears("stopping");
        let mut input = service.child.stdin.take().expect("it is piped");
        input.write_all(b"go on\n").expect("it reads");
        service.hears("completed ");
        assert!(service.ended().success());
    }
}

#[test]
fn the_second_signal_aborts_and_names_who_was_cut_off() {
    if is_signalled() {
        return serve(FailingStore::over(Memory::new()));
    }
    let mut service =
        Signalled::start("shutdown::signals::the_second_signal_aborts_and_names_who_was_cut_off");
    service.hears("running");
    service.signal("TERM");
    service.hears("stopping");
    service.signal("INT");
    service.hears("aborted stuck × 1");
    assert!(service.ended().success(), "what follows an abort is up to the service");
}

#[test]
fn the_third_signal_exits_the_process() {
    if is_signalled() {
        // It keeps the abort from ending, so that there is something left to interrupt.
        let store = FailingStore::over(Memory::new());
        store.delay_close(|| {
            say("closing");
            std::future::pending()
        });
        return serve(store);
    }
    let mut service = Signalled::start("shutdown::signals::the_third_signal_exits_the_process");
    service.hears("running");
    service.signal("TERM");
    service.hears("stopping");
    service.signal("TERM");
    service.hears("closing");
    service.signal("TERM");
    assert_eq!(service.ended().code(), Some(EXIT_CODE_INTERRUPTED));
}
