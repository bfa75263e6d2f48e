//! Reads the output of `git log --date=iso` as changes.
//!
//! A commit is a change at its date (`CommitDate:` where `--format=fuller` shows it). Its component is the
//! scope of a conventional subject (`fix(api): ...`), else the word before the first colon (`api: ...`)
//! unless that is a conventional type, else `-`. Authors are not kept. Pure: no I/O, no clock.

use super::changes::{ChangeFile, dated};
use super::component::{NO_COMPONENT, is_name};
use super::source::RawLine;

const TYPES: [&str; 12] =
    ["build", "chore", "ci", "docs", "feat", "fix", "perf", "refactor", "revert", "style", "test", "merge"];

/// Digits of a commit's id in its summary; git itself shows at least seven.
const ID_LENGTH: usize = 12;

/// Returns the id of a line that starts a commit.
pub(crate) fn commit_of(text: &str) -> Option<&str> {
    let id = text.strip_prefix("commit ")?.split(' ').next()?;
    (id.len() >= 7 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Reads the commits of a log.
pub(crate) fn read(lines: &[RawLine]) -> ChangeFile {
    let mut file = ChangeFile::default();
    let mut open: Option<Commit<'_>> = None;
    for line in lines {
        if let Some(id) = commit_of(&line.text) {
            close(&mut file, open.take());
            open = Some(Commit { line, id, at: None, subject: None });
            continue;
        }
        match &mut open {
            Some(commit) => {
                if let Err(cause) = commit.take(&line.text) {
                    file.refuse(line, cause);
                }
            }
            None if line.text.trim().is_empty() => {}
            None => file.refuse(line, "expected `commit` and its id"),
        }
    }
    close(&mut file, open);
    file
}

struct Commit<'a> {
    line: &'a RawLine,
    id: &'a str,
    at: Option<i64>,
    subject: Option<&'a str>,
}

impl<'a> Commit<'a> {
    fn take(&mut self, text: &'a str) -> Result<(), String> {
        if let Some(message) = text.strip_prefix("    ") {
            self.subject = self.subject.or(Some(message.trim()).filter(|subject| !subject.is_empty()));
            return Ok(());
        }
        let date = ["Date:", "CommitDate:", "AuthorDate:"].iter().find_map(|name| text.strip_prefix(name));
        match date {
            Some(date) => {
                self.at = Some(dated(date.trim())?);
                Ok(())
            }
            // Other headers, and the file lists of `--stat` and `--name-only`.
            None => Ok(()),
        }
    }
}

fn close(file: &mut ChangeFile, commit: Option<Commit<'_>>) {
    let Some(Commit { line, id, at, subject }) = commit else { return };
    let Some(at) = at else {
        return file.refuse(line, "a commit without a readable `Date:`; use `git log --date=iso`");
    };
    let subject = subject.unwrap_or("(no subject)");
    let summary = format!("{} {subject}", &id[..id.len().min(ID_LENGTH)]);
    file.push(line, at, component_of(subject), summary, false);
}

fn component_of(subject: &str) -> &str {
    let Some((head, _)) = subject.split_once(": ") else { return NO_COMPONENT };
    let head = head.trim_end_matches('!');
    if let Some((_, scope)) = head.strip_suffix(')').and_then(|head| head.split_once('(')) {
        return if is_name(scope) { scope } else { NO_COMPONENT };
    }
    let conventional = TYPES.iter().any(|name| name.eq_ignore_ascii_case(head));
    if conventional || !is_name(head) { NO_COMPONENT } else { head }
}

#[cfg(test)]
mod tests {
    use super::super::changes::read_changes;
    use super::super::changes::tests::lines;
    use super::super::stamp::render;
    use super::*;

    #[test]
    fn commits_are_changes_of_their_scope() {
        let text = "commit 0123456789abcdef0123456789abcdef01234567 (HEAD -> main)
Author: Somebody <somebody@example.com>
Date:   2026-11-20 15:50:00 +0100

    fix(api): answer again

    Date: not a header

 src/a.rs | 2 +-

commit 1123456789abcdef0123456789abcdef01234567
Merge: 0123456 1123456
AuthorDate: 2026-11-19 00:00:00 +0000
CommitDate: 2026-11-20 00:00:00 +0000

    Tidy up
commit 2123456789abcdef0123456789abcdef01234567
Date:   yesterday

    x";
        let file = read_changes(&lines(text));
        let changes: Vec<_> =
            file.changes.iter().map(|c| (render(c.at), c.component.as_str(), c.summary.as_str())).collect();
        assert_eq!(
            changes,
            [
                ("2026-11-20T14:50:00Z".into(), "api", "0123456789ab fix(api): answer again"),
                ("2026-11-20T00:00:00Z".into(), "-", "1123456789ab Tidy up"),
            ]
        );
        assert_eq!(file.errors.iter().map(|error| error.line).collect::<Vec<_>>(), [18, 17]);
    }

    #[test]
    fn the_component_is_scope_or_prefix() {
        let check = |subject, expected| assert_eq!(component_of(subject), expected, "{subject}");
        check("feat(bus)!: x", "bus");
        check("fix: x", "-");
        check("bus: x", "bus");
        check("Revert \"fix: x\"", "-");
        check("plain subject", "-");
    }
}
