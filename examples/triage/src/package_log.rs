//! Reads dpkg's log and apt's history as changes of packages.
//!
//! Of dpkg's log `install`, `upgrade`, `remove` and `purge` are changes; `status`, `configure`, `trigproc`,
//! `conffile`, `startup` and `disappear` lines are steps of them. Of apt's history every package of every
//! action is a change at the start of its paragraph. The architecture is not part of a package's name. Both
//! logs are written in the machine's local time, which is read as UTC. Pure: no I/O, no clock.

use super::changes::{ChangeFile, dated};
use super::source::RawLine;
use super::stamp::{Stamp, leading};

const DPKG_CHANGES: [&str; 4] = ["install", "upgrade", "remove", "purge"];
const DPKG_STEPS: [&str; 6] = ["status", "configure", "trigproc", "conffile", "startup", "disappear"];
const APT_ACTIONS: [&str; 6] = ["Install", "Reinstall", "Upgrade", "Downgrade", "Remove", "Purge"];
const APT_OTHER_FIELDS: [&str; 5] = ["Commandline", "Requested-By", "End-Date", "Error", "Comment"];

/// Tells whether the rest of a stamped line is an entry of dpkg's log.
pub(crate) fn is_dpkg_entry(rest: &str) -> bool {
    let action = rest.split_whitespace().next().unwrap_or_default();
    DPKG_CHANGES.contains(&action) || DPKG_STEPS.contains(&action)
}

/// Reads dpkg's log.
pub(crate) fn read_dpkg(lines: &[RawLine]) -> ChangeFile {
    let mut file = ChangeFile::default();
    for line in lines.iter().filter(|line| !line.text.trim().is_empty()) {
        match dpkg_entry(&line.text) {
            Ok(None) => {}
            Ok(Some((at, package, summary))) => file.push(line, at, package, summary, true),
            Err(cause) => file.refuse(line, cause),
        }
    }
    file
}

/// Reads apt's history.
pub(crate) fn read_apt(lines: &[RawLine]) -> ChangeFile {
    let mut file = ChangeFile::default();
    let mut start = None;
    for line in lines {
        let text = line.text.trim();
        if text.is_empty() {
            start = None;
            continue;
        }
        let Some((field, value)) = text.split_once(':') else {
            file.refuse(line, "expected a field of apt's history, such as `Install: ...`");
            continue;
        };
        if field == "Start-Date" {
            match dated(value.trim()) {
                Ok(at) => start = Some(at),
                Err(cause) => file.refuse(line, cause),
            }
        } else if APT_ACTIONS.contains(&field) {
            match start {
                Some(at) => read_apt_action(&mut file, line, at, &field.to_lowercase(), value),
                None => file.refuse(line, "packages without a Start-Date before them"),
            }
        } else if !APT_OTHER_FIELDS.contains(&field) {
            file.refuse(line, format!("unknown field `{field}` of apt's history"));
        }
    }
    file
}

/// A change as time, package and summary; `None` for a step of one.
fn dpkg_entry(text: &str) -> Result<Option<(i64, &str, String)>, String> {
    let found = leading(text.trim()).map_err(|error| error.to_string())?;
    let Stamp::Dated(at) = found.stamp else {
        return Err("the time stamp has no year".to_owned());
    };
    let mut words = found.rest.split_whitespace();
    let action = words.next().unwrap_or_default();
    if DPKG_STEPS.contains(&action) {
        return Ok(None);
    }
    if !DPKG_CHANGES.contains(&action) {
        return Err(format!("`{action}` is no action of dpkg"));
    }
    match (words.next(), words.next(), words.next()) {
        (Some(package), Some(old), Some(new)) => {
            let package = without_architecture(package);
            Ok(Some((at, package, summary(action, package, old, new))))
        }
        _ => Err(format!("expected a package and two versions after `{action}`")),
    }
}

