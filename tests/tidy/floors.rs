//! Floors: inside of `actors/` every folder uses only folders below it, and few files depend on each other in
//! a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, none, sources};

/// The modules of `actors/src`, from the bottom. A module uses modules of the rows before its own.
const FLOORS: [&[&str]; 10] = [
    &["supervision"],
    &["clock", "fault", "finding", "health", "hold", "intensity", "kinds"],
    &["error"],
    &["feed", "observer", "resource", "settings"],
    &["ingress"],
    &["agent"],
    &["curator"],
    &["upkeep"],
    &["root"],
    &["runtime"],
];

/// Files that may depend on each other in a circle.
const CIRCLE_MAX: usize = 3;

/// The place of a module: the names that lead to it from the crate's root.
type Path = Vec<String>;

/// A name that a module brings into scope.
struct Use {
    path: Path,
    /// Whether others can reach it through the module.
    exported: bool,
}

/// The modules of `actors/src` that are no tests, and what each uses.
struct Modules(BTreeMap<Path, Vec<Use>>);

impl Modules {
    fn of(files: &[&Source]) -> Self {
        let places: BTreeSet<Path> = files.iter().map(|file| place(file)).collect();
        let uses = |file: &&Source| {
            let own = place(file);
            let uses = uses(file).into_iter().filter_map(|found| {
                let path = absolute(&own, &found.path, &places)?;
                Some(Use { path, ..found })
            });
            (own.clone(), uses.collect())
        };
        Self(files.iter().map(uses).collect())
    }

