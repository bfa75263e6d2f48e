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
    collect_targets(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../actors/src"), &mut used);
    let listed: BTreeSet<String> = target::ALL.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(used, listed);
}
