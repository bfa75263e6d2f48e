//! Gathers severe lines into clusters in event time, and merges clusters that were gathered apart.
//!
//! A cluster is a set of lines of one component and fingerprint whose neighbours are at most a gap apart.
//! Merging is associative and commutative, and a cluster may be merged with itself split in any way: batches
//! can come in any size and order. That holds because a cluster covers its span without a hole wider than the
//! gap, so that any line inside the span belongs to it. A cluster of enough lines is an incident. Pure: no
//! I/O, no clock.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::severity::Severity;

/// The lines from this severity on count.
pub(crate) const SEVERITY_MIN: Severity = Severity::Error;

/// A line that counts, as input of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Symptom {
    /// The component of the line.
    pub(crate) component: String,
    /// The template of its message.
    pub(crate) fingerprint: String,
    /// Its severity.
    pub(crate) severity: Severity,
    /// The line as an example.
    pub(crate) sample: Sample,
}

/// One line of a cluster. The smallest in the order of the fields stands for the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Sample {
    /// Its time in microseconds since the Unix epoch.
    pub(crate) at: i64,
    /// The input it came from.
    pub(crate) source: String,
    /// Its number there.
    pub(crate) number: u64,
    /// The line.
    pub(crate) text: String,
}

/// Lines near each other in event time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Cluster {
    /// The earliest time, in microseconds since the Unix epoch.
    pub(crate) first: i64,
    /// The latest time.
    pub(crate) last: i64,
    /// How many lines.
    pub(crate) count: u64,
    /// The worst severity.
    pub(crate) severity: Severity,
    /// The earliest line.
    pub(crate) sample: Sample,
}

impl Cluster {
    /// Joins another cluster to this one, whatever lies between them.
    fn absorb(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count += other.count;
        self.severity = self.severity.max(other.severity);
        if other.sample < self.sample {
            self.sample = other.sample;
        }
    }
}

/// The clusters of one component and fingerprint in one batch of lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Burst {
    /// The component.
    pub(crate) component: String,
    /// The fingerprint.
    pub(crate) fingerprint: String,
    /// The clusters, in order of time.
    pub(crate) clusters: Vec<Cluster>,
}

/// A cluster of enough lines, with what it is a cluster of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Incident {
    /// The component.
    pub(crate) component: String,
    /// The fingerprint.
    pub(crate) fingerprint: String,
    /// When, how many, how bad.
    pub(crate) cluster: Cluster,
}

/// Gathers a batch of lines of any components and fingerprints; `gap` is in microseconds.
pub(crate) fn gather(symptoms: impl IntoIterator<Item = Symptom>, gap: i64) -> Vec<Burst> {
    let mut groups: BTreeMap<(String, String), Vec<Cluster>> = BTreeMap::new();
    for Symptom { component, fingerprint, severity, sample } in symptoms {
        let cluster = Cluster { first: sample.at, last: sample.at, count: 1, severity, sample };
        groups.entry((component, fingerprint)).or_default().push(cluster);
    }
    into_bursts(groups, gap)
}

/// Merges bursts; of each component and fingerprint one is left. `gap` is in microseconds.
pub(crate) fn merge(bursts: impl IntoIterator<Item = Burst>, gap: i64) -> Vec<Burst> {
    let mut groups: BTreeMap<(String, String), Vec<Cluster>> = BTreeMap::new();
    for Burst { component, fingerprint, clusters } in bursts {
        groups.entry((component, fingerprint)).or_default().extend(clusters);
    }
    into_bursts(groups, gap)
}

/// Keeps the clusters of at least `count_min` lines.
pub(crate) fn incidents(bursts: impl IntoIterator<Item = Burst>, count_min: u64) -> Vec<Incident> {
    let mut found = Vec::new();
    for Burst { component, fingerprint, clusters } in bursts {
        for cluster in clusters.into_iter().filter(|cluster| cluster.count >= count_min) {
            found.push(Incident { component: component.clone(), fingerprint: fingerprint.clone(), cluster });
        }
    }
    found
}

fn into_bursts(groups: BTreeMap<(String, String), Vec<Cluster>>, gap: i64) -> Vec<Burst> {
    groups
        .into_iter()
        .map(|((component, fingerprint), clusters)| {
            let clusters = merge_clusters(clusters, gap);
            Burst { component, fingerprint, clusters }
        })
        .collect()
}

