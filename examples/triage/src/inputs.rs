//! Chooses the inputs: those named, else with `--here` what the machine has, else the sample that ships with
//! the example.
//!
//! The machine's package log serves as log and as file of changes, apt's history as file of changes. Looks at
//! files, but reads no lines.

use std::fs::File;
use std::io;
use std::path::Path;

use super::options::Options;
use super::source::{Input, Place};
use super::trouble::Trouble;

/// The logs that Linux systems write as text, and the package log, which may name failures of its own.
const MACHINE_LOGS: [&str; 5] =
    ["var/log/syslog", "var/log/messages", "var/log/auth.log", "var/log/secure", "var/log/dpkg.log"];
const MACHINE_CHANGES: [&str; 2] = ["var/log/dpkg.log", "var/log/apt/history.log"];
const SAMPLE_LOGS: [&str; 1] = ["examples/data/auth.log"];
const SAMPLE_CHANGES: [&str; 2] = ["examples/data/dpkg.log", "examples/data/history.log"];

/// The folder that the names of the sample start from.
const CLONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The inputs of a start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// The logs.
    pub(crate) logs: Vec<Input>,
    /// The files of changes.
    pub(crate) changes: Vec<Input>,
    /// Where inputs that nobody named come from, and what of the machine cannot be read.
    pub(crate) notes: Vec<String>,
}

/// Chooses the inputs of this start.
///
/// # Errors
/// With `--here` where the machine has no log that can be read.
pub(crate) fn chosen(options: &Options) -> Result<Inputs, Trouble> {
    if options.here {
        return of_machine(Path::new("/"));
    }
    if options.logs.is_empty() {
        return Ok(sample());
    }
    let named = |names: &[String]| names.iter().map(|name| Input::from_argument(name)).collect();
    Ok(Inputs { logs: named(&options.logs), changes: named(&options.changes), notes: Vec::new() })
}

fn sample() -> Inputs {
    let below = |names: &[&str]| {
        let input =
            |name: &&str| Input { name: (*name).to_owned(), place: Place::File(Path::new(CLONE).join(name)) };
        names.iter().map(input).collect()
    };
    let note = "this is the sample in examples/data; name a FILE to read a log of yours, or --here for those of this machine";
    Inputs { logs: below(&SAMPLE_LOGS), changes: below(&SAMPLE_CHANGES), notes: vec![note.to_owned()] }
}

/// Looks for the logs of a machine; its root folder is a parameter for the tests.
fn of_machine(root: &Path) -> Result<Inputs, Trouble> {
    let mut notes = Vec::new();
    let mut below = |names: &[&str]| -> Vec<Input> {
        let mut found = Vec::new();
        for name in names {
            let path = root.join(name);
            let shown = path.display().to_string();
            match has_content(&path) {
                Ok(true) => found.push(Input { name: shown, place: Place::File(path) }),
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    notes.push(format!("{shown}: {error}"))
                }
                Ok(false) | Err(_) => {}
            }
        }
        found
    };
    let (logs, changes) = (below(&MACHINE_LOGS), below(&MACHINE_CHANGES));
    if logs.is_empty() {
        return Err(Trouble::NoLog(notes));
    }
    notes.push(format!("logs: {}; changes: {}", listed(&logs), listed(&changes)));
    Ok(Inputs { logs, changes, notes })
}

fn listed(inputs: &[Input]) -> String {
    inputs.iter().map(|input| &*input.name).collect::<Vec<_>>().join(", ")
}

/// Tells whether a file has something to read: logs are empty right after their rotation.
fn has_content(path: &Path) -> io::Result<bool> {
    let found = File::open(path)?.metadata()?;
    Ok(found.is_file() && found.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &[Input]) -> Vec<&str> {
        inputs.iter().map(|input| input.name.as_str()).collect()
    }

    fn with(arguments: &[&str]) -> Inputs {
        let options = Options::read([&["triage"], arguments].concat()).expect("valid");
        chosen(&options).expect("there are inputs")
    }

    #[test]
    fn named_inputs_are_taken_as_they_are() {
        let chosen = with(&["a", "-"]);
        assert_eq!(names(&chosen.logs), ["a", "-"]);
        assert_eq!(chosen.logs[1].place, Place::Stdin);
        assert!(chosen.changes.is_empty() && chosen.notes.is_empty());
    }

    #[test]
    fn without_names_it_is_the_sample() {
        let chosen = with(&[]);
        assert_eq!(
            (names(&chosen.logs), names(&chosen.changes)),
            (SAMPLE_LOGS.to_vec(), SAMPLE_CHANGES.to_vec())
        );
        assert!(chosen.notes[0].contains("sample"), "{:?}", chosen.notes);
    }

    #[test]
    fn of_a_machine_those_logs_are_taken_that_have_something_to_read() {
        let folder = std::env::temp_dir().join(format!("triage-inputs-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("var/log/messages")).expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
        write("var/log/dpkg.log", "");
        assert!(
            matches!(of_machine(&folder), Err(Trouble::NoLog(_))),
            "an empty log, and a folder for a log"
        );

        write("var/log/dpkg.log", "2026-11-20 14:51:33 startup archives unpack\n");
        write("var/log/auth.log", "Nov 20 14:51:54 host sshd[1]: error: x\n");
        let machine = of_machine(&folder).expect("it has logs");
        let shown = |name: &str| folder.join(name).display().to_string();
        let (auth, dpkg) = (shown("var/log/auth.log"), shown("var/log/dpkg.log"));
        assert_eq!(names(&machine.logs), [&auth, &dpkg]);
        assert_eq!(names(&machine.changes), [&dpkg]);
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
