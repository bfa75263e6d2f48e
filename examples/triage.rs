//! What broke, and what changed just before?
//!
//! Reads logs and lists of changes, gathers severe lines into incidents, and names for each incident the changes of the
//! same component that came shortly before it. One run of a Volery runtime does the whole job:
//!
//! ```text
//! logs ──▶ RawLine ─▶ parse ─▶ ParsedLine ─▶ classify ─▶ Classified ─▶ fingerprint ─▶ Symptom
//!                       │ dead letter                                                   │
//!                       ▼                                    batch by size or wait      ▼
//!            bury ◀─ Failure                                 per component and ───▶  gather
//!                                                            fingerprint                │ Burst
//!                                                                                       ▼
//! changes ──▶ Change ──┐ join by component,         batch per fingerprint until ───▶  merge
//!                      │ every pair in the window   the run is finished                 │
//!                      ▼                                                                │
//!                   accuse ◀───────────────── Incident ◀────────────────────────────────┘
//!                      │ Suspect                 │
//!                      └────────▶ record ◀───────┘ ─▶ report
//! ```
//!
//! Usage; without arguments it looks at the package log of this machine, or at the sample in `examples/data`:
//!
//! ```text
//! cargo run --release --example triage -- [--log FILE]... [--changes FILE]... [--window 10m] [--gap 2m]
//!     [--min-count 3] [--year YEAR] [--store memory|FILE] [--otlp ENDPOINT] [--report FILE.md] [--json FILE.json]
//! ```
//!
//! Inputs may be gzip; `-` is standard input. Files are read twice, the first time for the year of stamps that name
//! none; what can be read only once (standard input, pipes) is held in memory instead. A line that cannot be parsed is
//! a dead letter; the report counts them by cause. The same inputs give the same JSON, byte for byte: of the counts of
//! outcomes those that depend on wall time are left out (see `agents.rs`). With `--store FILE` a start that was cut off,
//! at whatever moment, is taken up by the next one with the same arguments and inputs, and the JSON is the same as well.
//! Exit codes stand in `trouble.rs`.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use volery::telemetry::{self, Otlp, Telemetry};
use volery::{Error, Memory, Partial, Providers, Run, Sqlite, Tally, Volery};

mod triage {
    pub(crate) mod agents;
    pub(crate) mod changes;
    pub(crate) mod component;
    pub(crate) mod defaults;
    pub(crate) mod deploy_file;
    pub(crate) mod feeding;
    pub(crate) mod fingerprint;
    pub(crate) mod git_log;
    pub(crate) mod incident;
    pub(crate) mod ledger;
    pub(crate) mod line;
    pub(crate) mod options;
    pub(crate) mod package;
    pub(crate) mod package_log;
    pub(crate) mod report;
    pub(crate) mod scan;
    pub(crate) mod session;
    pub(crate) mod severity;
    pub(crate) mod source;
    pub(crate) mod stamp;
    pub(crate) mod suspect;
    pub(crate) mod trouble;
    pub(crate) mod year;
}

use triage::agents::{self, PARSE, UNSTEADY};
use triage::feeding::{publish_changes, publish_lines};
use triage::ledger::Ledger;
use triage::options::{Options, Store};
use triage::report::{Outcomes, Report, Totals};
use triage::scan::Scan;
use triage::session::{self, Session};
use triage::trouble::{CUT_SHORT, Trouble};
use triage::{changes::Change, defaults, scan::Log};

/// Where the report goes unless told otherwise.
const REPORT_DEFAULT: &str = "triage-report.md";

/// Finished artifacts that the store keeps. The report needs none of them (see `ledger.rs`), and a line may take
/// 64 KiB, so this is kept small.
const KEEP: usize = 1_000;

/// Inputs that may wait for an agent before more lines are read. Fewer let the agents run dry between chunks; more only
/// take memory.
const QUEUED_MAX: u64 = 4_000;

/// How long the end of the trace may take to be sent.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// Shorter inputs are through before a progress bar can be read.
const PROGRESS_LINES_MIN: u64 = 50_000;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match triage(&options).await {
        Ok(exit_code) => exit_code,
        Err(trouble) => {
            // When standard error is gone, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "triage: {trouble}");
            trouble.exit_code()
        }
    }
}

