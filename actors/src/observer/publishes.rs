//! Publishes on their way: a value that goes with the command from the publisher to the commit.
//!
//! It opens the run's trace if nobody has, and gives each artifact its place in it. Dropped on the way, it
//! releases the run.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHasher;
use volery_blackboard::store::{Few, Stored};
use volery_blackboard::{Artifact, RunId, Tenant, Timestamp, TraceContext};
use volery_observability::trace::{Propagation, Publish, PublishTrace, RunStart, RunTrace};

use super::runs::OpenRun;
use super::{Committed, Observer, context_of, propagation_of};

/// Where an artifact comes from, in words of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The service.
    External,
    /// A schedule of the runtime.
    Schedule,
}

impl Source {
    const fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Schedule => "schedule",
        }
    }
}

/// The publisher's own trace context. It counts for the publish that begins a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// The caller's span.
    pub(crate) parent: Option<TraceContext>,
    /// The caller's W3C `baggage` header.
    pub(crate) baggage: Option<String>,
    /// The session: a service groups runs by it.
    pub(crate) session: Option<String>,
}

/// A publish that is under way. The default is one that nobody looks at.
#[derive(Debug, Default)]
pub(crate) struct ObservedPublish(Option<Box<OpenPublish>>);

#[derive(Debug)]
struct OpenPublish {
    observer: Arc<Observer>,
    source: Source,
    begun: Timestamp,
    /// One per artifact, in order.
    items: Few<Item>,
    /// The runs that are held, each once.
    held: Few<Arc<OpenRun>>,
    /// The run of the last artifact, if it is one that is not idle.
    passing: Option<(RunId, RunTrace)>,
    /// The curator has it, and has not said what became of it.
    unsure: bool,
}

#[derive(Debug)]
struct Item {
    run: RunId,
    kind: Arc<str>,
    trace: Option<PublishTrace>,
}

/// The run of an artifact that is to be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfRun<'a> {
    pub(crate) workflow: &'a Arc<str>,
    /// Nobody else can publish in it: it was made for this publish.
    pub(crate) fresh: bool,
    pub(crate) origin: Option<&'a Origin>,
}

impl Observer {
    /// Begins a publish.
    pub(crate) fn publish(self: &Arc<Self>, source: Source) -> ObservedPublish {
        if !self.is_on() {
            return ObservedPublish(None);
        }
        let (items, held) = (Few::new(), Few::new());
        let (observer, begun) = (Arc::clone(self), self.clock.now());
        ObservedPublish(Some(Box::new(OpenPublish {
            observer,
            source,
            begun,
            items,
            held,
            passing: None,
            unsure: false,
        })))
    }

    /// Opens the trace of a run that begins with a publish from outside.
    fn open_run(
        &self,
        artifact: &Artifact,
        OfRun { workflow, origin, .. }: OfRun<'_>,
        at: Timestamp,
    ) -> RunTrace {
        let parent: Option<Propagation> =
            origin.and_then(|origin| origin.parent.as_ref()).and_then(propagation_of);
        let run = artifact.run();
        self.spans.run(RunStart {
            tenant: artifact.own_tenant().map(Tenant::as_str),
            session: origin.and_then(|origin| origin.session.as_deref()),
            parent: parent.as_ref(),
            baggage: origin.and_then(|origin| origin.baggage.as_deref()),
            ..RunStart::new(&run, workflow, at.into())
        })
    }
}

impl ObservedPublish {
    /// Takes note of an artifact and gives it its place in the trace. Artifacts come in the order of the
    /// command.
    pub(crate) fn artifact(&mut self, artifact: Artifact, of: OfRun<'_>) -> Artifact {
        let Some(open) = &mut self.0 else {
            // Nobody records anything, but the caller's place goes on with the artifact.
            let parent = of.origin.and_then(|origin| origin.parent.clone());
            return parent.into_iter().fold(artifact, Artifact::with_trace);
        };
        open.artifact(artifact, of)
    }

    /// The curator gets it now. Dropped from here on, it may have been committed.
    pub(crate) fn sent(&mut self) {
        // A value with nothing to report later is not sent along.
        self.0.take_if(|open| open.is_silent());
        if let Some(open) = &mut self.0 {
            open.unsure = true;
        }
    }

    /// The artifacts are committed. Called before the board handles them.
    pub(crate) fn committed(mut self, stored: &[Stored], committed: Committed) {
        if let Some(open) = &mut self.0 {
            open.unsure = false;
            open.committed(stored, committed);
        }
    }

    /// Nothing was committed, for a reason of this class.
    pub(crate) fn failed(mut self, class: &str) {
        let Some(open) = &mut self.0 else { return };
        open.unsure = false;
        let at = open.observer.clock.now();
        for item in &mut open.items {
            if let Some(trace) = item.trace.take() {
                trace.fail(class, at.into());
            }
        }
        for open_run in &open.held {
            open_run.refused.store(true, Ordering::Relaxed);
        }
    }
}

