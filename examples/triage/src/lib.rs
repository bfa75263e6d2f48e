//! Triage: incidents in log files, and the changes just before each.
//!
//! Reads logs and lists of changes, gathers severe lines into incidents, and names for each incident the
//! changes of the same component that came shortly before it. One run of a Volery runtime does the whole job:
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
//! Usage; without arguments the sample in `examples/data` is read:
//!
//! ```text
//! cargo run -p volery-triage -- [FILE]... [--changes FILE]... [--here] [--window 10m] [--gap 2m] [--min-count 3]
//!     [--year YEAR] [--store memory|FILE] [--otlp ENDPOINT] [--report FILE.md] [--json FILE.json]
//! ```
//!
//! Inputs may be gzip; `-` is standard input. Files are read twice, the first time for the year of stamps
//! that name none; an input that can be read only once (standard input, a pipe) is held in memory instead. A
//! line that cannot be parsed is a dead letter; the report counts them by cause. The same inputs give the
//! same JSON, byte for byte: of the counts of outcomes those that depend on wall time are left out (see
//! `agents.rs`). With `--store FILE` a start that was cut off, at whatever moment, is taken up by the next
//! one with the same arguments and inputs, and the JSON is the same as well. Exit codes stand in
//! `trouble.rs`.

mod agents;
mod changes;
mod component;
mod deploy_file;
mod export;
mod feeding;
mod fingerprint;
mod git_log;
mod incident;
mod inputs;
mod investigation;
mod ledger;
mod line;
mod options;
mod package;
mod package_log;
mod report;
mod scan;
mod session;
mod severity;
mod source;
mod stamp;
mod suspect;
mod trouble;
mod year;

pub use investigation::run;
