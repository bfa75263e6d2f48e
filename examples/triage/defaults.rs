//! Chooses the inputs: those named, else what the machine has, else the sample that ships with the example.
//!
//! The machine's package log serves as log and as file of changes, apt's history as file of changes. Looks at files,
//! but reads no lines.

use std::fs::File;
use std::path::Path;

use super::options::Options;
use super::source::{Input, Place};

const MACHINE_LOGS: [&str; 1] = ["var/log/dpkg.log"];
const MACHINE_CHANGES: [&str; 2] = ["var/log/dpkg.log", "var/log/apt/history.log"];
const SAMPLE_LOGS: [&str; 1] = ["examples/data/auth.log"];
const SAMPLE_CHANGES: [&str; 2] = ["examples/data/dpkg.log", "examples/data/history.log"];

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// The logs.
    pub(crate) logs: Vec<Input>,
    /// The files of changes.
    pub(crate) changes: Vec<Input>,
    /// Where inputs that nobody named come from.
    pub(crate) note: Option<String>,
}

/// Chooses the inputs of this run.
pub(crate) fn inputs(options: &Options) -> Inputs {
    if options.logs.is_empty() && options.changes.is_empty() {
        return unnamed(Path::new("/"), Path::new(env!("CARGO_MANIFEST_DIR")));
    }
    let named = |names: &[String]| names.iter().map(|name| Input::from_argument(name)).collect();
    Inputs { logs: named(&options.logs), changes: named(&options.changes), note: None }
}

/// Chooses between the machine and the sample; both folders are parameters for the tests.
fn unnamed(machine: &Path, package: &Path) -> Inputs {
    let below = |folder: &Path, names: &[&str]| -> Vec<Input> {
        let shown = if folder == machine { "/" } else { "" };
        names
            .iter()
            .map(|name| Input { name: format!("{shown}{name}"), place: Place::File(folder.join(name)) })
            .filter(has_content)
            .collect()
    };
    let (logs, changes) = (below(machine, &MACHINE_LOGS), below(machine, &MACHINE_CHANGES));
    if !logs.is_empty() {
        let note = "no input was named: read the package log and the apt history of this machine".to_owned();
        return Inputs { logs, changes, note: Some(note) };
    }
    let note = "no input was named and this machine has no package log: read the sample in examples/data; \
                its README.md says where it comes from";
    let (logs, changes) = (below(package, &SAMPLE_LOGS), below(package, &SAMPLE_CHANGES));
    Inputs { logs, changes, note: Some(note.to_owned()) }
}

/// Whether a file can be opened and is not empty: logs are empty right after their rotation.
fn has_content(input: &Input) -> bool {
    match &input.place {
        Place::Stdin => true,
        Place::File(path) => File::open(path)
            .and_then(|file| file.metadata())
            .is_ok_and(|found| found.is_file() && found.len() > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &[Input]) -> Vec<&str> {
        inputs.iter().map(|input| input.name.as_str()).collect()
    }

    #[test]
    fn named_inputs_are_taken_as_they_are() {
        let options = Options::read(["triage", "--log", "a", "--log", "-"]).expect("valid");
        let chosen = inputs(&options);
        assert_eq!(names(&chosen.logs), ["a", "-"]);
        assert_eq!(chosen.logs[1].place, Place::Stdin);
        assert!(chosen.changes.is_empty() && chosen.note.is_none());
    }

    #[test]
    fn the_machine_comes_before_the_sample() {
        let folder = std::env::temp_dir().join(format!("triage-defaults-{}", std::process::id()));
        let log = folder.join("var/log/dpkg.log");
        std::fs::create_dir_all(folder.join("var/log")).expect("a folder");
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));

        std::fs::write(&log, "").expect("a file");
        let sample = unnamed(&folder, package);
        assert_eq!(names(&sample.logs), SAMPLE_LOGS);
        assert_eq!(names(&sample.changes), SAMPLE_CHANGES);
        assert!(sample.note.is_some_and(|note| note.contains("sample")));

        std::fs::write(&log, "2026-11-20 14:51:33 startup archives unpack\n").expect("a file");
        let machine = unnamed(&folder, package);
        assert_eq!(names(&machine.logs), ["/var/log/dpkg.log"]);
        assert_eq!(names(&machine.changes), ["/var/log/dpkg.log"]);
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