impl OpenPublish {
    /// Tells whether nobody will hear of what becomes of it.
    fn is_silent(&self) -> bool {
        let recorded = self.items.iter().any(|item| item.trace.is_some());
        !recorded && self.held.is_empty() && !self.observer.metrics.is_on()
    }

    fn artifact(&mut self, artifact: Artifact, of: OfRun<'_>) -> Artifact {
        let observer = Arc::clone(&self.observer);
        let run = artifact.run();
        let trace = match (self.held.iter().find(|open_run| open_run.run == run), &self.passing) {
            (Some(open_run), _) => open_run.trace(|| observer.open_run(&artifact, of, self.begun)).clone(),
            (None, Some((passing, trace))) if *passing == run => trace.clone(),
            (None, _) => self.begin(&artifact, of),
        };
        let kind = artifact.kind().shared_name();
        let publish = if trace.is_sampled() {
            let id = artifact.id();
            let publish = Publish { dedup: dedup(&artifact), ..Publish::new(&kind, &id, self.begun.into()) };
            let publish = trace.publish(&publish);
            publish.iter().for_each(|publish| publish.payload(&kind, || text_of(&artifact)));
            publish
        } else {
            None
        };
        let propagation = match &publish {
            Some(publish) => Some(context_of(publish.propagation())),
            // Without a tracer the caller's place goes on.
            None => trace.propagation().as_ref().map(unsampled).or_else(|| of.origin?.parent.clone()),
        };
        self.items.push(Item { run, kind, trace: publish });
        propagation.into_iter().fold(artifact, Artifact::with_trace)
    }

    /// Holds the run of the first artifact in it. A run of its own that is not recorded is not idle.
    fn begin(&mut self, artifact: &Artifact, of: OfRun<'_>) -> RunTrace {
        let (observer, begun) = (&self.observer, self.begun);
        let mut opened = None;
        if of.fresh {
            let trace = observer.open_run(artifact, of, begun);
            if !trace.is_sampled() && trace.baggage().is_none() && !observer.metrics.is_on() {
                self.passing = Some((artifact.run(), trace.clone()));
                return trace;
            }
            opened = Some(trace);
        }
        let (open_run, began) =
            observer.runs.hold(artifact.run(), || OpenRun::new(artifact.run(), of.workflow, begun));
        if began {
            observer.metrics.run_started(of.workflow);
        }
        let trace =
            open_run.trace(|| opened.unwrap_or_else(|| observer.open_run(artifact, of, begun))).clone();
        self.held.push(open_run);
        trace
    }

    fn committed(&mut self, stored: &[Stored], committed: Committed) {
        let (observer, commit) = (Arc::clone(&self.observer), self.observer.commit(committed));
        let mut boarded: Few<RunId> = Few::new();
        for (item, stored) in self.items.iter_mut().zip(stored) {
            if let Some(trace) = item.trace.take() {
                trace.commit(&commit);
                trace.end(commit.end);
            }
            if let Stored::New(_) = stored {
                observer.metrics.artifact_published(&item.kind, self.source.as_str());
                if !boarded.contains(&item.run) {
                    boarded.push(item.run);
                }
            }
        }
        for open_run in &self.held {
            let new = |(item, stored): &(&Item, &Stored)| {
                item.run == open_run.run && matches!(stored, Stored::New(_))
            };
            let count = self.items.iter().zip(stored).filter(new).count();
            open_run.published.fetch_add(count as u64, Ordering::Relaxed);
            if boarded.contains(&open_run.run) {
                observer.on_board(open_run.run);
            }
        }
    }
}

impl Drop for OpenPublish {
    fn drop(&mut self) {
        // Spans that nobody ended are abandoned first, so that the run does not end before them.
        self.items = Few::new();
        if self.held.is_empty() {
            return;
        }
        let at = self.observer.clock.now();
        for open_run in std::mem::take(&mut self.held) {
            if self.unsure {
                // The next life of the curator finds out whether anything of the run is there.
                self.observer.on_board(open_run.run);
            }
            self.observer.release(open_run.run, at);
        }
    }
}

/// The payload as text, for kinds that are recorded.
pub(super) fn text_of(artifact: &Artifact) -> String {
    artifact.json().map_or_else(|error| format!("({error})"), |json| json.to_string())
}

/// The trace context of an artifact whose run is not recorded: the decision, for the next artifact.
fn unsampled(propagation: &Propagation) -> TraceContext {
    TraceContext {
        trace_id: propagation.trace_id(),
        span_id: propagation.span_id(),
        flags: propagation.flags(),
        state: None,
    }
}

fn dedup(artifact: &Artifact) -> Option<u64> {
    let key = artifact.idempotency_key()?;
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    Some(hasher.finish())
}
