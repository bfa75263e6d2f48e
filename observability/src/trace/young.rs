//! Open spans that no log has yet, in the order in which they began.
//!
//! Most spans end before anybody has to ask for them. Only sampled spans that may be open for long are listed: roots, jobs,
//! attempts and engine calls. Pure but for its lock: no I/O, no clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use opentelemetry::{KeyValue, Value};

use super::carried::{self, OpenSpan};
use super::catalogue::Facts;
use super::interrupted::SpanRecord;
use super::node::Node;

/// Entries looked at when one is added: two, so that what has ended goes faster than it comes.
const CLEARED: usize = 2;

/// The list of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Young(Mutex<VecDeque<Entry>>);

/// An open span, and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) node: Weak<Node>,
    pub(crate) facts: Arc<Facts>,
    /// Which part of its run it is in.
    pub(crate) part: u32,
    /// The parent of a root, 0 for none; the others know theirs.
    pub(crate) above: u64,
    pub(crate) name: String,
    pub(crate) is_attempt: bool,
    /// As [`shown`](Self::shown) gives them.
    pub(crate) attributes: Vec<KeyValue>,
}

impl Young {
    pub(crate) fn add(&self, entry: Entry) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..CLEARED {
            let gone = |first: &Entry| first.node.upgrade().is_none_or(|node| node.has_ended());
            if entries.front().is_some_and(gone) {
                entries.pop_front();
            }
        }
        entries.push_back(entry);
    }

    /// Takes out what has been open for so long.
    pub(crate) fn grown(&self, now: SystemTime, wait: Duration) -> Vec<(Arc<Node>, Entry)> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut grown = Vec::new();
        while let Some(first) = entries.front() {
            let node = first.node.upgrade().filter(|node| !node.has_ended());
            if node.as_ref().is_some_and(|node| node.start() + wait > now) {
                break;
            }
            grown.extend(node.zip(entries.pop_front()));
        }
        grown
    }
}

impl Entry {
    /// What of a span's attributes the log is to have: texts and numbers.
    pub(crate) fn shown(attributes: &[KeyValue]) -> Vec<KeyValue> {
        let plain = |known: &&KeyValue| matches!(known.value, Value::I64(_) | Value::String(_));
        attributes.iter().filter(plain).cloned().collect()
    }

    /// What the log is to have of it.
    pub(crate) fn record(self, node: &Node) -> SpanRecord {
        let (trace, span) = carried::ids(&node.span_context());
        let parent = node.parent().map_or(self.above, |parent| carried::ids(&parent).1);
        let start_us = carried::micros(node.start());
        SpanRecord {
            open: OpenSpan { trace, span, start_us, part: self.part, parent, sampled: true },
            name: self.name,
            is_attempt: self.is_attempt,
            attributes: Self::shown(&self.facts.base).into_iter().chain(self.attributes).collect(),
        }
    }
}
