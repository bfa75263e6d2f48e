//! Spans that have ended and wait for what is above them.
//!
//! A span goes out after its parent, or once its parent is in the log as open; whatever a crash then cuts off has no
//! children anywhere else. Only spans below a root of ours wait, those of the service's own included.
//! Nothing waits for a span that is open because the log took it. No I/O, no clock; what goes out is given to a closure
//! under the lock, so that it goes in order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use opentelemetry_sdk::trace::SpanData;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::trace::SpanKey;

/// Locks that traces are spread over, so that threads seldom meet.
const SHARDS: usize = 16;

/// How many of those that went out are remembered in one trace: more than a trace has, unless a service makes very many.
const GONE_MAX: usize = 65_536;

/// A span that waits. It is large, and goes from list to list.
type Waits = Box<SpanData>;

/// Spans that wait, by trace.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Callers choose ids of traces; those of spans are ours.
    shards: [Mutex<HashMap<u128, Family>>; SHARDS],
    count: AtomicU64,
    /// Beyond this many, spans wait no longer: what they wait for is worth less than the memory.
    count_max: u64,
}

/// One trace in which spans are open.
#[derive(Debug, Default)]
struct Family {
    open: FxHashMap<u64, Open>,
    /// What went out already: what begins below it is still one of the family.
    gone: FxHashSet<u64>,
}

#[derive(Debug, Default)]
struct Open {
    parent: u64,
    stage: Stage,
    /// What ended below it, each after its parent.
    below: Vec<Waits>,
    /// The span itself, which ended while it was being recorded.
    ended: Option<Waits>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// What ends below it waits.
    #[default]
    Unknown,
    /// The same, and so does the span itself.
    Recording,
    /// The log has it.
    Recorded,
}

impl Waiting {
    pub(super) fn new(count_max: u64) -> Self {
        Self { shards: Default::default(), count: AtomicU64::new(0), count_max }
    }

    /// A root has begun. One that began below another span that is known stays there.
    pub(super) fn root(&self, root: SpanKey) {
        self.shard(root.trace).entry(root.trace).or_default().open.entry(root.span).or_default();
    }

    /// A span has begun. It is noted if its parent is.
    pub(super) fn begun(&self, span: SpanKey, parent: u64) {
        let mut shard = self.shard(span.trace);
        let Some(family) = shard.get_mut(&span.trace) else { return };
        if family.gone.contains(&parent) || family.holder(parent).is_some() {
            family.open.entry(span.span).or_default().parent = parent;
        }
    }

    /// A span has ended. `out` is given what goes out, in order.
    pub(super) fn ended(&self, key: SpanKey, span: SpanData, mut out: impl FnMut(SpanData)) {
        let mut shard = self.shard(key.trace);
        let Some(family) = shard.get_mut(&key.trace) else { return out(span) };
        let Some(open) = family.open.get_mut(&key.span) else { return out(span) };
        self.count.fetch_add(1, Ordering::Relaxed);
        if open.stage == Stage::Recording {
            open.ended = Some(Box::new(span));
            return;
        }
        let Open { parent, below, .. } = family.open.remove(&key.span).unwrap_or_default();
        self.place(family, parent, chunk(Box::new(span), below), &mut out);
        if family.open.is_empty() {
            shard.remove(&key.trace);
        }
    }

    /// The span is about to be recorded. `false` when it is not open.
    pub(super) fn recording(&self, key: SpanKey) -> bool {
        let mut shard = self.shard(key.trace);
        let open = shard.get_mut(&key.trace).and_then(|family| family.open.get_mut(&key.span));
        open.map(|open| open.stage = Stage::Recording).is_some()
    }

    /// The log has the span, or did not take it.
    pub(super) fn settled(&self, key: SpanKey, recorded: bool, mut out: impl FnMut(SpanData)) {
        let mut shard = self.shard(key.trace);
        let Some(family) = shard.get_mut(&key.trace) else { return };
        let Some(open) = family.open.get_mut(&key.span) else { return };
        open.stage = if recorded { Stage::Recorded } else { Stage::Unknown };
        let (parent, ended) = (open.parent, open.ended.take());
        let chunk: Vec<Waits> = match ended {
            None if !recorded => return,
            None => std::mem::take(&mut open.below),
            Some(ended) => {
                let below = family.open.remove(&key.span).unwrap_or_default().below;
                chunk(ended, below)
            }
        };
        self.place(family, parent, chunk, &mut out);
        if family.open.is_empty() {
            shard.remove(&key.trace);
        }
    }

    /// Nothing waits any more.
    pub(super) fn release(&self, mut out: impl FnMut(SpanData)) {
        for shard in &self.shards {
            let families = std::mem::take(&mut *lock(shard));
            for open in families.into_values().flat_map(|family| family.open.into_values()) {
                open.ended.into_iter().chain(open.below).for_each(|span| out(*span));
            }
        }
        self.count.store(0, Ordering::Relaxed);
    }

    /// Has a chunk wait at the nearest span above that is open and in no log, or lets it out.
    fn place(&self, family: &mut Family, mut parent: u64, chunk: Vec<Waits>, out: &mut impl FnMut(SpanData)) {
        let crowded = self.count.load(Ordering::Relaxed) > self.count_max;
        while let Some(open) =
            family.holder(parent).filter(|_| !crowded).and_then(|id| family.open.get_mut(&id))
        {
            if open.stage != Stage::Recorded {
                if open.below.is_empty() {
                    open.below = chunk;
                } else {
                    open.below.extend(chunk);
                }
                return;
            }
            parent = open.parent;
        }
        self.count.fetch_sub(chunk.len() as u64, Ordering::Relaxed);
        // Nobody asks any more when nothing of the trace is open.
        if !family.open.is_empty() {
            let room = GONE_MAX.saturating_sub(family.gone.len());
            family.gone.extend(chunk.iter().take(room).map(|span| id(span)));
        }
        chunk.into_iter().for_each(|span| out(*span));
    }

    fn shard(&self, trace: u128) -> MutexGuard<'_, HashMap<u128, Family>> {
        lock(&self.shards[usize::try_from(trace % SHARDS as u128).unwrap_or_default()])
    }
}

impl Family {
    /// The open span that a child of this one waits for: itself, or the one below which it waits.
    fn holder(&self, parent: u64) -> Option<u64> {
        if self.open.contains_key(&parent) {
            return Some(parent);
        }
        // 0 is no span: a root has no parent.
        if parent == 0 || self.gone.contains(&parent) {
            return None;
        }
        let waits = |open: &Open| open.below.iter().any(|span| id(span) == parent);
        self.open.iter().find(|(_, open)| waits(open)).map(|(id, _)| *id)
    }
}

/// A span with what ended below it, in the order in which they go out.
fn chunk(span: Waits, mut below: Vec<Waits>) -> Vec<Waits> {
    below.insert(0, span);
    below
}

fn id(span: &SpanData) -> u64 {
    u64::from_be_bytes(span.span_context.span_id().to_bytes())
}

/// A panic under the lock can only be one of the exporter's queue; what waits is whole then as well.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
