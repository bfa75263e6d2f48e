//! Puts incidents, their suspects and the counts into order, as JSON and as Markdown.
//!
//! Both texts are functions of the report alone: incidents sorted by first line, component and fingerprint,
//! suspects nearest first, counts by name. Notes (empty inputs, guessed years) stand only in the Markdown.
//! Does not write files. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::incident::Incident;
use super::severity::Severity;
use super::stamp::{MICROS_PER_SECOND, render};
use super::suspect::Suspect;

/// Characters of a line or template shown in the Markdown; the JSON has all that was kept.
const SHOWN_CHARACTERS_MAX: usize = 300;

/// Notes, incidents, and suspects of one incident in the summary; more would push the counts off the screen.
const SUMMARY_NOTES_MAX: usize = 5;
const SUMMARY_INCIDENTS_MAX: usize = 5;
const SUMMARY_SUSPECTS_MAX: usize = 3;

/// How many times each outcome came up, by stage and outcome.
pub(crate) type Outcomes = BTreeMap<String, BTreeMap<String, u64>>;

/// How many lines were read, parsed, and given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Totals {
    /// Lines read.
    pub(crate) lines: u64,
    /// Lines parsed.
    pub(crate) parsed: u64,
    /// Lines that could not be parsed.
    pub(crate) dead_letters: u64,
}

/// An incident with the changes that came before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Finding {
    /// The incident.
    pub(crate) incident: Incident,
    /// Its suspects.
    pub(crate) suspects: Vec<Suspect>,
}

/// The answer of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Report {
    totals: Totals,
    findings: Vec<Finding>,
    outcomes: Outcomes,
}

impl Report {
    /// Sorts the findings and their suspects.
    pub(crate) fn new(totals: Totals, mut findings: Vec<Finding>, outcomes: Outcomes) -> Self {
        for finding in &mut findings {
            finding.suspects.sort_by(|a, b| (a.micros_before, &a.change).cmp(&(b.micros_before, &b.change)));
        }
        findings.sort_by(|a, b| place(a).cmp(&place(b)));
        Self { totals, findings, outcomes }
    }

    /// Writes the report as JSON, one line end at the end.
    ///
    /// # Errors
    /// Where the serialiser fails, which it does for no value of these types.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        let report = JsonReport {
            lines: self.totals.lines,
            parsed: self.totals.parsed,
            dead_letters: self.totals.dead_letters,
            incidents: self.findings.iter().map(JsonIncident::from).collect(),
            outcomes: &self.outcomes,
        };
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    }

    /// Writes the report as Markdown, with notes on how the inputs were read.
    pub(crate) fn to_markdown(&self, notes: &[String]) -> String {
        let mut text = "# What broke, and what changed just before\n\n".to_owned();
        let _ = writeln!(text, "{}", self.counts());
        for note in notes {
            let _ = writeln!(text, "\n> {}", plain(note));
        }
        for (number, finding) in (1..).zip(&self.findings) {
            write_finding(&mut text, number, finding);
        }
        write_outcomes(&mut text, &self.outcomes);
        text
    }

    /// Writes the main points for a terminal.
    pub(crate) fn summary(&self, notes: &[String]) -> String {
        let mut text = format!("{}\n", self.counts());
        for note in notes.iter().take(SUMMARY_NOTES_MAX) {
            let _ = writeln!(text, "  {}", visible(note));
        }
        and_more(&mut text, "  ", notes.len(), SUMMARY_NOTES_MAX);
        for (number, finding) in (1..).zip(self.findings.iter().take(SUMMARY_INCIDENTS_MAX)) {
            summarize(&mut text, number, finding);
        }
        and_more(&mut text, "\n", self.findings.len(), SUMMARY_INCIDENTS_MAX);
        text.push_str("\nHow the inputs of each agent ended:\n");
        for (agent, counts) in &self.outcomes {
            let counts: Vec<String> =
                occurred(counts).map(|(outcome, count)| format!("{count} {outcome}")).collect();
            if !counts.is_empty() {
                let _ = writeln!(text, "  {agent:<12} {}", counts.join(", "));
            }
        }
        text
    }

    fn counts(&self) -> String {
        let Totals { lines, parsed, dead_letters } = self.totals;
        let incidents = counted(self.findings.len() as u64, "incident");
        let lines = counted(lines, "line");
        format!("{incidents} in {lines}; {parsed} parsed, {dead_letters} could not be parsed.")
    }
}

