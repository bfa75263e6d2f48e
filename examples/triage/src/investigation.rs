//! The investigation: scans the inputs, runs the agents over them in one run of a runtime, and writes what
//! they found.
//!
//! Decides no outcome and parses no line; called by `main.rs`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use volery::runtime::Partial;
use volery::{Error, Memory, Run, Sqlite, Tally, Volery};

use crate::agents::{self, PARSE, UNSTEADY};
use crate::changes::Change;
use crate::export::Export;
use crate::feeding::{publish_changes, publish_lines};
use crate::inputs;
use crate::ledger::Ledger;
use crate::options::{Options, Store};
use crate::report::{Outcomes, Report, Totals};
use crate::scan::{Log, Scan};
use crate::session::{self, Session};
use crate::trouble::{CUT_SHORT, Trouble};

/// Finished artifacts that the store keeps. The report needs none of them (see `ledger.rs`), and a line may
/// take 64 KiB, so this is kept small.
const KEEP: usize = 1_000;

/// Inputs that may wait for an agent before more lines are read. Fewer let the agents run dry between chunks;
/// more only take memory.
const QUEUED_MAX: u64 = 4_000;

/// Shorter inputs are through before a progress bar can be read.
const PROGRESS_LINES_MIN: u64 = 50_000;

/// Runs the program with these arguments, of which the first is its name; see `--help`.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = Options::read(arguments).unwrap_or_else(|error| error.exit());
    match investigate(&options).await {
        Ok(exit_code) => exit_code,
        Err(trouble) => {
            // When standard error is gone, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "triage: {trouble}");
            trouble.exit_code()
        }
    }
}

async fn investigate(options: &Options) -> Result<ExitCode, Trouble> {
    let (inputs, year) = (inputs::chosen(options)?, options.year);
    let scanning = tokio::task::spawn_blocking(move || Scan::read(inputs, year));
    let mut scan = scanning.await.map_err(Error::other)??;
    let lines = scan.lines();

    let export = options.otlp.as_deref().map(Export::to).transpose()?;
    let ledger = Ledger::default();
    let volery = start(options, &scan, &ledger, export.as_ref()).await?;
    let session = Session::new(options, &scan);
    let (logs, changes) = (std::mem::take(&mut scan.logs), std::mem::take(&mut scan.changes));
    let ended = settle(&volery, session, options, (logs, changes), &ledger).await;
    // After an interruption, a second signal cuts this short.
    volery.shutdown().await?;
    if let Some(export) = export {
        scan.notes.extend(export.end().await);
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

/// Starts the runtime, which from now on stops on signals.
async fn start(
    options: &Options,
    scan: &Scan,
    ledger: &Ledger,
    export: Option<&Export>,
) -> Result<Volery, Trouble> {
    let builder = Volery::builder("triage").agents(agents::all(options, scan.years.clone(), ledger));
    let builder = match &options.store {
        Store::Memory => builder.store(Memory::new().keep(KEEP)),
        Store::File(path) => builder.store(Sqlite::open(path).map_err(Error::from)?),
    };
    let builder = match export {
        Some(export) => export.show(builder),
        None => builder,
    };
    let volery = builder
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
async fn settle(
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

/// Writes the reports that were asked for, and the summary.
fn publish(options: &Options, report: &Report, notes: &[String]) -> Result<(), Trouble> {
    let mut summary = report.summary(notes);
    if let Some(path) = &options.report {
        write(path, &report.to_markdown(notes))?;
    }
    if let Some(path) = &options.json {
        let json = report.to_json().map_err(Error::other)?;
        write(path, &json)?;
    }
    for path in [&options.report, &options.json].into_iter().flatten() {
        let _ = writeln!(summary, "report: {}", path.display());
    }
    answer(&summary)
}

/// Prints the summary. A reader that closed standard output does not want it, and that is no error.
fn answer(summary: &str) -> Result<(), Trouble> {
    let mut out = std::io::stdout().lock();
    match out.write_all(summary.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Trouble::Report { path: "standard output".into(), cause })
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    std::fs::write(path, text).map_err(|cause| Trouble::Report { path: path.to_owned(), cause })
}
