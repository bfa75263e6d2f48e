//! Attributes of spans that the files search by, link from or count by are those that spans have.

use std::collections::BTreeSet;

use volery_observability::names::{attribute, event, metric, span};

use super::{boards, json, list, text, word, yaml};

/// The names in a text that begin with `volery.` and are not part of a longer word or a path.
fn dotted(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // A search link has its quotes in percent signs.
    let text = text.replace("%22", "\"");
    for (at, start) in text.match_indices("volery.") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || ['_', '-', '/', '.'].contains(&c)) {
            continue;
        }
        let is_part = |c: &char| c.is_ascii_lowercase() || ['_', '.'].contains(c);
        let name: String = text[at..].chars().take_while(is_part).collect();
        if name.len() > start.len() {
            found.insert(name.trim_end_matches('.').to_owned());
        }
    }
    found
}

#[test]
fn every_attribute_and_metric_that_a_file_names_exists() {
    let mut known: BTreeSet<&str> = attribute::ALL.iter().map(|attribute| attribute.key).collect();
    known.extend(metric::ALL.iter().map(|metric| metric.name));
    known.extend(metric::ALL.iter().flat_map(|metric| metric.labels));
    known.extend(metric::COMMON_LABELS);
    let mut files = vec!["jaeger/config.yaml", "jaeger/ui.json", "smoke.sh", "../docs/runbook.md"];
    let boards = boards();
    files.extend(boards.iter().map(|board| board.file.as_str()));
    let mut unknown = Vec::new();
    let mut count = 0;
    for file in files {
        let names = dotted(&text(file));
        count += names.len();
        let strange = names.into_iter().filter(|name| !known.contains(name.as_str()));
        unknown.extend(strange.map(|name| format!("{file}: {name}")));
    }
    assert!(count > 10, "only {count} names were found");
    super::none("no span, event or metric has it", &unknown);
}

#[test]
fn jaegers_links_hang_on_attributes_of_what_they_say_they_hang_on() {
    let events: BTreeSet<&str> = event::ALL.iter().flat_map(|event| event.attributes).copied().collect();
    for pattern in list(&json("jaeger/ui.json"), "linkPatterns") {
        let key = word(pattern, "key");
        match word(pattern, "type") {
            "logs" => assert!(events.contains(key), "no event has {key}"),
            "tags" => {
                assert!(attribute::ALL.iter().any(|attribute| attribute.key == key), "no span has {key}")
            }
            other => panic!("{other} has no attributes"),
        }
    }
}

#[test]
fn metrics_made_of_spans_are_counted_by_attributes_that_attempts_have() {
    let attempt = span::ALL.iter().find(|span| span.name == "attempt {agent}").expect("attempts have spans");
    assert_eq!(attempt.kind, "consumer", "the README and smoke.sh say so");
    let config = yaml("jaeger/config.yaml");
    for dimension in list(&config["connectors"]["spanmetrics"], "dimensions") {
        let name = word(dimension, "name");
        assert!(attempt.attributes.contains(&name), "attempts have no {name}");
    }
}

#[test]
fn names_are_found_where_they_stand_alone() {
    let found = dotted(
        r#"{"volery.run.id":1} `volery.a_b`. /etc/volery.yml tags=%7B%22volery.x%22 x.volery.y ["volery."]"#,
    );
    assert_eq!(
        found.iter().map(String::as_str).collect::<Vec<_>>(),
        ["volery.a_b", "volery.run.id", "volery.x"]
    );
}
