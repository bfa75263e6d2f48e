//! The list of tracing targets and the sources of the runtime say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use volery_observability::names::target;

/// Adds every string literal that begins like a target of ours.
fn collect_targets(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the folder is part of the repository") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect_targets(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            let literals = text.split("\"volery::").skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(literals.map(|name| format!("volery::{name}")));
        }
    }
}

#[test]
fn every_target_of_the_runtime_is_listed_and_every_listed_one_is_used() {
    let mut used = BTreeSet::new();
    collect_targets(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../actors/src"), &mut used);
    let listed: BTreeSet<String> = target::ALL.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(used, listed);
}

/// The levels of each target's lines, by the calls in the sources.
fn collect_levels(folder: &Path, found: &mut BTreeSet<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the folder is part of the repository") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect_levels(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            for call in text.split("tracing::").skip(1) {
                let Some((level, rest)) = call.split_once("!(") else { continue };
                if !["error", "warn", "info", "debug", "trace"].contains(&level) {
                    continue;
                }
                let target = rest.trim_start().strip_prefix("target: ").expect("a line names its target");
                let literal = target.strip_prefix('"').and_then(|target| target.split('"').next());
                // The supervision names its target by a constant.
                let target = literal.unwrap_or("volery::supervisor");
                found.insert((target.to_owned(), level.to_owned()));
            }
        }
    }
}

#[test]
fn the_page_says_the_levels_that_lines_have() {
    let mut used = BTreeSet::new();
    collect_levels(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../actors/src"), &mut used);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"));
    let page = page.expect("the page is part of the crate");
    let mut said = BTreeSet::new();
    for row in page.lines().filter(|row| row.starts_with("| `volery::")) {
        let cells: Vec<&str> = row.split('|').collect();
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        for target in quoted(cells[1]).into_iter().filter(|target| target != target::TELEMETRY) {
            said.extend(quoted(cells[3]).into_iter().map(|level| (target.clone(), level)));
        }
    }
    assert_eq!(said, used);
}
