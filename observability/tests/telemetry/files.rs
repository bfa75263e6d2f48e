//! The files that a user runs agree with the runtime and with each other: names, labels, alerts, panels,
//! ports, pins.
//!
//! Nothing is started. promtool judges the meaning of queries (`lint.sh`, `prometheus/rules_test.yml`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

mod attributes;
mod containers;
mod promql;
mod sample;

use promql::Query;

/// Labels that Prometheus adds to every series of a service, or to its own series about alerts.
const LABELS_OF_PROMETHEUS: [&str; 6] = ["job", "instance", "le", "alertname", "alertstate", "severity"];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn text(path: &str) -> String {
    let path = folder().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// YAML as the value that JSON would have given. Keys that are written twice are an error.
fn yaml(path: &str) -> Value {
    serde_norway::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn json(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of a field that has to be there.
fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("`{key}` is missing in {value}"))
}

/// The elements of a field that has to be there.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("`{key}` is missing in {value}"))
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

/// Fails with every finding at once.
fn none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

struct Board {
    file: String,
    value: Value,
}

impl Board {
    fn panels(&self) -> &[Value] {
        list(&self.value, "panels")
    }
}

fn boards() -> Vec<Board> {
    let entries =
        fs::read_dir(folder().join("grafana/dashboards")).expect("the folder is part of the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let boards: Vec<Board> = paths
        .iter()
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("file names are text");
            let file = format!("grafana/dashboards/{name}");
            Board { value: json(&file), file }
        })
        .collect();
    assert_eq!(boards.len(), 2, "the runtime and the runs");
    boards
}

fn rules() -> Vec<Value> {
    let rules = yaml("prometheus/rules.yml");
    list(&rules, "groups").iter().flat_map(|group| list(group, "rules").to_vec()).collect()
}

fn alerts() -> Vec<Value> {
    rules().into_iter().filter(|rule| rule.get("alert").is_some()).collect()
}

/// A query, where it stands, and the texts that name its labels.
struct Use {
    place: String,
    query: Query,
    texts: Vec<String>,
}

fn uses() -> Vec<Use> {
    let mut found = Vec::new();
    for rule in rules() {
        let name = rule.get("alert").or_else(|| rule.get("record")).and_then(Value::as_str);
        let annotations = rule["annotations"].as_object().into_iter().flat_map(|texts| texts.values());
        found.push(Use {
            place: format!("prometheus/rules.yml, {}", name.expect("a rule has a name")),
            query: Query::read(word(&rule, "expr")),
            texts: annotations.map(|text| text.as_str().unwrap_or_default().to_owned()).collect(),
        });
    }
    for board in boards() {
        for panel in board.panels() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                found.push(Use {
                    place: format!("{}, panel {}", board.file, panel["title"]),
                    query: Query::read(word(target, "expr")),
                    texts: vec![word(target, "legendFormat").to_owned()],
                });
            }
        }
        for variable in list(&board.value["templating"], "list") {
            if variable["type"] == "query" {
                found.push(Use {
                    place: format!("{}, variable {}", board.file, variable["name"]),
                    query: Query::of_variable(word(&variable["query"], "query")),
                    texts: Vec::new(),
                });
            }
        }
    }
    assert!(found.len() > 60, "only {} queries were found", found.len());
    found
}

/// The queries of the recording rules, by the name under which their results are kept.
fn recorded() -> BTreeMap<String, Query> {
    let recorded = rules().into_iter().filter(|rule| rule.get("record").is_some());
    recorded.map(|rule| (word(&rule, "record").to_owned(), Query::read(word(&rule, "expr")))).collect()
}

#[test]
fn every_metric_in_a_rule_or_a_panel_is_one_of_the_runtime_or_recorded() {
    let (families, recorded) = (sample::families(), recorded());
    let mut unknown = Vec::new();
    for Use { place, query, .. } in uses() {
        let strange = |metric: &&String| {
            let of_prometheus = ["up", "ALERTS"].contains(&metric.as_str());
            !of_prometheus
                && !recorded.contains_key(*metric)
                && sample::family_of(&families, metric).is_none()
        };
        unknown.extend(query.metrics.iter().filter(strange).map(|metric| format!("{place}: {metric}")));
        assert!(!query.metrics.is_empty() || query.is_constant(), "{place}: no metric was found");
    }
    none("not in metrics.sample.txt, and no rule records it", &unknown);
}

#[test]
fn every_label_in_a_query_is_one_of_its_metrics() {
    let (families, recorded) = (sample::families(), recorded());
    let mut unknown = Vec::new();
    for Use { place, query, .. } in uses() {
        let mut known: BTreeSet<String> = LABELS_OF_PROMETHEUS.map(str::to_owned).into();
        for metric in &query.metrics {
            match (sample::family_of(&families, metric), recorded.get(metric)) {
                (Some(family), _) => known.extend(family.labels.iter().cloned()),
                (None, Some(query)) => known.extend(query.labels.iter().cloned()),
                (None, None) => {}
            }
        }
        unknown.extend(query.labels.difference(&known).map(|label| format!("{place}: {label}")));
    }
    none("no metric of the query has the label", &unknown);
}

