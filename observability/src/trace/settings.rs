//! Settings for the spans of runs. Data with limits, and one function of the service: the redaction.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How much of a run is shown. Each level has what those before it have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The run alone, and its dead letters.
    Run,
    /// Publishes, jobs, attempts, back-offs, batches and joins as well.
    Job,
    /// Waits, engine calls, steps of an attempt and commits as well. The default.
    #[default]
    Phase,
}

/// How the payloads of one kind are recorded. Without one, a kind's payloads are never recorded.
#[derive(Clone)]
pub struct PayloadRecording {
    bytes_max: usize,
    redaction: Option<Redaction>,
}

/// Gives the text that may be seen.
type Redaction = Arc<dyn Fn(&str) -> String + Send + Sync>;

impl PayloadRecording {
    /// Records payloads up to a size in bytes; what is longer is cut. More than 8 KiB is taken as 8 KiB.
    #[must_use]
    pub fn up_to(bytes_max: usize) -> Self {
        Self { bytes_max, redaction: None }
    }

    /// Sets a function that gives the text that may be seen. It is called before the text is cut.
    ///
    /// When it panics nothing of the payload is recorded.
    #[must_use]
    pub fn redacted_by(mut self, redaction: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.redaction = Some(Arc::new(redaction));
        self
    }

    /// The text to record.
    pub(crate) fn apply(&self, payload: &str) -> String {
        let Some(redaction) = &self.redaction else {
            return super::text::cut(payload, self.bytes_max).into_owned();
        };
        // The service's code, in the task of the publisher: its panic must not become the publisher's.
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| redaction(payload)));
        match seen {
            Ok(seen) => super::text::cut(&seen, self.bytes_max).into_owned(),
            Err(_) => "(the redaction panicked)".to_owned(),
        }
    }
}

impl fmt::Debug for PayloadRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadRecording")
            .field("bytes_max", &self.bytes_max)
            .field("redacted", &self.redaction.is_some())
            .finish()
    }
}

/// How the runs of a runtime are traced.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    detail: Detail,
    workflows: HashMap<String, Detail>,
    agents: HashMap<String, Detail>,
    always: BTreeSet<String>,
    payloads: HashMap<String, PayloadRecording>,
    pub(crate) baggage: BTreeSet<String>,
    pub(crate) spans_max: u32,
    pub(crate) links_max: usize,
    pub(crate) wait: Duration,
}

impl Default for TraceSettings {
    /// Every detail; 1,000 spans per trace; 1,000 links per span; no payloads, no baggage; a wait of 1 s.
    fn default() -> Self {
        Self {
            detail: Detail::default(),
            workflows: HashMap::new(),
            agents: HashMap::new(),
            always: BTreeSet::new(),
            payloads: HashMap::new(),
            baggage: BTreeSet::new(),
            spans_max: 1_000,
            links_max: 1_000,
            wait: Duration::from_secs(1),
        }
    }
}

impl TraceSettings {
    /// Sets how much is shown of what has no setting of its own.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// Sets how much is shown of a workflow.
    #[must_use]
    pub fn workflow_detail(mut self, workflow: impl Into<String>, detail: Detail) -> Self {
        self.workflows.insert(workflow.into(), detail);
        self
    }

    /// Sets how much is shown of an agent's jobs; it counts more than the workflow's.
    #[must_use]
    pub fn agent_detail(mut self, agent: impl Into<String>, detail: Detail) -> Self {
        self.agents.insert(agent.into(), detail);
        self
    }

    /// Samples every run of a workflow. It takes the sampler of `Telemetry`; one of the service's own decides
    /// itself.
    #[must_use]
    pub fn always_sample(mut self, workflow: impl Into<String>) -> Self {
        self.always.insert(workflow.into());
        self
    }

    /// Records the payloads of a kind on the span of their publish.
    #[must_use]
    pub fn record_payloads(mut self, kind: impl Into<String>, recording: PayloadRecording) -> Self {
        self.payloads.insert(kind.into(), recording);
        self
    }

    /// Passes a key of W3C baggage from the caller on to engines. Without one, no baggage is passed on.
    #[must_use]
    pub fn allow_baggage(mut self, key: impl Into<String>) -> Self {
        self.baggage.insert(key.into());
        self
    }

    /// Sets how many spans a trace of a run may have before the run goes on in another one, at least 10.
    ///
    /// Default 1,000: more is hard to read, and much less tears small runs apart.
    #[must_use]
    pub fn spans_max(mut self, spans: u32) -> Self {
        self.spans_max = spans.max(10);
        self
    }

    /// Sets how many links a span may have; those above it are counted and left out.
    ///
    /// Default 1,000, which is below the limit of `Telemetry`. An SDK without settings drops links after 128
    /// in silence.
    #[must_use]
    pub fn links_max(mut self, links: usize) -> Self {
        self.links_max = links;
        self
    }

    /// Sets how long a span that has ended waits at most for the spans above it, which are open, at least 10
    /// ms.
    ///
    /// A run, job or attempt that is open for longer is noted in the log, which costs two small writes, and
    /// what has ended below it is exported from then on as it ends. Waiting spans are lost when the process
    /// is killed. It takes the providers of `Telemetry`. Default 1 s: most jobs are over by then, and exports
    /// are as far apart.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait.max(Duration::from_millis(10));
        self
    }

    pub(crate) fn of_workflow(&self, workflow: &str) -> Detail {
        self.workflows.get(workflow).copied().unwrap_or(self.detail)
    }

    /// An agent's own detail, or that of the run.
    pub(crate) fn of_agent(&self, agent: &str, run: Detail) -> Detail {
        self.agents.get(agent).copied().unwrap_or(run)
    }

    pub(crate) fn is_always_sampled(&self, workflow: &str) -> bool {
        self.always.contains(workflow)
    }

    /// Tells whether any payload is recorded.
    #[cfg_attr(not(feature = "sdk"), expect(dead_code, reason = "the set-up asks"))]
    pub(crate) fn records_payloads(&self) -> bool {
        !self.payloads.is_empty()
    }

    pub(crate) fn payload(&self, kind: &str) -> Option<&PayloadRecording> {
        self.payloads.get(kind)
    }
}