    /// The module that a path leads to, through re-exports.
    fn home(&self, path: &[String]) -> Option<Path> {
        let length = (1..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let name = rest.first();
        let export = self.0[module]
            .iter()
            .find(|own| own.exported && name.is_some() && own.path.last() == name && own.path[..] != *path);
        export.and_then(|export| self.home(&export.path)).or_else(|| Some(module.to_vec()))
    }

    /// The modules that a module depends on.
    fn needs(&self, module: &Path) -> BTreeSet<Path> {
        let private = self.0[module].iter().filter(|own| !own.exported);
        private.filter_map(|own| self.home(&own.path)).filter(|home| home != module).collect()
    }
}

/// The files of `actors/src` without the crate's root and without tests.
fn product(files: &[Source]) -> Vec<&Source> {
    let root = "actors/src/lib.rs";
    files.iter().filter(|file| file.is_in("actors/src/") && file.path != root && !file.is_test()).collect()
}

fn place(file: &Source) -> Path {
    let path = file.path.trim_start_matches("actors/src/").trim_end_matches(".rs");
    path.split('/').map(str::to_owned).collect()
}

/// The `use` declarations of a file.
fn uses(file: &Source) -> Vec<Use> {
    let code: Vec<String> = file.code().map(|(_, line)| line).collect();
    let mut found = Vec::new();
    for statement in code.join("\n").split(';') {
        let uses = ["\nuse ", "\npub use ", "\npub(crate) use ", "\npub(super) use "];
        let tree = uses.iter().find_map(|start| statement.rsplit_once(start).map(|(_, tree)| (*start, tree)));
        let Some((start, tree)) = tree else { continue };
        let mut paths = Vec::new();
        expand(tree, &[], &mut paths);
        found.extend(paths.into_iter().map(|path| Use { path, exported: start != uses[0] }));
    }
    found
}

/// Takes a tree of names in braces apart.
fn expand(tree: &str, before: &[String], found: &mut Vec<Path>) {
    let (names, inner) = match tree.split_once('{') {
        Some((names, inner)) => (names, inner.rsplit_once('}').map(|(inner, _)| inner)),
        None => (tree, None),
    };
    let names = names.split("::").map(|name| name.split(" as ").next().unwrap_or_default().trim());
    let path: Path =
        before.iter().cloned().chain(names.filter(|name| !name.is_empty()).map(str::to_owned)).collect();
    let Some(inner) = inner else { return found.push(path) };
    let (mut depth, mut start) = (0, 0);
    for (at, next) in inner.char_indices().chain([(inner.len(), ',')]) {
        match next {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&inner[start..at], &path, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// A path from the crate's root; `None` for one into another crate.
fn absolute(own: &Path, path: &[String], places: &BTreeSet<Path>) -> Option<Path> {
    let ups = path.iter().take_while(|name| *name == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([own, &path[1..]].concat()),
        "super" => Some([&own[..own.len().checked_sub(ups)?], &path[ups..]].concat()),
        first => {
            let child = [&own[..], &[first.to_owned()]].concat();
            places.contains(&child).then(|| [&own[..], path].concat())
        }
    }
}

/// The largest sets of modules that all depend on each other.
fn circles(modules: &Modules) -> Vec<BTreeSet<Path>> {
    let needs: BTreeMap<&Path, BTreeSet<Path>> =
        modules.0.keys().map(|module| (module, modules.needs(module))).collect();
    let reach = |from: &Path| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            next.extend(needs[&module].iter().filter(|need| reached.insert((*need).clone())).cloned());
        }
        reached
    };
    let reached: BTreeMap<&Path, BTreeSet<Path>> =
        modules.0.keys().map(|module| (module, reach(module))).collect();
    let circle = |module: &Path| {
        reached[module].iter().filter(|other| reached[*other].contains(module)).cloned().collect()
    };
    let found: BTreeSet<BTreeSet<Path>> = modules.0.keys().map(circle).collect();
    found.into_iter().filter(|circle| circle.len() > 1).collect()
}

#[test]
fn no_arrow_runs_up_inside_the_actors() {
    let floor = |module: &str| FLOORS.iter().position(|floor| floor.contains(&module));
    let files = sources();
    let mut found = Vec::new();
    for file in product(&files) {
        let own = place(file)[0].clone();
        let Some(height) = floor(&own) else {
            found.push(format!("{}: `{own}` has no floor; give it one in tests/tidy/floors.rs", file.path));
            continue;
        };
        for (number, line) in file.code() {
            if line.contains("crate::{") {
                found.push(format!("{}:{number}: name the module before the braces", file.path));
            }
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                if used != own && floor(used).is_some_and(|used| used >= height) {
                    let path = &file.path;
                    found.push(format!(
                        "{path}:{number} uses actors/src/{used}.rs, which does not stand below it: move what it needs \
                         below both, or have it handed in"
                    ));
                }
            }
        }
    }
    none("arrows that run up or sideways", found);
}

#[test]
fn no_large_circle_of_files_in_the_actors() {
    let files = sources();
    let modules = Modules::of(&product(&files));
    let large = circles(&modules).into_iter().filter(|circle| {
        // The supervision kit is one machine in a folder of its own.
        circle.len() > CIRCLE_MAX && circle.iter().any(|module| module[0] != "supervision")
    });
    let named = large.map(|circle| {
        let files: Vec<String> = circle.iter().map(|module| format!("{}.rs", module.join("/"))).collect();
        format!("{}: give the data that they share a file of its own", files.join(", "))
    });
    none("files that depend on each other in a circle", named.collect());
}

#[test]
fn names_are_followed_to_their_files() {
    let file = |path: &str, text: &str| Source { path: format!("actors/src/{path}"), text: text.to_owned() };
    let files = [
        file("low.rs", "//! Low.\nmod inner;\npub(crate) use inner::{Deep,\n    Other as Same};\n"),
        file("low/inner.rs", "//! Inner.\n\nuse crate::high::High;\n"),
        file("high.rs", "//! High.\n\nuse std::fmt;\n\nuse crate::low::{self, Deep};\n"),
    ];
    let modules = Modules::of(&files.iter().collect::<Vec<_>>());
    let place = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Path>();
    let (low, inner, high) = (place(&["low"]), place(&["low", "inner"]), place(&["high"]));
    assert_eq!(modules.needs(&high), [low.clone(), inner.clone()].into());
    assert_eq!(modules.needs(&low), [].into());
    assert_eq!(circles(&modules), [[high, inner].into()]);
}
