//! The scan: reads every input once before the run, for what has to be known beforehand.
//!
//! That is: whether all inputs can be read at all, the year of stamps that name none, how many lines there
//! are, and the changes. Logs are read a second time for the run (see `feeding.rs`), so their lines are not
//! kept, with one exception: standard input, pipes and other inputs that can be read only once are held in
//! memory. Blocks its thread.

use std::path::Path;

use super::changes::{Change, ChangeError, read_changes};
use super::inputs::Inputs;
use super::line::stamp_of;
use super::source::{Input, LINE_BYTES_MAX, Place, RawLine, ReadCounts, SourceError};
use super::stamp::Stamp;
use super::year::{YearHint, YearScan};

/// Errors of change files that the report lists; the rest is counted. All of them would bury the incidents.
const ERRORS_LISTED_MAX: usize = 10;

/// A log after its first reading.
#[derive(Debug)]
pub(crate) struct Log {
    /// The input.
    pub(crate) input: Input,
    /// How many lines it has. A log that grows meanwhile is read no further.
    pub(crate) lines: u64,
    /// The lines, where they cannot be read again.
    pub(crate) held: Option<Vec<RawLine>>,
}

/// The findings of the first reading.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The logs.
    pub(crate) logs: Vec<Log>,
    /// The changes of all files.
    pub(crate) changes: Vec<Change>,
    /// The years of stamps that name none.
    pub(crate) years: YearHint,
    /// Sentences for the report.
    pub(crate) notes: Vec<String>,
    /// Whether an input could not be read to its end.
    pub(crate) cut_short: bool,
}

impl Scan {
    /// Reads all inputs; `year` is the `--year` option.
    ///
    /// # Errors
    /// Where an input cannot be opened or holds no text. An input that breaks off later is noted instead.
    pub(crate) fn read(inputs: Inputs, year: Option<i16>) -> Result<Self, SourceError> {
        let mut scanner = Scanner { notes: inputs.notes, ..Scanner::default() };
        // Changes first: where one input is both, its notes stand once, and logs are the longer read.
        let changes = inputs.changes.iter().map(|input| scanner.changes(input));
        let changes = changes.collect::<Result<Vec<_>, _>>()?.concat();
        let logs = inputs.logs.into_iter().map(|input| scanner.log(input)).collect::<Result<_, _>>()?;
        let years = scanner.years.finish(year);
        scanner.notes.extend(years.note());
        Ok(Self { logs, changes, years, notes: scanner.notes, cut_short: scanner.cut_short })
    }

    /// Returns how many lines the logs have.
    pub(crate) fn lines(&self) -> u64 {
        self.logs.iter().map(|log| log.lines).sum()
    }
}

#[derive(Default)]
struct Scanner {
    years: YearScan,
    notes: Vec<String>,
    cut_short: bool,
}

impl Scanner {
    fn log(&mut self, input: Input) -> Result<Log, SourceError> {
        let mut held = is_read_once(&input).then(Vec::new);
        let mut years = std::mem::take(&mut self.years);
        let counts = self.lines(&input, |line| {
            if let Some(stamp) = stamp_of(&line) {
                years.observe(&line.source, line.number, stamp);
            }
            if let Some(held) = &mut held {
                held.push(line);
            }
        })?;
        self.years = years;
        Ok(Log { input, lines: counts.lines, held })
    }

    fn changes(&mut self, input: &Input) -> Result<Vec<Change>, SourceError> {
        let mut lines = Vec::new();
        self.lines(input, |line| lines.push(line))?;
        let file = read_changes(&lines);
        for change in &file.changes {
            self.years.observe(&change.source, 0, Stamp::Dated(change.at));
        }
        self.refuse(&input.name, &file.errors);
        Ok(file.changes)
    }

    /// Passes every line on and takes notes of what is odd about the input.
    fn lines(&mut self, input: &Input, mut take: impl FnMut(RawLine)) -> Result<ReadCounts, SourceError> {
        let mut reader = input.open()?;
        for line in reader.by_ref() {
            match line {
                Ok(line) => take(line),
                Err(error) => {
                    self.cut_short = true;
                    self.notes.push(format!("{error}; what follows is missing from this report"));
                }
            }
        }
        let counts = reader.counts();
        self.notes.extend(oddities(&input.name, counts));
        Ok(counts)
    }

    fn refuse(&mut self, name: &str, errors: &[ChangeError]) {
        if errors.is_empty() {
            return;
        }
        let count = counted(errors.len() as u64, "entry", "entries");
        self.notes.push(format!("{count} of {name} could not be read as a change"));
        self.notes.extend(errors.iter().take(ERRORS_LISTED_MAX).map(ToString::to_string));
        if errors.len() > ERRORS_LISTED_MAX {
            self.notes.push(format!("and {} more of {name}", errors.len() - ERRORS_LISTED_MAX));
        }
    }
}

/// Sentences about an input that is not as it should be.
fn oddities(name: &str, counts: ReadCounts) -> Vec<String> {
    let kib = LINE_BYTES_MAX / 1_024;
    let lines = |count| counted(count, "line was", "lines were");
    let all = [
        (counts.lines == 0, format!("{name} is empty")),
        (counts.truncated > 0, format!("{name}: {} cut after {kib} KiB", lines(counts.truncated))),
        (
            counts.lossy > 0,
            format!("{name}: {} not valid UTF-8; the bytes in question are shown as �", lines(counts.lossy)),
        ),
        (
            counts.nul_bytes > 0,
            format!("{name}: {} dropped", counted(counts.nul_bytes, "NUL byte was", "NUL bytes were")),
        ),
    ];
    all.into_iter().filter_map(|(holds, sentence)| holds.then_some(sentence)).collect()
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Whether an input gives its lines only once: standard input, and what the shell makes of `<(zcat log.gz)`.
fn is_read_once(input: &Input) -> bool {
    match &input.place {
        Place::Stdin => true,
        Place::File(path) => !is_regular(path),
    }
}

fn is_regular(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file())
}
