//! The ledger: incidents, suspects and causes of dead letters, as the agents `record` and `bury` write them
//! down.
//!
//! The report is made from it and not from pages of the board: the board forgets finished artifacts beyond a
//! number chosen for small memory, and a log may hold more incidents than that. With a store in a file, which
//! forgets nothing, it is filled from there in the end: an earlier start of the program may have had part of
//! it. Entries are kept under the ids of their artifacts, so that writing one twice changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use volery::{Artifact, ArtifactId, Failure};

use super::incident::Incident;
use super::report::Finding;
use super::suspect::Suspect;

/// A shared ledger. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    incidents: HashMap<ArtifactId, Incident>,
    /// With the incident that each suspect belongs to.
    suspects: HashMap<ArtifactId, (ArtifactId, Suspect)>,
    causes: BTreeMap<String, Cause>,
}

/// Dead letters with one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    count: u64,
    /// The first line, by number and input: jobs end in no particular order, the report should not show it.
    first: (u64, String),
    /// The error of the first line.
    detail: String,
}

impl Ledger {
    /// Writes down an incident.
    pub(crate) fn incident(&self, artifact: &Artifact, incident: &Incident) {
        self.entries().incidents.insert(artifact.id(), incident.clone());
    }

    /// Writes down a suspect under its incident, which is the first cause of its artifact: the join names it
    /// first.
    pub(crate) fn suspect(&self, artifact: &Artifact, suspect: &Suspect) {
        if let Some(incident) = artifact.causes().first() {
            self.entries().suspects.insert(artifact.id(), (*incident, suspect.clone()));
        }
    }

    /// Counts a dead letter by its cause.
    pub(crate) fn failure(&self, failure: &Failure) {
        let text = failure.error.first().map_or("", String::as_str);
        let (place, kind) = text.rsplit_once(": ").unwrap_or(("", text));
        let (source, number) = place.rsplit_once(':').unwrap_or((place, ""));
        let first = (number.parse().unwrap_or_default(), source.to_owned());
        let detail = failure.error.last().cloned().unwrap_or_default();
        let mut entries = self.entries();
        match entries.causes.get_mut(kind) {
            Some(cause) => {
                cause.count += 1;
                if first < cause.first {
                    (cause.first, cause.detail) = (first, detail);
                }
            }
            None => drop(entries.causes.insert(kind.to_owned(), Cause { count: 1, first, detail })),
        }
    }

    /// Returns every incident with its suspects, in no order that matters.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let entries = self.entries();
        let mut suspects: HashMap<ArtifactId, Vec<Suspect>> = HashMap::new();
        for (incident, suspect) in entries.suspects.values() {
            suspects.entry(*incident).or_default().push(suspect.clone());
        }
        let finding = |(id, incident): (&ArtifactId, &Incident)| Finding {
            incident: incident.clone(),
            suspects: suspects.remove(id).unwrap_or_default(),
        };
        entries.incidents.iter().map(finding).collect()
    }

    /// Returns a sentence per cause of dead letters.
    pub(crate) fn notes(&self) -> Vec<String> {
        let sentence = |(kind, cause): (&String, &Cause)| {
            let Cause { count, first: (number, source), detail } = cause;
            let lines = if *count == 1 { "line is a dead letter" } else { "lines are dead letters" };
            format!("{count} {lines} ({kind}), the first at {source}:{number}: {detail}")
        };
        self.entries().causes.iter().map(sentence).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Every write is a single step, so a panic elsewhere cannot leave an entry half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str, detail: &str) -> Failure {
        let error = vec![text.to_owned(), detail.to_owned()];
        Failure { agent: "parse".into(), job: String::new(), attempts: 1, error, inputs: Vec::new() }
    }

    #[test]
    fn causes_are_counted_and_the_first_line_named_whatever_the_order() {
        let expected = [
            "1 line is a dead letter (blank), the first at c:\\a: b.log:9: blank line",
            "2 lines are dead letters (no_stamp), the first at a.log:7: no time stamp",
        ];
        let all = [
            failure("a.log:7: no_stamp", "no time stamp"),
            failure("a.log:30: no_stamp", "other"),
            failure("c:\\a: b.log:9: blank", "blank line"),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let ledger = Ledger::default();
            order.iter().for_each(|index| ledger.failure(&all[*index]));
            assert_eq!(ledger.notes(), expected);
        }
    }
}
