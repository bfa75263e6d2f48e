//! The standard `OTEL_*` variables, read once. A value that code sets explicitly counts more where a method
//! says so.
//!
//! A malformed variable is passed over with a warning, as the specification asks, unless nothing could be
//! exported then. The service's name and resource attributes of the environment count more than those of the
//! code, so that the operator of a service names it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::sampler::Sampling;

/// The variables that a set-up looks at.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    /// By variable: what of it does nothing, and why. It is said when there is a log.
    passed_over: Arc<Mutex<BTreeMap<String, (String, &'static str)>>>,
}

/// Every variable that the set-up reads itself.
const READ: [&str; 15] = [
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
    "OTEL_PROPAGATORS",
];

/// Every variable of the OTLP exporter begins like this; signals have their own.
const OTLP: &str = "OTEL_EXPORTER_OTLP_";

impl Environment {
    /// The variables of the process.
    #[must_use]
    pub fn of_process() -> Self {
        let read =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let known = |(name, _): &(String, String)| name.starts_with(OTLP) || READ.contains(&name.as_str());
        Self { variables: std::env::vars_os().filter_map(read).filter(known).collect(), ..Self::default() }
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

    /// Takes note that a part of a variable does nothing, so that nobody waits for it to.
    fn pass_over(&self, variable: &str, value: &str, why: &'static str) {
        let mut all = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(variable.to_owned(), (value.to_owned(), why));
    }

    /// Writes a line for each variable that does not do what it seems to.
    pub(super) fn say_what_was_passed_over(&self) {
        let all = std::mem::take(&mut *self.passed_over.lock().unwrap_or_else(PoisonError::into_inner));
        for (variable, (value, why)) in all {
            tracing::warn!(target: crate::names::target::TELEMETRY, variable, value, why, "a variable is passed over");
        }
    }

    /// A value that is malformed counts as none, as the specification asks.
    pub(super) fn number<N: FromStr>(&self, name: &str) -> Option<N> {
        let text = self.text(name)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.pass_over(name, text, "it is no such number");
        }
        number
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
        let share = || Sampling::Share(self.share().unwrap_or(1.0));
        match self.text("OTEL_TRACES_SAMPLER")? {
            "always_on" | "parentbased_always_on" => Some(Sampling::Always),
            "always_off" | "parentbased_always_off" => Some(Sampling::Never),
            "traceidratio" | "parentbased_traceidratio" => Some(share()),
            other => {
                self.pass_over("OTEL_TRACES_SAMPLER", other, "there is no such sampler");
                None
            }
        }
    }

    fn share(&self) -> Option<f64> {
        let name = "OTEL_TRACES_SAMPLER_ARG";
        let share = self.number::<f64>(name)?;
        let fits = (0.0..=1.0).contains(&share);
        if !fits {
            self.pass_over(name, &share.to_string(), "a share is from 0 to 1");
        }
        fits.then_some(share)
    }

    /// Which of the propagators that are there are wanted: W3C trace context, W3C baggage.
    pub(super) fn propagators(&self) -> (bool, bool) {
        let Some(list) = self.text("OTEL_PROPAGATORS") else { return (true, true) };
        let (mut traces, mut baggage) = (false, false);
        for name in list.split(',').map(str::trim) {
            match name {
                "tracecontext" => traces = true,
                "baggage" => baggage = true,
                "none" | "" => {}
                other => {
                    self.pass_over("OTEL_PROPAGATORS", other, "there are tracecontext, baggage and none")
                }
            }
        }
        (traces, baggage)
    }

    /// `key=value` pairs of the resource; values may be percent-encoded.
    pub(super) fn resource(&self) -> Vec<(String, String)> {
        let pairs = self.text("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default().split(',');
        let pair = |pair: &str| {
            let known = pair.split_once('=').map(|(key, value)| (key.trim(), decoded(value.trim())));
            match known {
                Some((key, Some(value))) if !key.is_empty() => Some((key.to_owned(), value)),
                _ if pair.trim().is_empty() => None,
                _ => {
                    self.pass_over("OTEL_RESOURCE_ATTRIBUTES", pair, "it is no key=value");
                    None
                }
            }
        };
        let mut pairs: Vec<_> = pairs.filter_map(pair).collect();
        let name = self.text("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name.to_owned()));
        pairs.extend(name);
        pairs
    }
}

/// Text with its percent-encoded bytes decoded; `None` when they are not two hexadecimal digits each, or no
/// UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(rest.next()?)? << 4 | digit(rest.next()?)?);
    }
    String::from_utf8(bytes).ok()
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

    #[test]
    fn odd_resource_attributes_cost_nothing_but_themselves() {
        let odd = " a=b=c, ,=x,caf%C3%A9,d=caf%C3%A9%2C%20bar,e=%zz,f=,g=%e9 ";
        let environment = Environment::empty().with("OTEL_RESOURCE_ATTRIBUTES", odd);
        let pairs = environment.resource();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "b=c"), ("d", "café, bar"), ("f", "")]);
    }

    #[test]
    fn samplers_and_propagators_that_nobody_has_are_passed_over() {
        let sampling = |sampler: &str, argument: &str| {
            let environment = Environment::empty().with("OTEL_TRACES_SAMPLER", sampler);
            environment.with("OTEL_TRACES_SAMPLER_ARG", argument).sampling()
        };
        assert_eq!(sampling("always_on", ""), Some(Sampling::Always));
        assert_eq!(sampling("parentbased_always_off", "0.5"), Some(Sampling::Never));
        assert_eq!(sampling("traceidratio", "0.5"), Some(Sampling::Share(0.5)));
        for odd in ["", "half", "7", "-1", "NaN"] {
            assert_eq!(sampling("traceidratio", odd), Some(Sampling::Share(1.0)), "{odd}");
        }
        assert_eq!(sampling("jaeger_remote", "0.5"), None);
        let propagators = |list: &str| Environment::empty().with("OTEL_PROPAGATORS", list).propagators();
        assert_eq!(propagators(""), (true, true));
        assert_eq!(propagators("tracecontext"), (true, false));
        assert_eq!(propagators("b3, baggage"), (false, true));
        assert_eq!(propagators("none"), (false, false));
    }
}
