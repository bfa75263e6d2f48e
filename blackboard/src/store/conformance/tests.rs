//! A store that implements the log alone conforms to it, and says of the rest that it is not offered.

use std::sync::Arc;

use super::super::{
    Answer, Artifacts, Catalogue, Cursor, DeadFilter, History, Letters, Log, Memory, Note, Response,
    Retained, Retention, StoreError, SummaryBy, Unfinished, Write, Written,
};
use super::{at, block_on, check_log, number};
use crate::claim::{Backlog, Claimed};
use crate::filter::Filter;
use crate::id::{Offset, RunId, SubscriptionIndex};
use crate::marks::Marks;
use crate::outcome::Tally;

/// The log of a memory store.
#[derive(Debug, Default)]
struct LogOnly(Memory);

impl Log for LogOnly {
    fn name(&self) -> String {
        "log".to_owned()
    }

    fn open(&self, catalogue: Catalogue) -> Answer<'_, ()> {
        self.0.open(catalogue)
    }

    fn commit(&self, writes: Vec<Write>) -> Response<Vec<Written>> {
        self.0.commit(writes)
    }

    fn read(&self, offsets: &[Offset]) -> Response<Artifacts> {
        self.0.read(offsets)
    }

    fn notes(&self) -> Answer<'_, Vec<Note>> {
        self.0.notes()
    }

    fn marks(&self) -> Answer<'_, Vec<(SubscriptionIndex, Marks)>> {
        self.0.marks()
    }

    fn claims<'a>(
        &'a self,
        subscriptions: &'a [SubscriptionIndex],
        after: Option<Offset>,
        limit: usize,
    ) -> Answer<'a, Vec<Claimed>> {
        self.0.claims(subscriptions, after, limit)
    }

    fn backlog(&self) -> Answer<'_, Vec<Backlog>> {
        self.0.backlog()
    }

    fn unfinished(&self, after: Cursor, limit: usize) -> Answer<'_, (Vec<Unfinished>, Option<Cursor>)> {
        self.0.unfinished(after, limit)
    }

    fn tally(&self, run: RunId) -> Answer<'_, Tally> {
        self.0.tally(run)
    }

    fn workflow(&self, run: RunId) -> Answer<'_, Option<Arc<str>>> {
        self.0.workflow(run)
    }

    fn close(&self) -> Answer<'_, ()> {
        self.0.close()
    }
}

impl History for LogOnly {}

impl Letters for LogOnly {}

#[test]
fn a_store_with_a_log_alone_conforms_to_it() {
    block_on(check_log(&|| Arc::new(LogOnly::default())));
}

#[test]
fn a_store_says_that_it_offers_no_history_and_no_letters() {
    let store = LogOnly::default();
    let filter = Filter::all();
    let refused = [
        ("queries", block_on(store.find(&filter)).err()),
        ("summaries", block_on(store.summary(&filter, SummaryBy::Kind)).err()),
        ("lineage", block_on(store.lineage(number(1).id())).err()),
        ("dead letters", block_on(store.dead_letters(&DeadFilter::all())).err()),
        ("dead letters", block_on(store.dead_letter(1)).err()),
    ];
    for (what, error) in refused {
        assert_eq!(error, Some(StoreError::NotOffered { store: "log".to_owned(), what }));
    }
    let everything = Retention { count_max: Some(0), ..Retention::default() };
    assert_eq!(block_on(store.retain(&everything, at(9), 10)), Ok(Retained::default()), "it removes nothing");
}