async fn triage(options: &Options) -> Result<ExitCode, Trouble> {
    let (inputs, year) = (defaults::inputs(options), options.year);
    let scanning = tokio::task::spawn_blocking(move || Scan::read(inputs, year));
    let mut scan = scanning.await.map_err(Error::other)??;
    let lines = scan.lines();

    let telemetry = options.otlp.as_deref().map(export_to).transpose()?;
    let providers = telemetry.as_ref().map_or_else(Providers::none, Telemetry::providers);
    let ledger = Ledger::default();
    let volery = start(options, &scan, &ledger, providers).await?;
    let session = Session::new(options, &scan);
    let (logs, changes) = (std::mem::take(&mut scan.logs), std::mem::take(&mut scan.changes));
    let ended = investigate(&volery, session, options, (logs, changes), &ledger).await;
    // After an interruption, a second signal cuts this short.
    volery.shutdown().await?;
    // The shutdown has sent the trace; what is said here is whether all of it arrived.
    if let Some(telemetry) = telemetry {
        let report = telemetry.shutdown(SEND_WITHIN).await;
        scan.notes
            .extend((!report.is_complete()).then(|| format!("not all of the trace was sent: {report}")));
    }
    let (outcomes, ledger) = ended?;

    let parse = outcomes.get(PARSE).cloned().unwrap_or_default();
    let count = |outcome: &str| parse.get(outcome).copied().unwrap_or_default();
    let totals = Totals { lines, parsed: count("consumed"), dead_letters: count("dead") };
    scan.notes.extend(ledger.notes());
    let report = Report::new(totals, ledger.findings(), outcomes);
    publish(options, &report, &scan.notes)?;
    Ok(if scan.cut_short { ExitCode::from(CUT_SHORT) } else { ExitCode::SUCCESS })
}

/// Sets OpenTelemetry up.
fn export_to(endpoint: &str) -> Result<Telemetry, Trouble> {
    let set_up = telemetry::init("triage").otlp(Otlp::http().endpoint(endpoint));
    Ok(set_up.start().map_err(Error::other)?)
}

/// Starts the runtime, which from now on stops on signals.
async fn start(
    options: &Options,
    scan: &Scan,
    ledger: &Ledger,
    providers: Providers,
) -> Result<Volery, Trouble> {
    let builder = Volery::builder("triage").agents(agents::all(options, scan.years.clone(), ledger));
    let builder = match &options.store {
        Store::Memory => builder.store(Memory::new().keep(KEEP)),
        Store::File(path) => builder.store(Sqlite::open(path).map_err(Error::from)?),
    };
    let volery = builder
        .telemetry(providers)
        .configure(|settings| {
            // Lines wait in their file rather than in memory; what is held until the end must not stop them.
            settings.queued_max = QUEUED_MAX;
            settings.collected_max = u64::MAX;
            // Interrupted, there is no report; then nothing that waits is worth doing.
            settings.drain_queued = false;
            settings.partial_batches = Partial::Keep;
        })
        .start()
        .await?;
    volery.shutdown_on_signals()?;
    Ok(volery)
}

/// Publishes everything in one run, waits until all of it has its outcome, and returns what is known then.
async fn investigate(
    volery: &Volery,
    session: Session,
    options: &Options,
    (logs, changes): (Vec<Log>, Vec<Change>),
    ledger: &Ledger,
) -> Result<(Outcomes, Ledger), Trouble> {
    let run = match options.store {
        Store::Memory => volery.run("triage").open(),
        Store::File(_) => session.run(volery).await?,
    };
    let progress = progress(logs.iter().map(|log| log.lines).sum());
    let published = publish_lines(&run, logs, &progress).await;
    progress.finish_and_clear();
    published?;
    publish_changes(&run, changes).await?;
    finish(&run).await?;
    Ok(match options.store {
        Store::Memory => (outcomes(volery).await?, ledger.clone()),
        Store::File(_) => (session::outcomes(volery, &run).await?, session::ledger(volery, &run).await?),
    })
}

async fn finish(run: &Run) -> Result<(), Trouble> {
    let report = run.finish().await?;
    if report.is_complete() { Ok(()) } else { Err(Trouble::Unfinished(report.to_string())) }
}

fn progress(lines: u64) -> ProgressBar {
    if lines < PROGRESS_LINES_MIN || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} lines, {eta} left");
    ProgressBar::new(lines).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// How the inputs of every agent ended, for agents whose counts do not depend on wall time.
async fn outcomes(volery: &Volery) -> Result<Outcomes, Trouble> {
    let agents = volery.agents().await?;
    let steady = agents.iter().filter(|agent| !UNSTEADY.contains(&agent.name.as_str()));
    Ok(steady.map(|agent| (agent.name.to_string(), by_name(&agent.tally))).collect())
}

fn by_name(tally: &Tally) -> std::collections::BTreeMap<String, u64> {
    let counts = [
        ("consumed", tally.consumed),
        ("expired", tally.expired),
        ("discarded", tally.discarded),
        ("cancelled", tally.cancelled),
        ("dead", tally.dead),
    ];
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// Writes the reports and says so.
fn publish(options: &Options, report: &Report, notes: &[String]) -> Result<(), Trouble> {
    let path = options.report.as_deref().unwrap_or(Path::new(REPORT_DEFAULT));
    write(path, &report.to_markdown(notes))?;
    if let Some(path) = &options.json {
        let json = report.to_json().map_err(Error::other)?;
        write(path, &json)?;
    }
    let mut summary = report.summary();
    for path in [Some(path), options.json.as_deref()].into_iter().flatten() {
        let _ = writeln!(summary, "report: {}", path.display());
    }
    // Whoever closed standard output does not want it; the reports are written.
    let _ = std::io::stdout().write_all(summary.as_bytes());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    std::fs::write(path, text).map_err(|cause| Trouble::Report { path: path.to_owned(), cause })
}
