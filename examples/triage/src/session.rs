//! A session: what makes two starts of the program the same piece of work.
//!
//! With a store in a file, a start with the same arguments and the same inputs goes on with the run of the
//! one before, and the report is made from the store, because no single start may have seen all of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use volery::query::Query;
use volery::query::SummaryBy;
use volery::{Failure, Payload, Result, Run, Volery};

use super::agents::IN_STORE;
use super::changes::Change;
use super::incident::Incident;
use super::ledger::Ledger;
use super::options::Options;
use super::report::Outcomes;
use super::scan::Scan;
use super::suspect::Suspect;

/// Everything that the result depends on. It is published first, under itself as the key, and names the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Session {
    /// Every log with its number of lines.
    logs: Vec<(String, u64)>,
    changes: Vec<Change>,
    window: i64,
    gap: i64,
    min_count: u64,
    year: Option<i16>,
}

impl Session {
    /// Describes a start of the program.
    pub(crate) fn new(options: &Options, scan: &Scan) -> Self {
        Self {
            logs: scan.logs.iter().map(|log| (log.input.name.clone(), log.lines)).collect(),
            changes: scan.changes.clone(),
            window: options.window,
            gap: options.gap,
            min_count: options.min_count,
            year: options.year,
        }
    }

    /// Returns the run of this session: the one of an earlier start, or a new one.
    pub(crate) async fn run(self, volery: &Volery) -> Result<Run> {
        let key = serde_json::to_string(&self).map_err(volery::Error::other)?;
        let published = volery.publish(self).idempotency_key(key).await?;
        Ok(volery.attach(published.run, "triage"))
    }
}

/// Reads incidents, suspects and dead letters of a run back from the store.
pub(crate) async fn ledger(volery: &Volery, run: &Run) -> Result<Ledger> {
    let ledger = Ledger::default();
    each::<Incident>(volery, run, |artifact, incident| ledger.incident(artifact, incident)).await?;
    each::<Suspect>(volery, run, |artifact, suspect| ledger.suspect(artifact, suspect)).await?;
    each::<Failure>(volery, run, |_, failure| ledger.failure(failure)).await?;
    Ok(ledger)
}

async fn each<T: Payload>(
    volery: &Volery,
    run: &Run,
    mut take: impl FnMut(&volery::Artifact, &T),
) -> Result<()> {
    let mut pages = of_run(volery, run).kind_of::<T>().pages();
    while let Some(page) = pages.next().await? {
        for artifact in &page.artifacts {
            take(artifact, &*artifact.payload::<T>()?);
        }
    }
    Ok(())
}

/// How the inputs of every agent ended, over all starts, for agents whose counts do not depend on wall time.
pub(crate) async fn outcomes(volery: &Volery, run: &Run) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    for (agent, kinds) in IN_STORE {
        let names = ["consumed", "expired", "discarded", "cancelled", "dead"];
        let mut counts: BTreeMap<String, u64> = names.into_iter().map(|name| (name.to_owned(), 0)).collect();
        for kind in kinds {
            for summary in of_run(volery, run).kind(*kind).summary(SummaryBy::Outcome).await? {
                *counts.entry(summary.name).or_default() += summary.count;
            }
        }
        outcomes.insert(agent.to_owned(), counts);
    }
    share_incidents(volery, run, &mut outcomes).await?;
    Ok(outcomes)
}

/// Incidents are taken by two agents, and the store counts both together: `record` consumes every one of
/// them, the rest is `accuse`'s.
async fn share_incidents(volery: &Volery, run: &Run, outcomes: &mut Outcomes) -> Result<()> {
    let incidents = of_run(volery, run).kind_of::<Incident>().summary(SummaryBy::Kind).await?;
    let incidents: u64 = incidents.iter().map(|summary| summary.count).sum();
    let mut give = |agent: &str, change: &dyn Fn(u64) -> u64| {
        if let Some(consumed) = outcomes.get_mut(agent).and_then(|counts| counts.get_mut("consumed")) {
            *consumed = change(*consumed);
        }
    };
    give("accuse", &|consumed| consumed.saturating_sub(incidents));
    give("record", &|consumed| consumed + incidents);
    Ok(())
}

fn of_run(volery: &Volery, run: &Run) -> Query {
    volery.query().run(run.id())
}
