//! A trace of system calls, as `strace` writes it, read as what happened to the files of a store and what was
//! acknowledged.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::service::Ack;

/// The options of `strace`: every call that changes a file or waits for the disk, all text as hexadecimal
/// numbers, paths beside descriptors.
pub(crate) fn command(trace: &Path) -> Vec<String> {
    let calls = "trace=openat,pwrite64,pwritev,write,writev,ftruncate,fallocate,fsync,fdatasync,rename,renameat2,unlink";
    let trace = trace.display().to_string();
    ["strace", "--seccomp-bpf", "-f", "-y", "-xx", "-s", "1048576", "-o", &trace, "-e", calls]
        .map(str::to_owned)
        .to_vec()
}

/// One thing that happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A file is there, if it was not.
    Opened(PathBuf),
    Written {
        path: PathBuf,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncated {
        path: PathBuf,
        length: u64,
    },
    /// All earlier writes to the file are on disk.
    Synced(PathBuf),
    /// The system said that what was written to the file since the last sync may not be on disk.
    SyncFailed(PathBuf),
    Removed(PathBuf),
    Acknowledged(Ack),
}

/// Reads a trace. Files outside of the folder are left out, as is the index of the log, which SQLite never
/// waits for.
pub(crate) fn read(trace: &Path, folder: &Path) -> Vec<Step> {
    let lines = BufReader::new(std::fs::File::open(trace).expect("strace wrote it")).lines();
    let mut steps = Vec::new();
    // Syncs that have begun, by thread: they count when they end.
    let mut syncing: Vec<(String, PathBuf)> = Vec::new();
    for line in lines.map(|line| line.expect("it is text")) {
        let (thread, call) = line.split_once(' ').expect("each line begins with its thread");
        let call = call.trim_start();
        if call.starts_with("<... fsync resumed>") || call.starts_with("<... fdatasync resumed>") {
            let ended = syncing.iter().position(|(other, _)| other == thread);
            steps.extend(ended.map(|index| synced(call, syncing.swap_remove(index).1)));
            continue;
        }
        let Some((name, arguments)) = call.split_once('(') else { continue };
        let is_whole = !arguments.ends_with("<unfinished ...>");
        match step(name, arguments, folder) {
            Some(Step::Synced(path)) if !is_whole => syncing.push((thread.to_owned(), path)),
            Some(step) => steps.push(step),
            None => {}
        }
    }
    steps
}

fn step(name: &str, arguments: &str, folder: &Path) -> Option<Step> {
    let ours = |path: &Path| path.starts_with(folder) && !path.to_string_lossy().ends_with("-shm");
    let by_descriptor = || Some(descriptor(arguments)?).filter(|path| ours(path));
    match name {
        "write" if arguments.starts_with("1<") => {
            let said = String::from_utf8(quoted(arguments)?).ok()?;
            Some(Step::Acknowledged(Ack::read(said.strip_prefix('@')?.strip_suffix('\n')?)?))
        }
        "openat" => {
            let path = PathBuf::from(String::from_utf8(quoted(arguments)?).ok()?);
            (ours(&path) && arguments.contains("O_CREAT")).then_some(Step::Opened(path))
        }
        "pwrite64" => {
            let (path, bytes) = (by_descriptor()?, quoted(arguments)?);
            let (_, numbers) = arguments.rsplit_once('"')?;
            let at = number(numbers.split(',').nth(2)?)?;
            Some(Step::Written { path, at, bytes })
        }
        "ftruncate" => {
            let path = by_descriptor()?;
            Some(Step::Truncated { path, length: number(arguments.split(',').nth(1)?)? })
        }
        "fsync" | "fdatasync" => Some(synced(arguments, by_descriptor()?)),
        "unlink" => {
            let path = PathBuf::from(String::from_utf8(quoted(arguments)?).ok()?);
            ours(&path).then_some(Step::Removed(path))
        }
        // The store does none of these to its files; should it ever, the model of the disk has to learn them.
        _ => {
            let path = by_descriptor()?;
            let is_lock = path.extension().is_some_and(|extension| extension == "lock");
            assert!(is_lock, "{name} on {}", path.display());
            None
        }
    }
}

/// The end of a sync. A sync that goes on in a later line ends there.
fn synced(call: &str, path: PathBuf) -> Step {
    if call.contains("= -1 ") { Step::SyncFailed(path) } else { Step::Synced(path) }
}

/// The path of a call's first argument, `5<path>`.
fn descriptor(arguments: &str) -> Option<PathBuf> {
    let (_, rest) = arguments.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    Some(PathBuf::from(String::from_utf8(bytes(path)?).ok()?))
}

/// The first text in quotes.
fn quoted(arguments: &str) -> Option<Vec<u8>> {
    let (_, rest) = arguments.split_once('"')?;
    let (text, after) = rest.split_once('"')?;
    assert!(!after.starts_with("..."), "strace cut a text short");
    bytes(text)
}

/// Bytes from `\x61\x62`; `None` for anything else.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut found = Vec::with_capacity(text.len() / 4);
    for byte in text.as_bytes().chunks(4) {
        let digits = std::str::from_utf8(byte.strip_prefix(b"\\x")?).ok()?;
        found.push(u8::from_str_radix(digits, 16).ok()?);
    }
    Some(found)
}

fn number(text: &str) -> Option<u64> {
    let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[test]
fn a_trace_is_read_as_what_happened() {
    let folder = PathBuf::from("/d");
    let step = |line: &str| {
        let (name, arguments) = line.split_once('(').expect("a call");
        step(name, arguments, &folder)
    };
    let path = PathBuf::from("/d/a");
    let written = Step::Written { path: path.clone(), at: 4_096, bytes: b"ab".to_vec() };
    assert_eq!(step(r#"pwrite64(5<\x2f\x64\x2f\x61>, "\x61\x62", 2, 4096) = 2"#), Some(written));
    let elsewhere = r#"pwrite64(5<\x2f\x65\x2f\x61>, "\x61\x62", 2, 4096) = 2"#;
    assert_eq!(step(elsewhere), None, "another folder");
    let truncated = Step::Truncated { path: path.clone(), length: 7 };
    assert_eq!(step(r"ftruncate(5<\x2f\x64\x2f\x61>, 7) = 0"), Some(truncated));
    assert_eq!(step(r"fdatasync(5<\x2f\x64\x2f\x61> <unfinished ...>"), Some(Step::Synced(path.clone())));
    let failed = r"fdatasync(5<\x2f\x64\x2f\x61>) = -1 EIO (Input/output error) (INJECTED)";
    assert_eq!(step(failed), Some(Step::SyncFailed(path)));
}