#[test]
fn every_label_in_a_legend_or_an_annotation_is_kept_by_its_query() {
    let recorded = recorded();
    let mut lost = Vec::new();
    for Use { place, query, texts } in uses() {
        let mut kept: BTreeSet<String> = query.labels.clone();
        kept.extend(
            query.metrics.iter().filter_map(|metric| recorded.get(metric)).flat_map(|q| q.labels.clone()),
        );
        for text in texts {
            let labels = promql::labels_in_template(&text);
            lost.extend(labels.difference(&kept).map(|label| format!("{place}: {label} in {text:?}")));
        }
    }
    none("the text names a label that the query drops", &lost);
}

#[test]
fn every_alert_has_a_test_that_fires_and_a_test_that_is_quiet() {
    let tests = yaml("prometheus/rules_test.yml");
    let (mut fires, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for test in list(&tests, "tests") {
        for case in test["alert_rule_test"].as_array().into_iter().flatten() {
            let side = if list(case, "exp_alerts").is_empty() { &mut quiet } else { &mut fires };
            side.insert(word(case, "alertname").to_owned());
        }
    }
    let declared: BTreeSet<String> = alerts().iter().map(|alert| word(alert, "alert").to_owned()).collect();
    assert!(!declared.is_empty());
    assert_eq!(fires, declared, "alerts that fire in rules_test.yml, and alerts of rules.yml");
    assert_eq!(quiet, declared, "alerts that are quiet in rules_test.yml, and alerts of rules.yml");
}

#[test]
fn every_alert_says_whom_it_calls_and_has_its_section_in_the_runbook() {
    let runbook = text("../docs/runbook.md");
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts = alerts();
    for alert in &alerts {
        let name = word(alert, "alert");
        let severity = word(&alert["labels"], "severity");
        assert!(["page", "ticket"].contains(&severity), "{name} has the severity {severity}");
        let annotations = &alert["annotations"];
        assert!(!word(annotations, "summary").is_empty() && !word(annotations, "description").is_empty());
        assert_eq!(word(annotations, "runbook"), format!("docs/runbook.md#{}", name.to_lowercase()));
    }
    let declared: BTreeSet<&str> = alerts.iter().map(|alert| word(alert, "alert")).collect();
    assert_eq!(sections, declared, "sections of docs/runbook.md, and alerts of rules.yml");
}

#[test]
fn alerts_that_page_stand_in_the_runbook_under_pages_and_tickets_under_tickets() {
    let runbook = text("../docs/runbook.md");
    let (pages, tickets) = runbook.split_once("\n## Tickets\n").expect("the runbook has a part for tickets");
    for alert in alerts() {
        let heading = format!("\n### {}\n", word(&alert, "alert"));
        let part = if word(&alert["labels"], "severity") == "page" { pages } else { tickets };
        assert!(part.contains(&heading), "{} stands in the wrong part", heading.trim());
    }
}

#[test]
fn panels_of_a_board_have_ids_of_their_own_and_do_not_overlap() {
    for board in boards() {
        let mut ids = BTreeSet::new();
        let mut cells = BTreeMap::new();
        for panel in board.panels() {
            let id = panel["id"].as_u64().expect("a panel has an id");
            assert!(ids.insert(id), "{}: panel {id} is there twice", board.file);
            let side = |name: &str| panel["gridPos"][name].as_u64().expect("a panel has a place");
            let (left, top) = (side("x"), side("y"));
            assert!(left + side("w") <= 24, "{}: panel {id} is too wide", board.file);
            for x in left..left + side("w") {
                for y in top..top + side("h") {
                    let other = cells.insert((x, y), id);
                    assert_eq!(other, None, "{}: panel {id} covers another", board.file);
                }
            }
        }
    }
}

#[test]
fn panels_say_what_they_show_and_take_the_chosen_source() {
    for board in boards() {
        for panel in board.panels() {
            let title = word(panel, "title");
            if ["row", "text"].contains(&word(panel, "type")) {
                continue;
            }
            assert!(!word(panel, "description").is_empty(), "{}: {title}", board.file);
            for target in list(panel, "targets") {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{}: {title}", board.file);
            }
        }
    }
}

#[test]
fn links_between_the_files_lead_somewhere() {
    let boards = boards();
    let uids: BTreeSet<&str> = boards.iter().map(|board| word(&board.value, "uid")).collect();
    assert_eq!(uids.len(), boards.len(), "a uid is there twice");
    let mut texts = vec![text("jaeger/ui.json"), text("smoke.sh")];
    texts.extend(boards.iter().map(|board| text(&board.file)));
    let mut links = 0;
    for text in &texts {
        for link in text.split("/d/").skip(1) {
            let uid: String = link.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            assert!(uids.contains(uid.as_str()), "no board has the uid {uid}");
            links += 1;
        }
    }
    assert!(links >= 4, "only {links} links were found");
    let home = yaml("compose.yaml")["services"]["grafana"]["environment"]
        ["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        .as_str()
        .expect("there is a first page")
        .to_owned();
    let name = home.rsplit('/').next().unwrap_or_default();
    assert!(boards.iter().any(|board| board.file.ends_with(name)), "{home} is no board");
}
