//! Tidy: the dull rules of the workspace, held by reading its files.
//!
//! It compiles and runs nothing. Clippy holds the rules that it can; the others are here: the arrows between
//! crates, head comments, file lengths, and that some words appear in one home only.

mod floors;
mod prose;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file without its tests.
const LINES_MAX: usize = 500;

/// The folders whose files are ours to keep in order.
const FOLDERS: [&str; 12] = [
    "blackboard/src",
    "actors/src",
    "observability/src",
    "observability/receiver/src",
    "observability/tests",
    "observability/viewer/src",
    "stores/sqlite/src",
    "src",
    "examples",
    "benches",
    "tests",
    "actors/tests",
];

/// A source file: its path from the workspace's root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Tells whether the file has tests only.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs"
            || self.path.contains("/tests/")
            || self.path.starts_with("tests/")
            || self.path.contains("/conformance")
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// The lines before the file's unit tests, numbered from 1.
    fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = |line: &&str| line.trim_start().starts_with("#[cfg(test)]");
        let lines: Vec<&str> = self.text.lines().collect();
        // A test module ends the file; `#[cfg(test)]` on a `use` or a file module does not.
        let end = lines.iter().enumerate().position(|(index, line)| {
            tests(line) && lines.get(index + 1).is_some_and(|next| next.trim_end().ends_with("tests {"))
        });
        let end = end.unwrap_or(lines.len());
        (1..).zip(lines).take(end)
    }

    /// The product's lines without comments and strings, so that words in prose do not count.
    fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.product().map(|(number, line)| (number, without_prose(line)))
    }
}

/// Cuts comments off and empties string literals, as far as they stand on one line.
fn without_prose(line: &str) -> String {
    let mut code = String::new();
    let mut rest = line.chars().peekable();
    let mut quoted = false;
    while let Some(next) = rest.next() {
        match next {
            '\\' if quoted => {
                rest.next();
            }
            // A quote in a character literal (`'"'`) does not open a string.
            '"' if !code.ends_with('\'') => {
                quoted = !quoted;
                code.push('"');
            }
            '/' if !quoted && rest.peek() == Some(&'/') => break,
            _ if quoted => {}
            other => code.push(other),
        }
    }
    code
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "only {} files were found", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    for path in paths {
        if path.ends_with("target") {
            // Of a package that is a workspace of its own.
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            let path = path.strip_prefix(root()).expect("it lies in the workspace").display().to_string();
            found.push(Source { path, text });
        }
    }
}

