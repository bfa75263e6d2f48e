//! Reads what changed from files of five forms, recognised by their first lines.
//!
//! * dpkg's log: `2026-11-20 14:51:34 install openssh-server:amd64 <none> 1:9.2`;
//! * apt's history: paragraphs of `Start-Date:`, `Install:`, `Upgrade:` ...;
//! * the output of `git log --date=iso`;
//! * a deployment file of JSON lines with the fields `at`, `component`, `summary`;
//! * a deployment file of CSV with that header.
//!
//! Lines that cannot be read are returned with their numbers, not dropped. Stamps without a zone are read as
//! UTC; stamps without a year are refused. Pure: no I/O, no clock.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::RawLine;
use super::stamp::{Stamp, leading, whole};
use super::{deploy_file, git_log, package_log};

/// Lines looked at to recognise the form of a file: comments and blank lines may come first.
const LINES_LOOKED_AT: usize = 50;

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Change {
    /// The input it came from.
    pub(crate) source: String,
    /// When, in microseconds since the Unix epoch.
    pub(crate) at: i64,
    /// The changed part: a component or a package, or `-`.
    pub(crate) component: String,
    /// How, in one line.
    pub(crate) summary: String,
    /// Whether the component is the name of a package.
    pub(crate) package: bool,
}

/// The forms of a change file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeForm {
    /// dpkg's log.
    Dpkg,
    /// apt's history.
    Apt,
    /// `git log --date=iso`.
    Git,
    /// Deployments, as JSON lines.
    DeployJson,
    /// Deployments, as CSV.
    DeployCsv,
}

/// A line of a change file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChangeError {
    /// The input.
    pub(crate) source: String,
    /// The number of the line, 0 for the file as a whole.
    pub(crate) line: u64,
    /// The expected form.
    pub(crate) cause: String,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.source, self.line, self.cause)
    }
}

/// The content of a change file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChangeFile {
    /// The form, where one was recognised.
    pub(crate) form: Option<ChangeForm>,
    /// The changes, in the order of the file.
    pub(crate) changes: Vec<Change>,
    /// The lines that could not be read.
    pub(crate) errors: Vec<ChangeError>,
}

impl ChangeFile {
    /// Adds a change.
    pub(crate) fn push(&mut self, line: &RawLine, at: i64, component: &str, summary: String, package: bool) {
        let change =
            Change { source: line.source.clone(), at, component: component.to_owned(), summary, package };
        self.changes.push(change);
    }

    /// Adds a line that could not be read.
    pub(crate) fn refuse(&mut self, line: &RawLine, cause: impl Into<String>) {
        self.errors.push(ChangeError { source: line.source.clone(), line: line.number, cause: cause.into() });
    }
}

/// Reads the lines of one change file; a file without lines has no changes and no errors.
pub(crate) fn read_changes(lines: &[RawLine]) -> ChangeFile {
    let Some(first) = lines.iter().find(|line| !line.text.trim().is_empty()) else {
        return ChangeFile::default();
    };
    let Some(form) = lines.iter().take(LINES_LOOKED_AT).find_map(|line| form_of(&line.text)) else {
        let mut file = ChangeFile::default();
        file.refuse(
            first,
            "unknown form of change file: expected dpkg.log, apt history, `git log --date=iso`, JSON lines or CSV with at, component, summary",
        );
        return file;
    };
    let mut file = match form {
        ChangeForm::Dpkg => package_log::read_dpkg(lines),
        ChangeForm::Apt => package_log::read_apt(lines),
        ChangeForm::Git => git_log::read(lines),
        ChangeForm::DeployJson => deploy_file::read_json_lines(lines),
        ChangeForm::DeployCsv => deploy_file::read_csv(lines),
    };
    file.form = Some(form);
    file
}

/// Reads a stamp that must be complete.
pub(crate) fn dated(text: &str) -> Result<i64, String> {
    match whole(text) {
        Ok(Stamp::Dated(at)) => Ok(at),
        Ok(Stamp::Undated(_)) => Err(format!("the time stamp `{text}` has no year")),
        Err(error) => Err(format!("{error} in `{text}`")),
    }
}

fn form_of(text: &str) -> Option<ChangeForm> {
    let line = text.trim();
    if line.starts_with('{') {
        return Some(ChangeForm::DeployJson);
    }
    if line.starts_with("Start-Date:") {
        return Some(ChangeForm::Apt);
    }
    if git_log::commit_of(line).is_some() {
        return Some(ChangeForm::Git);
    }
    if deploy_file::Columns::from_header(line).is_some() {
        return Some(ChangeForm::DeployCsv);
    }
    let found = leading(line).ok()?;
    package_log::is_dpkg_entry(found.rest).then_some(ChangeForm::Dpkg)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Lines of a file named `f`.
    pub(crate) fn lines(text: &str) -> Vec<RawLine> {
        let line = |(number, text): (u64, &str)| RawLine {
            source: "f".into(),
            number,
            text: text.into(),
            truncated: false,
            lossy: false,
        };
        (1..).zip(text.lines()).map(line).collect()
    }

    #[test]
    fn every_form_is_recognised() {
        let check = |text, form| assert_eq!(read_changes(&lines(text)).form, form, "{text}");
        check("2026-11-20 14:51:33 startup archives unpack", Some(ChangeForm::Dpkg));
        check("\nStart-Date: 2026-11-20  14:51:33", Some(ChangeForm::Apt));
        check("commit 0123456789abcdef0123456789abcdef01234567", Some(ChangeForm::Git));
        check("{\"at\": 1}", Some(ChangeForm::DeployJson));
        check("# deployments\nat,component,summary", Some(ChangeForm::DeployCsv));
        check("", None);
    }

    #[test]
    fn an_unknown_form_is_an_error_and_an_empty_file_is_none() {
        assert_eq!(read_changes(&lines("hello\nworld")).errors.len(), 1);
        assert_eq!(read_changes(&lines("\n\n")), ChangeFile::default());
    }
}
