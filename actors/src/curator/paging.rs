//! What the board asks of the log while it runs: pages of claims, and counts of runs.
//!
//! Answers are exact because of when they are read: after a commit, when the board has been told all of it and everything
//! that it had decided before is written. The curator's actor reads then, and tells the board nothing else between a
//! read and its answer.

use std::collections::VecDeque;

use volery_blackboard::RunId;
use volery_blackboard::effect::{Input, Page};
use volery_blackboard::store::{Store, StoreError};

/// Questions of the board whose turn has come, in order.
#[derive(Debug, Default)]
pub(super) struct Lookups(VecDeque<Lookup>);

/// A question about the log.
#[derive(Debug)]
pub(super) enum Lookup {
    Page(Page),
    Recount { run: RunId, ticket: u64 },
}

impl Lookups {
    pub(super) fn push(&mut self, lookup: Lookup) {
        self.0.push_back(lookup);
    }

    /// Reads the answer to the next question. `None` when there is none, or when it could not be read: a count is asked
    /// for again after the next commit, a page when the board says so.
    pub(super) async fn answer(&mut self, store: &dyn Store) -> Option<Input> {
        let lookup = self.0.pop_front()?;
        match read(store, &lookup).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::error!(target: "volery::curator", %error, "the log could not be read; it is tried again");
                match lookup {
                    Lookup::Page(Page { agent, ticket, .. }) => Some(Input::PageFailed { agent, ticket }),
                    Lookup::Recount { .. } => {
                        self.0.push_front(lookup);
                        None
                    }
                }
            }
        }
    }
}

async fn read(store: &dyn Store, lookup: &Lookup) -> Result<Input, StoreError> {
    Ok(match lookup {
        Lookup::Page(Page { agent, ticket, subscriptions, after, limit }) => {
            let claims = store.claims(subscriptions, Some(*after), *limit).await?;
            Input::Paged { agent: *agent, ticket: *ticket, claims }
        }
        Lookup::Recount { run, ticket } => {
            Input::Recounted { run: *run, ticket: *ticket, tally: store.tally(*run).await? }
        }
    })
}
