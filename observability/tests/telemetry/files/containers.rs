//! The containers' files agree: pins, ports, mounts, Jaeger's components, what Prometheus fetches.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{folder, json, keys, list, text, word, yaml};

/// The components of Jaeger 2.20: its `cmd/jaeger/builder.yaml`.
const COMPONENTS: [(&str, &[&str]); 5] = [
    (
        "extensions",
        &[
            "basicauth",
            "expvar",
            "healthcheckv2",
            "jaeger_mcp",
            "jaeger_query",
            "jaeger_storage",
            "pprof",
            "remote_sampling",
            "remote_storage",
            "sigv4auth",
            "zpages",
        ],
    ),
    ("receivers", &["jaeger", "kafka", "nop", "otlp", "zipkin"]),
    (
        "processors",
        &["adaptive_sampling", "attributes", "batch", "filter", "memory_limiter", "tail_sampling"],
    ),
    ("exporters", &["debug", "jaeger_storage_exporter", "kafka", "nop", "otlp", "otlphttp", "prometheus"]),
    ("connectors", &["forward", "spanmetrics"]),
];

/// The ports that the services listen on inside of their containers, by service.
fn published(service: &Value) -> BTreeSet<String> {
    let ports = list(service, "ports").iter().map(|port| port.as_str().expect("the short form, quoted"));
    ports.map(|port| port.rsplit(':').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn images_are_pinned_by_version_and_digest() {
    let compose = yaml("compose.yaml");
    for (name, service) in compose["services"].as_object().expect("services") {
        let (tagged, digest) = word(service, "image").split_once("@sha256:").expect("a digest");
        assert!(digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()), "{name}: {digest}");
        let (_, tag) = tagged.rsplit_once(':').expect("a version beside the digest, for people");
        assert!(tag.trim_start_matches('v').split('.').count() == 3, "{name}: {tag}");
        assert!(service.get("build").is_none());
    }
}

#[test]
fn every_port_is_bound_to_loopback_only() {
    let compose = yaml("compose.yaml");
    let mut count = 0;
    for (name, service) in compose["services"].as_object().expect("services") {
        for port in list(service, "ports") {
            let port = port.as_str().expect("the short form, quoted");
            assert!(port.starts_with("127.0.0.1:") && port.split(':').count() == 3, "{name}: {port}");
            count += 1;
        }
        assert!(service.get("network_mode").is_none(), "{name} is on a network of its own");
    }
    assert_eq!(count, 5);
}

#[test]
fn what_is_mounted_is_there_and_read_only() {
    let compose = yaml("compose.yaml");
    let volumes = keys(&compose["volumes"]);
    for (name, service) in compose["services"].as_object().expect("services") {
        for mount in list(service, "volumes") {
            let mount = mount.as_str().expect("the short form");
            let (source, target) = mount.split_once(':').expect("source and target");
            if source.starts_with('.') {
                assert!(folder().join(source).is_dir(), "{name}: {source} is not there");
                assert!(target.ends_with(":ro"), "{name}: {mount} could be written to");
            } else {
                assert!(volumes.contains(source), "{name}: the volume {source} is not declared");
            }
        }
        assert!(service.get("healthcheck").is_some(), "{name} cannot be waited for");
    }
}

#[test]
fn every_component_of_jaegers_pipelines_is_declared_used_and_built_in() {
    let config = yaml("jaeger/config.yaml");
    let service = &config["service"];
    let pipelines = service["pipelines"].as_object().expect("pipelines");
    let names = |part: &str| -> BTreeSet<String> {
        let lists = pipelines.values().filter_map(|pipeline| pipeline[part].as_array());
        lists.flatten().map(|name| name.as_str().expect("a name").to_owned()).collect()
    };
    for (part, known) in COMPONENTS {
        let declared = keys(&config[part]);
        for name in &declared {
            let kind = name.split('/').next().unwrap_or_default();
            assert!(known.contains(&kind), "{part}: {name} is not part of Jaeger");
        }
        let used = match part {
            "extensions" => {
                list(service, part).iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
            }
            // A connector ends one pipeline and begins another.
            "connectors" => names("exporters").intersection(&names("receivers")).cloned().collect(),
            "receivers" | "exporters" => {
                names(part).difference(&keys(&config["connectors"])).cloned().collect()
            }
            _ => names(part),
        };
        assert_eq!(used, declared, "{part} that are used, and those that are declared");
    }
    let kinds = pipelines.keys().map(|name| name.split('/').next().unwrap_or_default());
    assert!(kinds.into_iter().all(|kind| ["traces", "metrics"].contains(&kind)));
}

#[test]
fn jaegers_stores_are_declared_and_its_page_is_mounted() {
    let config = yaml("jaeger/config.yaml");
    let (query, storage) = (&config["extensions"]["jaeger_query"], &config["extensions"]["jaeger_storage"]);
    assert!(keys(&storage["backends"]).contains(word(&query["storage"], "traces")));
    assert!(keys(&storage["metric_backends"]).contains(word(&query["storage"], "metrics")));
    let exporter = &config["exporters"]["jaeger_storage_exporter"];
    assert!(keys(&storage["backends"]).contains(word(exporter, "trace_storage")));

    let page = word(&query["ui"], "config_file").strip_prefix("/etc/jaeger/").expect("below the mount");
    for pattern in list(&json(&format!("jaeger/{page}")), "linkPatterns") {
        let key = word(pattern, "key");
        assert!(word(pattern, "url").contains(&format!("#{{{key}}}")), "the link of {key} does not use it");
    }
    let command = yaml("compose.yaml")["services"]["jaeger"]["command"].clone();
    assert_eq!(command, serde_json::json!(["--config", "/etc/jaeger/config.yaml"]));
}

#[test]
fn jaeger_listens_where_others_reach_it() {
    let config = yaml("jaeger/config.yaml");
    let protocols = &config["receivers"]["otlp"]["protocols"];
    let published = published(&yaml("compose.yaml")["services"]["jaeger"]);
    for protocol in ["grpc", "http"] {
        let (host, port) = word(&protocols[protocol], "endpoint").rsplit_once(':').expect("host and port");
        assert_eq!(host, "0.0.0.0", "on localhost nothing outside of the container reaches it");
        assert!(published.contains(port), "{protocol}: {port} is not published");
    }
}

#[test]
fn prometheus_fetches_from_every_port_that_jaeger_exports_on() {
    let config = yaml("jaeger/config.yaml");
    let exporters = config["exporters"].as_object().expect("exporters");
    let exported = exporters.values().filter_map(|exporter| exporter["endpoint"].as_str());
    let mut wanted: BTreeSet<String> = exported
        .map(|endpoint| endpoint.replace("0.0.0.0:", "jaeger:"))
        .chain(["localhost:9090".to_owned()])
        .collect();
    let own = &config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"];
    wanted.insert(format!("jaeger:{}", own["port"]));

    let prometheus = yaml("prometheus/prometheus.yml");
    let mut fetched = BTreeSet::new();
    for scrape in list(&prometheus, "scrape_configs") {
        for group in scrape["static_configs"].as_array().into_iter().flatten() {
            fetched.extend(list(group, "targets").iter().filter_map(Value::as_str).map(str::to_owned));
        }
        for files in scrape["file_sd_configs"].as_array().into_iter().flatten() {
            for file in list(files, "files").iter().filter_map(Value::as_str) {
                assert!(yaml(&format!("prometheus/{file}")).is_array(), "{file} is a list of targets");
            }
        }
    }
    assert_eq!(fetched, wanted);
    assert!(prometheus.get("otlp").is_none(), "promtool before 3 refuses the file");
}

#[test]
fn the_alert_for_a_target_names_the_jobs_that_prometheus_fetches_services_from() {
    let prometheus = yaml("prometheus/prometheus.yml");
    let jobs: Vec<&str> = list(&prometheus, "scrape_configs").iter().map(|s| word(s, "job_name")).collect();
    let rules = text("prometheus/rules.yml");
    let (_, rest) = rules.split_once("up{job=~\"").expect("the alert asks for `up`");
    let named: Vec<&str> = rest.split('"').next().unwrap_or_default().split('|').collect();
    assert_eq!(named.len(), 2);
    for name in named {
        assert!(jobs.contains(&name), "no scrape job is called {name}");
    }
}

#[test]
fn data_sources_ask_the_services_that_compose_starts() {
    let services = keys(&yaml("compose.yaml")["services"]);
    let sources = yaml("grafana/provisioning/datasources/volery.yml");
    for source in list(&sources, "datasources") {
        let host = word(source, "url").trim_start_matches("http://").split(':').next().unwrap_or_default();
        assert!(services.contains(host), "{host} is not a service");
        assert!(text("smoke.sh").contains(word(source, "uid")), "smoke.sh asks for the source's health");
    }
    let providers = yaml("grafana/provisioning/dashboards/volery.yml");
    let path = word(&list(&providers, "providers")[0]["options"], "path").to_owned();
    let mounts = yaml("compose.yaml")["services"]["grafana"]["volumes"].clone();
    let mounts = mounts.as_array().expect("volumes").iter().filter_map(Value::as_str);
    assert!(mounts.into_iter().any(|mount| mount == format!("./grafana/dashboards:{path}:ro")));
}
