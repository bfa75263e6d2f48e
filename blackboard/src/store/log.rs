//! The log: the part of a store that a runtime needs to run.
//!
//! The curator commits writes and reads back what is unfinished; agents are given their inputs. Pure
//! contract; implementations may do I/O.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{Answer, Artifacts, Cursor, Damage, Note, Response, Unfinished, Write, Written};
use crate::claim::{Backlog, Claimed};
use crate::id::{AgentName, Offset, RunId, SubscriptionIndex};
use crate::kind::Kinds;
use crate::marks::Marks;
use crate::outcome::Tally;

/// The log behind the board: artifacts, the claims on them, jobs and their attempts, and how everything
/// ended.
///
/// It decides nothing. A runtime runs over a store that implements this trait alone; what
/// [`History`](super::History) and [`Letters`](super::Letters) add serves questions about the past. The
/// suite's part for this trait is `store::conformance::check_log` (feature `testing`).
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// Names the store in logs and errors: `memory`, or the file.
    fn name(&self) -> String;

    /// Names the system behind it, in traces and metrics: a word that is the same for all stores of its sort.
    fn system(&self) -> &'static str {
        "other"
    }

    /// Learns the kinds, agents and subscriptions that numbers in writes refer to. Called before anything
    /// else.
    ///
    /// Begins a life of the store: an attempt whose start is recorded and that neither ended nor was handed
    /// back was cut short by the end of the life before, and is counted as an interruption of its job.
    fn open(&self, catalogue: Catalogue) -> Answer<'_, ()>;

    /// Commits writes, and answers each in their order. Every write is atomic; all of them may be one
    /// transaction, which is committed or refused as a whole.
    ///
    /// Called by one task at a time, and not again before the last response is there. Does not block the
    /// thread.
    fn commit(&self, writes: Vec<Write>) -> Response<Vec<Written>>;

    /// Reads artifacts by their place in the log, in the order asked for.
    fn read(&self, offsets: &[Offset]) -> Response<Artifacts>;

    /// Tells whether payloads are written down, as JSON. Then the runtime turns them into text before it
    /// hands them over, in the task of the publisher.
    fn writes_payloads(&self) -> bool {
        false
    }

    /// Tells whether what it accepted is there in the next life of the process.
    fn outlives_process(&self) -> bool {
        false
    }

    /// Returns every note, in no order that matters.
    fn notes(&self) -> Answer<'_, Vec<Note>>;

    /// Returns the records that [`Log::open`] found damaged and set aside, so that the others could be read.
    /// Jobs among them have ended: their inputs come from [`Log::claims`] as damaged ones.
    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }

    /// Returns how far the log has come for every subscription that it keeps marks for.
    fn marks(&self) -> Answer<'_, Vec<(SubscriptionIndex, Marks)>>;

    /// Reads artifacts with claims of these subscriptions that have no outcome and that no unfinished job
    /// covers, in log order behind a place; at most `limit` artifacts.
    ///
    /// A claim that cannot be read as what was written keeps no other from being read: it comes as one that
    /// is refused with [`Discard::Damaged`](crate::Discard::Damaged), with what can still be known of its
    /// artifact.
    fn claims<'a>(
        &'a self,
        subscriptions: &'a [SubscriptionIndex],
        after: Option<Offset>,
        limit: usize,
    ) -> Answer<'a, Vec<Claimed>>;

    /// Counts the claims that [`Log::claims`] would read, for every subscription that has some.
    fn backlog(&self) -> Answer<'_, Vec<Backlog>>;

    /// Reads the next slice of what an earlier life left: started jobs in the order of their first starts,
    /// then the finished pairs whose inputs may still take part in others. Claims are read by
    /// [`Log::claims`].
    fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)>;

    /// Counts the outcomes of one run.
    fn tally(&self, run: RunId) -> Answer<'_, Tally>;

    /// Names the workflow of a run; `None` when nothing that was published in it is there.
    fn workflow(&self, run: RunId) -> Answer<'_, Option<Arc<str>>>;

    /// Closes the store after everything committed is as durable as it will be. Further calls fail.
    fn close(&self) -> Answer<'_, ()>;
}

/// The names behind the numbers in reads and writes.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Every kind that an agent takes or gives.
    pub kinds: Kinds,
    /// Every agent's name, in the order of [`AgentIndex`](crate::AgentIndex).
    pub agents: Vec<AgentName>,
    /// Every subscription's stable name, in the order of [`SubscriptionIndex`].
    pub subscriptions: Vec<String>,
    /// The subscriptions that a store keeps [`Marks`] for.
    pub marked: BTreeSet<SubscriptionIndex>,
}