/// The names in a manifest's tables whose headings `wanted` takes.
fn dependencies(manifest: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let path = root().join(manifest);
    let text = fs::read_to_string(&path).expect("the manifest is there");
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(heading) = line.strip_prefix('[') {
            let heading = heading.trim_end_matches(']');
            inside = wanted(heading);
            // `[dependencies.name]` is a table of its own.
            if let Some((table, name)) = heading.split_once("dependencies.")
                && wanted(&format!("{table}dependencies"))
            {
                names.insert(name.to_owned());
                inside = false;
            }
        } else if inside && !line.starts_with('#') {
            let name = line.split(['=', '.']).next().unwrap_or_default().trim();
            if !name.is_empty() && !name.starts_with(['"', ']', '}']) {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// The dependencies of users' programs: every dependency table but the ones for tests.
fn linked(manifest: &str) -> BTreeSet<String> {
    dependencies(manifest, |table| {
        table != "workspace.dependencies" && table.ends_with("dependencies") && !table.contains("dev-")
    })
}

fn all(manifest: &str) -> BTreeSet<String> {
    dependencies(manifest, |table| table != "workspace.dependencies" && table.ends_with("dependencies"))
}

fn ours(names: &BTreeSet<String>) -> Vec<&str> {
    names.iter().map(String::as_str).filter(|name| name.starts_with("volery")).collect()
}

/// Fails with every finding at once.
fn none(what: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

/// The places where the product's code has one of the words.
fn uses(files: &[Source], words: &[&str], home: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !home(file)) {
        for (number, line) in file.code() {
            if let Some(word) = words.iter().find(|word| has_word(&line, word)) {
                found.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        // A word that begins or ends with a sign (`.unwrap()`, `rand::`) may stand against anything there.
        let open = (!word.starts_with(is_part), !word.ends_with(is_part));
        (open.0 || !before.is_some_and(is_part)) && (open.1 || !after.is_some_and(is_part))
    })
}

#[test]
fn arrows_point_down() {
    assert_eq!(ours(&all("blackboard/Cargo.toml")), Vec::<&str>::new());
    assert_eq!(ours(&all("observability/Cargo.toml")), Vec::<&str>::new());
    assert_eq!(ours(&all("observability/receiver/Cargo.toml")), Vec::<&str>::new());
    assert_eq!(ours(&all("stores/sqlite/Cargo.toml")), ["volery-blackboard"]);
    for product in ["Cargo.toml", "actors/Cargo.toml", "blackboard/Cargo.toml", "stores/sqlite/Cargo.toml"] {
        assert!(!linked(product).contains("volery-otlp-receiver"), "{product}: the receiver is for tests");
    }
    let actors = all("actors/Cargo.toml");
    let of_product = ours(&actors).into_iter().filter(|name| *name != "volery-otlp-receiver");
    assert_eq!(of_product.collect::<Vec<_>>(), ["volery-blackboard", "volery-observability"]);
    let facade = all("Cargo.toml");
    assert!(ours(&facade).contains(&"volery-actors"), "{facade:?}");
    assert!(!linked("Cargo.toml").contains("volery"), "nothing depends on itself, but for tests");
    assert_eq!(ours(&linked("examples/triage/Cargo.toml")), ["volery"], "a program uses the facade only");
}

#[test]
fn the_blackboard_is_pure() {
    let linked = linked("blackboard/Cargo.toml");
    let impure = |name: &&String| {
        let words =
            ["tokio", "ractor", "tracing", "rand", "chrono", "jiff", "clock", "futures", "async", "log"];
        let starts = |word: &&str| name.starts_with(word) || name.contains("time");
        words.iter().any(starts)
    };
    assert_eq!(linked.iter().find(impure), None);
    assert!(linked.contains("serde"), "the manifest was read: {linked:?}");
}

#[test]
fn only_actors_links_ractor() {
    assert!(linked("actors/Cargo.toml").contains("ractor"));
    assert!(!all("Cargo.toml").contains("ractor"));
    assert!(!all("blackboard/Cargo.toml").contains("ractor"));
    assert!(!all("observability/Cargo.toml").contains("ractor"));
}

#[test]
fn only_the_sqlite_store_links_rusqlite() {
    assert!(linked("stores/sqlite/Cargo.toml").contains("rusqlite"));
    for other in ["Cargo.toml", "actors/Cargo.toml", "blackboard/Cargo.toml", "observability/Cargo.toml"] {
        assert!(
            !linked(other).contains("rusqlite"),
            "{other}: the root may use it in tests and benches only"
        );
    }
    let names = |file: &Source| file.is_in("stores/sqlite") || file.is_test() || file.is_in("benches");
    none("rusqlite outside of its crate", uses(&sources(), &["rusqlite"], names));
}

#[test]
fn the_sqlite_store_needs_no_runtime() {
    let manifest =
        fs::read_to_string(root().join("stores/sqlite/Cargo.toml")).expect("the manifest is there");
    let tokio: Vec<&str> = manifest.lines().filter(|line| line.starts_with("tokio")).collect();
    assert_eq!(tokio, [r#"tokio = { version = "1", default-features = false, features = ["sync"] }"#]);
}

#[test]
fn ractor_is_named_in_one_module_only() {
    let home = |file: &Source| {
        file.is_in("actors/src/supervision")
            || file.is_in("benches")
            || file.is_in("actors/benches")
            || file.is_in("tests/tidy/")
    };
    none("ractor outside of its module", uses(&sources(), &["ractor", "::ractor"], home));
}

#[test]
fn every_file_says_what_it_is_for() {
    let headless = |file: &&Source| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        name != "tests.rs" && !file.text.starts_with("//!")
    };
    let files = sources();
    none("no `//!` at the top", files.iter().filter(headless).map(|file| file.path.clone()).collect());
}

#[test]
fn a_head_comment_is_a_sentence() {
    let short = |file: &&Source| {
        let head = file.text.lines().next().unwrap_or_default();
        head.starts_with("//!") && head.trim_start_matches("//!").split_whitespace().count() < 3
    };
    let files = sources();
    none(
        "say what the file is responsible for",
        files.iter().filter(short).map(|file| file.path.clone()).collect(),
    );
}

#[test]
fn time_chance_and_fresh_ids_have_one_home() {
    let words =
        ["Instant::now", "SystemTime::now", "thread::sleep", "now_v7", "new_v4", "rand::", "fastrand::"];
    let files = sources();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.is_test() && file.path != "actors/src/clock.rs") {
        let allowed = allowed_by_an_expectation(file);
        for (number, line) in file.code() {
            if let Some(word) = words.iter().find(|word| has_word(&line, word))
                && !allowed.iter().any(|(from, to)| (*from..=*to).contains(&number))
            {
                found.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    none("clocks and chance outside of their home", found);
}

/// The line ranges of items that stand under `#[expect(clippy::disallowed_methods, reason = …)]`.
fn allowed_by_an_expectation(file: &Source) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut ranges = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        // rustfmt breaks a long attribute over several lines.
        let opens = line.trim_start().starts_with("#[expect(") || line.trim_start().starts_with("#![expect(");
        let attribute = lines[index..].iter().take(5).copied().collect::<String>();
        let attribute = attribute.split(")]").next().unwrap_or_default();
        if !opens || !attribute.contains("clippy::disallowed_methods") || !attribute.contains("reason") {
            continue;
        }
        if line.trim_start().starts_with("#!") {
            ranges.push((1, lines.len()));
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let ends = |other: &&str| {
            let text = other.trim_start();
            other.len() - text.len() == indent && (text.starts_with('}') || text.ends_with(';'))
        };
        let length = lines[index..].iter().position(ends).unwrap_or(0);
        ranges.push((index + 1, index + 1 + length));
    }
    ranges
}

#[test]
fn no_file_is_too_long() {
    let files = sources();
    let long = files.iter().filter(|file| !file.is_test() && file.product().count() > LINES_MAX);
    let found = long.map(|file| format!("{}: {} lines", file.path, file.product().count())).collect();
    none("split it by the noun that is hidden in it", found);
}

#[test]
fn nothing_is_left_undone() {
    let files = sources();
    none("left undone", uses(&files, &["todo!", "unimplemented!", "dbg!"], |_| false));
}

#[test]
fn nothing_unwraps_outside_of_tests() {
    let found = uses(&sources(), &[".unwrap()"], Source::is_test);
    none("say why it cannot fail: `expect`", found);
}

#[test]
fn nothing_is_unsafe() {
    let found = uses(&sources(), &["unsafe"], |file| file.is_in("tests/tidy/"));
    none("the lint forbids it, and nothing may lift the lint", found);
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there");
    assert!(text.contains("unsafe_code = \"forbid\""));
}

#[test]
fn files_have_names_that_say_something() {
    let empty = ["core", "common", "utils", "util", "types", "helpers", "misc", "mod"];
    let files = sources();
    let named = |file: &&Source| {
        let stem = Path::new(&file.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        empty.contains(&stem)
    };
    none("find the noun", files.iter().filter(named).map(|file| file.path.clone()).collect());
}

#[test]
fn lints_are_inherited_everywhere() {
    for member in members("members").iter().map(String::as_str).chain(["."]) {
        let text = manifest(member);
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{member} does not inherit the workspace's lints"
        );
    }
}

/// The folders in a list of the workspace's table.
fn members(list: &str) -> Vec<String> {
    let text = manifest(".");
    let start = format!("\n{list} = [");
    let (_, rest) = text.split_once(&start).expect("the workspace has the list");
    let (folders, _) = rest.split_once(']').expect("the list ends");
    let folders: Vec<String> = folders.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(folders.len() > 3, "{list}: {folders:?}");
    folders
}

fn manifest(folder: &str) -> String {
    fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("the manifest is there")
}

#[test]
fn the_gate_runs_the_tests_that_a_bare_cargo_test_leaves_out() {
    let gate = fs::read_to_string(root().join("scripts/gate")).expect("the gate is there");
    let (all, by_default) = (members("members"), members("default-members"));
    let mut homes = BTreeSet::new();
    for file in sources().iter().filter(|file| has_tests(file)) {
        let holds = |member: &&String| file.is_in(&format!("{member}/"));
        homes.extend(all.iter().filter(holds).max_by_key(|member| member.len()));
    }
    homes.retain(|home| !by_default.contains(home));
    assert!(homes.len() > 3, "{homes:?} have tests of their own");
    let mut missing = Vec::new();
    for home in homes {
        let text = manifest(home);
        let (_, name) = text.split_once("\nname = \"").expect("a package has a name");
        let name = name.split('"').next().unwrap_or_default();
        let runs = |line: &str| line.contains("cargo test ") && line.split(' ').any(|word| word == name);
        if !gate.lines().any(runs) {
            missing.push(name.to_owned());
        }
    }
    none("packages whose tests are run neither by `cargo test` nor by scripts/gate", missing);
}

fn has_tests(file: &Source) -> bool {
    file.text.lines().any(|line| line.trim() == "#[test]" || line.trim().starts_with("#[tokio::test"))
}

#[test]
fn the_facade_has_no_unit_tests() {
    let unit = |file: &&Source| file.is_in("src/") && file.text.contains("#[cfg(test)]");
    let found = sources().iter().filter(unit).map(|file| file.path.clone()).collect();
    none("its library is built without tests, which belong to `tests/it`", found);
}

#[test]
fn suppressed_lints_say_why() {
    let mut found = Vec::new();
    for file in &sources() {
        for (number, line) in file.code() {
            if line.trim_start().starts_with("#[allow(") || line.trim_start().starts_with("#![allow(") {
                found.push(format!("{}:{number}: use #[expect(…, reason = …)]", file.path));
            }
        }
    }
    none("allowed for no reason", found);
}

#[test]
fn every_test_that_a_guarantee_names_exists() {
    let page = |name: &str| fs::read_to_string(root().join(name)).expect("the guarantees are written down");
    let text = page("docs/semantics.md") + &page("docs/storage.md");
    let homes = [
        "it::",
        "runtime::",
        "supervision::",
        "board::",
        "collect::",
        "matching::",
        "store::",
        "sqlite::",
        "crash::",
    ];
    let quoted = text.split('`').skip(1).step_by(2);
    let named: Vec<&str> = quoted.filter(|name| homes.iter().any(|home| name.starts_with(home))).collect();
    assert!(named.len() > 20, "the guarantees name {} tests", named.len());
    let files = sources();
    let exists = |name: &&str| {
        let parts: Vec<&str> = name.split("::").collect();
        let (Some(test), folder) = (parts.last(), parts[0]) else { return false };
        let home = match (folder, parts.get(1)) {
            ("it", Some(module)) => format!("tests/it/{module}"),
            ("runtime", Some(&"tests")) => "actors/src/runtime/tests/".to_owned(),
            ("runtime", _) => "actors/tests/runtime.rs".to_owned(),
            ("supervision", _) => "actors/tests/supervision/".to_owned(),
            ("sqlite", _) => "stores/sqlite/src/tests".to_owned(),
            ("crash", Some(module)) => format!("tests/crash/{module}"),
            (module, _) => format!("blackboard/src/{module}"),
        };
        // A rule that a macro expands into a test is named like a field: `name: …`.
        let (function, rule) = (format!("fn {test}("), format!("{test}: "));
        let here = |file: &&Source| file.path.starts_with(&home);
        files.iter().filter(here).any(|file| file.text.contains(&function) || file.text.contains(&rule))
    };
    // The page's legend and its mentions of whole modules name no test.
    let legend = |name: &&str| !name.ends_with("::") && !name.ends_with("::tests") && *name != "it::x::y";
    let missing = named.into_iter().filter(legend).filter(|name| !exists(name)).map(str::to_owned).collect();
    none("docs/semantics.md or docs/storage.md names tests that are not there", missing);
}

#[test]
fn prose_is_not_code() {
    assert_eq!(without_prose(r#"let a = "unsafe"; // unsafe"#), r#"let a = ""; "#);
    assert_eq!(without_prose(r#"a("x\"unsafe")"#), r#"a("")"#);
    assert!(has_word("x.unwrap()", ".unwrap()") && !has_word("contractor::new()", "ractor"));
    assert!(has_word("use ractor::Actor;", "ractor") && !has_word("ractors", "ractor"));
}
