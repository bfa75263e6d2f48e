//! The standard `OTEL_*` variables, read once. What code sets explicitly counts more where a method says so.
//!
//! Headers, compression, time limits and endpoints are read by the exporter itself. The service's name and resource
//! attributes of the environment count more than those of the code, so that whoever runs a service names it.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use super::sampler::Sampling;

/// The variables that a set-up looks at.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
}

/// Every variable that the set-up reads itself.
const READ: [&str; 17] = [
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];

impl Environment {
    /// The variables of the process.
    #[must_use]
    pub fn of_process() -> Self {
        let read = |name: &&str| std::env::var(name).ok().map(|value| ((*name).to_owned(), value));
        Self { variables: READ.iter().filter_map(read).collect() }
    }

    /// No variables.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Sets a variable, for a service that has its settings elsewhere.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// An empty value counts as none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A value that is malformed counts as none, as the specification asks.
    pub(super) fn number<N: FromStr>(&self, name: &str) -> Option<N> {
        self.text(name).and_then(|value| value.parse().ok())
    }

    pub(super) fn millis(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    /// Tells whether all export is switched off.
    pub(super) fn is_disabled(&self) -> bool {
        self.text("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Tells whether a signal's export is switched off.
    pub(super) fn is_off(&self, signal: &str) -> bool {
        self.text(signal).is_some_and(|value| value.eq_ignore_ascii_case("none"))
    }

    /// The sampler. Every one is asked at the root only: a run is recorded whole or not at all.
    pub(super) fn sampling(&self) -> Option<Sampling> {
        let share = || Sampling::Share(self.number("OTEL_TRACES_SAMPLER_ARG").unwrap_or(1.0));
        match self.text("OTEL_TRACES_SAMPLER")? {
            "always_on" | "parentbased_always_on" => Some(Sampling::Always),
            "always_off" | "parentbased_always_off" => Some(Sampling::Never),
            "traceidratio" | "parentbased_traceidratio" => Some(share()),
            _ => None,
        }
    }

    /// `key=value` pairs of the resource.
    pub(super) fn resource(&self) -> Vec<(String, String)> {
        let pairs = self.text("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default().split(',');
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        };
        let mut pairs: Vec<_> = pairs.filter_map(pair).collect();
        let name = self.text("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name.to_owned()));
        pairs.extend(name);
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_the_specification_says() {
        let environment = Environment::empty()
            .with("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .with("OTEL_TRACES_SAMPLER_ARG", "0.25")
            .with("OTEL_RESOURCE_ATTRIBUTES", "service.name=a, team = b,broken")
            .with("OTEL_SERVICE_NAME", "c")
            .with("OTEL_BSP_MAX_QUEUE_SIZE", "many")
            .with("OTEL_TRACES_EXPORTER", "None")
            .with("OTEL_METRICS_EXPORTER", " ");
        assert_eq!(environment.sampling(), Some(Sampling::Share(0.25)));
        let resource = environment.resource();
        assert_eq!(
            resource.last(),
            Some(&("service.name".to_owned(), "c".to_owned())),
            "the own variable wins"
        );
        assert_eq!(resource[1], ("team".to_owned(), "b".to_owned()));
        assert_eq!(environment.number::<usize>("OTEL_BSP_MAX_QUEUE_SIZE"), None);
        assert!(environment.is_off("OTEL_TRACES_EXPORTER") && !environment.is_off("OTEL_METRICS_EXPORTER"));
        assert!(!environment.is_disabled());
        assert!(Environment::empty().with("OTEL_SDK_DISABLED", "TRUE").is_disabled());
    }
}