#[derive(Serialize)]
struct JsonReport<'a> {
    lines: u64,
    parsed: u64,
    dead_letters: u64,
    incidents: Vec<JsonIncident<'a>>,
    outcomes: &'a Outcomes,
}

#[derive(Serialize)]
struct JsonIncident<'a> {
    fingerprint: &'a str,
    component: &'a str,
    severity: Severity,
    first: String,
    last: String,
    count: u64,
    sample: &'a str,
    suspects: Vec<JsonSuspect<'a>>,
}

impl<'a> From<&'a Finding> for JsonIncident<'a> {
    fn from(finding: &'a Finding) -> Self {
        let Incident { component, fingerprint, cluster } = &finding.incident;
        Self {
            fingerprint,
            component,
            severity: cluster.severity,
            first: render(cluster.first),
            last: render(cluster.last),
            count: cluster.count,
            sample: &cluster.sample.text,
            suspects: finding.suspects.iter().map(JsonSuspect::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct JsonSuspect<'a> {
    source: &'a str,
    at: String,
    component: &'a str,
    summary: &'a str,
    /// Whole seconds, rounded down.
    seconds_before: i64,
}

impl<'a> From<&'a Suspect> for JsonSuspect<'a> {
    fn from(suspect: &'a Suspect) -> Self {
        Self {
            source: &suspect.change.source,
            at: render(suspect.change.at),
            component: &suspect.change.component,
            summary: &suspect.change.summary,
            seconds_before: suspect.micros_before / MICROS_PER_SECOND,
        }
    }
}

fn place(finding: &Finding) -> (i64, &str, &str) {
    let incident = &finding.incident;
    (incident.cluster.first, &incident.component, &incident.fingerprint)
}

/// Writes a finding for a terminal.
fn summarize(text: &mut String, number: usize, Finding { incident, suspects }: &Finding) {
    let Incident { component, fingerprint, cluster } = incident;
    let _ = writeln!(text, "\n{number}. {}: {}", visible(component), visible(fingerprint));
    let (first, last) = (render(cluster.first), render(cluster.last));
    let lines = counted(cluster.count, "line");
    let _ = writeln!(text, "   {}, {lines} from {first} to {last}", cluster.severity);
    for Suspect { change, micros_before } in suspects.iter().take(SUMMARY_SUSPECTS_MAX) {
        let before = span(micros_before / MICROS_PER_SECOND);
        let (summary, source) = (visible(&change.summary), visible(&change.source));
        let _ = writeln!(text, "   {before} before: {summary} ({source})");
    }
    if suspects.is_empty() {
        text.push_str("   no change of this component in the window before\n");
    }
    and_more(text, "   ", suspects.len(), SUMMARY_SUSPECTS_MAX);
}

/// Says how many of a list were left out.
fn and_more(text: &mut String, indent: &str, count: usize, shown_max: usize) {
    if count > shown_max {
        let _ = writeln!(text, "{indent}and {} more; --report FILE.md writes all", count - shown_max);
    }
}

fn write_finding(text: &mut String, number: usize, finding: &Finding) {
    let Incident { component, fingerprint, cluster } = &finding.incident;
    let _ = writeln!(text, "\n## {number}. {}: {}\n", code(component), code(fingerprint));
    let lines = counted(cluster.count, "line");
    let (first, last) = (render(cluster.first), render(cluster.last));
    let _ = writeln!(text, "* Severity {}, {lines} from {first} to {last}.", cluster.severity);
    let sample = &cluster.sample;
    let _ = writeln!(
        text,
        "* First line, {} line {}: {}",
        code(&sample.source),
        sample.number,
        code(&sample.text)
    );
    if finding.suspects.is_empty() {
        text.push_str("* No change of this component in the window before.\n");
    } else {
        text.push_str("* Changed before:\n");
    }
    for Suspect { change, micros_before } in &finding.suspects {
        let before = span(micros_before / MICROS_PER_SECOND);
        let (at, summary, source) = (render(change.at), code(&change.summary), code(&change.source));
        let _ =
            writeln!(text, "  * {before} before, {at}: {summary} ({} in {source})", code(&change.component));
    }
}

fn write_outcomes(text: &mut String, outcomes: &Outcomes) {
    if outcomes.values().all(|counts| occurred(counts).next().is_none()) {
        return;
    }
    text.push_str("\n## Outcomes\n\n| Stage | Outcome | Count |\n|---|---|---:|\n");
    for (stage, counts) in outcomes {
        for (outcome, count) in occurred(counts) {
            let _ = writeln!(text, "| {} | {} | {count} |", plain(stage), plain(outcome));
        }
    }
}

/// The outcomes that came up at all; the JSON names the others too.
fn occurred(counts: &BTreeMap<String, u64>) -> impl Iterator<Item = (&String, &u64)> {
    counts.iter().filter(|(_, count)| **count > 0)
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn span(seconds: i64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Text from a log as a code span that nothing in it can end: its fence is longer than any row of backticks
/// inside.
fn code(text: &str) -> String {
    let shown = visible(text);
    let longest = shown.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if shown.starts_with('`') || shown.ends_with('`') || shown.is_empty() { " " } else { "" };
    format!("{fence}{pad}{shown}{pad}{fence}")
}

/// Text outside of code, where Markdown's own signs are escaped.
fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in visible(text).chars() {
        if "\\`*_[]<>|#&".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// The first characters, those without a shape replaced.
fn visible(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN_CHARACTERS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::changes::Change;
    use super::super::incident::{Cluster, Sample};
    use super::*;

    fn finding(first: i64, component: &str, before: &[i64]) -> Finding {
        let first = first * MICROS_PER_SECOND;
        let sample =
            Sample { at: first, source: "a.log".into(), number: 7, text: "it `broke`\n# not a title".into() };
        let cluster = Cluster { first, last: first + 1, count: 3, severity: Severity::Error, sample };
        let incident = Incident { component: component.into(), fingerprint: "it <str>".into(), cluster };
        let suspects = before.iter().map(|seconds| suspect(first, seconds * MICROS_PER_SECOND)).collect();
        Finding { incident, suspects }
    }

    fn suspect(first: i64, micros_before: i64) -> Suspect {
        let (source, component, summary) = ("c.csv".into(), "api".into(), "v2".into());
        Suspect {
            change: Change { source, at: first - micros_before, component, summary, package: false },
            micros_before,
        }
    }

    fn report(findings: Vec<Finding>) -> Report {
        let outcomes = BTreeMap::from([("parse".to_owned(), BTreeMap::from([("done".to_owned(), 9)]))]);
        Report::new(Totals { lines: 10, parsed: 9, dead_letters: 1 }, findings, outcomes)
    }

    #[test]
    fn the_json_has_the_documented_shape() {
        let json = report(vec![finding(1_795_186_200, "api", &[90])]).to_json().expect("serialises");
        let expected = r#"{
  "lines": 10,
  "parsed": 9,
  "dead_letters": 1,
  "incidents": [
    {
      "fingerprint": "it <str>",
      "component": "api",
      "severity": "error",
      "first": "2026-11-20T14:50:00Z",
      "last": "2026-11-20T14:50:00.000001Z",
      "count": 3,
      "sample": "it `broke`\n# not a title",
      "suspects": [
        {
          "source": "c.csv",
          "at": "2026-11-20T14:48:30Z",
          "component": "api",
          "summary": "v2",
          "seconds_before": 90
        }
      ]
    }
  ],
  "outcomes": {
    "parse": {
      "done": 9
    }
  }
}
"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn the_order_of_findings_does_not_matter() {
        let one = report(vec![finding(2, "b", &[3, 1, 2]), finding(2, "a", &[]), finding(1, "c", &[])]);
        let other = report(vec![finding(1, "c", &[]), finding(2, "a", &[]), finding(2, "b", &[2, 3, 1])]);
        assert_eq!(one, other);
        assert_eq!(
            one.findings[2].suspects.iter().map(|s| s.micros_before / MICROS_PER_SECOND).max(),
            Some(3)
        );
        assert!(one.findings[2].suspects.is_sorted_by_key(|suspect| suspect.micros_before));
    }

    #[test]
    fn log_text_cannot_break_the_markdown() {
        let text = report(vec![finding(1, "api", &[3_700])]).to_markdown(&["the <b>\nyear".to_owned()]);
        assert!(text.contains("``it `broke` # not a title``"), "{text}");
        assert!(text.contains("> the \\<b\\> year"), "{text}");
        assert!(text.contains("1 h 1 min before"), "{text}");
        assert_eq!(code("``"), "``` `` ```");
        assert_eq!(visible(&"x".repeat(400)).chars().count(), SHOWN_CHARACTERS_MAX + 1);
    }
}
