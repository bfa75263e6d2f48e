//! The program `triage` as its user meets it: built, run as a process, judged by its files, answers and exit
//! codes.
//!
//! The rules behind the answers are tested beside the code.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// The folder that the program is started in, and that the names of the sample start from.
const CLONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

const LOG: &str = "examples/data/auth.log";
const CHANGES: [&str; 2] = ["examples/data/dpkg.log", "examples/data/history.log"];

/// Made by running the program on the sample; see [`sample_json`] for its arguments.
const GOLDEN: &str = include_str!("golden/triage.json");

/// The trace of a small log, siblings that look the same in one line; see
/// [`the_trace_of_a_small_log_is_the_golden_one`].
const TRACE: &str = include_str!("golden/triage-trace.txt");

/// The sample as it is shown where nothing is named.
const SAMPLE: &str = include_str!("golden/sample.txt");

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_triage"))
}

/// A folder of its own for one test, with the two reports in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("triage-{name}"));
        // Left over from a run that failed.
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.join(name), content).expect("a file is written");
        self.path(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.current_dir(CLONE).args(arguments);
        command.args(["--report", &self.path("report.md"), "--json", &self.path("report.json")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        Answer::new(self, self.command(arguments).output().expect("the program starts"))
    }

    /// Runs on one log given as text, and maybe one file of changes.
    fn run_on(&self, log: impl AsRef<[u8]>, changes: Option<&str>, more: &[&str]) -> Answer {
        let log = self.file("input.log", log);
        let changes = changes.map(|text| self.file("changes.csv", text));
        let mut arguments = vec![&*log];
        arguments.extend(changes.iter().flat_map(|path| ["--changes", path]));
        arguments.extend(more);
        self.run(&arguments)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Kept for a look at it where the test failed.
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}

/// The files that the program left behind.
#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    json: Option<String>,
    markdown: Option<String>,
}

impl Answer {
    fn new(folder: &Folder, output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
            json: std::fs::read_to_string(folder.path("report.json")).ok(),
            markdown: std::fs::read_to_string(folder.path("report.md")).ok(),
        }
    }

    #[track_caller]
    fn report(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.json()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(self.json.as_deref().expect("a report as JSON")).expect("JSON")
    }

    #[track_caller]
    fn notes(&self, expected: &str) {
        let markdown = self.markdown.as_deref().expect("a report as Markdown");
        assert!(markdown.contains(expected), "`{expected}` is not in:\n{markdown}");
    }
}

/// Arguments that name the sample's changes and, by any path, its log.
fn sample(log: &str) -> Vec<&str> {
    vec![log, "--changes", CHANGES[0], "--changes", CHANGES[1]]
}

#[track_caller]
fn sample_json(folder: &Folder, log: &str) {
    let answer = folder.run(&sample(log));
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    assert_eq!(answer.json.as_deref(), Some(GOLDEN), "{log}");
}

