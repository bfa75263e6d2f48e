//! The arguments of the program, checked as far as that needs no look at a file.
//!
//! Does not decide what to read when no input is named: see `inputs.rs`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::stamp::MICROS_PER_SECOND;

/// Finds incidents in logs, and the changes just before each
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "triage", about)]
pub(crate) struct Options {
    /// Logs to read, plain or gzip; `-` is standard input; without any, the sample of the example
    #[arg(value_name = "FILE")]
    pub(crate) logs: Vec<String>,

    /// Read the logs of this machine, and as changes those of its packages
    #[arg(long, conflicts_with_all = ["logs", "changes"])]
    pub(crate) here: bool,

    /// A file of changes: dpkg.log, apt's history.log, `git log --date=iso`, or deployments as CSV or JSON
    /// lines
    #[arg(long = "changes", value_name = "FILE")]
    pub(crate) changes: Vec<String>,

    /// How long before an incident a change is a suspect, such as 90s, 10m, 2h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = micros)]
    pub(crate) window: i64,

    /// How far apart the lines of one incident may be
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = micros)]
    pub(crate) gap: i64,

    /// How many lines make an incident
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) min_count: u64,

    /// The year of the first stamp without one; else the latest year found in the inputs
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i16).range(1..=9999))]
    pub(crate) year: Option<i16>,

    /// Where intermediate results are kept: `memory`, or a file, and then the same command goes on where an
    /// earlier one was cut off
    #[arg(long, value_name = "memory|FILE", default_value = "memory", value_parser = store)]
    pub(crate) store: Store,

    /// Send the run's trace and metrics over OTLP, to a receiver for HTTP such as http://localhost:4318;
    /// needs a build with the feature `otlp`
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) otlp: Option<String>,

    /// Write the report as Markdown
    #[arg(long, value_name = "FILE.md")]
    pub(crate) report: Option<PathBuf>,

    /// Write the report as JSON
    #[arg(long, value_name = "FILE.json")]
    pub(crate) json: Option<PathBuf>,
}

/// The places for intermediate results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// The memory of the process.
    Memory,
    /// A file.
    File(PathBuf),
}

impl Store {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Memory => None,
            Self::File(path) => Some(path),
        }
    }
}

impl Options {
    /// Reads the arguments; the first is the name of the program.
    ///
    /// # Errors
    /// As clap words them, `--help` included; and for an input named twice, changes without a log, and an
    /// output that would overwrite an input or the other output.
    pub(crate) fn read<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let options = Self::try_parse_from(arguments)?;
        options.check().map_err(|message| Self::command().error(ErrorKind::ArgumentConflict, message))?;
        Ok(options)
    }

    fn check(&self) -> Result<(), String> {
        if self.logs.is_empty() && !self.changes.is_empty() {
            return Err("--changes without a log: name the one to look for incidents in".to_owned());
        }
        for names in [&self.logs, &self.changes] {
            let mut seen = BTreeSet::new();
            if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
                return Err(format!("the input `{name}` is given twice"));
            }
        }
        if [&self.logs, &self.changes].into_iter().all(|names| names.iter().any(|name| name == "-")) {
            return Err("standard input can be a log or a file of changes, not both".to_owned());
        }
        let outputs: Vec<&Path> =
            [&self.report, &self.json].into_iter().flatten().map(PathBuf::as_path).collect();
        if let [report, json] = outputs[..]
            && report == json
        {
            return Err(format!("--report and --json both name {}", json.display()));
        }
        let mut others = self.logs.iter().chain(&self.changes).map(Path::new).chain(outputs.iter().copied());
        if let Some(path) = others.find(|path| self.store.path() == Some(path)) {
            return Err(format!("the store {} is an input or an output as well", path.display()));
        }
        let mut inputs = self.logs.iter().chain(&self.changes);
        match inputs.find(|name| outputs.contains(&Path::new(name.as_str()))) {
            Some(name) => Err(format!("the output {name} would overwrite an input")),
            None => Ok(()),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what clap calls gives a result")]
fn store(text: &str) -> Result<Store, String> {
    Ok(if text == "memory" { Store::Memory } else { Store::File(PathBuf::from(text)) })
}

/// Reads `90s`, `10m`, `2h`, `1d` or `500ms` as microseconds.
fn micros(text: &str) -> Result<i64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => MICROS_PER_SECOND / 1_000,
        "s" => MICROS_PER_SECOND,
        "m" => 60 * MICROS_PER_SECOND,
        "h" => 3_600 * MICROS_PER_SECOND,
        "d" => 86_400 * MICROS_PER_SECOND,
        _ => {
            return Err(
                "expected a whole number with one of the units ms, s, m, h, d, such as 10m".to_owned()
            );
        }
    };
    let number: i64 =
        number.parse().map_err(|_| "expected a whole number before the unit, such as 10m".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "the time is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &str) -> Result<Options, String> {
        Options::read(["triage"].into_iter().chain(arguments.split_whitespace()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let options = read("").expect("valid");
        let minute = 60 * MICROS_PER_SECOND;
        assert_eq!((options.window, options.gap, options.min_count), (10 * minute, 2 * minute, 3));
        assert_eq!((options.store, options.year), (Store::Memory, None));
    }

    #[test]
    fn every_option_is_read() {
        let options = read(
            "a - --changes c --window 90s --gap 500ms --min-count 1 --year 2025 --store memory --report r.md --json r.json",
        )
        .expect("valid");
        assert_eq!(options.logs, ["a", "-"]);
        assert_eq!((options.window, options.gap), (90 * MICROS_PER_SECOND, 500_000));
        assert_eq!((options.year, options.store), (Some(2025), Store::Memory));
        assert_eq!(read("--store a.db").map(|options| options.store), Ok(Store::File("a.db".into())));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let check = |arguments: &str, expected: &str| {
            let error = read(arguments).expect_err(arguments);
            assert!(error.contains(expected), "{arguments}: {error}");
        };
        check("--window 10", "units ms, s, m, h, d");
        check("--gap m", "whole number before the unit");
        check("--gap 99999999999999999d", "too long");
        check("--gap -5m", "-5");
        check("--min-count 0", "0");
        check("--year 0", "0");
        check("a --store a", "the store a is an input");
        check("a --store j --json j", "an output as well");
        check("--changes c", "without a log");
        check("a a", "twice");
        check("- --changes -", "not both");
        check("a --json x --report x", "both name x");
        check("a --json a", "overwrite");
        check("--here a", "--here");
        check("--here --changes c", "--here");
        check("--frobnicate", "--frobnicate");
    }
}