/// `name:amd64 (old, new), name:amd64 (version, automatic)`.
fn read_apt_action(file: &mut ChangeFile, line: &RawLine, at: i64, action: &str, value: &str) {
    for entry in value.split("),").map(str::trim) {
        let Some((package, versions)) = entry.split_once(" (") else {
            let cut = if line.truncated {
                "the line is longer than what is kept; its end is missing: "
            } else {
                ""
            };
            file.refuse(line, format!("{cut}expected `package (version)`, found `{}`", shortened(entry)));
            continue;
        };
        let package = without_architecture(package);
        let mut versions = versions.trim_end_matches(')').split(", ").filter(|word| *word != "automatic");
        let (first, second) = (versions.next().unwrap_or_default(), versions.next());
        let summary = match (action, second) {
            (_, Some(new)) => summary(action, package, first, new),
            ("remove" | "purge", None) => summary(action, package, first, "<none>"),
            (_, None) => summary(action, package, "<none>", first),
        };
        file.push(line, at, package, summary, true);
    }
}

fn summary(action: &str, package: &str, old: &str, new: &str) -> String {
    match (old, new) {
        ("<none>", new) => format!("{action} {package} {new}"),
        (old, "<none>") => format!("{action} {package} {old}"),
        (old, new) => format!("{action} {package} {old} -> {new}"),
    }
}

fn without_architecture(package: &str) -> &str {
    package.split(':').next().unwrap_or(package)
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(60)]
}

#[cfg(test)]
mod tests {
    use super::super::changes::read_changes;
    use super::super::changes::tests::lines;
    use super::super::stamp::render;

    fn check(text: &str, expected: &[&str], errors: &[u64]) {
        let file = read_changes(&lines(text));
        let changes: Vec<_> =
            file.changes.iter().map(|c| format!("{} {}: {}", render(c.at), c.component, c.summary)).collect();
        assert_eq!(changes, expected);
        assert_eq!(file.errors.iter().map(|error| error.line).collect::<Vec<_>>(), errors);
        assert!(file.changes.iter().all(|change| change.package));
    }

    #[test]
    fn dpkg_actions_are_changes_and_steps_are_not() {
        check(
            "2026-11-20 14:51:33 startup archives unpack
2026-11-20 14:51:34 upgrade openssh-client:amd64 1:9.2-2 1:9.2-3
2026-11-20 14:51:34 status unpacked openssh-client:amd64 1:9.2-3
2026-11-20 14:51:34 install openssh-server:amd64 <none> 1:9.2-3
2026-11-20 14:51:35 remove busybox:amd64 1:1.35 <none>
2026-11-20 14:51:36 upgrade half
2026-11-20 14:51:36 frobnicate x
no stamp",
            &[
                "2026-11-20T14:51:34Z openssh-client: upgrade openssh-client 1:9.2-2 -> 1:9.2-3",
                "2026-11-20T14:51:34Z openssh-server: install openssh-server 1:9.2-3",
                "2026-11-20T14:51:35Z busybox: remove busybox 1:1.35",
            ],
            &[6, 7, 8],
        );
    }

    #[test]
    fn every_package_of_a_paragraph_is_a_change() {
        check(
            "
Start-Date: 2026-11-20  14:51:33
Commandline: apt-get install a: b
Install: a:amd64 (1.0), b:all (2.0, automatic)
Upgrade: c:amd64 (1.0, 1.1)
Purge: d:amd64 (3.0)
End-Date: 2026-11-20  14:51:38

Install: e:amd64 (1.0)
What is this
Odd-Field: x",
            &[
                "2026-11-20T14:51:33Z a: install a 1.0",
                "2026-11-20T14:51:33Z b: install b 2.0",
                "2026-11-20T14:51:33Z c: upgrade c 1.0 -> 1.1",
                "2026-11-20T14:51:33Z d: purge d 3.0",
            ],
            &[9, 10, 11],
        );
    }

    #[test]
    fn a_cut_list_of_packages_says_so() {
        let mut cut = lines("Start-Date: 2026-11-20  14:51:33\nInstall: a:amd64 (1.0), lib");
        cut[1].truncated = true;
        let file = read_changes(&cut);
        assert_eq!(file.changes.len(), 1);
        assert!(file.errors[0].cause.contains("longer than what is kept"));
    }
}