fn sample_log() -> String {
    std::fs::read_to_string(Path::new(CLONE).join(LOG)).expect("the sample is there")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn counts(outcomes: &Value, agent: &str) -> [u64; 5] {
    ["consumed", "expired", "discarded", "cancelled", "dead"]
        .map(|outcome| outcomes[agent][outcome].as_u64().expect("a count"))
}

/// Lines of one component that fails every second from second 0 of an hour.
fn failing(component: &str, lines: u32) -> String {
    (0..lines).map(|second| format!("2026-11-20T15:00:{second:02}Z ERROR {component}: it broke\n")).collect()
}

#[test]
fn the_sample_gives_the_same_json_every_time() {
    let folder = Folder::new("golden");
    (0..5).for_each(|_| sample_json(&folder, LOG));
    let answer = folder.run(&sample(LOG));
    assert!(answer.stdout.contains("3 incidents in 42 lines"), "{}", answer.stdout);
    assert!(answer.stdout.contains("parse        42 consumed"), "{}", answer.stdout);
    assert!(answer.stdout.contains(&folder.path("report.md")), "{}", answer.stdout);
}

#[test]
fn without_arguments_it_shows_the_sample_anywhere_and_writes_no_file() {
    let folder = Folder::new("bare");
    let output = program().current_dir(&folder.0).output().expect("the program starts");
    let answer = Answer::new(&folder, output);
    assert_eq!((answer.code, &*answer.stdout), (Some(0), SAMPLE), "{answer:#?}");
    assert_eq!(std::fs::read_dir(&folder.0).expect("the folder is there").count(), 0);
    let readme = std::fs::read_to_string(Path::new(CLONE).join("README.md")).expect("text");
    assert!(readme.contains(SAMPLE), "README.md shows something else");
}

#[test]
fn the_trace_of_a_small_log_is_the_golden_one() {
    let receiver = volery_otlp_receiver::Receiver::start();
    let folder = Folder::new("trace");
    let log = failing("api", 4) + "not a line of any log\n";
    let changes = "at,component,summary\n2026-11-20T14:59:00Z,api,v2\n";
    let answer = folder.run_on(log, Some(changes), &["--otlp", &receiver.http_endpoint()]);
    assert_eq!(answer.code, Some(0), "{answer:#?}");
    let spans = receiver.spans();
    volery_otlp_receiver::laws::assert_all(&spans);
    // Left out is what is there only if something took long, and the stop, whose steps depend on the signals'
    // set-up.
    let slow = ["wait ", "store.commit", "backoff", "read inputs", "make engine", "check outputs"];
    let left_out = [&slow[..], &["volery shutdown", "shutdown "]].concat();
    assert_eq!(volery_otlp_receiver::folded(&spans, &left_out), TRACE);
}

#[test]
fn order_line_ends_and_packing_of_the_log_do_not_matter() {
    let folder = Folder::new("variants");
    let log = sample_log();
    let lines: Vec<&str> = log.lines().collect();
    // 29 shares no factor with the number of lines, so every line comes once.
    let shuffled: Vec<&str> = (0..lines.len()).map(|index| lines[index * 29 % lines.len()]).collect();
    sample_json(&folder, &folder.file("shuffled.log", shuffled.join("\n")));
    sample_json(&folder, &folder.file("crlf.log", lines.join("\r\n")));
    sample_json(
        &folder,
        &folder.file("mixed.log", format!("{}\r{}\n", lines[..9].join("\n"), lines[9..].join("\r\n"))),
    );
    sample_json(&folder, &folder.file("packed.log.gz", gzip(log.as_bytes())));
}

#[test]
fn standard_input_is_a_log_too() {
    let folder = Folder::new("stdin");
    let mut child = folder.command(&sample("-")).stdin(Stdio::piped()).spawn().expect("the program starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(sample_log().as_bytes()).expect("the program reads");
    drop(input);
    let answer = Answer::new(&folder, child.wait_with_output().expect("the program ends"));
    assert_eq!((answer.code, answer.json.as_deref()), (Some(0), Some(GOLDEN)), "{answer:#?}");
}

#[test]
fn unusable_inputs_are_named_and_nothing_is_written() {
    let folder = Folder::new("unusable");
    let check = |arguments: &[&str], expected: &str| {
        let answer = folder.run(arguments);
        assert_eq!(answer.code, Some(2), "{arguments:?}: {answer:#?}");
        assert!(answer.stderr.contains(expected), "{arguments:?}: {}", answer.stderr);
        assert!(answer.json.is_none() && answer.markdown.is_none(), "{arguments:?}");
    };
    check(&["no/such.log"], "no/such.log: no such file");
    check(&["examples"], "examples: is a directory");
    check(&[LOG, "--changes", "no/such.csv"], "no/such.csv: no such file");
    check(&[&folder.file("a.xz", b"\xfd7zXZ\0rest")], "xz -dc");
    check(&[&folder.file("a.bin", [1_u8, 2, 3].repeat(99))], "binary data");
    check(&[LOG, "--window", "10"], "units");
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let folder = Folder::new("unwritable");
    let mut command = program();
    let missing = folder.path("no/such/folder.md");
    let log = folder.file("a.log", "");
    let output = command.args([&log, "--report", &missing]).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot be written"), "{stderr}");
}

#[test]
fn an_empty_log_is_an_empty_report() {
    let folder = Folder::new("empty");
    let answer = folder.run_on("", None, &[]);
    assert_eq!(answer.report()["incidents"].as_array().map(Vec::len), Some(0));
    answer.notes("is empty");
}

#[test]
fn invalid_utf8_is_shown_as_such_and_nul_bytes_go() {
    let folder = Folder::new("utf8");
    let mut log = failing("api", 3).into_bytes();
    log.extend(b"\0\0\0\n2026-11-20T15:00:09Z ERROR api: caf\xe9 broke\n");
    let answer = folder.run_on(log, None, &["--min-count", "1"]);
    assert_eq!(answer.report()["incidents"].as_array().map(Vec::len), Some(2), "{answer:#?}");
    answer.notes("1 line was not valid UTF-8");
    answer.notes("3 NUL bytes were dropped");
}

#[test]
fn a_line_of_100_megabytes_is_cut_and_the_others_are_read() {
    let folder = Folder::new("long");
    let mut log = failing("api", 3).into_bytes();
    log.resize(log.len() + 100_000_000, b'x');
    log.push(b'\n');
    log.extend(failing("billing", 4).into_bytes());
    let report = folder.run_on(log, None, &[]);
    report.notes("1 line was cut after 64 KiB");
    let report = report.report();
    assert_eq!((report["lines"].as_u64(), report["dead_letters"].as_u64()), (Some(8), Some(1)));
    assert_eq!(report["incidents"].as_array().map(Vec::len), Some(2));
}

#[test]
fn clock_jumps_split_incidents_and_disorder_does_not() {
    let folder = Folder::new("jumps");
    let mut lines: Vec<String> = failing("api", 4).lines().map(str::to_owned).collect();
    lines.swap(0, 3);
    for year in ["0001", "1970", "9999"] {
        lines.insert(1, format!("{year}-01-01T00:00:00Z ERROR api: it broke"));
    }
    let report = folder.run_on(
        lines.join("\n"),
        Some("at,component,summary\n9998-12-31T23:59:59Z,api,v9\n"),
        &["--min-count", "1"],
    );
    let report = report.report();
    let firsts: Vec<_> =
        report["incidents"].as_array().expect("a list").iter().map(|i| (&i["first"], &i["count"])).collect();
    assert_eq!(firsts.len(), 4, "{firsts:?}");
    assert_eq!(firsts[2], (&Value::from("2026-11-20T15:00:00Z"), &Value::from(4)));
    assert_eq!(report["incidents"][3]["suspects"][0]["seconds_before"], 1);
}

#[test]
fn damaged_gzip_gives_what_can_be_read_and_exit_code_1() {
    let folder = Folder::new("damaged");
    // Noise, so that a cut takes lines away and not only the checksum.
    let noise: String = (0..20_000_u64)
        .map(|n| format!("2026-11-20T15:00:00Z INFO api: {:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let packed = gzip((failing("api", 5) + &noise).as_bytes());
    let answer = folder.run_on(&packed[..packed.len() / 2], None, &[]);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    answer.notes("damaged gzip data after line");
    let report = answer.json();
    assert_eq!(report["incidents"][0]["count"], 5);
    assert!((5..20_005).contains(&report["lines"].as_u64().expect("a count")), "{report}");
}

#[test]
fn dead_letters_are_counted_by_cause_and_name_their_line() {
    let folder = Folder::new("dead");
    let answer = folder.run_on(
        failing("api", 1) + "\n  at Main.java:7\nhello\nworld\n{broken\n{\"a\":1}\n2026-13-01 00:00:00 x\n",
        None,
        &[],
    );
    let report = answer.report();
    assert_eq!(report["dead_letters"], 7);
    assert_eq!(counts(&report["outcomes"], "parse"), [1, 0, 0, 0, 7]);
    assert_eq!(counts(&report["outcomes"], "bury"), [7, 0, 0, 0, 0]);
    for cause in ["blank", "continuation", "bad\\_json", "no\\_stamp\\_field", "bad\\_stamp"] {
        answer.notes(&format!("1 line is a dead letter ({cause}), the first at "));
    }
    answer.notes("2 lines are dead letters (no\\_stamp), the first at ");
    answer.notes("input.log:4: no time stamp");
}

#[test]
fn suspects_lie_in_the_window_before_and_concern_the_component() {
    let folder = Folder::new("window");
    let changes = "at,component,summary\n\
        2026-11-20T14:49:59Z,api,too early\n\
        2026-11-20T14:50:00Z,api,first\n\
        2026-11-20T15:00:00Z,api,last\n\
        2026-11-20T15:00:01Z,api,too late\n\
        2026-11-20T14:59:00Z,apid,same join key\n\
        2026-11-20T14:59:00Z,billing,other\n\
        soon,api,unreadable\n";
    let answer = folder.run_on(failing("api", 3), Some(changes), &[]);
    let report = answer.report();
    let suspects = report["incidents"][0]["suspects"].as_array().expect("a list");
    let summaries: Vec<_> = suspects.iter().filter_map(|suspect| suspect["summary"].as_str()).collect();
    assert_eq!(summaries, ["last", "first"]);
    answer.notes("1 entry of ");
    answer.notes("changes.csv:8: ");
    // In the window of the join are: first, last, too late, same join key, and the incident itself.
    assert_eq!(counts(&report["outcomes"], "accuse"), [5, 2, 0, 0, 0], "{report:#}");
    let wider = folder.run_on(failing("api", 3), Some(changes), &["--window", "601s"]);
    assert_eq!(wider.report()["incidents"][0]["suspects"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_package_is_suspected_of_its_programs_errors() {
    let folder = Folder::new("package");
    let dpkg = "2026-11-20 14:59:30 upgrade openssh-server:amd64 1:9.1 1:9.2\n\
        2026-11-20 14:59:40 upgrade openssh-client:amd64 1:9.1 1:9.2\n";
    let answer = folder.run_on(failing("sshd", 3), Some(dpkg), &[]);
    let report = answer.report();
    let suspects = report["incidents"][0]["suspects"].as_array().expect("a list");
    assert_eq!(suspects.len(), 1, "{suspects:?}");
    assert_eq!(
        (&suspects[0]["component"], &suspects[0]["seconds_before"]),
        (&"openssh-server".into(), &30.into())
    );
}

#[test]
fn every_input_of_every_agent_has_one_outcome() {
    let folder = Folder::new("outcomes");
    let changes = "at,component,summary\n2026-11-20T14:59:00Z,api,v2\n2026-11-20T14:59:00Z,none,v2\n";
    let log = failing("api", 20) + &failing("billing", 30) + "hello\n2026-11-20T15:00:00Z INFO api: fine\n";
    let report = folder.run_on(log, Some(changes), &[]).report();
    let outcomes = &report["outcomes"];
    let sum = |agent: &str| counts(outcomes, agent).iter().sum::<u64>();
    let (incidents, suspects) = (2, 1);
    assert_eq!(sum("parse"), 52);
    assert_eq!(sum("classify"), counts(outcomes, "parse")[0]);
    assert_eq!(sum("bury"), counts(outcomes, "parse")[4]);
    assert_eq!((sum("fingerprint"), sum("gather")), (50, 50));
    assert_eq!(counts(outcomes, "accuse"), [2, incidents + 2 - 2, 0, 0, 0]);
    assert_eq!(counts(outcomes, "record"), [incidents + suspects, 0, 0, 0, 0]);
    assert!(outcomes.get("merge").is_none(), "the number of bursts depends on wall time");
}

/// A log as of a busy service: lines of all sorts, every hundredth without a stamp, every twentieth an error.
fn busy_log(lines: u64) -> String {
    let line = |n: u64| {
        let (hour, minute, second) = (n / 36_000 % 24, n / 600 % 60, n / 10 % 60);
        let at = format!("2026-11-20T{hour:02}:{minute:02}:{second:02}Z");
        let (component, number) =
            (["api", "billing", "auth", "search"][(n % 4) as usize], n * 7_919 % 10_007);
        match n {
            n if n % 100 == 7 => format!("\tat com.example.Main(Main.java:{number})\n"),
            n if n % 20 == 3 => {
                format!("{at} ERROR {component}: no answer from db{} after {number} ms\n", n % 9)
            }
            _ => format!("{at} INFO {component}: request {number} took {} ms\n", n % 977),
        }
    };
    (0..lines).map(line).collect()
}

/// Lines of the long log; a multiple of 100. Continuous integration reads more, so that its memory is held
/// against a log that would not fit.
fn lines_of_a_long_log() -> u64 {
    let text = std::env::var("VOLERY_TRIAGE_LINES").ok();
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    text.map_or(if in_ci { 200_000 } else { 20_000 }, |lines| lines.parse().expect("a number of lines"))
}

#[test]
fn a_long_log_runs_through_in_little_memory() {
    /// A log of 200,000 lines has 11 MB; held whole, with every artifact made from it, it would take several
    /// times this.
    const PEAK_KIB_MAX: u64 = 256 * 1_024;
    let lines = lines_of_a_long_log();
    let folder = Folder::new("busy");
    let log = folder.file("busy.log", busy_log(lines));
    let mut child = folder.command(&[&log]).spawn().expect("the program starts");
    let peak = peak_kib(&mut child);
    let answer = Answer::new(&folder, child.wait_with_output().expect("the program ends"));
    let report = answer.report();
    assert_eq!((report["lines"].as_u64(), report["dead_letters"].as_u64()), (Some(lines), Some(lines / 100)));
    let summed = report["incidents"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|i| i["count"].as_u64())
        .sum::<u64>();
    assert_eq!(summed, lines / 20, "{}", answer.stdout);
    if let Some(peak) = peak {
        writeln!(std::io::stderr(), "{lines} lines: peak {peak} KiB").expect("stderr");
        assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
    }
}

/// Watches a process until it ends; returns the most memory it was seen to have, where the system tells.
fn peak_kib(child: &mut Child) -> Option<u64> {
    let mut peak = None;
    while child.try_wait().expect("a child of ours").is_none() {
        // The mark never falls, so that the last one seen is the highest.
        peak = status(child, "VmHWM:").and_then(|text| text.split(' ').next()?.parse().ok()).or(peak);
        std::thread::yield_now();
    }
    peak
}

fn status(child: &Child, field: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(field)?.trim().to_owned()))
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let folder = Folder::new("full");
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let child = folder.command(&[]).stdout(full).spawn().expect("the program starts");
    let answer = child.wait_with_output().expect("the program ends");
    let stderr = String::from_utf8_lossy(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("standard output: the report cannot be written"), "{stderr}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_the_program_without_a_report() {
    /// The bit of SIGINT in the mask of caught signals.
    const SIGINT: u64 = 1 << 1;
    let folder = Folder::new("interrupt");
    let log = folder.file("busy.log", busy_log(200_000));
    let mut child = folder.command(&[&log]).spawn().expect("the program starts");
    let caught = |child: &Child| {
        let mask = status(child, "SigCgt:").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
        mask.is_some_and(|mask| mask & SIGINT != 0)
    };
    while !caught(&child) {
        assert!(child.try_wait().expect("a child of ours").is_none(), "it ended before it caught signals");
        std::thread::yield_now();
    }
    let kill = format!("kill -INT {}", child.id());
    let sent = Command::new("sh").args(["-c", &kill]).status().expect("a shell is there");
    assert!(sent.success());
    let answer = Answer::new(&folder, child.wait_with_output().expect("the program ends"));
    assert_eq!(answer.code, Some(130), "{answer:#?}");
    assert!(answer.stderr.contains("interrupted; no report was written"), "{answer:#?}");
    assert!(answer.json.is_none() && answer.markdown.is_none());
}

/// Artifacts in a store, as any tool would count them; 0 while the file is not there yet.
fn artifacts(store: &str) -> u64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let count = |store: rusqlite::Connection| {
        store.query_row("SELECT coalesce(max(seq), 0) FROM artifact", [], |row| row.get(0))
    };
    rusqlite::Connection::open_with_flags(store, flags).and_then(count).unwrap_or_default()
}

/// Starts the program, kills it once its store holds so many artifacts, and tells whether it had ended
/// before.
fn killed_at(folder: &Folder, arguments: &[&str], store: &str, artifacts_min: u64) -> bool {
    let mut child = folder.command(arguments).spawn().expect("the program starts");
    while artifacts(store) < artifacts_min {
        if child.try_wait().expect("a child of ours").is_some() {
            return false;
        }
        std::thread::yield_now();
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("it is dead").code().is_none()
}

#[test]
fn killed_at_any_moment_it_ends_with_the_same_json() {
    let folder = Folder::new("killed");
    let log = folder.file("busy.log", busy_log(1_500));
    let changes = folder.file("changes.csv", "at,component,summary\n2026-11-20T00:00:00Z,api,v2\n");
    let undisturbed = folder.run(&[&log, "--changes", &changes]).json.expect("a report");
    let (all, mut kills) = (folder.path("whole.db"), 0);
    let arguments = |store: &str| -> Vec<String> {
        [&log, "--changes", &changes, "--store", store].map(str::to_owned).to_vec()
    };
    let run = |store: &str| {
        let arguments = arguments(store);
        folder.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(run(&all).json.as_deref(), Some(&*undisturbed), "with a store, without a kill");
    let total = artifacts(&all);
    // A generator of its own, so that every run of the test kills at the same places.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..4 {
        let store = folder.path(&format!("{round}.db"));
        for _ in 0..3 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (arguments, at) = (arguments(&store), artifacts(&store) + 1 + (seed >> 33) % (total / 3));
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            kills += u32::from(killed_at(&folder, &arguments, &store, at));
        }
        drop(std::fs::remove_file(folder.path("report.json")));
        let answer = run(&store);
        assert_eq!(answer.code, Some(0), "{answer:#?}");
        assert_eq!(answer.json.as_deref(), Some(&*undisturbed), "round {round}");
    }
    assert!(kills >= 6, "only {kills} starts were killed while they worked");
}

#[test]
fn a_store_gives_the_golden_json_however_often_it_is_asked() {
    let folder = Folder::new("stored");
    let store = folder.path("triage.db");
    let mut arguments = sample(LOG);
    arguments.extend(["--store", &store]);
    for start in 0..3 {
        let answer = folder.run(&arguments);
        assert_eq!(
            (answer.code, answer.json.as_deref()),
            (Some(0), Some(GOLDEN)),
            "start {start}: {answer:#?}"
        );
    }
    let once = artifacts(&store);
    arguments.extend(["--min-count", "1"]);
    assert!(
        folder.run(&arguments).report()["incidents"].as_array().map(Vec::len) > Some(3),
        "another question"
    );
    assert!(artifacts(&store) > once, "is another session in the same file");
}
