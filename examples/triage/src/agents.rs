//! The agents: what each takes from the board, which pure module does its work, and what it publishes.
//!
//! Holds no rules of its own; those stand in the module that each engine calls. Called once, by the root
//! file.
//!
//! | agent | takes | publishes |
//! | --- | --- | --- |
//! | `parse` | every `RawLine` | a `ParsedLine`, or the line becomes a dead letter |
//! | `classify` | every `ParsedLine` | a `Classified`, if the line is severe enough |
//! | `fingerprint` | every `Classified` | a `Symptom` |
//! | `gather` | batches of `Symptom` per component and fingerprint | `Burst`s |
//! | `merge` | all `Burst`s per component and fingerprint | `Incident`s |
//! | `accuse` | every pair of `Incident` and `Change` of a component within the window | a `Suspect`, if it is one |
//! | `record` | every `Incident`, every `Suspect` | nothing; it fills the ledger |
//! | `bury` | every `Failure` | nothing; it counts causes in the ledger |

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use volery::{Agent, Batch, Context, Error, Failure, Publish, Shape, Shared, Timestamp, by, join, one};

use super::changes::Change;
use super::fingerprint::fingerprint;
use super::incident::{Burst, Incident, SEVERITY_MIN, Sample, Symptom, gather, incidents, merge};
use super::ledger::Ledger;
use super::line::{ParseError, ParsedLine, parse};
use super::options::Options;
use super::package::join_key;
use super::severity::{Severity, classify};
use super::source::RawLine;
use super::suspect::{Suspect, suspect};
use super::year::YearHint;

/// The agent whose inputs are the lines.
pub(crate) const PARSE: &str = "parse";
const CLASSIFY: &str = "classify";
const FINGERPRINT: &str = "fingerprint";
const GATHER: &str = "gather";
const MERGE: &str = "merge";
const BURY: &str = "bury";

/// The kinds that each agent takes, as far as its outcomes do not depend on wall time. Of `Incident`, see
/// `session.rs`.
pub(crate) const IN_STORE: [(&str, &[&str]); 7] = [
    (PARSE, &["RawLine"]),
    (CLASSIFY, &["ParsedLine"]),
    (FINGERPRINT, &["Classified"]),
    (GATHER, &["Symptom"]),
    ("accuse", &["Incident", "Change"]),
    ("record", &["Suspect"]),
    (BURY, &["Failure"]),
];

/// Agents whose outcomes depend on wall time: `gather` closes batches by the clock, so how many `Burst`s
/// `merge` takes differs from run to run. Its results do not; only its counts are left out of the report.
pub(crate) const UNSTEADY: [&str; 1] = [MERGE];

/// Jobs per agent at once. No engine here waits for anything, so two would keep two cores busy; the rest
/// hides the way from an agent to the board and back. Halved, throughput drops; doubled, nothing is gained.
const CONCURRENCY: u32 = 32;

/// Symptoms in one burst. Smaller bursts are more work to merge; larger ones are rarely filled before their
/// time.
const BURST_SYMPTOMS_MAX: u32 = 256;

/// How long a symptom waits for company. Longer, and a log of ever new errors is read in jerks, because
/// feeding waits for symptoms; shorter, and more bursts hold a single line.
const BURST_WAIT: Duration = Duration::from_millis(100);

/// A parsed line that is severe enough to count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Classified {
    /// The line; shared, because its text can be long.
    line: Arc<ParsedLine>,
    severity: Severity,
}

/// A line that could not be parsed; the text of its dead letter.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}:{number}: {}", cause.kind())]
struct Unparsed {
    source_name: String,
    number: u64,
    #[source]
    cause: ParseError,
}

/// Returns all agents, in the order in which a finished run lets go of what they collected.
pub(crate) fn all(options: &Options, years: YearHint, ledger: &Ledger) -> Vec<Agent> {
    let (gap, min_count) = (options.gap, options.min_count);
    let work = [
        parsing(years),
        Agent::new(CLASSIFY).consumes(one::<Shared<ParsedLine>>()).engine(classified),
        Agent::new(FINGERPRINT).consumes(one::<Shared<Classified>>()).engine(symptom),
        gathering(gap),
        merging(gap, min_count),
        accusing(options.window),
    ];
    let work = work.into_iter().map(|agent| agent.concurrency(CONCURRENCY));
    work.chain([recording(ledger), burying(ledger)]).collect()
}

