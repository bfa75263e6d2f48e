//! Spans that have begun and were not exported yet, and those of them that have ended and wait for what is
//! above them.
//!
//! A span goes out after its parent, or once its parent is in the log as open. A span that a crash then cuts
//! off has no children anywhere else. Only spans of traces with a root of ours wait, those of the service's
//! own included. No I/O, no clock. Spans that go out are given to a closure under the lock, so that they go
//! in order.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use opentelemetry_sdk::trace::SpanData;
use rustc_hash::FxHashMap;

use crate::trace::{OpenSpan, SpanKey};

/// Locks that traces are spread over, so that threads seldom meet.
const SHARDS: usize = 16;

/// Spans that are not out, by trace.
#[derive(Debug)]
pub(super) struct Open {
    /// Callers choose ids of traces; those of spans are ours.
    shards: [Mutex<HashMap<u128, Trace>>; SHARDS],
    /// Spans that have ended and wait.
    waiting: AtomicU64,
    /// Beyond this many, spans wait no longer: what they wait for is worth less than the memory.
    waiting_max: u64,
}

/// The spans of one trace that are not out. A parent that is not here is out, or is a span of another
/// service.
type Trace = FxHashMap<u64, Entry>;

#[derive(Debug, Default)]
struct Entry {
    /// 0 for a root.
    parent: u64,
    in_log: bool,
    /// The note for the log, and the runtime whose log it is.
    about: Option<Box<(u64, OpenSpan)>>,
    /// The span, when it has ended.
    ended: Option<Box<SpanData>>,
    /// Those that have ended and wait for it, in this order.
    below: Vec<u64>,
}

impl Open {
    pub(super) fn new(waiting_max: u64) -> Self {
        Self { shards: Default::default(), waiting: AtomicU64::new(0), waiting_max }
    }

    /// A span has begun. It is kept if its trace is known.
    pub(super) fn begun(&self, span: SpanKey, parent: u64) {
        if let Some(trace) = self.shard(span.trace).get_mut(&span.trace) {
            trace.entry(span.span).or_default().parent = parent;
        }
    }

    /// A span has begun of which the log is to know if it is open for long. A root makes its trace known.
    pub(super) fn describe(&self, runtime: u64, span: OpenSpan) {
        let SpanKey { trace, span: id } = span.key;
        let mut shard = self.shard(trace);
        let entry = shard.entry(trace).or_default().entry(id).or_default();
        entry.parent = span.parent;
        entry.about = Some(Box::new((runtime, span)));
    }

    /// A span has ended. `out` is given what goes out, in order.
    pub(super) fn ended(&self, key: SpanKey, span: SpanData, mut out: impl FnMut(SpanData)) {
        let mut shard = self.shard(key.trace);
        let entry = shard.get_mut(&key.trace).and_then(|trace| trace.get_mut(&key.span));
        let Some(entry) = entry else { return out(span) };
        entry.ended = Some(Box::new(span));
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.let_out(&mut shard, key.trace, [key.span].into(), out);
    }

    /// Gives what a runtime is to note: what began before, is open, and is in no log. Parents come first.
    /// `given` is called for each before it can end.
    pub(super) fn to_note(
        &self,
        runtime: u64,
        before: SystemTime,
        mut given: impl FnMut(SpanKey),
    ) -> Vec<OpenSpan> {
        let mut to_note = Vec::new();
        for shard in &self.shards {
            for entry in lock(shard).values().flat_map(FxHashMap::values) {
                let Some((of, span)) = entry.about.as_deref() else { continue };
                let is_new = !entry.in_log && entry.ended.is_none();
                if is_new && *of == runtime && span.start() <= before {
                    given(span.key);
                    to_note.push(span.clone());
                }
            }
        }
        to_note.sort_by_key(|span| (span.start_us, span.key));
        to_note
    }

    /// The log has the span.
    pub(super) fn noted(&self, key: SpanKey, out: impl FnMut(SpanData)) {
        let mut shard = self.shard(key.trace);
        let entry = shard.get_mut(&key.trace).and_then(|trace| trace.get_mut(&key.span));
        let Some(entry) = entry else { return };
        entry.in_log = true;
        let below = std::mem::take(&mut entry.below);
        self.let_out(&mut shard, key.trace, below.into(), out);
    }

    /// Nothing waits any more.
    pub(super) fn release(&self, mut out: impl FnMut(SpanData)) {
        for shard in &self.shards {
            let traces = std::mem::take(&mut *lock(shard));
            let entries = traces.into_values().flat_map(FxHashMap::into_values);
            entries.filter_map(|entry| entry.ended).for_each(|span| out(*span));
        }
        self.waiting.store(0, Ordering::Relaxed);
    }

    /// Lets spans out that have ended, each before those that wait for it; or has them wait at the nearest
    /// span above that is open and in no log.
    fn let_out(
        &self,
        shard: &mut HashMap<u128, Trace>,
        trace_id: u128,
        mut ended: VecDeque<u64>,
        mut out: impl FnMut(SpanData),
    ) {
        let Some(trace) = shard.get_mut(&trace_id) else { return };
        while let Some(id) = ended.pop_front() {
            let crowded = self.waiting.load(Ordering::Relaxed) > self.waiting_max;
            if let Some(above) = unknown_above(trace, id).filter(|_| !crowded)
                && let Some(above) = trace.get_mut(&above)
            {
                above.below.push(id);
            } else if let Some(Entry { ended: Some(span), below, .. }) = trace.remove(&id) {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                out(*span);
                ended.extend(below);
            }
        }
        if trace.is_empty() {
            shard.remove(&trace_id);
        }
    }

    fn shard(&self, trace: u128) -> MutexGuard<'_, HashMap<u128, Trace>> {
        lock(&self.shards[usize::try_from(trace % SHARDS as u128).unwrap_or_default()])
    }
}

/// The nearest span above that is neither out nor in the log.
fn unknown_above(trace: &Trace, span: u64) -> Option<u64> {
    let mut above = trace.get(&span)?.parent;
    while let Some(entry) = trace.get(&above) {
        if !entry.in_log {
            return Some(above);
        }
        above = entry.parent;
    }
    None
}

/// A panic under the lock can only be one of the exporter's queue; what waits is whole then as well.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
