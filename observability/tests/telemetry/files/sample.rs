//! `metrics.sample.txt`: every metric of a runtime, as Prometheus sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use volery_observability::names::metric::{self, COMMON_LABELS, Instrument, Metric};

/// A metric in Prometheus' words.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) is_histogram: bool,
    pub(crate) labels: BTreeSet<String>,
}

/// The metrics of the file, by name.
pub(crate) fn families() -> BTreeMap<String, Family> {
    let text = super::text("metrics.sample.txt");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a name and a type");
            last = name.to_owned();
            families.insert(last.clone(), Family { is_histogram: kind == "histogram", ..Family::default() });
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let names = labels.split("=\"").filter_map(|part| part.rsplit(['{', ',', '"']).next());
            let family = families.get_mut(&last).expect("a sample follows its type");
            family.labels.extend(names.filter(|name| !name.contains('}')).map(str::to_owned));
        }
    }
    assert!(families.len() > 30, "only {} metrics were found", families.len());
    families
}

/// The metric that a sample belongs to.
///
/// The text exposition of the Rust SDK adds `_ratio` to histograms of the unit `1`; the Collector, and so
/// Jaeger, does not.
pub(crate) fn family_of<'a>(families: &'a BTreeMap<String, Family>, sample: &str) -> Option<&'a Family> {
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| sample.strip_suffix(part));
    match base {
        None => families.get(sample).filter(|family| !family.is_histogram),
        Some(base) => {
            let family = families.get(base).or_else(|| families.get(&format!("{base}_ratio")));
            family.filter(|family| family.is_histogram)
        }
    }
}

/// A metric as a text exposition has it: every label once, one sample of each kind.
fn exposition(metric: &Metric, text: &mut String) -> Result<(), std::fmt::Error> {
    let name = metric.prometheus_name();
    let kind = match metric.instrument {
        Instrument::Counter => "counter",
        Instrument::Histogram => "histogram",
        _ => "gauge",
    };
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let label = |key: &&str| format!("{}=\"x\"", key.chars().map(word).collect::<String>());
    // The process loses spans, not a runtime; the set-up that counts them knows no runtime.
    let common = if *metric == metric::TELEMETRY_DROPPED { &[] } else { COMMON_LABELS };
    let labels = common.iter().chain(metric.labels).map(label).collect::<Vec<_>>().join(",");
    writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.says)?;
    if metric.instrument == Instrument::Histogram {
        writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} 1")?;
        writeln!(text, "{name}_sum{{{labels}}} 1\n{name}_count{{{labels}}} 1")
    } else {
        writeln!(text, "{name}{{{labels}}} 1")
    }
}

#[test]
fn the_sample_has_every_metric_of_the_names_module_with_its_labels() {
    let mut wanted = String::new();
    for metric in metric::ALL {
        exposition(metric, &mut wanted).expect("text takes all that is written");
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("metrics.sample.txt");
    fs::write(&file, &wanted).expect("the target directory can be written to");
    assert!(
        super::text("metrics.sample.txt") == wanted,
        "observability/metrics.sample.txt is not what the names say; copy {} over it",
        file.display()
    );
}

#[test]
fn a_sample_belongs_to_its_metric_by_type() {
    let families = families();
    for known in [
        "volery_jobs_total",
        "volery_job_wait_seconds_count",
        "volery_batch_fill_ratio_bucket",
        "volery_batch_fill_bucket",
    ] {
        assert!(family_of(&families, known).is_some(), "{known}");
    }
    for unknown in
        ["volery_jobs", "volery_job_wait_seconds", "volery_jobs_total_count", "volery_queue_depth_ratio"]
    {
        assert!(family_of(&families, unknown).is_none(), "{unknown}");
    }
    let labels: Vec<&str> = families["volery_jobs_total"].labels.iter().map(String::as_str).collect();
    assert_eq!(labels, ["error_type", "volery_agent_name", "volery_outcome", "volery_runtime_name"]);
}