fn parsing(years: YearHint) -> Agent {
    let years = Arc::new(years);
    Agent::new(PARSE).consumes(one::<Shared<RawLine>>()).engine(move |line: Shared<RawLine>, _: Context| {
        let years = Arc::clone(&years);
        async move {
            let unparsed = |cause| Unparsed { source_name: line.source.clone(), number: line.number, cause };
            parse(&line, &years).map(Publish).map_err(unparsed)
        }
    })
}

async fn classified(line: Shared<ParsedLine>, _: Context) -> volery::Result<Option<Classified>> {
    let severity = classify(line.level, line.status, &line.message);
    // Nobody asks for lesser lines, so they are not published: most lines of most logs end here.
    Ok((severity >= SEVERITY_MIN).then(|| Classified { line: line.into_arc(), severity }))
}

async fn symptom(classified: Shared<Classified>, _: Context) -> volery::Result<Publish<Symptom>> {
    let line = &classified.line;
    Ok(Publish(Symptom {
        component: line.component.clone(),
        fingerprint: fingerprint(&line.message),
        severity: classified.severity,
        sample: Sample {
            at: line.at,
            source: line.source.clone(),
            number: line.number,
            text: line.text.clone(),
        },
    }))
}

fn gathering(gap: i64) -> Agent {
    let symptoms = one::<Symptom>()
        .per(|symptom| (symptom.component.clone(), symptom.fingerprint.clone()))
        .batch(Batch::of(BURST_SYMPTOMS_MAX).or_after(BURST_WAIT));
    Agent::new(GATHER).consumes(symptoms).engine(move |symptoms: Vec<Symptom>, _: Context| async move {
        Ok::<_, Error>(gather(symptoms, gap))
    })
}

fn merging(gap: i64, min_count: u64) -> Agent {
    let bursts = one::<Burst>()
        .per(|burst| (burst.component.clone(), burst.fingerprint.clone()))
        .batch(Batch::until_finished());
    Agent::new(MERGE).consumes(bursts).engine(move |bursts: Vec<Burst>, _: Context| async move {
        Ok::<_, Error>(incidents(merge(bursts, gap), min_count))
    })
}

/// The join looks at the time in the log, not at the time of publication. Its window is symmetric and its key
/// coarse; the engine drops pairs in which the change came afterwards or concerns another program.
///
/// Lines and changes come in any order, changes even after all lines, and incidents only when the run is
/// finished. So nothing may expire before: neither because the other side is ahead in log time (lateness) nor
/// because it is quiet in wall time (patience). Both are without end; `Run::finish` lets go of what is held.
fn accusing(window: i64) -> Agent {
    let at = Timestamp::from_micros_since_epoch;
    let incidents = by(|incident: &Incident| join_key(&incident.component))
        .at(move |incident: &Incident| at(incident.cluster.first));
    let changes = by(|change: &Change| join_key(&change.component)).at(move |change: &Change| at(change.at));
    let pairs = join(incidents.shared(), changes.shared())
        .within(Duration::from_micros(window.unsigned_abs()))
        .lateness(Duration::MAX)
        .patience(Duration::MAX)
        .every_pair();
    Agent::new("accuse").consumes(pairs).engine(
        move |(incident, change): (Shared<Incident>, Shared<Change>), _: Context| async move {
            Ok::<_, Error>(suspect(&incident, &change, window))
        },
    )
}

fn recording(ledger: &Ledger) -> Agent {
    let (incidents, suspects) = (ledger.clone(), ledger.clone());
    Agent::new("record")
        .consumes(one::<Shared<Incident>>())
        .engine(move |incident: Shared<Incident>, context: Context| {
            let ledger = incidents.clone();
            async move {
                ledger.incident(&context.inputs()[0], &incident);
                Ok::<_, Error>(())
            }
        })
        .consumes(one::<Shared<Suspect>>())
        .engine(move |suspect: Shared<Suspect>, context: Context| {
            let ledger = suspects.clone();
            async move {
                ledger.suspect(&context.inputs()[0], &suspect);
                Ok::<_, Error>(())
            }
        })
}

fn burying(ledger: &Ledger) -> Agent {
    let ledger = ledger.clone();
    Agent::new(BURY).consumes(one::<Shared<Failure>>()).engine(move |failure: Shared<Failure>, _: Context| {
        let ledger = ledger.clone();
        async move {
            ledger.failure(&failure);
            Ok::<_, Error>(())
        }
    })
}
