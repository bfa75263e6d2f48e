//! The names by which a runtime is found: targets and fields of log records, spans, attributes, events,
//! metrics.
//!
//! A service filters by target, a dashboard groups by field and an alert asks for a metric, so a name that
//! changes here is a change for all of them. `tests/telemetry/targets.rs` holds the targets and the sources
//! of the runtime together, `tests/telemetry/page.rs` the tables and `docs/observability.md`.

pub mod attribute;
pub mod event;
pub mod metric;
pub mod span;

/// The version of OpenTelemetry's semantic conventions that the names follow, its messaging and GenAI parts
/// included.
///
/// Attributes that begin with `volery.` are ours; the conventions know nothing of them.
pub const CONVENTIONS: &str = "1.41.1";

/// The URL by which spans and metrics say which conventions they follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.1";

/// The instrumentation scope of every span and metric of a runtime.
pub const SCOPE: &str = "volery";

/// Tracing targets, one per part of the runtime.
pub mod target {
    /// The root: signals, the stop of each phase, attempts that were cut off, the watchdog, the end of the
    /// runtime.
    pub const ROOT: &str = "volery::root";
    /// Supervisors: starts, ends, restarts and give-ups of actors.
    pub const SUPERVISOR: &str = "volery::supervisor";
    /// The curator: recovery, refused commits, attempts that are not current.
    pub const CURATOR: &str = "volery::curator";
    /// Agents: panics of engines, quarantines and their ends, what could not be published.
    pub const AGENT: &str = "volery::agent";
    /// The timekeeper: deadlines that came while it was stopping.
    pub const TIMEKEEPER: &str = "volery::timekeeper";
    /// The loops of upkeep: ticks that failed, what the janitor removed.
    pub const UPKEEP: &str = "volery::upkeep";
    /// The lookout: what does not come on, said once when it is found and once when it is over.
    pub const LOOKOUT: &str = "volery::lookout";
    /// Resources: values that could not be dropped cleanly.
    pub const RESOURCE: &str = "volery::resource";

    /// Every target of the runtime.
    pub const ALL: [&str; 8] = [ROOT, SUPERVISOR, CURATOR, AGENT, TIMEKEEPER, UPKEEP, LOOKOUT, RESOURCE];

    /// The set-up of this crate: telemetry that was lost. Not the runtime's.
    pub const TELEMETRY: &str = "volery::telemetry";
}

/// Fields of log records. Values are text unless a unit is named.
pub mod field {
    /// The runtime's name.
    pub const RUNTIME: &str = "runtime";
    /// The supervisor's id.
    pub const SUPERVISOR: &str = "supervisor";
    /// The child's id among its siblings.
    pub const CHILD: &str = "child";
    /// Which life of a child, counted from 1. A number.
    pub const LIFE: &str = "life";
    /// Restarts of a child so far, or panics of an agent's engines in its window. A number.
    pub const RESTARTS: &str = "restarts";
    /// How a life, or a supervisor, ended.
    pub const EXIT: &str = "exit";
    /// The wait before a restart, or the time a life had to stop.
    pub const AFTER: &str = "after";
    /// The agent's name.
    pub const AGENT: &str = "agent";
    /// Whether an agent's quarantine stops the runtime.
    pub const ESCALATES: &str = "escalates";
    /// The run's id.
    pub const RUN: &str = "run";
    /// The workflow's name.
    pub const WORKFLOW: &str = "workflow";
    /// The job's id.
    pub const JOB: &str = "job";
    /// The attempt of a job, counted from 1. A number.
    pub const ATTEMPT: &str = "attempt";
    /// Started jobs that a recovery found. A number.
    pub const JOBS: &str = "jobs";
    /// Artifacts with open claims that a recovery found. A number.
    pub const ARTIFACTS: &str = "artifacts";
    /// The failed part.
    pub const ERROR: &str = "error";
    /// Why a message was not taken.
    pub const REASON: &str = "reason";
    /// The text of a panic that fails nothing any more.
    pub const TEXT: &str = "text";
    /// The message of a panic.
    pub const PANIC: &str = "panic";
    /// The signal's name.
    pub const SIGNAL: &str = "signal";
    /// A phase's row of the shutdown report.
    pub const PHASE: &str = "phase";
    /// The whole shutdown report.
    pub const REPORT: &str = "report";
    /// How long the shutdown took.
    pub const DURATION: &str = "duration";
    /// The kind of a finding of the lookout.
    pub const FINDING: &str = "finding";
    /// The resource's name.
    pub const RESOURCE: &str = "resource";
    /// Artifacts that retention removed. A number.
    pub const REMOVED: &str = "removed";
    /// Agents that still have work during a shutdown, with counts.
    pub const LEFT: &str = "left";
    /// Attempts that still run during a shutdown: agent, job, attempt and how long each.
    pub const RUNNING: &str = "running";
    /// How long an attempt that was cut off had run.
    pub const RAN: &str = "ran";
    /// Whether an attempt that was cut off was in a protected section.
    pub const PROTECTED: &str = "protected";
    /// Whether an attempt that was cut off could not even be dropped.
    pub const STILL_RUNNING: &str = "still_running";
    /// A shutdown callback's name.
    pub const CALLBACK: &str = "callback";
    /// How a shutdown callback ended.
    pub const STATUS: &str = "status";
    /// A runtime that is not live: the reason.
    pub const HEALTH: &str = "health";
}
