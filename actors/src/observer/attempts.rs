//! The span of an attempt: a value that goes with the attempt into its task and back to the curator with its
//! end.
//!
//! The job's span is opened by the first attempt, which knows the inputs, and waits in `jobs.rs` between
//! attempts. The curator decides about the end, see `ends.rs`. Dropped on the way, the attempt counts as
//! handed back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use volery_blackboard::job::{Start, Wait};
use volery_blackboard::store::Few;
use volery_blackboard::{Artifact, RunId, Timestamp, TraceContext};
use volery_observability::trace::{
    AttemptTrace, BatchClosed, Ending, EvaluateTrace, Failure, Input, JobStart, JobTrace, JoinClosed, LogId,
    LogIds, Propagation, Publish, PublishTrace, RunStart, RunTrace, Scope,
};

use super::jobs::IdleJob;
use super::publishes::text_of;
use super::runs::OpenRun;
use super::{Observer, SubscriptionFacts, close_reason, context_of, propagation_of};
use crate::error::class_of_fault;
use crate::fault::Fault;

/// The wait of a job that has its slot: for the commit of its start, and for its agent.
const HANDING_OVER: &str = "queue";

/// How an attempt ended, as far as it knows itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum How {
    /// Somebody ended it, and its job is handed back: `shutdown` or `restart`.
    #[default]
    Released,
    Done,
    /// It failed; the class of the error.
    Failed(&'static str),
    Panicked,
    /// One of its clocks ran out.
    TimedOut(&'static str),
    Cancelled,
}

/// An attempt that is under way. The default is one that nobody looks at.
#[derive(Debug, Default)]
pub(crate) struct ObservedAttempt(pub(super) Option<Box<OpenAttempt>>);

#[derive(Debug)]
pub(super) struct OpenAttempt {
    pub(super) observer: Arc<Observer>,
    pub(super) start: Arc<Start>,
    pub(super) begun: Timestamp,
    /// When the engine's part was over.
    pub(super) ended: Option<Timestamp>,
    /// When the inputs of the job were complete.
    pub(super) complete: Timestamp,
    pub(super) how: How,
    /// The cause of its end, if it did not end by itself.
    pub(super) by: &'static str,
    /// Why its job dies, if it does.
    pub(super) reason: &'static str,
    /// Whether it is one: the giving up of a job is none.
    pub(super) is_attempt: bool,
    pub(super) spans: Option<AttemptSpans>,
    /// Its end was reported.
    pub(super) is_ended: bool,
    /// Where the engine runs, for log lines about it; none before it is called.
    pub(super) scope: Option<Scope>,
    /// The ids of its log lines.
    pub(super) ids: Option<LogIds>,
    /// Where outputs belong if they have no spans.
    inherited: Option<Arc<TraceContext>>,
}

/// An attempt of a run that is recorded.
#[derive(Debug)]
pub(super) struct AttemptSpans {
    pub(super) open_run: Arc<OpenRun>,
    pub(super) job: JobTrace,
    /// The back-off before it.
    rest: Option<(Timestamp, Timestamp)>,
    /// None for a job that is given up without an attempt.
    pub(super) attempt: Option<AttemptTrace>,
    pub(super) evaluate: Option<EvaluateTrace>,
    pub(super) outputs: Few<PublishTrace>,
}

impl Observer {
    /// Begins an attempt whose inputs were read; none when they could not be. The scope is that of its
    /// engine, unless [`ObservedAttempt::evaluate`] has another one.
    pub(crate) fn attempt(
        self: &Arc<Self>,
        start: &Arc<Start>,
        inputs: &[Arc<Artifact>],
        begun: Timestamp,
    ) -> (ObservedAttempt, Scope) {
        if !self.is_on() {
            return (ObservedAttempt(None), Scope::none());
        }
        let agent = self.agents.get(start.agent.at());
        let ids = LogIds {
            run: LogId(start.run.as_uuid().as_u128()),
            job: LogId(start.job.as_uuid().as_u128()),
            agent: agent.map(|agent| Arc::clone(&agent.label)).unwrap_or_default(),
            attempt: start.attempt,
        };
        let recorded = inputs.iter().any(is_recorded);
        if !recorded && !self.metrics.is_on() && !inputs.is_empty() {
            // Nothing is to be ended later: outputs go on where the inputs were.
            let inherited = inputs.iter().find_map(|input| input.trace());
            return (ObservedAttempt(None), self.unsampled_scope(start, inherited).with_ids(ids));
        }
        let mut open = self.open(start, inputs, begun);
        let scope = match &mut open.spans {
            Some(spans) => {
                let restarts = agent.map_or(0, |agent| agent.restarts.load(Ordering::Relaxed));
                spans.attempt = Some(spans.job.attempt(start.attempt, restarts, begun.into()));
                open.ids = Some(ids);
                Scope::none()
            }
            None => {
                let scope = self.unsampled_scope(start, open.inherited.as_deref()).with_ids(ids);
                open.scope = Some(scope.clone());
                scope
            }
        };
        (ObservedAttempt(Some(Box::new(open))), scope)
    }

    /// Begins the giving up of a job without an attempt.
    pub(crate) fn burial(
        self: &Arc<Self>,
        start: &Arc<Start>,
        inputs: &[Arc<Artifact>],
        (how, reason): (How, &'static str),
        begun: Timestamp,
    ) -> ObservedAttempt {
        if !self.is_on() {
            return ObservedAttempt(None);
        }
        let mut open = self.open(start, inputs, begun);
        (open.how, open.reason) = (how, reason);
        (open.ended, open.is_attempt) = (Some(begun), false);
        ObservedAttempt(Some(Box::new(open)))
    }

    fn open(self: &Arc<Self>, start: &Arc<Start>, inputs: &[Arc<Artifact>], begun: Timestamp) -> OpenAttempt {
        let idle = self.jobs.take(start.job);
        let complete = idle.as_ref().map_or(waits_since(start), |idle| idle.complete);
        let facts = self.facts(start.subscription);
        if idle.is_none() {
            self.count_collection(start, inputs, facts);
        }
        self.count_wait(start, begun);
        let spans = self.trace(start, inputs, idle);
        let inherited = inputs.iter().find_map(|input| input.shared_trace()).cloned();
        OpenAttempt {
            observer: Arc::clone(self),
            start: Arc::clone(start),
            begun,
            ended: None,
            complete,
            how: How::default(),
            by: "restart",
            reason: "attempts",
            is_attempt: true,
            spans,
            is_ended: false,
            scope: None,
            ids: None,
            inherited,
        }
    }

    /// Goes on with the job's span, or opens it. `None` when no input is of a run that is recorded; inputs
    /// that cannot be read any more do not end a span that is there.
    fn trace(
        self: &Arc<Self>,
        start: &Arc<Start>,
        inputs: &[Arc<Artifact>],
        idle: Option<IdleJob>,
    ) -> Option<AttemptSpans> {
        let went_on = idle.as_ref().is_some_and(|idle| idle.trace.is_some());
        let recorded = self.spans.is_on() && (went_on || inputs.iter().any(is_recorded));
        if !recorded && !self.metrics.is_on() {
            return None;
        }
        // Numbers of runs do not depend on what is recorded.
        let open_run = self.run_of(start, inputs, recorded);
        let trace = open_run.opened().filter(|_| recorded)?;
        let rest = idle.as_ref().and_then(|idle| Some((idle.idle_since, idle.until?)));
        let job = idle.and_then(|idle| idle.trace).or_else(|| self.open_job(start, inputs, trace))?;
        Some(AttemptSpans { open_run, job, rest, attempt: None, evaluate: None, outputs: Few::new() })
    }

    /// The run that the job is shown in: its own, or one made for a job over several runs.
    fn run_of(self: &Arc<Self>, start: &Start, inputs: &[Arc<Artifact>], recorded: bool) -> Arc<OpenRun> {
        let first = inputs.iter().map(|input| input.published_at()).min().unwrap_or(start.at);
        let agent = self.agent(start.agent);
        if start.opens_run {
            let workflow = Arc::from(agent);
            let (open_run, began) = self.runs.hold(start.run, || OpenRun::new(start.run, &workflow, first));
            if began {
                self.metrics.run_started(agent);
            } else {
                // An earlier attempt holds it still.
                self.runs.drop_hold(start.run);
            }
            if !recorded {
                return open_run;
            }
            let shared = open_run.trace(|| self.spans.shared(agent, first_input(start).into(), true)).clone();
            if began {
                self.show_handed_to(&shared, inputs, waits_since(start));
            }
            return open_run;
        }
        // Another caller of the run may still be opening its trace.
        if let Some(open_run) = self.runs.find(start.run).filter(|open_run| open_run.opened().is_some()) {
            return open_run;
        }
        let workflow = start.observed.as_ref().and_then(|observed| observed.workflow.as_ref());
        self.resume_run(start.run, workflow, waits_since(start), inputs)
    }

    pub(super) fn show_handed_to(&self, shared: &RunTrace, inputs: &[Arc<Artifact>], at: Timestamp) {
        let mut shown: Few<RunId> = Few::new();
        for input in inputs {
            if shown.contains(&input.run()) {
                continue;
            }
            shown.push(input.run());
            if let Some(open_run) = self.runs.find(input.run())
                && let Some(trace) = open_run.opened()
            {
                trace.handed_to(shared, at.into());
            }
        }
    }

    fn open_job(&self, start: &Start, inputs: &[Arc<Artifact>], trace: &RunTrace) -> Option<JobTrace> {
        let agent = self.agent(start.agent);
        let trigger = self.facts(start.subscription).map_or("single", |facts| facts.trigger);
        let collected = self.collection(start, inputs, trace);
        let job = JobStart {
            trigger,
            collected: collected.as_ref(),
            models: self.agents.get(start.agent.at()).is_some_and(|agent| agent.models),
            ..JobStart::new(agent, &start.job, waits_since(start).into())
        };
        let inputs = inputs.iter().map(|input| Input {
            id: input.id(),
            kind: input.kind().name(),
            propagation: input.trace().and_then(propagation_of),
        });
        trace.job(&job, inputs)
    }

    /// Shows the batch or join that gave the inputs.
    fn collection(&self, start: &Start, inputs: &[Arc<Artifact>], trace: &RunTrace) -> Option<Propagation> {
        let facts = self.facts(start.subscription)?;
        let agent = self.agent(start.agent);
        let key = start.observed.as_ref().and_then(|observed| observed.key.as_ref()).map(|key| key.as_str());
        let propagation = inputs.iter().filter_map(|input| input.trace()).filter_map(propagation_of);
        let first = first_input(start).into();
        let end = waits_since(start).into();
        if let Some(reason) = start.closed {
            let batch = BatchClosed { agent, reason: close_reason(reason), key, start: first, end };
            return trace.batch(&batch, propagation);
        }
        if facts.trigger != "join" {
            return None;
        }
        let come = |side| start.members.iter().filter(|member| usize::from(member.side) == side).count();
        let missing = facts.missing(|side, need| (come(side) as u64) < u64::from(need));
        let result = if missing.is_empty() { "matched" } else { "partial" };
        let join =
            JoinClosed { agent, key: key.unwrap_or_default(), result, missing: &missing, start: first, end };
        trace.join(&join, propagation)
    }

    /// Counts a wait once, under what took most of it.
    fn count_wait(&self, start: &Start, begun: Timestamp) {
        let (mut most, mut at) = ((Duration::ZERO, HANDING_OVER), waits_since(start));
        let parts = waits(start).iter().map(|wait| (wait.what.name(), wait.until));
        for (what, until) in parts.chain([(HANDING_OVER, begun)]) {
            let took = until.since(at);
            if took > most.0 {
                most = (took, what);
            }
            at = until;
        }
        self.metrics.job_waited(self.agent(start.agent), most.1, begun.since(waits_since(start)));
    }

    fn count_collection(&self, start: &Start, inputs: &[Arc<Artifact>], facts: Option<&SubscriptionFacts>) {
        let Some(facts) = facts.filter(|_| self.metrics.is_on()) else { return };
        let first = inputs.iter().map(|input| input.published_at()).min().unwrap_or(start.at);
        let (agent, age) = (self.agent(start.agent), waits_since(start).since(first));
        if let Some(reason) = start.closed {
            let groups = start.members.last().map_or(0, |last| last.group + 1);
            let fill = facts.batch_size.map(|size| f64::from(groups) / f64::from(size.max(1)));
            self.metrics.batch_closed(agent, close_reason(reason), fill, age);
        } else if facts.trigger == "join" {
            self.metrics.join_matched(agent, age);
        }
    }

    /// The place of a job that is not recorded, so that spans of the service are not either.
    fn unsampled_scope(&self, start: &Start, inherited: Option<&TraceContext>) -> Scope {
        let Some(propagation) = inherited.and_then(propagation_of).filter(|_| self.spans.is_on()) else {
            return Scope::none();
        };
        // A sampler of the service may have refused a run whose inputs are recorded.
        let is_asked = self.spans.passes_baggage() || propagation.is_sampled();
        let open_run = self.runs.find(start.run).filter(|_| is_asked);
        match open_run.as_ref().and_then(|open_run| open_run.opened()) {
            Some(trace) if !trace.is_sampled() => trace.scope(),
            _ => Scope::at(&propagation),
        }
    }

    /// A run that an earlier process began: opens another trace for it.
    pub(super) fn resume_run(
        self: &Arc<Self>,
        run: RunId,
        workflow: Option<&Arc<str>>,
        since: Timestamp,
        inputs: &[Arc<Artifact>],
    ) -> Arc<OpenRun> {
        let workflow = workflow.cloned().unwrap_or_default();
        let (open_run, began) = self.runs.hold(run, || OpenRun::new(run, &workflow, since));
        if began {
            self.metrics.run_started(&workflow);
        }
        self.on_board(run);
        self.runs.drop_hold(run);
        if !inputs.iter().any(is_recorded) {
            return open_run;
        }
        open_run.trace(|| {
            let propagation = inputs.iter().filter_map(|input| input.trace()).filter_map(propagation_of);
            let Some(earlier) = propagation.into_iter().find(Propagation::is_sampled) else {
                return RunTrace::off();
            };
            let begin = RunStart::new(&run, &workflow, self.clock.now().into());
            self.spans.resume(begin, &earlier, self.count_resumed(run))
        });
        open_run
    }
}

impl OpenAttempt {
    /// Shows what lay before the attempt. At its end, so that a process that dies in it leaves no child
    /// without a parent.
    pub(super) fn show_waits(&self, spans: &AttemptSpans) {
        let mut since = waits_since(&self.start);
        if let Some((idle, until)) = spans.rest {
            spans.job.backoff(idle.into(), until.into());
            // The board may have looked a little later.
            since = since.min(until);
        }
        for wait in waits(&self.start) {
            spans.job.wait(wait.what.name(), since.into(), wait.until.into());
            since = wait.until;
        }
        spans.job.wait(HANDING_OVER, since.into(), self.begun.into());
    }
}

impl ObservedAttempt {
    /// An output is about to be published: gives it its place.
    pub(crate) fn output(&mut self, artifact: Artifact, inputs: &[Arc<Artifact>]) -> Artifact {
        let Some(open) = &mut self.0 else {
            let inherited = inputs.iter().find_map(|input| input.shared_trace()).cloned();
            return inherited.into_iter().fold(artifact, Artifact::with_trace);
        };
        let Some(AttemptSpans { attempt: Some(attempt), outputs, .. }) = &mut open.spans else {
            return open.inherited.clone().into_iter().fold(artifact, Artifact::with_trace);
        };
        let (kind, id) = (artifact.kind().shared_name(), artifact.id());
        let publish = attempt.publish(&Publish::new(&kind, &id, artifact.published_at().into()));
        publish.payload(&kind, || text_of(&artifact));
        let propagation = context_of(publish.propagation());
        outputs.push(publish);
        artifact.with_trace(propagation)
    }

    /// The failure artifact of the job: it has no span of its own but that of the dead letter.
    pub(crate) fn failure(&self, artifact: Artifact, inputs: &[Arc<Artifact>]) -> Artifact {
        let spans = self.0.as_ref().and_then(|open| open.spans.as_ref());
        let attempt = spans.and_then(|spans| spans.attempt.as_ref()).map(AttemptTrace::propagation);
        let place = match attempt {
            Some(propagation) => Some(Arc::new(context_of(&propagation))),
            None => inputs.iter().find_map(|input| input.shared_trace()).cloned(),
        };
        place.into_iter().fold(artifact, Artifact::with_trace)
    }

    /// Where the attempt ran: log lines about it are written there, and have its ids and its trace's.
    pub(crate) fn scope(&self) -> Scope {
        let Some(open) = &self.0 else { return Scope::none() };
        match (&open.scope, &open.spans) {
            (Some(scope), _) => scope.clone(),
            (None, Some(AttemptSpans { attempt: Some(attempt), .. })) => open.with_ids(attempt.scope()),
            (None, _) => Scope::none(),
        }
    }

    /// Says why the job dies, should it.
    pub(crate) fn dies_of(&mut self, reason: &'static str) {
        if let Some(open) = &mut self.0 {
            open.reason = reason;
        }
    }

    /// The engine's part is over: it returned, or its future was dropped.
    pub(crate) fn over(&mut self, how: How, error: &[String]) {
        let Some(open) = &mut self.0 else { return };
        let at = open.observer.clock.now();
        open.ended = Some(at);
        // These outputs are not committed: another error came, or a fallback has outputs of its own.
        open.fail_outputs(at);
        if let Some(evaluate) = open.spans.as_mut().and_then(|spans| spans.evaluate.take()) {
            evaluate.end(&how.ending(error), at.into());
        }
        open.how = how;
    }
}

impl How {
    /// An engine returned this error, and names the type of its errors.
    pub(crate) fn of(error: &Fault, named: Option<&'static str>) -> Self {
        Self::Failed(class_of_fault(error, named))
    }

    /// The end of a span, with the texts of the error and its causes, the root cause last.
    pub(super) fn ending<'a>(&self, causes: &'a [String]) -> Ending<'a> {
        match self {
            Self::Released => Ending::Cancelled("released"),
            Self::Done => Ending::Ok,
            Self::Failed(class) => Ending::Failed(Failure { class, causes }),
            Self::Panicked => Ending::Panicked(causes.first().map_or("", String::as_str)),
            Self::TimedOut(clock) => Ending::TimedOut(clock),
            Self::Cancelled => Ending::Cancelled("run"),
        }
    }
}

/// Since when a job has waited for its attempt.
pub(super) fn waits_since(start: &Start) -> Timestamp {
    start.observed.as_ref().map_or(start.at, |observed| observed.since)
}

/// When the first input of a job was there.
fn first_input(start: &Start) -> Timestamp {
    start.observed.as_ref().map_or(start.at, |observed| observed.first)
}

/// The parts of a job's wait.
fn waits(start: &Start) -> &[Wait] {
    start.observed.as_ref().map_or(&[], |observed| &observed.waits)
}

/// Tells whether an input is of a run that is recorded.
pub(super) fn is_recorded(input: &Arc<Artifact>) -> bool {
    input.trace().is_some_and(TraceContext::is_sampled)
}