/// Joins clusters that overlap or whose distance is at most the gap.
fn merge_clusters(mut clusters: Vec<Cluster>, gap: i64) -> Vec<Cluster> {
    clusters.sort_by_key(|cluster| (cluster.first, cluster.last));
    let mut merged: Vec<Cluster> = Vec::new();
    for cluster in clusters {
        match merged.last_mut() {
            Some(open) if cluster.first.saturating_sub(open.last) <= gap => open.absorb(cluster),
            _ => merged.push(cluster),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GAP: i64 = 10;

    fn symptom((at, group, severe): (i64, u8, bool), number: u64) -> Symptom {
        let severity = if severe { Severity::Critical } else { Severity::Error };
        let sample = Sample { at, source: "a".into(), number, text: format!("line {number}") };
        Symptom {
            component: format!("c{}", group % 2),
            fingerprint: format!("f{}", group / 2),
            severity,
            sample,
        }
    }

    /// The definition, word for word: sort by time, cut where neighbours are more than the gap apart.
    fn model(symptoms: &[Symptom], count_min: u64) -> Vec<Incident> {
        let mut groups: BTreeMap<_, Vec<&Symptom>> = BTreeMap::new();
        for symptom in symptoms {
            groups.entry((symptom.component.clone(), symptom.fingerprint.clone())).or_default().push(symptom);
        }
        let mut found = Vec::new();
        for ((component, fingerprint), mut lines) in groups {
            lines.sort_by_key(|line| line.sample.clone());
            for run in lines.chunk_by(|a, b| b.sample.at - a.sample.at <= GAP) {
                let severity = run.iter().map(|line| line.severity).max().expect("a run is not empty");
                let cluster = Cluster {
                    first: run[0].sample.at,
                    last: run[run.len() - 1].sample.at,
                    count: run.len() as u64,
                    severity,
                    sample: run[0].sample.clone(),
                };
                if cluster.count >= count_min {
                    found.push(Incident {
                        component: component.clone(),
                        fingerprint: fingerprint.clone(),
                        cluster,
                    });
                }
            }
        }
        found
    }

    #[test]
    fn neighbours_exactly_a_gap_apart_are_one_cluster() {
        let lines = [0, 10, 20, 31].map(|at| symptom((at, 0, false), 0));
        let bursts = gather(lines, GAP);
        let spans: Vec<_> = bursts[0].clusters.iter().map(|c| (c.first, c.last, c.count)).collect();
        assert_eq!(spans, [(0, 20, 3), (31, 31, 1)]);
        assert_eq!(incidents(bursts, 3).len(), 1);
    }

    #[test]
    fn times_at_the_ends_of_the_range_do_not_overflow() {
        let lines = [i64::MIN, i64::MAX].map(|at| symptom((at, 0, false), 0));
        assert_eq!(gather(lines, GAP)[0].clusters.len(), 2);
    }

    proptest! {
        #[test]
        fn any_split_in_any_order_gives_the_incidents_of_the_model(
            lines in proptest::collection::vec((0..300_i64, 0..4_u8, any::<bool>()), 0..80),
            keys in proptest::collection::vec((0..6_usize, any::<u32>()), 80),
            tree in proptest::collection::vec(any::<bool>(), 6),
            count_min in 1..4_u64,
        ) {
            let symptoms: Vec<_> = (0..).zip(lines).map(|(number, line)| symptom(line, number)).collect();
            let mut batches = vec![Vec::new(); 6];
            let mut shuffled: Vec<_> = symptoms.iter().cloned().zip(keys).collect();
            shuffled.sort_by_key(|(_, (_, key))| *key);
            for (symptom, (batch, _)) in shuffled {
                batches[batch].push(symptom);
            }
            // Partial merges in a random tree.
            let mut bursts = Vec::new();
            for (batch, early) in batches.into_iter().zip(tree) {
                bursts.extend(gather(batch, GAP));
                if early {
                    bursts = merge(bursts, GAP);
                }
            }
            prop_assert_eq!(incidents(merge(bursts, GAP), count_min), model(&symptoms, count_min));
        }
    }
}
